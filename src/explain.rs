//! Why a caller gets what it gets, step by step, with the file and line behind each step.
//!
//! Nothing is decided here. [`Snapshot::view`] says who the caller is, [`Snapshot::find`] what the name is to it, and
//! [`engine::respond`] what goes out; this module asks the registry where each thing that they came upon was written. A second
//! set of rules that only explains was rejected: it would be believed, and it would drift.
//!
//! It speaks to the operator, so it tells all, what is hidden from the caller included. None of it goes on the wire.
//!
//! - `caller`: the address and what it is shown.
//! - `name`: what the name is, and in which zone.
//! - `app`: the app behind it, its gate, its instances.

mod app;
mod caller;
mod name;

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::engine::{self, Ask, Recursion, Settings, Transport, Trust, Verdict};
use crate::name::{Name, NameBuffer};
use crate::record::Rtype;
use crate::registry::{Registry, Source};
use crate::zone::{Found, Node, Snapshot, View};

/// Why a caller gets what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who asks.
    pub caller: IpAddr,
    /// The name that is asked for.
    #[serde(serialize_with = "as_text")]
    pub name: Name,
    /// The type that is asked for.
    #[serde(rename = "type", serialize_with = "as_text")]
    pub qtype: Rtype,
    /// The steps, from the caller to the answer.
    pub steps: Vec<Step>,
    /// What comes of it.
    pub outcome: Outcome,
    /// The octets of the response; empty when there is none.
    #[serde(skip)]
    pub response: Box<[u8]>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is about.
    pub subject: Subject,
    /// What is so, a sentence without a capital or a full stop.
    pub words: String,
    /// Where it was written, if it was.
    #[serde(serialize_with = "as_place")]
    pub source: Option<Source>,
}

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Who asks.
    Caller,
    /// What the caller is shown.
    View,
    /// What the name is.
    Name,
    /// The app behind it.
    App,
    /// Whether there is something to answer with.
    Gate,
    /// One instance.
    Instance,
    /// What goes out.
    Answer,
}

/// What comes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Records.
    Answer,
    /// The name is there, without such records.
    NoData,
    /// There is no such name.
    NxDomain,
    /// It is not ours: an upstream is asked, where there is one.
    Foreign,
    /// Refused.
    Refused,
    /// Another error.
    Error,
    /// No response at all.
    Silence,
}

/// Explains what callers at `caller` get for `name` and `qtype`.
///
/// `snapshot` must be compiled from `registry` as it is now. The query has RD and EDNS set, goes over UDP first and over TCP when
/// that is truncated, as stubs do it. Every app is looked at once: whatever else says that it is at the caller's address is worth
/// knowing.
#[must_use]
pub fn explain(registry: &Registry, snapshot: &Snapshot, caller: IpAddr, name: &Name, qtype: Rtype) -> Explanation {
    let caller = caller.to_canonical();
    let mut inquiry = Inquiry { registry, snapshot, caller, name, qtype, steps: Vec::new() };
    let view = inquiry.explain_caller();
    if let Some(view) = view {
        inquiry.explain_name(view);
    }
    let (outcome, response) = inquiry.ask();
    inquiry.explain_answer(view, outcome, &response);
    let Inquiry { caller, steps, .. } = inquiry;
    Explanation { caller, name: name.clone(), qtype, steps, outcome, response }
}

/// What is asked, of whom, and what was found out so far.
struct Inquiry<'a> {
    registry: &'a Registry,
    snapshot: &'a Snapshot,
    caller: IpAddr,
    name: &'a Name,
    qtype: Rtype,
    steps: Vec<Step>,
}

