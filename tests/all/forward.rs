//! Forwarding, against the built binary and a fake upstream on loopback that counts what it is asked.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::message::{Query, Response, wire_name};
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, SPACEDNS, Server, ask, drop_file, poll};
use crate::tls::{Encrypted, ask_quic, framed, read_frame, run};
use crate::upstream::{APP, Upstream, address, alias, asked, behind, errors, lines, owned_answers, record, server};

#[test]
fn a_foreign_name_is_answered_by_the_upstream_once_and_from_then_on_by_us() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = behind(&upstream);
    for (id, name) in [(1, "www.example"), (2, "WWW.Example"), (3, "www.eXample")] {
        let query = Query { id, ..Query::new(name, 1) };
        for octets in [server.ask(&query.octets(), PATIENCE), server.ask_stream(&query.octets(), PATIENCE)] {
            let octets = octets.unwrap();
            assert_eq!(octets[12..12 + query.qname.len()], query.qname, "the question's own case");
            let response = Response::read(&octets).unwrap();
            assert_eq!((response.id, response.rcode), (id, 0));
            assert!(response.ra && !response.aa && !response.ad && !response.tc);
            assert_eq!(response.edns.unwrap().size, 1232);
            assert_eq!(response.answer.len(), 1);
            assert_eq!(response.answer[0].rdata, "192.0.2.1");
            assert!((590..=600).contains(&response.answer[0].ttl));
        }
    }
    assert_eq!(upstream.packets(), 1);
    owned_answers(&server);
    let plain = Query { edns: None, ..Query::new("www.example", 1) };
    assert_eq!(Response::read(&server.ask(&plain.octets(), PATIENCE).unwrap()).unwrap().edns, None);
}

#[test]
fn what_is_ours_or_nobodys_never_leaves() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = behind(&upstream);
    for (name, rcode) in [
        ("web", 3),
        ("shop.herokuapp.com", 0),
        ("nobody.app.localspace", 3),
        ("localhost", 0),
        ("printer.local", 3),
        ("x.onion", 3),
        ("1.0.168.192.in-addr.arpa", 3),
        ("_dns.resolver.arpa", 0),
    ] {
        assert_eq!(asked(&server, name, 1).rcode, rcode, "{name}");
    }
    assert_eq!(upstream.packets(), 0);
    assert_eq!(asked(&server, "other.herokuapp.com", 1).answer.len(), 1, "its neighbour does");
    let quiet = Query { flags: 0, ..Query::new("quiet.example", 1) };
    assert_eq!(Response::read(&server.ask(&quiet.octets(), PATIENCE).unwrap()).unwrap().rcode, 5, "without RD");
    assert_eq!(upstream.packets(), 1);
}

