//! The whole path from octets to a response, over one snapshot, for many callers.
//!
//! The first four octets of the input say who asks and over what ([`Question`]), the rest is the query.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::LazyLock;

use hickory_proto::op::Message;
use spacedns::engine::{self, Ask, Reading, Recursion, Secrets, Settings, Text, Transport, Trust, Verdict};
use spacedns::wire::Query;
use spacedns::zone::Snapshot;

use crate::message::Response;
use crate::world::{CALLERS, OURS, SNAPSHOT};

/// A query and what came with it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// Who asks.
    pub source: IpAddr,
    /// Whether its Client Subnet is believed.
    pub trust: Trust,
    /// Over what.
    pub transport: Transport,
    /// Whether there is an upstream.
    pub recursion: Recursion,
    /// Added to the ID where addresses are rotated.
    pub turn: u16,
    /// What the server says of itself.
    pub settings: &'q Settings,
    /// What it makes cookies with.
    pub secrets: Option<&'q Secrets>,
    /// The query's octets.
    pub query: &'q [u8],
}

impl<'q> Question<'q> {
    /// Takes the input apart; `None` when it is too short to say who asks.
    #[must_use]
    pub fn read(input: &'q [u8]) -> Option<Self> {
        let ([caller, how, high, low], query) = input.split_first_chunk::<4>()?;
        Some(Self {
            source: CALLERS[usize::from(*caller) % CALLERS.len()],
            trust: if how & 1 == 0 { Trust::Nobody } else { Trust::Forwarder },
            transport: TRANSPORTS[usize::from(how >> 1 & 3)],
            recursion: if how & 8 == 0 { Recursion::Unavailable } else { Recursion::Available },
            settings: if how & 16 == 0 { &TALKATIVE } else { &SILENT },
            secrets: (how & 32 == 0).then_some(&SECRETS),
            turn: u16::from_be_bytes([*high, *low]),
            query,
        })
    }

    /// What the engine is told. The one place that makes it.
    #[must_use]
    pub const fn ask(&self) -> Ask<'q> {
        let Self { source, trust, transport, recursion, turn, settings, secrets, .. } = *self;
        Ask { source, trust, transport, turn, recursion, settings, secrets, now: NOW }
    }

    /// The response, as it is sent where there is no upstream.
    #[must_use]
    pub fn respond(&self, snapshot: &Snapshot, response: &mut [u8]) -> Option<usize> {
        let verdict = match engine::respond(snapshot, &self.ask(), self.query, response) {
            Verdict::Forward => engine::refuse_foreign(&self.ask(), self.query, response),
            verdict => verdict,
        };
        assert_ne!(verdict, Verdict::Forward, "a foreign name was not refused");
        verdict.length()
    }

    /// The same by the calls that a batch makes, with a `Reading` that was used before.
    fn respond_apart(&self, snapshot: &Snapshot, response: &mut [u8]) -> Option<usize> {
        let mut reading = Reading::new();
        reading.read(BEFORE);
        reading.read(self.query);
        engine::touch(std::slice::from_mut(&mut reading), snapshot);
        let verdict = engine::respond_to(snapshot, &self.ask(), self.query, &reading, response, &mut engine::Note::default());
        match verdict {
            Verdict::Send(length) | Verdict::Withhold(length, _) => Some(length),
            Verdict::Drop => None,
            Verdict::Forward => match engine::refuse_foreign(&self.ask(), self.query, response) {
                Verdict::Send(length) => Some(length),
                _ => panic!("a foreign name was not refused"),
            },
        }
    }
}

const TRANSPORTS: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic];

/// A server that says all it can, in as many octets as it may.
static TALKATIVE: LazyLock<Settings> = LazyLock::new(|| {
    let text = |octet| Some(Text::new(&[octet; engine::TEXT_MAX]).expect("as long as it may be"));
    Settings { node_id: text(b'n'), version: text(b'v'), identity: text(b'i'), keepalive: Some(100), ..Settings::new() }
});

/// A server that says nothing of itself.
pub static SILENT: Settings = Settings::new();

static SECRETS: Secrets = Secrets { current: *b"as secret as can", previous: Some(*b"what it was once") };

/// When cookies are made.
const NOW: u32 = 1_795_192_782;

