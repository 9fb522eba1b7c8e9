//! Answers one query, whatever carried it: asks the engine, catches its panics, counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::SystemTime;

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Config;
use super::batch::Origin;
use super::sample::Sampler;
use super::streams::now;
use crate::engine::{
    self, Ask, Got, Note, Opened, Reading, Recursion, Secrets, Settings, Transport, Trust, Verdict, Withheld,
};
use crate::forward::{self, Answered, Foreign, Forwarder, Outcome, Wanted};
use crate::observe::{
    Carrier, Class, Counters, Ending, Entry, Event, Logged, QueryLog, QueryType, SAMPLED, Source, Span,
};
use crate::publish::Snapshot;

/// Who decides and writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Respond {
    /// [`engine::respond_to`]. Not a pointer to it: called by that it could not be a part of the loop over a batch.
    Engine,
    /// What panics, or what tells generations apart.
    #[cfg(test)]
    Other(StandIn),
}

/// The shape of [`engine::respond_to`].
#[cfg(test)]
pub(super) type StandIn = fn(&Snapshot, &Ask<'_>, &[u8], &Reading, &mut [u8], &mut Note) -> Verdict;

/// What every worker answers by; never changes while it runs.
#[derive(Debug)]
pub(super) struct Desk {
    /// Forwarders whose EDNS Client Subnet is believed.
    trusted: Vec<IpNet>,
    respond: Respond,
    /// What the server says of itself.
    settings: Settings,
    /// What server cookies are made with.
    secrets: Option<Secrets>,
    /// Seconds since 1970, cut to 32 bits. Cookies need no finer time, and reading a clock for each query would cost more than they.
    now: AtomicU32,
    /// Whether there are upstreams.
    recursion: Recursion,
    /// Where queries are written down.
    query_log: Option<Arc<QueryLog>>,
    /// Counts the queries that the log has looked at.
    logged: AtomicU64,
    /// Asks them. Whoever writes what they said has none: they would keep each other from ending.
    forwarder: Option<Forwarder<Ticket>>,
    /// Takes some queries, to see whether one address speaks for many. Who answers queries a second time has none.
    sampler: Option<Sampler>,
}

/// What is said to a query.
#[derive(Debug)]
pub(super) enum Said {
    /// So many octets of the response buffer.
    Response(usize),
    /// Nothing yet: hand this to [`Desk::pass_on`]. Boxed, so that what is said is two words to everybody else.
    Later(Box<Wanted>),
    /// Nothing yet: the response goes where it was to be sent.
    Awaited,
    /// Nothing at all.
    Nothing,
}

/// A query that waits for an upstream.
#[derive(Debug)]
pub(super) struct Ticket {
    query: Box<[u8]>,
    source: SocketAddr,
    transport: Transport,
    turn: u16,
    begun: Instant,
    pub(super) reply: Reply,
}

/// Where a response goes that is made later.
#[derive(Debug)]
pub(super) enum Reply {
    /// Out of this socket.
    Datagram(Arc<UdpSocket>, Box<Origin>),
    /// To the connection, which keeps a place for it.
    Stream(mpsc::Sender<Box<[u8]>>),
}

impl Respond {
    #[inline(always)]
    fn to(
        self,
        snapshot: &Snapshot,
        ask: &Ask<'_>,
        (query, reading): (&[u8], &Reading),
        response: &mut [u8],
        note: &mut Note,
    ) -> Verdict {
        match self {
            Self::Engine => engine::respond_to(snapshot, ask, query, reading, response, note),
            #[cfg(test)]
            Self::Other(respond) => respond(snapshot, ask, query, reading, response, note),
        }
    }
}

impl Desk {
    /// Makes a desk that answers by `respond`, of the configuration as it says.
    pub(super) fn new(config: &Config, respond: Respond) -> Self {
        // RFC 7828 §3.4: what a client is told is what it gets.
        let keepalive = u16::try_from(config.limits.idle.as_millis() / 100).unwrap_or(u16::MAX);
        let zones = config.forward.iter().flat_map(|forward| forward.routes.all()).map(|route| &route.zone);
        let settings = Settings { keepalive: Some(keepalive), opened: Opened::new(zones), ..config.settings.clone() };
        let (trusted, secrets) = (config.trust_subnet_from.clone(), config.secrets);
        let (now, logged, recursion, forwarder) = (AtomicU32::new(0), AtomicU64::new(0), Recursion::Unavailable, None);
        let query_log = config.query_log.clone();
        let desk =
            Self { trusted, respond, settings, secrets, now, recursion, query_log, logged, forwarder, sampler: None };
        desk.tick();
        desk
    }

    /// Looks at the clock. Called four times a second by one thread for all.
    #[allow(clippy::disallowed_methods, reason = "`serve` reads the clock: it decides no DNS meaning by it")]
    pub(super) fn tick(&self) {
        // A clock before 1970 is wrong, and makes cookies that are stale at once: clients get new ones.
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.now.store(u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The same, with upstreams behind it.
    pub(super) fn with_upstreams(self, forwarder: Option<Forwarder<Ticket>>) -> Self {
        Self { recursion: Recursion::Available, forwarder, ..self }
    }

    /// The same, with samples taken of what it is asked.
    pub(super) fn with_sampler(self, sampler: Sampler) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// Answers a query into `response`, as far as that can be done at once, whatever happens while it is read and answered.
    pub(super) fn answer(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        asked: Asked<'_>,
        response: &mut [u8],
    ) -> Said {
        // A panic leaves nothing half done: the snapshot is never changed, and the response is written anew below.
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let mut reading = Reading::new();
            reading.read(asked.query);
            let mut round = self.round((snapshot, counters), asked.transport, asked.turn);
            round.answer(asked, &reading, &mut *response)
        }));
        answered.unwrap_or_else(|_| self.break_off(counters, asked, response))
    }

    /// Begins to answer queries that come together.
    #[inline(always)]
    pub(super) fn round<'d>(
        &'d self,
        (snapshot, counters): (&'d Snapshot, &'d Counters),
        transport: Transport,
        turn: u16,
    ) -> Round<'d> {
        let ask = self.ask(IpAddr::V4(Ipv4Addr::UNSPECIFIED), transport, turn);
        let carriers = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        Round {
            desk: self,
            snapshot,
            counters,
            ask,
            carriers: carriers.map(|address| carrier_of(transport, address)),
            sampler: self.sampler.as_ref().filter(|sampler| sampler.wants()),
        }
    }

    /// Answers a query for a name that is not ours by what upstreams have said.
    #[cold]
    fn answer_foreign(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        ask: &Ask<'_>,
        asked: Asked<'_>,
        note: &mut Note,
        response: &mut [u8],
    ) -> Said {
        counters.event(Event::Foreign, 1);
        let foreign = Foreign { snapshot, ask, message: asked.query };
        let verdict = match self.forwarder.as_ref().map(|forwarder| forwarder.answer(&foreign, response)) {
            Some(Answered::Wanted(wanted)) => return Said::Later(Box::new(wanted)),
            Some(Answered::Written(verdict, source)) => {
                count(counters, source);
                verdict
            }
            Some(Answered::NoRoute) | None => {
                note.got = Got::Refusal;
                engine::refuse_foreign(ask, asked.query, response)
            }
        };
        self.say(counters, &asked, verdict, note, response)
    }

    /// What is said to a query that was met by a panic.
    pub(super) fn break_off(&self, counters: &Counters, asked: Asked<'_>, response: &mut [u8]) -> Said {
        counters.event(Event::Panicked, 1);
        let verdict = write_failure(asked.query, response).map_or(Verdict::Drop, Verdict::Send);
        self.say(counters, &asked, verdict, &Note::default(), response)
    }

    /// Has upstreams asked about a query, and the response sent to where `reply` says. What is returned is to be said at once.
    pub(super) fn pass_on(
        &self,
        wanted: Wanted,
        reply: Reply,
        (snapshot, counters): (&Snapshot, &Counters),
        asked: Asked<'_>,
        response: &mut [u8],
    ) -> Said {
        let Asked { source, transport, turn, query } = asked;
        let Some(forwarder) = &self.forwarder else { return Said::Nothing };
        match forwarder.ask(wanted, Ticket { query: query.into(), source, transport, turn, begun: now(), reply }) {
            Ok(()) => {
                counters.event(Event::ForwardAsked, 1);
                Said::Awaited
            }
            // Its thread is gone.
            Err(_) => self.write(snapshot, counters, asked, &Outcome::Failed(forward::Failure::Broken), response),
        }
    }

    /// Writes the response to a query that waited, by what came of asking, and of what is ours by now.
    pub(super) fn finish(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        ticket: &Ticket,
        outcome: &Outcome,
        response: &mut [u8],
    ) -> Said {
        let Ticket { query, source, transport, turn, .. } = ticket;
        let asked = Asked { source: *source, transport: *transport, turn: *turn, query };
        counters.duration(Span::Forward, now().saturating_duration_since(ticket.begun), 1);
        self.write(snapshot, counters, asked, outcome, response)
    }

    fn write(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        asked: Asked<'_>,
        outcome: &Outcome,
        response: &mut [u8],
    ) -> Said {
        let ask = self.ask(asked.source.ip(), asked.transport, asked.turn);
        let mut note = Note::default();
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut reading = Reading::new();
            reading.read(asked.query);
            match self.respond.to(snapshot, &ask, (asked.query, &reading), &mut *response, &mut note) {
                Verdict::Forward => {
                    count(counters, outcome.source());
                    let foreign = Foreign { snapshot, ask: &ask, message: asked.query };
                    forward::write(&foreign, outcome, &mut *response)
                }
                // It has become ours in the meantime.
                verdict => verdict,
            }
        }));
        match written {
            Ok(verdict) => self.say(counters, &asked, verdict, &note, response),
            Err(_) => self.break_off(counters, asked, response),
        }
    }

    /// Counts what is said.
    fn say(&self, counters: &Counters, asked: &Asked<'_>, verdict: Verdict, note: &Note, response: &[u8]) -> Said {
        self.say_as(counters, asked, verdict, (note, Ending::Other), response)
    }

    /// The same of a query whose ending was counted, and perhaps the response with it.
    fn say_as(
        &self,
        counters: &Counters,
        asked: &Asked<'_>,
        verdict: Verdict,
        (note, counted): (&Note, Ending),
        response: &[u8],
    ) -> Said {
        if let Verdict::Withhold(_, why) = verdict {
            counters.event(withheld(why), 1);
        }
        let source = source_of(note.got);
        let head = verdict.length().and_then(|length| Some((length, response.get(..length)?.first_chunk()?)));
        if let Some(log) = &self.query_log {
            let class = head.map(|(_, [_, _, _, rcode])| Class::of(rcode & RCODE));
            self.write_down(log, counters, asked, note, (source, class));
        }
        let Some((length, [_, _, flags, rcode])) = head else {
            counters.event(Event::Dropped, 1);
            return Said::Nothing;
        };
        if counted == Ending::Other {
            counters.response(asked.carrier(), source, Class::of(rcode & RCODE));
            if let Some(negative) = ending_of(note.got).negative() {
                counters.negative(negative);
            }
        }
        if flags & TC != 0 {
            counters.event(Event::Truncated, 1);
        }
        Said::Response(length)
    }

    #[cold]
    fn write_down(
        &self,
        log: &QueryLog,
        counters: &Counters,
        asked: &Asked<'_>,
        note: &Note,
        (source, class): (Source, Option<Class>),
    ) {
        let entry = Entry {
            caller: asked.source,
            transport: asked.carrier().transport(),
            name: name(asked.query),
            qtype: note.qtype,
            class,
            source,
            negative: ending_of(note.got).negative(),
        };
        let dropped = log.enter(&entry, self.logged.fetch_add(1, Ordering::Relaxed)) == Logged::Dropped;
        counters.event(Event::LogDropped, u64::from(dropped));
    }

    /// How the engine is asked for somebody; IPv4-mapped IPv6 counts as IPv4.
    #[inline(always)]
    fn ask(&self, source: IpAddr, transport: Transport, turn: u16) -> Ask<'_> {
        let source = source.to_canonical();
        Ask {
            source,
            trust: self.trust(&source),
            transport,
            turn,
            recursion: self.recursion,
            settings: &self.settings,
            secrets: self.secrets.as_ref(),
            now: self.now.load(Ordering::Relaxed),
        }
    }

    #[inline(always)]
    fn trust(&self, source: &IpAddr) -> Trust {
        // Mostly there are none, and then none is looked for.
        if self.trusted.is_empty() { Trust::Nobody } else { self.trust_of(source) }
    }

    #[inline(never)]
    fn trust_of(&self, source: &IpAddr) -> Trust {
        if self.trusted.iter().any(|network| network.contains(source)) { Trust::Forwarder } else { Trust::Nobody }
    }
}

