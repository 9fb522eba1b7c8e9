//! How files are written: slowly, in part, by every tool, in storms, and all at once.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::message::{Query, Response};
use crate::pace::Stopwatch;

#[test]
fn a_slow_writer_is_waited_for_and_one_that_crashed_changes_nothing() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let path = directory.path().join(SHOP);
    // In place, in pieces, with pauses between that are longer than the quiet of a file that is written in place.
    canary.change(addresses(1), || write_slowly(&path, &shop(1)));
    // And by one who closes it each time.
    canary.change(addresses(2), || {
        fs::write(&path, "").unwrap();
        for piece in shop(2).as_bytes().chunks(23) {
            File::options().append(true).open(&path).unwrap().write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    // A crash within a line: an address that nobody has.
    let whole = shop(2);
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    logged(&server, "cut within a line");
    canary.hold(A_WHILE);
    // A crash before the first octet.
    fs::write(&path, "").unwrap();
    logged(&server, "is empty");
    canary.hold(A_WHILE);
    canary.change(addresses(3), || drop_file(directory.path(), SHOP, &shop(3)));
    canary.end();
}

fn write_slowly(path: &Path, content: &str) {
    let mut file = File::create(path).unwrap();
    for piece in content.as_bytes().chunks(17) {
        file.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn answers_are_old_or_new_at_every_prefix() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let path = directory.path().join(SHOP);
    for (version, cut) in (1..).zip((1..shop(0).len()).step_by(29)) {
        canary.change(addresses(version), || {
            let content = shop(version);
            fs::write(&path, &content[..cut]).unwrap();
            std::thread::sleep(Duration::from_millis(150));
            fs::write(&path, content).unwrap();
        });
    }
    canary.end();
}

#[test]
fn a_full_disk_shortens_nothing() {
    if !can_mount("a_full_disk_shortens_nothing") {
        return;
    }
    let (source, mounted) = (directory(), tempfile::tempdir().unwrap());
    let (from, to) = (source.path().display(), mounted.path().display());
    let mount = format!("mount -t tmpfs -o size=64k none {to}; cp {from}/* {to}");
    let server = serve_mounted(&mount, mounted.path(), &[]);
    let place = seen_by(&server, mounted.path());
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let mut filler = File::create(place.join("filler")).unwrap();
    // Truncated, and then there is room for nothing.
    let mut file = File::create(place.join(SHOP)).unwrap();
    fill(&mut filler);
    assert_eq!(file.write_all(shop(1).as_bytes()).unwrap_err().kind(), io::ErrorKind::StorageFull);
    drop(file);
    logged(&server, "its file system is full");
    canary.hold(A_WHILE);
    // There is room for a page: the beginning of a longer file.
    filler.set_len(filler.metadata().unwrap().len() - 4096).unwrap();
    let padding = "# a line that is there to make the file longer than a page\n".repeat(80);
    let long = format!("{padding}{}", shop(1));
    assert_eq!(fs::write(place.join(SHOP), &long).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(fs::metadata(place.join(SHOP)).unwrap().len() > 0);
    canary.hold(A_WHILE);
    fs::remove_file(place.join("filler")).unwrap();
    drop(filler);
    canary.change(addresses(1), || fs::write(place.join(SHOP), &long).unwrap());
    canary.end();
}

fn fill(filler: &mut File) {
    while filler.write_all(&[0; 1024]).is_ok() {}
}

#[test]
fn no_tool_makes_a_gap() {
    let (directory, elsewhere) = (directory(), tempfile::tempdir().unwrap());
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let (path, new) = (directory.path().join(SHOP), elsewhere.path().join("new"));
    let beside = |name: &str| directory.path().join(name);
    let mut version = 0;
    let mut change = |by: &dyn Fn(&str)| {
        version += 1;
        let content = shop(version);
        fs::write(&new, &content).unwrap();
        canary.change(addresses(version), || by(&content));
    };
    let run = |program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]| {
        let ended = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(ended.status.success(), "{program}: {ended:?}");
    };
    for copy in ["no", "yes"] {
        if is_installed("vim") {
            change(&|_| {
                let (set, read) = (format!("set backup backupcopy={copy}"), format!("0r {}", new.display()));
                let commands = ["%d_", &read, "silent! g/^$/d_", "wq"];
                let mut vim = Command::new("vim");
                vim.args(["-Nes", "-u", "NONE", "-c", &set]);
                let ended = vim.args(commands.iter().flat_map(|c| ["-c", c])).arg(&path).stdin(Stdio::null()).output();
                assert!(ended.unwrap().status.success());
            });
        }
    }
    change(&|content| {
        let line = |number: usize| content.lines().nth(number).unwrap().to_owned();
        run("sed", &[&"-i", &format!("7s|.*|{}|;8s|.*|{}|", line(6), line(7)), &path]);
    });
    change(&|_| run("cp", &[&new, &path]));
    change(&|_| run("sh", &[&"-c", &"tee \"$1\" < \"$0\" > /dev/null", &new, &path]));
    change(&|_| run("install", &[&"-m", &"644", &new, &path]));
    if is_installed("rsync") {
        // It takes files of one size and one second for the same, unless it is told not to look at times.
        change(&|_| run("rsync", &[&"--ignore-times", &"--inplace", &new, &path]));
        change(&|_| run("rsync", &[&"--ignore-times", &new, &path]));
    }
    // rsync, as it does without --inplace: a hidden file, its times and rights, a rename.
    change(&|content| {
        let beside = beside(".shop.yaml.k3Jd9x");
        fs::write(&beside, content).unwrap();
        File::open(&beside).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(beside, &path).unwrap();
    });
    // emacs: a lock that is a link to nowhere, the old one renamed to the backup, the new one written and synced.
    change(&|content| {
        symlink("somebody@somewhere.1234:5678", beside(".#shop.yaml")).unwrap();
        fs::rename(&path, beside("shop.yaml~")).unwrap();
        let mut file = File::create_new(&path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.sync_all().unwrap();
        fs::remove_file(beside(".#shop.yaml")).unwrap();
    });
    // nano: in place, from the first octet on.
    change(&|content| fs::write(&path, content).unwrap());
    // gedit: beside it, the old one linked to the backup, a rename.
    change(&|content| {
        let output = beside(".goutputstream-Z5KQ01");
        fs::write(&output, content).unwrap();
        fs::remove_file(beside("shop.yaml~")).unwrap();
        fs::hard_link(&path, beside("shop.yaml~")).unwrap();
        fs::rename(output, &path).unwrap();
    });
    if is_installed("git") {
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
            let ended = Command::new("git").arg("-C").arg(directory.path()).args(identity).args(arguments).output();
            assert!(ended.as_ref().is_ok_and(|ended| ended.status.success()), "{arguments:?}: {ended:?}");
        };
        git(&["init", "-q"]);
        git(&["add", SHOP, "space.yaml"]);
        git(&["commit", "-qm", "one"]);
        let before = version;
        let mut change = |by: &dyn Fn(), next: u16| canary.change(addresses(next), by);
        change(&|| fs::write(&path, shop(before + 1)).unwrap(), before + 1);
        git(&["commit", "-qam", "two"]);
        change(&|| git(&["checkout", "-q", "HEAD~1"]), before);
    }
    let log = server.log();
    // That another test has the admin address is nothing to do with it.
    let is_about_files = |line: &str| line.contains("WARN") && !line.contains("no admin address");
    assert!(!log.lines().any(is_about_files), "a temporary file was taken for a spec:\n{log}");
    canary.end();
}

#[test]
fn a_storm_of_renames_ends_in_the_newest() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let mut version = 0;
    let mut storm = |renames: u16| {
        for _ in 0..renames {
            version += 1;
            canary.expect(addresses(version));
            drop_file(directory.path(), SHOP, &shop(version));
            std::thread::sleep(Duration::from_millis(2));
        }
        let watch = Stopwatch::start();
        canary.reach();
        let given = watch.given();
        println!("the newest is answered {given:?} after the last of {renames} renames");
        given
    };
    // What else goes on at the end of one storm does not go on at the end of every one.
    let soonest = STORMS.map(&mut storm).into_iter().min();
    assert!(soonest < Some(NEWEST_WITHIN), "{soonest:?}");
    canary.end();
    let (generations, renames) = (generations(&server), STORMS.iter().sum::<u16>());
    assert!((1..=usize::from(renames)).contains(&generations), "{generations}");
}

/// How many renames each storm has.
const STORMS: [u16; 5] = [1000, 50, 50, 50, 50];

/// How soon after the last of them the newest is answered.
const NEWEST_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_config_map_changes_all_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let version_of = |version: u16| {
        let (pair, shown) = (addresses(version), format!("..version_{version}"));
        let [one, two] = [0, 1].map(|index| pair.iter().nth(index).unwrap().clone());
        drop_file(place, &format!("{shown}/one.json"), &registration("shop", 1, &one, ""));
        drop_file(place, &format!("{shown}/two.json"), &registration("shop", 2, &two, ""));
        drop_file(place, &format!("{shown}/space.yaml"), SPACE);
        symlink(&shown, place.join("..data_tmp")).unwrap();
        fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
    };
    version_of(0);
    for file in ["space.yaml", "one.json", "two.json"] {
        symlink(format!("..data/{file}"), place.join(file)).unwrap();
    }
    let server = serve(place, &[]);
    let mut canary = Canary::start(&server, &NAMES[1..], addresses(0));
    for version in 1..=10 {
        canary.change(addresses(version), || version_of(version));
        fs::remove_dir_all(place.join(format!("..version_{}", version - 1))).unwrap();
    }
    canary.hold(10);
    canary.end();
    assert_eq!(generations(&server), 10, "one generation for each swap:\n{}", server.log());
}

#[test]
fn many_files_are_swapped_for_as_many() {
    swap(1000);
}

/// Run by hand, and in a release build to see the two seconds: `cargo test --release --test all ten_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "takes long without a release build"]
fn ten_thousand_files_are_swapped_for_ten_thousand() {
    let took = swap(10_000);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Swaps so many registrations of apps of their own for as many others; gives how long after the last write the last hundred of
/// them are answered, and a hundred from all over. To ask for each takes this process longer than the server.
fn swap(files: u32) -> Duration {
    let directory = directory();
    let address = |number: u32| format!("10.{}.{}.{}", 50 + number / 50_000, number / 200 % 250, 1 + number % 200);
    let write = |part: &str, number: u32| {
        let app = format!("{part}-{number}");
        drop_file(
            directory.path(),
            &format!("instances/{part}/{number}.json"),
            &registration(&app, 1, &address(number), ""),
        );
    };
    (0..files).for_each(|number| write("old", number));
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    for number in 0..files {
        write("new", number);
        fs::remove_file(directory.path().join(format!("instances/old/{number}.json"))).unwrap();
    }
    let written = Instant::now();
    let rcode_and_answers = |part: &str, number: u32| {
        let query = Query::new(&format!("web.{part}-{number}.app.localspace"), 1).octets();
        let response = Response::read(&server.ask(&query, PATIENCE).expect("a response")).unwrap();
        response.answer.iter().map(|record| record.rdata.clone()).collect::<Vec<_>>()
    };
    let is_swapped =
        |number| rcode_and_answers("old", number).is_empty() && rcode_and_answers("new", number) == [address(number)];
    let wait_for = |numbers: Vec<u32>| {
        let mut left = numbers;
        let swapped = poll(2 * PATIENCE, || {
            while left.last().is_some_and(|number| is_swapped(*number)) {
                left.pop();
            }
            left.is_empty().then(|| written.elapsed())
        });
        swapped.unwrap_or_else(|| panic!("{} of {files} are not swapped:\n{}", left.len(), server.log()))
    };
    let spread = (0..files).step_by(usize::try_from(files / 100).unwrap());
    let took = wait_for(spread.chain(files - 100..files).collect());
    println!("{files} files were swapped {took:?} after the last write");
    wait_for((0..files).collect());
    canary.hold(10);
    canary.end();
    took
}
