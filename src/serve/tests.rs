//! Whole servers on loopback, answering by [`stand_in`]: what goes in at a socket and what comes out of it.
#![allow(clippy::disallowed_methods, reason = "how long something took is what some of these tests are about")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::answer::Respond;
use super::answer::tests::{query, stand_in};
use super::*;
use crate::observe::{Carrier, Class, Event, Limit, QueryType, Source};
use crate::publish::{Publisher, Snapshot};

/// How long anything may take before a test says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    publisher: Publisher,
    running: Running,
    addresses: Vec<SocketAddr>,
}

fn bind_on(listen: &[&str], workers: usize) -> Sockets {
    let listen: Vec<_> = listen.iter().map(|address| address.parse().unwrap()).collect();
    bind(&listen, NonZeroUsize::new(workers).unwrap(), &mut Inherited::none()).unwrap()
}

fn serve_on(listen: &[&str], workers: usize, limits: Limits) -> Server {
    let sockets = bind_on(listen, workers);
    let addresses = sockets.addresses();
    let publisher = Publisher::new(Snapshot::starting());
    let config = Config { limits, ..Config::default() };
    let running = start_with(sockets, config, publisher.subscribe(), Respond::Other(stand_in)).unwrap();
    Server { publisher, running, addresses }
}

fn serve_with(limits: Limits) -> Server {
    serve_on(&["127.0.0.1:0"], 1, limits)
}

fn serve() -> Server {
    serve_with(Limits::default())
}

impl Server {
    /// Waits until an event has been counted so often.
    fn wait_for(&self, event: Event, times: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.running.totals().events(event) < times {
            assert!(Instant::now() < deadline, "{event:?}: {:?}", self.running.totals());
            std::thread::yield_now();
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut response = vec![0; 2048];
    let length = socket.recv(&mut response).unwrap();
    response.truncate(length);
    response
}

/// The ID of a response, which must be one.
fn id_of(response: &[u8]) -> u16 {
    assert_eq!(response[2] & 0x80, 0x80, "{response:?}");
    u16::from_be_bytes([response[0], response[1]])
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// Whether the server closes the stream, having sent nothing more.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn both_families_are_answered_over_both_transports() {
    let server = serve_on(&["127.0.0.1:0", "[::1]:0"], 1, Limits::default());
    for (address, local) in server.addresses.iter().zip(["127.0.0.1:0", "[::1]:0"]) {
        let socket = client(local);
        socket.send_to(&query(5, "shop"), address).unwrap();
        assert_eq!(id_of(&receive(&socket)), 5);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&framed(&query(6, "shop"))).unwrap();
        assert_eq!(id_of(&read_frame(&mut stream)), 6);
    }
    let totals = server.running.totals();
    for carrier in [Carrier::Udp4, Carrier::Udp6, Carrier::Tcp4, Carrier::Tcp6] {
        let (queries, responses) =
            (totals.queries(carrier, QueryType::A), totals.responses(carrier, Source::Own, Class::NoError));
        assert_eq!((queries, responses), (1, 1), "{carrier:?}");
    }
    server.running.stop();
}

#[test]
fn a_wildcard_bind_replies_from_the_address_that_was_asked() {
    let server = serve_on(&["0.0.0.0:0"], 1, Limits::default());
    let socket = client("127.0.0.1:0");
    for host in ["127.0.0.2", "127.0.0.3"] {
        let asked = SocketAddr::new(host.parse::<IpAddr>().unwrap(), server.addresses[0].port());
        socket.send_to(&query(1, "shop"), asked).unwrap();
        assert_eq!(socket.recv_from(&mut [0; 512]).unwrap().1, asked);
    }
}

#[test]
fn who_leaves_shuts_nothing_down_that_another_has() {
    let sockets = bind_on(&["127.0.0.1:0"], 2);
    let address = sockets.addresses()[0];
    let mut inherited = Inherited::new(sockets.duplicate().unwrap());
    let publisher = Publisher::new(Snapshot::starting());
    let running = start_with(sockets, Config::default(), publisher.subscribe(), Respond::Other(stand_in)).unwrap();
    assert!(running.is_whole());
    running.leave();
    let next = bind(&[address], NonZeroUsize::MIN, &mut inherited).unwrap();
    let waited = next.listens[0].udp[0].recv(&mut [0; 16]);
    // Shut down, it would give nothing at once and for ever, and a worker would spin.
    assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let running = start_with(next, Config::default(), publisher.subscribe(), Respond::Other(stand_in)).unwrap();
    for id in 0..20 {
        let socket = client("127.0.0.1:0");
        socket.send_to(&query(id, "shop"), address).unwrap();
        assert_eq!(id_of(&receive(&socket)), id);
    }
    running.stop();
}

#[test]
fn every_worker_answers() {
    let server = serve_on(&["127.0.0.1:0"], 2, Limits::default());
    let deadline = Instant::now() + PATIENCE;
    // The kernel spreads clients by their ports: each client that comes is one more chance for either worker.
    while server.running.counters[..2].iter().any(|worker| Totals::of([worker.as_ref()]).all_queries() == 0) {
        assert!(Instant::now() < deadline);
        let socket = client("127.0.0.1:0");
        socket.send_to(&query(1, "shop"), server.addresses[0]).unwrap();
        assert_eq!(id_of(&receive(&socket)), 1);
    }
}

#[test]
fn what_is_queued_is_answered_before_the_end() {
    let sockets = bind_on(&["127.0.0.1:0"], 1);
    let address = sockets.addresses()[0];
    let socket = client("127.0.0.1:0");
    for id in 0..200 {
        socket.send_to(&query(id, "shop"), address).unwrap();
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&framed(&query(7, "shop"))).unwrap();
    let publisher = Publisher::new(Snapshot::starting());
    start_with(sockets, Config::default(), publisher.subscribe(), Respond::Other(stand_in)).unwrap().stop();
    socket.set_nonblocking(true).unwrap();
    for id in 0..200 {
        assert_eq!(id_of(&receive(&socket)), id);
    }
    assert_eq!(id_of(&read_frame(&mut stream)), 7);
    assert!(is_closed(&mut stream));
}

#[test]
fn a_stop_waits_for_nobody_who_is_idle() {
    let server = serve_on(&["127.0.0.1:0", "[::1]:0"], 2, Limits::default());
    let mut stream = server.connect();
    server.wait_for(Event::Accepted, 1);
    let totals = server.running.stop();
    assert_eq!(totals.limits(Limit::Drain), 0, "it waited for as long as it may");
    assert!(is_closed(&mut stream));
    bind(&server.addresses, NonZeroUsize::MIN, &mut Inherited::none()).unwrap();
}

#[test]
fn a_stop_cuts_whoever_goes_on_after_the_time_to_drain() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let server = serve_with(limits);
    let mut stream = server.connect();
    // More than the socket buffers hold, so that the responses stay unsent.
    let many: Vec<u8> = (0..3_000).flat_map(|id| framed(&query(id, "large"))).collect();
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&many);
    server.wait_for(Event::Accepted, 1);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || _ = tell.send(server.running.stop()));
    assert!(told.recv_timeout(PATIENCE).is_ok(), "it waits for who goes on");
}