/// Queries that come together, and what is the same for all of them: it is found out once.
pub(super) struct Round<'d> {
    desk: &'d Desk,
    snapshot: &'d Snapshot,
    counters: &'d Counters,
    /// The caller in it is that of the last query.
    ask: Ask<'d>,
    /// What carries queries over IPv4, and over IPv6.
    carriers: [Carrier; 2],
    /// There while more samples are wanted.
    sampler: Option<&'d Sampler>,
}

impl Round<'_> {
    /// Answers a query that has been read, as far as that can be done at once. A panic is the caller's to catch, for many queries at
    /// once, and to say by [`Desk::break_off`].
    ///
    /// What almost every query comes to is counted in one place and is a length then; the rest is [`answer_otherwise`](Self::answer_otherwise).
    #[inline(always)]
    pub(super) fn answer(&mut self, asked: Asked<'_>, reading: &Reading, response: &mut [u8]) -> Said {
        let Self { desk, snapshot, counters, ask, .. } = self;
        if is_silent(asked.source.port()) {
            counters.event(Event::Dropped, 1);
            return Said::Nothing;
        }
        match asked.source {
            // Put there as it is: octets that are written one by one are not to be had as a word for a while.
            SocketAddr::V4(source) => ask.source = IpAddr::V4(*source.ip()),
            SocketAddr::V6(source) => ask.source = source.ip().to_canonical(),
        }
        ask.trust = desk.trust(&ask.source);
        if let Some(sampler) = self.sampler
            && ask.trust == Trust::Nobody
        {
            sampler.take(ask.source, asked.query);
        }
        let mut note = Note::default();
        let verdict = desk.respond.to(snapshot, ask, (asked.query, reading), response, &mut note);
        let ending = if matches!(verdict, Verdict::Drop) { Ending::Other } else { ending_of(note.got) };
        let [v4, v6] = self.carriers;
        let carrier = if matches!(&ask.source, IpAddr::V4(_)) { v4 } else { v6 };
        let nth = counters.query(carrier, QueryType::of(note.qtype), ending);
        // The first of a kind, so that a server with little to do shows something, and then one in so many.
        if nth & (SAMPLED - 1) == 1 {
            sample(counters, asked, note);
        }
        match verdict {
            Verdict::Send(length) if ending != Ending::Other && desk.query_log.is_none() => {
                if response.get(FLAGS).is_some_and(|flags| flags & TC != 0) {
                    counters.event(Event::Truncated, 1);
                }
                Said::Response(length)
            }
            verdict => self.answer_otherwise(asked, verdict, (note, ending), response),
        }
    }

    /// Goes on with a query whose name is not ours, or of which there is more to be said.
    #[cold]
    #[inline(never)]
    fn answer_otherwise(
        &self,
        asked: Asked<'_>,
        verdict: Verdict,
        (mut note, ending): (Note, Ending),
        response: &mut [u8],
    ) -> Said {
        let Self { desk, snapshot, counters, ask, .. } = self;
        match verdict {
            Verdict::Forward => desk.answer_foreign(snapshot, counters, ask, asked, &mut note, response),
            verdict => desk.say_as(counters, &asked, verdict, (&note, ending), response),
        }
    }
}

