//! Leases and clocks.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::*;

/// The shortest there is.
const LEASE: Duration = Duration::from_secs(5);
const LEASED: &str = "instances/web.json";

/// A directory whose app has one instance, with a lease.
fn leased() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    drop_file(directory.path(), LEASED, &registration("shop", 1, "10.0.0.1", r#", "lease": "5s""#));
    directory
}

fn one() -> Addresses {
    ["10.0.0.1".to_owned()].into()
}

fn touch(directory: &TempDir) {
    let file = File::options().append(true).open(directory.path().join(LEASED)).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

/// Renews a lease while something is done.
fn renewing<T>(directory: &TempDir, done: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                touch(directory);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        // Also where it fails: the scope waits for the thread.
        let _end = Flag(&ended);
        done()
    })
}

/// Is set when this is dropped.
struct Flag<'f>(&'f AtomicBool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_lease_is_renewed_by_touching_without_a_generation_and_runs_out_without() {
    let directory = leased();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES[1..], one());
    renewing(&directory, || canary.hold(800));
    assert_eq!(generations(&server), 0, "{}", server.log());
    canary.change(Addresses::new(), || {});
    assert_eq!(generations(&server), 1, "{}", server.log());
    // Touched again, it is there again.
    canary.change(one(), || touch(&directory));
    canary.end();
}

#[test]
fn setting_the_clock_expires_nothing() {
    if !is_installed("faketime") {
        println!("setting_the_clock_expires_nothing did not run: faketime is not installed");
        return;
    }
    let (directory, own) = (leased(), tempfile::tempdir().unwrap());
    let told = own.path().join("time");
    fs::write(&told, "+0").unwrap();
    let server = Server::start(|port| {
        let mut command = Command::new("sh");
        let library = "LD_PRELOAD=$(find /usr/lib* -name libfaketimeMT.so.1 | head -n 1) exec \"$0\" \"$@\"";
        command.args(["-c", library, SPACEDNS]);
        command.env("FAKETIME_TIMESTAMP_FILE", &told).env("FAKETIME_NO_CACHE", "1");
        spacedns(command, directory.path(), port, &["--log", "debug"])
    });
    let mut canary = Canary::start(&server, &NAMES[1..], one());
    renewing(&directory, || {
        for (turn, time) in (2..).zip(["+1h", "-1h", "+3650d", "-3650d", "+0"]) {
            drop_file(own.path(), "time", time);
            canary.hold(A_WHILE);
            // The wall clock did change: the log, which is written by it, shows that.
            drop_file(directory.path(), "other.json", &registration("other", turn, &format!("10.0.1.{turn}"), ""));
            canary.hold(A_WHILE);
        }
    });
    let years: std::collections::BTreeSet<String> =
        server.log().lines().filter_map(|line| line.split('"').nth(3)?.get(..4)).map(str::to_owned).collect();
    assert!(years.len() >= 3, "the clock of the server was not set: {years:?}\n{}", server.log());
    canary.end();
}

#[test]
fn after_a_pause_every_lease_is_whole() {
    let directory = leased();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES[1..], one());
    touch(&directory);
    canary.hold(A_WHILE);
    // Everything stands still for longer than a lease: whoever renews, too.
    canary.pause();
    std::thread::sleep(Duration::from_millis(200));
    server.signal("STOP");
    std::thread::sleep(LEASE + Duration::from_secs(2));
    let woken = Instant::now();
    server.signal("CONT");
    canary.resume();
    logged(&server, "every lease begins anew");
    canary.expect(Addresses::new());
    canary.reach();
    let lasted = woken.elapsed();
    assert!(lasted >= LEASE, "only {lasted:?} of a lease were left:\n{}", server.log());
    canary.end();
}