#[test]
fn dropping_a_server_stops_it() {
    let server = serve();
    let mut stream = server.connect();
    drop(server.running);
    assert!(is_closed(&mut stream));
}

#[test]
fn nothing_that_arrives_ends_a_worker() {
    let server = serve();
    let socket = client("127.0.0.1:0");
    let question = query(1, "shop");
    for octets in [&[][..], &[0], &question[..11], &[0xff; 600], &query(9, "panic"), &question] {
        socket.send_to(octets, server.addresses[0]).unwrap();
    }
    let panicked = receive(&socket);
    assert_eq!((id_of(&panicked), panicked[3]), (9, 2));
    assert_eq!(id_of(&receive(&socket)), 1);
    let totals = server.running.totals();
    assert_eq!((totals.events(Event::Panicked), totals.events(Event::Dropped)), (1, 4));
}

#[test]
fn an_answer_comes_from_the_newest_snapshot() {
    let mut server = serve();
    let socket = client("127.0.0.1:0");
    let mut stream = server.connect();
    for generation in 1..=20 {
        assert_eq!(server.publisher.publish(Snapshot::starting(), 0), generation);
        let question = query(1, "shop");
        socket.send_to(&question, server.addresses[0]).unwrap();
        assert_eq!(u64::from(receive(&socket)[question.len()]), generation);
        stream.write_all(&framed(&question)).unwrap();
        assert_eq!(u64::from(read_frame(&mut stream)[question.len()]), generation);
    }
    // Nobody asks after this one, and still it is reached: workers that wait look before they answer.
    server.publisher.publish(Snapshot::starting(), 0);
    let deadline = Instant::now() + PATIENCE;
    while server.publisher.reached() < 21 {
        assert!(Instant::now() < deadline, "{}", server.publisher.reached());
    }
}