/// A query as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Where from.
    pub(super) source: SocketAddr,
    /// Over what.
    pub(super) transport: Transport,
    /// As [`Ask::turn`].
    pub(super) turn: u16,
    /// Its octets.
    pub(super) query: &'a [u8],
}

impl Asked<'_> {
    const fn carrier(&self) -> Carrier {
        carrier_of(self.transport, self.source.ip().to_canonical())
    }
}

const fn source_of(got: Got) -> Source {
    match got {
        Got::Answer | Got::Unknown | Got::Type | Got::Gate | Got::View | Got::Ambiguous | Got::Removed => Source::Own,
        Got::Foreign => Source::Forward,
        Got::Stranger | Got::Refusal => Source::Refused,
        Got::NotReady | Got::Fault => Source::Error,
    }
}

const fn ending_of(got: Got) -> Ending {
    match got {
        Got::Answer => Ending::Answer,
        Got::Unknown => Ending::Unknown,
        Got::Type => Ending::Type,
        Got::Gate => Ending::GateClosed,
        Got::View => Ending::Hidden,
        Got::Ambiguous => Ending::Ambiguous,
        Got::Removed => Ending::Removed,
        Got::Stranger => Ending::Stranger,
        Got::Refusal => Ending::Refusal,
        Got::NotReady => Ending::NotReady,
        Got::Foreign | Got::Fault => Ending::Other,
    }
}

