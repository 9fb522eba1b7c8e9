//! The DNS and EDNS compliance list as a table: run it over any transport with [`run`].
//!
//! The names and the queries are those of ISC's `genreport`: its ten EDNS tests, twenty-one of header, opcode, flags and options,
//! two that are whole clients' habits, and sixty-five types. What is expected is RFC 8906 §8's and PROTOCOL's. Each response is read by
//! both readers. RFC 8906's own list stands below, a test for each of its sections.

use std::net::IpAddr;

use spacedns::engine::{Secrets, Settings, Text, Transport, Trust};

use crate::message::{Query, Response, rcode_name};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file};
use crate::scenario::Change;
use crate::world::World;

/// The zone that is asked about: the discovery domain of any space that names no other.
const ZONE: &str = "app.localspace";

/// Asks everything through `ask`, which gives the response to a query, or nothing where none came; panics with all that is wrong.
///
/// The server must own `app.localspace` for whoever asks, believe nobody's Client Subnet, and have no upstream.
pub(crate) fn run(ask: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) {
    let mut wrong = Vec::new();
    for test in tests() {
        let octets = test.octets();
        let outcome =
            ask(&octets).ok_or_else(|| "no response".to_owned()).and_then(|response| test.hold(&octets, &response));
        if let Err(fault) = outcome {
            wrong.push(format!("{}: {fault}", test.name));
        }
    }
    assert!(wrong.is_empty(), "{} of the list do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

/// A query and what comes of it.
#[derive(Debug, Clone, Copy)]
struct Test {
    name: &'static str,
    /// The second word of the header.
    flags: u16,
    /// Without a type there is no question either.
    qtype: Option<u16>,
    edns: Option<Opt>,
    expected: Expected,
}

/// The OPT of a query.
#[derive(Debug, Clone, Copy)]
struct Opt {
    size: u16,
    version: u8,
    flags: u16,
    options: &'static [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// One record of the type asked for.
    Answer,
    /// None, and the zone's SOA.
    NoData,
    /// A header, and nothing of what is not understood.
    NotImplemented,
    /// OPT of version 0, and nothing else.
    BadVersion,
}

const SOA: Option<u16> = Some(6);
const DNSKEY: Option<u16> = Some(48);
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const Z: u16 = 0x0040;
const AD: u16 = 0x0020;
const CD: u16 = 0x0010;
const OPCODE_15: u16 = 0x7800;
const DO: u16 = 0x8000;
const UNKNOWN: &[u8] = &[0, 100, 0, 0];
const NSID: &[u8] = &[0, 3, 0, 0];
const EXPIRE: &[u8] = &[0, 9, 0, 0];
const SUBNET: &[u8] = &[0, 8, 0, 4, 0, 1, 0, 0];
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const LIST: &[u8] = &[0, 3, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0, 9, 0, 0, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

const fn plain(name: &'static str, flags: u16, qtype: Option<u16>, expected: Expected) -> Test {
    Test { name, flags, qtype, edns: None, expected }
}

const fn edns(name: &'static str, opt: Opt) -> Test {
    let expected = if opt.version == 0 { Expected::Answer } else { Expected::BadVersion };
    Test { name, flags: 0, qtype: SOA, edns: Some(opt), expected }
}

const fn opt(version: u8, flags: u16, options: &'static [u8]) -> Opt {
    Opt { size: 4096, version, flags, options }
}

const SMALL: Opt = Opt { size: 512, version: 0, flags: DO, options: &[] };

/// `genreport`'s tests but those of types. `tcp` and `ednstcp` ask over TCP there; here every one is asked over every transport.
const LISTED: [Test; 33] = [
    plain("dns", 0, SOA, Expected::Answer),
    plain("aa", AA, SOA, Expected::Answer),
    plain("ad", AD, SOA, Expected::Answer),
    plain("cd", CD, SOA, Expected::Answer),
    plain("ra", RA, SOA, Expected::Answer),
    plain("rd", RD, SOA, Expected::Answer),
    plain("tc", TC, SOA, Expected::Answer),
    plain("zflag", Z, SOA, Expected::Answer),
    plain("opcode", OPCODE_15, None, Expected::NotImplemented),
    plain("opcodeflg", OPCODE_15 | AA | TC | RD | RA | Z | AD | CD, None, Expected::NotImplemented),
    plain("type666", 0, Some(666), Expected::NoData),
    plain("tcp", 0, SOA, Expected::Answer),
    edns("edns", opt(0, 0, &[])),
    edns("edns1", opt(1, 0, &[])),
    Test { qtype: DNSKEY, expected: Expected::NoData, ..edns("edns@512", SMALL) },
    edns("ednsopt", opt(0, 0, UNKNOWN)),
    edns("edns1opt", opt(1, 0, UNKNOWN)),
    edns("do", opt(0, DO, &[])),
    Test { flags: CD, ..edns("docd", opt(0, DO, &[])) },
    edns("edns1do", opt(1, DO, &[])),
    edns("ednsflags", opt(0, 0x0080, &[])),
    edns("optlist", opt(0, 0, LIST)),
    edns("ednsnsid", opt(0, 0, NSID)),
    edns("ednscookie", opt(0, 0, COOKIE)),
    edns("ednsexpire", opt(0, 0, EXPIRE)),
    edns("ednssubnet", opt(0, 0, SUBNET)),
    edns("edns1nsid", opt(1, 0, NSID)),
    edns("edns1cookie", opt(1, 0, COOKIE)),
    edns("edns1expire", opt(1, 0, EXPIRE)),
    edns("edns1subnet", opt(1, 0, SUBNET)),
    Test { qtype: DNSKEY, expected: Expected::NoData, ..edns("ednstcp", SMALL) },
    edns("bind11", opt(0, DO, COOKIE)),
    Test { flags: RD | AD, ..edns("dig11", opt(0, 0, COOKIE)) },
];

/// The types of `genreport`'s list.
const TYPES: [(&str, u16); 65] = [
    ("A", 1),
    ("NS", 2),
    ("MD", 3),
    ("MF", 4),
    ("CNAME", 5),
    ("SOA", 6),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("NULL", 10),
    ("WKS", 11),
    ("PTR", 12),
    ("HINFO", 13),
    ("MINFO", 14),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP", 22),
    ("NSAP-PTR", 23),
    ("SIG", 24),
    ("KEY", 25),
    ("PX", 26),
    ("GPOS", 27),
    ("AAAA", 28),
    ("LOC", 29),
    ("NXT", 30),
    ("SRV", 33),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("A6", 38),
    ("DNAME", 39),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("SPF", 99),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("URI", 256),
    ("CAA", 257),
    ("AVC", 258),
    ("DOA", 259),
    ("DLV", 32769),
    ("TYPE1000", 1000),
];

fn tests() -> impl Iterator<Item = Test> {
    let types = TYPES.iter().map(|(name, qtype)| {
        let expected = if matches!(name, &"SOA" | &"NS") { Expected::Answer } else { Expected::NoData };
        plain(name, 0, Some(*qtype), expected)
    });
    LISTED.into_iter().chain(types)
}

impl Test {
    fn octets(&self) -> Vec<u8> {
        let query = Query { flags: self.flags, edns: None, ..Query::new(ZONE, self.qtype.unwrap_or(0)) };
        let mut octets = query.octets();
        if self.qtype.is_none() {
            octets.truncate(12);
            octets[5] = 0;
        }
        if let Some(Opt { size, version, flags, options }) = self.edns {
            octets[11] = 1;
            octets.extend([0, 0, 41]);
            octets.extend(size.to_be_bytes());
            octets.extend([0, version]);
            octets.extend(flags.to_be_bytes());
            octets.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
            octets.extend(options);
        }
        octets
    }

    fn hold(&self, query: &[u8], octets: &[u8]) -> Result<(), String> {
        let response = Response::read(octets)?;
        let check = |holds: bool, fault: &str| if holds { Ok(()) } else { Err(format!("{fault}; it was\n{response}")) };
        check(response.is_response && query[..2] == octets[..2], "QR is not set, or the ID is another")?;
        check(u16::from(response.opcode) == (self.flags & OPCODE_15) >> 11, "the opcode is another")?;
        check(octets[3] & 0x60 == 0 && !response.tc && !response.ra, "Z, AD, TC or RA is set")?;
        check(response.rd == (self.flags & RD != 0), "RD is not copied")?;
        let understood = self.expected != Expected::NotImplemented;
        check(
            response.cd == (self.flags & CD != 0 && understood),
            "CD is not copied, or copied from no standard query",
        )?;
        let (rcode, answers, authorities) = match self.expected {
            Expected::Answer => (0, 1, 0),
            Expected::NoData => (0, 0, 1),
            Expected::NotImplemented => (4, 0, 0),
            Expected::BadVersion => (16, 0, 0),
        };
        check(response.rcode == rcode, &format!("{} was expected", rcode_name(rcode)))?;
        check(response.answer.len() == answers, "the answer section is another")?;
        check(response.answer.iter().all(|record| Some(record.rtype) == self.qtype), "the answer is of another type")?;
        check(response.authority.len() == authorities, "the authority section is another")?;
        check(response.authority.iter().all(|record| record.rtype == 6), "something but SOA is in authority")?;
        check(response.aa == matches!(self.expected, Expected::Answer | Expected::NoData), "AA is not as it must be")?;
        check(response.question.len() == usize::from(self.qtype.is_some()), "the question is not as it was")?;
        match (&self.edns, &response.edns) {
            (None, None) => Ok(()),
            (None, Some(_)) | (Some(_), None) => check(false, "OPT comes back to those who sent one"),
            (Some(asked), Some(edns)) => {
                check(edns.version == 0 && edns.size == 1232, "OPT has another version or size")?;
                check(edns.dnssec_ok == (asked.flags & DO != 0), "DO is not copied")?;
                check(opt_flags(octets) & 0x7fff == 0, "an unknown EDNS flag is set")?;
                let asked_for = |option: &[u8]| asked.options.windows(option.len()).any(|window| window == option);
                for (code, data) in &edns.options {
                    let holds = match code {
                        3 => asked_for(NSID) && !data.is_empty(),
                        10 => asked_for(COOKIE) && data.len() == 24 && data[..8] == COOKIE[4..],
                        _ => false,
                    };
                    check(holds && asked.version == 0, &format!("option {code} has nothing to do here"))?;
                }
                check(octets.len() <= usize::from(asked.size), "the response is longer than was offered")
            }
        }
    }
}

/// The flags of the OPT that a response ends with. Its options have no octets like its head.
fn opt_flags(octets: &[u8]) -> u16 {
    let head = octets.windows(5).rposition(|window| window == [0, 0, 41, 0x04, 0xd0]).unwrap();
    u16::from_be_bytes([octets[head + 7], octets[head + 8]])
}

const CALLER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 1));

/// A space with an app of eighty instances, too many for 1232 octets.
fn world() -> World {
    let write = |path: &str, content: String| Change::Write { path: path.into(), content };
    let instances: String =
        (1..=80).map(|n| format!("  - {{component: web, number: {n}, address: 10.0.1.{n}}}\n")).collect();
    let mut world = World::new();
    world.apply(&[
        write("space.yaml", "space: acme\ncidr: 10.0.0.0/16\n".into()),
        write("shop.yaml", format!("app: shop\ninstances:\n{instances}")),
    ]);
    world
}

#[test]
fn the_list_holds_for_the_engine_over_every_transport() {
    let mut world = world();
    for talks in [false, true] {
        if talks {
            world.secrets = Some(Secrets { current: [1; 16], previous: None });
            let text = |octets: &[u8]| Some(Text::new(octets).unwrap());
            world.settings = Settings {
                node_id: text(b"node"),
                version: text(b"v"),
                identity: text(b"i"),
                keepalive: Some(100),
                ..Settings::new()
            };
        }
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic] {
            run(&mut |query| world.respond(CALLER, Trust::Nobody, transport, query));
        }
    }
}

