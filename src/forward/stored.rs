//! What is kept of a response: its records without those that nobody may be told, and for how long.

use super::question::Question;
use super::rebinding::{self, Kept};
use super::response::{Body, Reading, Record, name_length};
use crate::name::NameBuffer;
use crate::record::Rtype;
use crate::wire::{Rcode, Section};

/// A whole response, as it is relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub(super) rcode: Rcode,
    pub(super) body: Body,
    /// Seconds; 0 means that it answers who asked now, and nobody after.
    pub(super) lifetime: u32,
    /// Every name that may be ours to whoever asks, lower-cased, with the type that it is for: the targets of aliases that are followed,
    /// with the question's type, and owners, but that of the records that were asked for. What is ours differs by caller and time,
    /// so it is not looked up here.
    pub(super) names: Box<[(Box<[u8]>, Rtype)]>,
    /// Whether addresses were taken out.
    pub(super) blocked: Blocked,
}

/// Whether addresses were taken out of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    Some,
    None,
}

/// Whether a zone's servers may answer with addresses of the asker's own machine and link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    Allowed,
    Blocked,
}

impl Stored {
    /// Makes a response that was read ready for being kept; `None` when it is none that a question can have.
    pub(super) fn of(mut reading: Reading, question: &Question, local: Local) -> Option<Self> {
        if !matches!(reading.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
            return None;
        }
        reading.even_out();
        let mut records = reading.records;
        let lifetime = lifetime(&mut records, question, reading.rcode);
        let mut blocked = Blocked::None;
        if local == Local::Blocked {
            records.retain_mut(|record| {
                let kept = rebinding::clean(record);
                if kept != Kept::Whole {
                    blocked = Blocked::Some;
                }
                kept != Kept::Nothing
            });
        }
        let names = names(&records, question);
        let body = Body::of(question.qname(), &records)?;
        Some(Self { rcode: reading.rcode, body, lifetime, names, blocked })
    }

    /// Octets that this takes up.
    pub(super) fn size(&self) -> usize {
        let names: usize = self.names.iter().map(|(name, _)| name.len() + size_of::<(Box<[u8]>, Rtype)>()).sum();
        size_of::<Self>() + self.body.size() + names
    }
}

/// How long a response is kept, in seconds; the SOA of a negative one is given that as its TTL (RFC 2308 §5).
fn lifetime(records: &mut [Record], question: &Question, rcode: Rcode) -> u32 {
    let least = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    let is_answer = |record: &Record| record.section == Section::Answer && is_asked_for(record.rtype, question.qtype());
    if rcode == Rcode::NOERROR && records.iter().any(is_answer) {
        return least(records).unwrap_or(0);
    }
    let soa = records.iter_mut().find(|record| record.section == Section::Authority && record.rtype == Rtype::SOA);
    // CoreDNS #8232: without an SOA nobody said how long the answer holds.
    let Some(soa) = soa else { return 0 };
    let minimum = soa.rdata.last_chunk::<4>().map_or(0, |octets| u32::from_be_bytes(*octets));
    soa.ttl = soa.ttl.min(minimum).min(NEGATIVE_MAX);
    least(records).unwrap_or(0)
}

/// Whether a record of this type answers a question for `qtype`, rather than leading on.
fn is_asked_for(rtype: Rtype, qtype: Rtype) -> bool {
    rtype == qtype || qtype == Rtype::ANY
}

/// Whether an alias is followed for a question for `qtype`, rather than being the answer (RFC 1034 §4.3.2).
pub(super) fn is_led_on(qtype: Rtype) -> bool {
    !is_asked_for(CNAME, qtype)
}

