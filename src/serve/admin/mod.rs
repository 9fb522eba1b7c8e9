//! The admin address: what the server says of itself over HTTP, on TCP and on a Unix socket.
//!
//! One thread with a runtime of its own, so that nothing that is asked here delays an answer. It decides nothing: pages ask the
//! owner task by its box, look at the snapshot, or sum counters. One file a page; [`pages`] leads from a path to its page.
//!
//! What a client may take: a connection carries one request without a body, of so many octets, read within seconds; so many
//! connections at once, of which the oldest goes for the next. Read only; there is no login, so it listens on loopback
//! unless told otherwise, and there a request that names another host is refused: it is a web page that looks into the machine
//! of whoever reads it (DNS rebinding).

mod apps;
mod html;
mod listen;
mod live;
mod metrics;
mod page;
mod pages;
mod rates;
mod ready;
mod resolve;
mod status;
mod top;
mod upstreams;
mod wait;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::Metrics;
use super::roster::{Place, Roster};
use super::streams::{now, pause_after};
use crate::control::Control;
use crate::publish::Subscriber;

pub use listen::{Listeners, SocketError};
use pages::Hosts;
use rates::Rates;

/// What pages are made from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The way to the owner task.
    pub control: Control,
    /// What is served.
    pub subscriber: Subscriber,
    /// What is counted.
    pub metrics: Metrics,
    /// Where queries are answered, over UDP.
    pub dns: SocketAddr,
}

/// Answers requests on `listeners`, on a thread of its own.
///
/// # Errors
/// When the thread or its runtime cannot be had.
pub fn start(listeners: Listeners, sources: Sources) -> io::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let socket = listeners.socket_path();
    let runtime = Runtime::new(listeners)?;
    let thread = Builder::new().name("admin".to_owned()).spawn(move || runtime.run(sources, stopped))?;
    Ok(Running { stop, thread: Some(thread), socket })
}

/// An admin address at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// The Unix socket, which nobody answers on after the end.
    socket: Option<PathBuf>,
}

impl Running {
    /// Ends, and leaves the Unix socket's path to the server that has taken over.
    pub fn leave(mut self) {
        self.socket = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// The runtime of the thread, with its listeners; made before the thread, so that what fails is reported.
struct Runtime {
    runtime: tokio::runtime::Runtime,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
}

impl Runtime {
    fn new(listeners: Listeners) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let entered = runtime.enter();
        let tcp = listeners.tcp.map(TcpListener::from_std).transpose()?;
        let unix = listeners.unix.map(|(socket, _)| UnixListener::from_std(socket)).transpose()?;
        drop(entered);
        Ok(Self { runtime, tcp, unix })
    }

    fn run(self, sources: Sources, mut stop: watch::Receiver<bool>) {
        let Self { runtime, tcp, unix } = self;
        let shared = Rc::new(Shared { sources, roster: Rc::default(), rates: Rates::default() });
        // Dropped before the runtime, and with it the connections that are left.
        LocalSet::new().block_on(&runtime, async {
            if let Some(listener) = tcp {
                spawn_local(accept_tcp(listener, Rc::clone(&shared)));
            }
            if let Some(listener) = unix {
                spawn_local(accept_unix(listener, Rc::clone(&shared)));
            }
            spawn_local(follow_rates(Rc::clone(&shared)));
            // An error means that whoever could stop us is gone without doing so: that is a stop.
            let _ = stop.wait_for(|stop| *stop).await;
        });
    }
}

struct Shared {
    sources: Sources,
    roster: Rc<Roster>,
    rates: Rates,
}

async fn follow_rates(shared: Rc<Shared>) {
    loop {
        shared.rates.take(now(), &shared.sources.metrics.totals());
        sleep(rates::SAMPLE_EVERY).await;
    }
}

async fn accept_tcp(listener: TcpListener, shared: Rc<Shared>) {
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let hosts = if is_loopback { Hosts::ThisOne } else { Hosts::Any };
    let mut failures = 0;
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                failures = 0;
                let _ = stream.set_nodelay(true);
                admit(stream, source.ip().to_canonical(), hosts, &shared).await;
            }
            Err(error) => failures = rest(&error, failures).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, shared: Rc<Shared>) {
    let mut failures = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                failures = 0;
                admit(stream, IpAddr::V4(Ipv4Addr::UNSPECIFIED), Hosts::Any, &shared).await;
            }
            Err(error) => failures = rest(&error, failures).await,
        }
    }
}

/// Waits as long as this failure to accept asks for; gives how many there were in a row.
async fn rest(error: &io::Error, failures: u32) -> u32 {
    sleep(pause_after(error, failures)).await;
    failures.saturating_add(1)
}

async fn admit(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    source: IpAddr,
    hosts: Hosts,
    shared: &Rc<Shared>,
) {
    let (place, _) = shared.roster.admit(source, now(), CONNECTIONS_MAX, CONNECTIONS_MAX);
    spawn_local(converse(stream, place, hosts, Rc::clone(shared)));
    // Lets whoever was told to go do so before the next comes.
    tokio::task::yield_now().await;
}

/// Carries one request and its response.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    place: Place,
    hosts: Hosts,
    shared: Rc<Shared>,
) {
    let service = service_fn(|request| {
        let shared = Rc::clone(&shared);
        async move { Ok::<_, Infallible>(pages::respond(&request, hosts, &shared).await) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_header_size(REQUEST_MAX).timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME);
    let conversation = http.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = place.evicted() => {}
        // However it ended, there is nobody left to tell.
        _ = timeout(CONVERSATION_TIME, conversation) => {}
    }
}

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;

/// Octets of a request: its line and headers.
const REQUEST_MAX: usize = 16 << 10;

/// How long a request may take to come in.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long a connection may take in all: the longest wait, and time to take a response.
const CONVERSATION_TIME: Duration = wait::WAIT_MAX.saturating_add(Duration::from_secs(60));
