//! Asks upstream servers about names that are not ours (PROTOCOL.md, Forwarding).
//!
//! ```text
//! worker ── answer ──► cache        in line: no wait, no allocation
//!    └───── ask ─────► queue ──► flights ──► exchange ──► upstream
//!                                  └── deliver ──► whoever asked
//! ```
//!
//! A [`Forwarder`] is shared by every worker. It answers from the cache where it can; else the worker hands the question on
//! with a ticket of its own, and goes on. One thread runs the other end, [`Queue::run`]: equal questions fly once, and when one lands,
//! each ticket is delivered with the [`Outcome`], from which [`write()`] makes the response. So nothing that an upstream
//! does can hold up a worker, and nothing that is ours waits here.
//!
//! What is kept is one upstream's word. Whether a name in it is ours differs by caller and changes under way, so it is looked at on writing:
//! records of names of ours are left out, and a chain of aliases that leads to one is cut there and goes on from the snapshot.

mod admission;
mod cache;
mod exchange;
mod flights;
mod limits;
mod peer;
mod question;
mod rebinding;
mod response;
mod stored;
mod upstream;
mod write;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::engine::{Ask, Verdict};
use crate::name::{Name, NameBuffer};
use crate::observe::{Limit, Upstreams};
use crate::wire::Query;
use crate::zone::Snapshot;
use admission::{Admission, Permit};
use cache::{Cache, Known};
use question::Lookup;
use stored::Local;

pub use cache::Failure;
pub use flights::Queue;
pub use limits::Limits;
pub use question::Question;
pub use stored::Stored;
pub use upstream::{Channel, Route, Routes, Server, Setting, UpstreamError};

/// Says how long ago something in the past was; it never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How to forward.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whom to ask.
    pub routes: Routes,
    /// Zones whose servers may answer with addresses of the asker's own machine and link.
    pub allow_private: Vec<Name>,
    /// How much of it.
    pub limits: Limits,
    /// The certificates that servers over TLS are signed by, in PEM.
    pub authorities: Vec<u8>,
    /// How its servers are doing, in the order of the routes.
    pub upstreams: Arc<Upstreams>,
}

impl Config {
    /// Forwards by `routes`, with the customary settings.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        let upstreams = Arc::new(Upstreams::new(routes.servers()));
        Self { routes, allow_private: Vec::new(), limits: Limits::default(), authorities: Vec::new(), upstreams }
    }
}

/// The workers' end. `T` is whatever finds the way back to who asked.
pub struct Forwarder<T> {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Waiting<T>>,
}

impl<T> std::fmt::Debug for Forwarder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").field("routes", &self.shared.config.routes).finish_non_exhaustive()
    }
}

/// What both ends use.
struct Shared {
    config: Config,
    cache: Cache,
    admission: Arc<Admission>,
    clock: Clock,
}

/// A question, and whoever asks it.
struct Waiting<T> {
    permit: Permit,
    ticket: T,
}

/// A foreign query, and what it is answered by.
#[derive(Debug, Clone, Copy)]
pub struct Foreign<'a> {
    /// What is ours at this moment.
    pub snapshot: &'a Snapshot,
    /// Who asks.
    pub ask: &'a Ask<'a>,
    /// The query's octets.
    pub message: &'a [u8],
}

/// What can be said to a foreign query at once.
#[derive(Debug)]
pub enum Answered {
    /// The response is written.
    Written(Verdict, Source),
    /// Upstreams have to be asked: hand this to [`Forwarder::ask`].
    Wanted(Wanted),
    /// No upstream is for this name.
    NoRoute,
}

/// What a response was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What was kept, and holds.
    Kept,
    /// What was kept, and has run out.
    Stale,
    /// Nothing: there was a failure.
    Failure,
    /// Nothing: a limit was in the way.
    Limit(Limit),
    /// Nothing: something of ours broke.
    Panic,
}

/// A question that was let in.
#[derive(Debug)]
pub struct Wanted {
    permit: Permit,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A response, so many seconds old.
    Fresh(Arc<Stored>, u32),
    /// A response that has run out: there is no newer one to be had.
    Stale(Arc<Stored>),
    /// None.
    Failed(Failure),
}

