//! Queries as octets, and responses as two independent readers understand them.

use domain::base::iana::OptRcode;
use domain::base::name::ToName;
use domain::base::opt::UnknownOptData;
use domain::rdata::AllRecordData;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::EdnsOption;

use crate::name::{Name, NameBuffer};
use crate::record::Rtype;

/// A query of one question; the case of `qname` is kept.
pub(crate) fn query(qname: &str, qtype: u16) -> Vec<u8> {
    raw(0x2a5c, 0x0100, &wire(qname), qtype, 1)
}

/// A query with OPT, of version 0, with these options.
pub(crate) fn query_edns(qname: &str, qtype: u16, size: u16, options: &[u8]) -> Vec<u8> {
    with_opt(query(qname, qtype), size, 0, options)
}

pub(crate) fn raw(id: u16, flags: u16, qname: &[u8], qtype: u16, qclass: u16) -> Vec<u8> {
    let mut octets: Vec<u8> = [id, flags, 1, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    octets.extend(qname);
    octets.extend(qtype.to_be_bytes());
    octets.extend(qclass.to_be_bytes());
    octets
}

/// Adds OPT; `ttl` is version and flags.
pub(crate) fn with_opt(mut query: Vec<u8>, size: u16, ttl: u32, options: &[u8]) -> Vec<u8> {
    let mut rdata = size.to_be_bytes().to_vec();
    rdata.extend(ttl.to_be_bytes());
    rdata.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
    rdata.extend(options);
    query.extend([0, 0, 41]);
    query.extend(rdata);
    query[11] += 1;
    query
}

/// An EDNS option.
pub(crate) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}

/// A name on the wire, its case kept.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A response as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: u16,
    pub(crate) opcode: u8,
    pub(crate) rcode: u16,
    /// Those that are set, in the order of the header.
    pub(crate) flags: String,
    pub(crate) question: Option<(Name, u16, u16)>,
    pub(crate) answer: Vec<String>,
    pub(crate) authority: Vec<String>,
    /// Without OPT.
    pub(crate) additional: Vec<String>,
    pub(crate) edns: Option<Edns>,
}

/// The OPT of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) z: u16,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

impl Response {
    /// Reads a response with both readers, which must agree.
    pub(crate) fn read(octets: &[u8]) -> Self {
        let (hickory, domain) = (by_hickory(octets), by_domain(octets));
        assert_eq!(hickory, domain, "hickory-proto and domain read it differently");
        assert_pointers_point_back(octets);
        domain
    }

    /// The extended error: its code and text.
    pub(crate) fn reason(&self) -> Option<(u16, String)> {
        let (_, data) = self.edns.as_ref()?.options.iter().find(|(code, _)| *code == 15)?;
        Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8(data[2..].to_vec()).unwrap()))
    }

    pub(crate) fn option(&self, code: u16) -> Option<&[u8]> {
        self.edns.as_ref()?.options.iter().find(|(found, _)| *found == code).map(|(_, data)| &data[..])
    }
}

