//! Which names leave for an upstream, by which rule, and what is counted of those that do not.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::message::{CLIENT_SUBNET, Edns, Query, Response, client_subnet, wire_name};
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, drop_file, poll};
use crate::upstream::{APP, Upstream, asked, behind, errors, lines, record, server};

/// How often something was counted, by the log of a server that has ended.
fn counted(log: &str, name: &str) -> u64 {
    let line = log.lines().rev().find(|line| line.contains("counted: ")).unwrap_or_else(|| panic!("{log}"));
    let count = line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    // The line may end in colour.
    let digits = |count: &str| count.find(|other: char| !other.is_ascii_digit()).unwrap_or(count.len());
    count.map_or(0, |count| count[..digits(count)].parse().unwrap())
}

#[test]
fn what_does_not_leave_is_counted_by_its_reason() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = behind(&upstream);
    let reasons = [
        ("withheld-single-label", &["web", "intranet"][..]),
        ("withheld-exclusive-suffix", &["nobody.app.localspace", "1.web.nobody.app.localspace", "app.localspace"]),
        ("withheld-overlay-name", &["shop.herokuapp.com"]),
        ("withheld-special-use", &["printer.local", "x.onion", "y.test", "z.internal", "home.arpa"]),
        (
            "withheld-private-reverse",
            &["1.0.168.192.in-addr.arpa", "8.e.f.ip6.arpa", "10.in-addr.arpa", "a.d.f.ip6.arpa"],
        ),
    ];
    for name in reasons.iter().flat_map(|(_, names)| *names) {
        // A type that none of them has.
        assert_eq!(asked(&server, name, 15).answer.len(), 0, "{name}");
    }
    assert_eq!(asked(&server, "shop.herokuapp.com", 1).answer.len(), 1);
    assert_eq!(upstream.packets(), 0);
    let log = server.end();
    for (reason, names) in reasons {
        assert_eq!(counted(&log, reason), names.len() as u64, "{reason}: {log}");
    }
}

#[test]
fn a_rule_of_its_own_sends_a_reserved_zone_elsewhere_and_what_is_ours_in_it_stays() {
    let everything = Upstream::start(|asked| vec![asked.answer([203, 0, 113, 66], 600)]);
    let own = Upstream::start(|asked| {
        vec![if asked.octets.ends_with(&[0, 12, 0, 1]) || asked.octets.windows(4).any(|four| four == [0, 12, 0, 1]) {
            asked.response(0, &[(0, record(&[0xc0, 12], 12, 60, &wire_name("host.corp.example")))])
        } else {
            asked.answer([10, 9, 0, 1], 60)
        }]
    });
    let zones = ["internal", "home.arpa", "10.in-addr.arpa", "intranet", "9.168.192.in-addr.arpa"];
    let mut upstreams: Vec<String> = zones.iter().map(|zone| format!("{zone}={}", own.address)).collect();
    upstreams.push(everything.address.to_string());
    let (server, directory) = server(&upstreams, &[]);
    drop_file(
        directory.path(),
        "inside.yaml",
        &APP.replace("shop", "inside").replace("56", "57").replace("app: ", "hostnames: [inside.corp.internal]\napp: "),
    );
    assert!(
        poll(PATIENCE, || (lines(&asked(&server, "inside.corp.internal", 1))
            == ["inside.corp.internal. 5 A 10.0.130.57"])
        .then_some(()))
        .is_some(),
        "{}",
        server.log()
    );
    // Before it was ours, it was asked for like its neighbours.
    let before = own.packets();
    for (name, qtype, rdata) in [
        ("host.internal", 1, "10.9.0.1"),
        ("internal", 1, "10.9.0.1"),
        ("corp.internal", 1, "10.9.0.1"),
        ("printer.home.arpa", 1, "10.9.0.1"),
        ("intranet", 1, "10.9.0.1"),
        ("1.2.0.10.in-addr.arpa", 12, "host.corp.example."),
        ("1.9.168.192.in-addr.arpa", 12, "host.corp.example."),
        ("56.130.0.10.in-addr.arpa", 12, "1.web.shop.app.localspace."),
        ("inside.corp.internal", 1, "10.0.130.57"),
    ] {
        let response = asked(&server, name, qtype);
        let found: Vec<&str> = response.answer.iter().map(|record| record.rdata.as_str()).collect();
        assert_eq!(found, [rdata], "{name}: {response:?}");
    }
    // Above an address of ours there is something, whatever another says; and the neighbours of what was opened stay closed.
    for (name, rcode) in [
        ("130.0.10.in-addr.arpa", 0),
        ("1.8.168.192.in-addr.arpa", 3),
        ("extranet", 3),
        ("host.local", 3),
        ("_dns.resolver.arpa", 0),
    ] {
        let response = asked(&server, name, 12);
        assert_eq!((response.rcode, response.answer.len(), response.aa), (rcode, 0, true), "{name}");
    }
    assert_eq!(everything.packets(), 0);
    assert_eq!(own.packets() - before, 7);
}

