//! What happened, counted: one set of counters a thread, summed by whoever reads.
//!
//! A set has one writer, so counting is a load and a store on a line that no other thread writes to; an atomic addition would
//! cost more than the rest of the bookkeeping of a query. Readers may see a sum that is a moment old, never a torn one.
//! The sets of things counted are closed (enums), so that no name in a query can make a counter.

mod files;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::files::FileGauges;

/// What carried a query, and over which family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A datagram over IPv4.
    Udp4,
    /// A datagram over IPv6.
    Udp6,
    /// A stream over IPv4.
    Tcp4,
    /// A stream over IPv6.
    Tcp6,
    /// TLS over IPv4.
    Tls4,
    /// TLS over IPv6.
    Tls6,
    /// QUIC over IPv4.
    Quic4,
    /// QUIC over IPv6.
    Quic6,
}

const CARRIERS: usize = Carrier::Quic6 as usize + 1;

/// A response by the four bits of its header's RCODE; BADVERS (RFC 6891 §9) has none of those set, so it is [`Class::NoError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An answer, or the fact that there is none of this type.
    NoError,
    /// The query could not be read.
    FormErr,
    /// Not ready, or a fault of ours.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// An opcode that is not served.
    NotImp,
    /// The caller may not ask this here.
    Refused,
    /// Any other.
    Other,
}

const CLASSES: usize = Class::Other as usize + 1;

impl Class {
    /// The class of a header's RCODE (RFC 1035 §4.1.1).
    #[must_use]
    pub const fn of(rcode: u8) -> Self {
        match rcode {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            _ => Self::Other,
        }
    }
}

/// Something that happened, besides a query and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Octets that were given no response: no query, or from a port that is never answered.
    Dropped,
    /// A response was sent with TC set.
    Truncated,
    /// A query was for a name that is not ours.
    Foreign,
    /// A query was met by a panic, and answered SERVFAIL.
    Panicked,
    /// Receiving failed.
    ReceiveFailed,
    /// A response could not be sent.
    SendFailed,
    /// A connection was accepted.
    Accepted,
    /// An accepted connection ended, for whatever reason.
    Closed,
    /// A connection was closed to make room for another (a limit on connections).
    Evicted,
    /// A connection was closed for what it did: too slow, too many queries, no DNS message, responses not taken.
    CutOff,
    /// Accepting a connection failed.
    AcceptFailed,
    /// A handshake of TLS or QUIC failed; those that took too long count as [`Limit::Handshake`].
    HandshakeFailed,
    /// A certificate that had changed was taken.
    CertificateTaken,
    /// A certificate that had changed could not be used; the one before it stays.
    CertificateRefused,
    /// A query that upstreams were to be asked about.
    ForwardAsked,
    /// A foreign query was answered by what an upstream said, now or before.
    ForwardAnswered,
    /// A foreign query was answered by what an upstream had said and had run out.
    ForwardStale,
    /// A foreign query was answered SERVFAIL: no upstream, or too many queries.
    ForwardFailed,
    /// There are upstreams, and a single label without data here was not asked for: it would be a bare name.
    WithheldSingleLabel,
    /// The same of a name in a zone that is all ours.
    WithheldExclusiveSuffix,
    /// The same of a name of ours under a public suffix.
    WithheldOverlayName,
    /// The same of a special-use name.
    WithheldSpecialUse,
    /// The same of the reverse name of a private address.
    WithheldPrivateReverse,
    /// An address was found to stand for many callers; once a window for each.
    ViewsCollapsed,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 24] = [
        Self::Dropped,
        Self::Truncated,
        Self::Foreign,
        Self::Panicked,
        Self::ReceiveFailed,
        Self::SendFailed,
        Self::Accepted,
        Self::Closed,
        Self::Evicted,
        Self::CutOff,
        Self::AcceptFailed,
        Self::HandshakeFailed,
        Self::CertificateTaken,
        Self::CertificateRefused,
        Self::ForwardAsked,
        Self::ForwardAnswered,
        Self::ForwardStale,
        Self::ForwardFailed,
        Self::WithheldSingleLabel,
        Self::WithheldExclusiveSuffix,
        Self::WithheldOverlayName,
        Self::WithheldSpecialUse,
        Self::WithheldPrivateReverse,
        Self::ViewsCollapsed,
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Truncated => "truncated",
            Self::Foreign => "foreign",
            Self::Panicked => "panicked",
            Self::ReceiveFailed => "receive-failed",
            Self::SendFailed => "send-failed",
            Self::Accepted => "accepted",
            Self::Closed => "closed",
            Self::Evicted => "evicted",
            Self::CutOff => "cut-off",
            Self::AcceptFailed => "accept-failed",
            Self::HandshakeFailed => "handshake-failed",
            Self::CertificateTaken => "certificate-taken",
            Self::CertificateRefused => "certificate-refused",
            Self::ForwardAsked => "forward-asked",
            Self::ForwardAnswered => "forward-answered",
            Self::ForwardStale => "forward-stale",
            Self::ForwardFailed => "forward-failed",
            Self::WithheldSingleLabel => "withheld-single-label",
            Self::WithheldExclusiveSuffix => "withheld-exclusive-suffix",
            Self::WithheldOverlayName => "withheld-overlay-name",
            Self::WithheldSpecialUse => "withheld-special-use",
            Self::WithheldPrivateReverse => "withheld-private-reverse",
            Self::ViewsCollapsed => "views-collapsed",
        }
    }
}

