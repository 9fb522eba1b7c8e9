//! Decides what a query gets. Existence is [`Snapshot::find`]'s matter; here it meets the query's class and type.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Ask, Caller, Got, Settings, Text, Who};
use crate::name::NameBuffer;
use crate::record::Rtype;
use crate::wire::{Class, Fault, Flags, Form, Query, Rcode};
use crate::zone::{
    AddressSet, Fit, Found, Host, Hosts, Lead, Missing, Node, Owned, Plain, PlainKind, Pointer, Readiness, Services,
    Snapshot, Space, SrvSet, Types, View, Why, Zone,
};

/// What a query gets.
pub(super) enum Outcome<'s> {
    /// Records of a name of ours, and what is to be known of them: [`Why::Kept`] or nothing.
    Answer(Authority<'s>, Answer<'s>, Why<'s>),
    /// What the operator has the server say of itself, in class CH.
    Chaos(&'s Text),
    /// A name of ours without such records.
    NoData(Authority<'s>, Why<'s>),
    /// A name of ours that does not exist.
    NxDomain(Authority<'s>, Missing),
    /// The name is not ours.
    Foreign,
    /// We will not.
    Refuse(Refusal),
    /// We cannot yet: the first scan is not complete.
    NotReady,
    /// The query is at fault.
    Fault(Fault),
}

/// The outcomes of almost every query, and no more of each than its response is made of.
#[derive(Clone, Copy)]
pub(super) enum PlainOutcome<'s> {
    /// IPv4 addresses, at least one.
    V4(&'s Space, &'s [Ipv4Addr]),
    /// IPv6 addresses, at least one.
    V6(&'s Space, &'s [Ipv6Addr]),
    /// Nothing.
    Nothing(Authority<'s>, Nothing<'s>),
    /// The name is not ours.
    Foreign,
}

/// Why there is nothing at a name of ours.
#[derive(Clone, Copy)]
pub(super) enum Nothing<'s> {
    /// It has no such records, for this reason; it is empty where there is none to give.
    NoData(&'s str),
    /// It does not exist.
    NxDomain(Missing),
}

impl<'s> Nothing<'s> {
    /// What there is to count of it.
    #[inline(always)]
    pub(super) const fn got(self) -> Got {
        match self {
            Self::NoData(text) if text.is_empty() => Got::Type,
            Self::NoData(_) => Got::Gate,
            Self::NxDomain(missing) => Got::of(missing),
        }
    }

    /// The reason in words.
    #[inline(always)]
    pub(super) const fn text(self) -> &'s str {
        match self {
            Self::NoData(text) => text,
            Self::NxDomain(missing) => missing.text(),
        }
    }

    /// How the header says it.
    #[inline(always)]
    pub(super) const fn rcode(self) -> Rcode {
        match self {
            Self::NoData(_) => Rcode::NOERROR,
            Self::NxDomain(_) => Rcode::NXDOMAIN,
        }
    }
}

/// Whose word an answer is: the zone that the name is in.
#[derive(Clone, Copy)]
pub(super) struct Authority<'s> {
    /// The space.
    pub(super) space: &'s Space,
    /// The serial of its SOA.
    pub(super) serial: u32,
    /// The label of the question's name that the zone's name starts at.
    pub(super) apex: usize,
}

