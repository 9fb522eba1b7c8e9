//! The whole server beside its peers and the machine's own limit: `cargo bench --bench whole`.
//!
//! Every server gets the same names, one worker and one core; the load generator has another core. Rounds alternate, so that
//! what else the machine does meets all of them alike, and medians are printed. The limit is an echo: one thread that receives a
//! batch, grows each packet by what an A record adds, and sends the batch back. Peers are those that are installed of gdnsd,
//! Knot, NSD and dnsmasq. CPU a query is the server's own user and system time: steadier than throughput, which the generator
//! may cap.
//!
//! - `-- --apps 100000`: so many names. `--rounds 3`, `--seconds 3`: how often, and how long each.
//! - `--only NAME,NAME`: these peers; the echo and this server are always there.
//! - `--rate 100000`: queries a second offered in the paced measure, which latency is read from.
//! - `--plot FILE`: throughput against 10³, 10⁴, 10⁵ and 10⁶ names (or up to `--apps`), as SVG.
//! - `--smoke`: a hundred names and a moment each, for a test of the benchmark itself.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]
#![allow(clippy::indexing_slicing, reason = "a benchmark that is out of bounds may end")]

mod load;
mod names;
mod peers;
#[path = "../plot.rs"]
mod plot;

use std::path::Path;
use std::time::Duration;

use self::load::Outcome;
use self::peers::Peer;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // This program is also what it starts: the echo and the load, each pinned to a core of its own.
    match arguments.iter().skip(1).map(String::as_str).collect::<Vec<_>>()[..] {
        ["echo", address] => return load::echo(address),
        ["load", address, file, seconds, rate] => return load::run(address, file, seconds, rate),
        _ => {}
    }
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let settings = Settings {
        rounds: number("--rounds").unwrap_or(if smoke { 1 } else { 3 }),
        seconds: if smoke { 0.2 } else { f64::from(number("--seconds").unwrap_or(3)) },
        rate: number("--rate").unwrap_or(if smoke { 1_000 } else { 100_000 }),
        only: text("--only").map(|names| names.split(',').map(str::to_owned).collect()),
    };
    let most = number("--apps");
    if let Some(file) = text("--plot") {
        let counts =
            [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|count| most.is_none_or(|most| *count <= most));
        plot_against_names(Path::new(&file), &counts.collect::<Vec<_>>(), &settings);
    } else {
        let measured = measure(most.unwrap_or(if smoke { 100 } else { 100_000 }), &settings);
        print(&measured, &settings);
        let ours = measured.iter().find(|measured| measured.name == peers::OURS);
        assert!(ours.is_some_and(|ours| ours.hit.answered > 0 && ours.hit.with_answer > 0.99), "no right answers");
    }
}

/// What was asked for.
struct Settings {
    rounds: u32,
    seconds: f64,
    rate: u32,
    only: Option<Vec<String>>,
}

/// What one server did, medians of its rounds.
struct Measured {
    name: &'static str,
    ready: Duration,
    pss_mib: f64,
    /// Names that exist.
    hit: Outcome,
    /// Half of them, 35 % AAAA where there is none, 15 % names that do not exist.
    mix: Outcome,
    /// Names that exist, at a fixed rate.
    paced: Outcome,
}

fn measure(apps: u32, settings: &Settings) -> Vec<Measured> {
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    let files = names::write(directory.path(), apps);
    let mut running: Vec<Peer> = Vec::new();
    for peer in peers::all(directory.path(), settings.only.as_deref()) {
        match peer.start(&files.hit) {
            Ok(peer) => running.push(peer),
            Err(why) => println!("{why}"),
        }
    }
    let mut rounds = |file: &Path, rate: u32| {
        let mut outcomes: Vec<Vec<Outcome>> = running.iter().map(|_| Vec::new()).collect();
        for _ in 0..settings.rounds {
            for (peer, outcomes) in running.iter_mut().zip(&mut outcomes) {
                outcomes.push(peer.ask(file, settings.seconds, rate));
            }
        }
        outcomes.into_iter().map(load::median).collect::<Vec<_>>()
    };
    let (hit, mix) = (rounds(&files.hit, 0), rounds(&files.mix, 0));
    let paced = rounds(&files.hit, settings.rate);
    let outcomes = hit.into_iter().zip(mix).zip(paced);
    let together = running.iter().zip(outcomes).map(|(peer, ((hit, mix), paced))| Measured {
        name: peer.name,
        ready: peer.ready,
        pss_mib: peer.pss_mib(),
        hit,
        mix,
        paced,
    });
    together.collect()
}

fn print(measured: &[Measured], settings: &Settings) {
    let Some(echo) = measured.iter().find(|measured| measured.name == peers::ECHO) else { return };
    println!(
        "| Server | hit: CPU µs a query | of the echo's | queries a second | mix: CPU µs a query | of the echo's | PSS MiB | ready s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Measured { name, ready, pss_mib, hit, mix, .. } in measured {
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {pss_mib:.1} | {:.1} |",
            hit.cpu_us,
            hit.cpu_us / echo.hit.cpu_us,
            hit.qps,
            mix.cpu_us,
            mix.cpu_us / echo.mix.cpu_us,
            ready.as_secs_f64(),
        );
    }
    println!(
        "\n| {} queries a second offered | answered | p50 µs | p99 µs | lost |\n|---|---|---|---|---|",
        settings.rate
    );
    for Measured { name, paced, .. } in measured {
        println!("| {name} | {:.0} | {} | {} | {} |", paced.qps, paced.p50_us, paced.p99_us, paced.lost);
    }
}

fn plot_against_names(file: &Path, counts: &[u32], settings: &Settings) {
    let mut lines: Vec<plot::Line> = Vec::new();
    for &count in counts {
        println!("\n{count} names\n");
        let measured = measure(count, settings);
        print(&measured, settings);
        for Measured { name, hit, .. } in measured {
            let point = (f64::from(count), hit.qps / 1_000.0);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(plot::Line { name: name.to_owned(), points: vec![point] }),
            }
        }
    }
    let plot =
        plot::Plot { title: "Throughput of one core against names", x: "names", y: "thousand queries a second", lines };
    std::fs::write(file, plot.svg()).expect("the plot can be written");
}

/// The number after a flag.
fn number(flag: &str) -> Option<u32> {
    text(flag).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value}")))
}

/// What follows a flag.
fn text(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}