impl Outcome {
    /// What a response is made of by this.
    #[must_use]
    pub const fn source(&self) -> Source {
        match self {
            Self::Fresh(..) => Source::Kept,
            Self::Stale(_) => Source::Stale,
            Self::Failed(Failure::Busy(limit)) => Source::Limit(*limit),
            Self::Failed(Failure::Broken) => Source::Panic,
            Self::Failed(_) => Source::Failure,
        }
    }
}

/// Makes both ends.
///
/// # Errors
/// When the certificates cannot be read.
pub fn new<T: 'static>(config: Config, clock: Clock) -> io::Result<(Forwarder<T>, Queue<T>)> {
    let tls = Arc::new(tls(&config.authorities)?);
    let cache = Cache::new(config.limits.cache);
    let admission = Arc::new(Admission::new(config.limits.clone()));
    // Whoever is let in fits: so many have a place, and as many follow.
    let (sender, receiver) = mpsc::channel(config.limits.queries.saturating_mul(2));
    let shared = Arc::new(Shared { config, cache, admission, clock });
    Ok((Forwarder { shared: Arc::clone(&shared), queue: sender }, Queue::new(shared, receiver, tls)))
}

fn tls(authorities: &[u8]) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        // A bundle may hold some that rustls does not take; the others are as good.
        roots.add_parsable_certificates([certificate.map_err(io::Error::other)?]);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"dot".to_vec()];
    Ok(config)
}

impl<T> Forwarder<T> {
    /// Answers a query that [`crate::engine::respond`] wants forwarded, as far as that can be done at once.
    pub fn answer(&self, foreign: &Foreign<'_>, response: &mut [u8]) -> Answered {
        let mut query = Query::new();
        if query.read(foreign.message).is_err() {
            return Answered::NoRoute;
        }
        let Some(route) = self.shared.config.routes.of(&query.qname) else { return Answered::NoRoute };
        let lookup = Lookup::of(&query, route);
        let outcome = match self.shared.cache.look_up(lookup.key(), (self.shared.clock)()) {
            Known::Fresh(stored, age) => Outcome::Fresh(stored, age),
            Known::Failed(_, Some(stored)) => Outcome::Stale(stored),
            Known::Failed(why, None) => Outcome::Failed(why),
            Known::Expired(_) | Known::Nothing => {
                match self.shared.admission.admit(foreign.ask.source, &lookup.to_question()) {
                    Ok(permit) => return Answered::Wanted(Wanted { permit }),
                    Err(limit) => Outcome::Failed(Failure::Busy(limit)),
                }
            }
        };
        Answered::Written(write::write(foreign, &query, &outcome, response), outcome.source())
    }

    /// Has upstreams asked; `ticket` is delivered within four seconds.
    ///
    /// # Errors
    /// When there is nobody to have them asked any more: gives the ticket back.
    pub fn ask(&self, wanted: Wanted, ticket: T) -> Result<(), T> {
        let Wanted { permit } = wanted;
        self.queue.try_send(Waiting { permit, ticket }).map_err(|error| error.into_inner().ticket)
    }
}

/// Writes the response to a query that is still foreign, by what became of its question.
#[must_use]
pub fn write(foreign: &Foreign<'_>, outcome: &Outcome, response: &mut [u8]) -> Verdict {
    let mut query = Query::new();
    match query.read(foreign.message) {
        Ok(()) => write::write(foreign, &query, outcome, response),
        Err(_) => Verdict::Drop,
    }
}

impl Shared {
    /// Whether the servers of the zone that a question is in may answer with local addresses.
    fn local(&self, question: &Question) -> Local {
        let mut name = NameBuffer::new();
        let is_read = name.read(question.qname(), 0).is_ok();
        let allowed = self.config.allow_private.iter().any(|zone| name.position_of(zone).is_some());
        if is_read && allowed { Local::Allowed } else { Local::Blocked }
    }
}
