//! The contests: who is measured beside whom, and what is told of it.

use std::fs;
use std::path::Path;

use super::harness::changes::Changes;
use super::harness::figures::{Reach, Spread};
use super::harness::load::{Outcome, Pace, Plan, echo_command};
use super::harness::network::Network;
use super::harness::plot::{Axis, Line, Plot, Scale};
use super::harness::server::{Core, MIB, Server, free_address, spacedns};
use super::names::{self, Asked, Deep, Services};
use super::peers::{self, ECHO, OURS, Peer, RIVAL};
use super::{Contest, Settings};

/// One who is measured, and by which load.
struct Entrant<'e> {
    name: String,
    peer: &'e Peer,
    plan: Plan,
    /// What stands before the load's command.
    prefix: Vec<String>,
    /// Files that change meanwhile.
    changing: Option<&'e Changes>,
}

impl<'e> Entrant<'e> {
    fn new(peer: &'e Peer, queries: &Path, settings: &Settings) -> Self {
        let plan = Plan::new(peer.server.address, queries.to_owned(), settings.seconds());
        Self { name: peer.name.clone(), peer, plan, prefix: Core::Load.prefix(), changing: None }
    }

    fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn measure(&self) -> Outcome {
        let ask = || self.plan.ask(&self.peer.server, &self.prefix);
        self.changing.map_or_else(ask, |changes| changes.during(CHANGES, ask))
    }
}

/// Files that change in a second, where they do.
const CHANGES: u32 = 100;

/// What came of a contest: for each entrant its outcome in each round.
struct Table(Vec<(String, Vec<Outcome>)>);

impl Table {
    /// Measures all, round by round; another begins each time.
    fn of(entrants: &[Entrant<'_>], rounds: usize) -> Self {
        let mut outcomes: Vec<Vec<Outcome>> = entrants.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for place in 0..entrants.len() {
                let entrant = (round + place) % entrants.len();
                outcomes[entrant].push(entrants[entrant].measure());
            }
        }
        Self(entrants.iter().map(|entrant| entrant.name.clone()).zip(outcomes).collect())
    }

    fn rounds(&self, name: &str) -> Option<&[Outcome]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, rounds)| &rounds[..])
    }

    fn spread(rounds: &[Outcome], figure: fn(&Outcome) -> f64) -> Spread {
        Spread::of(rounds.iter().map(figure))
    }

    /// How many times another's figure one's is, round by round.
    fn ratio(&self, name: &str, other: &str, figure: fn(&Outcome) -> f64) -> Option<Spread> {
        let (own, other) = (self.rounds(name)?, self.rounds(other)?);
        Some(Spread::of(own.iter().zip(other).map(|(own, other)| figure(own) / figure(other))))
    }

    /// Prints the CPU time of a query, and how many times that of each of `others` it is.
    fn print(&self, title: &str, others: &[&str]) {
        let others: Vec<&str> = others.iter().filter(|other| self.rounds(other).is_some()).copied().collect();
        let of: String = others.iter().map(|other| format!(" of {other} |")).collect();
        println!("\n### {title}\n\n| Server | CPU µs a query |{of} queries a second | octets | lost |");
        println!("|---|---|{}---|---|---|", "---|".repeat(others.len()));
        for (name, rounds) in &self.0 {
            let ratios = others.iter().filter_map(|other| self.ratio(name, other, cpu));
            let ratios: String = ratios.map(|ratio| format!(" {} |", ratio.print(2))).collect();
            println!(
                "| {name} | {:.2} |{ratios} {:.0} | {:.0} | {} |",
                Self::spread(rounds, cpu).median,
                Self::spread(rounds, |outcome| outcome.qps).median,
                Self::spread(rounds, |outcome| outcome.octets).median,
                rounds.iter().map(|outcome| outcome.lost).sum::<u64>(),
            );
        }
    }

    /// Ends the benchmark if someone did not give as many answers as it should have: its figures would mean nothing.
    fn assert_right(&self, with_answer: std::ops::RangeInclusive<f64>) {
        for (name, rounds) in self.0.iter().filter(|(name, _)| name != ECHO) {
            for outcome in rounds {
                let is_right = with_answer.contains(&outcome.with_answer) && outcome.failed == 0.0;
                assert!(outcome.answered > 0 && is_right, "{name} does not answer right: {outcome:?}");
            }
        }
    }
}

