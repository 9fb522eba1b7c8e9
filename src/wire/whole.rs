//! Whole responses of the few kinds that almost all are, each written in one piece.
//!
//! Every length is known before the first octet, or is summed up on the way, so there is one check of the room for each record at most,
//! and nothing is counted or taken back. What does not fit, or is another kind, is the [`Writer`]'s piece by piece, and has the same octets:
//! a test of the engine holds the two together.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::edns::{self, InfoCode};
use super::header::{Flags, HEADER_LENGTH, Rcode};
use super::numbered;
use super::query::Query;
use super::writer::{POINTER_END, RECORD_HEAD, SRV_HEAD, Writer, put_address, record_head};
use crate::name::NAME_MAX;
use crate::record::{Rtype, Ttl};

/// An SOA record that goes with a negative answer (RFC 2308 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa<'a> {
    /// The octet of the question's name that the zone's name starts at.
    pub owner: usize,
    /// The TTL.
    pub ttl: Ttl,
    /// The name of the primary server.
    pub mname: &'a [u8],
    /// The mailbox of whoever is responsible.
    pub rname: &'a [u8; RNAME],
    /// The serial and the timers.
    pub numbers: [u8; SOA_NUMBERS],
}

/// A target of an SRV set, named by its number below a name that all of them share.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The number.
    pub number: u32,
    /// The port.
    pub port: u16,
    /// Its IPv4 addresses.
    pub v4: &'a [Ipv4Addr],
    /// Its IPv6 addresses.
    pub v6: &'a [Ipv6Addr],
}

