//! Says what of an outcome goes into which section, and under which header.
//!
//! Answers are minimal: nothing in authority, and in additional only what the answer's data names (RFC 2782, RFC 1035 §3.3.11).
//! Negative answers have the SOA in authority (RFC 2308 §3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;

use super::lookup::{Answer, Authority, Nothing, Outcome, PORT_LABELS, Refusal};
use super::{Ask, Caller, Recursion, Text, Transport, Verdict, Who};
use crate::name::Name;
use crate::record::{Rtype, Ttl};
use crate::wire::{
    Earlier, Edns, Explanation, Extras, Fault, Flags, Full, InfoCode, Numbered, OptResponse, Owner, Query, Rcode,
    Section, Service, Soa, UDP_RESPONSE_MAX, UDP_RESPONSE_MIN, Writer,
};
use crate::zone::{AddressSet, App, BUCKETS, Component, Fit, Hosts, NameServer, Space, SrvSet, Target, Why, bucket_of};

/// Writes the response that `outcome` asks for.
pub(super) fn write(
    outcome: &Outcome<'_>,
    ask: &Ask<'_>,
    caller: &Caller,
    message: &[u8],
    query: &Query,
    response: &mut [u8],
) -> Verdict {
    let Head { rcode, flags, explanation } = head(outcome, ask);
    // Options of a query at fault may not have been read to their end, nor its version's be known (RFC 6891 §6.1.3).
    let is_read = !matches!(outcome, Outcome::Fault(_));
    let extras = query.edns.as_ref().filter(|edns| is_read && edns.asks_extras()).map(|edns| extras(edns, ask));
    // RFC 6891 §7: OPT only for those who sent one. RFC 8914 §2: so for the explanation in it.
    let opt = query.edns.as_ref().map(|edns| OptResponse {
        dnssec_ok: edns.dnssec_ok,
        subnet: if is_read { caller.subnet } else { None },
        explanation,
        extras: extras.as_ref(),
    });
    let Ok(mut writer) = Writer::new(response, limit(ask, query), message, query, opt.as_ref()) else {
        return Verdict::Drop;
    };
    let written = match outcome {
        Outcome::Answer(authority, answer, _) => write_answer(&mut writer, authority, answer, ask, caller, query),
        Outcome::Chaos(text) => writer.chaos_text(text.octets()),
        Outcome::NoData(authority, _) | Outcome::NxDomain(authority, _) => {
            let apex = Owner::Suffix(query.qname.offset(authority.apex));
            write_soa(&mut writer, Section::Authority, apex, authority, query)
        }
        Outcome::Foreign | Outcome::Refuse(_) | Outcome::NotReady | Outcome::Fault(_) => Ok(()),
    };
    if written == Err(Full) {
        writer.truncate();
    }
    Verdict::Send(writer.finish(query.header.flags.response().with(flags), rcode, opt.as_ref()))
}

/// Writes addresses to a plain question in one piece, if all of them fit: everything else goes the long way, which would write the same.
#[inline(always)]
pub(super) fn write_addresses<T, const N: usize, const RECORD: usize>(
    (rtype, addresses, ttl): (Rtype, &[T], Ttl),
    octets: impl Fn(&T) -> [u8; N],
    ask: &Ask<'_>,
    asked: (&[u8], &Query),
    response: &mut [u8],
) -> Option<usize> {
    let query = asked.1;
    let flags = query.header.flags.response().with(recursion(ask)).with(Flags::AA);
    let turn = usize::from(query.header.id.wrapping_add(ask.turn));
    let (limit, halves) = (limit(ask, query), turned(addresses, turn));
    Writer::whole::<T, N, RECORD>(response, limit, asked, flags, (rtype, ttl), halves, octets)
}

/// The same for an SRV set that is asked for by its canonical name, with the addresses of all targets.
#[inline(always)]
pub(super) fn write_services(
    space: &Space,
    set: &SrvSet<'_>,
    ask: &Ask<'_>,
    asked: (&[u8], &Query),
    response: &mut [u8],
) -> Option<usize> {
    let SrvSet { component, port, .. } = *set;
    if port.targets.len() > ADDRESSED_MAX {
        return None;
    }
    let query = asked.1;
    let flags = query.header.flags.response().with(recursion(ask)).with(Flags::AA);
    let service = |target: &Target| {
        let instance = component.instances.get(usize::from(target.instance))?;
        let (v4, v6) = (instance.addresses.v4(), instance.addresses.v6());
        Some(Service { number: instance.number, port: target.port, v4, v6 })
    };
    let shared = query.qname.suffix(PORT_LABELS);
    let (limit, head) = (limit(ask, query), (flags, space.ttl));
    Writer::whole_services(response, limit, asked, head, &port.targets, service, shared)
}

