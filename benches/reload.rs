//! How long a change takes to be answered, from rename to first right answer: `cargo bench --bench reload`.
//!
//! Starts the server on a directory of apps in JSON, two instances each, then many times renames one changed registration into
//! place and asks for it by UDP in a tight loop. What is measured is all of it: the file event, the owner's waking up, reading,
//! compiling, publishing, a worker's next batch, and both ways through the loopback. This is done with no other query, with a
//! steady load, and with as many as the server answers; then many files change at once.
//!
//! Server, load and the one who asks share all cores: the server has as many workers as there are, as it is installed.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

mod harness;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use harness::apps::{Apps, Kind, name, scatter, write_queries};
use harness::asking::Asker;
use harness::changes::replace;
use harness::figures::{LATENCY_COLUMNS, Latencies, Reach};
use harness::load::{Load, Pace, Plan, play_role};
use harness::options::{Mode, Plots};
use harness::plot::{Axis, Line, Plot, Scale};
use harness::server::{Core, MIB, Server};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench reload --")]
struct Settings {
    /// So many apps; several numbers are measured one after the other, and the last held against the first
    #[arg(long, value_delimiter = ',', value_name = "COUNT", default_values_t = [100_000])]
    apps: Vec<u32>,
    /// So many changes under each load
    #[arg(long, default_value_t = 1_000)]
    changes: u32,
    /// The steady load, in queries a second
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    /// So many files that change at once
    #[arg(long, default_value_t = 10_000)]
    burst: u32,
    /// Where the files lie; in /dev/shm renaming takes next to nothing, and what is left of a burst is the server's
    #[arg(long, default_value_os_t = std::env::temp_dir(), value_name = "DIRECTORY")]
    within: PathBuf,
    #[command(flatten)]
    plots: Plots,
    #[command(flatten)]
    mode: Mode,
}

fn main() {
    play_role();
    let mut settings = Settings::parse();
    let directory = tempfile::tempdir_in(&settings.within).expect("a directory of our own can be made");
    if settings.mode.smoke {
        let plots = Plots { directory: directory.path().join("plots") };
        settings = Settings { apps: vec![100, 200], changes: 10, rate: 1_000, burst: 50, plots, ..settings };
    }
    let mut reach = Reach::default();
    let measured: Vec<(u32, Vec<Measured>)> = settings
        .apps
        .iter()
        .map(|&count| {
            let own = directory.path().join(count.to_string());
            let apps = Apps { directory: own, count, instances: 2, kind: Kind::Registration };
            (count, measure(&apps, &settings, &mut reach))
        })
        .collect();
    if let [(least, few), .., (most, many)] = &measured[..] {
        for (few, many) in few.iter().zip(many) {
            let ratio = many.cpu.as_secs_f64() / few.cpu.as_secs_f64();
            reach.add(&format!("{}: CPU a change with {most} apps, of that with {least}", few.load), 1.5, ratio, "");
            let ratio = many.latencies.at(50).as_secs_f64() / few.latencies.at(50).as_secs_f64();
            reach.add(&format!("{}: p50 with {most} apps, of that with {least}", few.load), 1.5, ratio, "");
        }
    }
    if let Some((count, measured)) = measured.first() {
        plot(*count, measured).write(&settings.plots.directory.join("change.svg"));
    }
    if !settings.mode.smoke {
        reach.print();
    }
}

/// What changes took under one load.
struct Measured {
    load: String,
    latencies: Latencies,
    /// CPU time a change, of the threads that take changes in.
    cpu: Duration,
}

/// Every change begins where the last one ended: an app that has changed is not changed to the same again.
struct Turns {
    apps: Apps,
    next: u32,
}

impl Turns {
    /// The app that is next, and its version.
    fn next(&mut self) -> (u32, u32) {
        let (app, version) = (scatter(self.next, self.apps.count), self.next / self.apps.count + 1);
        self.next += 1;
        (app, version)
    }
}

fn measure(apps: &Apps, settings: &Settings, reach: &mut Reach) -> Vec<Measured> {
    apps.write("herokuapp.com");
    let mut server = Server::spacedns(&apps.directory, Core::Any, &[]);
    let (last, right) = (host(apps.count - 1), apps.address(apps.count - 1, 1, 0));
    let ready = server.wait_until(|server| asker(server).finds(&last, right)).unwrap_or_else(|why| panic!("{why}"));
    let pss = server.pss() / MIB;
    println!("\n{} apps of two instances: first right answer after {ready:.2?}, PSS {pss:.1} MiB\n", apps.count);
    println!(
        "| Load | changes | {LATENCY_COLUMNS} | CPU a change | of all threads, with the answers | load answered |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    if !settings.mode.smoke {
        server.settle();
    }
    let queries = apps.directory.join(".queries");
    write_queries(&queries, |chance| format!("{} A", host(chance.below(apps.count))));
    let plan = Plan { seconds: None, ..Plan::new(server.address, queries, 0.0) };
    let mut turns = Turns { apps: apps.clone(), next: 0 };
    let loads = [
        ("idle".to_owned(), None, (0.3, 2.0)),
        (format!("{} thousand q/s", settings.rate / 1_000), Some(Pace::Background(settings.rate)), (0.3, 2.0)),
        ("saturated".to_owned(), Some(Pace::Saturating), (f64::MAX, 8.0)),
    ];
    let measured = loads.into_iter().map(|(load, pace, (p50, p99))| {
        let background = pace.map(|pace| Load::start(&Plan { pace, ..plan.clone() }, &[]));
        let measured = under_load(load, background, &server, &mut turns, settings);
        let milliseconds = |percent| measured.latencies.at(percent).as_secs_f64() * 1e3;
        let what = format!("change with {} apps, {}", apps.count, measured.load);
        if p50 < f64::MAX {
            reach.add(&format!("{what}: p50"), p50, milliseconds(50), "ms");
        }
        reach.add(&format!("{what}: p99"), p99, milliseconds(99), "ms");
        reach.add(&format!("{what}: CPU"), 0.3, measured.cpu.as_secs_f64() * 1e3, "ms");
        measured
    });
    let measured = measured.collect();
    burst(&server, &mut turns, settings, reach);
    measured
}