#[test]
fn lies_are_passed_over_and_the_wait_goes_on() {
    let upstream = Upstream::start(|asked| {
        let lie = asked.answer([203, 0, 113, 66], 600);
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        elsewhere.send_to(&lie, asked.from).unwrap();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut lie = lie.clone();
            change(&mut lie);
            lie
        };
        vec![
            with(&|lie| lie[0] ^= 1),
            with(&|lie| lie[2] &= 0x7f),
            with(&|lie| lie[13] ^= 0x20),
            with(&|lie| lie[13] = b'x'),
            with(&|lie| lie[5] = 0),
            with(&|lie| lie.truncate(20)),
            // A header that says FORMERR has no answer, and one that does not says nothing.
            with(&|lie| {
                lie.truncate(12);
                lie[4..].fill(0);
            }),
            asked.answer([192, 0, 2, 1], 600),
            with(&|_| ()),
        ]
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(lines(&asked(&server, "www.example", 1)), ["www.example. 600 A 192.0.2.1"]);
    assert_eq!(upstream.packets(), 1);
}

#[test]
fn nobody_else_has_a_word_on_names_of_ours() {
    let upstream = Upstream::start(|asked| {
        let evil = [203, 0, 113, 66];
        let records = if asked.is_for("alias.example") {
            vec![
                alias("alias.example", "b.example"),
                alias("b.example", "shop.herokuapp.com"),
                address("shop.herokuapp.com", evil),
            ]
        } else if asked.is_for("gone.example") {
            let numbers: Vec<u8> = [1_u32, 1800, 900, 604_800, 86_400].into_iter().flat_map(u32::to_be_bytes).collect();
            let soa = [wire_name("a.root.example"), wire_name("nobody.example"), numbers].concat();
            let soa = (1, record(&[0], 6, 86_400, &soa));
            return vec![asked.response(3, &[alias("gone.example", "nobody.app.localspace"), soa])];
        } else {
            let extra = |name: &str| (2, record(&wire_name(name), 1, 60, &evil));
            vec![address("www.example", [192, 0, 2, 1]), extra("shop.herokuapp.com"), extra("ns.example")]
        };
        vec![asked.response(0, &records)]
    });
    let (server, _directory) = behind(&upstream);
    for _ in 0..2 {
        let response = asked(&server, "www.example", 1);
        assert_eq!(response.answer.len(), 1);
        let additional: Vec<String> = response.additional.iter().map(|record| record.owner.to_string()).collect();
        assert_eq!(additional, ["ns.example."]);
        let response = asked(&server, "alias.example", 1);
        let rdata: Vec<&str> = response.answer.iter().map(|record| record.rdata.as_str()).collect();
        assert_eq!(rdata, ["b.example.", "shop.herokuapp.com.", "10.0.130.56"]);
        assert_eq!(response.answer[2].owner.to_string(), "shop.herokuapp.com.");
        let response = asked(&server, "gone.example", 1);
        assert_eq!((response.rcode, response.answer.len(), response.authority.len()), (3, 1, 1));
        assert_eq!(response.authority[0].owner.to_string(), "app.localspace.");
    }
    assert_eq!(upstream.packets(), 3);
}

#[test]
fn a_name_that_becomes_ours_is_ours_at_once() {
    let upstream = Upstream::start(|asked| vec![asked.answer([203, 0, 113, 66], 600)]);
    let (server, directory) = behind(&upstream);
    assert_eq!(asked(&server, "late.herokuapp.com", 1).answer[0].rdata, "203.0.113.66");
    drop_file(directory.path(), "late.yaml", &APP.replace("shop", "late").replace("56", "57"));
    let ours = poll(PATIENCE, || {
        let response = asked(&server, "late.herokuapp.com", 1);
        (response.aa && response.answer[0].rdata == "10.0.130.57").then_some(())
    });
    assert!(ours.is_some(), "{}", server.log());
}

#[test]
fn what_does_not_fit_comes_over_tcp_and_is_cut_for_who_cannot_take_it() {
    let upstream = Upstream::start(|asked| {
        if !asked.tcp {
            let mut cut = asked.answer([203, 0, 113, 66], 600);
            cut[2] |= 2;
            return vec![cut];
        }
        let records: Vec<_> = (0..100_u8).map(|host| (0, record(&[0xc0, 12], 1, 60, &[192, 0, 2, host]))).collect();
        vec![asked.response(0, &records)]
    });
    let (server, _directory) = behind(&upstream);
    let query = Query::new("many.example", 1);
    let cut = asked(&server, "many.example", 1);
    assert!(cut.tc && cut.answer.is_empty() && cut.edns.is_some());
    let whole = Response::read(&server.ask_stream(&query.octets(), PATIENCE).unwrap()).unwrap();
    assert!(!whole.tc);
    assert_eq!(whole.answer.len(), 100);
    assert_eq!(upstream.packets(), 2, "one over UDP, one over TCP");
}

#[test]
fn unknown_types_are_carried_to_the_octet() {
    let rdata: Vec<u8> = (0..=255).collect();
    let sent = rdata.clone();
    let upstream =
        Upstream::start(move |asked| vec![asked.response(0, &[(0, record(&[0xc0, 12], 65_280, 60, &sent))])]);
    let (server, _directory) = behind(&upstream);
    let octets = server.ask(&Query::new("www.example", 65_280).octets(), PATIENCE).unwrap();
    assert!(octets.windows(256).any(|window| window == rdata));
}

#[test]
fn addresses_of_ones_own_machine_are_taken_out_but_where_they_are_allowed() {
    let upstream = Upstream::start(|asked| {
        let local = |owner: &[u8], octets: &[u8]| (0, record(owner, 1, 60, octets));
        vec![asked.response(0, &[local(&[0xc0, 12], &[127, 0, 0, 1]), local(&[0xc0, 12], &[10, 1, 2, 3])])]
    });
    let (server, _directory) = server(&[upstream.address.to_string()], &["--allow-private=corp.example"]);
    let response = asked(&server, "rebind.example", 1);
    assert_eq!(lines(&response), ["rebind.example. 60 A 10.1.2.3"]);
    assert_eq!(errors(&response), [15]);
    let response = asked(&server, "host.corp.example", 1);
    assert_eq!((response.answer.len(), errors(&response)), (2, vec![]));
}

#[test]
fn a_dead_upstream_is_said_within_four_seconds_and_not_asked_again_at_once() {
    let upstream = Upstream::start(|_| Vec::new());
    let (server, _directory) = behind(&upstream);
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| asked(&server, "www.example", 1));
        while !waiting.is_finished() {
            owned_answers(&server);
        }
        let response = waiting.join().unwrap();
        assert_eq!((response.rcode, errors(&response)), (2, vec![22]));
    });
    let given = watch.given();
    assert!(given < Duration::from_secs(4), "{given:?}");
    assert!((1..=3).contains(&upstream.packets()), "{} packets", upstream.packets());
    let (packets, again) = (upstream.packets(), Stopwatch::start());
    assert_eq!(asked(&server, "www.example", 1).rcode, 2);
    assert!(again.given() < Duration::from_millis(900));
    assert_eq!(upstream.packets(), packets);
}

