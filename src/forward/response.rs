//! An upstream's response, read to its last octet and written anew.
//!
//! What is relayed is never the upstream's own octets: records may have to be left out, and a pointer to one of them would then lead
//! nowhere. So names are spelled out, in owners and in the data of those types whose data may have pointers (RFC 3597 §4), and pointers are
//! made anew on writing. The data of every other type is kept to the octet, known or not (RFC 3597 §3). What does not read is
//! no response.

use std::collections::HashMap;

use crate::name::{LABEL_MAX, NAME_MAX};
use crate::record::Rtype;
use crate::wire::{Flags, HEADER_LENGTH, Header, Rcode, Section};

/// A response that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) flags: Flags,
    /// With the bits that are in OPT.
    pub(super) rcode: Rcode,
    /// Whether the upstream speaks EDNS.
    pub(super) has_opt: bool,
    /// Without OPT.
    pub(super) records: Vec<Record>,
}

/// One record of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) section: Section,
    /// As it came, pointers followed.
    pub(super) owner: Vec<u8>,
    pub(super) rtype: Rtype,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// With names spelled out where [`Layout`] knows of them.
    pub(super) rdata: Vec<u8>,
}

impl Reading {
    /// Reads a message whose question ends at `question_end`; `None` when it is malformed.
    pub(super) fn of(message: &[u8], question_end: usize) -> Option<Self> {
        let header = Header::read(message)?;
        let [_, low] = header.flags.0.to_be_bytes();
        let mut reading =
            Self { flags: header.flags, rcode: Rcode(u16::from(low & 0x0f)), has_opt: false, records: Vec::new() };
        let mut at = question_end;
        for (section, count) in [
            (Section::Answer, header.answers),
            (Section::Authority, header.authorities),
            (Section::Additional, header.additionals),
        ] {
            for _ in 0..count {
                at = reading.take(message, at, section)?;
            }
        }
        Some(reading)
    }

    /// Reads no more of a message than that it is a part (RFC 2181 §9): some servers cut in the middle of a record.
    pub(super) fn of_part(message: &[u8]) -> Option<Self> {
        let flags = Header::read(message)?.flags;
        flags.has(Flags::TC).then(|| Self { flags, rcode: Rcode::NOERROR, has_opt: false, records: Vec::new() })
    }

    fn take(&mut self, message: &[u8], at: usize, section: Section) -> Option<usize> {
        let mut owner = Vec::new();
        let at = read_name(message, at, &mut owner)?;
        let [a, b, c, d, e, f, g, h, i, j] = *message.get(at..)?.first_chunk::<10>()?;
        let (start, length) = (at + 10, usize::from(u16::from_be_bytes([i, j])));
        let end = start + length;
        message.get(start..end)?;
        let rtype = Rtype(u16::from_be_bytes([a, b]));
        let ttl = u32::from_be_bytes([e, f, g, h]);
        if rtype == Rtype::OPT {
            // RFC 6891 §6.1.1: one, and where it belongs.
            if self.has_opt || section != Section::Additional {
                return None;
            }
            self.has_opt = true;
            self.rcode = Rcode(self.rcode.0 | u16::from(e) << 4);
            return Some(end);
        }
        let rdata = read_rdata(message, start, end, rtype)?;
        // RFC 2181 §8: with the high bit it is 0; RFC 8767 §4: seven days at most.
        let ttl = if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl.min(TTL_MAX) };
        self.records.push(Record { section, owner, rtype, class: u16::from_be_bytes([c, d]), ttl, rdata });
        Some(end)
    }

    /// Gives the records of one set one TTL, the least (RFC 2181 §5.2). Signatures are no set: each has that of what it signs
    /// (RFC 4034 §3).
    pub(super) fn even_out(&mut self) {
        let key = |record: &Record| (record.owner.to_ascii_lowercase(), record.rtype, record.class);
        let mut least = HashMap::new();
        for record in self.records.iter().filter(|record| record.rtype != RRSIG) {
            let ttl = least.entry(key(record)).or_insert(record.ttl);
            *ttl = record.ttl.min(*ttl);
        }
        for record in &mut self.records {
            if let Some(ttl) = least.get(&key(record)) {
                record.ttl = record.ttl.min(*ttl);
            }
        }
    }
}

