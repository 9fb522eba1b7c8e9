//! The load, and the echo that is the limit: UDP with batched system calls, so that a server that batches can be filled.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

/// What came of asking for some seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    /// The part of the responses that held an answer.
    pub(crate) with_answer: f64,
    pub(crate) lost: u64,
    pub(crate) qps: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// CPU time that the server spent on each answered query.
    pub(crate) cpu_us: f64,
}

/// Reads what [`run`] printed.
pub(crate) fn read(printed: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(printed);
    let values: Vec<f64> = text.split_whitespace().filter_map(|value| value.parse().ok()).collect();
    let [answered, with_answer, lost, qps, p50_us, p99_us] = values[..] else { panic!("the load said: {text}") };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "they are counts, printed by this program"
    )]
    let count = |value: f64| value as u64;
    let with_answer = with_answer / answered.max(1.0);
    Outcome {
        answered: count(answered),
        with_answer,
        lost: count(lost),
        qps,
        p50_us: count(p50_us),
        p99_us: count(p99_us),
        cpu_us: 0.0,
    }
}

/// Each figure's median.
pub(crate) fn median(rounds: Vec<Outcome>) -> Outcome {
    let middle = |value: fn(&Outcome) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they were counts")]
    let count = |value: fn(&Outcome) -> f64| middle(value) as u64;
    Outcome {
        answered: count(|outcome| outcome.answered as f64),
        with_answer: middle(|outcome| outcome.with_answer),
        lost: count(|outcome| outcome.lost as f64),
        qps: middle(|outcome| outcome.qps),
        p50_us: count(|outcome| outcome.p50_us as f64),
        p99_us: count(|outcome| outcome.p99_us as f64),
        cpu_us: middle(|outcome| outcome.cpu_us),
    }
}

/// Receives, grows each packet by an A record with a pointer for its owner, and sends it back, for ever.
pub(crate) fn echo(address: &str) {
    const RECORD: usize = 16;
    let socket = UdpSocket::bind(address).expect("the address can be had");
    widen(&socket);
    let mut buffers = vec![[0; OCTETS]; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut answers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let mut into: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, into.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
        let received: Vec<(usize, Option<SockaddrIn>)> = received
            .map(|messages| messages.map(|message| (message.bytes, message.address)).collect())
            .unwrap_or_default();
        let messages: Vec<[IoSlice<'_>; 1]> = buffers
            .iter_mut()
            .zip(&received)
            .map(|(buffer, (length, _))| {
                if length > &RECORD {
                    // A response with one answer, as far as the load looks.
                    buffer[2] |= 0x80;
                    buffer[7] = 1;
                }
                [IoSlice::new(&buffer[..(length + RECORD).min(OCTETS)])]
            })
            .collect();
        let to: Vec<Option<SockaddrIn>> = received.iter().map(|(_, from)| *from).collect();
        let _ = sendmmsg(socket.as_raw_fd(), &mut answers, &messages, &to, [], MsgFlags::empty());
    }
}

/// Asks what the file says, and prints what came of it.
pub(crate) fn run(address: &str, file: &str, seconds: &str, rate: &str) {
    let queries = queries(Path::new(file));
    let seconds = seconds.parse().map(Duration::from_secs_f64).expect("seconds");
    let rate: u32 = rate.parse().expect("queries a second");
    let mut sockets: Vec<Sender> = (0..SOCKETS).map(|_| Sender::new(address)).collect();
    let mut tally = Tally { latencies: vec![0; SLOWEST_US + 1], ..Tally::default() };
    let mut next = queries.iter().cycle();
    let begun = Instant::now();
    let (mut sent, mut now, mut swept) = (0_u64, begun, begun);
    while now - begun < seconds {
        for socket in &mut sockets {
            let mut room = WINDOW / SOCKETS - socket.out;
            if rate > 0 {
                let due = (now - begun).as_secs_f64() * f64::from(rate) - sent as f64;
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "negative becomes 0, and few are due"
                )]
                let due = due as usize;
                room = room.min(due);
            }
            while room > 0 {
                let count = room.min(BATCH);
                let taken = socket.send(&mut next, count, now);
                sent += taken as u64;
                room -= count;
                if taken < count {
                    break;
                }
            }
        }
        let mut waits: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket.socket.as_fd(), PollFlags::POLLIN)).collect();
        let patience = if rate > 0 { PollTimeout::ZERO } else { PollTimeout::from(5_u8) };
        let _ = poll(&mut waits, patience);
        drop(waits);
        for socket in &mut sockets {
            while socket.receive(&mut tally) == BATCH {}
        }
        now = Instant::now();
        if now - swept > Duration::from_millis(200) {
            swept = now;
            tally.lost += sockets.iter_mut().map(|socket| socket.give_up(now)).sum::<u64>();
        }
    }
    let qps = tally.answered as f64 / begun.elapsed().as_secs_f64();
    println!("{} {} {} {qps} {} {}", tally.answered, tally.with_answer, tally.lost, tally.at(50), tally.at(99));
}