/// Looks at one query in so many closer.
#[cold]
#[inline(never)]
fn sample(counters: &Counters, asked: Asked<'_>, note: Note) {
    if let name @ [_, ..] = name(asked.query) {
        counters.sample(name, asked.source.ip().to_canonical(), ending_of(note.got).negative());
    }
}

/// The first question's name; empty when there is none to be read.
fn name(query: &[u8]) -> &[u8] {
    let question = question(query).unwrap_or_default();
    question.len().checked_sub(TYPE_AND_CLASS).and_then(|end| question.get(..end)).unwrap_or_default()
}

/// Counts what a response to a foreign query was made of.
fn count(counters: &Counters, source: forward::Source) {
    let event = match source {
        forward::Source::Kept => Event::ForwardAnswered,
        forward::Source::Stale => Event::ForwardStale,
        forward::Source::Failure => Event::ForwardFailed,
        forward::Source::Limit(limit) => {
            counters.limit(limit, 1);
            Event::ForwardFailed
        }
        forward::Source::Panic => {
            counters.event(Event::Panicked, 1);
            Event::ForwardFailed
        }
    };
    counters.event(event, 1);
}

const fn withheld(why: Withheld) -> Event {
    match why {
        Withheld::SingleLabel => Event::WithheldSingleLabel,
        Withheld::ExclusiveSuffix => Event::WithheldExclusiveSuffix,
        Withheld::OverlayName => Event::WithheldOverlayName,
        Withheld::SpecialUse => Event::WithheldSpecialUse,
        Withheld::PrivateReverse => Event::WithheldPrivateReverse,
    }
}