#[test]
fn the_list_holds_for_the_server_over_udp_and_tcp() {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", "space: acme\ncidr: 10.0.0.0/16\n");
    let server = Server::start(|port| {
        let mut command = std::process::Command::new(SPACEDNS);
        command.arg("serve").arg(directory.path()).args(["--listen", &format!("127.0.0.1:{port}")]);
        command
    });
    run(&mut |query| server.ask(query, PATIENCE));
    run(&mut |query| server.ask_stream(query, PATIENCE));
}

#[test]
fn a_list_that_does_not_hold_says_so() {
    let refused = std::panic::catch_unwind(|| {
        run(&mut |query| Some([&query[..2], &[0x80, 5], &query[4..6], &[0; 6], &query[12..]].concat()));
    });
    assert!(refused.is_err());
    assert!(std::panic::catch_unwind(|| run(&mut |_| None)).is_err());
    assert_eq!(tests().count(), 98);
}

/// Holds one of RFC 8906's tests for the engine, over UDP and over TCP.
fn holds(test: Test) {
    let world = world();
    for transport in [Transport::Udp, Transport::Tcp] {
        let octets = test.octets();
        let response = world.respond(CALLER, Trust::Nobody, transport, &octets).unwrap();
        test.hold(&octets, &response).unwrap_or_else(|fault| panic!("{}: {fault}", test.name));
    }
}

