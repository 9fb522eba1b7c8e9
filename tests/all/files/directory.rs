//! What becomes of directories and file systems, of what is in them, and of those who tell of it.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::message::{Query, Response};

#[test]
fn a_directory_that_goes_and_comes_freezes_what_is_served() {
    let parent = tempfile::tempdir().unwrap();
    let (root, away) = (parent.path().join("zones"), parent.path().join("away"));
    let fill = |version: u16| {
        drop_file(&root, "space.yaml", SPACE);
        drop_file(&root, SHOP, &shop(version));
    };
    fill(0);
    let server = serve(&root, &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    // Renamed away, and made anew: empty, then with content.
    fs::rename(&root, &away).unwrap();
    logged(&server, "the spec directory is lost");
    canary.hold(A_WHILE);
    fs::create_dir(&root).unwrap();
    canary.hold(A_WHILE);
    canary.change(addresses(1), || fill(1));
    // Deleted, and made anew.
    fs::remove_dir_all(&root).unwrap();
    canary.hold(A_WHILE);
    canary.change(addresses(2), || fill(2));
    // Swapped for another by two renames, with one more that nobody sees.
    fs::rename(&root, parent.path().join("old")).unwrap();
    fs::rename(&away, &root).unwrap();
    canary.expect(addresses(0));
    canary.reach();
    // It is heard from again: this takes no scan.
    let began = Instant::now();
    canary.change(addresses(3), || fill(3));
    println!("after all that a change took {:?}", began.elapsed());
    canary.end();
    assert!(server.end().contains("freezes="), "it is counted");
}

#[test]
fn a_file_system_that_goes_and_comes_freezes_what_is_served() {
    if !can_mount("a_file_system_that_goes_and_comes_freezes_what_is_served") {
        return;
    }
    let (source, mounted) = (directory(), tempfile::tempdir().unwrap());
    let (from, to) = (source.path().display(), mounted.path().display());
    let mount = format!("mount -t tmpfs none {to}; cp {from}/* {to}");
    let server = serve_mounted(&mount, mounted.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    inside(&server, &format!("umount {to}"));
    logged(&server, "the spec directory is lost");
    canary.hold(A_WHILE);
    drop_file(source.path(), SHOP, &shop(1));
    canary.change(addresses(1), || inside(&server, &mount));
    // One mounted over it hides what is there: that is no news of it either.
    inside(&server, &format!("mount -t tmpfs none {to}"));
    canary.hold(4 * A_WHILE);
    canary.change(addresses(2), || drop_file(&seen_by(&server, mounted.path()), SHOP, &shop(2)));
    canary.end();
}

#[test]
fn a_directory_that_is_not_there_is_said_and_ends_the_server() {
    let parent = tempfile::tempdir().unwrap();
    let mut command = Command::new(SPACEDNS);
    let ended = command.arg("serve").arg(parent.path().join("nowhere")).args(["--listen", "127.0.0.1:0"]).output();
    let ended = ended.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("nowhere: the spec directory cannot be read"), "{said}");
}

#[test]
fn without_inotify_scans_do_and_events_are_asked_for_again() {
    let test = "without_inotify_scans_do_and_events_are_asked_for_again";
    let none = "echo 0 > /proc/sys/user/max_inotify_instances";
    if !can(test, "a user namespace", Command::new("unshare").args(["--user", "--map-root-user", "sh", "-ec", none])) {
        return;
    }
    let directory = directory();
    let server = Server::start(|port| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-ec", &format!("{none}; exec \"$0\" \"$@\""), SPACEDNS]);
        spacedns(command, directory.path(), port, &[])
    });
    logged(&server, "no file events: ");
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    for (version, in_place) in [(1, false), (2, true)] {
        let began = Instant::now();
        canary.change(addresses(version), || {
            if in_place {
                fs::write(directory.path().join(SHOP), shop(version)).unwrap();
            } else {
                drop_file(directory.path(), SHOP, &shop(version));
            }
        });
        println!("without events, a change took {:?}", began.elapsed());
    }
    let target = format!("--target={}", server.id());
    let raise = "echo 100 > /proc/sys/user/max_inotify_instances";
    let raised =
        Command::new("nsenter").args(["--user", "--preserve-credentials", &target, "sh", "-ec", raise]).status();
    assert!(raised.unwrap().success());
    logged(&server, "file events come again");
    canary.change(addresses(3), || drop_file(directory.path(), SHOP, &shop(3)));
    canary.end();
    assert!(server.end().contains("pollings=1"), "it is counted");
}