#[test]
fn an_owned_name_goes_nowhere_whatever_its_state() {
    let upstream = Upstream::start(|asked| vec![asked.answer([203, 0, 113, 66], 600)]);
    let (server, directory) = server(&[upstream.address.to_string()], &["--tombstone=1h"]);
    assert_eq!(asked(&server, "shop.herokuapp.com", 1).answer.len(), 1);
    drop_file(directory.path(), "shop.yaml", &APP.replace("10.0.130.56", "10.0.130.56, state: down"));
    let state = |rcode: u16, what: &str| {
        let found = poll(PATIENCE, || {
            let response = asked(&server, "shop.herokuapp.com", 1);
            (response.answer.is_empty() && response.rcode == rcode).then_some(())
        });
        assert!(found.is_some(), "{what}: {}", server.log());
    };
    state(0, "its gate is closed");
    std::fs::remove_file(directory.path().join("shop.yaml")).unwrap();
    state(3, "it was removed");
    assert_eq!(upstream.packets(), 0);
}

#[test]
fn a_removed_name_is_foreign_once_its_hour_is_over() {
    let upstream = Upstream::start(|asked| vec![asked.answer([203, 0, 113, 66], 600)]);
    let (server, directory) = server(&[upstream.address.to_string()], &["--tombstone=100ms"]);
    assert_eq!(asked(&server, "shop.herokuapp.com", 1).answer.len(), 1);
    std::fs::remove_file(directory.path().join("shop.yaml")).unwrap();
    let foreign = poll(PATIENCE, || {
        let response = asked(&server, "shop.herokuapp.com", 1);
        (response.answer.first()?.rdata == "203.0.113.66").then_some(response.aa)
    });
    assert_eq!(foreign, Some(false), "{}", server.log());
}

#[test]
fn the_hosts_own_list_is_asked() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let list = tempfile::tempdir().unwrap();
    drop_file(
        list.path(),
        "resolv.conf",
        &format!("search example\nnameserver {}\noptions ndots:1\n", upstream.address),
    );
    let (server, _directory) = server(&[format!("resolv.conf={}", list.path().join("resolv.conf").display())], &[]);
    assert_eq!(lines(&asked(&server, "www.example", 1)), ["www.example. 600 A 192.0.2.1"]);
}

#[test]
fn what_a_client_says_in_its_flags_is_passed_on_and_its_options_are_not() {
    let upstream = Upstream::start(|asked| {
        let end = asked.octets.len();
        // RD and CD; one record, an OPT of eleven octets with DO and no option.
        let is_right = asked.octets[2..4] == [0x01, 0x10]
            && asked.octets[6..12] == [0, 0, 0, 0, 0, 1]
            && asked.octets[end - 11..] == [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];
        let mut response = asked.answer([192, 0, 2, u8::from(is_right)], 600);
        // An upstream may say what it likes of itself: AA, AD and Z are not passed on.
        response[2] |= 0x04;
        response[3] |= 0x70;
        vec![response]
    });
    let (server, _directory) = behind(&upstream);
    let options = vec![(CLIENT_SUBNET, client_subnet([192, 0, 2, 0].into(), 24, 0)), (65_001, b"x".to_vec())];
    let edns = Some(Edns { size: 4096, version: 0, dnssec_ok: true, options });
    let query = Query { flags: 0x0110, edns, ..Query::new("www.example", 1) };
    let response = Response::read(&server.ask(&query.octets(), PATIENCE).unwrap()).unwrap();
    assert_eq!(lines(&response), ["www.example. 600 A 192.0.2.1"]);
    assert!(response.cd && response.ra && !response.aa && !response.ad);
    let edns = response.edns.unwrap();
    assert!(edns.dnssec_ok && edns.options.is_empty(), "{edns:?}");
}

#[test]
fn hints_of_a_service_are_no_way_to_ones_own_machine() {
    let upstream = Upstream::start(|asked| {
        let hints = |address: [u8; 4]| [&[0, 1, 0, 0, 4, 0, 4][..], &address].concat();
        let local = [0_u8; 15].into_iter().chain([1]);
        let v6 = [&[0, 28, 0, 1, 0, 0, 0, 60, 0, 16][..], &local.collect::<Vec<u8>>()].concat();
        let mut response = asked.response(
            0,
            &[
                (0, record(&[0xc0, 12], 65, 60, &hints([192, 0, 2, 1]))),
                (0, record(&[0xc0, 12], 65, 60, &hints([127, 0, 0, 1]))),
            ],
        );
        response[11] = 1;
        response.extend([&[0xc0, 12][..], &v6].concat());
        vec![response]
    });
    let (server, _directory) = server(&[upstream.address.to_string()], &["--allow-private=corp.example"]);
    let loopback = |octets: &[u8]| octets.windows(4).any(|four| four == [127, 0, 0, 1]);
    // By octets: the two readers that tests have print an empty list of parameters differently.
    let octets = server.ask(&Query::new("www.example", 65).octets(), PATIENCE).unwrap();
    assert_eq!(octets[6..12], [0, 2, 0, 0, 0, 1], "both services, no address beside them, OPT");
    assert!(octets.windows(9).any(|text| text == b"addresses"), "EDE 15");
    assert!(!loopback(&octets) && octets.windows(4).any(|four| four == [192, 0, 2, 1]));
    let octets = server.ask(&Query::new("www.corp.example", 65).octets(), PATIENCE).unwrap();
    assert!(loopback(&octets), "the zone is allowed to");
}

