//! How long a cold start takes, and how much memory what was read takes: `cargo bench --bench start`.
//!
//! Starts the server many times on the same directory, whose files are in the page cache, and waits for its first answer that is not
//! SERVFAIL: that is its first complete scan. CPU is the user and system time of the whole process until then; memory (PSS) is taken
//! when it has come to rest.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

mod harness;

use std::fs;
use std::time::Duration;

use clap::Parser;

use harness::apps::{Apps, Kind, name};
use harness::asking::Asker;
use harness::figures::{Reach, Spread};
use harness::load::play_role;
use harness::options::Mode;
use harness::server::{Core, MIB, Server};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench start --")]
struct Settings {
    /// So many files
    #[arg(long, default_value_t = 100_000)]
    apps: u32,
    /// How often each is started
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    #[command(flatten)]
    mode: Mode,
}

fn main() {
    play_role();
    let mut settings = Settings::parse();
    if settings.mode.smoke {
        settings = Settings { apps: 100, rounds: 2, ..settings };
    }
    println!(
        "| {} files, medians of {} starts | ready s | CPU s | PSS MiB | names | octets a name |",
        settings.apps, settings.rounds
    );
    println!("|---|---|---|---|---|---|");
    let mut reach = Reach::default();
    let of = |kind, instances| (kind, instances);
    let kinds = [
        ("JSON, an app of one instance each", of(Kind::Registration, 1), Some(1.0)),
        ("JSON, an app of two instances each", of(Kind::Registration, 2), None),
        ("YAML specs of 400 octets, no instance", of(Kind::Spec, 0), Some(2.0)),
    ];
    for (title, (kind, instances), ready_within) in kinds {
        let directory = tempfile::tempdir().expect("a directory of our own can be made");
        let apps = Apps { directory: directory.path().to_owned(), count: settings.apps, instances, kind };
        apps.write("herokuapp.com");
        for app in 0..apps.count {
            // It is in the page cache from writing; this makes sure of it.
            fs::read(apps.file(app)).expect("it was written");
        }
        let starts: Vec<Start> = (0..settings.rounds).map(|_| start(&apps, &settings)).collect();
        let spread = |figure: fn(&Start) -> f64| Spread::of(starts.iter().map(figure));
        let (ready, cpu, pss) = (spread(|start| start.ready), spread(|start| start.cpu), spread(|start| start.pss));
        let (names, each) = match kind {
            // Nothing is up, so nothing has an address.
            Kind::Spec => ("-".to_owned(), "-".to_owned()),
            _ => (apps.owners().to_string(), format!("{:.0}", pss.median / f64::from(apps.owners()))),
        };
        println!("| {title} | {} | {:.2} | {:.1} | {names} | {each} |", ready.print(2), cpu.median, pss.median / MIB);
        if let Some(target) = ready_within {
            reach.add(&format!("{} files, {title}: ready", settings.apps), target, ready.median, "s");
        }
        if instances == 2 {
            let what = format!("memory of {} names: PSS a name", apps.owners());
            reach.add(&what, 250.0, pss.median / f64::from(apps.owners()), "octets");
        }
    }
    if !settings.mode.smoke {
        reach.print();
    }
}

/// One start.
struct Start {
    /// Seconds.
    ready: f64,
    /// Seconds.
    cpu: f64,
    /// Octets.
    pss: f64,
}

fn start(apps: &Apps, settings: &Settings) -> Start {
    let mut server = Server::spacedns(&apps.directory, Core::Any, &[]);
    let last = format!("{}.herokuapp.com", name(apps.count - 1));
    let mut asker = Asker::new(server.address.into(), Duration::from_millis(100));
    let is_ready = |_: &Server| {
        asker.ask(&last, 1).is_some_and(|response| response.get(3).is_some_and(|flags| flags & 0x0f != SERVFAIL))
    };
    let ready = server.wait_until(is_ready).unwrap_or_else(|why| panic!("{why}"));
    let cpu = server.cpu_since_start();
    match apps.kind {
        Kind::Spec => {}
        _ => assert!(asker.finds(&last, apps.address(apps.count - 1, 1, 0)), "{last} is not answered"),
    }
    if !settings.mode.smoke {
        server.settle();
    }
    Start { ready: ready.as_secs_f64(), cpu: cpu.as_secs_f64(), pss: server.pss() }
}

const SERVFAIL: u8 = 2;
