//! Writes a response: the one place that knows size, compression, counts, truncation, and that OPT comes last.
//!
//! The header and the question are the query's own octets, copied in one go, so the question keeps its case; the header is written over
//! at the end, when the counts are known. Room for OPT is set aside first. Every owner name is a pointer, into the question or
//! to a name written before: a table of names for compression would cost more than the octets it saves, as our
//! answers repeat the question's name and little else.

use std::ops::Range;

use super::edns::OptResponse;
use super::header::{Flags, HEADER_LENGTH, Header, Opcode, Rcode};
use super::query::{Class, Query};
use crate::name::NameBuffer;
use crate::record::{Rtype, Ttl};

/// A response being written.
#[derive(Debug)]
pub struct Writer<'r> {
    response: &'r mut [u8],
    question_end: usize,
    /// Where the next octet goes.
    at: usize,
    /// Where records end, so that OPT has its room.
    records_end: usize,
    /// Where the response ends.
    end: usize,
    answers: u16,
    authorities: u16,
    additionals: u16,
    /// TC, once set.
    truncation: Flags,
}

/// There is no room: whoever writes decides what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Records of another server's response, as they stand behind a question as long as the query's: pointers in them count on that.
#[derive(Debug, Clone, Copy)]
pub struct Relay<'a> {
    /// The records, in the order of their sections.
    pub octets: &'a [u8],
    /// Where each section ends in `octets`.
    pub ends: [usize; 3],
    /// How many records each section has.
    pub counts: [u16; 3],
    /// Where the TTLs stand in `octets`.
    pub ttls: &'a [u16],
    /// What becomes of them.
    pub age: Age,
}

/// What becomes of the TTLs of records that were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// They count down by so many seconds. What was not 0 does not become so.
    Counting(u32),
    /// They have run out, and all say this.
    Stale(Ttl),
}

impl Age {
    /// What becomes of this TTL.
    #[must_use]
    pub fn of(self, ttl: u32) -> u32 {
        match self {
            Self::Counting(_) if ttl == 0 => 0,
            Self::Counting(seconds) => ttl.saturating_sub(seconds).max(1),
            Self::Stale(ttl) => ttl.seconds(),
        }
    }
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// The zone it is in.
    Authority,
    /// What will be asked for next.
    Additional,
}

/// A record's owner, by where its name stands in the response already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The question's name.
    Question,
    /// The question's name from this octet on.
    Suffix(usize),
}

/// A name that was written in an answer, and now owns additional records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Where it stands, or where the labels of it stand that are not in `rest`.
    pub own: Range<usize>,
    /// Where what it shares with others stands within the reach of a pointer. One that shares nothing, and is out of that reach itself,
    /// has no additional records.
    pub rest: usize,
}

impl<'r> Writer<'r> {
    /// Begins with the header and question of `message`, and sets room for `opt` aside.
    ///
    /// # Errors
    /// When not even that fits into `limit` octets or into `response`.
    pub fn new(
        response: &'r mut [u8],
        limit: usize,
        message: &[u8],
        query: &Query,
        opt: Option<&OptResponse<'_>>,
    ) -> Result<Self, Full> {
        let question_end = query.question_end;
        let end = limit.min(response.len());
        let records_end = end.checked_sub(opt.map_or(0, OptResponse::length_min)).ok_or(Full)?;
        let head = message.get(..question_end).filter(|_| question_end <= records_end).ok_or(Full)?;
        response.get_mut(..question_end).ok_or(Full)?.copy_from_slice(head);
        Ok(Self {
            response,
            question_end,
            at: question_end,
            records_end,
            end,
            answers: 0,
            authorities: 0,
            additionals: 0,
            truncation: Flags(0),
        })
    }

    /// How many address records of `octets` octets of data fit.
    #[must_use]
    pub const fn room_for(&self, octets: usize) -> usize {
        self.records_end.saturating_sub(self.at) / (RECORD_HEAD + octets)
    }

    /// How many SRV records fit whose targets have `octets` octets.
    #[must_use]
    pub const fn room_for_services(&self, octets: usize) -> usize {
        self.room_for(SRV_HEAD + octets)
    }

