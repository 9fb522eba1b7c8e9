//! What happened, counted: one set of counters a thread, summed by whoever reads.
//!
//! A set has one writer, so counting is a load and a store on a line that no other thread writes to; an atomic addition would
//! cost more than the rest of the bookkeeping of a query. Readers may see a sum that is a moment old, never a torn one.
//! The sets of things counted are closed (enums), so that no name in a query can make a counter.
//!
//! A query is counted once: by carrier, type and what it came to ([`Ending`]), which for almost every query says what there is to count of the
//! response as well. Whoever scrapes makes queries, responses and negatives of that. Counting takes no system call, lock or shared
//! line; one query in 64 is sampled for 430 instructions more.

mod allowance;
mod files;
mod histogram;
mod openmetrics;
mod querylog;
mod sets;
mod top;
mod upstreams;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::allowance::{Allowance, Silenced};
use self::histogram::Histogram;
pub use self::histogram::{BUCKETS, Durations};
pub use self::openmetrics::{Gauge, Sort, Value, level, levels, openmetrics};
pub use self::querylog::{Entry, Line, Logged, QueryLog, Selection};
use self::sets::{ENDINGS, NEGATIVES, SOURCES, TYPES};
pub use self::sets::{Ending, Negative, QueryType, Source};
use self::top::Samples;
pub use self::top::{Heavy, SAMPLED, Top};
pub use self::upstreams::{Upstream, UpstreamState, Upstreams};

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

impl Carrier {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Udp4, Self::Udp6, Self::Tcp4, Self::Tcp6, Self::Tls4, Self::Tls6, Self::Quic4, Self::Quic6];

    /// What the transport is called.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::Udp4 | Self::Udp6 => "udp",
            Self::Tcp4 | Self::Tcp6 => "tcp",
            Self::Tls4 | Self::Tls6 => "tls",
            Self::Quic4 | Self::Quic6 => "quic",
        }
    }

    /// What the family is called.
    #[must_use]
    pub const fn family(self) -> &'static str {
        match self {
            Self::Udp4 | Self::Tcp4 | Self::Tls4 | Self::Quic4 => "ipv4",
            Self::Udp6 | Self::Tcp6 | Self::Tls6 | Self::Quic6 => "ipv6",
        }
    }
}

const CARRIERS: usize = Carrier::ALL.len();

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

const CLASSES: usize = Class::ALL.len();

impl Class {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::NoError, Self::FormErr, Self::ServFail, Self::NxDomain, Self::NotImp, Self::Refused, Self::Other];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
            Self::Other => "other",
        }
    }

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
    /// A line of the query log was dropped, because its queue was full.
    LogDropped,
    /// A readiness check was passed.
    CheckPassed,
    /// A readiness check was not passed.
    CheckFailed,
    /// A readiness check could not be carried out.
    CheckUnknown,
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
    pub const ALL: [Self; 28] = [
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
        Self::LogDropped,
        Self::CheckPassed,
        Self::CheckFailed,
        Self::CheckUnknown,
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
            Self::LogDropped => "log-dropped",
            Self::CheckPassed => "check-passed",
            Self::CheckFailed => "check-failed",
            Self::CheckUnknown => "check-unknown",
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
    /// Datagrams at once: as many were waiting as a worker takes.
    Batch,
    /// Responses that leave as one message: one more would have.
    Run,
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
    pub const ALL: [Self; 17] = [
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
        Self::Batch,
        Self::Run,
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
            Self::Batch => "batch",
            Self::Run => "run",
            Self::Forwards => "forwards",
            Self::ForwardsPerSource => "forwards-per-source",
            Self::ForwardsPerDomain => "forwards-per-domain",
            Self::ForwardWaiters => "forward-waiters",
            Self::ForwardCache => "forward-cache",
        }
    }
}

const LIMITS: usize = Limit::ALL.len();

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Answering a query from what is there, without the system calls around it. Of one batch in so many, shared out evenly.
    Answer,
    /// From a foreign query to what upstreams made of it.
    Forward,
    /// Reading, resolving and compiling what changed, up to the swap.
    Reload,
    /// From the first word of a change to its being served, with the time that a writer is given to end.
    Change,
}