#[test]
fn rfc_8906_8_1_1_the_server_is_configured_for_the_zone() {
    holds(plain("8.1.1", 0, SOA, Expected::Answer));
}

#[test]
fn rfc_8906_8_1_2_unknown_types_are_nodata() {
    holds(plain("8.1.2", 0, Some(1000), Expected::NoData));
}

#[test]
fn rfc_8906_8_1_3_1_cd_set() {
    holds(plain("8.1.3.1", CD, SOA, Expected::Answer));
}

#[test]
fn rfc_8906_8_1_3_2_ad_set() {
    holds(plain("8.1.3.2", AD, SOA, Expected::Answer));
}

#[test]
fn rfc_8906_8_1_3_3_the_reserved_bit_set() {
    holds(plain("8.1.3.3", Z, SOA, Expected::Answer));
}

#[test]
fn rfc_8906_8_1_3_4_rd_set() {
    holds(plain("8.1.3.4", RD, SOA, Expected::Answer));
}

#[test]
fn rfc_8906_8_1_4_unknown_opcodes_are_not_implemented() {
    holds(plain("8.1.4", OPCODE_15, None, Expected::NotImplemented));
    // With a question, which is not read, and does not come back.
    let octets = plain("", OPCODE_15, SOA, Expected::NotImplemented).octets();
    let response = world().respond(CALLER, Trust::Nobody, Transport::Udp, &octets).unwrap();
    assert_eq!(response, [octets[0], octets[1], 0xf8, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rfc_8906_8_1_5_the_same_over_tcp() {
    let world = world();
    let test = plain("8.1.5", 0, SOA, Expected::Answer);
    let octets = test.octets();
    let by = |transport| world.respond(CALLER, Trust::Nobody, transport, &octets).unwrap();
    assert_eq!(by(Transport::Udp), by(Transport::Tcp));
    test.hold(&octets, &by(Transport::Tcp)).unwrap();
}

#[test]
fn rfc_8906_8_2_1_minimal_edns() {
    holds(edns("8.2.1", opt(0, 0, &[])));
}

#[test]
fn rfc_8906_8_2_2_version_negotiation() {
    holds(edns("8.2.2", opt(1, 0, &[])));
}

#[test]
fn rfc_8906_8_2_3_unknown_options_are_ignored() {
    holds(edns("8.2.3", opt(0, 0, UNKNOWN)));
}

#[test]
fn rfc_8906_8_2_4_unknown_flags_are_cleared() {
    holds(edns("8.2.4", opt(0, 0x0040, &[])));
}

#[test]
fn rfc_8906_8_2_5_version_negotiation_with_unknown_flags() {
    holds(edns("8.2.5", opt(1, 0x0040, &[])));
}

#[test]
fn rfc_8906_8_2_6_version_negotiation_with_unknown_options() {
    holds(edns("8.2.6", opt(1, 0, UNKNOWN)));
}

#[test]
fn rfc_8906_8_2_7_truncated_responses_have_opt() {
    holds(Test { qtype: DNSKEY, expected: Expected::NoData, ..edns("8.2.7", SMALL) });
    let mut query = Query::new("web.shop.app.localspace", 1);
    query.edns.as_mut().unwrap().size = 512;
    let respond = |transport| {
        let octets = world().respond(CALLER, Trust::Nobody, transport, &query.octets()).unwrap();
        (octets.len(), Response::read(&octets).unwrap())
    };
    let (length, cut) = respond(Transport::Udp);
    assert!(cut.tc && cut.edns.is_some() && cut.answer.is_empty() && length <= 512);
    let (_, whole) = respond(Transport::Tcp);
    assert_eq!((whole.tc, whole.answer.len()), (false, 80));
}

#[test]
fn rfc_8906_8_2_8_do_set() {
    holds(edns("8.2.8", opt(0, DO, &[])));
}

#[test]
fn rfc_8906_8_2_9_version_negotiation_with_do_set() {
    holds(edns("8.2.9", opt(1, DO, &[])));
}

#[test]
fn rfc_8906_8_2_10_several_defined_options() {
    holds(edns("8.2.10", opt(0, 0, LIST)));
}