/// What has been answered.
#[derive(Default)]
struct Tally {
    answered: u64,
    with_answer: u64,
    lost: u64,
    /// How many took so many microseconds; the last place is for all that took longer.
    latencies: Vec<u32>,
}

impl Tally {
    fn at(&self, share: u64) -> usize {
        let mut seen = 0;
        let place = self.latencies.iter().position(|count| {
            seen += u64::from(*count);
            seen * 100 >= self.answered * share
        });
        place.unwrap_or_default()
    }
}

/// One socket, and which of its message IDs wait for a response since when.
struct Sender {
    socket: UdpSocket,
    waiting: Vec<Option<Instant>>,
    out: usize,
    id: u16,
    messages: Vec<Vec<u8>>,
    responses: Vec<[u8; OCTETS]>,
    sending: MultiHeaders<SockaddrIn>,
    receiving: MultiHeaders<SockaddrIn>,
}

impl Sender {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        socket.connect(address).expect("loopback is there");
        socket.set_nonblocking(true).expect("a socket can be that");
        widen(&socket);
        Self {
            socket,
            waiting: vec![None; 1 << 16],
            out: 0,
            id: 0,
            messages: vec![Vec::new(); BATCH],
            responses: vec![[0; OCTETS]; BATCH],
            sending: MultiHeaders::preallocate(BATCH, None),
            receiving: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends so many; yields how many the kernel took.
    fn send<'q>(&mut self, queries: &mut impl Iterator<Item = &'q Vec<u8>>, count: usize, now: Instant) -> usize {
        for (message, query) in self.messages.iter_mut().zip(queries).take(count) {
            while self.waiting[usize::from(self.id)].is_some() {
                self.id = self.id.wrapping_add(1);
            }
            self.waiting[usize::from(self.id)] = Some(now);
            message.clear();
            message.extend(self.id.to_be_bytes());
            message.extend(&query[2..]);
            self.id = self.id.wrapping_add(1);
        }
        let slices: Vec<[IoSlice<'_>; 1]> =
            self.messages[..count].iter().map(|message| [IoSlice::new(message)]).collect();
        let to = vec![None::<SockaddrIn>; count];
        let taken = sendmmsg(self.socket.as_raw_fd(), &mut self.sending, &slices, &to, [], MsgFlags::empty());
        let taken = taken.map(Iterator::count).unwrap_or_default();
        drop(slices);
        for message in &self.messages[taken..count] {
            self.waiting[usize::from(u16::from_be_bytes([message[0], message[1]]))] = None;
        }
        self.out += taken;
        taken
    }

    /// Takes in what has come; yields how many messages that were.
    fn receive(&mut self, tally: &mut Tally) -> usize {
        let mut into: Vec<[IoSliceMut<'_>; 1]> =
            self.responses.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let received =
            recvmmsg(self.socket.as_raw_fd(), &mut self.receiving, into.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let lengths: Vec<usize> =
            received.map(|messages| messages.map(|message| message.bytes).collect()).unwrap_or_default();
        let now = Instant::now();
        for (response, length) in self.responses.iter().zip(&lengths) {
            let id = usize::from(u16::from_be_bytes([response[0], response[1]]));
            let Some(since) = self.waiting[id].take_if(|_| *length >= 12) else { continue };
            self.out -= 1;
            tally.answered += 1;
            tally.with_answer += u64::from(response[6] | response[7] != 0);
            let latency = usize::try_from((now - since).as_micros()).unwrap_or(usize::MAX);
            tally.latencies[latency.min(SLOWEST_US)] += 1;
        }
        lengths.len()
    }

    /// Forgets queries that nobody has answered for a second; yields how many.
    fn give_up(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for waiting in &mut self.waiting {
            if waiting.take_if(|since| now.saturating_duration_since(*since) > Duration::from_secs(1)).is_some() {
                lost += 1;
                self.out -= 1;
            }
        }
        lost
    }
}

/// The queries of a file with a name and a type a line, with EDNS (RFC 6891) for 1232 octets.
fn queries(file: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(file).expect("the queries can be read");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let queries = lines.map(|(name, rtype)| {
        let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.').chain([""]) {
            query.push(u8::try_from(label.len()).expect("a label is short"));
            query.extend(label.as_bytes());
        }
        let rtype = if rtype == "AAAA" { 28 } else { 1 };
        query.extend([0, rtype, 0, 1]);
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        query
    });
    queries.collect()
}

fn widen(socket: &UdpSocket) {
    let _ = setsockopt(socket, sockopt::RcvBuf, &(8 << 20));
    let _ = setsockopt(socket, sockopt::SndBuf, &(8 << 20));
}

/// Messages a system call.
const BATCH: usize = 64;
/// More than any message here has.
const OCTETS: usize = 2048;
/// Queries in flight, over all sockets.
const WINDOW: usize = 256;
const SOCKETS: usize = 4;
/// The slowest response that is told apart from slower ones.
const SLOWEST_US: usize = 1_000_000;
