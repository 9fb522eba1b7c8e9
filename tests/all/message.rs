//! Queries as octets, and responses as two independent readers understand them.
//!
//! Queries are written by hand, because half of what is worth asking is nothing that a library would write. A response is read
//! by `hickory-proto` and by `domain`; [`Response::read`] fails unless both read it to the same thing, record for record.

use std::fmt;
use std::net::IpAddr;

use domain::base::iana::OptRcode;
use domain::base::name::ToName;
use domain::base::opt::UnknownOptData;
use domain::base::{Message as DomainMessage, ParsedRecord};
use domain::rdata::AllRecordData;
use hickory_proto::op::{Message as HickoryMessage, MessageType};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, Record as HickoryRecord};
use spacedns::name::Name;
use spacedns::record::Rtype;

/// EDNS Client Subnet (RFC 7871).
pub(crate) const CLIENT_SUBNET: u16 = 8;
/// Extended DNS Errors (RFC 8914).
pub(crate) const EXTENDED_ERROR: u16 = 15;

/// A query to be written.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// The second word of the header: opcode and flags.
    pub(crate) flags: u16,
    /// The name on the wire, its case kept.
    pub(crate) qname: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    pub(crate) edns: Option<Edns>,
}

/// The OPT record of a query or of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

impl Query {
    /// A plain query with EDNS, as a modern stub sends it.
    pub(crate) fn new(qname: &str, qtype: u16) -> Self {
        let edns = Edns { size: 1232, version: 0, dnssec_ok: false, options: Vec::new() };
        Self { id: 0x2a5c, flags: 0x0100, qname: wire_name(qname), qtype, qclass: 1, edns: Some(edns) }
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        let additional = u16::from(self.edns.is_some());
        for word in [self.id, self.flags, 1, 0, 0, additional] {
            octets.extend(word.to_be_bytes());
        }
        octets.extend(&self.qname);
        octets.extend(self.qtype.to_be_bytes());
        octets.extend(self.qclass.to_be_bytes());
        if let Some(edns) = &self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(edns.size.to_be_bytes());
            octets.extend([0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
            let options: Vec<u8> = edns
                .options
                .iter()
                .flat_map(|(code, data)| {
                    let length = u16::try_from(data.len()).unwrap();
                    [&code.to_be_bytes()[..], &length.to_be_bytes()[..], data].concat()
                })
                .collect();
            octets.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
            octets.extend(options);
        }
        octets
    }
}

/// The data of a Client Subnet option; `scope` is 0 in a query.
pub(crate) fn client_subnet(address: IpAddr, prefix: u8, scope: u8) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let mut data = vec![0, family, prefix, scope];
    data.extend(octets.iter().take(usize::from(prefix).div_ceil(8)));
    data
}

/// A name on the wire with its case kept; `\` and three digits, or a character, stand for an octet.
pub(crate) fn wire_name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut octets = text.bytes().peekable();
    let mut close = |label: &mut Vec<u8>| {
        if !label.is_empty() {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.append(label);
        }
    };
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => close(&mut label),
            b'\\' if octets.peek().is_some_and(u8::is_ascii_digit) => {
                let digits: Vec<u8> = octets.by_ref().take(3).collect();
                label.push(std::str::from_utf8(&digits).unwrap().parse().unwrap());
            }
            b'\\' => label.extend(octets.next()),
            _ => label.push(octet),
        }
    }
    close(&mut label);
    wire.push(0);
    wire
}

/// A response as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: u16,
    pub(crate) opcode: u8,
    /// With the upper octet that EDNS adds.
    pub(crate) rcode: u16,
    pub(crate) is_response: bool,
    pub(crate) aa: bool,
    pub(crate) tc: bool,
    pub(crate) rd: bool,
    pub(crate) ra: bool,
    pub(crate) ad: bool,
    pub(crate) cd: bool,
    pub(crate) question: Vec<(Name, u16, u16)>,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    /// Without OPT, which is in `edns`.
    pub(crate) additional: Vec<Record>,
    pub(crate) edns: Option<Edns>,
}

/// A record of a response.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) class: u16,
    pub(crate) rtype: u16,
    /// As in a zone file, names lower-cased and absolute.
    pub(crate) rdata: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, ttl, rtype, rdata, .. } = self;
        write!(f, "{owner} {ttl} {} {rdata}", Rtype(*rtype))
    }
}