const fn cpu(outcome: &Outcome) -> f64 {
    outcome.cpu_us
}

/// Every response has an answer.
const ALL: std::ops::RangeInclusive<f64> = 0.999..=1.0;
/// About half of them do.
const HALF: std::ops::RangeInclusive<f64> = 0.4..=0.6;
const NONE: std::ops::RangeInclusive<f64> = 0.0..=0.0;

/// What is asked of names that every server has.
pub(super) fn beside_peers(settings: &Settings, directory: &Path, asked: &Asked, reach: &mut Reach) {
    let all = settings.wants_any(&[Contest::Hit, Contest::Mix, Contest::Latency]);
    let only = if all { settings.peers.clone() } else { vec![OURS.to_owned()] };
    let peers = peers::start_all(directory, settings.count(), &only);
    peers.iter().filter(|peer| peer.name == OURS).for_each(|peer| settle(peer, settings));
    let entrants = |queries: &Path| peers.iter().map(|peer| Entrant::new(peer, queries, settings)).collect::<Vec<_>>();
    let names = settings.count();
    if settings.wants(Contest::Hit) {
        let table = Table::of(&entrants(&asked.hit), settings.rounds());
        table.print(&format!("Hit: {names} names that exist"), &[ECHO, RIVAL]);
        table.assert_right(ALL);
        add_ratios(&table, "hit", reach);
    }
    if settings.wants(Contest::Mix) {
        let table = Table::of(&entrants(&asked.mix), settings.rounds());
        table.print(&format!("Mix: {names} names, half of the queries get an answer"), &[ECHO, RIVAL]);
        table.assert_right(HALF);
        add_ratios(&table, "mix", reach);
    }
    if settings.wants(Contest::Latency) {
        latency(settings, entrants(&asked.hit), reach);
    }
    if all {
        println!("\n### Holding {names} names\n\n| Server | PSS MiB | ready s |\n|---|---|---|");
        for peer in peers.iter().filter(|peer| peer.name != ECHO) {
            println!("| {} | {:.1} | {:.2} |", peer.name, peer.server.pss() / MIB, peer.ready.as_secs_f64());
        }
    }
    let find = |name: &str| peers.iter().find(|peer| peer.name == name);
    let (Some(echo), Some(ours)) = (find(ECHO), find(OURS)) else { panic!("the echo and {OURS} have to be there") };
    if settings.wants(Contest::Wildcard) {
        wildcard(settings, directory, asked, (echo, ours), reach);
    }
    if settings.wants(Contest::Apart) {
        apart(settings, directory, asked, (echo, ours), reach);
    }
    let new = |queries: &Path, name: &str| Entrant::new(ours, queries, settings).called(name);
    if settings.wants(Contest::Hot) {
        let table = Table::of(&[new(&asked.hit, "all names"), new(&asked.hot, "one name")], settings.rounds());
        table.print("A hot name", &["all names"]);
        table.assert_right(ALL);
        add_ratio(&table, ("one name", "all names"), "a hot name, of all names", 1.12, reach);
    }
    if settings.wants(Contest::Changing) {
        let changes = Changes::new(names::apps(directory, names));
        let changing = Entrant { changing: Some(&changes), ..new(&asked.hit, "100 changes a second") };
        let table = Table::of(&[new(&asked.hit, "no change"), changing], settings.rounds());
        table.print("While files change; the CPU of changing them is in it", &["no change"]);
        table.assert_right(ALL);
        let what = "while 100 files a second change, of no change";
        add_ratio(&table, ("100 changes a second", "no change"), what, 1.12, reach);
    }
    drop(peers);
    if settings.wants(Contest::Workers) {
        workers(settings, directory, asked, reach);
    }
}

/// CPU a query of ours, of the echo's and of the rival's.
fn add_ratios(table: &Table, what: &str, reach: &mut Reach) {
    add_ratio(table, (OURS, ECHO), &format!("{what}: CPU a query, of the echo's"), 1.15, reach);
    add_ratio(table, (OURS, RIVAL), &format!("{what}: CPU a query, of {RIVAL}'s"), 0.90, reach);
}

fn add_ratio(table: &Table, (name, other): (&str, &str), what: &str, target: f64, reach: &mut Reach) {
    if let Some(ratio) = table.ratio(name, other, cpu) {
        reach.add(what, target, ratio.median, "");
    }
}