/// The same for the word that there is nothing. Not inlined, so that nothing of it is in the way of answers that have something to say.
#[inline(never)]
pub(super) fn write_nothing(
    authority: &Authority<'_>,
    nothing: Nothing<'_>,
    ask: &Ask<'_>,
    asked: (&[u8], &Query),
    response: &mut [u8],
) -> Option<usize> {
    let query = asked.1;
    let flags = query.header.flags.response().with(recursion(ask)).with(Flags::AA).with_rcode(nothing.rcode());
    Writer::whole_negative(response, limit(ask, query), asked, flags, &soa(authority, query), nothing.text())
}

/// The SOA of a negative answer.
#[inline(always)]
fn soa<'s>(authority: &Authority<'s>, query: &Query) -> Soa<'s> {
    Soa {
        owner: query.qname.offset(authority.apex),
        ttl: authority.space.negative_ttl,
        mname: mname(authority.space),
        rname: NOBODY,
        numbers: soa_numbers(authority),
    }
}

const fn recursion(ask: &Ask<'_>) -> Flags {
    match ask.recursion {
        Recursion::Available => Flags::RA,
        Recursion::Unavailable => Flags(0),
    }
}

/// What a client gets that asks for more than most.
pub(super) fn extras<'o>(edns: &Edns, ask: &Ask<'o>) -> Extras<'o> {
    let cookie = match (edns.cookie, ask.secrets) {
        (Some(cookie), Some(secrets)) => Some(secrets.renew(&cookie, ask.source, ask.now).0),
        _ => None,
    };
    Extras {
        cookie,
        node_id: ask.settings.node_id.as_ref().filter(|_| edns.asks_node_id).map(Text::octets),
        keepalive: ask.settings.keepalive.filter(|_| edns.keepalive.is_some() && ask.transport.is_kept()),
        // RFC 7830 §4, §6: for those who pad, and only where a padded length hides anything.
        block: BLOCK.filter(|_| edns.is_padded && ask.transport.is_encrypted()),
    }
}

/// The header's part of a response, and the reason that goes with it.
struct Head<'o> {
    rcode: Rcode,
    flags: Flags,
    explanation: Option<Explanation<'o>>,
}

fn head<'o>(outcome: &'o Outcome<'_>, ask: &Ask<'_>) -> Head<'o> {
    let recursion = recursion(ask);
    let ours = recursion.with(Flags::AA);
    let (rcode, flags, explanation) = match outcome {
        Outcome::Answer(_, _, why @ Why::Kept(..)) => {
            (Rcode::NOERROR, ours, Some(Explanation { code: InfoCode::OTHER, text: why }))
        }
        Outcome::Answer(..) | Outcome::Chaos(_) | Outcome::NoData(_, Why::Nothing | Why::Text("")) => {
            (Rcode::NOERROR, ours, None)
        }
        Outcome::NoData(_, why) => (Rcode::NOERROR, ours, Some(Explanation { code: InfoCode::OTHER, text: why })),
        Outcome::NxDomain(_, missing) => {
            (Rcode::NXDOMAIN, ours, Some(Explanation { code: InfoCode::OTHER, text: missing }))
        }
        Outcome::NotReady => (Rcode::SERVFAIL, recursion, Some(NOT_READY)),
        // There is no recursion for someone who may not ask.
        Outcome::Refuse(Refusal::Caller) => (Rcode::REFUSED, Flags(0), Some(PROHIBITED)),
        Outcome::Refuse(Refusal::NotAuthoritative) | Outcome::Foreign => {
            (Rcode::REFUSED, recursion, Some(NOT_AUTHORITATIVE))
        }
        Outcome::Refuse(Refusal::Class | Refusal::Transfer) => (Rcode::REFUSED, recursion, None),
        Outcome::Fault(Fault::Format) => (Rcode::FORMERR, Flags(0), None),
        Outcome::Fault(Fault::Version) => (Rcode::BADVERS, Flags(0), None),
        Outcome::Fault(Fault::Signed) => (Rcode::NOTAUTH, Flags(0), None),
    };
    Head { rcode, flags, explanation }
}

