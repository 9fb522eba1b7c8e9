//! The form of a scenario: a page of text that says what is dropped, who asks what, and what is answered.
//!
//! ```text
//! # The sentence that the page pins.
//! # Where the sentence is from: an RFC, a section of the design.
//!
//! file shop.yaml                      consecutive changes are one batch; what a file holds is indented
//!     name: shop
//! remove old.yaml
//! touch instances/web.1.yaml          the same octets, written again
//! then                                parts two batches
//! at 30s                              time since the start; such a page is not run against a process
//! fault shop.yaml:3: words; words     a fault that stands after the batch, with these words in it. All that stand are listed
//! warning shop.yaml: words            a warning that stands; not all need be listed
//! ask web A from 10.0.0.5             options: `edns 512`, `edns none`, `version 1`, `do`, `cd`, `norec`, `tcp`, `class 3`,
//!                                     `opcode 5`, `trusted`, `subnet 10.0.0.7/32`, `option 100 beef`
//!     NOERROR aa                      rcode, and of `aa tc` those that are set; or `silence`
//!     answer web. 5 A 10.0.128.7      every record of each section, in any order
//!     soa app.localspace. 2           an SOA in authority: owner, TTL (MINIMUM is the same), and the MNAME where not localhost.
//!     ede 0 shop: 0 of ...            the code and the text; dots stand for what is left open
//!     subnet 10.0.0.7/32 32           Client Subnet as echoed, with its scope
//!     answer count 27                 only how many there are
//!     answer as before                the same set as the query before got
//! send 2a5c 0100 ... from 10.0.0.5    octets instead of a query
//!     FORMERR
//! ```
//!
//! Before the first batch the server has not read its directory. What needs no word, because it holds for every response, is
//! checked without one: see `scenarios::hold`.

use std::net::IpAddr;
use std::time::Duration;

use spacedns::name::Name;
use spacedns::record::Rtype;

use crate::message::{Edns, Query, Record, client_subnet, rcode_number};

/// A page.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What it pins.
    pub(crate) sentence: String,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens, and where on the page.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) enum Event {
    Batch(Vec<Change>),
    At(Duration),
    Fault(Complaint),
    Warning(Complaint),
    Ask(Box<Ask>),
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { path: String, content: String },
    Remove { path: String },
    Touch { path: String },
}

/// A fault or a warning that is expected.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) path: String,
    pub(crate) line: Option<u32>,
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) from: IpAddr,
    pub(crate) trusted: bool,
    pub(crate) tcp: bool,
    pub(crate) content: Content,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Query(Query),
    Octets(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) enum Expected {
    Silence,
    Response(Expectation),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Expectation {
    pub(crate) rcode: u16,
    pub(crate) aa: bool,
    pub(crate) tc: bool,
    pub(crate) answer: Vec<Record>,
    /// What replaces `answer` where the page leaves the addresses open.
    pub(crate) answer_rule: Option<AnswerRule>,
    pub(crate) authority: Vec<Record>,
    pub(crate) soas: Vec<Soa>,
    pub(crate) additional: Vec<Record>,
    pub(crate) extended_error: Option<(u16, Text)>,
    pub(crate) subnet: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) enum AnswerRule {
    Count(usize),
    AsBefore,
}

#[derive(Debug, Clone)]
pub(crate) struct Soa {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) mname: Name,
}

/// Words with parts left open.
#[derive(Debug, Clone)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        let parts: Vec<&str> = self.0.split("...").collect();
        for (index, part) in parts.iter().enumerate() {
            let found = if index == 0 { rest.starts_with(part).then_some(0) } else { rest.find(part) };
            let Some(at) = found else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.is_empty() || parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty() || text.ends_with(last))
    }
}

