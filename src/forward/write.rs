//! Makes the response to a foreign query of what became of its question.

use super::cache::Failure;
use super::rebinding::{Kept, clean};
use super::response::{Body, Reading, Record};
use super::stored::{Blocked, Stored, cut, is_led_on};
use super::{Foreign, Outcome};
use crate::engine::{self, Ask, Relayed, Transport, Verdict, is_there, owns, relay};
use crate::name::NameBuffer;
use crate::observe::Limit;
use crate::record::{Rtype, Ttl};
use crate::wire::{Age, Class, Explanation, Flags, HEADER_LENGTH, Header, InfoCode, Query, Rcode, Relay};

/// Writes the response to `query`, which was read from the message of `foreign`.
pub(super) fn write(foreign: &Foreign<'_>, query: &Query, outcome: &Outcome, response: &mut [u8]) -> Verdict {
    let (stored, age, stale) = match outcome {
        Outcome::Fresh(stored, age) => (stored, Age::Counting(*age), None),
        Outcome::Stale(stored) => {
            let code = if rcode_of(foreign, query, stored) == Rcode::NXDOMAIN {
                InfoCode::STALE_NXDOMAIN
            } else {
                InfoCode::STALE
            };
            (stored, Age::Stale(STALE_TTL), Some(Explanation { code, text: &"no upstream answers: this has run out" }))
        }
        Outcome::Failed(why) => return fail(foreign, query, *why, response),
    };
    let explain_by = |blocked| stale.or_else(|| (blocked == Blocked::Some).then_some(BLOCKED));
    if is_untouched(foreign, query, stored) {
        let records = Some(relay_of(&stored.body, age));
        let rcode = rcode_of(foreign, query, stored);
        let relayed = Relayed { rcode, records, explanation: explain_by(stored.blocked) };
        return relay(foreign.ask, foreign.message, query, &relayed, response);
    }
    let Some(Woven { rcode, body, blocked }) = with_ours(foreign, query, stored, age) else {
        return fail(foreign, query, Failure::Broken, response);
    };
    let records = Some(relay_of(&body, Age::Counting(0)));
    let relayed = Relayed { rcode, records, explanation: explain_by(blocked) };
    relay(foreign.ask, foreign.message, query, &relayed, response)
}

fn fail(foreign: &Foreign<'_>, query: &Query, why: Failure, response: &mut [u8]) -> Verdict {
    let relayed = Relayed { rcode: Rcode::SERVFAIL, records: None, explanation: Some(explain(why)) };
    relay(foreign.ask, foreign.message, query, &relayed, response)
}

/// How a response ends. Another may have nothing at a name that is ours for other types; that there is no such name is not for them to say,
/// and caches would have it hold for every type (RFC 2308 §5).
fn rcode_of(foreign: &Foreign<'_>, query: &Query, stored: &Stored) -> Rcode {
    let is_denied = stored.rcode == Rcode::NXDOMAIN;
    if is_denied && is_there(foreign.snapshot, foreign.ask, query) { Rcode::NOERROR } else { stored.rcode }
}

/// A response with our word in it.
struct Woven {
    rcode: Rcode,
    body: Body,
    blocked: Blocked,
}

fn relay_of(body: &Body, age: Age) -> Relay<'_> {
    Relay { octets: &body.octets, ends: body.ends, counts: body.counts, ttls: &body.ttls, age }
}

/// Whether nothing in a response is about a name that is ours to whoever asks.
fn is_untouched(foreign: &Foreign<'_>, query: &Query, stored: &Stored) -> bool {
    let mut name = NameBuffer::new();
    let mut is_ours = |(wire, rtype): &(Box<[u8]>, Rtype)| {
        name.read(wire, 0).is_ok() && owns(foreign.snapshot, foreign.ask, query, &name, *rtype)
    };
    !stored.names.iter().any(&mut is_ours)
}