fn names(records: &[Record], question: &Question) -> Box<[(Box<[u8]>, Rtype)]> {
    let mut names = Vec::new();
    for record in records {
        let owner = record.owner.to_ascii_lowercase();
        // A name that is foreign for what was asked may be ours for another type: a domain whose mail alone is in a public zone.
        if owner != question.qname() || !(is_asked_for(record.rtype, question.qtype()) || record.rtype == CNAME) {
            names.push((owner.into_boxed_slice(), record.rtype));
        }
        if record.rtype == CNAME && record.section == Section::Answer && is_led_on(question.qtype()) {
            names.push((record.rdata.to_ascii_lowercase().into(), question.qtype()));
        }
    }
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// The aliases that lead from the question's name up to the first that is `ours`, and where that leads.
pub(super) fn cut(
    records: &[Record],
    qname: &[u8],
    ours: impl Fn(&NameBuffer) -> bool,
) -> Option<(Vec<Record>, Vec<u8>)> {
    let mut kept: Vec<Record> = Vec::new();
    let mut at = qname.to_ascii_lowercase();
    let mut buffer = NameBuffer::new();
    loop {
        let is_next = |record: &&Record| {
            record.section == Section::Answer && record.rtype == CNAME && record.owner.eq_ignore_ascii_case(&at)
        };
        let alias = records.iter().find(is_next)?;
        // A circle leads nowhere, and so not to us.
        if kept.len() >= CHAIN_MAX || name_length(&alias.rdata) != Some(alias.rdata.len()) {
            return None;
        }
        kept.push(alias.clone());
        at = alias.rdata.to_ascii_lowercase();
        buffer.read(&at, 0).ok()?;
        if ours(&buffer) {
            return Some((kept, at));
        }
    }
}

const CNAME: Rtype = Rtype(5);
/// Seconds that a negative answer is kept at most: a name that comes to be is then found within five minutes.
const NEGATIVE_MAX: u32 = 300;
/// Aliases in a row that are followed: what resolvers give up at is around 16.
const CHAIN_MAX: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv6Addr;

    use super::super::response::tests::{message, record, wire};
    use super::*;

    pub(in crate::forward) fn question(qname: &str, qtype: u16) -> Question {
        Question::new(&wire(qname), Rtype(qtype), false, false, 0)
    }

    /// What is kept of a response with these records.
    pub(in crate::forward) fn stored(qname: &str, qtype: u16, rcode: u16, records: &[Record]) -> Stored {
        stored_of(qname, qtype, rcode, records, Local::Blocked)
    }

    fn stored_of(qname: &str, qtype: u16, rcode: u16, records: &[Record], local: Local) -> Stored {
        let octets = message(qname, qtype, rcode, records);
        let reading = Reading::of(&octets, 16 + wire(qname).len()).unwrap();
        Stored::of(reading, &question(qname, qtype), local).unwrap()
    }

    pub(in crate::forward) fn soa(ttl: u32, minimum: u32) -> Record {
        let rdata = [wire("ns.example"), wire("host.example"), vec![0; 16], minimum.to_be_bytes().to_vec()].concat();
        record(Section::Authority, "example", 6, ttl, &rdata)
    }

    fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
        record(Section::Answer, owner, 1, ttl, &address)
    }

    #[test]
    fn an_answer_is_kept_for_its_least_ttl() {
        let records =
            [a("a.example", 60, [192, 0, 2, 1]), record(Section::Additional, "b.example", 1, 20, &[192, 0, 2, 2])];
        assert_eq!(stored("a.example", 1, 0, &records).lifetime, 20);
        assert_eq!(stored("a.example", 1, 0, &[a("a.example", 0, [192, 0, 2, 1])]).lifetime, 0);
    }

    #[test]
    fn a_negative_answer_is_kept_by_its_soa_for_five_minutes_at_most() {
        for rcode in [0, 3] {
            assert_eq!(stored("a.example", 1, rcode, &[soa(60, 20)]).lifetime, 20);
            assert_eq!(stored("a.example", 1, rcode, &[soa(20, 60)]).lifetime, 20);
            assert_eq!(stored("a.example", 1, rcode, &[soa(86_400, 86_400)]).lifetime, 300);
            assert_eq!(stored("a.example", 1, rcode, &[]).lifetime, 0, "without an SOA it is not");
        }
        let alias = record(Section::Answer, "a.example", 5, 10, &wire("b.example"));
        assert_eq!(stored("a.example", 1, 0, &[alias, soa(60, 60)]).lifetime, 10);
    }

    #[test]
    fn addresses_of_the_askers_own_machine_and_link_are_taken_out() {
        let v6 = |address: &str| {
            record(Section::Answer, "a.example", 28, 60, &address.parse::<Ipv6Addr>().unwrap().octets())
        };
        for local in [[127, 0, 0, 1], [0, 0, 0, 0], [0, 1, 2, 3], [169, 254, 169, 254]] {
            let found = stored("a.example", 1, 0, &[a("a.example", 60, local), a("a.example", 60, [10, 0, 0, 1])]);
            assert_eq!((found.body.counts[0], found.blocked, found.lifetime), (1, Blocked::Some, 60), "{local:?}");
            let allowed = stored_of("a.example", 1, 0, &[a("a.example", 60, local)], Local::Allowed);
            assert_eq!((allowed.body.counts[0], allowed.blocked), (1, Blocked::None));
        }
        for local in ["::1", "::", "fe80::1", "::ffff:127.0.0.1"] {
            let found = stored("a.example", 28, 0, &[v6(local), v6("fd00::1")]);
            assert_eq!((found.body.counts[0], found.blocked), (1, Blocked::Some), "{local}");
        }
    }

    #[test]
    fn a_chain_is_cut_where_it_is_ours_and_nowhere_else() {
        let alias = |from: &str, to: &str| record(Section::Answer, from, 5, 60, &wire(to));
        let records =
            [a("shop.ours", 60, [192, 0, 2, 1]), alias("B.example", "shop.ours"), alias("a.example", "b.example")];
        let ours = |name: &NameBuffer| name.wire() == wire("shop.ours");
        let (kept, target) = cut(&records, &wire("A.example"), ours).unwrap();
        assert_eq!((kept.len(), target), (2, wire("shop.ours")));
        assert_eq!(kept[0].owner, wire("a.example"));
        assert_eq!(cut(&records, &wire("A.example"), |_| false), None);
        let circle = [alias("a.example", "b.example"), alias("b.example", "a.example")];
        assert_eq!(cut(&circle, &wire("a.example"), |_| false), None);
    }
}