fn latency(settings: &Settings, mut entrants: Vec<Entrant<'_>>, reach: &mut Reach) {
    for entrant in &mut entrants {
        entrant.plan.pace = Pace::Offered(settings.rate());
    }
    let table = Table::of(&entrants, settings.rounds());
    println!(
        "\n### Latency, {} queries a second offered\n\n\
         | Server | answered a second | p50 µs | of {RIVAL} | p99 µs | of {RIVAL} | CPU µs a query | lost |",
        settings.rate()
    );
    println!("|---|---|---|---|---|---|---|---|");
    let (p50, p99) = (|outcome: &Outcome| outcome.p50_us as f64, |outcome: &Outcome| outcome.p99_us as f64);
    for (name, rounds) in &table.0 {
        let of = |figure| table.ratio(name, RIVAL, figure).map_or_else(|| "-".to_owned(), |ratio| ratio.print(2));
        println!(
            "| {name} | {:.0} | {:.0} | {} | {:.0} | {} | {:.2} | {} |",
            Table::spread(rounds, |outcome| outcome.qps).median,
            Table::spread(rounds, p50).median,
            of(p50),
            Table::spread(rounds, p99).median,
            of(p99),
            Table::spread(rounds, cpu).median,
            rounds.iter().map(|outcome| outcome.lost).sum::<u64>(),
        );
    }
    table.assert_right(ALL);
    for (what, figure) in [("p50", p50 as fn(&Outcome) -> f64), ("p99", p99)] {
        if let Some(ratio) = table.ratio(OURS, RIVAL, figure) {
            reach.add(&format!("latency: {what} at {} q/s, of {RIVAL}'s", settings.rate()), 1.1, ratio.median, "");
        }
    }
    let lost: u64 = table.rounds(OURS).into_iter().flatten().map(|outcome| outcome.lost).sum();
    reach.add("latency: lost", 0.0, lost as f64, "");
}

/// A second server, which sends each response by itself: what a query costs where each is of a socket of its own, but for the comparison
/// that tells so. The load has few sockets, or it could not fill a server.
fn apart(settings: &Settings, directory: &Path, asked: &Asked, (echo, ours): (&Peer, &Peer), reach: &mut Reach) {
    let address = free_address();
    let command = spacedns(&directory.join(names::SPEC), address, &["--workers", "1", "--limit", "run=1"]);
    let name = "spacedns, each by itself";
    let is_right = peers::answers_the_last_of(settings.count());
    let apart = started(peers::start(name, &command, address, &Core::Server.prefix(), is_right));
    settle(&apart, settings);
    let entrants = [echo, ours, &apart].map(|peer| Entrant::new(peer, &asked.hit, settings));
    let table = Table::of(&entrants, settings.rounds());
    table.print("Each response by itself, hits", &[ECHO]);
    table.assert_right(ALL);
    add_ratio(&table, (name, ECHO), "each response by itself, hit: CPU a query, of the echo's", 1.15, reach);
}

/// A second server, which listens on every address.
fn wildcard(settings: &Settings, directory: &Path, asked: &Asked, (echo, ours): (&Peer, &Peer), reach: &mut Reach) {
    let address = free_address();
    let listen = format!("0.0.0.0:{}", address.port());
    let command = spacedns(&directory.join(names::SPEC), address, &["--workers", "1", "--listen", &listen]);
    let name = "spacedns on 0.0.0.0";
    let is_right = peers::answers_the_last_of(settings.count());
    let all = started(peers::start(name, &command, address, &Core::Server.prefix(), is_right));
    settle(&all, settings);
    let entrants = [echo, ours, &all].map(|peer| Entrant::new(peer, &asked.hit, settings));
    let table = Table::of(&entrants, settings.rounds());
    table.print("A wildcard bind, hits", &[ECHO]);
    table.assert_right(ALL);
    add_ratio(&table, (name, ECHO), "wildcard bind, hit: CPU a query, of the echo's", 1.20, reach);
}