#[test]
fn another_upstream_is_asked_when_the_first_is_slow_or_declines() {
    let dead = Upstream::start(|_| Vec::new());
    let declining = Upstream::start(|asked| vec![asked.response(5, &[])]);
    let well = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    for first in [&dead, &declining] {
        let (server, _directory) = server(&[first.address.to_string(), well.address.to_string()], &[]);
        let watch = Stopwatch::start();
        assert_eq!(asked(&server, "www.example", 1).answer.len(), 1);
        let given = watch.given();
        assert!(given < Duration::from_millis(1_500), "{given:?}");
    }
    // On a machine that stalls, a response that is on its way may be given up: then all are asked once more.
    for (upstream, least) in [(&dead, 1), (&declining, 1), (&well, 2)] {
        assert!((least..=2 * least).contains(&upstream.packets()), "{} packets", upstream.packets());
    }
}

#[test]
fn a_dead_upstream_is_passed_over_after_five_failures() {
    let dead = Upstream::start(|_| Vec::new());
    let well = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = server(&[dead.address.to_string(), well.address.to_string()], &[]);
    for number in 0..5 {
        assert_eq!(asked(&server, &format!("n{number}.example"), 1).answer.len(), 1);
    }
    let (watch, begun) = (Stopwatch::start(), Instant::now());
    for number in 5..25 {
        assert_eq!(asked(&server, &format!("n{number}.example"), 1).answer.len(), 1);
    }
    let (given, seconds) = (watch.given(), usize::try_from(begun.elapsed().as_secs()).unwrap());
    assert!(given < Duration::from_secs(3), "20 queries took {given:?}");
    assert!(dead.packets() <= 5 + seconds + 2, "it is looked at once a second: {} in {seconds} s", dead.packets());
}