#[test]
fn negative_answers_hold_as_long_as_their_soa_says_and_not_at_all_without() {
    let upstream = Upstream::start(|asked| {
        if asked.is_for("bare.example") {
            return vec![asked.response(3, &[])];
        }
        let numbers: Vec<u8> = [1_u32, 1800, 900, 604_800, 86_400].into_iter().flat_map(u32::to_be_bytes).collect();
        let soa = [wire_name("ns.example"), wire_name("nobody.example"), numbers].concat();
        let rcode = if asked.is_for("gone.example") { 3 } else { 0 };
        vec![asked.response(rcode, &[(1, record(&wire_name("example"), 6, 86_400, &soa))])]
    });
    let (server, _directory) = behind(&upstream);
    for (name, rcode, packets) in [("gone.example", 3, 1), ("empty.example", 0, 1), ("bare.example", 3, 2)] {
        let before = upstream.packets();
        for _ in 0..2 {
            let response = asked(&server, name, 1);
            assert_eq!((response.rcode, response.answer.len()), (rcode, 0), "{name}");
            assert!(response.authority.iter().all(|soa| (290..=300).contains(&soa.ttl)), "{response:?}");
        }
        assert_eq!(upstream.packets() - before, packets, "{name}");
    }
}

#[test]
fn an_answer_for_now_is_given_once() {
    let upstream = Upstream::start(|asked| {
        let ttl = if asked.is_for("odd.example") { 0xffff_ffff } else { 0 };
        vec![asked.answer([192, 0, 2, 1], ttl)]
    });
    let (server, _directory) = behind(&upstream);
    for name in ["now.example", "odd.example"] {
        let before = upstream.packets();
        for _ in 0..2 {
            assert_eq!(lines(&asked(&server, name, 1)), [format!("{name}. 0 A 192.0.2.1")], "RFC 2181 §8");
        }
        assert_eq!(upstream.packets() - before, 2, "{name}");
    }
}

#[test]
fn a_ttl_counts_down_and_never_to_nothing() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 2)]);
    let (server, _directory) = behind(&upstream);
    let mut seen = [false; 3];
    let begun = Instant::now();
    while upstream.packets() < 3 {
        let response = asked(&server, "www.example", 1);
        let ttl = response.answer[0].ttl;
        assert!((1..=2).contains(&ttl), "{ttl}");
        seen[ttl as usize] = true;
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen, [false, true, true]);
}

#[test]
fn a_stale_answer_comes_in_time_and_a_late_one_takes_its_place() {
    let is_seen = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let (begun, is_seen) = (std::sync::OnceLock::new(), Arc::clone(&is_seen));
        move |asked| {
            if begun.set(()).is_ok() {
                return vec![asked.answer([192, 0, 2, 1], 1)];
            }
            poll(PATIENCE, || is_seen.load(Ordering::SeqCst).then_some(()));
            vec![asked.answer([192, 0, 2, 2], 600)]
        }
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(asked(&server, "www.example", 1).answer[0].rdata, "192.0.2.1");
    std::thread::sleep(Duration::from_millis(1_100));
    let (watch, begun) = (Stopwatch::start(), Instant::now());
    let response = asked(&server, "www.example", 1);
    is_seen.store(true, Ordering::SeqCst);
    assert_eq!((lines(&response), errors(&response)), (vec!["www.example. 30 A 192.0.2.1".to_owned()], vec![3]));
    let (elapsed, given) = (begun.elapsed(), watch.given());
    assert!(elapsed >= Duration::from_millis(1_700) && given < Duration::from_millis(2_600), "{elapsed:?}, {given:?}");
    let newer = poll(PATIENCE, || (asked(&server, "www.example", 1).answer[0].rdata == "192.0.2.2").then_some(()));
    assert!(newer.is_some());
    assert!(upstream.packets() <= 3, "the flight went on: {} packets", upstream.packets());
}

#[test]
fn an_error_of_an_upstream_is_not_asked_for_again_at_once() {
    for rcode in [2, 4, 5] {
        let upstream = Upstream::start(move |asked| vec![asked.response(rcode, &[])]);
        let (server, _directory) = behind(&upstream);
        for _ in 0..5 {
            let response = asked(&server, "www.example", 1);
            assert_eq!((response.rcode, errors(&response)), (2, vec![22]));
        }
        assert_eq!(upstream.packets(), 1, "rcode {rcode}");
    }
}
