//! The load, and the echo that is the limit: UDP with batched system calls, so that a server that batches can be filled.
//!
//! Both are processes of their own, each on its core: the program of the benchmark itself, started again with [`ROLE`] set.

use std::fs;
use std::io::{IoSlice, IoSliceMut, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{in_addr, in_pktinfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use super::asking::{Edns, query};
use super::server::Server;

/// What is to be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddrV4,
    /// A file of queries, a name and a type a line, asked over and over.
    pub(crate) queries: PathBuf,
    pub(crate) pace: Pace,
    pub(crate) sockets: usize,
    /// A file of addresses to ask from, one a line and another for each batch; else it is 127.0.0.1.
    pub(crate) callers: Option<PathBuf>,
    /// How long; without it until it is told to end.
    pub(crate) seconds: Option<f64>,
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// As fast as it is answered, [`WINDOW`] queries in flight.
    Saturating,
    /// So many queries a second, and responses looked for all the time: latency is read from it.
    Offered(u32),
    /// So many queries a second, and a nap of [`NAP`] in between: the core stays free for who measures something else.
    Background(u32),
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    /// The part of the responses that held an answer.
    pub(crate) with_answer: f64,
    /// The part of the responses that were SERVFAIL or REFUSED.
    pub(crate) failed: f64,
    /// Octets of a response, on average.
    pub(crate) octets: f64,
    pub(crate) lost: u64,
    pub(crate) qps: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// CPU time that the server spent on each answered query, which the load does not know.
    #[serde(skip)]
    pub(crate) cpu_us: f64,
}

impl Plan {
    /// Queries from a file, as the referee asks them: four sockets, as fast as they are answered.
    pub(crate) fn new(address: SocketAddrV4, queries: PathBuf, seconds: f64) -> Self {
        Self { address, queries, pace: Pace::Saturating, sockets: 4, callers: None, seconds: Some(seconds) }
    }

    /// Octets of its first query.
    pub(crate) fn octets(&self) -> f64 {
        queries(self).first().map_or(0, Vec::len) as f64
    }

    /// Carries it out, on the core of the load, and sees what the server spends on it.
    pub(crate) fn ask(&self, server: &Server, prefix: &[String]) -> Outcome {
        let before = server.cpu();
        let mut outcome = Load::start(self, prefix).finish();
        let spent = server.cpu().saturating_sub(before);
        outcome.cpu_us = spent.as_secs_f64() * 1e6 / (outcome.answered.max(1) as f64);
        outcome
    }
}

/// A load at work.
pub(crate) struct Load(Child);

impl Load {
    pub(crate) fn start(plan: &Plan, prefix: &[String]) -> Self {
        let plan = serde_json::to_string(plan).expect("it is plain data");
        let mut words = [prefix.to_vec(), this("load")].concat();
        words.push(plan);
        let child = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{}: {error}", words[0])))
    }

    /// Tells it to end if it has no end of its own, and waits for what came of it.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let output = self.0.stdout.take().expect("it is piped");
        let _ = std::io::BufReader::new(output).read_to_string(&mut said);
        let _ = self.0.wait();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("the load said {said:?}: {error}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command of an echo at an address, which grows each query by so many octets.
pub(crate) fn echo_command(address: SocketAddrV4, grow: usize) -> Vec<String> {
    [this("echo"), vec![address.to_string(), grow.to_string()]].concat()
}

/// What an A record adds to a query, its owner a pointer.
pub(crate) const A_RECORD: usize = 16;

/// The command that is this program in one of its other roles.
fn this(role: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("a program knows itself");
    vec!["env".to_owned(), format!("{ROLE}={role}"), program.display().to_string()]
}

/// Set where this program is the load or the echo.
const ROLE: &str = "SPACEDNS_BENCH_ROLE";

/// Does what this program was started for, if that is to be the load or the echo of another; then it ends.
pub(crate) fn play_role() {
    let role = std::env::var(ROLE).unwrap_or_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match (role.as_str(), &words[..]) {
        ("load", [plan]) => run(&serde_json::from_str(plan).expect("a plan")),
        ("echo", [address, grow]) => echo(address, grow.parse().expect("a number")),
        _ => return,
    }
    std::process::exit(0);
}

/// Receives, grows each packet, and sends it back, for ever.
fn echo(address: &str, grow: usize) {
    let socket = UdpSocket::bind(address).expect("the address can be had");
    widen(&socket);
    let mut buffers = vec![[0; OCTETS]; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut answers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let (mut lengths, mut to) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        let mut into: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        lengths.clear();
        to.clear();
        if let Ok(received) =
            recvmmsg(socket.as_raw_fd(), &mut headers, into.iter_mut(), MsgFlags::MSG_WAITFORONE, None)
        {
            for message in received {
                lengths.push(message.bytes);
                to.push(message.address);
            }
        }
        let messages: Vec<[IoSlice<'_>; 1]> = buffers
            .iter_mut()
            .zip(&lengths)
            .map(|(buffer, length)| {
                // A response with one answer, as far as the load looks.
                buffer[2] |= 0x80;
                buffer[7] = 1;
                let end = (length + grow).min(OCTETS);
                buffer[*length..end].fill(0);
                [IoSlice::new(&buffer[..end])]
            })
            .collect();
        let _ = sendmmsg(socket.as_raw_fd(), &mut answers, &messages, &to, [], MsgFlags::empty());
    }
}

/// Asks what the plan says, and prints what came of it.
fn run(plan: &Plan) {
    let queries = queries(plan);
    let callers = plan.callers.as_ref().map_or_else(Vec::new, |file| {
        let text = fs::read_to_string(file).expect("the callers can be read");
        text.lines().map(|line| line.parse().expect("an address")).collect::<Vec<Ipv4Addr>>()
    });
    let mut callers = callers.iter().copied().cycle();
    let mut sockets: Vec<Sender> = (0..plan.sockets).map(|_| Sender::new(plan)).collect();
    let mut tally = Tally { latencies: vec![0; SLOWEST_US + 1], ..Tally::default() };
    let mut next = queries.iter().cycle();
    let ended = told_to_end(plan.seconds.is_none());
    let most = plan.seconds.map_or(Duration::MAX, Duration::from_secs_f64);
    let begun = Instant::now();
    let (mut sent, mut now, mut swept) = (0_u64, begun, begun);
    while now - begun < most && !ended.load(Ordering::Relaxed) {
        for socket in &mut sockets {
            let mut room = WINDOW / plan.sockets - socket.out;
            if let Pace::Offered(rate) | Pace::Background(rate) = plan.pace {
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
                let taken = socket.send(&mut next, count, now, callers.next());
                sent += taken as u64;
                room -= count;
                if taken < count {
                    break;
                }
            }
        }
        match plan.pace {
            Pace::Saturating => wait(&sockets, PollTimeout::from(5_u8)),
            Pace::Offered(_) => wait(&sockets, PollTimeout::ZERO),
            Pace::Background(_) => thread::sleep(NAP),
        }
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
    // What is on its way is not lost yet.
    let last = Instant::now();
    while sockets.iter().any(|socket| socket.out > 0) && last.elapsed() < GIVE_UP {
        wait(&sockets, PollTimeout::from(5_u8));
        for socket in &mut sockets {
            while socket.receive(&mut tally) == BATCH {}
        }
    }
    tally.lost += sockets.iter().map(|socket| socket.out as u64).sum::<u64>();
    let share = |part: u64| part as f64 / (tally.answered.max(1) as f64);
    let outcome = Outcome {
        answered: tally.answered,
        with_answer: share(tally.with_answer),
        failed: share(tally.failed),
        octets: share(tally.octets),
        lost: tally.lost,
        qps,
        p50_us: tally.at(50),
        p99_us: tally.at(99),
        cpu_us: 0.0,
    };
    println!("{}", serde_json::to_string(&outcome).expect("it is plain data"));
}

/// Set when standard input is closed, if that is to be looked at.
fn told_to_end(looks: bool) -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    if looks {
        let own = Arc::clone(&ended);
        thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            own.store(true, Ordering::Relaxed);
        });
    }
    ended
}

fn wait(sockets: &[Sender], patience: PollTimeout) {
    let mut waits: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket.socket.as_fd(), PollFlags::POLLIN)).collect();
    let _ = poll(&mut waits, patience);
}