impl Writer<'_> {
    /// Writes the whole of what almost every response is: header, question, addresses of the question's name (those of `first`, then
    /// of `second`), and an OPT without options where the query has one. Returns its length; nothing when it does not fit into `limit`
    /// or into `response`, and then [`new`](Self::new) begins anew.
    ///
    /// All lengths are known before the first octet is written, so there is one check of the room and no other.
    /// `N` octets are an address, and `RECORD` the record that it is in.
    #[inline(always)]
    pub fn whole<T, const N: usize, const RECORD: usize>(
        response: &mut [u8],
        limit: usize,
        (message, query): (&[u8], &Query),
        flags: Flags,
        (rtype, ttl): (Rtype, Ttl),
        [first, second]: [&[T]; 2],
        octets: impl Fn(&T) -> [u8; N],
    ) -> Option<usize> {
        const { assert!(RECORD == RECORD_HEAD + N, "a record is its head and its address") };
        let opt = query.edns.as_ref().map(|edns| edns::opt_head(Rcode::NOERROR, edns.dnssec_ok, 0));
        let answers = u16::try_from(first.len() + second.len()).ok()?;
        let records = usize::from(answers) * RECORD;
        let length = query.question_end + (records + opt.map_or(0, |opt| opt.len()));
        let response = response.get_mut(..length).filter(|_| length <= limit)?;
        let rest = begin(response, message, query, flags, counts(answers, 0, u16::from(opt.is_some())))?;
        let (records, place) = rest.split_at_mut_checked(records)?;
        let (start, end) = address_head(rtype, ttl, u16::try_from(N).ok()?);
        let write = |record: &mut [u8; RECORD], address| {
            if let Some((place, rest)) = record.split_first_chunk_mut()
                && let Some((end_place, rest)) = rest.split_first_chunk_mut()
                && let Some(rdata) = rest.first_chunk_mut()
            {
                (*place, *end_place, *rdata) = (start, end, octets(address));
            }
        };
        let (before, after) = records.as_chunks_mut().0.split_at_mut_checked(first.len())?;
        before.iter_mut().zip(first).for_each(|(record, address)| write(record, address));
        after.iter_mut().zip(second).for_each(|(record, address)| write(record, address));
        if let Some(opt) = opt {
            *place.first_chunk_mut()? = opt;
        }
        Some(length)
    }

    /// Writes the whole of an SRV answer: header, question, a record for each of `targets` that is a `service`, whose names end in `shared`,
    /// then the addresses of all of them, and an OPT without options where the query has one. Returns nothing where
    /// [`whole`](Self::whole) does, and where a pointer could not reach a target's name.
    #[inline(always)]
    pub fn whole_services<'s, T>(
        response: &mut [u8],
        limit: usize,
        (message, query): (&[u8], &Query),
        (flags, ttl): (Flags, Ttl),
        targets: &[T],
        service: impl Fn(&T) -> Option<Service<'s>>,
        shared: &[u8],
    ) -> Option<usize> {
        let opt = query.edns.as_ref().map(|edns| edns::opt_head(Rcode::NOERROR, edns.dnssec_ok, 0));
        let records_end = limit.min(response.len()).min(POINTER_END).checked_sub(opt.map_or(0, |opt| opt.len()))?;
        let mut rest = response.get_mut(query.question_end..records_end)?;
        let (mut answers, mut additionals) = (0_u16, u16::from(opt.is_some()));
        for target in targets {
            let Some(Service { number, port, .. }) = service(target) else { continue };
            let label = numbered::digits(number);
            let (record, after) = rest.split_at_mut_checked(SERVICE_HEAD + label + shared.len())?;
            let (head, name) = record.split_first_chunk_mut::<SERVICE_HEAD>()?;
            *head = service_head(ttl, port, label, shared.len());
            let (digits, end) = name.split_at_mut_checked(label)?;
            numbered::put_digits(number, digits);
            copy_short(end, shared);
            (rest, answers) = (after, answers + 1);
        }
        let mut name = query.question_end + RECORD_HEAD + SRV_HEAD;
        for target in targets {
            let Some(Service { number, v4, v6, .. }) = service(target) else { continue };
            for address in v4 {
                rest = put_address(rest, record_head(name, Rtype::A, ttl, 4), address.octets())?;
                additionals += 1;
            }
            for address in v6 {
                rest = put_address(rest, record_head(name, Rtype::AAAA, ttl, 16), address.octets())?;
                additionals += 1;
            }
            name += SERVICE_HEAD + numbered::digits(number) + shared.len();
        }
        let mut length = records_end - rest.len();
        if let Some(opt) = opt {
            *response.get_mut(length..)?.first_chunk_mut()? = opt;
            length += opt.len();
        }
        begin(response.get_mut(..length)?, message, query, flags, counts(answers, 0, additionals))?;
        Some(length)
    }

    /// Writes the whole of a negative answer: header, question, the SOA, and an OPT where the query has one, in it the reason unless that is
    /// empty. `flags` hold the rcode. Returns nothing where [`whole`](Self::whole) does, and where a name in the SOA could be compressed.
    #[inline(always)]
    pub fn whole_negative(
        response: &mut [u8],
        limit: usize,
        (message, query): (&[u8], &Query),
        flags: Flags,
        soa: &Soa<'_>,
        why: &str,
    ) -> Option<usize> {
        if query.qname.may_end_as(soa.mname) || query.qname.may_end_as(soa.rname) || why.len() > edns::TEXT_MAX {
            return None;
        }
        // The root is shorter than a pointer to it.
        let owner_length = if query.qname.wire().len() == soa.owner + 1 { 1 } else { 2 };
        let data_length = soa.mname.len().min(NAME_MAX) + SOA_REST;
        let option_length = if why.is_empty() { 0 } else { edns::EXPLANATION_HEAD + why.len() };
        let opt_length = if query.edns.is_some() { edns::OPT_HEAD + option_length } else { 0 };
        let length = query.question_end + (owner_length + RECORD_HEAD - 2 + data_length + opt_length);
        let response = response.get_mut(..length).filter(|_| length <= limit)?;
        let rest = begin(response, message, query, flags, counts(0, 1, u16::from(query.edns.is_some())))?;
        let [owner_high, owner_low, head @ ..] =
            record_head(HEADER_LENGTH + soa.owner, Rtype::SOA, soa.ttl, data_length);
        let (owner, rest) = rest.split_at_mut_checked(owner_length)?;
        match owner {
            [high, low] => (*high, *low) = (owner_high, owner_low),
            owner => owner.fill(0),
        }
        let (place, rest) = rest.split_first_chunk_mut()?;
        *place = head;
        let (mname, rest) = rest.split_at_mut_checked(soa.mname.len())?;
        mname.copy_from_slice(soa.mname);
        let (rname, rest) = rest.split_first_chunk_mut()?;
        *rname = *soa.rname;
        let (numbers, rest) = rest.split_first_chunk_mut()?;
        *numbers = soa.numbers;
        if let Some(edns) = &query.edns {
            let (opt, rest) = rest.split_first_chunk_mut()?;
            *opt = edns::opt_head(Rcode::NOERROR, edns.dnssec_ok, option_length);
            if option_length > 0 {
                edns::put_explanation(InfoCode::OTHER, why, rest)?;
            }
        }
        Some(length)
    }
}

