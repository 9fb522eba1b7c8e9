//! What stands in files, and what is no file.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use spacedns::spec::Format;

use super::*;
use crate::pace::computed;

#[test]
fn hostile_contents_are_faults_with_a_place_and_bounded_memory() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let before = memory(&server, "VmHWM:");
    let bomb = {
        let levels = (1..=9).map(|level| {
            let ten = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{ten}]\n")
        });
        format!("name: shop\na0: &a0 lol\n{}", levels.collect::<String>())
    };
    let instances = "- {component: web, number: 1, address: 10.0.0.1}\n".repeat(1_000_000);
    let utf16: Vec<u8> = "name: shop\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // By what is at fault, where, and why.
    let hostile: [(&str, Vec<u8>, &str); 9] = [
        ("tab.yaml", b"name: shop\nservices:\n\t- name: web\n".to_vec(), ":3:1: "),
        ("nul.yaml", b"name: shop\nweb: a\0b\n".to_vec(), ":2:7: "),
        ("utf16.yaml", utf16, ":1:1: "),
        ("latin.yaml", b"name: shop\nweb: \xe9\n".to_vec(), ":2:6: "),
        ("twice.yaml", b"name: shop\nweb: a\nweb: b\n".to_vec(), ":3:1: "),
        ("bomb.yaml", bomb.into_bytes(), ":"),
        ("deep.yaml", [b"name: ".to_vec(), vec![b'['; 20_000], b"\n".to_vec()].concat(), ":1:"),
        ("deep.json", [b"{\"name\": ".to_vec(), vec![b'['; 20_000]].concat(), ":1:"),
        ("million.yaml", format!("app: shop\ninstances:\n{instances}").into_bytes(), "octets, more than"),
    ];
    for (file, content, fault) in &hostile {
        fs::write(directory.path().join(file), content).unwrap();
        logged(&server, &format!("{file}:"));
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&format!("{file}:"))).unwrap();
        assert!(line.contains(fault), "{file}: {line}");
        // The shortest of many readings is what it takes, whatever else goes on. What is too large is not read.
        let format = if file.ends_with("json") { Format::Json } else { Format::Yaml };
        let read = |_| {
            let (reading, took) = computed(|| spacedns::spec::read(content, format, "hostile"));
            assert!(!reading.faults.is_empty(), "{file}");
            took
        };
        if content.len() < LARGE {
            let took = (0..20).map(read).min().unwrap();
            assert!(took < FAULT_WITHIN, "{file}: {took:?}");
        }
    }
    // A gibibyte that takes no room.
    File::create(directory.path().join("sparse.yaml")).unwrap().set_len(1 << 30).unwrap();
    logged(&server, "has 1073741824 octets");
    // Over what was good: it stays.
    for (_, content, _) in &hostile {
        fs::write(directory.path().join(SHOP), content).unwrap();
        canary.hold(10);
    }
    canary.hold(A_WHILE);
    let grown = memory(&server, "VmHWM:") - before;
    println!("at most {grown} KiB more than before");
    assert!(grown < GROWTH_MAX, "{grown} KiB");
    fs::write(directory.path().join("million.yaml"), "").unwrap();
    canary.change(addresses(1), || drop_file(directory.path(), SHOP, &shop(1)));
    canary.end();
}

/// How soon the fault of what is no spec is known; a debug build takes ten times what it should.
const FAULT_WITHIN: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });

/// In octets; what has more is passed over by its size.
const LARGE: usize = 4 << 20;

/// In KiB, of everything above together; a debug build takes several times what it should.
const GROWTH_MAX: u64 = 100 * 1024;

/// A line of `/proc/PID/status`, in KiB.
fn memory(server: &Server, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_is_no_file_is_never_opened() {
    let directory = directory();
    let place = directory.path();
    // The sandbox alone would keep it from what is in /etc.
    let server = serve(place, &["--also-read", "/etc"]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    assert!(Command::new("mkfifo").arg(place.join("fifo.yaml")).status().unwrap().success());
    let _socket = UnixListener::bind(place.join("socket.json")).unwrap();
    symlink("/dev/zero", place.join("zero.yaml")).unwrap();
    symlink("loop.yaml", place.join("loop.yaml")).unwrap();
    symlink("/etc/passwd", place.join("passwd.yaml")).unwrap();
    symlink("/", place.join("root")).unwrap();
    symlink("/", place.join("root.yaml")).unwrap();
    fs::create_dir(place.join("directory.yaml")).unwrap();
    for (file, fault) in [
        ("fifo.yaml", "a FIFO"),
        ("socket.json", "a socket"),
        ("zero.yaml", "a device"),
        ("loop.yaml", "cannot be read"),
        ("root.yaml", "a link to a directory"),
        ("passwd.yaml", "out of the spec directory"),
    ] {
        logged(&server, &format!("{file}:"));
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&format!("{file}:"))).unwrap();
        assert!(line.contains(fault), "{line}");
    }
    // What is in `x.yaml`, a directory, counts as in any other.
    canary.change(addresses(1), || {
        drop_file(place, "directory.yaml/shop.yaml", &shop(1));
        fs::remove_file(place.join(SHOP)).unwrap();
    });
    canary.hold(A_WHILE);
    canary.end();
    let log = server.end();
    assert!(!log.contains("root:") && !log.contains("/bin/"), "a fault quotes what is not ours:\n{log}");
    assert!(!log.contains("directory.yaml:"), "{log}");
}

#[test]
fn reserved_names_are_refused() {
    let directory = directory();
    let reserved = ["localhost", "wpad", "isatap", "local", "invalid", "onion", "_tcp"];
    for name in reserved {
        drop_file(directory.path(), &format!("app-{name}.yaml"), &format!("name: {name}\nservices: [{{name: web}}]\n"));
        drop_file(
            directory.path(),
            &format!("component-{name}.yaml"),
            &format!("name: a-{}\nservices: [{{name: {name}}}]\n", name.trim_matches('_')),
        );
    }
    let check = Command::new(SPACEDNS).arg("check").arg(directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    for name in reserved {
        for kind in ["app", "component"] {
            let line = said.lines().find(|line| {
                line.contains(&format!("{kind}-{name}.yaml:1:")) || line.contains(&format!("{kind}-{name}.yaml:2:"))
            });
            assert!(line.is_some_and(|line| line.contains(name)), "{kind} {name}:\n{said}");
        }
    }
}

#[test]
fn a_mark_and_carriage_returns_are_taken() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let marked = |version: u16| format!("\u{feff}{}", shop(version).replace('\n', "\r\n"));
    canary.change(addresses(1), || drop_file(directory.path(), SHOP, &marked(1)));
    canary.change(addresses(2), || fs::write(directory.path().join(SHOP), marked(2)).unwrap());
    canary.end();
    let log = server.log();
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains(SHOP)), "{log}");
}

#[test]
fn a_thousand_hangups_lose_nothing() {
    let directory = directory();
    let server = serve(directory.path(), &[]);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    let hangups = format!("i=0; while [ $i -lt 1000 ]; do kill -s HUP {}; i=$((i + 1)); done", server.id());
    assert!(Command::new("sh").args(["-c", &hangups]).status().unwrap().success());
    canary.change(addresses(1), || drop_file(directory.path(), SHOP, &shop(1)));
    canary.hold(A_WHILE);
    canary.end();
    assert_eq!(generations(&server), 1, "{}", server.log());
}