thread_local! {
    static ROOMS: RefCell<[Vec<u8>; 3]> = RefCell::new([vec![0; 65_535], vec![0xff; 65_535], vec![0; 65_535]]);
}

/// Answers, and holds the response to what every response is held to.
///
/// # Panics
/// When it does not hold.
pub fn run(input: &[u8]) {
    let Some(question) = Question::read(input) else { return };
    ROOMS.with_borrow_mut(|[room, other, stream]| {
        let length = question.respond(&SNAPSHOT, room);
        let length_apart = question.respond_apart(&SNAPSHOT, other);
        assert_eq!(length, length_apart, "in one step and in three");
        let Some(length) = length else {
            let query = question.query;
            let is_answered = query.len() >= 12 && query[2] & 0x80 == 0 && !is_error_of_quic(&question);
            assert!(!is_answered, "a query without a response");
            return;
        };
        assert!(!is_error_of_quic(&question), "a response where the connection has to end");
        // What a room held before is in no response.
        assert_eq!(room[..length], other[..length]);
        hold(&question, &room[..length], stream);
        room[..length].fill(0);
        other[..length].fill(0xff);
    });
}

/// Whether the query asks over QUIC how long the connection is kept: an error of the connection (RFC 9250 §4.3.3).
fn is_error_of_quic(question: &Question<'_>) -> bool {
    let mut query = Query::new();
    // What could be read of a query that cannot be read to its end counts as well.
    let _ = query.read(question.query);
    question.transport == Transport::Quic && query.edns.is_some_and(|edns| edns.keepalive.is_some())
}

fn hold(question: &Question<'_>, octets: &[u8], stream: &mut [u8]) {
    let query = question.query;
    assert!(query.len() >= 12 && query[2] & 0x80 == 0, "a response to no query");
    assert_eq!(octets[..2], query[..2], "the ID");
    let response = Response::read(octets);
    let flags = response.flags();
    assert!(flags & 0x8000 != 0, "QR");
    assert!(flags & 0x0060 == 0, "Z and AD");
    assert_eq!(octets[2] & 0x79, query[2] & 0x79, "opcode and RD");
    if !response.question.is_empty() {
        assert!(query[12..].starts_with(response.question), "the question, octet for octet");
    }
    assert!(octets.len() <= limit(question, &response), "{} octets", octets.len());
    hold_edns(question, octets, &response);
    hold_authority(&response);
    if flags & 0x0200 != 0 {
        hold_truncation(question, octets.len(), &response, stream);
    }
    // A thousand records more say nothing new, and take most of the time.
    if octets.len() > SECOND_OPINION_MAX {
        return;
    }
    // hickory-proto reads no Client Subnet of family 0, which stubs use to say "for nobody".
    let family_zero = |(code, data): &(u16, &[u8])| *code == 8 && data.starts_with(&[0, 0]);
    if !response.options.as_ref().is_some_and(|options| options.iter().any(family_zero)) {
        let second = Message::from_vec(octets).expect("hickory-proto reads what we write");
        assert_eq!(second.metadata.id.to_be_bytes(), octets[..2]);
        let records = second.answers.len() + second.authorities.len() + second.additionals.len();
        assert_eq!(records, response.records.len(), "as many records to hickory-proto");
    }
}

/// The most octets: what the client takes, and 1232, on UDP.
fn limit(question: &Question<'_>, response: &Response<'_>) -> usize {
    if question.transport != Transport::Udp {
        return usize::from(u16::MAX);
    }
    let mut query = Query::new();
    match (query.read(question.query), query.edns, &response.options) {
        (Ok(()), Some(edns), Some(_)) => usize::from(edns.udp_size.clamp(512, 1232)),
        _ => 512,
    }
}

/// OPT for those who sent one (RFC 6891 §7), with their DO.
fn hold_edns(question: &Question<'_>, octets: &[u8], response: &Response<'_>) {
    let mut query = Query::new();
    match (query.read(question.query), query.edns) {
        (Ok(()), Some(edns)) => {
            assert!(response.options.is_some(), "no OPT for a query with one");
            let options = response.options.iter().flatten().map(|(_, data)| 4 + data.len()).sum::<usize>();
            let opt = &octets[octets.len() - options - 11..];
            assert_eq!(opt[7] & 0x80 != 0, edns.dnssec_ok, "DO");
            assert_eq!(opt[7] & 0x7f, 0, "Z in OPT");
        }
        (Ok(()), None) => assert!(response.options.is_none(), "an OPT for a query without"),
        (Err(_), _) => {}
    }
}