impl Span {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Answer, Self::Forward, Self::Reload, Self::Change];
}

const SPANS: usize = Span::ALL.len();

/// The counters of one thread; only that thread may count.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    queries: [[[AtomicU64; ENDINGS]; TYPES]; CARRIERS],
    /// Those of queries that came to [`Ending::Other`].
    responses: [[[AtomicU64; CLASSES]; SOURCES]; CARRIERS],
    negatives: [AtomicU64; NEGATIVES],
    events: [AtomicU64; EVENTS],
    limits: [AtomicU64; LIMITS],
    durations: [Histogram; SPANS],
    samples: Samples,
}

impl Counters {
    /// Counts a query, and the response to it if its ending says all of that; yields how many of its kind there were with it.
    #[inline(always)]
    pub fn query(&self, carrier: Carrier, qtype: QueryType, ending: Ending) -> u64 {
        let endings = self.queries.get(carrier as usize).and_then(|types| types.get(qtype as usize));
        add(endings.and_then(|endings| endings.get(ending as usize)), 1)
    }

    /// Counts a response that no ending says all of.
    pub fn response(&self, carrier: Carrier, source: Source, class: Class) {
        let classes = self.responses.get(carrier as usize).and_then(|sources| sources.get(source as usize));
        add(classes.and_then(|classes| classes.get(class as usize)), 1);
    }

    /// Counts a negative answer, or a caller turned away, of which the same holds.
    pub fn negative(&self, negative: Negative) {
        add(self.negatives.get(negative as usize), 1);
    }

    /// Takes in a query that was sampled: its name on the wire, who asked, and why it got nothing if it did not.
    pub fn sample(&self, name: &[u8], caller: IpAddr, negative: Option<Negative>) {
        self.samples.take(name, caller, negative);
    }

    /// Counts that something took so long, `times` over.
    pub fn duration(&self, span: Span, duration: Duration, times: u64) {
        if let Some(histogram) = self.durations.get(span as usize) {
            histogram.record(duration, times);
        }
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

impl Top {
    /// The heaviest of what `threads` have sampled, at most so many of each.
    #[must_use]
    pub fn among<'a>(threads: impl IntoIterator<Item = &'a Counters>, most: usize) -> Self {
        Self::of(threads.into_iter().map(|counters| &counters.samples), most)
    }
}

#[inline(always)]
fn add(counter: Option<&AtomicU64>, times: u64) -> u64 {
    let Some(counter) = counter else { return 0 };
    let sum = counter.load(Ordering::Relaxed).wrapping_add(times);
    counter.store(sum, Ordering::Relaxed);
    sum
}

/// The counters of many threads, summed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    queries: [[u64; TYPES]; CARRIERS],
    responses: [[[u64; CLASSES]; SOURCES]; CARRIERS],
    negatives: [u64; NEGATIVES],
    events: [u64; EVENTS],
    limits: [u64; LIMITS],
    durations: [Durations; SPANS],
}