const EVENTS: usize = Event::ALL.len();

/// A limit on what clients may take; it is counted when it bites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Connections in all: one had to go.
    Connections,
    /// Connections of one source: one of its own had to go.
    ConnectionsPerSource,
    /// Time without a query, or with a response untaken: the connection was closed.
    Idle,
    /// Time for a message once begun, or to take some of a full buffer of responses: the connection was closed.
    Frame,
    /// Queries at once: reading paused.
    InFlight,
    /// Queries of one connection: it was closed.
    Queries,
    /// Octets of unsent responses: reading paused.
    Unsent,
    /// Time for a handshake: the connection was closed.
    Handshake,
    /// Handshakes at once: one had to go, or a client had to show its address.
    Handshakes,
    /// Time to end after a stop: connections were cut.
    Drain,
    /// Queries that wait for upstreams, or questions on their way: one was answered SERVFAIL.
    Forwards,
    /// Queries of one source that wait for upstreams: one was answered SERVFAIL.
    ForwardsPerSource,
    /// Questions of one domain on their way: a query was answered SERVFAIL.
    ForwardsPerDomain,
    /// Queries that wait for one question: one was answered SERVFAIL.
    ForwardWaiters,
    /// Octets of responses that are kept: one had to go.
    ForwardCache,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectionsPerSource,
        Self::Idle,
        Self::Frame,
        Self::InFlight,
        Self::Queries,
        Self::Unsent,
        Self::Handshake,
        Self::Handshakes,
        Self::Drain,
        Self::Forwards,
        Self::ForwardsPerSource,
        Self::ForwardsPerDomain,
        Self::ForwardWaiters,
        Self::ForwardCache,
    ];

    /// What it is called; it is set by this name, too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerSource => "connections-per-source",
            Self::Idle => "idle",
            Self::Frame => "frame",
            Self::InFlight => "in-flight",
            Self::Queries => "queries",
            Self::Unsent => "unsent",
            Self::Handshake => "handshake",
            Self::Handshakes => "handshakes",
            Self::Drain => "drain",
            Self::Forwards => "forwards",
            Self::ForwardsPerSource => "forwards-per-source",
            Self::ForwardsPerDomain => "forwards-per-domain",
            Self::ForwardWaiters => "forward-waiters",
            Self::ForwardCache => "forward-cache",
        }
    }
}

const LIMITS: usize = Limit::ALL.len();

/// The counters of one thread; only that thread may count.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    queries: [AtomicU64; CARRIERS],
    responses: [[AtomicU64; CLASSES]; CARRIERS],
    events: [AtomicU64; EVENTS],
    limits: [AtomicU64; LIMITS],
}

impl Counters {
    /// Counts a query.
    pub fn query(&self, carrier: Carrier) {
        add(self.queries.get(carrier as usize), 1);
    }

    /// Counts a response.
    pub fn response(&self, carrier: Carrier, class: Class) {
        add(self.responses.get(carrier as usize).and_then(|classes| classes.get(class as usize)), 1);
    }

    /// Counts an event `times` over.
    pub fn event(&self, event: Event, times: u64) {
        add(self.events.get(event as usize), times);
    }

