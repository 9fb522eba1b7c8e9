//! Whether memory grows while files change for a long time: `cargo bench --bench soak`.
//!
//! Serves apps of two instances each and changes a hundred files a second: an app gets other addresses, an app goes and comes back, and
//! an app goes for good while one of a new name comes. Memory (PSS) is sampled all the while. The names of apps that went are denied for
//! a minute here and not for the hour that is usual, so that what they take comes to rest within the run.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]
#![allow(clippy::indexing_slicing, reason = "a benchmark that is out of bounds may end")]

mod harness;

use std::collections::VecDeque;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use harness::apps::{Apps, Kind, name, scatter};
use harness::asking::Asker;
use harness::changes::replace;
use harness::figures::{Reach, Spread};
use harness::load::play_role;
use harness::options::{Mode, Plots};
use harness::plot::{Axis, Line, Plot, Scale};
use harness::server::{Core, MIB, Server};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench soak --")]
struct Settings {
    /// So many apps
    #[arg(long, default_value_t = 100_000)]
    apps: u32,
    /// How long
    #[arg(long, default_value_t = 1_200)]
    seconds: u32,
    /// So many files a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    #[command(flatten)]
    plots: Plots,
    #[command(flatten)]
    mode: Mode,
}

fn main() {
    play_role();
    let mut settings = Settings::parse();
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    if settings.mode.smoke {
        let plots = Plots { directory: directory.path().join("plots") };
        settings = Settings { apps: 100, seconds: 2, rate: 200, plots, ..settings };
    }
    // Numbers from `apps` up are of those that come for others.
    let apps = Apps {
        directory: directory.path().join("zones"),
        count: settings.apps,
        instances: 2,
        kind: Kind::Registration,
    };
    apps.write("herokuapp.com");
    let mut server = Server::spacedns(&apps.directory, Core::Any, &["--tombstone", "1m"]);
    let mut asker = Asker::new(server.address.into(), Duration::from_millis(100));
    let is_ready = |_: &Server| asker.finds(&host(apps.count - 1), apps.address(apps.count - 1, 1, 0));
    server.wait_until(is_ready).unwrap_or_else(|why| panic!("{why}"));

    let mut churn = Churn::new(apps);
    let mut samples: Vec<(f64, f64)> = vec![(0.0, server.pss() / MIB)];
    let begun = Instant::now();
    let (whole, mut sampled) = (Duration::from_secs(settings.seconds.into()), begun);
    while begun.elapsed() < whole {
        churn.change();
        if sampled.elapsed() > whole / SAMPLES {
            sampled = Instant::now();
            samples.push((f64::from(churn.made), server.pss() / MIB));
        }
        let due = begun + Duration::from_secs_f64(f64::from(churn.made) / f64::from(settings.rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let (name, right) = churn.last();
    server.begun = Instant::now();
    server.wait_until(|_| asker.finds(&name, right)).unwrap_or_else(|why| panic!("{name} is not answered: {why}"));

    let tenth = (samples.len() / 10).max(1);
    let of = |part: &[(f64, f64)]| Spread::of(part.iter().map(|(_, mib)| *mib)).median;
    let (early, late) = (of(&samples[tenth..2 * tenth]), of(&samples[samples.len() - tenth..]));
    println!("{} changes in {} s, {} apps", churn.made, settings.seconds, settings.apps);
    println!("\n| PSS MiB | at the start | in the second tenth | in the last tenth | most |\n|---|---|---|---|---|");
    let most = Spread::of(samples.iter().map(|(_, mib)| *mib)).most;
    println!("| | {:.1} | {early:.1} | {late:.1} | {most:.1} |", samples[0].1);
    let mut reach = Reach::default();
    let what = format!("memory after {} changes: of that in the second tenth of them", churn.made);
    reach.add(&what, 1.02, late / early, "");
    let plot = Plot {
        title: "Memory while files change, a hundred a second",
        x: Axis { label: "changes", scale: Scale::Linear },
        y: Axis { label: "MiB (PSS)", scale: Scale::Linear },
        lines: vec![Line { name: format!("{} thousand apps", settings.apps / 1_000), points: samples }],
    };
    plot.write(&settings.plots.directory.join("memory.svg"));
    if !settings.mode.smoke {
        reach.print();
    }
}

/// Changes of all kinds in turn.
struct Churn {
    apps: Apps,
    made: u32,
    /// Which app stands in each place, and in which version; at first those of the same number.
    places: Vec<(u32, u32)>,
    /// The number of the next new app: from `count` up.
    fresh: u32,
    /// Places whose app is away, the longest away first.
    away: VecDeque<usize>,
}

impl Churn {
    fn new(apps: Apps) -> Self {
        let places = (0..apps.count).map(|app| (app, 0)).collect();
        Self { made: 0, places, fresh: apps.count, away: VecDeque::new(), apps }
    }

    /// Makes one change.
    fn change(&mut self) {
        let place = usize::try_from(scatter(self.made, self.apps.count)).unwrap_or_default();
        self.made += 1;
        let is_away = self.away.contains(&place);
        match self.made % 4 {
            0 if !is_away => {
                self.remove(place);
                self.away.push_back(place);
            }
            1 if !is_away => {
                self.remove(place);
                self.places[place] = (self.fresh, 0);
                self.fresh += 1;
                self.write(place);
            }
            2 if self.away.len() > AWAY => {
                let back = self.away.pop_front().unwrap_or(place);
                self.write(back);
            }
            _ if !is_away => self.write(place),
            _ => {}
        }
    }

    /// Makes the last one: a name, and what it is to be answered with.
    fn last(&mut self) -> (String, Ipv4Addr) {
        let place = usize::from(self.away.contains(&0));
        self.write(place);
        let (app, version) = self.places[place];
        (host(app), self.apps.address(app, 1, version))
    }

    fn remove(&self, place: usize) {
        fs::remove_file(self.apps.file(self.places[place].0)).expect("it is there");
    }

    /// Gives the app in a place other addresses.
    fn write(&mut self, place: usize) {
        let (app, version) = &mut self.places[place];
        *version += 1;
        if let Some(folder) = self.apps.file(*app).parent() {
            fs::create_dir_all(folder).expect("it can be made");
        }
        replace(&self.apps, *app, *version);
    }
}

fn host(app: u32) -> String {
    format!("{}.herokuapp.com", name(app))
}

/// So many apps are away at a time: for two seconds at a hundred changes a second.
const AWAY: usize = 50;
/// In a run.
const SAMPLES: u32 = 240;