/// Reads the name at `at` into `name`, spelled out, and returns where it ends there.
pub(super) fn read_name(message: &[u8], at: usize, name: &mut Vec<u8>) -> Option<usize> {
    let begun = name.len();
    let mut end = None;
    // A pointer leads to before whatever led to it (RFC 1035 §4.1.4: a prior occurrence), so that there is no circle.
    let (mut at, mut bound) = (at, at);
    loop {
        let length = *message.get(at)?;
        match usize::from(length) {
            0 => {
                name.push(0);
                return (name.len() - begun <= NAME_MAX).then_some(end.unwrap_or(at + 1));
            }
            size @ 1..=LABEL_MAX => {
                name.extend_from_slice(message.get(at..=at + size)?);
                if name.len() - begun > NAME_MAX {
                    return None;
                }
                at += size + 1;
            }
            0xc0.. => {
                let target = usize::from(u16::from_be_bytes([length & 0x3f, *message.get(at + 1)?]));
                if target >= bound {
                    return None;
                }
                end.get_or_insert(at + 2);
                (at, bound) = (target, target);
            }
            _ => return None,
        }
    }
}

fn read_rdata(message: &[u8], start: usize, end: usize, rtype: Rtype) -> Option<Vec<u8>> {
    let Some(layout) = Layout::of(rtype) else { return Some(message.get(start..end)?.to_vec()) };
    let mut at = start + layout.fixed;
    for _ in 0..layout.strings {
        at += 1 + usize::from(*message.get(at)?);
    }
    let mut rdata = message.get(start..at).filter(|_| at <= end)?.to_vec();
    for _ in 0..layout.names {
        at = read_name(message, at, &mut rdata)?;
    }
    rdata.extend_from_slice(message.get(at..end)?);
    u16::try_from(rdata.len()).is_ok().then_some(rdata)
}

/// Where names stand in data: after so many octets and so many character-strings.
struct Layout {
    fixed: usize,
    strings: usize,
    names: usize,
    /// Whether they may be written as pointers: only the types of RFC 1035 are known to everyone (RFC 3597 §4).
    compressible: bool,
}

impl Layout {
    const fn of(rtype: Rtype) -> Option<Self> {
        let (fixed, strings, names) = match rtype.0 {
            // NS MD MF CNAME MB MG MR PTR; DNAME (RFC 6672 §2.5)
            2..=5 | 7..=9 | 12 | 39 => (0, 0, 1),
            // SOA MINFO RP
            6 | 14 | 17 => (0, 0, 2),
            // MX AFSDB RT KX
            15 | 18 | 21 | 36 => (2, 0, 1),
            // SIG
            24 => (18, 0, 1),
            // PX
            26 => (2, 0, 2),
            // NXT
            30 => (0, 0, 1),
            // SRV
            33 => (6, 0, 1),
            // NAPTR
            35 => (4, 3, 1),
            _ => return None,
        };
        Some(Self { fixed, strings, names, compressible: rtype.0 <= 15 })
    }
}

/// Records as they stand behind a question: what [`crate::wire::Relay`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) octets: Box<[u8]>,
    pub(super) ends: [usize; 3],
    pub(super) counts: [u16; 3],
    pub(super) ttls: Box<[u16]>,
}

impl Body {
    /// Writes `records` behind a question for `qname`; `None` when a message cannot hold them.
    pub(super) fn of(qname: &[u8], records: &[Record]) -> Option<Self> {
        let mut places = Places { base: HEADER_LENGTH + qname.len() + 4, ..Places::default() };
        places.note(HEADER_LENGTH, qname);
        let mut ttls = Vec::with_capacity(records.len());
        let (mut ends, mut counts) = ([0; 3], [0; 3]);
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for ((section, end), count) in sections.into_iter().zip(&mut ends).zip(&mut counts) {
            for record in records.iter().filter(|record| record.section == section) {
                ttls.push(places.put_record(record)?);
                *count += 1_u16;
            }
            *end = places.octets.len();
        }
        let fits = places.base + places.octets.len() <= usize::from(u16::MAX);
        fits.then(|| Self { octets: places.octets.into(), ends, counts, ttls: ttls.into() })
    }

    /// Octets that this takes up.
    pub(super) fn size(&self) -> usize {
        self.octets.len() + self.ttls.len() * 2
    }
}

/// Octets being written, and where names end in them.
#[derive(Default)]
struct Places {
    /// Where in the message they begin.
    base: usize,
    octets: Vec<u8>,
    known: HashMap<Vec<u8>, u16>,
}