const NOT_READY: Explanation<'static> =
    Explanation { code: InfoCode::NOT_READY, text: &"not ready: the first scan is not complete" };
const PROHIBITED: Explanation<'static> =
    Explanation { code: InfoCode::PROHIBITED, text: &"no space has this address, nor any of its peers" };
const NOT_AUTHORITATIVE: Explanation<'static> =
    Explanation { code: InfoCode::NOT_AUTHORITATIVE, text: &"not a name of ours, and no recursion" };

/// The most octets that the response may have.
#[inline(always)]
pub fn limit(ask: &Ask<'_>, query: &Query) -> usize {
    match ask.transport {
        Transport::Udp => {
            let offered = query.edns.as_ref().map_or(UDP_RESPONSE_MIN, |edns| edns.udp_size);
            usize::from(offered.min(UDP_RESPONSE_MAX))
        }
        Transport::Tcp | Transport::Tls | Transport::Quic => usize::from(u16::MAX),
    }
}

fn write_answer(
    writer: &mut Writer<'_>,
    authority: &Authority<'_>,
    answer: &Answer<'_>,
    ask: &Ask<'_>,
    caller: &Caller,
    query: &Query,
) -> Result<(), Full> {
    let space = authority.space;
    let turn = usize::from(query.header.id.wrapping_add(ask.turn));
    match answer {
        Answer::V4(hosts, fit) => Addresses { all: hosts.v4(), rtype: Rtype::A, ttl: space.ttl, turn }.write(
            writer,
            Part::new(*fit, ask, caller),
            Ipv4Addr::octets,
            |bucket| set_of(hosts)?.preferred_v4(bucket),
        ),
        Answer::V6(hosts, fit) => Addresses { all: hosts.v6(), rtype: Rtype::AAAA, ttl: space.ttl, turn }.write(
            writer,
            Part::new(*fit, ask, caller),
            Ipv6Addr::octets,
            |bucket| set_of(hosts)?.preferred_v6(bucket),
        ),
        Answer::Srv(set) => write_srv(writer, space, set, Part::new(Fit::All, ask, caller)),
        Answer::Pointer(pointer) => writer
            .record(Section::Answer, Owner::Question, Rtype::PTR, space.ttl, |writer| {
                writer.put(instance_names(space, pointer.app, pointer.component)?.name(pointer.instance.number))
            })
            .map(drop),
        Answer::Loopback(IpAddr::V4(address)) => {
            writer.addresses(Rtype::A, space.ttl, [address.octets()].into_iter());
            Ok(())
        }
        Answer::Loopback(IpAddr::V6(address)) => {
            writer.addresses(Rtype::AAAA, space.ttl, [address.octets()].into_iter());
            Ok(())
        }
        Answer::Localhost => writer
            .record(Section::Answer, Owner::Question, Rtype::PTR, space.ttl, |writer| writer.put(LOCALHOST))
            .map(drop),
        Answer::Soa => write_soa(writer, Section::Answer, Owner::Question, authority, query),
        Answer::NameServers => write_name_servers(writer, space, query),
    }
}

/// What a response carries of a set that it cannot carry whole.
#[derive(Clone, Copy)]
struct Part<'c> {
    fit: Fit,
    caller: &'c Caller,
}

impl<'c> Part<'c> {
    /// Over a stream it is always some: what does not fit into 65,535 octets fits nowhere, and TC would send the client to where it is
    /// already, without an answer.
    const fn new(fit: Fit, ask: &Ask<'_>, caller: &'c Caller) -> Self {
        let fit = match ask.transport {
            Transport::Udp => fit,
            Transport::Tcp | Transport::Tls | Transport::Quic => Fit::Some,
        };
        Self { fit, caller }
    }

    fn bucket(self) -> usize {
        match self.caller.who {
            Who::At(address) => bucket_of(address),
            Who::Hidden | Who::Garbled => 0,
        }
    }

    /// Where the caller's part begins of so many things in a circle: at the same place for the same caller, at others for others.
    fn start(self, count: usize) -> usize {
        count * self.bucket() / BUCKETS
    }
}

/// Addresses of one family that answer a question.
struct Addresses<'s, T> {
    all: &'s [T],
    rtype: Rtype,
    ttl: Ttl,
    turn: usize,
}

