//! DNS over QUIC (RFC 9250): a connection a client, a stream a query.
//!
//! Each stream is a task that reads one query, answers it and waits until the client has the response. How many there are is bounded
//! by what the client is allowed to open ([`Limits::in_flight`]); what they hold, by two queues of the connection: one for reading a
//! query that is larger than any sensible one, one for responses that do not fit what may be unacknowledged. So a connection costs
//! half a megabyte at worst, for seconds.
//!
//! A client that breaks the rules of RFC 9250 §4.3.3 loses its connection; one that cancels a stream or closes early loses nothing
//! else. A stream that takes too long is reset, and the others go on: packets may be lost, which TCP would hide from us.
//! A socket that another server takes over is read by both for a moment, and neither has the connections of the other. So this one closes
//! its own at once, and what the other gets of them is answered by a stateless reset (RFC 9000 §10.3), which the client believes
//! because both make it of the same key: it connects again instead of waiting for a timeout. Steering datagrams to their
//! server by connection ID would take a program in the kernel.
//!
//! Connections do not move to another address (RFC 9000 §9): what a caller is shown depends on it.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Connecting, Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, Incoming,
    ReadError, ReadExactError, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{Asked, Reply, Said, is_silent};
use super::limits::Limits;
use super::phase::Phase;
use super::roster::Place;
use super::streams::{Shared, Worker, now, over};
use super::tls::Encryption;
use crate::engine::Transport;
use crate::observe::{Event, Limit};

/// Makes an endpoint of a bound socket; within a runtime.
pub(super) fn endpoint(socket: UdpSocket, encryption: &Encryption, limits: &Limits) -> io::Result<Endpoint> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(integer(limits.in_flight))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(limits.idle + GRACE).ok())
        .stream_receive_window(STREAM_WINDOW)
        .receive_window(CONNECTION_WINDOW)
        .send_window(limits.unsent as u64)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    let mut config = ServerConfig::with_crypto(Arc::clone(&encryption.quic) as Arc<_>);
    config
        .transport_config(Arc::new(transport))
        .migration(false)
        .max_incoming(limits.handshakes)
        .incoming_buffer_size(CONNECTION_WINDOW.into_inner())
        .incoming_buffer_size_total(INCOMING_MAX);
    Endpoint::new(identity(encryption), Some(config), socket, Arc::new(TokioRuntime))
}

/// What a connection is known by, and what whoever does not know it says to it: the same for every server with this key.
fn identity(encryption: &Encryption) -> EndpointConfig {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, encryption.credentials.secret("QUIC resets").as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(ConnectionIds(SystemRandom::new())));
    config
}

/// Connection IDs without a mark of who made them: those of the server before this one must not be taken for noise.
#[derive(Debug)]
struct ConnectionIds(SystemRandom);

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut octets = [0; CONNECTION_ID];
        self.0.fill(&mut octets).expect("the system has random octets: keys were made of them");
        ConnectionId::new(&octets)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Accepts connections until the stop, then waits for them to end.
pub(super) async fn accept(endpoint: Endpoint, shared: Rc<Shared>) {
    let mut stop = shared.stop.clone();
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stop.wait_for(Phase::is_over) => break,
            incoming = endpoint.accept() => incoming,
        };
        // The endpoint itself is gone, and its socket with it: nothing more can come.
        let Some(incoming) = incoming else { break };
        admit(incoming, &shared);
    }
    endpoint.set_server_config(None);
    // The last packets are those that say that it is over.
    endpoint.wait_idle().await;
}

fn admit(incoming: Incoming, shared: &Rc<Shared>) {
    let source = incoming.remote_address();
    if is_silent(source.port()) {
        shared.counters.event(Event::Dropped, 1);
        incoming.ignore();
        return;
    }
    if !incoming.remote_address_validated() && shared.handshakes.len() * 2 >= shared.limits.handshakes {
        shared.counters.limit(Limit::Handshakes, 1);
        // It fails only for those whose address is known.
        let _ = incoming.retry();
        return;
    }
    shared.counters.event(Event::Accepted, 1);
    match incoming.accept() {
        Ok(connecting) => {
            let place = shared.let_shake(source);
            spawn_local(converse(connecting, source, place, Rc::clone(shared)));
        }
        Err(_) => {
            shared.counters.event(Event::HandshakeFailed, 1);
            shared.counters.event(Event::Closed, 1);
        }
    }
}

/// Shakes hands, then answers.
async fn converse(connecting: Connecting, source: SocketAddr, place: Place, shared: Rc<Shared>) {
    let shaken = shared.shake(&place, Phase::quiet_shared, connecting).await;
    match shaken {
        Some(Ok(Ok(connection))) => {
            let settled = shared.let_in(source);
            drop(place);
            let talk = Rc::new(Talk::new(connection, source, settled, Rc::clone(&shared)));
            let ending = talk.run().await;
            talk.end(ending);
        }
        Some(Ok(Err(_))) => shared.counters.event(Event::HandshakeFailed, 1),
        Some(Err(_)) => shared.counters.limit(Limit::Handshake, 1),
        None => {}
    }
    shared.counters.event(Event::Closed, 1);
}

