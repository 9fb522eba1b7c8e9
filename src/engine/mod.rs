//! Decides and writes the response to one query: no socket, no clock, no lock, no allocation, no panic on any octets.
//!
//! Three steps, each its own call: [`Query::read`] reads, `lookup` decides an outcome, `sections` says what of it goes where and
//! has a [`crate::wire::Writer`] write it. [`respond`] is all three. They can be called apart ([`Reading`], [`respond_to`]), so that a batch of
//! queries can be read before the first is answered, and what answering them loads be touched in between.
//!
//! Almost every query is a plain question for addresses or services ([`crate::wire::Form`]), and is answered on a short way through the same steps: `decide_plain`
//! or `decide_services` decides with no look at what such a query does not have, and what it says is written in one piece. Where it has nothing to say, or that
//! does not fit, the query goes the long way from the start. A test holds the two to the same octets.
//!
//! What every query passes on its way is `inline(always)`, here and in `wire`, `zone` and `name`: a call costs some fifteen instructions
//! of saving registers, and a structure handed over by memory as many again. `benches/README.md` has the figures.

mod cookie;
mod lookup;
mod note;
mod relay;
mod sections;
mod settings;
#[cfg(test)]
mod tests;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::record::Rtype;
use crate::wire::{Edns, Extras, Fault, Keepalive, OptResponse, Query, Rcode, Subnet, Unreadable, Writer};
pub use crate::zone::Withheld;
use crate::zone::{Chain, Lead, Snapshot};
pub use cookie::Secrets;
use cookie::Standing;
use lookup::{Authority, Outcome, PlainOutcome, Refusal};
pub use note::{Got, Note};
pub use relay::{Relayed, is_there, owns, relay};
pub use sections::limit;
pub use settings::{Opened, Settings, TEXT_MAX, Text, TextError};

/// Who asks, and over what; and what the server brings along to answer.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
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
    /// What the server says of itself.
    pub settings: &'a Settings,
    /// What server cookies are made with; without, there are none.
    pub secrets: Option<&'a Secrets>,
    /// Seconds since 1970, cut to 32 bits: when a server cookie is made (RFC 9018 §4.3).
    pub now: u32,
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

impl Transport {
    /// Whether it is a connection whose idle time the client may ask for; QUIC has its own (RFC 9250 §5.5.2).
    const fn is_kept(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether a query with what this one says must not come this way: edns-tcp-keepalive over QUIC is an error of the connection, not
    /// of the query (RFC 9250 §4.3.3), so it gets no response, and whoever carried it closes the connection.
    const fn forbids(self, query: &Query) -> bool {
        matches!((self, &query.edns), (Self::Quic, Some(Edns { keepalive: Some(_), .. })))
    }

    /// Whether nobody between the two sees more of a message than its length.
    const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Quic)
    }
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
    /// Send as many; there are upstreams, and the name has no data here, and is not theirs to know for this reason.
    Withhold(usize, Withheld),
    /// The name is foreign: ask an upstream, or let [`refuse_foreign`] write what is said without one.
    Forward,
    /// Say nothing: the octets are no query, or may not be answered.
    Drop,
}

impl Verdict {
    /// How many octets are to be sent, if any are.
    #[must_use]
    pub const fn length(self) -> Option<usize> {
        match self {
            Self::Send(length) | Self::Withhold(length, _) => Some(length),
            Self::Forward | Self::Drop => None,
        }
    }
}

/// A query as far as it could be read. Made once and read into again and again, it costs no clearing of its 400 octets.
#[derive(Debug, Clone)]
pub struct Reading {
    query: Query,
    state: State,
    lead: Lead,
}

#[derive(Debug, Clone)]
enum State {
    Unread,
    Read,
    Unreadable(Unreadable),
}

impl Reading {
    /// Makes one that holds nothing, and gets no response.
    #[must_use]
    pub fn new() -> Self {
        Self { query: Query::new(), state: State::Unread, lead: Lead::None }
    }

    /// Reads `message` over whatever was read before.
    #[inline]
    pub fn read(&mut self, message: &[u8]) {
        (self.state, self.lead) = (State::Unread, Lead::None);
        match self.query.read(message) {
            Ok(()) => self.state = State::Read,
            Err(unreadable) => self.state = State::Unreadable(unreadable),
        }
    }

    /// Whether the last message was read to its end, whatever it holds.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        !matches!(self.state, State::Unread)
    }
}