    /// Counts that a limit bit, `times` over.
    pub fn limit(&self, limit: Limit, times: u64) {
        add(self.limits.get(limit as usize), times);
    }
}

fn add(counter: Option<&AtomicU64>, times: u64) {
    if let Some(counter) = counter {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(times), Ordering::Relaxed);
    }
}

/// The counters of many threads, summed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    queries: [u64; CARRIERS],
    responses: [[u64; CLASSES]; CARRIERS],
    events: [u64; EVENTS],
    limits: [u64; LIMITS],
}

impl Totals {
    /// Sums what `threads` have counted up to now.
    #[must_use]
    pub fn of<'a>(threads: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        for counters in threads {
            sum(&mut totals.queries, &counters.queries);
            sum(&mut totals.events, &counters.events);
            sum(&mut totals.limits, &counters.limits);
            for (totals, counters) in totals.responses.iter_mut().zip(&counters.responses) {
                sum(totals, counters);
            }
        }
        totals
    }

    /// How many queries came.
    #[must_use]
    pub fn queries(&self, carrier: Carrier) -> u64 {
        self.queries.get(carrier as usize).copied().unwrap_or_default()
    }

    /// How many responses were made.
    #[must_use]
    pub fn responses(&self, carrier: Carrier, class: Class) -> u64 {
        self.responses
            .get(carrier as usize)
            .and_then(|classes| classes.get(class as usize))
            .copied()
            .unwrap_or_default()
    }

    /// How often something happened.
    #[must_use]
    pub fn events(&self, event: Event) -> u64 {
        self.events.get(event as usize).copied().unwrap_or_default()
    }

    /// How often a limit bit.
    #[must_use]
    pub fn limits(&self, limit: Limit) -> u64 {
        self.limits.get(limit as usize).copied().unwrap_or_default()
    }

    /// How many queries came in all.
    #[must_use]
    pub fn all_queries(&self) -> u64 {
        self.queries.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

/// Everything but responses that is not zero, as `name=count`; limits as `limit-name=count`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queries={}", self.all_queries())?;
        for event in Event::ALL.into_iter().filter(|event| self.events(*event) > 0) {
            write!(f, " {}={}", event.name(), self.events(event))?;
        }
        for limit in Limit::ALL.into_iter().filter(|limit| self.limits(*limit) > 0) {
            write!(f, " limit-{}={}", limit.name(), self.limits(limit))?;
        }
        Ok(())
    }
}

fn sum(totals: &mut [u64], counters: &[AtomicU64]) {
    for (total, counter) in totals.iter_mut().zip(counters) {
        *total = total.wrapping_add(counter.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_the_threads() {
        let threads = [Counters::default(), Counters::default()];
        threads[0].query(Carrier::Udp4);
        threads[1].query(Carrier::Udp4);
        threads[1].query(Carrier::Tcp6);
        threads[0].response(Carrier::Tcp6, Class::Other);
        threads[1].event(Event::AcceptFailed, 3);
        threads[0].limit(Limit::Drain, 2);
        let totals = Totals::of(&threads);
        assert_eq!(totals.queries(Carrier::Udp4), 2);
        assert_eq!(totals.queries(Carrier::Tcp6), 1);
        assert_eq!(totals.queries(Carrier::Udp6), 0);
        assert_eq!(totals.responses(Carrier::Tcp6, Class::Other), 1);
        assert_eq!(totals.responses(Carrier::Tcp6, Class::NoError), 0);
        assert_eq!(totals.events(Event::AcceptFailed), 3);
        assert_eq!(totals.events(Event::Dropped), 0);
        assert_eq!(totals.limits(Limit::Drain), 2);
        assert_eq!(totals.to_string(), "queries=3 accept-failed=3 limit-drain=2");
    }

    #[test]
    fn every_event_and_limit_has_a_counter_and_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for (index, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, index);
            assert!(names.insert(event.name()));
        }
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            assert!(names.insert(limit.name()));
        }
    }

    #[test]
    fn each_rcode_has_its_class() {
        use Class::{FormErr, NoError, NotImp, NxDomain, Other, Refused, ServFail};
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6].map(Class::of),
            [NoError, FormErr, ServFail, NxDomain, NotImp, Refused, Other]
        );
    }
}