/// Servers and load on whatever core is free: there are as many workers as cores, so nobody has one of its own.
fn workers(settings: &Settings, directory: &Path, asked: &Asked, reach: &mut Reach) {
    let new = |workers: &str, name: &str| {
        let address = free_address();
        let command = spacedns(&directory.join(names::SPEC), address, &["--workers", workers]);
        let is_right = peers::answers_the_last_of(settings.count());
        started(peers::start(name, &command, address, &Core::Any.prefix(), is_right))
    };
    let peers = [new("1", "one worker"), new("2", "two workers")];
    peers.iter().for_each(|peer| settle(peer, settings));
    let entrants = peers.each_ref().map(|peer| {
        let mut entrant = Entrant::new(peer, &asked.hit, settings);
        // The kernel gives each socket's datagrams to one worker, so there are many.
        entrant.plan.sockets = 16;
        entrant.prefix = Core::Any.prefix();
        entrant
    });
    let table = Table::of(&entrants, settings.rounds());
    table.print("Two workers on two cores, the load beside them; hits", &["one worker"]);
    table.assert_right(ALL);
    add_ratio(&table, ("two workers", "one worker"), "two workers: CPU a query, of one worker's", 1.1, reach);
}

/// Waits until this server has nothing to do but answer.
fn settle(peer: &Peer, settings: &Settings) {
    if !settings.mode.smoke {
        peer.server.settle();
    }
}

/// A server of ours, without which there is nothing to measure.
fn started(peer: Result<Peer, String>) -> Peer {
    peer.unwrap_or_else(|why| panic!("{why}"))
}

/// Bare names and SRV records, each beside an echo whose responses are as long.
pub(super) fn services(settings: &Settings, services: &Services, reach: &mut Reach) {
    if settings.wants(Contest::Bare) {
        match Network::new() {
            Ok(network) => {
                let callers = Some(services.callers.as_path());
                let title = "Bare names, another instance asks with each batch";
                let words = (title, "bare names");
                beside_echo(settings, services, (&services.bare, callers), &network.prefix(), words, reach);
            }
            Err(why) => println!("\nBARE NAMES WERE NOT MEASURED: {why}"),
        }
    }
    if settings.wants(Contest::Srv) {
        let title = "SRV of two instances, with the addresses of both";
        beside_echo(settings, services, (&services.srv, None), &[], (title, "SRV"), reach);
    }
}

fn beside_echo(
    settings: &Settings,
    services: &Services,
    (queries, callers): (&Path, Option<&Path>),
    network: &[String],
    (title, what): (&str, &str),
    reach: &mut Reach,
) {
    let prefix = |core: Core| [network.to_vec(), core.prefix()].concat();
    let plan = |address, seconds| Plan {
        callers: callers.map(Path::to_owned),
        ..Plan::new(address, queries.to_owned(), seconds)
    };
    let address = free_address();
    let command = spacedns(&services.apps.directory, address, &["--workers", "1"]);
    // In a network of its own it cannot be asked from here, but the load can.
    let ask_a_little = |server: &Server| plan(server.address, 0.01).ask(server, &prefix(Core::Load));
    let is_right = |server: &Server| ALL.contains(&ask_a_little(server).with_answer);
    let ours = started(peers::start(OURS, &command, address, &prefix(Core::Server), is_right));
    settle(&ours, settings);
    let longer = ask_a_little(&ours.server).octets - plan(address, 0.0).octets();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a response is longer than its query, and short"
    )]
    let grow = longer.round() as usize;
    let address = free_address();
    let is_up = |server: &Server| ask_a_little(server).answered > 0;
    let command = echo_command(address, grow);
    let echo = started(peers::start(ECHO, &command, address, &prefix(Core::Server), is_up));
    let entrants = [&echo, &ours].map(|peer| Entrant {
        name: peer.name.clone(),
        peer,
        plan: plan(peer.server.address, settings.seconds()),
        prefix: prefix(Core::Load),
        changing: None,
    });
    let table = Table::of(&entrants, settings.rounds());
    table.print(title, &[ECHO]);
    table.assert_right(ALL);
    add_ratio(&table, (OURS, ECHO), &format!("{what}: CPU a query, of the echo's that grows by as much"), 1.15, reach);
}