impl Scenario {
    /// Reads a page; panics with the line where it cannot be read, which is a fault of the page.
    pub(crate) fn read(text: &str) -> Self {
        let sentence =
            text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a page begins with its sentence");
        let mut steps: Vec<Step> = Vec::new();
        let mut lines = text.lines().zip(1..).peekable();
        let mut batch_open = false;
        while let Some((line, number)) = lines.next() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut block = Vec::new();
            while let Some((inner, _)) = lines.next_if(|(line, _)| line.is_empty() || line.starts_with("    ")) {
                block.push(inner.strip_prefix("    ").unwrap_or_default());
            }
            while block.last().is_some_and(|last| last.is_empty()) {
                block.pop();
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let change = match word {
                "file" => Some(Change::Write { path: rest.into(), content: block.join("\n") + "\n" }),
                "remove" => Some(Change::Remove { path: rest.into() }),
                "touch" => Some(Change::Touch { path: rest.into() }),
                _ => None,
            };
            if let Some(change) = change {
                match steps.last_mut() {
                    Some(Step { event: Event::Batch(changes), .. }) if batch_open => changes.push(change),
                    _ => steps.push(Step { line: number, event: Event::Batch(vec![change]) }),
                }
                batch_open = true;
                continue;
            }
            batch_open = false;
            let event = match word {
                "then" => continue,
                "at" => Event::At(Duration::from_secs(number_in(rest.trim_end_matches('s'), number))),
                "fault" => Event::Fault(Complaint::read(rest, number)),
                "warning" => Event::Warning(Complaint::read(rest, number)),
                "ask" => Event::Ask(Box::new(Ask::read(rest, &block, number))),
                "send" => Event::Ask(Box::new(Ask::read_octets(rest, &block, number))),
                _ => panic!("line {number}: no step is called {word:?}"),
            };
            steps.push(Step { line: number, event });
        }
        Self { sentence: sentence.into(), steps }
    }
}

impl Complaint {
    fn read(text: &str, number: usize) -> Self {
        let (place, words) =
            text.split_once(": ").unwrap_or_else(|| panic!("line {number}: a path, a colon and words"));
        let (path, line) = match place.split_once(':') {
            Some((path, line)) => (path, Some(number_in(line, number))),
            None => (place, None),
        };
        Self { path: path.into(), line, words: words.split("; ").map(Into::into).collect() }
    }
}

impl Ask {
    fn read(text: &str, block: &[&str], number: usize) -> Self {
        let mut words = text.split_whitespace();
        let mut next = |what: &str| words.next().unwrap_or_else(|| panic!("line {number}: {what} is missing"));
        let qname = next("the name");
        let qtype: Rtype = next("the type").parse().unwrap_or_else(|error| panic!("line {number}: {error}"));
        assert_eq!(next("`from`"), "from", "line {number}");
        let from = next("the caller").parse().unwrap_or_else(|error| panic!("line {number}: {error}"));
        let mut query = Query::new(qname, qtype.0);
        let (mut trusted, mut tcp) = (false, false);
        while let Some(option) = words.next() {
            let mut argument = || words.next().unwrap_or_else(|| panic!("line {number}: {option} wants an argument"));
            let edns = query.edns.get_or_insert(Edns { size: 1232, version: 0, dnssec_ok: false, options: Vec::new() });
            match option {
                "edns" => match argument() {
                    "none" => query.edns = None,
                    size => edns.size = number_in(size, number),
                },
                "version" => edns.version = number_in(argument(), number),
                "do" => edns.dnssec_ok = true,
                "option" => edns.options.push((number_in(argument(), number), octets_of(argument(), number))),
                "subnet" => {
                    let (address, prefix) = subnet_of(argument(), number);
                    edns.options.push((crate::message::CLIENT_SUBNET, client_subnet(address, prefix, 0)));
                }
                "cd" => query.flags |= 0x0010,
                "norec" => query.flags &= !0x0100,
                "class" => query.qclass = number_in(argument(), number),
                "opcode" => query.flags |= number_in::<u16>(argument(), number) << 11,
                "trusted" => trusted = true,
                "tcp" => tcp = true,
                _ => panic!("line {number}: no option is called {option:?}"),
            }
        }
        Self { from, trusted, tcp, content: Content::Query(query), expected: Expected::read(block, number) }
    }

    fn read_octets(text: &str, block: &[&str], number: usize) -> Self {
        let (octets, from) = text.split_once(" from ").unwrap_or_else(|| panic!("line {number}: `from` is missing"));
        let from = from.parse().unwrap_or_else(|error| panic!("line {number}: {error}"));
        let content = Content::Octets(octets_of(octets, number));
        Self { from, trusted: false, tcp: false, content, expected: Expected::read(block, number) }
    }
}