#[test]
fn an_upstream_that_goes_and_comes_back_is_told_of_once_each() {
    let is_there = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let is_there = Arc::clone(&is_there);
        move |asked| if is_there.load(Ordering::SeqCst) { vec![asked.answer([192, 0, 2, 1], 600)] } else { Vec::new() }
    });
    let well = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = server(&[upstream.address.to_string(), well.address.to_string()], &[]);
    let mut number = 0;
    let mut until_logged = |words: &str| {
        let logged = poll(PATIENCE, || {
            number += 1;
            let response = asked(&server, &format!("n{number}.example"), 1);
            assert_eq!((response.answer.len(), errors(&response)), (1, vec![]), "the other answers, and that is all");
            server.log().contains(words).then_some(())
        });
        assert!(logged.is_some(), "{words}:\n{}", server.log());
    };
    let who = format!("upstream 1 ({}, for .)", upstream.address);
    until_logged(&format!("{who} has not responded 5 times in a row"));
    is_there.store(true, Ordering::SeqCst);
    until_logged(&format!("{who} responds again"));
    let log = server.end();
    assert_eq!((log.matches("has not responded").count(), log.matches("responds again").count()), (1, 1), "{log}");
    assert!(log.contains(&format!("upstream 2 is {}, asked about foreign names below .", well.address)), "{log}");
}