/// Records of a name of ours.
pub(super) enum Answer<'s> {
    /// IPv4 addresses, at least one.
    V4(Hosts<'s>, Fit),
    /// IPv6 addresses, at least one.
    V6(Hosts<'s>, Fit),
    /// An SRV set, not empty.
    Srv(SrvSet<'s>),
    /// The name of an address.
    Pointer(Pointer<'s>),
    /// A loopback address of either family.
    Loopback(IpAddr),
    /// The name of a loopback address.
    Localhost,
    /// The zone's SOA.
    Soa,
    /// The zone's name servers.
    NameServers,
}

/// Why we will not answer.
pub(super) enum Refusal {
    /// The caller is nobody's.
    Caller,
    /// The name is not ours, and recursion is not asked for or not to be had.
    NotAuthoritative,
    /// The class has nothing, or nothing that is to be said.
    Class,
    /// A zone is not handed out whole.
    Transfer,
}

/// Decides what `query` gets.
#[inline(always)]
pub(super) fn decide<'s>(snapshot: &'s Snapshot, ask: &Ask<'s>, caller: &Caller, query: &Query) -> Outcome<'s> {
    if let Some(fault) = caller.fault(ask, query) {
        return Outcome::Fault(fault);
    }
    // Before the caller: who may ask is not known yet either.
    if snapshot.readiness == Readiness::Starting {
        return Outcome::NotReady;
    }
    let view = match caller.who {
        Who::At(address) => snapshot.view(address),
        Who::Hidden | Who::Garbled => None,
    };
    let Some(view) = view else { return Outcome::Refuse(Refusal::Caller) };
    match query.qclass {
        Class::IN => {}
        Class::CH => return of_chaos(ask.settings, query),
        _ => return Outcome::Refuse(Refusal::Class),
    }
    match query.qtype {
        // RFC 6895 §3.1: not types of data, so no question can ask for them. They are never forwarded.
        Rtype::OPT | TKEY | TSIG | MAILB | MAILA => return Outcome::Fault(Fault::Format),
        Rtype::IXFR | Rtype::AXFR => return Outcome::Refuse(Refusal::Transfer),
        _ => {}
    }
    find(snapshot, ask, view, query)
}

/// What a plain question for addresses gets, as [`decide`] would have it; `None` where it takes more to say.
#[inline(always)]
pub(super) fn decide_plain<'s>(
    snapshot: &'s Snapshot,
    ask: &Ask<'_>,
    (query, lead): (&Query, Lead),
) -> Option<PlainOutcome<'s>> {
    let is_plain =
        query.form == Form::Plain && query.qclass == Class::IN && matches!(query.qtype, Rtype::A | Rtype::AAAA);
    if !is_plain {
        return None;
    }
    let (view, space) = plain_view(snapshot, ask)?;
    let Plain { kind, missing, apex, addresses, why, .. } = snapshot.find_plain((view, space), &query.qname, lead);
    let authority = Authority { space, serial: snapshot.serial, apex };
    match kind {
        PlainKind::There => {
            if let (Rtype::A, Some(v4 @ [_, ..])) = (query.qtype, addresses.map(AddressSet::v4)) {
                return Some(PlainOutcome::V4(space, v4));
            }
            if let (Rtype::AAAA, Some(v6 @ [_, ..])) = (query.qtype, addresses.map(AddressSet::v6)) {
                return Some(PlainOutcome::V6(space, v6));
            }
            // Where there are addresses it is only the type that is missing, and that has no reason.
            let why = if addresses.is_none_or(AddressSet::is_empty) { why } else { "" };
            Some(PlainOutcome::Nothing(authority, Nothing::NoData(why)))
        }
        PlainKind::Missing => Some(PlainOutcome::Nothing(authority, Nothing::NxDomain(missing))),
        PlainKind::Foreign if query.header.flags.has(Flags::RD) => Some(PlainOutcome::Foreign),
        PlainKind::Foreign | PlainKind::More => None,
    }
}

/// The SRV set that a plain question gets, as [`decide`] would have it; `None` where it takes more to say.
///
/// The end of the question's name is that of every target's: it is asked by canonical names. Another discovery domain, or a bare
/// service, has its targets' names written out the long way.
#[inline(always)]
pub(super) fn decide_services<'s>(
    snapshot: &'s Snapshot,
    ask: &Ask<'_>,
    (query, lead): (&Query, Lead),
) -> Option<(&'s Space, SrvSet<'s>)> {
    if query.form != Form::Plain || query.qclass != Class::IN {
        return None;
    }
    let (view, space) = plain_view(snapshot, ask)?;
    let Services { apex, set, .. } = snapshot.find_services((view, space), &query.qname, lead);
    let is_canonical = apex == SERVICE_LABELS && query.qname.ends_as(apex, space.discovery.first()?.wire());
    if is_canonical { Some((space, set?)) } else { None }
}

/// What is shown to whoever asks, where nothing stands in the way of saying so.
#[inline(always)]
fn plain_view<'s>(snapshot: &'s Snapshot, ask: &Ask<'_>) -> Option<(View, &'s Space)> {
    if snapshot.readiness == Readiness::Starting || !ask.settings.opened.is_empty() {
        return None;
    }
    // Looked at where it is: a copy of either kind of address is taken apart octet by octet.
    let view = match &ask.source {
        IpAddr::V4(address) => snapshot.view_of_v4(*address)?,
        IpAddr::V6(address) => snapshot.view_of_v6(*address)?,
    };
    Some((view, snapshot.space(view.space)?))
}

/// RFC 4892 §3, and what BIND made customary before it.
fn of_chaos<'s>(settings: &'s Settings, query: &Query) -> Outcome<'s> {
    let text = match query.qname.wire() {
        b"\x07version\x04bind\x00" | b"\x07version\x06server\x00" => &settings.version,
        b"\x02id\x06server\x00" | b"\x08hostname\x04bind\x00" => &settings.identity,
        _ => &None,
    };
    match text {
        Some(text) if matches!(query.qtype, Rtype::TXT | Rtype::ANY) => Outcome::Chaos(text),
        _ => Outcome::Refuse(Refusal::Class),
    }
}

#[inline(always)]
fn find<'s>(snapshot: &'s Snapshot, ask: &Ask<'_>, view: View, query: &Query) -> Outcome<'s> {
    match (found(snapshot, ask.settings, view, &query.qname), snapshot.space(view.space)) {
        (Found::Owned(owned), Some(space)) if is_ours(owned.types, query.qtype) => {
            of_node(Authority { space, serial: snapshot.serial, apex: owned.apex }, &owned, query.qtype)
        }
        // Without RD nobody is to be asked on the client's behalf (RFC 1035 §4.1.1).
        _ if !query.header.flags.has(Flags::RD) => Outcome::Refuse(Refusal::NotAuthoritative),
        _ => Outcome::Foreign,
    }
}