/// Whether queries from this port are never answered, whatever carries them. 0 is no port; the others are services that answer
/// whatever they get (echo, daytime, quote of the day, chargen, time), so that a query with a forged source would make two servers
/// talk forever.
pub(super) const fn is_silent(port: u16) -> bool {
    matches!(port, 0 | 7 | 13 | 17 | 19 | 37)
}

const fn carrier_of(transport: Transport, source: IpAddr) -> Carrier {
    match (transport, source) {
        (Transport::Udp, IpAddr::V4(_)) => Carrier::Udp4,
        (Transport::Udp, IpAddr::V6(_)) => Carrier::Udp6,
        (Transport::Tcp, IpAddr::V4(_)) => Carrier::Tcp4,
        (Transport::Tcp, IpAddr::V6(_)) => Carrier::Tcp6,
        (Transport::Tls, IpAddr::V4(_)) => Carrier::Tls4,
        (Transport::Tls, IpAddr::V6(_)) => Carrier::Tls6,
        (Transport::Quic, IpAddr::V4(_)) => Carrier::Quic4,
        (Transport::Quic, IpAddr::V6(_)) => Carrier::Quic6,
    }
}

/// Writes SERVFAIL to a query that the engine broke on: the header, and the question if it is there to be read. Clients wait for
/// ten seconds and more when a response lacks its question, or does not come.
fn write_failure(query: &[u8], response: &mut [u8]) -> Option<usize> {
    let ([id_high, id_low, flags, ..], _) = query.split_first_chunk::<HEADER>()?;
    let question = question(query).filter(|question| HEADER + question.len() <= response.len()).unwrap_or_default();
    let count = u8::from(!question.is_empty());
    let (header, rest) = response.split_first_chunk_mut::<HEADER>()?;
    *header = [*id_high, *id_low, QR | flags & (OPCODE | RD), SERVFAIL, 0, count, 0, 0, 0, 0, 0, 0];
    rest.get_mut(..question.len())?.copy_from_slice(question);
    Some(HEADER + question.len())
}