#[test]
fn an_upstream_that_knows_no_edns_is_asked_without() {
    let upstream = Upstream::start(|asked| {
        let has_edns = asked.octets[11] == 1;
        vec![if has_edns { asked.response(1, &[]) } else { asked.answer([192, 0, 2, 1], 600) }]
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(asked(&server, "a.example", 1).answer.len(), 1);
    assert_eq!(upstream.packets(), 2);
    assert_eq!(asked(&server, "b.example", 1).answer.len(), 1);
    assert_eq!(upstream.packets(), 3, "it is remembered");
}

#[test]
fn an_old_upstream_that_sends_a_bare_header_for_edns_is_asked_without() {
    let upstream = Upstream::start(|asked| {
        if asked.octets[11] == 0 {
            return vec![asked.answer([192, 0, 2, 1], 600)];
        }
        let mut bare = asked.octets[..12].to_vec();
        bare[2..].copy_from_slice(&[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut forged = bare.clone();
        forged[1] ^= 1;
        vec![forged, bare]
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(lines(&asked(&server, "a.example", 1)), ["a.example. 600 A 192.0.2.1"]);
    assert_eq!(upstream.packets(), 2);
    let response = asked(&server, "b.example", 1);
    assert_eq!((response.answer.len(), response.edns.is_some()), (1, true), "our client's OPT is ours");
    assert_eq!(upstream.packets(), 3, "it is remembered");
}

#[test]
fn a_bare_header_is_never_an_answer() {
    let upstream = Upstream::start(|asked| {
        let mut bare = asked.octets[..12].to_vec();
        bare[2..].copy_from_slice(&[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
        vec![bare]
    });
    let (server, _directory) = behind(&upstream);
    let response = asked(&server, "a.example", 1);
    assert_eq!((response.rcode, errors(&response)), (2, vec![22]));
    assert!((2..=3).contains(&upstream.packets()), "{} packets", upstream.packets());
}

#[test]
fn upstreams_that_are_all_down_are_tried_all_the_same() {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let upstream =
        Upstream::start(
            move |asked| {
                if dead.load(Ordering::SeqCst) { Vec::new() } else { vec![asked.answer([192, 0, 2, 1], 600)] }
            },
        );
    let (server, _directory) = behind(&upstream);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let server = &server;
            scope.spawn(move || assert_eq!(asked(server, &format!("n{number}.example"), 1).rcode, 2));
        }
    });
    is_dead.store(false, Ordering::SeqCst);
    assert_eq!(asked(&server, "next.example", 1).answer.len(), 1, "it has failed more than five times");
}

#[test]
fn a_loop_through_an_upstream_ends() {
    let target = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
    let known = Arc::clone(&target);
    let upstream = Upstream::start(move |asked| {
        let Some(target) = *known.lock().unwrap() else { return Vec::new() };
        // As a forwarder does that has us as its upstream: its client need not wait for the response.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(asked.octets, target).unwrap();
        Vec::new()
    });
    let (server, _directory) = behind(&upstream);
    *target.lock().unwrap() = Some(server.address);
    let watch = Stopwatch::start();
    assert_eq!(asked(&server, "www.example", 1).rcode, 2);
    assert!(watch.given() < Duration::from_secs(4));
    assert!(upstream.packets() <= 3, "{} packets", upstream.packets());
    owned_answers(&server);
}

#[test]
fn we_are_no_upstream_of_our_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(SPACEDNS);
    command.arg("serve").arg(directory.path()).args(["--listen=127.0.0.77:5399", "--upstream=127.0.0.77:5399"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("127.0.0.77:5399 is an address that this server answers on itself"), "{text}");
}

#[test]
fn what_has_run_out_is_better_than_nothing() {
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let upstream = Upstream::start(move |asked| {
        if is_dead.load(Ordering::SeqCst) { Vec::new() } else { vec![asked.answer([192, 0, 2, 1], 1)] }
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(lines(&asked(&server, "www.example", 1)), ["www.example. 1 A 192.0.2.1"]);
    dead.store(true, Ordering::SeqCst);
    let stale = poll(PATIENCE, || {
        let watch = Stopwatch::start();
        let response = asked(&server, "www.example", 1);
        let given = watch.given();
        assert!(given < Duration::from_millis(2_400), "{given:?}");
        (errors(&response) == [3]).then_some(response)
    });
    assert_eq!(lines(&stale.unwrap()), ["www.example. 30 A 192.0.2.1"]);
}

/// Holds back what an upstream answers, until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn upstream(&self) -> Upstream {
        let gate = self.clone();
        Upstream::start(move |asked| {
            poll(PATIENCE, || gate.0.load(Ordering::SeqCst).then_some(()));
            vec![asked.answer([192, 0, 2, 1], 600)]
        })
    }

    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn close(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_slow_forward_is_overtaken_on_the_same_connection() {
    let gate = Gate::default();
    let upstream = gate.upstream();
    let (server, _directory) = behind(&upstream);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let framed = |id, name| {
        let octets = Query { id, ..Query::new(name, 1) }.octets();
        [&u16::try_from(octets.len()).unwrap().to_be_bytes()[..], &octets].concat()
    };
    stream.write_all(&[framed(1, "www.example"), framed(2, "shop.herokuapp.com")].concat()).unwrap();
    // A client that has nothing more to ask still waits.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let ids: Vec<u16> = (0..2)
        .map(|_| {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut response).unwrap();
            let response = Response::read(&response).unwrap();
            assert_eq!(response.answer.len(), 1);
            gate.open();
            response.id
        })
        .collect();
    assert_eq!(ids, [2, 1]);
}

#[test]
fn over_tls_and_quic_a_slow_forward_is_overtaken_too() {
    let gate = Gate::default();
    let upstream = gate.upstream();
    let encrypted = Encrypted::start_after(&format!("export SPACEDNS_UPSTREAM={}", upstream.address), &[]);
    let octets = |id, name: &str| Query { id, ..Query::new(name, 1) }.octets();
    let mut stream = encrypted.connect();
    stream.write_all(&[framed(&octets(1, "www.example")), framed(&octets(2, "shop.herokuapp.com"))].concat()).unwrap();
    let ids: Vec<u16> = (0..2)
        .map(|_| {
            let response = Response::read(&read_frame(&mut stream).unwrap()).unwrap();
            assert_eq!(response.answer.len(), 1);
            gate.open();
            response.id
        })
        .collect();
    assert_eq!(ids, [2, 1]);
    gate.close();
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        // More than hold a response at once.
        let mut slow = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (connection, query) = (connection.clone(), octets(0, &format!("n{number}.example")));
            slow.spawn(async move { ask_quic(&connection, &query).await });
        }
        let owned = ask_quic(&connection, &octets(0, "shop.herokuapp.com")).await;
        assert_eq!(Response::read(&owned).unwrap().answer.len(), 1);
        // It did not wait for the eight, of which none is answered before this.
        gate.open();
        while let Some(response) = slow.join_next().await {
            assert_eq!(Response::read(&response.unwrap()).unwrap().answer[0].rdata, "192.0.2.1");
        }
    });
}

#[test]
fn a_late_response_leaves_from_the_address_that_was_asked() {
    let upstream = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "shop.yaml", APP);
    let server = Server::start(|port| {
        let mut command = Command::new(SPACEDNS);
        command.arg("serve").arg(directory.path()).args(["--listen", &format!("0.0.0.0:{port}")]);
        command.arg(format!("--upstream={}", upstream.address));
        command
    });
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // Connected, so that it takes responses from there and nowhere else.
    socket.connect((Ipv4Addr::new(127, 0, 0, 5), server.address.port())).unwrap();
    let response = ask(&socket, &Query::new("www.example", 1).octets(), PATIENCE).unwrap();
    assert_eq!(lines(&Response::read(&response).unwrap()), ["www.example. 600 A 192.0.2.1"]);
}

/// Ends a flood, also when what it is for has failed.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_flood_at_a_dead_zone_harms_nobody_else() {
    let dead = Upstream::start(|_| Vec::new());
    let well = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = server(&[well.address.to_string(), format!("dead.example={}", dead.address)], &[]);
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for host in 2..6 {
            let (server, over) = (&server, &over);
            scope.spawn(move || {
                let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
                let mut number = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    let name = format!("n{number}.h{host}.dead.example");
                    let _ = socket.send_to(&Query::new(&name, 1).octets(), server.address);
                    if number.is_multiple_of(20) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            });
        }
        let _over = Ended(&over);
        let socket = UdpSocket::bind((IpAddr::from([127, 0, 0, 9]), 0)).unwrap();
        socket.connect(server.address).unwrap();
        // A datagram may be lost to the flood in the socket's own buffer: who asks asks again.
        let asked = |query: Query| {
            let octets = poll(PATIENCE, || ask(&socket, &query.octets(), Duration::from_millis(500)));
            Response::read(&octets.unwrap_or_else(|| panic!("no response\n{}", server.log()))).unwrap()
        };
        for number in 0..30 {
            let response = asked(Query { id: number, ..Query::new(&format!("n{number}.well{number}.org"), 1) });
            assert_eq!(response.answer.len(), 1, "another caller's forward {number}: {response:?}");
            let response = asked(Query { id: 1000 + number, ..Query::new("shop.herokuapp.com", 1) });
            assert_eq!(lines(&response), ["shop.herokuapp.com. 5 A 10.0.130.56"]);
        }
    });
    assert!(dead.packets() > 0, "the flood went nowhere");
    // At most 64 questions of the zone fly at once, each for four seconds or nearly, and each is three packets at most.
    let flights = 64 * (usize::try_from(begun.elapsed().as_secs()).unwrap() / 3 + 2);
    assert!(dead.packets() <= flights * 3, "{} packets reached the dead zone", dead.packets());
}

#[test]
fn an_upstream_over_tls_is_asked_by_its_name() {
    let encrypted = Encrypted::start(&[]);
    let authorities = encrypted.directory.path().join("certificate.pem");
    let ca = format!("--upstream-ca={}", authorities.display());
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "other.yaml", &APP.replace("shop", "other"));
    for (name, rcode) in [("ns.app.localspace", 0), ("other.example", 2)] {
        let server = Server::start(|port| {
            let mut command = Command::new(SPACEDNS);
            command.arg("serve").arg(directory.path()).args(["--listen", &format!("127.0.0.1:{port}"), &ca]);
            command.arg(format!("--upstream=herokuapp.com=tls://{}#{name}", encrypted.address));
            command
        });
        for _ in 0..2 {
            let response = asked(&server, "shop.herokuapp.com", 1);
            assert_eq!(response.rcode, rcode, "{name}: {}", server.log());
            assert_eq!(response.answer.len(), usize::from(rcode == 0));
        }
        assert_eq!(asked(&server, "www.example", 1).rcode, 5, "there is no upstream for it");
    }
}
