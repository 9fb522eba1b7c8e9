//! Reads a response of ours back into words.
//!
//! It reads what the engine writes, so it is short: names may be compressed (RFC 1035 §4.1.4), data is of our own types, and the
//! rest is printed as RFC 3597 §5 has it.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::cli::log::Escaped;
use crate::name::{NAME_MAX, Name};
use crate::record::{Rdata, Rtype, Soa};

/// A response, in words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    /// The response code's mnemonic.
    status: String,
    id: u16,
    /// The names of the flags that are set.
    flags: Vec<Cow<'static, str>>,
    /// Name, class and type.
    question: Vec<String>,
    answer: Vec<String>,
    authority: Vec<String>,
    /// Without OPT.
    additional: Vec<String>,
    /// What OPT says.
    edns: Option<Edns>,
    /// Octets in all.
    size: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Edns {
    version: u8,
    dnssec_ok: bool,
    udp: u16,
    /// The extended errors (RFC 8914).
    errors: Vec<ExtendedError>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ExtendedError {
    code: u16,
    purpose: Cow<'static, str>,
    text: String,
}

impl Response {
    /// Reads a whole response; `None` when it is none.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader { message: octets, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let [questions, answers, authorities, additionals] = counts;
        let mut response = Self {
            status: String::new(),
            id,
            flags: FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| Cow::Borrowed(*name)).collect(),
            question: Vec::new(),
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: None,
            size: octets.len(),
        };
        for _ in 0..questions {
            let (name, qtype, _class) = (reader.name()?, Rtype(reader.u16()?), reader.u16()?);
            response.question.push(format!("{name} IN {qtype}"));
        }
        let mut rcode = flags & 0x0f;
        for _ in 0..answers {
            response.answer.push(reader.record()?.to_string());
        }
        for _ in 0..authorities {
            response.authority.push(reader.record()?.to_string());
        }
        for _ in 0..additionals {
            let record = reader.record()?;
            if record.rtype == Rtype::OPT {
                let [rcode_high, version, edns_flags, _] = record.ttl.to_be_bytes();
                rcode |= u16::from(rcode_high) << 4;
                let errors = extended_errors(record.octets);
                let dnssec_ok = edns_flags & 0x80 != 0;
                response.edns = Some(Edns { version, dnssec_ok, udp: record.class, errors });
            } else {
                response.additional.push(record.to_string());
            }
        }
        let known = RCODES.iter().find(|(code, _)| *code == rcode);
        response.status = known.map_or_else(|| format!("RCODE{rcode}"), |(_, name)| (*name).to_owned());
        Some(response)
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, id, flags, question, answer, authority, additional, edns, size } = self;
        writeln!(f, ";; status: {status}, id: {id}, size: {size}")?;
        writeln!(
            f,
            ";; flags: {}; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}",
            flags.join(" "),
            question.len(),
            answer.len(),
            authority.len(),
            additional.len() + usize::from(edns.is_some())
        )?;
        if let Some(Edns { version, dnssec_ok, udp, errors }) = edns {
            let flags = if *dnssec_ok { " do" } else { "" };
            writeln!(f, ";; EDNS: version: {version}, flags:{flags}; udp: {udp}")?;
            for ExtendedError { code, purpose, text } in errors {
                writeln!(f, ";; EDE: {code} ({purpose}): {}", Escaped(text))?;
            }
        }
        writeln!(f, "\n;; QUESTION SECTION:")?;
        for line in question {
            writeln!(f, ";{line}")?;
        }
        for (section, lines) in [("ANSWER", answer), ("AUTHORITY", authority), ("ADDITIONAL", additional)] {
            if !lines.is_empty() {
                writeln!(f, "\n;; {section} SECTION:")?;
            }
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

/// A record, and where its data is.
struct Record<'m> {
    owner: Name,
    rtype: Rtype,
    class: u16,
    ttl: u32,
    octets: &'m [u8],
    rdata: Option<Rdata>,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} IN {} ", self.owner, self.ttl, self.rtype)?;
        if let Some(rdata) = &self.rdata {
            return write!(f, "{rdata}");
        }
        write!(f, "\\# {}", self.octets.len())?;
        for octet in self.octets {
            write!(f, " {octet:02x}")?;
        }
        Ok(())
    }
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.message.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a name, compressed or not.
    fn name(&mut self) -> Option<Name> {
        let (mut wire, mut at, mut end) = (Vec::new(), self.at, None);
        loop {
            let length = *self.message.get(at)?;
            if length >= 0xc0 {
                let low = *self.message.get(at + 1)?;
                end = end.or(Some(at + 2));
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                // RFC 1035 §4.1.4: to a prior occurrence, so this ends.
                if target >= at {
                    return None;
                }
                at = target;
                continue;
            }
            let next = at + 1 + usize::from(length);
            wire.extend_from_slice(self.message.get(at..next)?);
            if wire.len() > NAME_MAX {
                return None;
            }
            at = next;
            if length == 0 {
                break;
            }
        }
        self.at = end.unwrap_or(at);
        Name::from_wire(&wire).ok()
    }

    fn record(&mut self) -> Option<Record<'m>> {
        let owner = self.name()?;
        let (rtype, class, ttl) = (Rtype(self.u16()?), self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        let octets = self.message.get(self.at..end)?;
        let rdata = self.rdata(rtype).filter(|_| self.at == end);
        self.at = end;
        Some(Record { owner, rtype, class, ttl, octets, rdata })
    }

    fn rdata(&mut self, rtype: Rtype) -> Option<Rdata> {
        Some(match rtype {
            Rtype::A => Rdata::A(Ipv4Addr::from(self.array::<4>()?)),
            Rtype::AAAA => Rdata::Aaaa(Ipv6Addr::from(self.array::<16>()?)),
            Rtype::NS => Rdata::Ns(self.name()?),
            Rtype::PTR => Rdata::Ptr(self.name()?),
            Rtype::SRV => {
                Rdata::Srv { priority: self.u16()?, weight: self.u16()?, port: self.u16()?, target: self.name()? }
            }
            Rtype::SOA => Rdata::Soa(Soa {
                mname: self.name()?,
                rname: self.name()?,
                serial: self.u32()?,
                refresh: self.u32()?,
                retry: self.u32()?,
                expire: self.u32()?,
                minimum: self.u32()?,
            }),
            _ => return None,
        })
    }
}