/// The first question's octets: labels up to the root, a type and a class.
fn question(query: &[u8]) -> Option<&[u8]> {
    let rest = query.get(HEADER..)?;
    let mut end = 0;
    loop {
        match rest.get(end)? {
            0 => return rest.get(..end + 1 + TYPE_AND_CLASS),
            length @ 1..=63 => end += 1 + usize::from(*length),
            _ => return None,
        }
    }
}

/// Octets of a header (RFC 1035 §4.1.1); the bits are those of its third and fourth octets.
const HEADER: usize = 12;
const FLAGS: usize = 2;
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const RCODE: u8 = 0x0f;
const SERVFAIL: u8 = 2;
const TYPE_AND_CLASS: usize = 4;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::observe::Totals;

    /// A query for `name`, with this ID, for A.
    pub(in crate::serve) fn query(id: u16, name: &str) -> Vec<u8> {
        let mut query = id.to_be_bytes().to_vec();
        query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        query
    }

    /// Stands in for the engine: keeps its contract (no query, no response; one question or FORMERR), echoes the question, and writes
    /// the low octets of the snapshot's generation as QR-flagged octets behind it. Some first labels do something else.
    pub(in crate::serve) fn stand_in(
        snapshot: &Snapshot,
        ask: &Ask<'_>,
        query: &[u8],
        _: &Reading,
        response: &mut [u8],
        note: &mut Note,
    ) -> Verdict {
        let Some(header) = query.first_chunk::<HEADER>() else { return Verdict::Drop };
        if header[2] & QR != 0 {
            return Verdict::Drop;
        }
        let asked = question(query).filter(|_| header[5] == 1);
        *note = Note { qtype: asked.map(|_| 1), got: asked.map_or(Got::Fault, |_| Got::Answer) };
        let Some(question) = asked else {
            response[..HEADER].copy_from_slice(&[header[0], header[1], QR, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            return Verdict::Send(HEADER);
        };
        let end = HEADER + question.len();
        response[..end].copy_from_slice(&query[..end]);
        response[2] = QR;
        response[3] = 0;
        let trusted = u8::from(ask.trust == Trust::Forwarder);
        match question.get(1..=usize::from(question[0])).unwrap_or_default() {
            b"panic" => panic!("as asked"),
            b"cut" => response[2] |= TC,
            b"foreign" => {
                note.got = Got::Foreign;
                return Verdict::Forward;
            }
            b"large" => {
                response[end..].fill(7);
                return Verdict::Send(response.len());
            }
            _ => {}
        }
        response[end] = u8::try_from(snapshot.generation & 0xff).unwrap();
        response[end + 1] = trusted;
        Verdict::Send(end + 2)
    }

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn ask(desk: &Desk, counters: &Counters, query: &[u8]) -> Option<Vec<u8>> {
        ask_from(desk, counters, SOURCE, query)
    }

    fn ask_from(desk: &Desk, counters: &Counters, source: IpAddr, query: &[u8]) -> Option<Vec<u8>> {
        let mut response = vec![0xaa; 512];
        let source = SocketAddr::new(source, 40_000);
        let asked = Asked { source, transport: Transport::Udp, turn: 0, query };
        let Said::Response(length) = desk.answer(&Snapshot::starting(), counters, asked, &mut response) else {
            return None;
        };
        response.truncate(length);
        Some(response)
    }

    #[test]
    fn a_panic_is_answered_servfail_with_the_question_and_counted() {
        let (desk, counters) = (Desk::new(&Config::default(), Respond::Other(stand_in)), Counters::default());
        let query = query(0x1234, "panic.Example");
        let response = ask(&desk, &counters, &query).unwrap();
        assert_eq!(response[..HEADER], [0x12, 0x34, QR | RD, SERVFAIL, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(response[HEADER..], query[HEADER..]);
        let totals = Totals::of([&counters]);
        assert_eq!(totals.events(Event::Panicked), 1);
        assert_eq!(totals.responses(Carrier::Udp4, Source::Error, Class::ServFail), 1);
        assert!(ask(&desk, &counters, &query).is_some(), "the next is answered as well");
    }

    #[test]
    fn a_panic_over_a_question_that_cannot_be_read_is_answered_without_it() {
        let desk = Desk::new(&Config::default(), Respond::Other(|_, _, _, _, _, _| panic!("on anything")));
        let counters = Counters::default();
        let query = query(7, "shop");
        for length in HEADER..query.len() {
            let response = ask(&desk, &counters, &query[..length]).unwrap();
            assert_eq!(response, [0, 7, QR | RD, SERVFAIL, 0, 0, 0, 0, 0, 0, 0, 0], "{length} octets");
        }
        assert_eq!(ask(&desk, &counters, &query[..HEADER - 1]), None);
        let mut pointer = query[..HEADER].to_vec();
        pointer.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        assert_eq!(ask(&desk, &counters, &pointer).unwrap().len(), HEADER);
    }

    #[test]
    fn services_that_answer_anything_are_not_answered_but_servers_are() {
        assert!([0, 7, 13, 17, 19, 37].into_iter().all(is_silent));
        assert!(![53, 123, 1024, 5353, 65_535].into_iter().any(is_silent));
        let (desk, counters) = (Desk::new(&Config::default(), Respond::Other(stand_in)), Counters::default());
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic] {
            let query = query(1, "shop");
            let asked = |port| Asked { source: (SOURCE, port).into(), transport, turn: 0, query: &query };
            let answered = |port| {
                matches!(desk.answer(&Snapshot::starting(), &counters, asked(port), &mut [0; 512]), Said::Response(_))
            };
            assert!(!answered(19) && answered(53), "{transport:?}");
        }
    }

    #[test]
    fn only_those_who_are_named_are_trusted() {
        let trust_subnet_from = vec!["127.0.0.0/30".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let desk = Desk::new(&Config { trust_subnet_from, ..Config::default() }, Respond::Other(stand_in));
        let counters = Counters::default();
        let trusted = |source: &str| {
            let response = ask_from(&desk, &counters, source.parse().unwrap(), &query(1, "shop")).unwrap();
            response.last() == Some(&1)
        };
        assert!(trusted("127.0.0.3"));
        assert!(trusted("::ffff:127.0.0.1"), "an IPv4 address in IPv6's clothes");
        assert!(trusted("fd12::1"));
        assert!(!trusted("127.0.0.4"));
        assert!(!trusted("fe80::1"));
    }

    #[test]
    fn what_is_said_is_counted_by_carrier_and_class() {
        let (desk, counters) = (Desk::new(&Config::default(), Respond::Other(stand_in)), Counters::default());
        ask(&desk, &counters, &query(1, "shop"));
        ask(&desk, &counters, &query(1, "cut"));
        ask_from(&desk, &counters, "::1".parse().unwrap(), &query(1, "shop")[..HEADER]);
        ask(&desk, &counters, b"short");
        ask(&desk, &counters, &query(1, "foreign"));
        let totals = Totals::of([&counters]);
        let queries = |carrier, qtype| totals.queries(carrier, qtype);
        assert_eq!((queries(Carrier::Udp4, QueryType::A), queries(Carrier::Udp4, QueryType::Unread)), (3, 1));
        assert_eq!((queries(Carrier::Udp6, QueryType::A), queries(Carrier::Udp6, QueryType::Unread)), (0, 1));
        assert_eq!(totals.responses(Carrier::Udp4, Source::Own, Class::NoError), 2);
        assert_eq!(totals.responses(Carrier::Udp4, Source::Refused, Class::Refused), 1);
        assert_eq!(totals.responses(Carrier::Udp6, Source::Error, Class::FormErr), 1);
        assert_eq!(totals.events(Event::Truncated), 1);
        assert_eq!(totals.events(Event::Foreign), 1);
        assert!(totals.events(Event::Dropped) >= 1);
    }
}