/// Writes the header and the question of a response whose length is that of `response`, and returns the rest of it.
#[inline(always)]
fn begin<'r>(response: &'r mut [u8], message: &[u8], query: &Query, flags: Flags, counts: u64) -> Option<&'r mut [u8]> {
    let (head, rest) = response.split_at_mut_checked(query.question_end)?;
    copy_short(head, message.get(..query.question_end)?);
    // The ID stays as it was copied.
    let [_, _, flags_high, flags_low, place @ ..] = head.first_chunk_mut::<HEADER_LENGTH>()?;
    [*flags_high, *flags_low] = flags.0.to_be_bytes();
    *place = counts.to_be_bytes();
    Some(rest)
}

/// The counts of a response's header as one number: one question, and so many records.
#[inline(always)]
fn counts(answers: u16, authorities: u16, additionals: u16) -> u64 {
    1 << 48 | u64::from(answers) << 32 | u64::from(authorities) << 16 | u64::from(additionals)
}

/// Copies a run of octets to one of the same length. Up to 64 of them, which is a header and almost every question, are two copies of a
/// length that is known here, and that overlap: the function for any length has to find out first, and everything that is in a register must
/// be put away around its call.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=32 => copy_ends::<16>(to, from),
        33..=64 => copy_ends::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
    }
}

/// An SRV record of the question's name, of priority 0 and weight 1, up to the first label of its target, whose length is the last octet.
/// The target ends in `shared` octets behind that.
#[inline(always)]
fn service_head(ttl: Ttl, port: u16, label: usize, shared: usize) -> [u8; SERVICE_HEAD] {
    let mut octets = [0; SERVICE_HEAD];
    let (head, numbers) =
        (record_head(HEADER_LENGTH, Rtype::SRV, ttl, SRV_HEAD + 1 + label + shared), port.to_be_bytes());
    if let Some((place, rest)) = octets.split_first_chunk_mut()
        && let Some(rest) = rest.first_chunk_mut()
    {
        let ([port_high, port_low], [length, ..]) = (numbers, label.to_le_bytes());
        (*place, *rest) = (head, [0, 0, 0, 1, port_high, port_low, length]);
    }
    octets
}

/// What comes before the address in a record of the question's name, as two numbers: two stores for each.
#[inline(always)]
const fn address_head(rtype: Rtype, ttl: Ttl, length: u16) -> ([u8; 8], [u8; 4]) {
    let (pointer, ttl) = (0xc000 | HEADER_LENGTH as u64, ttl.seconds());
    let start = pointer << 48 | (rtype.0 as u64) << 32 | 1 << 16 | (ttl >> 16) as u64;
    (start.to_be_bytes(), (ttl << 16 | length as u32).to_be_bytes())
}

/// Octets of an SRV record before the first label of its target, the length octet of that included.
const SERVICE_HEAD: usize = RECORD_HEAD + SRV_HEAD + 1;
/// Octets of the mailbox in an SOA: the same for all of them, so that its length is known when this is compiled.
const RNAME: usize = 16;
/// Octets of SOA data behind the names.
const SOA_NUMBERS: usize = 20;
/// Octets of SOA data behind the first name.
const SOA_REST: usize = RNAME + SOA_NUMBERS;
