//! Known ways to hurt a name server, each against the built binary while a canary asks on: nothing of what it asks is lost, every
//! answer is right, and afterwards descriptors, memory and connections are back to where they were.
//!
//! Attackers come from addresses of their own (all of 127/8 is loopback), as hostile containers do. Limits on time are shortened,
//! so that an attack ends. Everything is bounded, by count or by time.
//!
//! Ten million mutated packets: `cargo test --release --test all ten_million -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::message::Query;
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, Server, ask, poll};
use crate::tls::{Encrypted, framed, query, read_frame, run};

/// Times that let an attack end while a test waits.
///
/// Not so short that whoever means well is cut off on a machine that has much else to do.
const SHORT: [&str; 4] = ["idle=3s", "frame=300ms", "handshake=3s", "drain=10s"];

/// Runs an attack beside the canary and holds the server to what it was before; gives its last words.
fn withstand(encrypted: Encrypted, attack: impl FnOnce(&Encrypted)) -> String {
    // What is made once, at the first of its kind, belongs to the server.
    let mut warm = encrypted.connect();
    warm.write_all(&framed(&query(1))).unwrap();
    read_frame(&mut warm).unwrap();
    drop(warm);
    let id = encrypted.server.id();
    // The connections of the start are gone when their number stays.
    let before = poll(PATIENCE, || {
        let descriptors = descriptors(id);
        std::thread::sleep(Duration::from_millis(100));
        (descriptors == self::descriptors(id)).then_some(descriptors)
    });
    let before = before.expect("it comes to rest");
    let memory_before = memory(id);
    let canary = Canary::start(&encrypted.server);
    attack(&encrypted);
    // The canary outlives the attack, so that what comes late is seen.
    std::thread::sleep(Duration::from_millis(300));
    let asked = canary.end(&encrypted.server);
    let settled = poll(3 * PATIENCE, || (descriptors(id) <= before).then_some(()));
    assert!(settled.is_some(), "{} descriptors, {before} before:\n{}", descriptors(id), encrypted.server.log());
    let grown = memory(id).saturating_sub(memory_before);
    println!(
        "canary: asked {asked} times over UDP and as often over TCP, all answered; {memory_before} KiB before, {grown} more after"
    );
    assert!(grown < GROWTH_MAX, "{grown} KiB more than {memory_before}");
    let log = encrypted.server.end();
    assert_eq!(counted(&log, "accepted"), counted(&log, "closed"), "{log}");
    assert_eq!(counted(&log, "panicked"), 0, "{log}");
    log
}