impl Expected {
    fn read(block: &[&str], number: usize) -> Self {
        let (header, rest) = block.split_first().unwrap_or_else(|| panic!("line {number}: nothing is expected"));
        if *header == "silence" {
            return Self::Silence;
        }
        let mut expectation = Expectation::default();
        let mut words = header.split_whitespace();
        let rcode = words.next().and_then(rcode_number);
        expectation.rcode = rcode.unwrap_or_else(|| panic!("line {}: {header:?} is no rcode", number + 1));
        for flag in words {
            match flag {
                "aa" => expectation.aa = true,
                "tc" => expectation.tc = true,
                _ => panic!("line {}: no flag is called {flag:?}", number + 1),
            }
        }
        for (line, number) in rest.iter().zip(number + 2..) {
            expectation.take(line, number);
        }
        Self::Response(expectation)
    }
}

impl Expectation {
    fn take(&mut self, line: &str, number: usize) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "answer" if rest == "as before" => self.answer_rule = Some(AnswerRule::AsBefore),
            "answer" if rest.starts_with("count ") => {
                self.answer_rule = Some(AnswerRule::Count(number_in(&rest["count ".len()..], number)));
            }
            "answer" => self.answer.push(record_of(rest, number)),
            "authority" => self.authority.push(record_of(rest, number)),
            "additional" => self.additional.push(record_of(rest, number)),
            "soa" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                self.soas.push(Soa {
                    owner: name_in(words[0], number),
                    ttl: number_in(words[1], number),
                    mname: name_in(words.get(2).unwrap_or(&"localhost."), number),
                });
            }
            "ede" => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, "..."));
                self.extended_error = Some((number_in(code, number), Text(text.into())));
            }
            "subnet" => {
                let (subnet, scope) =
                    rest.split_once(' ').unwrap_or_else(|| panic!("line {number}: the scope is missing"));
                let (address, prefix) = subnet_of(subnet, number);
                self.subnet = Some(client_subnet(address, prefix, number_in(scope, number)));
            }
            "" => {}
            _ => panic!("line {number}: nothing expected is called {word:?}"),
        }
    }
}

fn record_of(text: &str, number: usize) -> Record {
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    let [owner, ttl, rtype, rdata] = words[..] else { panic!("line {number}: owner, TTL, type and rdata") };
    let rtype: Rtype = rtype.parse().unwrap_or_else(|error| panic!("line {number}: {error}"));
    Record {
        owner: name_in(owner, number),
        ttl: number_in(ttl, number),
        class: 1,
        rtype: rtype.0,
        rdata: rdata.to_owned(),
    }
}

fn subnet_of(text: &str, number: usize) -> (IpAddr, u8) {
    let (address, prefix) = text.split_once('/').unwrap_or_else(|| panic!("line {number}: {text:?} is no subnet"));
    (address.parse().unwrap_or_else(|error| panic!("line {number}: {error}")), number_in(prefix, number))
}

fn octets_of(text: &str, number: usize) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|character| !character.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("line {number}: {error}"))
}

fn name_in(text: &str, number: usize) -> Name {
    text.parse().unwrap_or_else(|error| panic!("line {number}: {text:?}: {error}"))
}

fn number_in<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, number: usize) -> T {
    text.parse().unwrap_or_else(|error| panic!("line {number}: {text:?}: {error}"))
}

#[test]
fn open_text_matches_what_it_leaves_open() {
    assert!(Text("shop: 0 of 2".into()).matches("shop: 0 of 2"));
    assert!(!Text("shop: 0 of 2".into()).matches("shop: 0 of 22"));
    assert!(Text("shop: ...".into()).matches("shop: 0 of 2"));
    assert!(Text("...0 of...".into()).matches("shop: 0 of 2"));
    assert!(Text("...of 2".into()).matches("shop: 0 of 2"));
    assert!(!Text("...of 3".into()).matches("shop: 0 of 2"));
    assert!(!Text("web...".into()).matches("shop: web"));
}
