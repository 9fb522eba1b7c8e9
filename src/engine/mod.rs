//! Decides and writes the response to one query: no socket, no clock, no lock, no allocation, no panic on any octets.

use std::net::IpAddr;

use crate::zone::Snapshot;

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
pub fn respond(_snapshot: &Snapshot, _ask: &Ask, _query: &[u8], _response: &mut [u8]) -> Verdict {
    Verdict::Drop
}

/// Writes the response to a query that [`respond`] wants forwarded and for which there is no upstream: REFUSED with EDE 20.
#[must_use]
pub fn refuse_foreign(_ask: &Ask, _query: &[u8], _response: &mut [u8]) -> Verdict {
    Verdict::Drop
}