/// Loads what answering each of these will read, and notes where it was found: see [`Chain`].
pub fn touch(readings: &mut [Reading], snapshot: &Snapshot) {
    for together in readings.chunks_mut(TOGETHER) {
        let mut chains = [Chain::NONE; TOGETHER];
        for (chain, reading) in chains.iter_mut().zip(&*together) {
            *chain = Chain::begin(snapshot, &reading.query.qname);
        }
        let chains = chains.get_mut(..together.len()).unwrap_or_default();
        chains.iter_mut().for_each(|chain| chain.reach_app(snapshot));
        chains.iter_mut().for_each(Chain::reach_lists);
        chains.iter_mut().zip(&*together).for_each(|(chain, reading)| chain.reach_ends(snapshot, &reading.query.qname));
        chains.iter_mut().for_each(Chain::reach_targets);
        for (chain, reading) in chains.iter().zip(together) {
            let (lead, loaded) = chain.end();
            reading.lead = lead;
            black_box(loaded);
        }
    }
}

/// How many chains of loads are walked together: a batch, unless it is set to more.
const TOGETHER: usize = 32;

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers `message` from `snapshot` into `response`, whose length is a further limit (512 octets at least).
#[must_use]
pub fn respond(snapshot: &Snapshot, ask: &Ask<'_>, message: &[u8], response: &mut [u8]) -> Verdict {
    let mut reading = Reading::new();
    reading.read(message);
    respond_to(snapshot, ask, message, &reading, response, &mut Note::default())
}

/// The same for a message that has been read; leaves in `note`, which is to be the default, what there is to count.
///
/// Inlined into the loop over a batch: nine arguments and two results would go by memory, in places that are read before they are whole.
#[inline(always)]
#[must_use]
pub fn respond_to(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    message: &[u8],
    reading: &Reading,
    response: &mut [u8],
    note: &mut Note,
) -> Verdict {
    if !matches!(reading.state, State::Read) {
        return respond_to_unread(ask, reading, response);
    }
    let query = &reading.query;
    // What almost every query is goes a short way. It is the way that `answer_noting` goes, with nothing on it that such a query does not
    // need; everything else goes that way, which would end in the same octets.
    match lookup::decide_plain(snapshot, ask, (query, reading.lead)) {
        Some(PlainOutcome::V4(space, addresses)) => {
            *note = Note { qtype: Some(query.qtype.0), got: Got::Answer };
            let of = (Rtype::A, addresses, space.ttl);
            if let Some(length) =
                sections::write_addresses::<_, _, 16>(of, Ipv4Addr::octets, ask, (message, query), response)
            {
                return Verdict::Send(length);
            }
        }
        Some(PlainOutcome::V6(space, addresses)) => {
            *note = Note { qtype: Some(query.qtype.0), got: Got::Answer };
            let of = (Rtype::AAAA, addresses, space.ttl);
            if let Some(length) =
                sections::write_addresses::<_, _, 28>(of, Ipv6Addr::octets, ask, (message, query), response)
            {
                return Verdict::Send(length);
            }
        }
        Some(PlainOutcome::Nothing(authority, nothing)) => {
            *note = Note { qtype: Some(query.qtype.0), got: nothing.got() };
            if let Some(length) = sections::write_nothing(&authority, nothing, ask, (message, query), response) {
                return match ask.recursion {
                    Recursion::Available => withhold(length, &authority, query),
                    Recursion::Unavailable => Verdict::Send(length),
                };
            }
        }
        Some(PlainOutcome::Foreign) => {
            *note = Note { qtype: Some(query.qtype.0), got: Got::Foreign };
            return Verdict::Forward;
        }
        None if query.qtype == Rtype::SRV => {
            if let Some(length) = respond_to_services(snapshot, ask, (message, reading), response) {
                *note = Note { qtype: Some(query.qtype.0), got: Got::Answer };
                return Verdict::Send(length);
            }
        }
        None => {}
    }
    answer_noting(snapshot, ask, message, query, response, note)
}

/// The short way of a plain question for services. Not inlined: it is not what is asked most, and would be in the way of that.
#[inline(never)]
fn respond_to_services(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    (message, reading): (&[u8], &Reading),
    response: &mut [u8],
) -> Option<usize> {
    let (space, set) = lookup::decide_services(snapshot, ask, (&reading.query, reading.lead))?;
    sections::write_services(space, &set, ask, (message, &reading.query), response)
}