/// The extended errors among the options of OPT (RFC 8914 §2).
fn extended_errors(options: &[u8]) -> Vec<ExtendedError> {
    let mut reader = Reader { message: options, at: 0 };
    let mut errors = Vec::new();
    while let (Some(option), Some(length)) = (reader.u16(), reader.u16()) {
        let end = reader.at + usize::from(length);
        if option == EXTENDED_ERROR
            && let Some(code) = reader.u16()
        {
            let text = String::from_utf8_lossy(options.get(reader.at..end).unwrap_or_default()).into_owned();
            let purpose = PURPOSES.iter().find(|(known, _)| *known == code).map_or("", |(_, purpose)| purpose);
            errors.push(ExtendedError { code, purpose: purpose.into(), text });
        }
        reader.at = end;
    }
    errors
}

/// The option of an extended error (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;
/// The flags of a header, in `dig`'s order (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
const FLAGS: [(u16, &str); 7] =
    [(0x8000, "qr"), (0x0400, "aa"), (0x0200, "tc"), (0x0100, "rd"), (0x0080, "ra"), (0x0020, "ad"), (0x0010, "cd")];
/// The response codes that we give (RFC 6895 §2.3).
const RCODES: [(u16, &str); 8] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (9, "NOTAUTH"),
    (16, "BADVERS"),
];
/// The extended errors that we give (RFC 8914 §4).
const PURPOSES: [(u16, &str); 9] = [
    (0, "Other"),
    (3, "Stale Answer"),
    (14, "Not Ready"),
    (15, "Blocked"),
    (18, "Prohibited"),
    (19, "Stale NXDOMAIN Answer"),
    (20, "Not Authoritative"),
    (22, "No Reachable Authority"),
    (23, "Network Error"),
];

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::tests::shop;
    use crate::explain::explain;

    #[test]
    fn every_response_reads_as_hickory_reads_it() {
        let survey = shop();
        let snapshot = survey.snapshot();
        let caller = "10.0.1.1".parse().unwrap();
        let mut names = snapshot.names_shown(snapshot.view(caller).unwrap());
        names.extend(["gone.app.localspace", "shop.own.internal", "example.org"].map(|name| name.parse().unwrap()));
        assert!(names.len() > 20);
        for name in names {
            for qtype in [Rtype::A, Rtype::AAAA, Rtype::SRV, Rtype::PTR, Rtype::NS, Rtype::SOA, Rtype::TXT] {
                let explained = explain(&survey.registry, &snapshot, caller, &name, qtype);
                let ours = Response::read(&explained.response).unwrap();
                let theirs = Message::from_vec(&explained.response).unwrap();
                let print = |records: &[hickory_proto::rr::Record]| -> Vec<String> {
                    records.iter().map(ToString::to_string).collect()
                };
                assert_eq!(ours.answer, print(&theirs.answers));
                assert_eq!(ours.authority, print(&theirs.authorities));
                assert_eq!(ours.additional, print(&theirs.additionals));
                assert_eq!(ours.flags.contains(&"aa".into()), theirs.metadata.authoritative);
            }
        }
    }

    #[test]
    fn data_of_other_types_is_printed_in_hex() {
        let record = b"\x00\x00\x63\x00\x01\x00\x00\x00\x05\x00\x02\xab\xcd";
        let mut reader = Reader { message: record, at: 0 };
        assert_eq!(reader.record().unwrap().to_string(), ". 5 IN TYPE99 \\# 2 ab cd");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(response) = Response::read(&octets) {
                let has_escape = response.to_string().contains('\u{1b}');
                prop_assert!(!has_escape);
            }
        }
    }
}