impl<T> Addresses<'_, T> {
    /// Writes all if they fit, else some or none, as `part` has it; which some, `preferred` says for a bucket of callers.
    fn write<'p, const N: usize>(
        &self,
        writer: &mut Writer<'_>,
        part: Part<'_>,
        octets: impl Fn(&T) -> [u8; N],
        preferred: impl FnOnce(usize) -> Option<&'p [u16]>,
    ) -> Result<(), Full> {
        let room = writer.room_for(N);
        if self.all.len() <= room {
            self.rotate(writer, self.all, octets);
            return Ok(());
        }
        if part.fit == Fit::All || room == 0 {
            return Err(Full);
        }
        match preferred(part.bucket()) {
            Some(picks) if room <= picks.len() => {
                let [first, second] = turned(first_of(picks, room), self.turn);
                for half in [first, second] {
                    let picked = half.iter().filter_map(|index| self.all.get(usize::from(*index)));
                    writer.addresses(self.rtype, self.ttl, picked.map(&octets));
                }
            }
            // More than is picked in advance: the caller's part of the circle that they make.
            Some(_) => {
                let (start, count) = (part.start(self.all.len()), self.all.len());
                let places = (0..room).map(|place| (start + (place + self.turn) % room) % count);
                let picked = places.filter_map(|place| self.all.get(place));
                writer.addresses(self.rtype, self.ttl, picked.map(&octets));
            }
            None => self.rotate(writer, first_of(self.all, room), octets),
        }
        Ok(())
    }

    fn rotate<const N: usize>(&self, writer: &mut Writer<'_>, some: &[T], octets: impl Fn(&T) -> [u8; N]) {
        let [first, second] = turned(some, self.turn);
        writer.addresses(self.rtype, self.ttl, first.iter().map(&octets));
        writer.addresses(self.rtype, self.ttl, second.iter().map(&octets));
    }
}

/// The two halves of `items` when they are turned so many places.
#[inline(always)]
fn turned<T>(items: &[T], turn: usize) -> [&[T]; 2] {
    let (first, second) = items.split_at(turn.checked_rem(items.len()).unwrap_or(0));
    [second, first]
}

fn first_of<T>(items: &[T], count: usize) -> &[T] {
    items.get(..count).unwrap_or(items)
}

const fn set_of<'s>(hosts: &Hosts<'s>) -> Option<&'s AddressSet> {
    match hosts {
        Hosts::Set(set) => Some(*set),
        Hosts::None | Hosts::Instance(_) | Hosts::NameServer(_) => None,
    }
}