/// How often something happened, by a server's last words.
fn counted(log: &str, name: &str) -> u64 {
    let line = log.lines().find(|line| line.contains("counted: ")).expect("it has counted");
    let found = line.split([' ', '"']).find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    found.unwrap_or(0)
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// Resident memory in KiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Someone who asks a hundred times a second over UDP, and as often over one TCP connection.
struct Canary {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, String>>,
}

impl Canary {
    fn start(server: &Server) -> Self {
        let address = server.address;
        let expected = server.ask(&query(0), PATIENCE).expect("an answer before");
        assert_eq!(expected[6..8], [0, 1], "with one record");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(CANARY_PATIENCE)).unwrap();
        let asked = Self::ask_stream(&mut stream, 0);
        assert_eq!(asked.unwrap(), expected);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(address).unwrap();
            let mut asked = 0;
            let begun = Instant::now();
            let mut last = Instant::now();
            let connect = || {
                let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
                stream.set_read_timeout(Some(CANARY_PATIENCE)).map_err(|error| error.to_string())?;
                Ok::<_, String>(stream)
            };
            let watch = Stopwatch::start();
            // On however slow a machine, it asks often enough to say something.
            while asked < 20 || !stopped.load(Ordering::Acquire) {
                asked += 1;
                let before = watch.given();
                let id = u16::try_from(asked % 60_000).unwrap();
                let mut right = expected.clone();
                right[..2].copy_from_slice(&id.to_be_bytes());
                let datagram = ask(&socket, &query(id), CANARY_PATIENCE);
                if datagram.as_ref() != Some(&right) {
                    return Err(format!("UDP query {asked}: {datagram:?}"));
                }
                if asked % CONNECTION_QUERIES == 0 {
                    stream = connect()?;
                }
                let mut streamed = Self::ask_stream(&mut stream, id);
                if streamed.is_err() && last.elapsed() > IDLE {
                    // Who was not let run for so long is closed as one who is idle, and asks again (RFC 7766 §6.2.4).
                    stream = connect()?;
                    streamed = Self::ask_stream(&mut stream, id);
                }
                last = Instant::now();
                let streamed = streamed.map_err(|error| format!("TCP query {asked}: {error}"))?;
                if streamed != right {
                    return Err(format!("TCP query {asked}: {streamed:?}"));
                }
                let took = watch.given().saturating_sub(before);
                if took > CANARY_LATE {
                    return Err(format!("query {asked} took {took:?} of what the machine gave"));
                }
                let next = begun + PACE * asked;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(asked)
        });
        Self { stop, thread }
    }

    fn ask_stream(stream: &mut TcpStream, id: u16) -> std::io::Result<Vec<u8>> {
        stream.write_all(&framed(&query(id)))?;
        read_frame(stream)
    }

    fn end(self, server: &Server) -> u32 {
        self.stop.store(true, Ordering::Release);
        match self.thread.join().unwrap() {
            Ok(asked) => asked,
            Err(fault) => panic!("{fault}\n{}", server.log()),
        }
    }
}

/// Connects from 127.0.0.`last`.
fn connect_from(last: u8, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends datagrams at a pace that a socket's buffer bears.
fn send_all(socket: &UdpSocket, address: SocketAddr, datagrams: impl Iterator<Item = Vec<u8>>) {
    for (number, datagram) in datagrams.enumerate() {
        let _ = socket.send_to(&datagram, address);
        if number % 50 == 49 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Pseudorandom octets, the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.next() & 0xff).unwrap()).collect()
    }

    /// One of the seeds with a few octets changed, cut, doubled or put in.
    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let place = self.below(packet.len().max(1));
            match self.below(6) {
                0 if place < packet.len() => packet[place] = self.octets(1)[0],
                1 if place < packet.len() => packet[place] ^= 1 << self.below(8),
                2 => packet.truncate(place),
                3 => packet.insert(place.min(packet.len()), [0, 0x3f, 0x40, 0x80, 0xc0, 0xff][self.below(6)]),
                4 if packet.len() < 600 => packet.extend_from_within(place.min(packet.len())..),
                _ if packet.len() > 12 => packet[2 + place % 10] = self.octets(1)[0],
                _ => packet.push(0),
            }
        }
        packet
    }
}

