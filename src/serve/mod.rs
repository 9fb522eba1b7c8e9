//! Moves queries and responses between sockets and the engine: bind, limit, time out, drain.
//!
//! [`bind()`] takes every socket before any thread exists. [`start`] gives each UDP socket a thread of its own (`udp`, batches
//! of datagrams by `batch`) and all TCP listeners one thread with a runtime (`tcp`, a `connection` a client, who is let in by
//! the `roster`). All of them answer through one function, `Desk::answer`, from the snapshot that is newest when a batch begins.

mod answer;
mod batch;
mod bind;
mod connection;
mod roster;
mod tcp;
mod udp;

use std::io;
use std::net::{Shutdown, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use ipnet::IpNet;
use socket2::SockRef;
use tokio::sync::watch;

use crate::engine;
use crate::observe::{Counters, Totals};
use crate::publish::Subscriber;
use answer::{Desk, Respond};

pub use bind::{BindError, Sockets, bind};
pub use tcp::Limits;

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Forwarders whose EDNS Client Subnet is believed (design §3).
    pub trust_subnet_from: Vec<IpNet>,
    /// What TCP connections may take.
    pub limits: Limits,
}

/// Serves `sockets` from what `subscriber` sees, on threads of its own.
///
/// # Errors
/// When a thread or the runtime cannot be had; what was started is stopped again.
pub fn start(sockets: Sockets, config: Config, subscriber: Subscriber) -> io::Result<Running> {
    start_with(sockets, config, subscriber, engine::respond)
}

fn start_with(sockets: Sockets, config: Config, subscriber: Subscriber, respond: Respond) -> io::Result<Running> {
    let desk = Arc::new(Desk::new(config.trust_subnet_from, respond));
    let mut running = Running::new();
    let mut listeners = Vec::new();
    for listen in sockets.listens {
        listeners.push(listen.tcp);
        for socket in listen.udp {
            if let Err(error) = running.spawn_udp(socket, &desk, &subscriber) {
                running.stop();
                return Err(error);
            }
        }
    }
    match running.spawn_tcp(listeners, desk, config.limits, &subscriber) {
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
    stop: Arc<AtomicBool>,
    stop_tcp: watch::Sender<bool>,
    udp: Vec<Arc<UdpSocket>>,
    counters: Vec<Arc<Counters>>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            stop_tcp: watch::Sender::new(false),
            udp: Vec::new(),
            counters: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// What all threads have counted up to now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }

    /// Stops: what is queued is answered, connections get [`Limits::drain`] to end, threads are joined.
    pub fn stop(mut self) {
        self.tell();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::Release);
        self.stop_tcp.send_replace(true);
        for socket in &self.udp {
            // Wakes whoever waits in it, and lets them take what is queued first. The kernel does so, then says that the socket is
            // not connected.
            let _ = SockRef::from(socket.as_ref()).shutdown(Shutdown::Read);
        }
    }

    fn spawn_udp(&mut self, socket: UdpSocket, desk: &Arc<Desk>, subscriber: &Subscriber) -> io::Result<()> {
        let name = format!("udp-{}", self.udp.len());
        let socket = Arc::new(socket);
        self.udp.push(Arc::clone(&socket));
        let (desk, reader, stop) = (Arc::clone(desk), subscriber.reader(), Arc::clone(&self.stop));
        self.spawn(name, move |counters| udp::run(&socket, &desk, reader, counters, &stop))
    }

    fn spawn_tcp(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        desk: Arc<Desk>,
        limits: Limits,
        subscriber: &Subscriber,
    ) -> io::Result<()> {
        let runtime = tcp::Runtime::new(listeners)?;
        let (reader, stop) = (subscriber.reader(), self.stop_tcp.subscribe());
        self.spawn("tcp".to_owned(), move |counters| runtime.run(desk, reader, Arc::clone(counters), limits, stop))
    }

    fn spawn(&mut self, name: String, run: impl FnOnce(&Arc<Counters>) + Send + 'static) -> io::Result<()> {
        let counters = Arc::new(Counters::default());
        self.counters.push(Arc::clone(&counters));
        self.threads.push(Builder::new().name(name).spawn(move || run(&counters))?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests;