    /// Writes answers owned by the question's name, as many of `addresses` as fit.
    ///
    /// This is the path of almost every response: all that comes before the address is laid out once, and each record is two straight
    /// copies (of 12 and 4 octets for A) into a chunk whose length the compiler knows.
    pub fn addresses<const N: usize>(&mut self, rtype: Rtype, ttl: Ttl, addresses: impl Iterator<Item = [u8; N]>) {
        let template = record_head(HEADER_LENGTH, rtype, ttl, N);
        let room = self.response.get_mut(self.at..self.records_end).unwrap_or_default();
        let mut count = 0;
        for (record, address) in room.chunks_exact_mut(RECORD_HEAD + N).zip(addresses) {
            if let Some((head, rdata)) = record.split_first_chunk_mut::<RECORD_HEAD>() {
                *head = template;
                rdata.copy_from_slice(&address);
            }
            count += 1;
        }
        self.at += usize::from(count) * (RECORD_HEAD + N);
        self.answers += count;
    }

    /// Writes one record, whole or not at all, and returns where its data stands.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn record(
        &mut self,
        section: Section,
        owner: Owner,
        rtype: Rtype,
        ttl: Ttl,
        rdata: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<Range<usize>, Full> {
        let start = self.at;
        let written = self.record_from_here(owner, rtype, ttl, rdata);
        match (&written, section) {
            (Err(Full), _) => self.at = start,
            (Ok(_), Section::Answer) => self.answers += 1,
            (Ok(_), Section::Authority) => self.authorities += 1,
            (Ok(_), Section::Additional) => self.additionals += 1,
        }
        written
    }

    fn record_from_here(
        &mut self,
        owner: Owner,
        rtype: Rtype,
        ttl: Ttl,
        rdata: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<Range<usize>, Full> {
        let head = record_head(HEADER_LENGTH, rtype, ttl, 0);
        if owner == Owner::Question {
            self.put(&head)?;
        } else {
            self.owner(owner)?;
            self.put(head.split_at(2).1)?;
        }
        let start = self.at;
        rdata(self)?;
        let [.., length_high, length_low] = (self.at - start).to_be_bytes();
        if let Some(length) = self.response.get_mut(start - 2..start) {
            length.copy_from_slice(&[length_high, length_low]);
        }
        Ok(start..self.at)
    }

    /// Where the data stands of the record that begins at `at`, which [`record`](Self::record) wrote with the question's name as its
    /// owner; empty when there is none.
    #[must_use]
    pub fn rdata_after(&self, at: usize) -> Range<usize> {
        let start = at + RECORD_HEAD;
        match self.response.get(start - 2..start) {
            Some([high, low]) if start <= self.at => start..start + usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0..0,
        }
    }

    fn owner(&mut self, owner: Owner) -> Result<(), Full> {
        match owner {
            Owner::Question => self.put(&pointer_to(HEADER_LENGTH)),
            Owner::Suffix(offset) => {
                let at = HEADER_LENGTH + offset;
                // The root is shorter than a pointer to it.
                if self.response.get(at) == Some(&0) { self.put(&[0]) } else { self.put(&pointer_to(at)) }
            }
        }
    }

    /// Where the next octet goes.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Writes plain octets.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        let room = self.response.get_mut(self.at..self.records_end).ok_or(Full)?;
        room.get_mut(..octets.len()).ok_or(Full)?.copy_from_slice(octets);
        self.at += octets.len();
        Ok(())
    }

    /// Writes an SRV record that the question's name owns, of priority 0 and weight 1. Its target is not compressed (RFC 2782).
    ///
    /// # Errors
    /// When it does not fit.
    pub fn service(&mut self, ttl: Ttl, port: u16, target: &[u8]) -> Result<(), Full> {
        let room = self.response.get_mut(self.at..self.records_end).ok_or(Full)?;
        let (head, rest) = room.split_first_chunk_mut::<RECORD_HEAD>().ok_or(Full)?;
        let (numbers, rest) = rest.split_first_chunk_mut::<SRV_HEAD>().ok_or(Full)?;
        rest.get_mut(..target.len()).ok_or(Full)?.copy_from_slice(target);
        let [port_high, port_low] = port.to_be_bytes();
        *numbers = [0, 0, 0, 1, port_high, port_low];
        *head = record_head(HEADER_LENGTH, Rtype::SRV, ttl, SRV_HEAD + target.len());
        self.at += RECORD_HEAD + SRV_HEAD + target.len();
        self.answers += 1;
        Ok(())
    }

    /// Where the first label stands of the target of the SRV record that [`service`](Self::service) wrote at `at`; nowhere when there
    /// is none.
    #[must_use]
    pub fn target_label(&self, at: usize) -> Range<usize> {
        let start = at + RECORD_HEAD + SRV_HEAD;
        match self.response.get(start) {
            Some(length) if start < self.at => start..start + 1 + usize::from(*length),
            _ => 0..0,
        }
    }