/// AA and the sections: AA only about names that may be ours; nothing but the header and OPT in what is no answer.
fn hold_authority(response: &Response<'_>) {
    let is_authoritative = response.flags() & 0x0400 != 0;
    let truncated = response.flags() & 0x0200 != 0;
    let answers = response.records.iter().filter(|record| record.section == 1).count();
    let soas = response.records.iter().filter(|record| record.section == 2 && record.rtype == 6).count();
    assert!(response.records.iter().all(|record| record.section != 2 || record.rtype == 6), "only SOA in authority");
    assert!(soas <= 1);
    if is_authoritative {
        assert!(matches!(response.rcode(), 0 | 3), "AA with rcode {}", response.rcode());
        assert!(is_ours(response.question), "AA on a name that is not ours");
        if response.question.ends_with(&[0, CHAOS]) {
            return;
        }
        // RFC 2308 §2: negative answers have their SOA.
        assert!(truncated && response.records.is_empty() || (answers == 0) == (soas == 1), "an answer, or an SOA");
        assert!(response.rcode() == 0 || answers == 0, "NXDOMAIN with answers");
    } else {
        assert_eq!(response.records.len(), 0, "records without AA");
        assert!(!truncated, "TC on what has no records");
    }
}

/// TC says that what matters does not fit: the same query over a stream gets more than the limit.
fn hold_truncation(question: &Question<'_>, length: usize, response: &Response<'_>, stream: &mut [u8]) {
    assert!(question.transport == Transport::Udp, "TC on a stream");
    assert!(response.records.is_empty(), "records beside TC");
    let over_stream = Question { transport: Transport::Tcp, ..*question };
    let whole_length = over_stream.respond(&SNAPSHOT, stream).expect("a response over the stream as well");
    let whole = Response::read(&stream[..whole_length]);
    assert!(whole_length > length && whole.flags() & 0x0200 == 0, "a stream has it whole");
    let limit = limit(question, response);
    assert!(whole.length_min() > limit, "TC without need: {} octets would do of {limit}", whole.length_min());
}

/// The class in which servers are asked about themselves.
const CHAOS: u8 = 3;

/// Whether a question's name may be ours.
fn is_ours(question: &[u8]) -> bool {
    if question.ends_with(&[0, CHAOS]) {
        let about: [&[u8]; 4] =
            [b"\x07version\x04bind", b"\x07version\x06server", b"\x02id\x06server", b"\x08hostname\x04bind"];
        let name = question.to_ascii_lowercase();
        return about.iter().any(|about| name.starts_with(about));
    }
    let wire = &question[..question.len() - 4];
    let labels: Vec<&[u8]> = {
        let mut labels = Vec::new();
        let mut rest = wire;
        while rest[0] != 0 {
            let (label, after) = rest[1..].split_at(usize::from(rest[0]));
            labels.push(label);
            rest = after;
        }
        labels
    };
    // A bare service owns `_tcp.<service>` and all below it.
    let is_service = labels.iter().rev().nth(1).is_some_and(|label| label.eq_ignore_ascii_case(b"_tcp"));
    labels.len() <= 1
        || is_service
        || OURS.iter().any(|suffix| {
            let mut theirs = labels.iter().rev();
            suffix
                .split('.')
                .rev()
                .all(|label| theirs.next().is_some_and(|own| own.eq_ignore_ascii_case(label.as_bytes())))
        })
}

/// The longest response that hickory-proto reads, too: all of UDP's, and a stream's that would be cut.
const SECOND_OPINION_MAX: usize = 4096;

/// A query with everything in it, read before the one that counts.
const BEFORE: &[u8] = b"\x12\x34\x01\x10\0\x01\0\0\0\0\0\x01\x03pr7\x04wild\x07example\x03com\0\0\x1c\0\x01\
                        \0\0\x29\xff\xff\0\0\x80\0\0\x0c\0\x08\0\x08\0\x01\x20\0\x0a\0\x81\x01";
