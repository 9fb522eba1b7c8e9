//! Runs every page of `scenarios/` against the engine, and holds each response to the page.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use spacedns::engine::{Transport, Trust};
use spacedns::record::Rtype;

use crate::message::{CLIENT_SUBNET, Query, Record, Response};
use crate::scenario::{AnswerRule, Ask, Complaint, Content, Event, Expectation, Expected, Scenario, Soa};
use crate::world::{Found, World};

/// Every page by its file's name.
pub(crate) fn pages() -> Vec<(String, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/scenarios");
    let mut pages: Vec<(String, Scenario)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let page =
                std::panic::catch_unwind(|| Scenario::read(&text)).unwrap_or_else(|_| panic!("{name}: see above"));
            (name, page)
        })
        .collect();
    pages.sort_by(|one, other| one.0.cmp(&other.0));
    pages
}

#[test]
fn the_engine_answers_as_every_page_says() {
    let pages = pages();
    assert!(pages.len() >= 60, "only {} pages were found", pages.len());
    let mut report = String::new();
    let mut failed = 0;
    for (name, page) in &pages {
        let faults = run(page);
        if !faults.is_empty() {
            failed += 1;
            writeln!(report, "\n{name}: {}", page.sentence).unwrap();
            for fault in faults {
                writeln!(report, "  {}", fault.replace('\n', "\n  ")).unwrap();
            }
        }
    }
    assert!(failed == 0, "{failed} of {} pages do not hold:\n{report}", pages.len());
}

/// Runs a page; gives what does not hold, each with its line.
fn run(page: &Scenario) -> Vec<String> {
    let mut world = World::new();
    let mut wrong = Vec::new();
    let mut before = Vec::new();
    let mut listed: Vec<&Complaint> = Vec::new();
    for step in &page.steps {
        let line = step.line;
        match &step.event {
            Event::Batch(changes) => {
                wrong.extend(unlisted(&world, &listed).map(|fault| format!("before line {line}: {fault}")));
                listed.clear();
                world.apply(changes);
            }
            Event::At(elapsed) => world.advance(*elapsed),
            Event::Fault(complaint) => {
                wrong.extend(missing(complaint, &world.faults()).map(|fault| format!("line {line}: {fault}")));
                listed.push(complaint);
            }
            Event::Warning(complaint) => {
                wrong.extend(missing(complaint, &world.warnings()).map(|fault| format!("line {line}: {fault}")));
            }
            Event::Ask(ask) => {
                let octets = query_octets(ask);
                let trust = if ask.trusted { Trust::Forwarder } else { Trust::Nobody };
                let transport = if ask.tcp { Transport::Tcp } else { Transport::Udp };
                let response = world.respond(ask.from, trust, transport, &octets);
                if let Err(fault) = hold(ask, &octets, response.as_deref(), Echo::Compared, &mut before) {
                    wrong.push(format!("line {line}: {fault}"));
                }
            }
        }
    }
    wrong.extend(unlisted(&world, &listed).map(|fault| format!("at the end: {fault}")));
    wrong
}

pub(crate) fn query_octets(ask: &Ask) -> Vec<u8> {
    match &ask.content {
        Content::Query(query) => query.octets(),
        Content::Octets(octets) => octets.clone(),
    }
}

/// Whether the Client Subnet of a response is held to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// It is.
    Compared,
    /// It is the test's own.
    Passed,
}

/// Holds a response to what the page expects and to what holds for every response. `before` is the answer set of the query
/// before, and becomes that of this one.
pub(crate) fn hold(
    ask: &Ask,
    query: &[u8],
    response: Option<&[u8]>,
    echo: Echo,
    before: &mut Vec<Record>,
) -> Result<(), String> {
    let (expectation, octets) = match (&ask.expected, response) {
        (Expected::Silence, None) => return Ok(()),
        (Expected::Silence, Some(octets)) => return Err(format!("not silent, but {} octets", octets.len())),
        (Expected::Response(_), None) => return Err("silence".into()),
        (Expected::Response(expectation), Some(octets)) => (expectation, octets),
    };
    let response = Response::read(octets)?;
    let sorted = sorted(&response.answer);
    let outcome =
        compare(expectation, &response, echo, before).and_then(|()| hold_always(ask, query, octets, &response));
    *before = sorted;
    outcome.map_err(|fault| format!("{fault}; the response was\n{response}"))
}

/// What the page says.
fn compare(expected: &Expectation, response: &Response, echo: Echo, before: &[Record]) -> Result<(), String> {
    let header = (expected.rcode, expected.aa, expected.tc);
    check(header == (response.rcode, response.aa, response.tc), "the rcode or flags differ")?;
    match expected.answer_rule {
        Some(AnswerRule::Count(count)) => check(response.answer.len() == count, "the count of answers differs")?,
        Some(AnswerRule::AsBefore) => {
            check(sorted(&response.answer) == before, "the answers differ from those before")?
        }
        None => check(sorted(&response.answer) == sorted(&expected.answer), "the answer section differs")?,
    }
    check(sorted(&response.additional) == sorted(&expected.additional), "the additional section differs")?;
    let (soas, others): (Vec<_>, Vec<_>) =
        response.authority.iter().cloned().partition(|record| record.rtype == Rtype::SOA.0);
    check(sorted(&others) == sorted(&expected.authority), "the authority section differs")?;
    check(
        soas.len() == expected.soas.len()
            && soas.iter().zip(&expected.soas).all(|(soa, expected)| is_soa(soa, expected)),
        "the SOA in authority differs",
    )?;
    match (&expected.extended_error, response.extended_error()) {
        (None, None) => {}
        (Some((code, text)), Some((found, words))) if *code == found && text.matches(&words) => {}
        _ => return Err("the extended error differs".into()),
    }
    let edns = response.edns.as_ref();
    let subnet = edns.and_then(|edns| edns.options.iter().find(|(code, _)| *code == CLIENT_SUBNET));
    let same = subnet.map(|(_, data)| data) == expected.subnet.as_ref();
    check(same || echo == Echo::Passed, "the client subnet differs")
}

