//! Reads a query: header, question, and what of the additional section matters.
//!
//! Two kinds of failure are kept apart. What has no readable question is [`Unreadable`], and gets a bare header or nothing. What has
//! one is a [`Query`], with a [`Fault`] if anything after the question is amiss, so that the response has its question:
//! glibc and Go wait out their timeout on a response without one.

use super::edns::{Cookie, Edns};
use super::header::{Admission, HEADER_LENGTH, Header, Rcode, admit};
use crate::name::{LABEL_MAX, NameBuffer};
use crate::record::Rtype;

/// A query with one readable question.
///
/// It is made once and read into again and again: the name's 384 octets are not cleared in between.
#[derive(Debug, Clone)]
pub struct Query {
    /// The header, as it came.
    pub header: Header,
    /// The question's name, lower-cased. The question's own octets are in the message.
    pub qname: NameBuffer,
    /// The question's type.
    pub qtype: Rtype,
    /// The question's class.
    pub qclass: Class,
    /// Where in the message the question ends; it starts behind the header.
    pub question_end: usize,
    /// What OPT says, if there is one.
    pub edns: Option<Edns>,
    /// What is amiss behind the question.
    pub fault: Option<Fault>,
    /// Whether there is more to it than the question.
    pub form: Form,
}

/// Whether there is more to a query than its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing but an OPT without options, if that: what almost every query is. No fault, no subnet, no cookie need be looked for.
    Plain,
    /// Perhaps.
    Any,
}

/// A class (RFC 1035 §3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaos: where servers are asked about themselves.
    pub const CH: Self = Self(3);
}

/// What is amiss with a query whose question can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Counts, records or options are not what they must be: FORMERR.
    Format,
    /// The EDNS version is not 0: BADVERS.
    Version,
    /// It is signed with a key that we do not have, as we have none: NOTAUTH.
    Signed,
}

/// A message without a readable question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It gets no response.
    Drop,
    /// It gets its header back with this rcode, and no question.
    Respond(Header, Rcode),
    /// It has no question and wants none: it asks for a server cookie, or whether the one that it has is good (RFC 7873 §5.4).
    Cookie(Header, Cookie),
}

impl Query {
    /// Makes a query to read into: the root's A record, asked by nobody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: Header::default(),
            qname: NameBuffer::new(),
            qtype: Rtype::A,
            qclass: Class::IN,
            question_end: HEADER_LENGTH,
            edns: None,
            fault: None,
            form: Form::Plain,
        }
    }

    /// Reads `message` over whatever was read before.
    ///
    /// Octets after the last record are ignored.
    ///
    /// # Errors
    /// When there is no question to answer; what was read before is then gone.
    #[inline]
    pub fn read(&mut self, message: &[u8]) -> Result<(), Unreadable> {
        (self.edns, self.fault, self.form) = (None, None, Form::Plain);
        let Some(header) = Header::read_plain(message) else { return self.read_any(message) };
        self.header = header;
        let Some(records) = self.read_question(message) else {
            return Err(Unreadable::Respond(self.header, Rcode::FORMERR));
        };
        if header.additionals != 0 {
            self.edns = Edns::read_plain(records);
            if self.edns.is_none() {
                self.read_behind(message);
            }
        }
        Ok(())
    }

    /// Reads a message whose header is not like almost every query's.
    #[cold]
    #[inline(never)]
    fn read_any(&mut self, message: &[u8]) -> Result<(), Unreadable> {
        self.header = match admit(message) {
            Admission::Query(header) => header,
            Admission::Respond(header, rcode) => return Err(Unreadable::Respond(header, rcode)),
            Admission::Drop => return Err(Unreadable::Drop),
        };
        if self.header.questions == 0 {
            return Err(self.read_without_question(message));
        }
        self.read_question(message).ok_or(Unreadable::Respond(self.header, Rcode::FORMERR))?;
        self.read_behind(message);
        Ok(())
    }

    /// Reads what stands behind the question.
    #[cold]
    #[inline(never)]
    fn read_behind(&mut self, message: &[u8]) {
        self.form = Form::Any;
        self.fault = self.read_records(message).err();
    }

    fn read_without_question(&mut self, message: &[u8]) -> Unreadable {
        (self.qtype, self.question_end) = (Rtype::A, HEADER_LENGTH);
        match (self.read_records(message), self.edns) {
            (Ok(()), Some(Edns { cookie: Some(cookie), .. })) => Unreadable::Cookie(self.header, cookie),
            _ => Unreadable::Respond(self.header, Rcode::FORMERR),
        }
    }

    /// Reads the question, and returns what stands behind it.
    #[inline(always)]
    fn read_question<'m>(&mut self, message: &'m [u8]) -> Option<&'m [u8]> {
        let name_end = self.qname.read(message, HEADER_LENGTH).ok()?;
        let (question, records) = message.get(name_end..)?.split_first_chunk()?;
        let [a, b, c, d] = u32::from_be_bytes(*question).to_be_bytes();
        self.qtype = Rtype(u16::from_be_bytes([a, b]));
        self.qclass = Class(u16::from_be_bytes([c, d]));
        self.question_end = name_end + 4;
        Some(records)
    }

    fn read_records(&mut self, message: &[u8]) -> Result<(), Fault> {
        let Header { answers, authorities, additionals, .. } = self.header;
        let mut rest = message.get(self.question_end..).unwrap_or_default();
        // RFC 1995 §3: the client's SOA stands in the authority section of an incremental transfer, and nowhere else.
        let authorities_max = u16::from(self.qtype == Rtype::IXFR);
        if answers != 0 || authorities > authorities_max {
            return Err(Fault::Format);
        }
        for _ in 0..authorities {
            if Record::take(&mut rest)?.rtype == Rtype::OPT {
                return Err(Fault::Format);
            }
        }
        // Each turn takes eleven octets at least or ends, so the message's length bounds the loop, not the count it claims.
        for left in (0..additionals).rev() {
            let record = Record::take(&mut rest)?;
            match record.rtype {
                // RFC 6891 §6.1.1: at most one OPT; §6.1.2: its owner is the root.
                Rtype::OPT if self.edns.is_some() || record.owner != RecordOwner::Root => return Err(Fault::Format),
                Rtype::OPT => {
                    let edns = self.edns.insert(Edns::new(record.class, record.ttl));
                    // What the options of another version look like is not known (RFC 6891 §6.1.3).
                    if edns.version != 0 {
                        return Err(Fault::Version);
                    }
                    edns.read_options(record.rdata)?;
                }
                // RFC 8945 §5.1: it is the last record, or the message is malformed.
                TSIG if left != 0 => return Err(Fault::Format),
                // RFC 8945 §5.2.1 wants NOTAUTH and a TSIG record that says BADKEY for a key that is not known. We know none,
                // and leave the record out: no client could check it.
                TSIG => return Err(Fault::Signed),
                // SIG(0) and whatever else there may be says nothing to us.
                _ => {}
            }
        }
        Ok(())
    }
}

impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

/// A transaction signature (RFC 8945).
const TSIG: Rtype = Rtype(250);

/// One record, as far as it matters in a query.
struct Record<'m> {
    owner: RecordOwner,
    rtype: Rtype,
    class: u16,
    ttl: u32,
    rdata: &'m [u8],
}

#[derive(PartialEq, Eq)]
enum RecordOwner {
    Root,
    Other,
}

impl<'m> Record<'m> {
    /// Takes the record at the head of `rest`.
    fn take(rest: &mut &'m [u8]) -> Result<Self, Fault> {
        Self::split(rest).map(|(record, after)| {
            *rest = after;
            record
        })
    }

    fn split(octets: &'m [u8]) -> Result<(Self, &'m [u8]), Fault> {
        let (owner, after) = skip_name(octets).ok_or(Fault::Format)?;
        let ([a, b, c, d, e, f, g, h, i, j], after) = after.split_first_chunk::<10>().ok_or(Fault::Format)?;
        let (rdata, after) = after.split_at_checked(usize::from(u16::from_be_bytes([*i, *j]))).ok_or(Fault::Format)?;
        let record = Self {
            owner,
            rtype: Rtype(u16::from_be_bytes([*a, *b])),
            class: u16::from_be_bytes([*c, *d]),
            ttl: u32::from_be_bytes([*e, *f, *g, *h]),
            rdata,
        };
        Ok((record, after))
    }
}

/// Skips a name that may end in a pointer, which is not followed: nothing here needs the name itself.
fn skip_name(octets: &[u8]) -> Option<(RecordOwner, &[u8])> {
    let mut owner = RecordOwner::Root;
    let mut rest = octets;
    loop {
        let (first, after) = rest.split_first()?;
        rest = match usize::from(*first) {
            0 => return Some((owner, after)),
            length @ 1..=LABEL_MAX => after.get(length..)?,
            0xc0.. => return Some((RecordOwner::Other, after.get(1..)?)),
            _ => return None,
        };
        owner = RecordOwner::Other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A query of almost every kind, with some of its octets changed.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let names = [&b"\x00"[..], b"\x03WeB\x00", b"\x04shop\x03app\x0alocalspace\x00"];
        let opts = [
            &b""[..],
            b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00",
            b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x03\x00\x00",
        ];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        let kinds = (prop::sample::select(names.to_vec()), prop::sample::select(opts.to_vec()), 0..3_u8);
        (kinds, changes, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|((name, opt, more), changes, behind)| {
            let additionals = u8::from(!opt.is_empty()) + more / 2;
            let head = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, additionals];
            let mut message = [&head[..], name, &[0, 1, 0, 1], opt, &behind].concat();
            for (place, octet) in changes {
                let place = place.index(message.len());
                message[place] = octet;
            }
            message
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

        #[test]
        fn what_is_read_in_few_steps_is_what_is_read_in_all_of_them(message in messages()) {
            let (mut short, mut long) = (Query::new(), Query::new());
            let read = short.read(&message);
            prop_assert_eq!(read, long.read_any(&message));
            prop_assert_eq!((short.header, short.qname.wire()), (long.header, long.qname.wire()));
            if read.is_ok() {
                prop_assert_eq!((short.qtype, short.qclass, short.question_end), (long.qtype, long.qclass, long.question_end));
                prop_assert_eq!((short.edns, short.fault), (long.edns, long.fault));
                if short.form == Form::Plain {
                    let bare = short.edns.map(|edns| Edns { subnet: None, keepalive: None, ..edns });
                    prop_assert_eq!((short.fault, short.edns), (None, bare));
                    prop_assert!(!short.edns.is_some_and(|edns| edns.asks_extras() || edns.version != 0));
                }
            }
        }
    }
}