fn by_hickory(octets: &[u8]) -> Response {
    let message = hickory_proto::op::Message::from_vec(octets).unwrap();
    let name = |name: &hickory_proto::rr::Name| name_of(name.iter());
    let records = |records: &[hickory_proto::rr::Record]| {
        records
            .iter()
            .map(|record| {
                let rdata = match &record.data {
                    RData::A(address) => address.0.to_string(),
                    RData::AAAA(address) => address.0.to_string(),
                    RData::NS(ns) => name(&ns.0).to_string(),
                    RData::PTR(ptr) => name(&ptr.0).to_string(),
                    RData::SOA(soa) => {
                        let (mname, rname) = (name(&soa.mname), name(&soa.rname));
                        let [serial, minimum] = [soa.serial, soa.minimum];
                        let [refresh, retry, expire] = [soa.refresh, soa.retry, soa.expire];
                        format!("{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}")
                    }
                    RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).unwrap(),
                    RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
                    other => panic!("a record that we do not have: {other}"),
                };
                let qclass = message.queries.first().map(|query| u16::from(query.query_class()));
                assert_eq!(Some(u16::from(record.dns_class)), qclass);
                format!("{} {} {} {rdata}", name(&record.name), record.ttl, Rtype(u16::from(record.record_type())))
            })
            .collect()
    };
    let metadata = &message.metadata;
    let flags = [
        (metadata.message_type == hickory_proto::op::MessageType::Response, "qr"),
        (metadata.authoritative, "aa"),
        (metadata.truncation, "tc"),
        (metadata.recursion_desired, "rd"),
        (metadata.recursion_available, "ra"),
        (metadata.authentic_data, "ad"),
        (metadata.checking_disabled, "cd"),
    ];
    let question = message
        .queries
        .first()
        .map(|query| (name(query.name()), u16::from(query.query_type()), u16::from(query.query_class())));
    Response {
        id: metadata.id,
        opcode: u8::from(metadata.op_code),
        rcode: u16::from(metadata.response_code),
        flags: flag_text(&flags),
        question,
        answer: records(&message.answers),
        authority: records(&message.authorities),
        additional: records(&message.additionals),
        edns: message.edns.as_ref().map(|edns| Edns {
            size: edns.max_payload(),
            version: edns.version(),
            dnssec_ok: edns.flags().dnssec_ok,
            z: edns.flags().z,
            options: edns
                .options()
                .options
                .iter()
                .map(|(code, option)| {
                    let data = match option {
                        EdnsOption::Subnet(subnet) => {
                            let (family, octets) = match subnet.addr() {
                                std::net::IpAddr::V4(address) => (1, address.octets().to_vec()),
                                std::net::IpAddr::V6(address) => (2, address.octets().to_vec()),
                            };
                            let prefix = subnet.source_prefix();
                            let head = vec![0, family, prefix, subnet.scope_prefix()];
                            [head, octets[..usize::from(prefix).div_ceil(8)].to_vec()].concat()
                        }
                        EdnsOption::NSID(payload) => payload.as_ref().to_vec(),
                        EdnsOption::Unknown(_, data) => data.clone(),
                        other => panic!("an option that we do not have: {other:?}"),
                    };
                    (u16::from(*code), data)
                })
                .collect(),
        }),
    }
}

