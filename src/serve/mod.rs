//! Moves queries and responses between sockets and the engine: bind, limit, time out, drain.
//!
//! [`bind()`] takes every socket before any thread exists. [`start`] gives each UDP socket a thread of its own (`udp`, batches
//! of datagrams by `batch`), all TCP listeners one thread with a runtime, and all of TLS and QUIC another (`streams`, who is let
//! in by the `roster`): a `connection` a client of TCP or `tls`, streams of `quic`. All of them answer through one function,
//! `Desk::answer`, from the snapshot that is newest when a batch begins. What they may take is one table, [`LIMITS`]. [`admin`] says
//! over HTTP what is being done.
//!
//! hickory-server's TLS and QUIC listeners were read and rejected (0.26.3): they bound neither connections, nor those of a source,
//! nor handshakes, nor queries in flight; QUIC handshakes are awaited one after another; a message that it cannot parse is
//! answered before any handler sees it, and a handler's response is encoded anew, so that OPT and the order of records are lost.
//! Below them lie rustls and quinn, and these carry our octets as they are.

pub mod admin;
mod answer;
mod batch;
mod bind;
mod certificate;
mod connection;
mod forwarding;
mod holder;
mod inherited;
mod limits;
mod metrics;
mod phase;
mod probe;
mod quic;
mod roster;
mod sample;
mod streams;
mod tls;
mod udp;

use std::io;
use std::net::{Shutdown, UdpSocket};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use ipnet::IpNet;
use socket2::SockRef;
use tokio::sync::watch;

use crate::engine;
use crate::forward::{self, Clock, Queue};
use crate::observe::{Counters, QueryLog, Totals};
use crate::publish::Subscriber;
use answer::{Desk, Respond, Ticket};

use phase::{Phase, PhaseFlag};
use streams::Doors;
use tls::Encryption;

pub use bind::{BindError, Sockets, bind};
pub use certificate::{CertificateError, Credentials};
pub use holder::Holder;
pub use inherited::Inherited;
pub use limits::{LIMITS, Limits, OutOfBounds, Row, Unit};
pub use metrics::Metrics;
pub use probe::{Silence, probe};

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Forwarders whose EDNS Client Subnet is believed (design §3).
    pub trust_subnet_from: Vec<IpNet>,
    /// What clients may take.
    pub limits: Limits,
    /// By what TLS and QUIC show who we are; without, their sockets are closed.
    pub credentials: Option<Credentials>,
    /// How foreign names are forwarded, within [`Limits::forward`]; without, they are refused.
    pub forward: Option<forward::Config>,
    /// What the server says of itself; the keepalive is that of the limits.
    pub settings: engine::Settings,
    /// Where queries are written down that somebody wants to see.
    pub query_log: Option<Arc<QueryLog>>,
    /// What server cookies are made with; without, there are none.
    pub secrets: Option<engine::Secrets>,
}

/// Serves `sockets` from what `subscriber` sees, on threads of its own.
///
/// # Errors
/// When a thread or the runtime cannot be had; what was started is stopped again.
pub fn start(sockets: Sockets, config: Config, subscriber: Subscriber) -> io::Result<Running> {
    start_with(sockets, config, subscriber, Respond::Engine)
}

fn start_with(sockets: Sockets, config: Config, subscriber: Subscriber, respond: Respond) -> io::Result<Running> {
    let mut running = Running::new();
    let desk = || Desk::new(&config, respond);
    let (sampler, samples) = sample::new();
    let desk = match config.forward.clone() {
        Some(mut forward) => {
            forward.limits = config.limits.forward.clone();
            let (forwarder, queue) = forward::new(forward, clock())?;
            running.spawn_forwarding(queue, desk().with_upstreams(None), (&config.limits, &subscriber))?;
            Arc::new(desk().with_upstreams(Some(forwarder)).with_sampler(sampler))
        }
        None => Arc::new(desk().with_sampler(sampler)),
    };
    let mut plain = Doors::default();
    for listen in sockets.listens {
        plain.tcp.push(listen.tcp);
        for socket in listen.udp {
            if let Err(error) = running.spawn_udp(socket, (&desk, &config.limits, &subscriber)) {
                running.stop();
                return Err(error);
            }
        }
    }
    let spawned = running.spawn_streams("tcp", plain, None, (&desk, &config.limits, &subscriber));
    let seen = subscriber.clone();
    let spawned = spawned.and_then(|()| {
        let thread = running.spawn("census".to_owned(), move |counters| samples.run(&seen, counters))?;
        running.threads.push(thread);
        Ok(())
    });
    let spawned = match config.credentials {
        Some(credentials) if spawned.is_ok() => {
            let doors = Doors { tcp: Vec::new(), tls: sockets.tls, quic: sockets.quic };
            Encryption::new(credentials).and_then(|encryption| {
                running.spawn_streams("tls", doors, Some(encryption), (&desk, &config.limits, &subscriber))
            })
        }
        _ => spawned,
    };
    match spawned {
        Ok(()) => Ok(running),
        Err(error) => {
            running.stop();
            Err(error)
        }
    }
}

