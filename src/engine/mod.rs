//! Decides and writes the response to one query: no socket, no clock, no lock, no allocation, no panic on any octets.
//!
//! Three steps, each its own call: [`Query::read`] reads, `lookup` decides an outcome, `sections` says what of it goes where and
//! has a [`crate::wire::Writer`] write it. [`respond`] is all three. They can be called apart, so that a batch of queries can be read before the
//! first is answered.

mod lookup;
mod sections;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::wire::{Edns, Fault, Query, Subnet, Unreadable, Writer};
use crate::zone::Snapshot;
use lookup::{Outcome, Refusal};

/// Who asks, and over what.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The address the query came from; IPv4-mapped IPv6 counts as IPv4.
    pub source: IpAddr,
    /// Whether EDNS Client Subnet from this source is believed (design §3).
    pub trust: Trust,
    /// What carried the query.
    pub transport: Transport,
    /// Added to the message ID when addresses are rotated: for transports whose IDs are all zero.
    pub turn: u16,
    /// Whether there is an upstream for names that are not ours: what RA says.
    pub recursion: Recursion,
}

/// Whether a source's EDNS Client Subnet is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is a forwarder of ours.
    Forwarder,
    /// It is anyone: the option is ignored and not echoed.
    Nobody,
}

/// What carried a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: responses are limited to what the client says, and 1232 octets.
    Udp,
    /// A stream: responses may have 65,535 octets.
    Tcp,
    /// A stream within TLS (RFC 7858): the same.
    Tls,
    /// A stream of a QUIC connection, one for each query (RFC 9250): the same, and message IDs are 0.
    Quic,
}

/// Whether there is an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursion {
    /// There is.
    Available,
    /// There is none.
    Unavailable,
}

/// What to do about a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send the first so many octets of the response buffer.
    Send(usize),
    /// The name is foreign: ask an upstream, or let [`refuse_foreign`] write what is said without one.
    Forward,
    /// Say nothing: the octets are no query, or may not be answered.
    Drop,
}

/// Answers `query` from `snapshot` into `response`, whose length is a further limit (512 octets at least).
#[must_use]
pub fn respond(snapshot: &Snapshot, ask: &Ask, query: &[u8], response: &mut [u8]) -> Verdict {
    let mut read = Query::new();
    match read.read(query) {
        Ok(()) => answer(snapshot, ask, query, &read, response),
        Err(unreadable) => reject(unreadable, response),
    }
}

/// Answers `query`, which was read from `message`.
#[must_use]
pub fn answer(snapshot: &Snapshot, ask: &Ask, message: &[u8], query: &Query, response: &mut [u8]) -> Verdict {
    let caller = Caller::of(ask, query);
    match lookup::decide(snapshot, &caller, query) {
        Outcome::Foreign => Verdict::Forward,
        outcome => sections::write(&outcome, ask, &caller, message, query, response),
    }
}

/// Responds to a message without a readable question, if at all.
#[must_use]
pub fn reject(unreadable: Unreadable, response: &mut [u8]) -> Verdict {
    match unreadable {
        Unreadable::Drop => Verdict::Drop,
        Unreadable::Respond(header, rcode) => {
            Writer::bare(response, header, rcode).map_or(Verdict::Drop, Verdict::Send)
        }
    }
}

/// Writes the response to a query that [`respond`] wants forwarded and for which there is no upstream: REFUSED with EDE 20.
#[must_use]
pub fn refuse_foreign(ask: &Ask, query: &[u8], response: &mut [u8]) -> Verdict {
    let mut read = Query::new();
    match read.read(query) {
        Ok(()) => {
            let refused = Outcome::Refuse(Refusal::NotAuthoritative);
            sections::write(&refused, ask, &Caller::of(ask, &read), query, &read, response)
        }
        Err(unreadable) => reject(unreadable, response),
    }
}

/// For whom a query is answered.
struct Caller {
    who: Who,
    /// The subnet option that was believed, and is echoed for that.
    subnet: Option<Subnet>,
}

enum Who {
    /// The callers at this address; IPv4-mapped IPv6 is IPv4 here.
    At(IpAddr),
    /// A forwarder asks for someone who does not want to be known.
    Hidden,
    /// A forwarder's word for the caller cannot be read (RFC 7871 §7.1.2).
    Garbled,
}

impl Caller {
    fn of(ask: &Ask, query: &Query) -> Self {
        let subnet = match ask.trust {
            Trust::Forwarder => query.edns.and_then(|Edns { subnet, .. }| subnet),
            Trust::Nobody => None,
        };
        let (who, subnet) = match subnet {
            Some(Subnet::Address(address)) => (Who::At(address.to_canonical()), subnet),
            Some(Subnet::Hidden(_)) => (Who::Hidden, subnet),
            Some(Subnet::Malformed) => (Who::Garbled, None),
            Some(Subnet::Partial) | None => (Who::At(ask.source.to_canonical()), None),
        };
        Self { who, subnet }
    }

    /// What is amiss with the query, the caller's part included.
    const fn fault(&self, query: &Query) -> Option<Fault> {
        match (query.fault, &self.who) {
            (Some(fault), _) => Some(fault),
            (None, Who::Garbled) => Some(Fault::Format),
            (None, Who::At(_) | Who::Hidden) => None,
        }
    }
}