#[test]
fn slowloris_is_cut_off() {
    let log = withstand(Encrypted::start(&SHORT), |encrypted| {
        let mut slow: Vec<_> = (0..30).map(|_| connect_from(9, encrypted.server.address).unwrap()).collect();
        let message = framed(&query(1));
        let begun = Instant::now();
        for octet in message.iter().take(20) {
            // One octet in a third of the time that a message may take.
            for stream in &mut slow {
                let _ = stream.write_all(&[*octet]);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(begun.elapsed() < PATIENCE);
        for stream in &mut slow {
            assert!(!stream.read(&mut [0; 1]).is_ok_and(|count| count > 0), "nothing is answered");
        }
    });
    assert_eq!(counted(&log, "limit-frame"), 30, "{log}");
}

#[test]
fn half_a_frame_and_a_reset_leave_nothing_behind() {
    let log = withstand(Encrypted::start(&SHORT), |encrypted| {
        for number in 0..500 {
            let address = if number % 2 == 0 { encrypted.server.address } else { encrypted.address };
            let mut stream = connect_from(9, address).unwrap();
            let _ = stream.write_all(&framed(&query(1))[..number % 30]);
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    assert!(counted(&log, "accepted") >= 500, "{log}");
}

#[test]
fn three_thousand_idle_connections_of_one_address_are_thirty_two() {
    // However slowly they come, it is their number that closes them.
    let log = withstand(Encrypted::start(&["idle=1m"]), |encrypted| {
        let before = descriptors(encrypted.server.id());
        let mut idle = std::collections::VecDeque::new();
        let made_room = |idle: &mut std::collections::VecDeque<TcpStream>| {
            let mut first = idle.pop_front().unwrap();
            assert!(matches!(first.read(&mut [0; 1]), Ok(0)), "it made room");
        };
        for _ in 0..3_000 {
            idle.push_back(connect_from(9, encrypted.server.address).unwrap());
            // Few descriptors are asked of whoever runs this.
            if idle.len() > 400 {
                made_room(&mut idle);
            }
        }
        // The last of them may not be let in yet: once all but these are closed, all were.
        while idle.len() > 32 {
            made_room(&mut idle);
        }
        let settled = poll(PATIENCE, || (descriptors(encrypted.server.id()) <= before + 32).then_some(()));
        assert!(settled.is_some());
    });
    assert!(counted(&log, "limit-connections-per-source") >= 2_900, "{log}");
}

#[test]
fn twenty_thousand_queries_on_one_connection_are_ten_thousand() {
    let log = withstand(Encrypted::start(&SHORT), |encrypted| {
        let mut stream = connect_from(9, encrypted.server.address).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            let hundred: Vec<u8> = (0..100).flat_map(|id| framed(&query(id))).collect();
            // It is closed halfway.
            let _ = (0..200).try_for_each(|_| writer.write_all(&hundred));
        });
        let mut answered = 0;
        while let Ok(response) = read_frame(&mut stream) {
            assert_eq!(response[..4], [0, u8::try_from(answered % 100).unwrap(), 0x85, 0]);
            answered += 1;
        }
        writing.join().unwrap();
        // The end may overtake what the kernel still had: it has to cut a client that goes on writing.
        assert!(answered > 9_000 && answered <= 10_000, "{answered}");
    });
    assert_eq!(counted(&log, "limit-queries"), 1, "{log}");
}

#[test]
fn a_client_that_takes_no_responses_is_cut_off_and_costs_no_memory() {
    let log = withstand(Encrypted::start(&SHORT), |encrypted| {
        let mut greedy: Vec<_> = (0..8).map(|_| connect_from(9, encrypted.server.address).unwrap()).collect();
        let thousand: Vec<u8> = (0..1_000).flat_map(|id| framed(&query(id))).collect();
        // Each writes until it is cut off, however long the server takes for that.
        std::thread::scope(|scope| {
            for stream in &mut greedy {
                let thousand = &thousand;
                SockRef::from(&*stream).set_recv_buffer_size(4096).unwrap();
                scope.spawn(move || (0..200).try_for_each(|_| stream.write_all(thousand)));
            }
        });
    });
    assert!(counted(&log, "cut-off") >= 8, "{log}");
}

#[test]
fn without_descriptors_those_who_are_connected_and_udp_go_on_and_others_come_back() {
    let encrypted = Encrypted::start_after("ulimit -n 60", &SHORT);
    let log = withstand(encrypted, |encrypted| {
        let id = encrypted.server.id();
        let taken: Vec<_> =
            (0..100).map(|number| connect_from(10 + number % 10, encrypted.server.address).unwrap()).collect();
        assert!(poll(PATIENCE, || (descriptors(id) >= 60).then_some(())).is_some(), "{}", descriptors(id));
        std::thread::sleep(Duration::from_millis(200));
        drop(taken);
        let watch = Stopwatch::start();
        let answered = encrypted.server.ask_stream(&query(1), PATIENCE);
        let given = watch.given();
        assert!(answered.is_some() && given < Duration::from_secs(3), "{given:?}");
    });
    assert!(counted(&log, "accept-failed") > 0, "{log}");
}

#[test]
fn garbage_and_half_handshakes_keep_nobody_out_of_tls() {
    let limits = [&SHORT[..], &["handshakes=16"]].concat();
    let log = withstand(Encrypted::start(&limits), |encrypted| {
        let mut random = Random(7);
        let mut open = Vec::new();
        for number in 0..300_u16 {
            let source = 9 + u8::try_from(number % 4).unwrap();
            let Ok(mut stream) = connect_from(source, encrypted.address) else { continue };
            let sent = match number % 3 {
                0 => random.octets(200),
                // The beginning of a hello.
                1 => [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &random.octets(40)].concat(),
                _ => Vec::new(),
            };
            let _ = stream.write_all(&sent);
            open.push(stream);
            if number % 30 == 29 {
                let mut stream = encrypted.connect();
                stream.write_all(&framed(&query(5))).unwrap();
                assert_eq!(read_frame(&mut stream).unwrap()[..2], [0, 5]);
            }
        }
    });
    assert!(counted(&log, "handshake-failed") > 0 && counted(&log, "limit-handshakes") > 0, "{log}");
}

#[test]
fn quic_handshakes_that_are_given_up_and_garbage_keep_nobody_out_of_quic() {
    let limits = [&SHORT[..], &["handshakes=8"]].concat();
    let log = withstand(Encrypted::start(&limits), |encrypted| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
        let mut random = Random(11);
        // A long header of version 1 that says Initial, then nothing that can be decrypted.
        let initial = |random: &mut Random| [&[0xc3, 0, 0, 0, 1, 8][..], &random.octets(1194)].concat();
        let garbage = (0..2_000).map(|number| match number % 3 {
            0 => initial(&mut random),
            1 => random.octets(1200),
            _ => random.octets(number % 100),
        });
        send_all(&socket, encrypted.address, garbage);
        run(async {
            let endpoint = encrypted.endpoint();
            for round in 0..10 {
                // Each sends its hello and is gone.
                let given_up: Vec<_> =
                    (0..20).map(|_| endpoint.connect(encrypted.address, "ns.app.localspace").unwrap()).collect();
                tokio::task::yield_now().await;
                drop(given_up);
                let connection = encrypted.connect_quic(&endpoint).await;
                let response = crate::tls::ask_quic(&connection, &query(0)).await;
                assert_eq!(response[..4], [0, 0, 0x85, 0], "round {round}");
            }
        });
    });
    assert!(counted(&log, "queries") > 10, "{log}");
}

#[test]
fn responses_are_never_responded_to() {
    let log = withstand(Encrypted::start(&SHORT), |encrypted| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
        let mut random = Random(3);
        let responses = (0..20_000).map(|_| {
            let mut response = query(9);
            response[2] = 0x80 | random.octets(1)[0];
            response[3] = random.octets(1)[0];
            response
        });
        send_all(&socket, encrypted.server.address, responses);
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(socket.recv(&mut [0; 512]).is_err());
        for address in [encrypted.server.address, encrypted.address] {
            let mut stream = connect_from(9, address).unwrap();
            let mut response = query(9);
            response[2] |= 0x80;
            stream.write_all(&framed(&response)).unwrap();
            assert!(address == encrypted.address || matches!(stream.read(&mut [0; 1]), Ok(0)));
        }
    });
    assert!(counted(&log, "dropped") >= 20_000, "{log}");
}

#[test]
fn mutated_packets_hurt_nobody() {
    withstand(Encrypted::start(&SHORT), |encrypted| {
        flood(&encrypted.server, 50_000);
        let mut random = Random(23);
        let seeds = seeds();
        for _ in 0..300 {
            let mut stream = connect_from(9, encrypted.server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            for _ in 0..20 {
                if stream.write_all(&framed(&random.mutate(&seeds))).is_err() {
                    break;
                }
            }
            let _ = stream.read(&mut [0; 4096]);
        }
    });
}

#[test]
#[ignore = "takes minutes: run it by the command at the head of this file"]
fn ten_million_mutated_packets_hurt_nobody() {
    withstand(Encrypted::start(&SHORT), |encrypted| {
        let begun = Instant::now();
        let answered = flood(&encrypted.server, 10_000_000);
        println!("10,000,000 mutated packets in {:.0?}, {answered} answered", begun.elapsed());
    });
}

/// Sends so many mutated packets; after each 64 a query that must be answered, so that none is lost to a full buffer. Gives how
/// many were answered.
fn flood(server: &Server, packets: usize) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    socket.connect(server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut random = Random(0x5eed);
    let seeds = seeds();
    let mut received = vec![0; 2048];
    let mut answered = 0;
    for sent in 1..=packets {
        let _ = socket.send(&random.mutate(&seeds));
        if sent % 64 == 0 || sent == packets {
            // An ID that no mutation of the seeds is likely to have, and the right answer to be sure.
            let good = query(0xbeef);
            socket.send(&good).unwrap();
            loop {
                let length = socket.recv(&mut received).expect("an answer to a good query among the bad");
                if received[..2] == good[..2] && received[..length][6..8] == [0, 1] {
                    break;
                }
                answered += 1;
            }
        }
    }
    answered
}

/// Good queries of every kind, and some that are malformed already.
fn seeds() -> Vec<Vec<u8>> {
    let mut options = Query::new("web.shop.app.localspace", 1);
    let edns = options.edns.as_mut().unwrap();
    edns.options.push((8, vec![0, 1, 32, 0, 10, 0, 130, 56]));
    edns.options.push((10, vec![7; 24]));
    edns.options.push((11, Vec::new()));
    edns.options.push((3, Vec::new()));
    edns.options.push((12, vec![0; 40]));
    let many = (0..200).fold(Query::new("1.web.shop.app.localspace", 1), |mut query, code| {
        query.edns.as_mut().unwrap().options.push((code, vec![1]));
        query
    });
    let mut seeds: Vec<_> = [
        Query::new("1.web.shop.app.localspace", 1),
        Query::new("web.shop.app.localspace", 28),
        Query::new("_http._tcp.web.shop.app.localspace", 33),
        Query::new("56.130.0.10.in-addr.arpa", 12),
        Query::new("shop.herokuapp.com", 255),
        Query { edns: None, ..Query::new("app.localspace", 6) },
        Query { qclass: 3, ..Query::new("version.bind", 16) },
        options,
        many,
    ]
    .iter()
    .map(Query::octets)
    .collect();
    let mut looping = query(1)[..12].to_vec();
    looping.extend([0xc0, 12, 0, 1, 0, 1]);
    seeds.push(looping);
    let longest = [&query(1)[..12], &[&[63][..], &[b'a'; 63]].concat().repeat(4), &[0, 0, 1, 0, 1]].concat();
    seeds.push(longest);
    seeds
}

/// A canary's query is late when it takes longer, by what the machine gave of it.
const CANARY_LATE: Duration = Duration::from_secs(3);

/// A canary's query is lost when it takes longer.
const CANARY_PATIENCE: Duration = Duration::from_secs(15);

/// As long without a query is half of what closes a connection.
const IDLE: Duration = Duration::from_millis(1_500);

/// Queries that the canary asks over one connection, which may ask ten thousand.
const CONNECTION_QUERIES: u32 = 5_000;

/// A hundred a second.
const PACE: Duration = Duration::from_millis(10);

/// KiB that a server may keep after an attack: what its allocator does not give back.
const GROWTH_MAX: u64 = 24 << 10;