/// Names of 127 labels, which no cut of the tree is near.
pub(super) fn deep(settings: &Settings, deep: &Deep, reach: &mut Reach) {
    let address = free_address();
    let command = spacedns(&deep.apps.directory, address, &["--workers", "1"]);
    let is_right =
        |server: &Server| Plan::new(server.address, deep.hit.clone(), 0.01).ask(server, &[]).with_answer > 0.999;
    let ours = started(peers::start(OURS, &command, address, &Core::Server.prefix(), is_right));
    settle(&ours, settings);
    let new = |queries: &Path, name: &str| Entrant::new(&ours, queries, settings).called(name);
    let (hit, miss) = ("hit, 3 labels", "miss, 127 labels");
    let table = Table::of(&[new(&deep.hit, hit), new(&deep.miss, miss)], settings.rounds());
    table.print("Names as deep as there can be, that do not exist", &[hit]);
    add_ratio(&table, (miss, hit), "a miss of 127 labels: CPU a query, of a hit's", 2.0, reach);
    for (name, with_answer) in [(hit, ALL), (miss, NONE)] {
        let rounds = table.rounds(name).into_iter().flatten();
        rounds.for_each(|outcome| {
            assert!(with_answer.contains(&outcome.with_answer) && outcome.failed == 0.0, "{outcome:?}")
        });
    }
}

/// Every server with every number of names at once, so that the numbers too are beside each other in a round.
pub(super) fn against_names(settings: &Settings, directory: &Path, reach: &mut Reach) {
    let counts: Vec<u32> = if settings.mode.smoke { vec![10, 100] } else { vec![1_000, 10_000, 100_000, 1_000_000] };
    let most = settings.apps.unwrap_or(u32::MAX);
    let counts: Vec<u32> = counts.into_iter().filter(|count| *count <= most).collect();
    let mut started: Vec<(u32, Asked, Peer)> = Vec::new();
    for &count in &counts {
        let own = directory.join(count.to_string());
        fs::create_dir_all(&own).expect("it can be made");
        let asked = names::write(&own, count);
        for peer in peers::start_all(&own, count, &settings.peers) {
            started.push((count, asked.clone(), peer));
        }
    }
    started.iter().filter(|(_, _, peer)| peer.name == OURS).for_each(|(_, _, peer)| settle(peer, settings));
    let entrants: Vec<Entrant<'_>> = started
        .iter()
        .map(|(count, asked, peer)| Entrant::new(peer, &asked.hit, settings).called(&of_names(&peer.name, *count)))
        .collect();
    let table = Table::of(&entrants, settings.rounds());
    table.assert_right(ALL);
    print_by_count(&table, &started, &counts);
    plot_by_count(&table, &started, settings);
    if let [least, .., most] = counts[..] {
        let what = format!("{most} names: CPU a query, of what {least} cost");
        add_ratio(&table, (&of_names(OURS, most), &of_names(OURS, least)), &what, 1.12, reach);
    }
}

fn of_names(peer: &str, count: u32) -> String {
    format!("{peer}, {count} names")
}

fn print_by_count(table: &Table, started: &[(u32, Asked, Peer)], counts: &[u32]) {
    println!("\n### CPU µs a query against names, hits\n");
    println!(
        "| Server |{} the last, of the first |",
        counts.iter().map(|count| format!(" {count} |")).collect::<String>()
    );
    println!("|---|{}---|", "---|".repeat(counts.len()));
    let (Some(least), Some(most)) = (counts.first(), counts.last()) else { return };
    for (_, _, peer) in started.iter().filter(|(count, _, _)| count == least) {
        let of = |count: u32| table.rounds(&of_names(&peer.name, count));
        let cells = counts.iter().map(|count| {
            of(*count)
                .map_or_else(|| " - |".to_owned(), |rounds| format!(" {:.2} |", Table::spread(rounds, cpu).median))
        });
        let ratio = table.ratio(&of_names(&peer.name, *most), &of_names(&peer.name, *least), cpu);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| ratio.print(2));
        println!("| {} |{} {ratio} |", peer.name, cells.collect::<String>());
    }
}

fn plot_by_count(table: &Table, started: &[(u32, Asked, Peer)], settings: &Settings) {
    let mut lines: Vec<Line> = Vec::new();
    for (count, _, peer) in started {
        let Some(rounds) = table.rounds(&of_names(&peer.name, *count)) else { continue };
        // Of CPU time and not of the clock: the load, or whoever else has the core, does not cap it.
        let point = (f64::from(*count), 1_000.0 / Table::spread(rounds, cpu).median);
        match lines.iter_mut().find(|line| line.name == peer.name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: peer.name.clone(), points: vec![point] }),
        }
    }
    let plot = Plot {
        title: "Throughput of one core against names",
        x: Axis { label: "names", scale: Scale::Logarithmic },
        y: Axis { label: "thousand queries a second of CPU time", scale: Scale::Linear },
        lines,
    };
    plot.write(&settings.plots.directory.join("names.svg"));
}