/// A server at work. Dropping this tells it to stop, without waiting for it as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Running {
    phase: Arc<PhaseFlag>,
    stop_streams: watch::Sender<Phase>,
    udp: Vec<Arc<UdpSocket>>,
    udp_threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn new() -> Self {
        Self {
            phase: Arc::default(),
            stop_streams: watch::Sender::new(Phase::Serving),
            udp: Vec::new(),
            udp_threads: Vec::new(),
            counters: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// The counters of all threads.
    #[must_use]
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.counters.clone()
    }

    /// What all threads have counted up to now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }

    /// Stops: what is queued is answered, connections get [`Limits::drain`] to end, threads are joined.
    ///
    /// Returns what all threads have counted, to the last.
    pub fn stop(mut self) -> Totals {
        self.tell();
        self.join();
        self.totals()
    }

    /// Leaves the sockets to another server that has them too, or will: nothing more is taken from them, what was taken is answered.
    ///
    /// A socket is not shut down, for it would be so for the other as well. What is queued in it is the other's. Connections get
    /// [`Limits::drain`] to end, as in [`stop`](Self::stop).
    pub fn leave(mut self) -> Totals {
        self.phase.set(Phase::Leaving);
        // Before those who ask upstreams are told: what was taken until now may have to be forwarded.
        for thread in self.udp_threads.drain(..) {
            let _ = thread.join();
        }
        self.stop_streams.send_replace(Phase::Leaving);
        self.join();
        self.totals()
    }

    /// Whether every thread is still at work.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.threads.iter().chain(&self.udp_threads).all(|thread| !thread.is_finished())
    }

    fn join(&mut self) {
        for thread in self.udp_threads.drain(..).chain(self.threads.drain(..)) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }

    fn tell(&self) {
        if self.phase.get() == Phase::Leaving {
            return;
        }
        self.phase.set(Phase::Closing);
        self.stop_streams.send_replace(Phase::Closing);
        for socket in &self.udp {
            // Wakes whoever waits in it, and lets them take what is queued first. The kernel does so, then says that the socket is
            // not connected.
            let _ = SockRef::from(socket.as_ref()).shutdown(Shutdown::Read);
        }
    }

    fn spawn_udp(
        &mut self,
        socket: UdpSocket,
        (desk, limits, subscriber): (&Arc<Desk>, &Limits, &Subscriber),
    ) -> io::Result<()> {
        // A batch of none would receive nothing.
        let (size, run) = (limits.batch.max(1), limits.run);
        let name = format!("udp-{}", self.udp.len());
        let socket = Arc::new(socket);
        self.udp.push(Arc::clone(&socket));
        let (desk, reader, phase) = (Arc::clone(desk), subscriber.reader(), Arc::clone(&self.phase));
        let thread =
            self.spawn(name, move |counters| udp::run(&socket, &desk, reader, counters, (size, run, &phase)))?;
        self.udp_threads.push(thread);
        Ok(())
    }

    fn spawn_streams(
        &mut self,
        name: &str,
        doors: Doors,
        encryption: Option<Encryption>,
        (desk, limits, subscriber): (&Arc<Desk>, &Limits, &Subscriber),
    ) -> io::Result<()> {
        let runtime = streams::Runtime::new(doors, encryption, limits)?;
        let (desk, limits) = (Arc::clone(desk), limits.clone());
        let (reader, stop) = (subscriber.reader(), self.stop_streams.subscribe());
        let thread =
            self.spawn(name.to_owned(), move |counters| runtime.run(desk, reader, Arc::clone(counters), limits, stop))?;
        self.threads.push(thread);
        Ok(())
    }

    fn spawn_forwarding(
        &mut self,
        queue: Queue<Ticket>,
        desk: Desk,
        (limits, subscriber): (&Limits, &Subscriber),
    ) -> io::Result<()> {
        let runtime = forwarding::Runtime::new(queue)?;
        let (drain, reader, stop) = (limits.drain, subscriber.reader(), self.stop_streams.subscribe());
        let thread = self.spawn("forward".to_owned(), move |counters| {
            runtime.run(desk, reader, Arc::clone(counters), drain, stop);
        })?;
        self.threads.push(thread);
        Ok(())
    }

    fn spawn(&mut self, name: String, run: impl FnOnce(&Arc<Counters>) + Send + 'static) -> io::Result<JoinHandle<()>> {
        let counters = Arc::new(Counters::default());
        self.counters.push(Arc::clone(&counters));
        Builder::new().name(name).spawn(move || run(&counters))
    }
}

/// The clock of what upstreams said.
fn clock() -> Clock {
    let begun = streams::now();
    Arc::new(move || streams::now().saturating_duration_since(begun))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests;