/// The response with our word in the place of another's about what is ours.
fn with_ours(foreign: &Foreign<'_>, query: &Query, stored: &Stored, age: Age) -> Option<Woven> {
    let qname = query.qname.wire();
    let mut records = records_of(qname, query, stored)?;
    for record in &mut records {
        record.ttl = age.of(record.ttl);
    }
    let ours = |name: &NameBuffer, rtype| owns(foreign.snapshot, foreign.ask, query, name, rtype);
    let led = is_led_on(query.qtype).then(|| cut(&records, qname, |name| ours(name, query.qtype))).flatten();
    let Some((mut chain, target)) = led else {
        let mut owner = NameBuffer::new();
        records.retain(|record| owner.read(&record.owner, 0).is_err() || !ours(&owner, record.rtype));
        let (rcode, body) = (rcode_of(foreign, query, stored), Body::of(qname, &records)?);
        return Some(Woven { rcode, body, blocked: stored.blocked });
    };
    let (rcode, mut answer) = ask_ourselves(foreign, query, &target, &chain)?;
    // `localhost` is ours to answer, but not for a foreign name to lead to.
    let said = answer.len();
    answer.retain_mut(|record| clean(record) != Kept::Nothing);
    let blocked = if answer.len() < said { Blocked::Some } else { stored.blocked };
    chain.extend(answer);
    Some(Woven { rcode, body: Body::of(qname, &chain)?, blocked })
}

fn records_of(qname: &[u8], query: &Query, stored: &Stored) -> Option<Vec<Record>> {
    let mut message = question(Header::default(), qname, query.qtype);
    let [answers, authorities, additionals] = stored.body.counts;
    let header = Header { questions: 1, answers, authorities, additionals, ..Header::default() };
    message.first_chunk_mut::<HEADER_LENGTH>()?.copy_from_slice(&header.octets());
    let question_end = message.len();
    message.extend_from_slice(&stored.body.octets);
    Some(Reading::of(&message, question_end)?.records)
}

/// What we say to whoever asks about a name of ours.
fn ask_ourselves(
    foreign: &Foreign<'_>,
    query: &Query,
    target: &[u8],
    chain: &[Record],
) -> Option<(Rcode, Vec<Record>)> {
    let header = Header { flags: Flags::RD, questions: 1, id: query.header.id, ..Header::default() };
    let message = question(header, target, query.qtype);
    let mut asked = query.clone();
    asked.qname.read(&message, HEADER_LENGTH).ok()?;
    asked.question_end = message.len();
    // What fits behind the chain, where less than all is an answer (design §4.2); else all of it, and TC when the whole is written.
    let room = engine::limit(foreign.ask, query).saturating_sub(chain.iter().map(size_of).sum());
    let whole = Ask { transport: Transport::Tcp, ..*foreign.ask };
    [(*foreign.ask, room), (whole, usize::from(u16::MAX))].into_iter().find_map(|(ask, room)| {
        let mut response = vec![0; room];
        let length = engine::answer(foreign.snapshot, &ask, &message, &asked, &mut response).length()?;
        let response = response.get(..length)?;
        let is_cut = Header::read(response).is_some_and(|header| header.flags.has(Flags::TC));
        if is_cut && ask.transport != Transport::Tcp {
            return None;
        }
        let reading = Reading::of(response, message.len())?;
        Some((reading.rcode, reading.records))
    })
}

/// The most octets that a record takes in a message.
fn size_of(record: &Record) -> usize {
    record.owner.len() + RECORD_FIXED + record.rdata.len()
}

fn question(header: Header, qname: &[u8], qtype: Rtype) -> Vec<u8> {
    let tail = [qtype.0.to_be_bytes(), Class::IN.0.to_be_bytes()].concat();
    [&header.octets()[..], qname, &tail].concat()
}

const fn explain(why: Failure) -> Explanation<'static> {
    let (code, text): (_, &'static &'static str) = match why {
        Failure::Silent => (InfoCode::NO_REACHABLE_AUTHORITY, &"no upstream answers"),
        Failure::Declined => (InfoCode::NO_REACHABLE_AUTHORITY, &"the upstreams answer that they cannot or will not"),
        Failure::Network => (InfoCode::NETWORK_ERROR, &"the upstreams cannot be reached"),
        Failure::Busy(Limit::ForwardsPerSource | Limit::ForwardWaiters) => {
            (InfoCode::OTHER, &"too many queries of this address wait for the upstreams")
        }
        Failure::Busy(Limit::ForwardsPerDomain) => {
            (InfoCode::OTHER, &"too many questions of this domain are on their way to the upstreams")
        }
        Failure::Busy(_) => (InfoCode::OTHER, &"too many queries wait for the upstreams"),
        Failure::Broken => (InfoCode::OTHER, &"asking the upstreams broke down"),
    };
    Explanation { code, text }
}

const BLOCKED: Explanation<'static> =
    Explanation { code: InfoCode::BLOCKED, text: &"addresses of your own machine or link were taken out" };
/// Type, class, TTL and length of a record (RFC 1035 §3.2.1).
const RECORD_FIXED: usize = 10;
/// The TTL of what has run out (RFC 8767 §4).
const STALE_TTL: Ttl = Ttl::from_seconds(30);
