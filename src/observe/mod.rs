//! What happened, counted: one set of counters a thread, summed by whoever reads.
//!
//! A set has one writer, so counting is a load and a store on a line that no other thread writes to; an atomic addition would
//! cost more than the rest of the bookkeeping of a query. Readers may see a sum that is a moment old, never a torn one.
//! The sets of things counted are closed (enums), so that no name in a query can make a counter.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

const EVENTS: usize = Event::AcceptFailed as usize + 1;

/// The counters of one thread; only that thread may count.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    queries: [AtomicU64; CARRIERS],
    responses: [[AtomicU64; CLASSES]; CARRIERS],
    events: [AtomicU64; EVENTS],
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
}

impl Totals {
    /// Sums what `threads` have counted up to now.
    #[must_use]
    pub fn of<'a>(threads: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        for counters in threads {
            sum(&mut totals.queries, &counters.queries);
            sum(&mut totals.events, &counters.events);
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
        let totals = Totals::of(&threads);
        assert_eq!(totals.queries(Carrier::Udp4), 2);
        assert_eq!(totals.queries(Carrier::Tcp6), 1);
        assert_eq!(totals.queries(Carrier::Udp6), 0);
        assert_eq!(totals.responses(Carrier::Tcp6, Class::Other), 1);
        assert_eq!(totals.responses(Carrier::Tcp6, Class::NoError), 0);
        assert_eq!(totals.events(Event::AcceptFailed), 3);
        assert_eq!(totals.events(Event::Dropped), 0);
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