/// A connection whose handshake is done.
struct Talk {
    connection: Connection,
    source: SocketAddr,
    place: Place,
    shared: Rc<Shared>,
    /// Streams that were opened so far.
    queries: Cell<usize>,
    /// Who may read a query longer than [`QUERY_COMMON`]: one stream.
    large: Semaphore,
    /// Who may hold a response that is not in QUIC's own buffer yet.
    answering: Semaphore,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client has what it asked for, and nothing is wrong.
    Done,
    /// It asked nothing for too long.
    Idle,
    /// It had to make room.
    Evicted,
    /// It does not speak DNS over QUIC.
    Violation,
    /// It is gone.
    Gone,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// In some order that concerns nobody else.
    Over,
    /// With something that RFC 9250 §4.3.3 calls fatal to the connection.
    Violation,
}

impl Talk {
    fn new(connection: Connection, source: SocketAddr, place: Place, shared: Rc<Shared>) -> Self {
        let responses = (shared.limits.unsent / MESSAGE_MAX).clamp(1, RESPONSES_MAX);
        Self {
            connection,
            source,
            place,
            shared,
            queries: Cell::new(0),
            large: Semaphore::new(1),
            answering: Semaphore::new(responses),
        }
    }

    async fn run(self: &Rc<Self>) -> Ending {
        let mut stop = self.shared.stop.clone();
        let mut until: Option<Instant> = None;
        // Dropped with the conversation, and its streams with it.
        let mut streams = JoinSet::new();
        loop {
            let may_ask = self.queries.get() < self.shared.limits.queries;
            if streams.is_empty() && !may_ask {
                return Ending::Done;
            }
            let (deadline, ending) = match until {
                Some(until) => (until, Ending::Done),
                None => (self.place.last_used() + self.shared.limits.idle, Ending::Idle),
            };
            tokio::select! {
                biased;
                () = self.place.evicted() => return Ending::Evicted,
                phase = over(&mut stop), if until.is_none() => until = Some(now() + phase.quiet_shared()),
                () = sleep_until(deadline), if streams.is_empty() => return ending,
                Some(ended) = streams.join_next() => {
                    self.place.used(now());
                    if matches!(ended, Ok(Stream::Violation)) {
                        return Ending::Violation;
                    }
                }
                opened = self.connection.accept_bi(), if may_ask => {
                    let Ok((send, receive)) = opened else { return Ending::Gone };
                    self.queries.set(self.queries.get() + 1);
                    if self.queries.get() == self.shared.limits.queries {
                        self.shared.counters.limit(Limit::Queries, 1);
                    }
                    self.place.used(now());
                    streams.spawn_local(Rc::clone(self).exchange(send, receive));
                }
            }
        }
    }

    fn end(&self, ending: Ending) {
        let code = match ending {
            Ending::Gone => return,
            Ending::Done => NO_ERROR,
            Ending::Idle => {
                self.shared.counters.limit(Limit::Idle, 1);
                NO_ERROR
            }
            Ending::Evicted => EXCESSIVE_LOAD,
            Ending::Violation => {
                self.shared.counters.event(Event::CutOff, 1);
                PROTOCOL_ERROR
            }
        };
        self.connection.close(code, b"");
    }

    /// Reads the query of a stream and answers it.
    async fn exchange(self: Rc<Self>, mut send: SendStream, mut receive: RecvStream) -> Stream {
        let limits = &self.shared.limits;
        let query = match timeout(limits.frame, self.read(&mut receive)).await {
            Ok(Read::Query(query)) => query,
            Ok(Read::Cancelled) => {
                let _ = send.reset(REQUEST_CANCELLED);
                return Stream::Over;
            }
            Ok(Read::Violation) => return Stream::Violation,
            Err(_) => {
                self.give_up(&mut send, &mut receive, Limit::Frame);
                return Stream::Over;
            }
        };
        // One more octet breaks the rules; the end of the stream need not be waited for to answer (RFC 9250 §4.2).
        let (written, ended) = tokio::join!(
            timeout(limits.idle, self.respond(&query, &mut send)),
            timeout(limits.frame, rest(&mut receive))
        );
        match (written, ended) {
            (Ok(Stream::Violation), _) | (_, Ok(Stream::Violation)) => Stream::Violation,
            (Err(_), _) => {
                self.give_up(&mut send, &mut receive, Limit::Idle);
                Stream::Over
            }
            (Ok(Stream::Over), _) => Stream::Over,
        }
    }

    async fn read(&self, receive: &mut RecvStream) -> Read {
        let mut length = [0; 2];
        if let Err(error) = receive.read_exact(&mut length).await {
            return error.into();
        }
        let length = usize::from(u16::from_be_bytes(length));
        let _turn = match length {
            ..=QUERY_COMMON => None,
            _ => self.large.acquire().await.ok(),
        };
        let mut query = vec![0; length];
        match receive.read_exact(&mut query).await {
            Ok(()) => Read::Query(query),
            Err(error) => error.into(),
        }
    }