/// Writes an SRV set, and the addresses of its targets as far as there is room: a client asks for those that it misses, so they
/// never make TC (RFC 2181 §9).
///
/// Over a stream there is nowhere to go for what does not fit into 65,535 octets: a thousand targets with names longer than some
/// 45 octets, as they must not be compressed (RFC 3597 §4). TC would leave the client without a single one, so it gets as many as
/// fit: its own part of the circle that the targets make, which moves by one where one comes or goes.
#[inline(never)]
fn write_srv(writer: &mut Writer<'_>, space: &Space, set: &SrvSet<'_>, part: Part<'_>) -> Result<(), Full> {
    let SrvSet { app, component, port } = *set;
    let mut names = instance_names(space, app, component)?;
    let length_max = port.targets.last().map_or(0, |last| {
        names.name(component.instances.get(usize::from(last.instance)).map_or(u32::MAX, |last| last.number)).len()
    });
    let start =
        if port.targets.len() <= writer.room_for_services(length_max) { 0 } else { part.start(port.targets.len()) };
    let [first, second] = turned(&port.targets, start);
    let begin = writer.position();
    let mut count = 0;
    'all: for half in [first, second] {
        for target in half {
            let Some(instance) = component.instances.get(usize::from(target.instance)) else { continue };
            match writer.service(space.ttl, target.port, names.name(instance.number)) {
                Ok(()) => count += 1,
                Err(Full) if count > 0 && part.fit == Fit::Some => break 'all,
                Err(Full) => return Err(Full),
            }
        }
    }
    // The records stand in a row, so where each target's name is follows from the one before, and no list of places is kept.
    let (mut at, mut left) = (begin, count.min(ADDRESSED_MAX));
    let rest = writer.target_label(begin).end;
    for half in [first, second] {
        for target in half {
            let Some(instance) = component.instances.get(usize::from(target.instance)) else { continue };
            let own = writer.target_label(at);
            at = own.end + names.shared();
            let wrote = write_hosts(
                writer,
                space.ttl,
                &Earlier { own, rest },
                instance.addresses.v4(),
                instance.addresses.v6(),
            );
            left -= 1;
            if wrote.is_err() || left == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn write_name_servers(writer: &mut Writer<'_>, space: &Space, query: &Query) -> Result<(), Full> {
    let mut first = None;
    for NameServer { name, .. } in &space.ns {
        let rdata = writer.record(Section::Answer, Owner::Question, Rtype::NS, space.ttl, |writer| {
            writer.put_compressed(name.wire(), &query.qname)
        })?;
        first.get_or_insert(rdata);
    }
    let mut rdata = first.unwrap_or_default();
    for NameServer { v4, v6, .. } in &space.ns {
        let end = rdata.end;
        if write_hosts(writer, space.ttl, &Earlier { own: rdata, rest: end }, v4, v6).is_err() {
            break;
        }
        rdata = writer.rdata_after(end);
    }
    Ok(())
}

/// Writes the addresses of a host named in an answer.
fn write_hosts(
    writer: &mut Writer<'_>,
    ttl: Ttl,
    name: &Earlier,
    v4: &[Ipv4Addr],
    v6: &[Ipv6Addr],
) -> Result<(), Full> {
    for address in v4 {
        writer.additional_address(name, Rtype::A, ttl, address.octets())?;
    }
    for address in v6 {
        writer.additional_address(name, Rtype::AAAA, ttl, address.octets())?;
    }
    Ok(())
}

/// Writes the SOA of the zone that the answer is from.
///
/// Its TTL is its MINIMUM, both in negative answers (RFC 2308 §5 has the lesser of the two) and when asked for: a client that
/// keeps the one would else keep the other longer than is meant.
fn write_soa(
    writer: &mut Writer<'_>,
    section: Section,
    owner: Owner,
    authority: &Authority<'_>,
    query: &Query,
) -> Result<(), Full> {
    let space = authority.space;
    writer
        .record(section, owner, Rtype::SOA, space.negative_ttl, |writer| {
            writer.put_compressed(mname(space), &query.qname)?;
            writer.put_compressed(NOBODY, &query.qname)?;
            writer.put(&soa_numbers(authority))
        })
        .map(drop)
}

/// The first of the space's name servers.
#[inline(always)]
fn mname(space: &Space) -> &[u8] {
    space.ns.first().map_or(&NOBODY[..], |server| server.name.wire())
}

/// What stands behind the two names of an SOA (RFC 1035 §3.3.13).
#[inline(always)]
fn soa_numbers(authority: &Authority<'_>) -> [u8; 20] {
    let numbers = [authority.serial, REFRESH, RETRY, EXPIRE, authority.space.negative_ttl.seconds()];
    let mut octets = [0; 20];
    octets.as_chunks_mut().0.iter_mut().zip(numbers).for_each(|(place, number)| *place = number.to_be_bytes());
    octets
}

/// `<n>.<component>.<app>.<canonical discovery domain>` for every number.
fn instance_names(space: &Space, app: &App, component: &Component) -> Result<Numbered, Full> {
    let domain = space.discovery.first().map_or(&[][..], Name::wire);
    // The compiler of the snapshot lets no longer names in.
    Numbered::below([component.label.octets(), app.label.octets()], domain).ok_or(Full)
}

/// The multiple that responses are padded to (RFC 8467 §4.1).
const BLOCK: Option<NonZeroUsize> = NonZeroUsize::new(468);
/// The most targets of an SRV set whose addresses are sent along. Who connects to more of them at once is rare and can ask, and what one
/// query may cost us stays bounded.
const ADDRESSED_MAX: usize = 256;
/// RNAME: there is no mailbox behind a zone that files make (RFC 2606's `invalid.`, so that nobody writes to a stranger).
const NOBODY: &[u8; 16] = b"\x06nobody\x07invalid\x00";
/// `localhost.`
const LOCALHOST: &[u8] = b"\x09localhost\x00";
/// Nobody transfers these zones, so the timers are only the customary ones.
const REFRESH: u32 = 3600;
const RETRY: u32 = 600;
const EXPIRE: u32 = 86_400;