fn by_domain(octets: &[u8]) -> Response {
    let message = domain::base::Message::from_octets(octets).unwrap();
    let header = message.header();
    let (mut question, answer, authority, additional) = message.sections().unwrap();
    let sections = [answer, authority, additional].map(|section| {
        section
            .map(Result::unwrap)
            .filter(|record| record.rtype().to_int() != 41)
            .map(|record| {
                let parsed = record.to_any_record::<AllRecordData<_, _>>().unwrap();
                let rdata = match parsed.data() {
                    AllRecordData::A(a) => a.addr().to_string(),
                    AllRecordData::Aaaa(aaaa) => aaaa.addr().to_string(),
                    AllRecordData::Ns(ns) => name_of_domain(ns.nsdname()).to_string(),
                    AllRecordData::Ptr(ptr) => name_of_domain(ptr.ptrdname()).to_string(),
                    AllRecordData::Soa(soa) => {
                        let (mname, rname, serial) =
                            (name_of_domain(soa.mname()), name_of_domain(soa.rname()), soa.serial());
                        let [refresh, retry, expire, minimum] =
                            [soa.refresh(), soa.retry(), soa.expire(), soa.minimum()].map(|ttl| ttl.as_secs());
                        format!("{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}")
                    }
                    AllRecordData::Txt(txt) => String::from_utf8(txt.text::<Vec<u8>>()).unwrap(),
                    AllRecordData::Srv(srv) => {
                        format!("{} {} {} {}", srv.priority(), srv.weight(), srv.port(), name_of_domain(srv.target()))
                    }
                    other => panic!("a record that we do not have: {other}"),
                };
                let (owner, ttl) = (name_of_domain(&record.owner()), record.ttl().as_secs());
                format!("{owner} {ttl} {} {rdata}", Rtype(record.rtype().to_int()))
            })
            .collect::<Vec<_>>()
    });
    let [answer, authority, additional] = sections;
    let opt = message.opt();
    let flags = [
        (header.qr(), "qr"),
        (header.aa(), "aa"),
        (header.tc(), "tc"),
        (header.rd(), "rd"),
        (header.ra(), "ra"),
        (header.ad(), "ad"),
        (header.cd(), "cd"),
    ];
    assert!(!header.z(), "Z is 0 in every response");
    let rcode = opt.as_ref().map_or_else(|| OptRcode::from_rcode(header.rcode()), |opt| opt.rcode(header));
    Response {
        id: header.id(),
        opcode: header.opcode().to_int(),
        rcode: rcode.to_int(),
        flags: flag_text(&flags),
        question: question.next().map(|item| {
            let item = item.unwrap();
            (name_of_domain(item.qname()), item.qtype().to_int(), item.qclass().to_int())
        }),
        answer,
        authority,
        additional,
        edns: opt.map(|opt| Edns {
            size: opt.udp_payload_size(),
            version: opt.version(),
            dnssec_ok: opt.dnssec_ok(),
            z: u16::from_be_bytes([octets_of_flags(octets)[0] & 0x7f, octets_of_flags(octets)[1]]),
            options: opt
                .opt()
                .iter::<UnknownOptData<_>>()
                .map(|option| option.unwrap())
                .map(|option| (option.code().to_int(), option.as_slice().to_vec()))
                .collect(),
        }),
    }
}

/// The flags of the OPT record, found by its place: last.
fn octets_of_flags(octets: &[u8]) -> [u8; 2] {
    let message = domain::base::Message::from_octets(octets).unwrap();
    let last = message.additional().unwrap().last().unwrap().unwrap();
    assert_eq!(last.rtype().to_int(), 41, "OPT is last");
    let length = last.to_any_record::<AllRecordData<_, _>>().map(|record| match record.data() {
        AllRecordData::Opt(opt) => opt.len(),
        _ => 0,
    });
    let head = octets.len() - length.unwrap() - 4;
    [octets[head], octets[head + 1]]
}

/// Every pointer leads to where a name has begun before (RFC 1035 §4.1.4), and each owner is one.
fn assert_pointers_point_back(octets: &[u8]) {
    let counts: Vec<u16> = octets[4..12].chunks(2).map(|count| u16::from_be_bytes(count.try_into().unwrap())).collect();
    let mut at = if counts[0] == 0 { 12 } else { NameBuffer::new().read(octets, 12).unwrap() + 4 };
    for _ in 0..counts[1..].iter().sum() {
        if octets[at] & 0xc0 == 0xc0 {
            let to = usize::from(u16::from_be_bytes([octets[at] & 0x3f, octets[at + 1]]));
            assert!((12..at).contains(&to), "a pointer at {at} leads to {to}");
            at += 2;
        } else {
            while octets[at] != 0 && octets[at] & 0xc0 == 0 {
                at += usize::from(octets[at]) + 1;
            }
            at += if octets[at] == 0 { 1 } else { 2 };
        }
        at += 10 + usize::from(u16::from_be_bytes([octets[at + 8], octets[at + 9]]));
    }
    assert_eq!(at, octets.len(), "the response ends with its last record");
}

fn flag_text(flags: &[(bool, &str)]) -> String {
    flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

fn name_of_domain(name: &impl ToName) -> Name {
    name_of(name.iter_labels().map(domain::base::name::Label::as_slice).filter(|label| !label.is_empty()))
}

fn name_of<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Name {
    let mut wire: Vec<u8> = Vec::new();
    for label in labels {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label);
    }
    wire.push(0);
    Name::from_wire(&wire).unwrap()
}