/// What `name` is to a caller with this view.
#[inline(always)]
pub(super) fn found<'s>(snapshot: &'s Snapshot, settings: &Settings, view: View, name: &NameBuffer) -> Found<'s> {
    if settings.opened.has(name) { snapshot.find_opened(view, name) } else { snapshot.find(view, name) }
}

/// Whether a name that is ours for these types is so for `qtype`.
#[inline(always)]
pub(super) const fn is_ours(types: Types, qtype: Rtype) -> bool {
    match types {
        Types::All => true,
        Types::Address => {
            matches!(qtype, Rtype::A | Rtype::AAAA | Rtype::HTTPS | Rtype::SVCB | Rtype::ANY)
        }
        Types::NotDelegation => !matches!(qtype, Rtype::DS | Rtype::DNSKEY | Rtype::NS | Rtype::SOA),
    }
}

#[inline(always)]
fn of_node<'s>(authority: Authority<'s>, owned: &Owned<'s>, qtype: Rtype) -> Outcome<'s> {
    let (answer, why) = match owned.node {
        Node::Missing(missing) => return Outcome::NxDomain(authority, missing),
        Node::EmptyNonTerminal => (None, Why::Nothing),
        Node::Apex => (of_apex(qtype), Why::Nothing),
        Node::Host(host) => of_host(host, qtype),
        Node::Srv(set) => match qtype {
            // RFC 2782 would have target `.` for "not here"; resolvers take that for a host, so it is NODATA.
            _ if set.port.targets.is_empty() => (None, Why::Text(&set.component.closed)),
            Rtype::SRV | Rtype::ANY => (Some(Answer::Srv(set)), kept(set.why())),
            _ => (None, Why::Nothing),
        },
        Node::Pointer(pointer) => match qtype {
            Rtype::PTR | Rtype::ANY => (Some(Answer::Pointer(pointer)), Why::Nothing),
            _ => (None, Why::Nothing),
        },
        Node::Localhost => (of_localhost(qtype), Why::Nothing),
        Node::LocalhostPointer(zone) => match qtype {
            Rtype::PTR | Rtype::ANY => (Some(Answer::Localhost), Why::Nothing),
            _ if zone == Zone::Apex => (of_apex(qtype), Why::Nothing),
            _ => (None, Why::Nothing),
        },
    };
    match answer {
        Some(answer) => Outcome::Answer(authority, answer, why),
        None => Outcome::NoData(authority, why),
    }
}

#[inline(always)]
fn of_host<'s>(host: Host<'s>, qtype: Rtype) -> (Option<Answer<'s>>, Why<'s>) {
    let Host { hosts, why, fit, zone } = host;
    let (has_v4, has_v6) = (!hosts.v4().is_empty(), !hosts.v6().is_empty());
    let answer = match qtype {
        // RFC 8482 §4.1: one of the sets is enough for ANY.
        Rtype::A | Rtype::ANY if has_v4 => Some(Answer::V4(hosts, fit)),
        Rtype::AAAA | Rtype::ANY if has_v6 => Some(Answer::V6(hosts, fit)),
        _ if zone == Zone::Apex => of_apex(qtype),
        _ => None,
    };
    let why = match answer {
        Some(Answer::V4(..) | Answer::V6(..)) => kept(why),
        // Where there are addresses it is only the type that is missing, and that has no reason.
        _ if has_v4 || has_v6 => Why::Nothing,
        _ => why,
    };
    (answer, why)
}

/// Of records there is nothing else to say.
#[inline(always)]
const fn kept(why: Why<'_>) -> Why<'_> {
    if let Why::Kept(..) = why { why } else { Why::Nothing }
}

/// RFC 6761 §6.3: the host that asks, whichever it is.
const fn of_localhost<'s>(qtype: Rtype) -> Option<Answer<'s>> {
    match qtype {
        Rtype::A | Rtype::ANY => Some(Answer::Loopback(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        Rtype::AAAA => Some(Answer::Loopback(IpAddr::V6(Ipv6Addr::LOCALHOST))),
        _ => None,
    }
}

const fn of_apex<'s>(qtype: Rtype) -> Option<Answer<'s>> {
    match qtype {
        Rtype::SOA | Rtype::ANY => Some(Answer::Soa),
        Rtype::NS => Some(Answer::NameServers),
        _ => None,
    }
}

/// The labels of `_<port>._tcp`.
pub(super) const PORT_LABELS: usize = 2;
/// Those of `_<port>._tcp.<component>.<app>`, before a discovery domain.
const SERVICE_LABELS: usize = PORT_LABELS + 2;
/// Types that a question cannot have (RFC 2930, RFC 8945, RFC 1035 §3.2.3).
const TKEY: Rtype = Rtype(249);
const TSIG: Rtype = Rtype(250);
const MAILB: Rtype = Rtype(253);
const MAILA: Rtype = Rtype(254);