#[test]
fn a_server_that_nobody_asks_holds_nothing_old() {
    let upstream = "127.0.0.1:1".parse().unwrap();
    let routes = forward::Routes::new(&[upstream], |_| unreachable!(), |_| false).unwrap();
    let config = Config { forward: Some(forward::Config::new(routes)), ..Config::default() };
    let mut publisher = Publisher::new(Snapshot::starting());
    let _running = start(bind_on(&["127.0.0.1:0", "[::1]:0"], 2), config, publisher.subscribe()).unwrap();
    for _ in 0..2 {
        let before = Arc::downgrade(&publisher.current());
        publisher.publish(Snapshot::starting(), 0);
        let deadline = Instant::now() + PATIENCE;
        while before.strong_count() > 0 {
            assert!(Instant::now() < deadline, "{} hold it", before.strong_count() - 1);
            std::thread::sleep(Duration::from_millis(10));
            publisher.reap();
        }
    }
}

#[test]
fn five_queries_in_one_segment_get_five_responses() {
    let server = serve();
    let mut stream = server.connect();
    let five: Vec<u8> = (0..5).flat_map(|id| framed(&query(id, "shop"))).collect();
    stream.write_all(&five).unwrap();
    let mut ids: Vec<_> = (0..5).map(|_| id_of(&read_frame(&mut stream))).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
}

#[test]
fn a_query_may_come_octet_by_octet() {
    let server = serve();
    let mut stream = server.connect();
    for octet in framed(&query(3, "shop")).into_iter().chain(framed(&query(4, "shop"))) {
        stream.write_all(&[octet]).unwrap();
    }
    assert_eq!([id_of(&read_frame(&mut stream)), id_of(&read_frame(&mut stream))], [3, 4]);
}

#[test]
fn more_than_may_be_in_flight_is_answered_in_turns() {
    let server = serve_with(Limits { in_flight: 3, unsent: 100, ..Limits::default() });
    let mut stream = server.connect();
    let many: Vec<u8> = (0..500).flat_map(|id| framed(&query(id, "shop"))).collect();
    stream.write_all(&many).unwrap();
    for id in 0..500 {
        assert_eq!(id_of(&read_frame(&mut stream)), id);
    }
}

#[test]
fn a_client_that_has_closed_its_side_still_gets_its_answers() {
    let server = serve();
    let mut stream = server.connect();
    stream.write_all(&framed(&query(1, "large"))).unwrap();
    stream.write_all(&framed(&query(2, "shop"))).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_frame(&mut stream).len(), 65_535);
    assert_eq!(id_of(&read_frame(&mut stream)), 2);
    assert!(is_closed(&mut stream));
    server.wait_for(Event::Closed, 1);
    assert_eq!(server.running.totals().events(Event::CutOff), 0);
}

#[test]
fn a_frame_that_cannot_be_a_query_closes_after_what_was_answered() {
    let response = {
        let mut response = query(1, "shop");
        response[2] |= 0x80;
        framed(&response)
    };
    for alien in [&[0, 0][..], &[0, 11], &response] {
        let server = serve();
        let mut stream = server.connect();
        let sent = [&framed(&query(1, "shop")), alien].concat();
        stream.write_all(&sent).unwrap();
        assert_eq!(id_of(&read_frame(&mut stream)), 1);
        assert!(is_closed(&mut stream), "{alien:?}");
        server.wait_for(Event::CutOff, 1);
    }
}

#[test]
fn a_malformed_query_is_answered_and_the_next_one_too() {
    let server = serve();
    let mut stream = server.connect();
    stream.write_all(&framed(&query(1, "shop")[..14])).unwrap();
    stream.write_all(&framed(&query(2, "shop"))).unwrap();
    assert_eq!(read_frame(&mut stream)[3] & 15, 1);
    assert_eq!(id_of(&read_frame(&mut stream)), 2);
}

