//! Accepts TCP connections, within limits, and never stops accepting for an error (RFC 7766, RFC 9210).
//!
//! One thread for all listeners: TCP is for what does not fit a datagram, and a single thread needs no lock around the roster, the
//! snapshot or the buffers. What clients may take is in [`Limits`]; each is a bound on what they can make us hold or wait for.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::answer::Desk;
use super::connection::Connection;
use super::roster::{Admission, Roster};
use crate::observe::{Counters, Event};
use crate::publish::Reader;

/// What TCP connections may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all, 1,024 by default; the longest idle goes first. One that is idle holds 8 KiB at most; one that sends
    /// and does not take holds a message and [`unsent`](Self::unsent), with room to grow a megabyte, for seconds.
    pub connections: usize,
    /// Connections of one source address, 32 by default: a client needs one or two (RFC 9210 §4.1), a NAT some more.
    pub connections_per_source: usize,
    /// How long a connection may be without a query, 10 s by default (RFC 9210 §4.2), and how long a response may go untaken.
    pub idle: Duration,
    /// How long a message may take to arrive once begun, 2 s by default.
    pub frame: Duration,
    /// Queries whose responses are not yet with the kernel, 64 by default: no more are read until they are.
    pub in_flight: usize,
    /// Queries that a connection may ask in all, 10,000 by default; it is closed after that, and the client opens another.
    pub queries: u32,
    /// Octets of responses that are not yet with the kernel, 256 KiB by default. No more queries are read at this point, and the
    /// client has [`frame`](Self::frame) to take some.
    pub unsent: usize,
    /// How long connections have to end after a stop, 5 s by default; what is left then is cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_source: 32,
            idle: Duration::from_secs(10),
            frame: Duration::from_secs(2),
            in_flight: 64,
            queries: 10_000,
            unsent: 256 << 10,
            drain: Duration::from_secs(5),
        }
    }
}

/// The runtime of the TCP thread, with its listeners; made before the thread, so that what fails is reported.
#[derive(Debug)]
pub(super) struct Runtime {
    runtime: tokio::runtime::Runtime,
    listeners: Vec<TcpListener>,
}

impl Runtime {
    /// Takes over bound, non-blocking listeners.
    pub(super) fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let entered = runtime.enter();
        let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        drop(entered);
        Ok(Self { runtime, listeners })
    }

    /// Serves until `stop` says so and the connections have ended, or their time to do so has.
    pub(super) fn run(
        self,
        desk: Arc<Desk>,
        reader: Reader,
        counters: Arc<Counters>,
        limits: Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let Self { runtime, listeners } = self;
        let shared = Rc::new(Shared {
            desk,
            counters,
            limits,
            roster: Rc::default(),
            stop: stop.clone(),
            worker: RefCell::new(Worker {
                reader,
                received: vec![0; RECEIVE_MAX].into(),
                response: vec![0; usize::from(u16::MAX)].into(),
            }),
        });
        // Dropped before the runtime, and with it the connections that are left.
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            let accepting: Vec<_> =
                listeners.into_iter().map(|listener| spawn_local(accept(listener, Rc::clone(&shared)))).collect();
            // An error means that whoever could stop us is gone without doing so: that is a stop.
            let _ = stop.wait_for(|stop| *stop).await;
            let ended = async {
                for task in accepting {
                    let _ = task.await;
                }
                shared.roster.empty().await;
            };
            let _ = timeout(shared.limits.drain, ended).await;
        });
    }
}

/// What the connections of the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) desk: Arc<Desk>,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
    pub(super) roster: Rc<Roster>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) worker: RefCell<Worker>,
}

/// What answering needs; borrowed between two waits, never across one.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) reader: Reader,
    /// Where octets are received before it is known how many of them are kept, so that an idle connection has no buffer.
    pub(super) received: Box<[u8]>,
    /// Where a response is written before its length is known.
    pub(super) response: Box<[u8]>,
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    let mut stop = shared.stop.clone();
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                admit(stream, &shared);
                // Lets whoever was evicted go before the next comes.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                shared.counters.event(Event::AcceptFailed, 1);
                sleep(pause_after(&error, failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
    // Who had connected before the stop is still answered.
    let _ = timeout(QUIET, async {
        while let Ok((stream, _)) = listener.accept().await {
            admit(stream, &shared);
        }
    })
    .await;
}

fn admit(stream: TcpStream, shared: &Rc<Shared>) {
    shared.counters.event(Event::Accepted, 1);
    // A client that is gone again has no address.
    let Ok(address) = stream.peer_addr() else {
        shared.counters.event(Event::Closed, 1);
        return;
    };
    // Responses are written whole, so there is nothing to gather (RFC 7766 §8). Failing costs time, not answers.
    let _ = stream.set_nodelay(true);
    let Limits { connections, connections_per_source, .. } = shared.limits;
    let source = address.ip().to_canonical();
    let (place, admission) = shared.roster.admit(source, now(), connections_per_source, connections);
    if admission == Admission::Evicted {
        shared.counters.event(Event::Evicted, 1);
    }
    spawn_local(Connection::new(stream, source, place, Rc::clone(shared)).run());
}

/// How long to wait after accepting failed, so many failures into a row. What belongs to the one connection that failed
/// (accept(2) names them) costs nothing; what lasts (no descriptors, no memory) would turn the loop into a spin.
fn pause_after(error: &io::Error, failures: u32) -> Duration {
    let is_of_connection = matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    );
    if is_of_connection && failures < FREE_FAILURES {
        return Duration::ZERO;
    }
    Duration::from_millis(10 << failures.min(7)).min(PAUSE_MAX)
}

/// The clock of every timeout here.
#[allow(clippy::disallowed_methods, reason = "`serve` reads the clock: it decides no DNS meaning by it")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// How long a connection is listened to after a stop for what its client had sent before; also the time for the accept queue.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// Failures in a row of single connections that cost no pause.
const FREE_FAILURES: u32 = 64;

/// The longest pause: a listener that can accept again does so within this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Octets that are received at once: some 300 queries, more than are answered at once.
const RECEIVE_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_pauses_for_a_second_at_most() {
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EINVAL] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(pause_after(&error, 0), Duration::from_millis(10));
            assert!(pause_after(&error, 3) > pause_after(&error, 2));
            assert_eq!(pause_after(&error, u32::MAX), PAUSE_MAX);
        }
    }

    #[test]
    fn a_connection_that_failed_by_itself_pauses_nobody_but_a_thousand_do() {
        let error = io::Error::from_raw_os_error(libc::ECONNABORTED);
        assert_eq!(pause_after(&error, 0), Duration::ZERO);
        assert_eq!(pause_after(&error, 1_000), PAUSE_MAX);
    }
}