/// Changes one app after the other.
fn under_load(
    load: String,
    background: Option<Load>,
    server: &Server,
    turns: &mut Turns,
    settings: &Settings,
) -> Measured {
    let mut asker = asker(server);
    let (all, changing) = (server.cpu(), server.cpu_of(takes_changes_in));
    let latencies: Vec<Duration> = (0..settings.changes)
        .map(|_| {
            let latency = time_one(turns, &mut asker);
            thread::sleep(REST);
            latency
        })
        .collect();
    let latencies = Latencies::new(latencies);
    let spent = |now: Duration, before| now.saturating_sub(before) / settings.changes;
    let (cpu, all) = (spent(server.cpu_of(takes_changes_in), changing), spent(server.cpu(), all));
    let answered = background.map_or_else(|| "-".to_owned(), |load| format!("{:.0} q/s", load.finish().qps));
    let changes = settings.changes;
    println!("| {load} | {changes} | {} | {cpu:.0?} | {all:.0?} | {answered} |", latencies.columns());
    Measured { load, latencies, cpu }
}

/// Renames a new version into place; how long until it is answered.
fn time_one(turns: &mut Turns, asker: &mut Asker) -> Duration {
    let (app, version) = turns.next();
    let (name, right) = (host(app), turns.apps.address(app, 1, version));
    let begun = replace(&turns.apps, app, version);
    while !asker.finds(&name, right) {
        assert!(begun.elapsed() < PATIENCE, "{name} version {version} is never answered");
    }
    begun.elapsed()
}

/// Changes many apps at once; how long until all of them are answered.
fn burst(server: &Server, turns: &mut Turns, settings: &Settings, reach: &mut Reach) {
    let changed: Vec<(u32, u32)> = (0..settings.burst).map(|_| turns.next()).collect();
    let apps = &turns.apps;
    let beside = |app: u32| apps.directory.join(format!(".beside-{app}"));
    for &(app, version) in &changed {
        fs::write(beside(app), apps.text(app, version)).expect("it can be written");
    }
    settle_files();
    let before = server.cpu();
    let begun = Instant::now();
    for &(app, _) in &changed {
        fs::rename(beside(app), apps.file(app)).expect("it can be renamed");
    }
    let renamed = begun.elapsed();
    let mut asker = asker(server);
    // From the last to the first, so that most of them are right when they are asked for, and asking takes no part of the time.
    let mut took = begun.elapsed();
    for &(app, version) in changed.iter().rev() {
        let (name, right) = (host(app), apps.address(app, 1, version));
        let mut waited = false;
        while !asker.finds(&name, right) {
            waited = true;
            assert!(begun.elapsed() < PATIENCE, "{name} version {version} is never answered");
        }
        if waited || took == renamed {
            took = begun.elapsed();
        }
    }
    let files = settings.burst;
    let cpu = server.cpu().saturating_sub(before);
    println!(
        "\n{files} files at once: all answered {took:.2?} after the first rename, {renamed:.2?} of it renaming; CPU {cpu:.2?}"
    );
    let what = format!("{files} changed files with {} apps: served within", apps.count);
    reach.add(&what, 1.0, took.as_secs_f64(), "s");
}

/// Has what was written on the disk: some file systems else write it in the middle of a rename that replaces a file.
fn settle_files() {
    let _ = Command::new("sync").status();
}

fn plot(count: u32, measured: &[Measured]) -> Plot<'static> {
    let line = |one: &Measured| Line { name: one.load.clone(), points: one.latencies.curve() };
    Plot {
        title: if count == 100_000 {
            "A change until its first right answer, 100,000 apps"
        } else {
            "A change until its first right answer"
        },
        x: Axis { label: "milliseconds from the rename", scale: Scale::Logarithmic },
        y: Axis { label: "% of the changes", scale: Scale::Linear },
        lines: measured.iter().map(line).collect(),
    }
}

fn asker(server: &Server) -> Asker {
    Asker::new(server.address.into(), Duration::from_millis(20))
}

fn host(app: u32) -> String {
    format!("{}.herokuapp.com", name(app))
}

/// Whether a thread of the server is one of those.
fn takes_changes_in(thread: &str) -> bool {
    ["owner", "events"].contains(&thread)
}

/// Between two changes: long enough for the owner to be asleep again.
const REST: Duration = Duration::from_millis(3);
/// For a change to be answered at all.
const PATIENCE: Duration = Duration::from_secs(30);
