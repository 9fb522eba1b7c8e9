//! A steady load that knows of each query whether it was answered: over UDP, and over TCP with a connection for each query.
//!
//! It is closed: when too many queries are unanswered it waits for them, so that what a machine with other work to do drops
//! from a full socket buffer is not taken for what a server lost.
#![allow(
    clippy::disallowed_methods,
    reason = "a load is so many queries a second by the clock that the server runs on"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::message::Query;
use crate::process::{PATIENCE, poll};

/// A load at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

/// What the clients share.
#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Asks for the A records of `qname` from now on: so many times a second over UDP, and so many over TCP.
    pub(crate) fn start(address: SocketAddr, qname: &str, udp: u32, tcp: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let query = Query::new(qname, 1).octets();
        let start = |run: fn(SocketAddr, Vec<u8>, Duration, &Shared) -> Result<(), String>, pace: Duration| {
            let (shared, query) = (Arc::clone(&shared), query.clone());
            std::thread::spawn(move || run(address, query, pace, &shared))
        };
        let mut threads: Vec<_> =
            (0..UDP_CLIENTS).map(|_| start(ask_datagrams, Duration::from_secs(1) * UDP_CLIENTS / udp)).collect();
        threads.extend((0..TCP_CLIENTS).map(|_| start(ask_streams, Duration::from_secs(1) * TCP_CLIENTS / tcp)));
        Self { shared, threads }
    }

    /// Stops, and gives how many queries were answered; fails at the first that was not.
    pub(crate) fn end(self) -> Result<usize, String> {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.threads.into_iter().try_for_each(|thread| thread.join().unwrap())?;
        Ok(self.shared.answered.load(Ordering::Relaxed))
    }

    /// Waits until so many more queries are answered, or one is lost.
    pub(crate) fn wait(&self, more: usize) {
        let until = self.shared.answered.load(Ordering::Relaxed) + more;
        let reached = || self.shared.answered.load(Ordering::Relaxed) >= until;
        poll(PATIENCE * 2, || (reached() || self.threads.iter().any(JoinHandle::is_finished)).then_some(()));
    }
}

/// One client over UDP.
fn ask_datagrams(address: SocketAddr, mut query: Vec<u8>, pace: Duration, shared: &Shared) -> Result<(), String> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    let mut id = 0_u16;
    let mut unanswered = BTreeSet::new();
    let mut next = Instant::now();
    let mut progress = Instant::now();
    let mut response = [0; 2048];
    loop {
        let is_over = shared.ended.load(Ordering::Relaxed);
        if is_over && unanswered.is_empty() {
            return Ok(());
        }
        if progress.elapsed() > PATIENCE && !unanswered.is_empty() {
            return Err(format!("over UDP, {} queries were lost", unanswered.len()));
        }
        let now = Instant::now();
        if now >= next && !is_over && unanswered.len() < UNANSWERED_MAX {
            // What the pace is behind is not made up for: that would be bursts.
            next = now + pace;
            id = id.wrapping_add(1);
            query[..2].copy_from_slice(&id.to_be_bytes());
            if unanswered.is_empty() {
                progress = now;
            }
            if !unanswered.insert(id) {
                return Err(format!("over UDP, the query of ID {id} was lost: its turn has come again"));
            }
            // While nobody has the port, the kernel says so at the next call.
            socket.send(&query).map_err(|error| format!("over UDP, to nobody: {error}"))?;
        }
        let wait = next.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(100), pace);
        socket.set_read_timeout(Some(wait)).unwrap();
        match socket.recv(&mut response) {
            Ok(length) => {
                check(&response[..length]).map_err(|why| format!("over UDP, {why}"))?;
                if unanswered.remove(&u16::from_be_bytes([response[0], response[1]])) {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                    progress = Instant::now();
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(format!("over UDP, from nobody: {error}")),
        }
    }
}

/// One client over TCP, with a connection for each query.
fn ask_streams(address: SocketAddr, query: Vec<u8>, pace: Duration, shared: &Shared) -> Result<(), String> {
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat();
    while !shared.ended.load(Ordering::Relaxed) {
        let next = Instant::now() + pace;
        let asked = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&framed)?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut response)?;
            Ok(response)
        });
        let response = asked.map_err(|error| format!("over TCP, a query was lost: {error}"))?;
        check(&response).map_err(|why| format!("over TCP, {why}"))?;
        shared.answered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// An answer, whole: no error, and a record.
fn check(response: &[u8]) -> Result<(), String> {
    let is_answer = response.len() > 12 && response[3] & 15 == 0 && response[6..8] != [0, 0];
    if is_answer { Ok(()) } else { Err(format!("no answer: {response:?}")) }
}

/// Clients over UDP, so that the kernel spreads them over the sockets.
const UDP_CLIENTS: u32 = 8;

/// Clients over TCP.
const TCP_CLIENTS: u32 = 4;

/// Queries of one client that may be on their way: far from what a socket buffer holds.
const UNANSWERED_MAX: usize = 32;