/// What has been answered.
#[derive(Default)]
struct Tally {
    answered: u64,
    with_answer: u64,
    failed: u64,
    octets: u64,
    lost: u64,
    /// How many took so many microseconds; the last place is for all that took longer.
    latencies: Vec<u32>,
}

impl Tally {
    /// Microseconds that so many of a hundred stayed within.
    fn at(&self, percent: u64) -> u64 {
        let mut seen = 0;
        let place = (0..).zip(&self.latencies).find(|(_, count)| {
            seen += u64::from(**count);
            seen * 100 >= self.answered * percent
        });
        place.map_or(0, |(place, _)| place)
    }
}

/// One socket, and which of its message IDs wait for a response since when.
struct Sender {
    socket: UdpSocket,
    /// Where to send to, where the socket is not connected.
    to: Option<SockaddrIn>,
    waiting: Vec<Option<Instant>>,
    out: usize,
    id: u16,
    messages: Vec<Vec<u8>>,
    responses: Vec<[u8; OCTETS]>,
    sending: MultiHeaders<SockaddrIn>,
    receiving: MultiHeaders<SockaddrIn>,
}

impl Sender {
    fn new(plan: &Plan) -> Self {
        // A connected socket has one address of its own.
        let (own, to, control) = match plan.callers {
            None => (Ipv4Addr::LOCALHOST, None, None),
            Some(_) => {
                (Ipv4Addr::UNSPECIFIED, Some(SockaddrIn::from(plan.address)), Some(nix::cmsg_space!(in_pktinfo)))
            }
        };
        let socket = UdpSocket::bind((own, 0)).expect("loopback has a free port");
        if to.is_none() {
            socket.connect(plan.address).expect("loopback is there");
        }
        socket.set_nonblocking(true).expect("a socket can be that");
        widen(&socket);
        Self {
            socket,
            to,
            waiting: vec![None; 1 << 16],
            out: 0,
            id: 0,
            messages: vec![Vec::new(); BATCH],
            responses: vec![[0; OCTETS]; BATCH],
            sending: MultiHeaders::preallocate(BATCH, control),
            receiving: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends so many, from the caller's address if there is one; yields how many the kernel took.
    fn send<'q>(
        &mut self,
        queries: &mut impl Iterator<Item = &'q Vec<u8>>,
        count: usize,
        now: Instant,
        caller: Option<Ipv4Addr>,
    ) -> usize {
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
        let to = vec![self.to; count];
        let source = caller.map(|caller| in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(caller.octets()) },
            ipi_addr: in_addr { s_addr: 0 },
        });
        let control: Vec<ControlMessage<'_>> = source.iter().map(ControlMessage::Ipv4PacketInfo).collect();
        let taken = sendmmsg(self.socket.as_raw_fd(), &mut self.sending, &slices, &to, control, MsgFlags::empty());
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
            tally.failed += u64::from([SERVFAIL, REFUSED].contains(&(response[3] & 0x0f)));
            tally.octets += *length as u64;
            let latency = usize::try_from((now - since).as_micros()).unwrap_or(usize::MAX);
            tally.latencies[latency.min(SLOWEST_US)] += 1;
        }
        lengths.len()
    }

    /// Forgets queries that nobody has answered for [`GIVE_UP`]; yields how many.
    fn give_up(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for waiting in &mut self.waiting {
            if waiting.take_if(|since| now.saturating_duration_since(*since) > GIVE_UP).is_some() {
                lost += 1;
                self.out -= 1;
            }
        }
        lost
    }
}

/// The queries of a file, with EDNS.
fn queries(plan: &Plan) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(&plan.queries).expect("the queries can be read");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let queries = lines.map(|(name, rtype)| {
        let rtype = match rtype {
            "A" => 1,
            "AAAA" => 28,
            "SRV" => 33,
            other => panic!("{other} is not asked for"),
        };
        query(name, rtype, Edns::Yes)
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
/// Between two looks, where a load is in the background: ten queries at 100,000 a second.
const NAP: Duration = Duration::from_micros(100);
/// A response that takes longer is lost.
const GIVE_UP: Duration = Duration::from_secs(1);
/// The slowest response that is told apart from slower ones.
const SLOWEST_US: usize = 1_000_000;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
