//! What forwarding may take: equal questions, one caller's share, one domain's, the cache.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::message::{Query, Response};
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, Server};
use crate::upstream::{Upstream, asked, behind, errors, owned_answers, record, server};

/// Asks a thousand times for one name, from so many callers, before the upstream says anything; each is answered.
fn ask_a_thousand(server: &Server, callers: u8) {
    let each = 1_000 / u16::from(callers);
    let sockets: Vec<UdpSocket> = (0..callers)
        .map(|host| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, 2 + host), 0)).unwrap();
            socket.connect(server.address).unwrap();
            socket
        })
        .collect();
    std::thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(move || ask_many(socket, each));
        }
    });
}

/// As a stub does that asks again for what was lost on the way.
fn ask_many(socket: &UdpSocket, count: u16) {
    let query = |id: u16| {
        let name = if id.is_multiple_of(2) { "www.example" } else { "WWW.example" };
        let query = Query { id, ..Query::new(name, 1) };
        if id.is_multiple_of(3) { Query { edns: None, ..query } } else { query }
    };
    let begun = Instant::now();
    let mut missing: Vec<u16> = (0..count).collect();
    while !missing.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} have no answer", missing.len());
        for id in &missing {
            socket.send(&query(*id).octets()).unwrap();
        }
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut octets = [0; 2048];
        while let Some(length) = (!missing.is_empty()).then(|| socket.recv(&mut octets).ok()).flatten() {
            let response = Response::read(&octets[..length]).unwrap();
            let sent = query(response.id);
            assert_eq!(octets[12..12 + sent.qname.len()], sent.qname, "each has its own case");
            assert_eq!(response.edns.is_some(), sent.edns.is_some(), "each has its own OPT");
            assert_eq!((response.rcode, response.answer.len()), (0, 1), "{response:?}");
            missing.retain(|id| *id != response.id);
        }
    }
}

#[test]
fn a_thousand_equal_questions_are_one_whoever_asks_them() {
    for callers in [1, 10] {
        let upstream = Upstream::start(|asked| {
            // Long enough for all of them to be there.
            std::thread::sleep(Duration::from_millis(600));
            vec![asked.answer([192, 0, 2, 1], 600)]
        });
        let (server, _directory) = behind(&upstream);
        ask_a_thousand(&server, callers);
        assert_eq!(upstream.packets(), 1, "{callers} callers");
        let log = server.end();
        assert!(!log.contains("limit-forward") && !log.contains("forward-failed"), "{log}");
    }
}

/// What is not forwarded is refused in less, by what the machine gives: no upstream was asked, which takes four seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Sends queries for these names from one address, and counts the responses that are SERVFAIL at once, with EDE 0.
fn refused_at_once(server: &Server, host: u8, names: &[String]) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
    socket.connect(server.address).unwrap();
    for (id, name) in (0..).zip(names) {
        socket.send(&Query { id, ..Query::new(name, 1) }.octets()).unwrap();
    }
    // Those that are not refused have their answer within four seconds; what a full buffer lost, never.
    socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let mut octets = [0; 2048];
    let watch = Stopwatch::start();
    let (mut refused, mut answered) = (0, 0);
    while answered < names.len() {
        let Ok(length) = socket.recv(&mut octets) else { break };
        answered += 1;
        let response = Response::read(&octets[..length]).unwrap();
        if errors(&response) == [0] {
            assert_eq!(response.rcode, 2);
            assert!(watch.given() < AT_ONCE, "{:?}", watch.given());
            refused += 1;
        }
    }
    refused
}

#[test]
fn each_limit_bites_where_it_is_set_and_is_counted() {
    let names = |count: usize, domain: fn(usize) -> String| (0..count).map(domain).collect::<Vec<_>>();
    let apart = |number: usize| format!("n{number}.d{number}.example");
    let in_one_domain = |number: usize| format!("n{number}.one.example");
    let one = |_: usize| "same.example.org".to_owned();
    for (limits, names, counter) in [
        ("forwards-per-source=3", names(5, apart), "limit-forwards-per-source=2"),
        ("forwards=3", names(5, apart), "limit-forwards=2"),
        ("forwards-per-domain=3", names(5, in_one_domain), "limit-forwards-per-domain=2"),
        ("forward-waiters=1,forwards-per-source=2", names(5, one), "limit-forward-waiters=2"),
    ] {
        let dead = Upstream::start(|_| Vec::new());
        let (server, _directory) = server(&[dead.address.to_string()], &["--limit", limits]);
        assert_eq!(refused_at_once(&server, 2, &names), 2, "{limits}: {}", server.log());
        owned_answers(&server);
        let log = server.end();
        assert!(log.contains(counter), "{limits}: {log}");
    }
}

#[test]
fn the_cache_gives_up_what_is_not_used_and_counts_it() {
    let upstream = Upstream::start(|asked| {
        let records: Vec<_> = (0..60).map(|host| (0, record(&[0xc0, 12], 1, 600, &[192, 0, 2, host]))).collect();
        vec![asked.response(0, &records)]
    });
    let (server, _directory) = server(&[upstream.address.to_string()], &["--limit=forward-cache=1MiB"]);
    for number in 0..1_500 {
        let response = server.ask_stream(&Query::new(&format!("n{number}.d{number}.example"), 1).octets(), PATIENCE);
        assert_eq!(Response::read(&response.unwrap()).unwrap().answer.len(), 60);
    }
    let before = upstream.packets();
    assert!(before >= 1_500, "{before}");
    assert_eq!(asked(&server, "n0.d0.example", 1).rcode, 0);
    assert!(upstream.packets() > before, "the first is long gone");
    let log = server.end();
    assert!(log.contains("limit-forward-cache="), "{log}");
}

#[test]
fn one_that_floods_with_equal_questions_takes_nobody_elses_place() {
    let dead = Upstream::start(|_| Vec::new());
    let well = Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 600)]);
    let (server, _directory) = server(
        &[well.address.to_string(), format!("dead.example={}", dead.address)],
        &["--limit=forwards=50,forwards-per-source=10,forward-waiters=20"],
    );
    let flood: Vec<String> = (0..400).map(|number| format!("n{}.dead.example", number % 20)).collect();
    std::thread::scope(|scope| {
        let server = &server;
        let flooding = scope.spawn(move || refused_at_once(server, 2, &flood));
        while !flooding.is_finished() {
            let name = format!("n{}.org", well.packets());
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
            socket.connect(server.address).unwrap();
            let response = crate::process::ask(&socket, &Query::new(&name, 1).octets(), PATIENCE).unwrap();
            assert_eq!(Response::read(&response).unwrap().answer.len(), 1, "another caller's forward");
            owned_answers(server);
        }
        assert!(flooding.join().unwrap() > 100, "the flood was let in");
    });
}