#[test]
fn an_overlay_is_polled_for_what_it_does_not_tell() {
    let mounted = tempfile::tempdir().unwrap();
    let (source, other) = (directory(), tempfile::tempdir().unwrap());
    let (from, to) = (source.path().display(), mounted.path().display());
    let mount = format!("mount -t overlay none -o lowerdir={from}:{} {to}", other.path().display());
    let mut trial = Command::new("unshare");
    let test = "an_overlay_is_polled_for_what_it_does_not_tell";
    if !can(test, "an overlay", trial.args(["--mount", "--propagation", "private", "sh", "-ec", &mount])) {
        return;
    }
    let server = serve_mounted(&mount, mounted.path(), &[]);
    logged(&server, "is on overlay, where not every change is told");
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    // Below what the overlay shows, so that it makes no event there.
    canary.change(addresses(1), || fs::write(source.path().join(SHOP), shop(1)).unwrap());
    canary.end();
}

#[test]
fn reading_wakes_nobody() {
    let directory = directory();
    for number in 1..=300 {
        let content = registration("many", number, &format!("10.9.{}.{}", number / 200, 1 + number % 200), "");
        drop_file(directory.path(), &format!("instances/{number}.json"), &content);
    }
    let server = serve(directory.path(), &[]);
    let wakes = || wakes_of(&server, "owner");
    let before = poll(PATIENCE, || {
        let before = wakes();
        std::thread::sleep(Duration::from_millis(200));
        (before == wakes()).then_some(before)
    });
    let before = before.expect("it comes to rest");
    // Others' reads, each long enough after the last to be heard by itself, and a scan of ours.
    for number in 1..=300 {
        fs::read(directory.path().join(format!("instances/{number}.json"))).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::read_dir(directory.path()).unwrap().for_each(drop);
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    // For the signal, for scans that come of themselves, and for what a busy machine puts it to sleep for.
    let woken = wakes() - before;
    assert!(woken < 50, "reading made events: {woken} wakes");
    for version in 1..=100 {
        drop_file(directory.path(), SHOP, &shop(version % 2));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(poll(PATIENCE, || (wakes() > before + 50).then_some(())).is_some(), "this shows that wakes are seen");
}

#[test]
fn leases_that_are_renewed_all_the_time_wake_nobody_for_each() {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    drop_file(directory.path(), SHOP, &shop(0));
    let path = |number: u32| directory.path().join(format!("instances/{number}.json"));
    for number in 1..=200 {
        let content = registration("many", number, &format!("10.9.0.{number}"), r#", "lease": "1h""#);
        drop_file(directory.path(), &format!("instances/{number}.json"), &content);
    }
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let wakes = || wakes_of(&server, "owner");
    let (before, begun) = (wakes(), Instant::now());
    let touch = |number| {
        // As touch(1) does it: the kernel tells of one time alone as if the contents were written.
        let times = fs::FileTimes::new().set_accessed(SystemTime::now()).set_modified(SystemTime::now());
        fs::File::open(path(number)).unwrap().set_times(times).unwrap();
    };
    for turn in 0..2000 {
        touch(1 + turn % 200);
        std::thread::sleep(Duration::from_millis(1));
    }
    let (woken, took) = (wakes() - before, begun.elapsed());
    assert!(woken > 0, "this shows that wakes are seen");
    // Twenty times a second.
    let most = took.as_millis() / 50 + 200;
    assert!(u128::from(woken) < most, "{woken} wakes in {took:?}");
    assert_eq!(generations(&server), 0, "{}", server.log());
    // While they go on, a change is served.
    canary.expect(addresses(1));
    drop_file(directory.path(), SHOP, &shop(1));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let numbers = (1..=200).cycle();
            numbers.take_while(|_| !ended.load(Ordering::Relaxed)).for_each(touch);
        });
        canary.reach();
        ended.store(true, Ordering::Relaxed);
    });
    canary.end();
}