    /// Writes an address of `name` as an additional record. An SRV set has one for each of its records, so this is laid out like
    /// [`addresses`](Self::addresses).
    ///
    /// # Errors
    /// When it does not fit.
    pub fn additional_address<const N: usize>(
        &mut self,
        name: &Earlier,
        rtype: Rtype,
        ttl: Ttl,
        address: [u8; N],
    ) -> Result<(), Full> {
        let start = self.at;
        // RFC 1035 §4.1.4: a pointer has fourteen bits, and a stream's response may be longer. What a name out of its reach shares with
        // others stands within.
        let to = match name.own.start {
            near @ ..POINTER_END => near,
            _ => {
                self.put_again(name.own.clone())?;
                name.rest
            }
        };
        let written = self.put_address(record_head(to, rtype, ttl, N), address);
        match written {
            Ok(()) if to < POINTER_END => self.additionals += 1,
            Ok(()) | Err(Full) => self.at = start,
        }
        written
    }

    fn put_address<const N: usize>(&mut self, head: [u8; RECORD_HEAD], address: [u8; N]) -> Result<(), Full> {
        let room = self.response.get_mut(self.at..self.records_end).ok_or(Full)?;
        put_address(room, head, address).ok_or(Full)?;
        self.at += RECORD_HEAD + N;
        Ok(())
    }

    /// Writes octets that were written before once more.
    fn put_again(&mut self, octets: Range<usize>) -> Result<(), Full> {
        let end = self.at + octets.len();
        if end > self.records_end || octets.end > self.at {
            return Err(Full);
        }
        self.response.copy_within(octets, self.at);
        self.at = end;
        Ok(())
    }

    /// Writes a label with its length octet.
    fn put_label(&mut self, label: &[u8]) -> Result<(), Full> {
        // A label has 63 octets at most.
        self.put(&label.len().to_le_bytes()[..1])?;
        self.put(label)
    }

    /// Writes a name, its end as a pointer where the question's name ends the same way. Only for types whose data may be compressed
    /// (RFC 3597 §4).
    ///
    /// # Errors
    /// When it does not fit.
    pub fn put_compressed(&mut self, wire: &[u8], qname: &NameBuffer) -> Result<(), Full> {
        // Most names here end in another top-level domain than the question's. An end by octets is enough to look closer.
        if !wire.ends_with(qname.suffix(qname.label_count().saturating_sub(1))) {
            return self.put(wire);
        }
        let mut rest = wire;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length != 0) {
            if let Some(offset) = suffix_of(qname, rest) {
                return self.put(&pointer_to(HEADER_LENGTH + offset));
            }
            let (label, after) = after.split_at_checked(usize::from(*length)).ok_or(Full)?;
            self.put_label(label)?;
            rest = after;
        }
        self.put(&[0])
    }

    /// Writes another server's records: all of them, or all but the additional ones, which nobody misses (RFC 2181 §9).
    ///
    /// # Errors
    /// When not even those fit.
    pub fn relay(&mut self, relay: &Relay<'_>) -> Result<(), Full> {
        let [answers, authorities, additionals] = relay.counts;
        let start = self.at;
        let [_, authority_end, whole] = relay.ends;
        let mut put = |end| self.put(relay.octets.get(..end).unwrap_or_default()).map(|()| end);
        let additionals = match put(whole) {
            Ok(_) => additionals,
            Err(Full) => {
                put(authority_end)?;
                0
            }
        };
        for place in relay.ttls {
            let place = start + usize::from(*place);
            // The last are those of records that were left out.
            let end = self.at;
            if let Some(ttl) = self.response.get_mut(..end).and_then(|all| all.get_mut(place..)?.first_chunk_mut::<4>())
            {
                *ttl = relay.age.of(u32::from_be_bytes(*ttl)).to_be_bytes();
            }
        }
        (self.answers, self.authorities, self.additionals) = (answers, authorities, additionals);
        Ok(())
    }

    /// Takes everything but the question back and sets TC: an answer cut short is an answer that someone would use
    /// (RFC 2181 §9).
    pub const fn truncate(&mut self) {
        self.at = self.question_end;
        (self.answers, self.authorities, self.additionals) = (0, 0, 0);
        self.truncation = Flags::TC;
    }

    /// Writes OPT and the header, and returns the length of the response. `opt` is the one that [`new`](Self::new) made room for.
    #[must_use]
    pub fn finish(self, flags: Flags, rcode: Rcode, opt: Option<&OptResponse<'_>>) -> usize {
        let Self { response, at, end, answers, authorities, mut additionals, truncation, .. } = self;
        let mut length = at;
        if let Some(opt) = opt {
            length += opt.write(rcode, at, response.get_mut(at..end).unwrap_or_default());
            additionals += 1;
        }
        if let Some(head) = response.first_chunk_mut::<HEADER_LENGTH>() {
            let id = u16::from_be_bytes([head[0], head[1]]);
            let flags = flags.with(truncation).with_rcode(rcode);
            *head = Header { id, flags, questions: 1, answers, authorities, additionals }.octets();
        }
        length
    }

    /// Writes a response that has a header and OPT if given, and nothing else, for a query without a readable question.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn bare(
        response: &'r mut [u8],
        header: Header,
        rcode: Rcode,
        opt: Option<&OptResponse<'_>>,
    ) -> Result<usize, Full> {
        let (place, room) = response.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Full)?;
        let mut flags = header.flags.response().with_rcode(rcode);
        if header.flags.opcode() != Opcode::QUERY {
            // What CD means is for standard queries alone (RFC 4035 §3.2.2).
            flags = flags.only(Flags(!Flags::CD.0));
        }
        let additionals = u16::from(opt.is_some());
        *place = Header { id: header.id, flags, additionals, ..Header::default() }.octets();
        match opt {
            None => Ok(HEADER_LENGTH),
            Some(opt) if opt.length_min() > room.len() => Err(Full),
            Some(opt) => Ok(HEADER_LENGTH + opt.write(rcode, HEADER_LENGTH, room)),
        }
    }

    /// Writes the answer to a question of class CH, which is text and is not to be kept.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn chaos_text(&mut self, text: &[u8]) -> Result<(), Full> {
        let [.., data_high, data_low] = (text.len() + 1).to_be_bytes();
        let ([to_high, to_low], [class_high, class_low]) = (pointer_to(HEADER_LENGTH), Class::CH.0.to_be_bytes());
        let [type_high, type_low] = Rtype::TXT.0.to_be_bytes();
        self.put(&[to_high, to_low, type_high, type_low, class_high, class_low, 0, 0, 0, 0, data_high, data_low])?;
        // RFC 1035 §3.3.14: one character-string, which has the form of a label, if of up to 255 octets.
        self.put_label(text)?;
        self.answers += 1;
        Ok(())
    }
}