impl Response {
    /// Reads a response twice, and takes it only when both readers say the same.
    ///
    /// # Errors
    /// What either says is wrong with it, or how the two differ.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, String> {
        let hickory = read_by_hickory(octets)?;
        let domain = read_by_domain(octets)?;
        if hickory == domain {
            Ok(domain)
        } else {
            Err(format!("hickory-proto and domain read it differently:\n{hickory:#?}\n{domain:#?}"))
        }
    }

    /// The extended error that the response carries: its code and text.
    pub(crate) fn extended_error(&self) -> Option<(u16, String)> {
        let (_, data) = self.edns.as_ref()?.options.iter().find(|(code, _)| *code == EXTENDED_ERROR)?;
        let (code, text) = data.split_at(2);
        Some((u16::from_be_bytes([code[0], code[1]]), String::from_utf8_lossy(text).into_owned()))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", rcode_name(self.rcode))?;
        for (set, name) in [(self.aa, " aa"), (self.tc, " tc"), (self.ra, " ra"), (self.ad, " ad")] {
            if set {
                f.write_str(name)?;
            }
        }
        writeln!(f)?;
        let sections = [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)];
        for (section, records) in sections {
            for record in records {
                writeln!(f, "{section} {record}")?;
            }
        }
        if let Some((code, text)) = self.extended_error() {
            writeln!(f, "ede {code} {text}")?;
        }
        Ok(())
    }
}

/// The rcodes that are named in expectations.
const RCODES: [(&str, u16); 8] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

pub(crate) fn rcode_name(rcode: u16) -> String {
    RCODES
        .iter()
        .find(|(_, number)| *number == rcode)
        .map_or_else(|| format!("RCODE{rcode}"), |(name, _)| (*name).into())
}

pub(crate) fn rcode_number(name: &str) -> Option<u16> {
    RCODES.iter().find(|(text, _)| *text == name).map(|(_, number)| *number)
}

fn read_by_hickory(octets: &[u8]) -> Result<Response, String> {
    let message = HickoryMessage::from_vec(octets).map_err(|error| format!("hickory-proto cannot read it: {error}"))?;
    let name = |name: &hickory_proto::rr::Name| name_of(name.iter());
    let records = |records: &[HickoryRecord]| records.iter().map(|record| record_of_hickory(record, name)).collect();
    let edns = message.edns.as_ref();
    let options = edns.map(|edns| {
        edns.options()
            .options
            .iter()
            .map(|(code, option)| {
                let data = match option {
                    EdnsOption::Subnet(subnet) => {
                        client_subnet(subnet.addr(), subnet.source_prefix(), subnet.scope_prefix())
                    }
                    EdnsOption::NSID(payload) => payload.as_ref().to_vec(),
                    EdnsOption::Unknown(_, data) => data.clone(),
                    other => panic!("an option that no response of ours should carry: {other:?}"),
                };
                (u16::from(*code), data)
            })
            .collect()
    });
    Ok(Response {
        id: message.metadata.id,
        opcode: u8::from(message.metadata.op_code),
        rcode: u16::from(message.metadata.response_code),
        is_response: message.metadata.message_type == MessageType::Response,
        aa: message.metadata.authoritative,
        tc: message.metadata.truncation,
        rd: message.metadata.recursion_desired,
        ra: message.metadata.recursion_available,
        ad: message.metadata.authentic_data,
        cd: message.metadata.checking_disabled,
        question: message
            .queries
            .iter()
            .map(|query| (name(query.name()), u16::from(query.query_type()), u16::from(query.query_class())))
            .collect(),
        answer: records(&message.answers),
        authority: records(&message.authorities),
        additional: records(&message.additionals),
        edns: edns.map(|edns| Edns {
            size: edns.max_payload(),
            version: edns.version(),
            dnssec_ok: edns.flags().dnssec_ok,
            options: options.unwrap_or_default(),
        }),
    })
}