impl Inquiry<'_> {
    fn say(&mut self, subject: Subject, words: impl Into<String>, source: Option<Source>) {
        self.steps.push(Step { subject, words: words.into(), source });
    }

    /// Has the engine answer.
    fn ask(&self) -> (Outcome, Box<[u8]>) {
        let query = query(self.name, self.qtype);
        let mut response = vec![0; usize::from(u16::MAX)];
        let settings = Settings::new();
        let mut ask = Ask {
            source: self.caller,
            trust: Trust::Nobody,
            transport: Transport::Udp,
            turn: 0,
            recursion: Recursion::Unavailable,
            settings: &settings,
            secrets: None,
            now: 0,
        };
        let mut verdict = engine::respond(self.snapshot, &ask, &query, &mut response);
        if verdict.length().is_some() && response.get(2).is_some_and(|flags| flags & TC != 0) {
            ask.transport = Transport::Tcp;
            verdict = engine::respond(self.snapshot, &ask, &query, &mut response);
        }
        let is_foreign = verdict == Verdict::Forward;
        if is_foreign {
            verdict = engine::refuse_foreign(&ask, &query, &mut response);
        }
        let Some(length) = verdict.length() else { return (Outcome::Silence, Box::default()) };
        response.truncate(length);
        let outcome = if is_foreign { Outcome::Foreign } else { outcome_of(&response) };
        (outcome, response.into())
    }

    fn explain_answer(&mut self, view: Option<View>, outcome: Outcome, response: &[u8]) {
        let words = match (outcome, view) {
            (Outcome::Answer, Some(view)) => self.answer_words(view, response),
            (Outcome::NoData, Some(view)) => self.no_data_words(view),
            (Outcome::NxDomain, Some(view)) => self.no_name_words(view),
            (Outcome::Foreign, _) => format!("{} is asked of the upstream; without one it is REFUSED", self.name),
            (Outcome::Refused, None) => "REFUSED: nothing is said to callers from there".to_owned(),
            (Outcome::Refused, Some(_)) => format!("REFUSED: {} is not answered for any name", self.qtype),
            (Outcome::Silence, _) => "no response".to_owned(),
            _ => format!("response code {}: such a question has no answer", rcode_of(response)),
        };
        self.say(Subject::Answer, words, None);
    }

    fn answer_words(&self, view: View, response: &[u8]) -> String {
        let sent = count_at(response, ANSWERS);
        let sets = self.snapshot.rrsets_at(view, self.name);
        let Some(set) = sets.iter().find(|set| set.rtype == self.qtype) else {
            // RFC 8482 §4.1: ANY gets one of the sets.
            return format!("{sent} records of one of the types that are there");
        };
        let (all, ttl) = (set.rdata.len(), set.ttl.seconds());
        let records = if all == 1 { "record" } else { "records" };
        let of = if usize::from(sent) < all { format!("{sent} of {all}") } else { all.to_string() };
        let cut =
            if usize::from(sent) < all { "; no more fit over UDP, and each caller keeps its own part" } else { "" };
        format!("{of} {} {records}, good for {ttl} s{cut}", set.rtype)
    }

    fn no_data_words(&self, view: View) -> String {
        let types: Vec<String> =
            self.snapshot.rrsets_at(view, self.name).iter().map(|set| set.rtype.to_string()).collect();
        let (hosts, why) = match self.snapshot.find(view, &NameBuffer::from(self.name)) {
            Found::Owned(owned) => match owned.node {
                Node::Host(host) => (!(host.hosts.v4().is_empty() && host.hosts.v6().is_empty()), host.why.to_string()),
                Node::Srv(set) => (!set.port.targets.is_empty(), set.component.closed.to_string()),
                _ => (true, String::new()),
            },
            Found::Foreign => (true, String::new()),
        };
        match (hosts, why.is_empty(), types.is_empty()) {
            (false, false, _) => format!("no data: {why}"),
            (_, _, false) => format!("no data: there is no {} here, only {}", self.qtype, types.join(", ")),
            _ => "no data: nothing is at the name itself".to_owned(),
        }
    }

    fn no_name_words(&self, view: View) -> String {
        match self.snapshot.find(view, &NameBuffer::from(self.name)) {
            Found::Owned(owned) => match owned.node {
                Node::Missing(missing) => format!("no such name: {missing}"),
                _ => "no such name".to_owned(),
            },
            Found::Foreign => "no such name".to_owned(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    /// Writes `subject: words (file:line:column)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.words)?;
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::View => "view",
            Self::Name => "name",
            Self::App => "app",
            Self::Gate => "gate",
            Self::Instance => "instance",
            Self::Answer => "answer",
        })
    }
}

/// A query as a stub sends it: RD, one question, EDNS.
fn query(name: &Name, qtype: Rtype) -> Vec<u8> {
    let header = [0, 0, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let [high, low] = qtype.0.to_be_bytes();
    // OPT: the root, type 41, 1232 octets, version 0, no options (RFC 6891 §6.1.2).
    let opt = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];
    [&header[..], name.wire(), &[high, low, 0, 1], &opt].concat()
}

fn outcome_of(response: &[u8]) -> Outcome {
    match (rcode_of(response), count_at(response, ANSWERS)) {
        (0, 0) => Outcome::NoData,
        (0, _) => Outcome::Answer,
        (3, _) => Outcome::NxDomain,
        (5, _) => Outcome::Refused,
        _ => Outcome::Error,
    }
}

fn rcode_of(response: &[u8]) -> u8 {
    response.get(3).map_or(0, |octet| octet & 0x0f)
}

fn count_at(response: &[u8], at: usize) -> u16 {
    response.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u16::from_be_bytes(*octets))
}

/// The TC bit, in the third octet of a header (RFC 1035 §4.1.1).
const TC: u8 = 0x02;
/// Where a header has ANCOUNT.
const ANSWERS: usize = 6;

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_place<S: Serializer>(source: &Option<Source>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written<'s> {
        file: &'s str,
        line: u32,
        column: u32,
    }
    let written = source.as_ref().map(|source| Written {
        file: &source.file,
        line: source.place.line,
        column: source.place.column,
    });
    written.serialize(serializer)
}
