//! Writes what another server said about a name that is not ours, under our own header and OPT.

use super::{Ask, Caller, Recursion, Verdict, Who, lookup, sections};
use crate::name::NameBuffer;
use crate::record::Rtype;
use crate::wire::{Explanation, Flags, Full, OptResponse, Query, Rcode, Relay, Writer};
use crate::zone::{Found, Node, Owned, Snapshot};

/// What another server said, or why there is nothing to say.
#[derive(Clone, Copy)]
pub struct Relayed<'a> {
    /// How it ended.
    pub rcode: Rcode,
    /// The records, if there are any.
    pub records: Option<Relay<'a>>,
    /// Why the response is what it is.
    pub explanation: Option<Explanation<'a>>,
}

/// Writes a response to `query`, which was read from `message` and which [`respond`](super::respond) wants forwarded.
///
/// What does not fit the client's limit becomes an empty response with TC (RFC 2181 §9). AA and AD are never set: the word is another's,
/// and nobody has checked it.
#[must_use]
pub fn relay(ask: &Ask<'_>, message: &[u8], query: &Query, relayed: &Relayed<'_>, response: &mut [u8]) -> Verdict {
    let caller = Caller::of(ask, query);
    let extras = query.edns.as_ref().filter(|edns| edns.asks_extras()).map(|edns| sections::extras(edns, ask));
    let opt = query.edns.as_ref().map(|edns| OptResponse {
        dnssec_ok: edns.dnssec_ok,
        subnet: caller.subnet,
        explanation: relayed.explanation,
        extras: extras.as_ref(),
    });
    let Ok(mut writer) = Writer::new(response, sections::limit(ask, query), message, query, opt.as_ref()) else {
        return Verdict::Drop;
    };
    if let Some(records) = &relayed.records
        && writer.relay(records) == Err(Full)
    {
        writer.truncate();
    }
    let recursion = match ask.recursion {
        Recursion::Available => Flags::RA,
        Recursion::Unavailable => Flags(0),
    };
    Verdict::Send(writer.finish(query.header.flags.response().with(recursion), relayed.rcode, opt.as_ref()))
}

/// Whether `name` is ours for `rtype` to whoever sent `query`: then nobody else's word about it counts.
#[must_use]
pub fn owns(snapshot: &Snapshot, ask: &Ask<'_>, query: &Query, name: &NameBuffer, rtype: Rtype) -> bool {
    owned(snapshot, ask, query, name).is_some_and(|owned| lookup::is_ours(owned.types, rtype))
}

/// Whether the name of `query`, which is foreign for its type, is there for others: then nobody else can say that it does not exist.
#[must_use]
pub fn is_there(snapshot: &Snapshot, ask: &Ask<'_>, query: &Query) -> bool {
    owned(snapshot, ask, query, &query.qname).is_some_and(|owned| !matches!(owned.node, Node::Missing(_)))
}

/// What is ours at `name` to whoever sent `query`, for some type.
fn owned<'s>(snapshot: &'s Snapshot, ask: &Ask<'_>, query: &Query, name: &NameBuffer) -> Option<Owned<'s>> {
    let view = match Caller::of(ask, query).who {
        Who::At(address) => snapshot.view(address),
        Who::Hidden | Who::Garbled => None,
    };
    match lookup::found(snapshot, ask.settings, view?, name) {
        Found::Owned(owned) => Some(owned),
        Found::Foreign => None,
    }
}
