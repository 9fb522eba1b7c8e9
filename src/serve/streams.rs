//! Accepts connections, within limits, and never stops accepting for an error (RFC 7766, RFC 9210).
//!
//! One thread for all TCP listeners: TCP is for what does not fit a datagram, and a single thread needs no lock around the roster,
//! the snapshot or the buffers. TLS and QUIC have another such thread, with a roster of its own: a handshake costs as much as a
//! hundred queries, and whoever makes many holds up those who encrypt, and nobody else. What clients may take is in [`Limits`].

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::{Desk, is_silent};
use super::connection::Connection;
use super::limits::Limits;
use super::phase::Phase;
use super::roster::{Admission, Place, Roster};
use super::tls::{self, Encryption};
use super::{certificate, quic};
use crate::engine::Transport;
use crate::observe::{Counters, Event, Limit};
use crate::publish::Reader;

/// The sockets that a thread takes connections from.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) tcp: Vec<std::net::TcpListener>,
    pub(super) tls: Vec<std::net::TcpListener>,
    pub(super) quic: Vec<std::net::UdpSocket>,
}

/// The runtime of a thread, with its listeners; made before the thread, so that what fails is reported.
pub(super) struct Runtime {
    runtime: tokio::runtime::Runtime,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    quic: Vec<Endpoint>,
    /// Of TLS and QUIC.
    encryption: Option<Encryption>,
}

impl Runtime {
    /// Takes over bound, non-blocking sockets. Those of TLS and QUIC need an `encryption`, and are closed without.
    pub(super) fn new(doors: Doors, encryption: Option<Encryption>, limits: &Limits) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_io()
            .enable_time()
            .build()?;
        let entered = runtime.enter();
        let listeners =
            |sockets: Vec<_>| sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>();
        let (tcp, tls) = (listeners(doors.tcp)?, listeners(doors.tls)?);
        let quic = match &encryption {
            Some(encryption) => doors
                .quic
                .into_iter()
                .map(|socket| quic::endpoint(socket, encryption, limits))
                .collect::<io::Result<_>>()?,
            None => Vec::new(),
        };
        drop(entered);
        Ok(Self { runtime, tcp, tls, quic, encryption })
    }

    /// Serves until `stop` says so and the connections have ended, or their time to do so has.
    pub(super) fn run(
        self,
        desk: Arc<Desk>,
        reader: Reader,
        counters: Arc<Counters>,
        limits: Limits,
        mut stop: watch::Receiver<Phase>,
    ) {
        let Self { runtime, tcp, tls, quic, encryption } = self;
        let shared = Rc::new(Shared {
            desk,
            counters,
            limits,
            roster: Rc::default(),
            handshakes: Rc::default(),
            stop: stop.clone(),
            worker: RefCell::new(Worker {
                reader,
                received: vec![0; RECEIVE_MAX].into(),
                response: vec![0; usize::from(u16::MAX)].into(),
                turn: 0,
            }),
        });
        // Dropped before the runtime, and with it the connections that are left.
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            let mut accepting = Vec::new();
            for listener in tcp {
                accepting.push(spawn_local(accept(listener, Gate::Open, Rc::clone(&shared))));
            }
            for endpoint in quic {
                accepting.push(spawn_local(quic::accept(endpoint, Rc::clone(&shared))));
            }
            if let Some(encryption) = &encryption {
                for listener in tls {
                    let gate = Gate::Tls(encryption.acceptor.clone());
                    accepting.push(spawn_local(accept(listener, gate, Rc::clone(&shared))));
                }
                accepting.push(spawn_local(certificate::follow(
                    encryption.credentials.clone(),
                    Arc::clone(&shared.counters),
                    stop.clone(),
                )));
            }
            // The thread that is always there keeps time for all.
            let keeper = if encryption.is_none() { Keeper::OfTime } else { Keeper::OfItself };
            spawn_local(keep_up(keeper, Rc::clone(&shared)));
            // An error means that whoever could stop us is gone without doing so: that is a stop.
            let _ = stop.wait_for(Phase::is_over).await;
            let ended = async {
                for task in accepting {
                    let _ = task.await;
                }
                shared.handshakes.empty().await;
                shared.roster.empty().await;
            };
            if timeout(shared.limits.drain, ended).await.is_err() {
                shared.counters.limit(Limit::Drain, 1);
            }
        });
        // A file that does not let itself be read keeps nobody from ending.
        runtime.shutdown_background();
    }
}

/// What the connections of the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) desk: Arc<Desk>,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
    pub(super) roster: Rc<Roster>,
    /// Those whose handshake is not done; not in the roster yet.
    pub(super) handshakes: Rc<Roster>,
    pub(super) stop: watch::Receiver<Phase>,
    pub(super) worker: RefCell<Worker>,
}

impl Shared {
    /// Finds a place for a connection that can ask now.
    pub(super) fn let_in(&self, source: SocketAddr) -> Place {
        let Limits { connections, connections_per_source, .. } = self.limits;
        let (place, admission) =
            self.roster.admit(source.ip().to_canonical(), now(), connections_per_source, connections);
        if let Admission::Evicted(limit) = admission {
            self.counters.event(Event::Evicted, 1);
            self.counters.limit(limit, 1);
        }
        place
    }