/// Whether an SOA is as the design writes it (§4.1): its TTL and its MINIMUM are both the negative TTL.
fn is_soa(soa: &Record, expected: &Soa) -> bool {
    let words: Vec<&str> = soa.rdata.split(' ').collect();
    let [mname, rname, _serial, rest @ ..] = &words[..] else { return false };
    soa.owner == expected.owner
        && soa.ttl == expected.ttl
        && *mname == expected.mname.to_string()
        && *rname == "nobody.invalid."
        && *rest == ["3600", "600", "86400", &expected.ttl.to_string()]
}

/// What holds for every response, whatever the page: RFC 1035 §4.1.1, RFC 6891 §6 and §7, RFC 8906 §8.
fn hold_always(ask: &Ask, query: &[u8], octets: &[u8], response: &Response) -> Result<(), String> {
    check(response.is_response, "QR is not set")?;
    check(query[..2] == octets[..2], "the ID differs")?;
    check((query[2] ^ octets[2]) & 0x78 == 0, "the opcode differs")?;
    check(octets[3] & 0x40 == 0, "the reserved bit is set")?;
    check(!response.ra && !response.ad, "RA or AD is set")?;
    let records = response.answer.iter().chain(&response.authority).chain(&response.additional);
    check(records.clone().all(|record| record.class == 1), "a record is not of class IN")?;
    let Content::Query(query) = &ask.content else { return Ok(()) };
    check(response.rd == (query.flags & 0x0100 != 0), "RD is not copied")?;
    check(octets.len() <= limit(ask, query), "the response is longer than the client or the transport takes")?;
    // A query that was not understood, or is none, may come back as a bare header (RFC 1035 §4.1.1, RFC 2136 §3.8).
    let lax = matches!(response.rcode, 1 | 4) || response.opcode != 0;
    let question = [&query.qname[..], &query.qtype.to_be_bytes(), &query.qclass.to_be_bytes()].concat();
    let echoed = octets.get(12..12 + question.len()) == Some(&question[..]) && response.question.len() == 1;
    check(echoed || lax && response.question.is_empty(), "the question is not echoed octet for octet")?;
    check(response.cd == (query.flags & 0x0010 != 0) || lax, "CD is not copied")?;
    match (&query.edns, &response.edns) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err("there is an OPT where the query had none".into()),
        (Some(_), None) => check(lax, "there is no OPT where the query had one"),
        (Some(asked), Some(edns)) => {
            check(edns.size == 1232 && edns.version == 0, "the OPT says another size or version")?;
            check(edns.dnssec_ok == asked.dnssec_ok, "DO is not copied")?;
            check(edns.options.iter().all(|(code, _)| matches!(code, 8 | 15)), "an option is echoed")
        }
    }
}

/// The most octets that a response may have (design §6).
fn limit(ask: &Ask, query: &Query) -> usize {
    match &query.edns {
        _ if ask.tcp => 65_535,
        None => 512,
        Some(edns) => usize::from(edns.size.clamp(512, 1232)),
    }
}

/// In order, and with every serial as a page writes it: `*`.
fn sorted(records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    for soa in records.iter_mut().filter(|record| record.rtype == Rtype::SOA.0) {
        let mut words: Vec<&str> = soa.rdata.split(' ').collect();
        words[2] = "*";
        soa.rdata = words.join(" ");
    }
    records.sort();
    records
}

fn check(holds: bool, fault: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault.into()) }
}

fn missing(complaint: &Complaint, standing: &[Found]) -> Option<String> {
    if standing.iter().any(|found| complaint.is_of(found)) {
        return None;
    }
    let standing: Vec<String> = standing.iter().map(ToString::to_string).collect();
    Some(format!("it does not stand; these do: {standing:#?}"))
}

fn unlisted(world: &World, listed: &[&Complaint]) -> impl Iterator<Item = String> {
    world
        .faults()
        .into_iter()
        .filter(|found| !listed.iter().any(|complaint| complaint.is_of(found)))
        .map(|found| format!("a fault that the page does not list: {found}"))
        .collect::<Vec<_>>()
        .into_iter()
}

impl Complaint {
    fn is_of(&self, found: &Found) -> bool {
        let text = found.to_string();
        self.path == found.path
            && self.line.is_none_or(|line| line == found.fault.place.line)
            && self.words.iter().all(|word| text.contains(word))
    }
}

#[test]
fn a_page_that_does_not_hold_is_reported() {
    let page = Scenario::read("# It fails.\n\nask web A from 10.0.0.1\n    NOERROR aa\n    answer web. 5 A 10.0.0.2\n");
    assert_eq!(run(&page).len(), 1);
    let source: IpAddr = [10, 0, 0, 1].into();
    let Event::Ask(ask) = &page.steps[0].event else { panic!("the page asks") };
    assert_eq!(ask.from, source);
}