    /// Answers, and waits until the client has the response: closing the connection would take it back.
    async fn respond(&self, query: &[u8], send: &mut SendStream) -> Stream {
        // Every message has the ID 0 (RFC 9250 §4.2.1); one that has not is fatal, as is what is no query.
        if !query.starts_with(&[0, 0]) {
            return Stream::Violation;
        }
        let mut turn = self.answering.acquire().await;
        let framed = match self.answer(query) {
            Answer::Now(framed) => framed,
            Answer::Later(mut receiver) => {
                // Whoever waits for an upstream holds no response, and must not keep others from theirs.
                drop(turn);
                let Some(response) = receiver.recv().await else { return Stream::Over };
                turn = self.answering.acquire().await;
                framed(&response)
            }
            Answer::None => return Stream::Violation,
        };
        // The client wants no more of it, or is gone: that is its own affair.
        if send.write_all(&framed).await.is_err() || send.finish().is_err() {
            return Stream::Over;
        }
        drop(framed);
        drop(turn);
        let _ = send.stopped().await;
        Stream::Over
    }

    fn answer(&self, query: &[u8]) -> Answer {
        let mut worker = self.shared.worker.borrow_mut();
        let Worker { reader, response, turn, .. } = &mut *worker;
        *turn = turn.wrapping_add(1);
        let asked = Asked { source: self.source, transport: Transport::Quic, turn: *turn, query };
        let (snapshot, counters) = (reader.current(), &*self.shared.counters);
        let mut said = self.shared.desk.answer(snapshot, counters, asked, response);
        let mut later = None;
        if let Said::Later(wanted) = said {
            let (sender, receiver) = mpsc::channel(1);
            said = self.shared.desk.pass_on(*wanted, Reply::Stream(sender), (snapshot, counters), asked, response);
            later = Some(receiver);
        }
        let answer = match (said, later) {
            (Said::Response(length), _) => Answer::Now(framed(response.get(..length).unwrap_or_default())),
            (Said::Awaited, Some(receiver)) => Answer::Later(receiver),
            _ => Answer::None,
        };
        reader.rest();
        answer
    }

    fn give_up(&self, send: &mut SendStream, receive: &mut RecvStream, limit: Limit) {
        self.shared.counters.event(Event::CutOff, 1);
        self.shared.counters.limit(limit, 1);
        // Either may be closed already.
        let _ = send.reset(EXCESSIVE_LOAD);
        let _ = receive.stop(EXCESSIVE_LOAD);
    }
}

/// What is said to a query.
enum Answer {
    /// This, with its length before it.
    Now(Vec<u8>),
    /// What comes from here.
    Later(mpsc::Receiver<Box<[u8]>>),
    /// Nothing.
    None,
}

/// A message behind its length; no response is longer than that can say.
fn framed(response: &[u8]) -> Vec<u8> {
    let length = u16::try_from(response.len()).unwrap_or_default();
    [&length.to_be_bytes(), response].concat()
}

/// What came of reading a query.
enum Read {
    Query(Vec<u8>),
    /// The client thought better of it, or is gone.
    Cancelled,
    /// The stream ended before the query did.
    Violation,
}

impl From<ReadExactError> for Read {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Violation,
            ReadExactError::ReadError(_) => Self::Cancelled,
        }
    }
}

/// Reads what follows a query: nothing, if the client keeps to the rules.
async fn rest(receive: &mut RecvStream) -> Stream {
    match receive.read_chunk(1, true).await {
        Ok(Some(_)) => Stream::Violation,
        Ok(None) | Err(ReadError::Reset(_) | ReadError::ConnectionLost(_) | ReadError::ClosedStream) => Stream::Over,
        Err(ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected) => Stream::Over,
    }
}

fn integer(number: usize) -> VarInt {
    u32::try_from(number).map_or(VarInt::MAX, VarInt::from_u32)
}

/// Error codes of RFC 9250 §4.3.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Octets of a connection ID: nobody guesses one.
const CONNECTION_ID: usize = 16;

/// Octets of the longest message with its length.
const MESSAGE_MAX: usize = 2 + 65_535;

/// Octets of a query that is read at once: more than any has but for padding.
const QUERY_COMMON: usize = 2048;

/// Responses of one connection that are held at once besides those that QUIC holds, at most.
const RESPONSES_MAX: usize = 4;

/// Octets of one stream, and of all streams of a connection, that may arrive before they are read.
const STREAM_WINDOW: VarInt = VarInt::from_u32(16 << 10);
const CONNECTION_WINDOW: VarInt = VarInt::from_u32(64 << 10);

/// Octets that may arrive for all connections that are not accepted yet.
const INCOMING_MAX: u64 = 4 << 20;

/// How much longer than [`Limits::idle`] QUIC itself waits for a silent client: it tells nobody, and we do.
const GRACE: Duration = Duration::from_secs(5);