/// Writes an address record to the head of `room`, and returns the rest of it.
#[inline(always)]
pub(super) fn put_address<const N: usize>(
    room: &mut [u8],
    head: [u8; RECORD_HEAD],
    address: [u8; N],
) -> Option<&mut [u8]> {
    let (place, rest) = room.split_first_chunk_mut::<RECORD_HEAD>()?;
    let (rdata, rest) = rest.split_first_chunk_mut::<N>()?;
    (*place, *rdata) = (head, address);
    Some(rest)
}

/// The octet of `qname` at which it ends as `wire` does, if it does.
fn suffix_of(qname: &NameBuffer, wire: &[u8]) -> Option<usize> {
    let offset = qname.wire().len().checked_sub(wire.len())?;
    // A suffix by octets is one by labels only where a label starts.
    let is_label = (0..qname.label_count()).any(|index| qname.offset(index) == offset);
    (is_label && qname.wire().get(offset..)? == wire).then_some(offset)
}

/// What comes before a record's data: a pointer to the owner at `owner`, the type, class IN, the TTL and the length.
pub(super) const fn record_head(owner: usize, rtype: Rtype, ttl: Ttl, length: usize) -> [u8; RECORD_HEAD] {
    let [to_high, to_low] = pointer_to(owner);
    let [type_high, type_low] = rtype.0.to_be_bytes();
    let [a, b, c, d] = ttl.seconds().to_be_bytes();
    let [.., length_high, length_low] = length.to_be_bytes();
    [to_high, to_low, type_high, type_low, 0, 1, a, b, c, d, length_high, length_low]
}

/// A compression pointer (RFC 1035 §4.1.4).
const fn pointer_to(at: usize) -> [u8; 2] {
    let [low, high, ..] = at.to_le_bytes();
    [0xc0 | high, low]
}

/// Octets of a record before its data, when its owner is a pointer.
pub(super) const RECORD_HEAD: usize = 12;
/// Octets of SRV data before the target: priority, weight, port.
pub(super) const SRV_HEAD: usize = 6;
/// The first offset that a pointer cannot hold.
pub(super) const POINTER_END: usize = 0x4000;