#[test]
fn a_panic_over_tcp_is_answered_and_the_connection_goes_on() {
    let server = serve();
    let mut stream = server.connect();
    for (id, name, rcode) in [(1, "panic", 2), (2, "shop", 0)] {
        stream.write_all(&framed(&query(id, name))).unwrap();
        let response = read_frame(&mut stream);
        assert_eq!((id_of(&response), response[3]), (id, rcode));
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let idle = Duration::from_millis(150);
    let server = serve_with(Limits { idle, ..Limits::default() });
    let begun = Instant::now();
    let mut stream = server.connect();
    assert!(is_closed(&mut stream));
    assert!(begun.elapsed() >= idle && begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    server.wait_for(Event::Closed, 1);
    assert_eq!(server.running.totals().events(Event::CutOff), 0);
}

#[test]
fn a_message_that_does_not_end_is_cut_off() {
    for begun in [&[0][..], &[0, 40], &framed(&query(1, "shop"))[..20]] {
        let server = serve_with(Limits { frame: Duration::from_millis(300), ..Limits::default() });
        let mut stream = server.connect();
        let mut in_one_segment = server.connect();
        in_one_segment.write_all(&[&framed(&query(2, "shop")), begun].concat()).unwrap();
        stream.write_all(&framed(&query(1, "shop"))).unwrap();
        assert_eq!(id_of(&read_frame(&mut stream)), 1);
        stream.write_all(begun).unwrap();
        assert_eq!(id_of(&read_frame(&mut in_one_segment)), 2);
        assert!(is_closed(&mut stream) && is_closed(&mut in_one_segment), "{begun:?}");
        server.wait_for(Event::CutOff, 2);
    }
}

#[test]
fn a_client_that_takes_no_responses_is_cut_off() {
    let limits = Limits { frame: Duration::from_millis(100), ..Limits::default() };
    let server = serve_with(limits);
    let mut stream = server.connect();
    let many: Vec<u8> = (0..3_000).flat_map(|id| framed(&query(id, "large"))).collect();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The server stops reading, so not all of it may go; it must end all the same.
    let _ = stream.write_all(&many);
    server.wait_for(Event::CutOff, 1);
    assert!(server.running.totals().queries(Carrier::Tcp4, QueryType::A) < 3_000, "what is not taken is not made");
}

#[test]
fn a_connection_is_closed_after_so_many_queries() {
    let server = serve_with(Limits { queries: 3, ..Limits::default() });
    let mut stream = server.connect();
    let five: Vec<u8> = (0..5).flat_map(|id| framed(&query(id, "shop"))).collect();
    stream.write_all(&five).unwrap();
    for id in 0..3 {
        assert_eq!(id_of(&read_frame(&mut stream)), id);
    }
    assert!(is_closed(&mut stream));
}

#[test]
fn the_longest_idle_connection_of_a_source_makes_room_for_its_next() {
    let server = serve_with(Limits { connections_per_source: 2, ..Limits::default() });
    let ask = |stream: &mut TcpStream| {
        stream.write_all(&framed(&query(1, "shop"))).unwrap();
        id_of(&read_frame(stream))
    };
    let (mut first, mut second) = (server.connect(), server.connect());
    ask(&mut second);
    ask(&mut first);
    let mut third = server.connect();
    assert_eq!(ask(&mut third), 1);
    assert!(is_closed(&mut second));
    assert_eq!(ask(&mut first), 1);
    server.wait_for(Event::Evicted, 1);
    assert_eq!(server.running.totals().events(Event::Accepted), 3);
}

#[test]
fn idle_connections_keep_nobody_out() {
    let server = serve_with(Limits { connections: 4, ..Limits::default() });
    let mut open: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(&framed(&query(1, "shop"))).unwrap();
        assert_eq!(id_of(&read_frame(&mut stream)), 1);
        open.push(stream);
    }
    assert_eq!(server.running.totals().events(Event::Evicted), 20);
}

#[test]
fn running_out_of_descriptors_ends_no_listener() {
    // The limit is the process's, so this needs one of its own.
    let test = "serve::tests::with_few_descriptors_accepting_fails_and_recovers";
    let script = format!("ulimit -n 64 && exec \"$0\" --exact {test} --ignored");
    let output = std::process::Command::new("sh").arg("-c").arg(script).arg(std::env::current_exe().unwrap()).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "run by the test above, in a process that may have few descriptors"]
fn with_few_descriptors_accepting_fails_and_recovers() {
    let server = serve();
    let socket = client("127.0.0.1:0");
    let mut taken: Vec<_> = std::iter::from_fn(|| socket.try_clone().ok()).collect();
    taken.pop();
    // It takes the last one, so that accepting it has none.
    let mut stream = server.connect();
    server.wait_for(Event::AcceptFailed, 4);
    socket.send_to(&query(1, "shop"), server.addresses[0]).unwrap();
    assert_eq!(id_of(&receive(&socket)), 1, "UDP never pauses");
    drop(taken);
    // Within what whoever reads has patience for.
    stream.write_all(&framed(&query(2, "shop"))).unwrap();
    assert_eq!(id_of(&read_frame(&mut stream)), 2);
}