impl Places {
    /// Notes each end of a name that stands at `at` in the message.
    fn note(&mut self, at: usize, name: &[u8]) {
        let mut rest = name;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length != 0) {
            let place = at + name.len() - rest.len();
            if let Some(place) = u16::try_from(place).ok().filter(|place| *place < POINTER_END) {
                self.known.entry(rest.to_ascii_lowercase()).or_insert(place);
            }
            rest = after.get(usize::from(*length)..).unwrap_or_default();
        }
    }

    fn put_name(&mut self, name: &[u8]) {
        let mut rest = name;
        let start = self.base + self.octets.len();
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length != 0) {
            if let Some(place) = self.known.get(&rest.to_ascii_lowercase()) {
                self.octets.extend_from_slice(&(place | POINTER).to_be_bytes());
                // What stands before the pointer is new.
                let head = name.len() - rest.len();
                self.note_head(start, name, head);
                return;
            }
            let (label, after) = after.split_at_checked(usize::from(*length)).unwrap_or((after, &[]));
            self.octets.push(*length);
            self.octets.extend_from_slice(label);
            rest = after;
        }
        self.octets.push(0);
        self.note(start, name);
    }

    /// Notes the ends of a name that begin in its first `head` octets.
    fn note_head(&mut self, at: usize, name: &[u8], head: usize) {
        let mut offset = 0;
        while let Some(rest) = name.get(offset..).filter(|_| offset < head) {
            if let Some(place) = u16::try_from(at + offset).ok().filter(|place| *place < POINTER_END) {
                self.known.entry(rest.to_ascii_lowercase()).or_insert(place);
            }
            offset += 1 + rest.first().copied().map_or(0, usize::from);
        }
    }

    /// Writes a record, and returns where its TTL stands.
    fn put_record(&mut self, record: &Record) -> Option<u16> {
        self.put_name(&record.owner);
        self.octets.extend_from_slice(&record.rtype.0.to_be_bytes());
        self.octets.extend_from_slice(&record.class.to_be_bytes());
        let ttl = u16::try_from(self.octets.len()).ok()?;
        self.octets.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = self.octets.len();
        self.octets.extend_from_slice(&[0, 0]);
        match Layout::of(record.rtype).filter(|layout| layout.compressible) {
            None => self.octets.extend_from_slice(&record.rdata),
            Some(layout) => {
                let (head, mut rest) = record.rdata.split_at_checked(layout.fixed)?;
                self.octets.extend_from_slice(head);
                for _ in 0..layout.names {
                    let (name, after) = rest.split_at_checked(name_length(rest)?)?;
                    self.put_name(name);
                    rest = after;
                }
                self.octets.extend_from_slice(rest);
            }
        }
        let length = u16::try_from(self.octets.len() - length_at - 2).ok()?;
        self.octets.get_mut(length_at..)?.first_chunk_mut::<2>()?.copy_from_slice(&length.to_be_bytes());
        Some(ttl)
    }
}

/// How many octets the uncompressed name has that `octets` begin with.
pub(super) fn name_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*octets.get(at)?) {
            0 => return Some(at + 1),
            length => at += length + 1,
        }
    }
}