    /// Finds a place for a connection that has to shake hands first.
    pub(super) fn let_shake(&self, source: SocketAddr) -> Place {
        let Limits { handshakes, connections_per_source, .. } = self.limits;
        let (place, admission) =
            self.handshakes.admit(source.ip().to_canonical(), now(), connections_per_source, handshakes);
        if let Admission::Evicted(limit) = admission {
            self.counters.event(Event::Evicted, 1);
            self.counters.limit(if limit == Limit::Connections { Limit::Handshakes } else { limit }, 1);
        }
        place
    }

    /// Waits for a handshake, for as long as it may take; `None` when the place goes to another, or the server has stopped.
    /// After that it has `quiet`.
    pub(super) async fn shake<F: IntoFuture>(
        &self,
        place: &Place,
        quiet: fn(Phase) -> Duration,
        handshake: F,
    ) -> Option<Result<F::Output, Elapsed>> {
        let mut stop = self.stop.clone();
        let stopped = async {
            let phase = over(&mut stop).await;
            sleep(quiet(phase)).await;
        };
        tokio::select! {
            biased;
            () = place.evicted() => None,
            () = stopped => None,
            shaken = timeout(self.limits.handshake, handshake) => Some(shaken),
        }
    }
}

/// What answering needs; borrowed between two waits, never across one.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) reader: Reader,
    /// Where octets are received before it is known how many of them are kept, so that an idle connection has no buffer.
    pub(super) received: Box<[u8]>,
    /// Where a response is written before its length is known.
    pub(super) response: Box<[u8]>,
    /// Counts queries over QUIC, whose IDs are all 0: addresses are rotated by it in their place.
    pub(super) turn: u16,
}

/// What stands between accepting a connection and answering on it.
#[derive(Clone)]
enum Gate {
    /// Nothing.
    Open,
    /// A TLS handshake.
    Tls(TlsAcceptor),
}

/// Waits until the server is on its way out, and says in which.
pub(super) async fn over(stop: &mut watch::Receiver<Phase>) -> Phase {
    // An error means that whoever could tell is gone without doing so: that is a close.
    stop.wait_for(Phase::is_over).await.map_or(Phase::Closing, |phase| *phase)
}

/// What a thread keeps up while it may be waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// The clock of all threads, and its own snapshot.
    OfTime,
    /// Its own snapshot.
    OfItself,
}

async fn keep_up(keeper: Keeper, shared: Rc<Shared>) {
    loop {
        sleep(TICK).await;
        if keeper == Keeper::OfTime {
            shared.desk.tick();
        }
        shared.worker.borrow_mut().reader.keep_up();
    }
}

async fn accept(listener: TcpListener, gate: Gate, shared: Rc<Shared>) {
    let mut stop = shared.stop.clone();
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(Phase::is_over) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                admit(stream, &gate, &shared);
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
    let phase = *stop.borrow();
    if phase == Phase::Leaving {
        // Who has connected is the other server's.
        return;
    }
    // Who had connected before the stop is still answered.
    let _ = timeout(phase.quiet(), async {
        while let Ok((stream, _)) = listener.accept().await {
            admit(stream, &gate, &shared);
        }
    })
    .await;
}

fn admit(stream: TcpStream, gate: &Gate, shared: &Rc<Shared>) {
    shared.counters.event(Event::Accepted, 1);
    // A client that is gone again has no address.
    let Some(source) = stream.peer_addr().ok().filter(|source| !is_silent(source.port())) else {
        shared.counters.event(Event::Closed, 1);
        return;
    };
    // Responses are written whole, so there is nothing to gather (RFC 7766 §8). Failing costs time, not answers.
    let _ = stream.set_nodelay(true);
    match gate {
        Gate::Open => {
            let place = shared.let_in(source);
            spawn_local(Connection::new(stream, Transport::Tcp, source, place, Rc::clone(shared)).run());
        }
        Gate::Tls(acceptor) => {
            let place = shared.let_shake(source);
            spawn_local(tls::converse(acceptor.clone(), stream, source, place, Rc::clone(shared)));
        }
    }
}

/// How long to wait after accepting failed, so many failures into a row. What belongs to the one connection that failed
/// (accept(2) names them) costs nothing; what lasts (no descriptors, no memory) would turn the loop into a spin.
pub(super) fn pause_after(error: &io::Error, failures: u32) -> Duration {
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

/// Failures in a row of single connections that cost no pause.
const FREE_FAILURES: u32 = 64;

/// The longest pause: a listener that can accept again does so within this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often the clock is looked at, and whether something newer is published: as often as by workers who wait for a datagram. In a
/// second a hundred changes among a hundred thousand apps replace a third of the largest table, and that would be kept.
pub(super) const TICK: Duration = super::udp::LOOK;

/// Threads for reading certificates: one.
const BLOCKING_THREADS: usize = 1;

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