fn record_of_hickory(record: &HickoryRecord, name: impl Fn(&hickory_proto::rr::Name) -> Name) -> Record {
    let rdata = match &record.data {
        RData::A(address) => address.0.to_string(),
        RData::AAAA(address) => address.0.to_string(),
        RData::NS(ns) => name(&ns.0).to_string(),
        RData::PTR(ptr) => name(&ptr.0).to_string(),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name(&soa.mname),
            name(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        other => other.to_string(),
    };
    Record {
        owner: name(&record.name),
        ttl: record.ttl,
        class: u16::from(record.dns_class),
        rtype: u16::from(record.record_type()),
        rdata,
    }
}

fn read_by_domain(octets: &[u8]) -> Result<Response, String> {
    let failed = |error: &dyn fmt::Display| format!("domain cannot read it: {error}");
    let message = DomainMessage::from_octets(octets).map_err(|error| failed(&error))?;
    let header = message.header();
    let (question, answer, authority, additional) = message.sections().map_err(|error| failed(&error))?;
    let mut questions = Vec::new();
    for item in question {
        let item = item.map_err(|error| failed(&error))?;
        questions.push((name_of_domain(item.qname()), item.qtype().to_int(), item.qclass().to_int()));
    }
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    for (records, section) in sections.iter_mut().zip([answer, authority, additional]) {
        for record in section {
            let record = record.map_err(|error| failed(&error))?;
            if Rtype(record.rtype().to_int()) != Rtype::OPT {
                records.push(record_of_domain(&record).map_err(|error| failed(&error))?);
            }
        }
    }
    let [answer, authority, additional] = sections;
    let opt = message.opt();
    let mut options = Vec::new();
    if let Some(opt) = &opt {
        for option in opt.opt().iter::<UnknownOptData<_>>() {
            let option = option.map_err(|error| failed(&error))?;
            options.push((option.code().to_int(), option.as_slice().to_vec()));
        }
    }
    Ok(Response {
        id: header.id(),
        opcode: header.opcode().to_int(),
        rcode: opt.as_ref().map_or_else(|| OptRcode::from_rcode(header.rcode()), |opt| opt.rcode(header)).to_int(),
        is_response: header.qr(),
        aa: header.aa(),
        tc: header.tc(),
        rd: header.rd(),
        ra: header.ra(),
        ad: header.ad(),
        cd: header.cd(),
        question: questions,
        answer,
        authority,
        additional,
        edns: opt.map(|opt| Edns {
            size: opt.udp_payload_size(),
            version: opt.version(),
            dnssec_ok: opt.dnssec_ok(),
            options,
        }),
    })
}

fn record_of_domain(record: &ParsedRecord<'_, &[u8]>) -> Result<Record, domain::base::wire::ParseError> {
    let parsed = record.to_any_record::<AllRecordData<_, _>>()?;
    let rdata = match parsed.data() {
        AllRecordData::A(a) => a.addr().to_string(),
        AllRecordData::Aaaa(aaaa) => aaaa.addr().to_string(),
        AllRecordData::Ns(ns) => name_of_domain(ns.nsdname()).to_string(),
        AllRecordData::Ptr(ptr) => name_of_domain(ptr.ptrdname()).to_string(),
        AllRecordData::Soa(soa) => format!(
            "{} {} {} {} {} {} {}",
            name_of_domain(soa.mname()),
            name_of_domain(soa.rname()),
            soa.serial(),
            soa.refresh().as_secs(),
            soa.retry().as_secs(),
            soa.expire().as_secs(),
            soa.minimum().as_secs()
        ),
        AllRecordData::Srv(srv) => {
            format!("{} {} {} {}", srv.priority(), srv.weight(), srv.port(), name_of_domain(srv.target()))
        }
        other => other.to_string(),
    };
    Ok(Record {
        owner: name_of_domain(&record.owner()),
        ttl: record.ttl().as_secs(),
        class: record.class().to_int(),
        rtype: record.rtype().to_int(),
        rdata,
    })
}

fn name_of_domain(name: &impl ToName) -> Name {
    name_of(name.iter_labels().map(domain::base::name::Label::as_slice).filter(|label| !label.is_empty()))
}

fn name_of<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Name {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label);
    }
    wire.push(0);
    Name::from_wire(&wire).unwrap()
}

#[test]
fn a_name_in_a_query_keeps_its_case_and_its_escapes() {
    assert_eq!(wire_name("WeB.shop"), b"\x03WeB\x04shop\x00");
    assert_eq!(wire_name("a\\.b\\000."), b"\x04a.b\x00\x00");
    assert_eq!(wire_name("."), b"\x00");
}

#[test]
fn both_readers_read_a_response_to_the_same_thing() {
    let mut octets = Query::new("WEB.example", 1).octets();
    octets[2] |= 0x84;
    octets[7] = 1;
    let opt = octets.len() - 11;
    let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4][..], &[10, 0, 0, 1][..]].concat();
    octets.splice(opt..opt, record);
    let response = Response::read(&octets).unwrap();
    assert!(response.aa && response.is_response);
    assert_eq!(response.answer[0].to_string(), "web.example. 5 A 10.0.0.1");
    assert_eq!(response.edns.unwrap().size, 1232);
}