impl Totals {
    /// Sums what `threads` have counted up to now.
    #[must_use]
    pub fn of<'a>(threads: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        for counters in threads {
            for (carrier, types) in Carrier::ALL.into_iter().zip(&counters.queries) {
                for (qtype, endings) in QueryType::ALL.into_iter().zip(types) {
                    for (ending, counter) in Ending::ALL.into_iter().zip(endings) {
                        totals.add_queries((carrier, qtype, ending), counter.load(Ordering::Relaxed));
                    }
                }
            }
            sum(&mut totals.negatives, &counters.negatives);
            for (totals, counters) in totals.durations.iter_mut().zip(&counters.durations) {
                totals.add(counters);
            }
            sum(&mut totals.events, &counters.events);
            sum(&mut totals.limits, &counters.limits);
            for (totals, counters) in totals.responses.iter_mut().flatten().zip(counters.responses.iter().flatten()) {
                sum(totals, counters);
            }
        }
        totals
    }

    /// Adds queries of a kind, and what their ending says of the responses.
    fn add_queries(&mut self, (carrier, qtype, ending): (Carrier, QueryType, Ending), count: u64) {
        let queries = self.queries.get_mut(carrier as usize).and_then(|types| types.get_mut(qtype as usize));
        let of = |(source, class)| (source as usize, class as usize);
        let responses = ending
            .response()
            .map(of)
            .and_then(|(source, class)| self.responses.get_mut(carrier as usize)?.get_mut(source)?.get_mut(class));
        let negatives = ending.negative().and_then(|negative| self.negatives.get_mut(negative as usize));
        for total in [queries, responses, negatives].into_iter().flatten() {
            *total = total.wrapping_add(count);
        }
    }

    /// How many queries came that asked for this type.
    #[must_use]
    pub fn queries(&self, carrier: Carrier, qtype: QueryType) -> u64 {
        self.queries.get(carrier as usize).and_then(|types| types.get(qtype as usize)).copied().unwrap_or_default()
    }

    /// How many responses of this source and class were made.
    #[must_use]
    pub fn responses(&self, carrier: Carrier, source: Source, class: Class) -> u64 {
        let classes = self.responses.get(carrier as usize).and_then(|sources| sources.get(source as usize));
        classes.and_then(|classes| classes.get(class as usize)).copied().unwrap_or_default()
    }

    /// How many queries got nothing for this reason.
    #[must_use]
    pub fn negatives(&self, negative: Negative) -> u64 {
        self.negatives.get(negative as usize).copied().unwrap_or_default()
    }

    /// How long things of this kind took.
    #[must_use]
    pub fn durations(&self, span: Span) -> Durations {
        self.durations.get(span as usize).copied().unwrap_or_default()
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
        self.queries.iter().flatten().fold(0, |sum, count| sum.wrapping_add(*count))
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
        threads[0].query(Carrier::Udp4, QueryType::A, Ending::Answer);
        assert_eq!(threads[1].query(Carrier::Udp4, QueryType::A, Ending::Stranger), 1);
        assert_eq!(threads[1].query(Carrier::Tcp6, QueryType::Other, Ending::Other), 1);
        threads[0].response(Carrier::Tcp6, Source::Own, Class::Other);
        threads[0].negative(Negative::View);
        threads[1].duration(Span::Answer, Duration::from_micros(1), 3);
        threads[1].event(Event::AcceptFailed, 3);
        threads[0].limit(Limit::Drain, 2);
        let totals = Totals::of(&threads);
        assert_eq!(totals.queries(Carrier::Udp4, QueryType::A), 2);
        assert_eq!(totals.queries(Carrier::Tcp6, QueryType::Other), 1);
        assert_eq!(totals.queries(Carrier::Udp6, QueryType::A), 0);
        assert_eq!(totals.responses(Carrier::Tcp6, Source::Own, Class::Other), 1);
        assert_eq!(totals.responses(Carrier::Tcp6, Source::Forward, Class::Other), 0);
        assert_eq!((totals.negatives(Negative::View), totals.negatives(Negative::Type)), (2, 0));
        assert_eq!(totals.responses(Carrier::Udp4, Source::Own, Class::NoError), 1);
        assert_eq!(totals.responses(Carrier::Udp4, Source::Refused, Class::Refused), 1);
        assert_eq!((totals.durations(Span::Answer).count(), totals.durations(Span::Forward).count()), (3, 0));
        assert_eq!(totals.events(Event::AcceptFailed), 3);
        assert_eq!(totals.events(Event::Dropped), 0);
        assert_eq!(totals.limits(Limit::Drain), 2);
        assert_eq!(totals.to_string(), "queries=3 accept-failed=3 limit-drain=2");
    }

    #[test]
    fn every_event_and_limit_has_a_counter_and_a_name_of_its_own() {
        assert!(Carrier::ALL.into_iter().enumerate().all(|(index, carrier)| carrier as usize == index));
        assert!(Class::ALL.into_iter().enumerate().all(|(index, class)| class as usize == index));
        assert!(QueryType::ALL.into_iter().enumerate().all(|(index, qtype)| qtype as usize == index));
        assert!(Ending::ALL.into_iter().enumerate().all(|(index, ending)| ending as usize == index));
        assert!(Source::ALL.into_iter().enumerate().all(|(index, source)| source as usize == index));
        assert!(Negative::ALL.into_iter().enumerate().all(|(index, negative)| negative as usize == index));
        assert!(Span::ALL.into_iter().enumerate().all(|(index, span)| span as usize == index));
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
