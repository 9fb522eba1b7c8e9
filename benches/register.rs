//! How long a registration takes, as its user sees it: `cargo bench --bench register`.
//!
//! Starts the server on a directory of registrations, one instance a file, then many times types `spacedns register --wait` with a
//! new address for one of them. Timed from before the command is started: until the instance's name is first answered with the
//! new address, asked in a tight loop, and until the command returns. So both hold the start of a process and two syncs of the disk.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

mod harness;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use harness::apps::scatter;
use harness::asking::Asker;
use harness::figures::{LATENCY_COLUMNS, Latencies, Reach};
use harness::options::Mode;
use harness::server::{Core, SPACEDNS, Server, free_address};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench register --")]
struct Settings {
    /// So many instances, ten an app
    #[arg(long, default_value_t = 100_000)]
    instances: u32,
    /// So many registrations
    #[arg(long, default_value_t = 500)]
    changes: u32,
    #[command(flatten)]
    mode: Mode,
}

fn main() {
    let mut settings = Settings::parse();
    if settings.mode.smoke {
        settings = Settings { instances: 100, changes: 10, ..settings };
    }
    let (instances, changes) = (settings.instances, settings.changes);
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    write(directory.path(), instances);
    let admin = free_address().to_string();
    let mut server = Server::spacedns(directory.path(), Core::Any, &["--admin", &admin, "--log", "warn"]);
    let mut asker = Asker::new(server.address.into(), Duration::from_millis(100));
    let ready = server.wait_until(|_| asker.finds(&host(instances - 1), address(instances - 1, 0)));
    println!("{instances} instances: first right answer after {:.2?}", ready.unwrap_or_else(|why| panic!("{why}")));
    if !settings.mode.smoke {
        server.settle();
    }

    let (answered, returned): (Vec<Duration>, Vec<Duration>) = (0..changes)
        .map(|change| {
            let (instance, version) = (scatter(change, instances), change / instances + 1);
            let timed = register(directory.path(), &admin, &mut asker, instance, version);
            thread::sleep(REST);
            timed
        })
        .unzip();
    println!("\n| {changes} registrations by command, until | {LATENCY_COLUMNS} |\n|---|---|---|---|---|");
    let (answered, returned) = (Latencies::new(answered), Latencies::new(returned));
    println!("| the first right answer | {} |", answered.columns());
    println!("| `register --wait` returned | {} |", returned.columns());
    let mut reach = Reach::default();
    let what = format!("`register --wait` with {instances} instances: p99");
    reach.add(&what, 20.0, returned.at(99).as_secs_f64() * 1e3, "ms");
    if !settings.mode.smoke {
        reach.print();
    }
}

/// Between two registrations: long enough for the owner task to be asleep again.
const REST: Duration = Duration::from_millis(5);

/// Types the command; how long until its address is answered, and until it says so.
fn register(directory: &Path, admin: &str, asker: &mut Asker, instance: u32, version: u32) -> (Duration, Duration) {
    let (name, address) = (host(instance), address(instance, version));
    let begun = Instant::now();
    let mut command = Command::new(SPACEDNS)
        .args(["register", &app(instance), "web", &number(instance).to_string()])
        .args(["--address", &address.to_string(), "--wait=60s", "--server", admin, "-C"])
        .arg(directory)
        .stdout(Stdio::null())
        .spawn()
        .expect("the command can be started");
    thread::scope(|scope| {
        let returned = scope.spawn(|| {
            let status = command.wait().expect("it is a child of ours");
            assert!(status.success(), "{status}");
            begun.elapsed()
        });
        while !asker.finds(&name, address) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} is never answered");
        }
        (begun.elapsed(), returned.join().expect("it does not panic"))
    })
}

/// Writes a file an instance, as `spacedns register` does.
fn write(directory: &Path, instances: u32) {
    fs::write(directory.join("space.yaml"), "space: bench\ncidr: 10.0.0.0/8\n").expect("it can be written");
    for instance in 0..instances {
        let (app, number, address) = (app(instance), number(instance), address(instance, 0));
        let file = directory.join(format!("instances/{app}/web.{number}.json"));
        fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
        let text = format!(r#"{{"app": "{app}", "component": "web", "number": {number}, "address": "{address}"}}"#);
        fs::write(file, text).expect("it can be written");
    }
}

/// Instances of one app.
const PER_APP: u32 = 10;

fn app(instance: u32) -> String {
    format!("app-{:06}", instance / PER_APP)
}

const fn number(instance: u32) -> u32 {
    instance % PER_APP + 1
}

/// An instance's name.
fn host(instance: u32) -> String {
    format!("{}.web.{}.app.localspace", number(instance), app(instance))
}

/// The addresses of one version and the next are apart, and so are those of any two instances.
fn address(instance: u32, version: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + instance + (version % 2) * 0x0080_0000)
}