/// Answers octets that are not a query with a question, if at all.
#[cold]
#[inline(never)]
fn respond_to_unread(ask: &Ask<'_>, reading: &Reading, response: &mut [u8]) -> Verdict {
    match reading.state {
        State::Unreadable(unreadable) => reject(ask, &reading.query, unreadable, response),
        State::Unread | State::Read => Verdict::Drop,
    }
}

/// Answers `query`, which was read from `message`.
#[must_use]
pub fn answer(snapshot: &Snapshot, ask: &Ask<'_>, message: &[u8], query: &Query, response: &mut [u8]) -> Verdict {
    answer_noting(snapshot, ask, message, query, response, &mut Note::default())
}

#[cold]
fn withhold(length: usize, authority: &Authority<'_>, query: &Query) -> Verdict {
    Verdict::Withhold(length, Withheld::of(authority.space, &query.qname, authority.apex))
}

#[inline(never)]
fn answer_noting(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    message: &[u8],
    query: &Query,
    response: &mut [u8],
    note: &mut Note,
) -> Verdict {
    if ask.transport.forbids(query) {
        return Verdict::Drop;
    }
    let caller = Caller::of(ask, query);
    let outcome = lookup::decide(snapshot, ask, &caller, query);
    *note = Note::of(query, &outcome);
    if matches!(outcome, Outcome::Foreign) {
        return Verdict::Forward;
    }
    let verdict = sections::write(&outcome, ask, &caller, message, query, response);
    match (outcome, verdict) {
        (Outcome::NoData(authority, _) | Outcome::NxDomain(authority, _), Verdict::Send(length))
            if ask.recursion == Recursion::Available =>
        {
            withhold(length, &authority, query)
        }
        (_, verdict) => verdict,
    }
}

/// Responds to a message without a readable question, if at all; `query` holds what of it could be read.
#[must_use]
pub fn reject(ask: &Ask<'_>, query: &Query, unreadable: Unreadable, response: &mut [u8]) -> Verdict {
    if ask.transport.forbids(query) {
        return Verdict::Drop;
    }
    let written = match (unreadable, ask.secrets) {
        (Unreadable::Drop, _) => return Verdict::Drop,
        (Unreadable::Respond(header, rcode), _) => Writer::bare(response, header, rcode, None),
        // RFC 7873 §5.4: as from a server that knows no cookies.
        (Unreadable::Cookie(header, _), None) => Writer::bare(response, header, Rcode::FORMERR, None),
        (Unreadable::Cookie(header, cookie), Some(secrets)) => {
            let (cookie, standing) = secrets.renew(&cookie, ask.source, ask.now);
            let rcode = match standing {
                Standing::Absent | Standing::Valid => Rcode::NOERROR,
                Standing::Invalid => Rcode::BADCOOKIE,
            };
            let extras = Extras { cookie: Some(cookie), ..Extras::default() };
            let opt = OptResponse { extras: Some(&extras), ..OptResponse::default() };
            Writer::bare(response, header, rcode, Some(&opt))
        }
    };
    written.map_or(Verdict::Drop, Verdict::Send)
}

/// Writes the response to a query that [`respond`] wants forwarded and for which there is no upstream: REFUSED with EDE 20.
#[must_use]
pub fn refuse_foreign(ask: &Ask<'_>, query: &[u8], response: &mut [u8]) -> Verdict {
    let mut read = Query::new();
    match read.read(query) {
        Ok(()) => {
            let refused = Outcome::Refuse(Refusal::NotAuthoritative);
            sections::write(&refused, ask, &Caller::of(ask, &read), query, &read, response)
        }
        Err(unreadable) => reject(ask, &read, unreadable, response),
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
    #[inline(always)]
    fn of(ask: &Ask<'_>, query: &Query) -> Self {
        let subnet = match ask.trust {
            Trust::Forwarder => query.edns.as_ref().and_then(|edns| edns.subnet),
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
    #[inline(always)]
    const fn fault(&self, ask: &Ask<'_>, query: &Query) -> Option<Fault> {
        match (query.fault, &self.who, &query.edns) {
            (Some(fault), ..) => Some(fault),
            (None, Who::Garbled, _) => Some(Fault::Format),
            // RFC 7828 §3.2.1, §3.2.2: a client's has no data; on a datagram it is ignored, whatever it is.
            (None, _, Some(Edns { keepalive: Some(Keepalive::Malformed), .. })) if ask.transport.is_kept() => {
                Some(Fault::Format)
            }
            (None, Who::At(_) | Who::Hidden, _) => None,
        }
    }
}