/// A signature (RFC 4034).
pub(super) const RRSIG: Rtype = Rtype(46);
/// The longest TTL in seconds, a week (RFC 8767 §4).
pub(super) const TTL_MAX: u32 = 604_800;
/// What makes an offset a pointer, and how far one reaches (RFC 1035 §4.1.4).
const POINTER: u16 = 0xc000;
const POINTER_END: u16 = 0x4000;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::Name;

    pub(in crate::forward) fn wire(name: &str) -> Vec<u8> {
        name.parse::<Name>().unwrap().wire().to_vec()
    }

    pub(in crate::forward) fn record(section: Section, owner: &str, rtype: u16, ttl: u32, rdata: &[u8]) -> Record {
        Record { section, owner: wire(owner), rtype: Rtype(rtype), class: 1, ttl, rdata: rdata.to_vec() }
    }

    /// A whole response to a question for `qname`.
    pub(in crate::forward) fn message(qname: &str, qtype: u16, rcode: u16, records: &[Record]) -> Vec<u8> {
        let body = Body::of(&wire(qname), records).unwrap();
        let [answers, authorities, additionals] = body.counts;
        let flags = Flags(0x8180).with_rcode(Rcode(rcode));
        let header = Header { id: 7, flags, questions: 1, answers, authorities, additionals };
        let mut octets = header.octets().to_vec();
        octets.extend(wire(qname));
        octets.extend(qtype.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(&body.octets);
        octets
    }

    fn read(message: &[u8], qname: &str) -> Option<Reading> {
        Reading::of(message, HEADER_LENGTH + wire(qname).len() + 4)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let soa = [wire("ns.example"), wire("host.example"), vec![0; 20]].concat();
        let records = [
            record(Section::Answer, "www.example", 5, 60, &wire("a.cdn.example")),
            record(Section::Answer, "a.cdn.example", 1, 30, &[192, 0, 2, 1]),
            record(Section::Authority, "example", 6, 300, &soa),
            record(Section::Additional, "x.example", 65_280, 5, &[0xc0, 0x0c, 3]),
            record(Section::Additional, "x.example", 33, 5, &[&[0, 0, 0, 1, 0, 80][..], &wire("w.example")].concat()),
        ];
        let octets = message("www.example", 1, 0, &records);
        let reading = read(&octets, "www.example").unwrap();
        assert_eq!(reading.records, records);
        assert!(!reading.has_opt && reading.rcode == Rcode::NOERROR);
        let plain: usize = records.iter().map(|record| record.owner.len() + 10 + record.rdata.len()).sum();
        assert!(octets.len() < HEADER_LENGTH + 17 + plain - 40, "names are written once");
    }

    #[test]
    fn an_unknown_type_keeps_its_octets_and_an_old_one_has_its_pointers_followed() {
        let mut octets = message("www.example", 15, 0, &[]);
        octets[7] = 2;
        let question_end = octets.len();
        octets.extend([0xc0, 12, 0xff, 0x00, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 0x0c]);
        octets.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 9, 0, 4, 0, 10, 0xc0, 16]);
        let reading = Reading::of(&octets, question_end).unwrap();
        assert_eq!(reading.records[0].rdata, [0xc0, 0x0c]);
        assert_eq!(reading.records[1].rdata, [&[0, 10][..], &wire("example")].concat());
    }

    #[test]
    fn circles_and_pointers_forward_are_no_names() {
        for octets in [&[0xc0, 0][..], &[0xc0, 2, 0], &[1, b'a', 0xc0, 0], &[0x80, 0], &[3, b'a'], &[0xc0]] {
            assert_eq!(read_name(octets, 0, &mut Vec::new()), None, "{octets:?}");
        }
        assert_eq!(read_name(&[0, 1, b'a', 0xc0, 0, 9], 1, &mut Vec::new()), Some(5));
    }

    #[test]
    fn one_set_has_one_ttl_and_a_negative_one_is_zero() {
        let records = [
            record(Section::Answer, "www.example", 1, 60, &[192, 0, 2, 1]),
            record(Section::Answer, "WWW.example", 1, 40, &[192, 0, 2, 2]),
            record(Section::Answer, "www.example", 46, 50, &[0, 1]),
            record(Section::Additional, "x.example", 1, 0xffff_ffff, &[192, 0, 2, 3]),
            record(Section::Additional, "y.example", 1, 700_000, &[192, 0, 2, 3]),
        ];
        let mut reading = read(&message("www.example", 1, 0, &records), "www.example").unwrap();
        reading.even_out();
        let ttls: Vec<u32> = reading.records.iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [40, 40, 50, 0, TTL_MAX]);
    }

    #[test]
    fn opt_stands_once_in_additional_and_gives_its_bits_to_the_rcode() {
        let opt = [0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0];
        let mut octets = message("a.example", 1, 0, &[]);
        octets.extend(opt);
        octets[11] = 1;
        assert_eq!(read(&octets, "a.example").map(|found| (found.has_opt, found.rcode)), Some((true, Rcode(16))));
        octets.extend(opt);
        octets[11] = 2;
        assert_eq!(read(&octets, "a.example"), None);
    }

    proptest! {
        #[test]
        fn any_octets_read_or_do_not_and_what_reads_is_written(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut octets = message("www.example", 1, 0, &[]);
            let question_end = octets.len();
            octets[7] = 3;
            octets.extend(tail);
            if let Some(reading) = Reading::of(&octets, question_end)
                && let Some(body) = Body::of(&wire("www.example"), &reading.records)
            {
                prop_assert_eq!(usize::from(body.counts[0]), 3);
            }
        }
    }
}