/// How often a thread of the server went to sleep and was woken.
fn wakes_of(server: &Server, thread: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let task = tasks
        .map(|task| task.unwrap().path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread));
    let status = fs::read_to_string(task.expect("the thread is there").join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Serves a directory as a user without rights, whom rights of files hold back.
fn serve_without_rights(directory: &Path) -> Server {
    let everybody = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    everybody(directory, 0o755);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everybody(&path, 0o755);
        }
    }
    Server::start(|port| {
        let mut command = spacedns(Command::new(SPACEDNS), directory, port, &[]);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

const NOBODY: u32 = 65_534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_cannot_be_read_is_not_gone() {
    let directory = directory();
    drop_file(directory.path(), "below/other.json", &registration("other", 1, "10.3.0.1", ""));
    let server = serve_without_rights(directory.path());
    let path = directory.path().join(SHOP);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    // EACCES of the file, and of the directory that another is in.
    allow(&path, 0);
    fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    allow(&directory.path().join("below"), 0);
    logged(&server, "cannot be read: Permission denied");
    logged(&server, "its files stay as they were");
    canary.hold(A_WHILE);
    assert_eq!(answers(&server, "web.other.app.localspace"), ["10.3.0.1"]);
    allow(&directory.path().join("below"), 0o755);
    allow(&path, 0o644);
    canary.change(addresses(1), || drop_file(directory.path(), SHOP, &shop(1)));
    // EIO: a regular file whose first octet cannot be read.
    symlink("/proc/self/mem", directory.path().join("broken")).unwrap();
    fs::rename(directory.path().join("broken"), &path).unwrap();
    logged(&server, "cannot be read: Input/output error");
    canary.hold(A_WHILE);
    // ENOENT.
    canary.change(Addresses::new(), || {
        drop_file(
            directory.path(),
            "kept.json",
            r#"{"app": "shop", "formation": {"web": {"quantity": 2}}, "internal_routing": true}"#,
        );
        fs::remove_file(&path).unwrap();
    });
    canary.end();
}

fn answers(server: &Server, name: &str) -> Vec<String> {
    response(server, name).answer.iter().map(|record| record.rdata.clone()).collect()
}

fn response(server: &Server, name: &str) -> Response {
    Response::read(&server.ask(&Query::new(name, 1).octets(), PATIENCE).expect("a response")).unwrap()
}

#[test]
fn a_space_that_cannot_be_read_is_not_absent() {
    let directory = directory();
    allow(&directory.path().join("space.yaml"), 0);
    let server = serve_without_rights(directory.path());
    logged(&server, "ready: ");
    let refused = response(&server, NAMES[1]);
    assert_eq!((refused.rcode, refused.answer.len()), (5, 0), "the app is in no default space:\n{refused}");
    allow(&directory.path().join("space.yaml"), 0o644);
    let served = poll(PATIENCE, || (answers(&server, NAMES[1]).len() == 2).then_some(()));
    assert!(served.is_some(), "{}", server.log());
}

#[test]
fn a_loss_that_nobody_announced_is_held() {
    if !can_mount("a_loss_that_nobody_announced_is_held") {
        return;
    }
    let (directory, instances) = (many(), 20);
    let server = serve_mounted(":", directory.path(), &["--removal-hold", "3s"]);
    let hidden = directory.path().join("instances");
    let all: Addresses = (1..=instances).map(address).collect();
    let mut canary = Canary::start(&server, &NAMES[1..], all);
    // A mount hides them: nobody was told.
    inside(&server, &format!("mount -t tmpfs none {}", hidden.display()));
    logged(&server, "names would stop answering");
    inside(&server, &format!("umount {}", hidden.display()));
    logged(&server, "nothing is held back any more");
    canary.hold(A_WHILE);
    // And again, for longer than they are kept.
    inside(&server, &format!("mount -t tmpfs none {}", hidden.display()));
    canary.expect(Addresses::new());
    canary.reach();
    logged(&server, "they count as removed now");
    canary.end();
    assert!(server.end().contains("holds=2"), "it is counted");
}

#[test]
fn a_loss_that_was_announced_is_not_held() {
    let directory = many();
    let server = serve(directory.path(), &["--removal-hold", "1h"]);
    for number in 1..=20 {
        fs::remove_file(directory.path().join(format!("instances/{number}.json"))).unwrap();
    }
    let gone = poll(PATIENCE, || answers(&server, NAMES[1]).is_empty().then_some(()));
    assert!(gone.is_some(), "{}", server.log());
}

/// A directory with twenty instances of one app, in a directory of their own, and nothing else.
fn many() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    for number in 1..=20 {
        let content = registration("shop", number, &address(number), "");
        drop_file(directory.path(), &format!("instances/{number}.json"), &content);
    }
    directory
}

fn address(number: u32) -> String {
    format!("10.8.0.{number}")
}

#[test]
fn a_file_held_back_at_the_start_loses_no_conflict() {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    let claim = |app: &str| format!("app: {app}\ninternal_routing: true\nhostnames: [a.example.com]\n");
    let instance = |address: &str| format!("component: web\nnumber: 1\naddress: {address}");
    drop_file(directory.path(), "b.yaml", &format!("{}{}\n", claim("second"), instance("10.0.0.2")));
    // Without its last line feed and written just now: it may be cut off, and is waited for.
    fs::write(directory.path().join("a.yaml"), format!("{}{}", claim("first"), instance("10.0.0.1"))).unwrap();
    let server = serve(directory.path(), &[]);
    assert_eq!(answers(&server, "a.example.com"), ["10.0.0.1"], "{}", server.log());
}
