//! One connection, TCP or TLS over it: frames in, frames out, as many at once as arrive (RFC 7766 §6.2.1.1, §8; RFC 7858 §3.3).
//!
//! A loop of three steps, each of which does what can be done without waiting: answer the whole messages that have arrived, write
//! what has been answered, then wait for whatever lets one of the two go on, or for the moment at which patience ends. Reading stops
//! while too much is unsent, so what a client can make us hold is bounded by [`Limits`], and what it does not take closes it.
//!
//! A client that has closed its side still gets its answers. A message that is not a query (shorter than a header, or a response) says that
//! the stream is not DNS, or out of step: what was answered before it is sent, and the connection closed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::answer::{Asked, Reply, Said};
use super::limits::Limits;
use super::roster::Place;
use super::streams::{Shared, Worker, now, over};
use crate::engine::Transport;
use crate::observe::{Event, Limit};

/// One client's connection over a stream that is, or is not, encrypted.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    transport: Transport,
    source: SocketAddr,
    /// Shared with the wait for being told to go, which must not hold the rest.
    place: Rc<Place>,
    shared: Rc<Shared>,
    input: Input,
    output: Output,
    /// Where responses come from that wait for an upstream; made for the first of them.
    later: Option<Later>,
    /// Until when the client is listened to, once we were told to stop.
    until: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes over a stream that was let in.
    pub(super) fn new(stream: S, transport: Transport, source: SocketAddr, place: Place, shared: Rc<Shared>) -> Self {
        let (input, output, place) = (Input::default(), Output::default(), Rc::new(place));
        Self { stream, transport, source, place, shared, input, output, later: None, until: None }
    }

    /// Answers until either side has had enough, and counts how it ended.
    pub(super) async fn run(mut self) {
        let ending = self.converse().await;
        match ending {
            Ending::CutOff(limit) | Ending::Idle(limit) => self.shared.counters.limit(limit, 1),
            Ending::Done | Ending::Gone => {}
        }
        if matches!(ending, Ending::CutOff(_)) || self.input.more == More::Refused {
            self.shared.counters.event(Event::CutOff, 1);
        }
        if ending != Ending::Gone {
            // TLS says that this is the end and not an attack on it (RFC 8446 §6.1), where that can be said without waiting.
            let _ = poll_fn(|context| Poll::Ready(Pin::new(&mut self.stream).poll_shutdown(context))).await;
        }
        self.shared.counters.event(Event::Closed, 1);
    }

    async fn converse(&mut self) -> Ending {
        let mut stop = self.shared.stop.clone();
        let place = Rc::clone(&self.place);
        loop {
            self.answer();
            if poll_fn(|context| Poll::Ready(self.write(context))).await.is_err() {
                return Ending::Gone;
            }
            if self.can_answer() {
                // As much as may be unsent was answered, and all of it is written. The other connections come first now.
                tokio::task::yield_now().await;
                continue;
            }
            if !self.can_read() && self.output.is_empty() && self.output.awaited == 0 {
                return Ending::Done;
            }
            let (deadline, ending) = self.patience();
            // Taken out, because the other waits need all of the rest.
            let mut later = self.later.take();
            let late = async {
                match &mut later {
                    Some(later) => later.receiver.recv().await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                // In this order, or a client that never pauses could neither be stopped nor told to go.
                biased;
                () = place.evicted() => Some(Ending::Done),
                phase = over(&mut stop), if self.until.is_none() => {
                    self.until = Some(now() + phase.quiet());
                    None
                }
                () = sleep_until(deadline) => Some(ending),
                response = late => {
                    self.output.awaited = self.output.awaited.saturating_sub(1);
                    self.output.push(&response.unwrap_or_default(), now());
                    None
                }
                moved = poll_fn(|context| self.poll_move(context)) => moved.is_err().then_some(Ending::Gone),
            };
            self.later = later;
            if let Some(ending) = ended {
                return ending;
            }
        }
    }

    /// Answers the whole messages that have arrived, as far as the limits allow.
    fn answer(&mut self) {
        if self.input.octets.is_empty() {
            return;
        }
        let now = now();
        let mut worker = self.shared.worker.borrow_mut();
        let Worker { reader, response, .. } = &mut *worker;
        let snapshot = reader.current();
        let mut taken = 0;
        self.input.begun = loop {
            let rest = self.input.octets.get(taken..).unwrap_or_default();
            let full = self.output.full(&self.shared.limits);
            if rest.is_empty() || full.is_some() {
                if let Some(limit) = full.filter(|_| !rest.is_empty() && taken > 0) {
                    self.shared.counters.limit(limit, 1);
                }
                // What waits for us keeps nobody waiting.
                break None;
            }
            let query = match frame(rest) {
                Frame::Whole(query) => query,
                Frame::Part if taken > 0 => break Some(now),
                Frame::Part => break self.input.begun.or(Some(now)),
                Frame::Alien => {
                    self.input.more = More::Refused;
                    break None;
                }
            };
            taken += LENGTH + query.len();
            self.input.messages += 1;
            self.place.used(now);
            let asked = Asked { source: self.source, transport: self.transport, turn: 0, query };
            let counters = &*self.shared.counters;
            let mut said = self.shared.desk.answer(snapshot, counters, asked, response);
            if let Said::Later(wanted) = said {
                let places = self.shared.limits.in_flight.max(1);
                let later = self.later.get_or_insert_with(|| Later::new(places));
                let reply = Reply::Stream(later.sender.clone());
                said = self.shared.desk.pass_on(*wanted, reply, (snapshot, counters), asked, response);
            }
            match said {
                Said::Awaited => self.output.awaited += 1,
                Said::Response(length) => self.output.push(response.get(..length).unwrap_or_default(), now),
                Said::Later(_) | Said::Nothing => self.input.more = More::Refused,
            }
            if self.input.messages >= self.shared.limits.queries {
                self.shared.counters.limit(Limit::Queries, 1);
                self.input.more = More::Refused;
            }
            if self.input.more == More::Refused {
                break None;
            }
        };
        reader.rest();
        drop(worker);
        if self.input.more == More::Refused {
            taken = self.input.octets.len();
        }
        self.input.forget(taken);
    }

    /// Whether there is something to answer, and room for it.
    fn can_answer(&self) -> bool {
        self.output.has_room(&self.shared.limits) && matches!(frame(&self.input.octets), Frame::Whole(_) | Frame::Alien)
    }

    fn can_read(&self) -> bool {
        self.input.more == More::Wanted && self.output.has_room(&self.shared.limits)
    }

    /// Writes or reads what can be without waiting; ready once something has moved.
    fn poll_move(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let moved = self.write(context)?;
        if self.can_read() && self.poll_read(context)?.is_ready() || moved == Moved::Some {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut worker = self.shared.worker.borrow_mut();
        let mut received = ReadBuf::new(&mut worker.received);
        match Pin::new(&mut self.stream).poll_read(context, &mut received) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if received.filled().is_empty() => self.input.more = More::Ended,
            Poll::Ready(Ok(())) => self.input.octets.extend_from_slice(received.filled()),
            // A TLS client that just closes its side. Each message has its length, so nothing can be cut unseen.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.input.more = More::Ended,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what can be without waiting.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<Moved> {
        let mut moved = Moved::Nothing;
        let written = loop {
            if self.output.responses.is_empty() {
                break match self.output.unflushed {
                    Some(_) => Pin::new(&mut self.stream).poll_flush(context),
                    None => return Ok(moved),
                };
            }
            match Pin::new(&mut self.stream).poll_write(context, self.output.unsent()) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.output.forget(count);
                    self.place.used(now());
                    moved = Moved::Some;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        match written {
            Poll::Pending => Ok(moved),
            Poll::Ready(Ok(())) => {
                self.output.unflushed = None;
                Ok(Moved::Some)
            }
            Poll::Ready(Err(error)) => {
                self.shared.counters.event(Event::SendFailed, 1);
                Err(error)
            }
        }
    }

    /// Until when to wait, and what it means when nothing has happened by then.
    fn patience(&self) -> (Instant, Ending) {
        let limits = &self.shared.limits;
        if let Some(made) = self.output.oldest() {
            // What is taken octet by octet is not taken: the oldest response counts, not the last progress.
            return if self.output.unsent().len() >= limits.unsent {
                (made + limits.frame, Ending::CutOff(Limit::Frame))
            } else {
                (made + limits.idle, Ending::CutOff(Limit::Idle))
            };
        }
        match (self.until, self.input.begun) {
            // Whoever waits for an upstream waits for us.
            (_, None) if self.output.awaited > 0 => (self.place.last_used() + AWAITED, Ending::Idle(Limit::Idle)),
            (Some(until), _) => (until, Ending::Done),
            (None, Some(begun)) => (begun + limits.frame, Ending::CutOff(Limit::Frame)),
            (None, None) => (self.place.last_used() + limits.idle, Ending::Idle(Limit::Idle)),
        }
    }
}

/// Where responses come from that wait for an upstream.
#[derive(Debug)]
struct Later {
    sender: mpsc::Sender<Box<[u8]>>,
    receiver: mpsc::Receiver<Box<[u8]>>,
}

impl Later {
    /// Makes one with so many places: no more queries are in flight, so that each response has one.
    fn new(places: usize) -> Self {
        let (sender, receiver) = mpsc::channel(places);
        Self { sender, receiver }
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// In order: the client had all it asked for, or had to make room.
    Done,
    /// In order: the client wanted nothing for as long as this limit says.
    Idle(Limit),
    /// The client kept us waiting in the middle of something, for longer than this limit says.
    CutOff(Limit),
    /// The connection broke.
    Gone,
}

/// Whether octets went anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Some did.
    Some,
    /// None did.
    Nothing,
}

/// What has arrived and is not answered.
#[derive(Debug, Default)]
struct Input {
    octets: Vec<u8>,
    more: More,
    /// When the message began of which only a part is there.
    begun: Option<Instant>,
    /// Messages taken so far.
    messages: usize,
}

/// Whether more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum More {
    /// Yes.
    #[default]
    Wanted,
    /// The client has closed its side.
    Ended,
    /// We want no more: the stream is not DNS, or the client has asked enough.
    Refused,
}

impl Input {
    fn forget(&mut self, count: usize) {
        self.octets.drain(..count);
        if self.octets.is_empty() && self.octets.capacity() > KEPT_CAPACITY {
            self.octets = Vec::new();
        }
    }
}

/// What stands at the front of the input.
enum Frame<'a> {
    /// A whole message.
    Whole(&'a [u8]),
    /// The beginning of one, or nothing.
    Part,
    /// Nothing that could become a query: too short for a header.
    Alien,
}

fn frame(octets: &[u8]) -> Frame<'_> {
    let Some((length, rest)) = octets.split_first_chunk::<LENGTH>() else { return Frame::Part };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < HEADER {
        return Frame::Alien;
    }
    rest.get(..length).map_or(Frame::Part, Frame::Whole)
}

/// What is answered and not with the kernel yet.
#[derive(Debug, Default)]
struct Output {
    /// Responses, each behind its length, in one piece: a response and its length leave in one segment (RFC 7766 §8).
    octets: Vec<u8>,
    /// How many of the octets the kernel has.
    sent: usize,
    /// The responses that it does not have to the end, oldest first.
    responses: VecDeque<Unsent>,
    /// How many more are on their way from an upstream.
    awaited: usize,
    /// When the oldest response was made that is all in the stream and that the stream may still hold: TLS has a buffer.
    unflushed: Option<Instant>,
}

#[derive(Debug)]
struct Unsent {
    /// Where in `octets` it ends.
    end: usize,
    made: Instant,
}

impl Output {
    /// Whether one more response may be made.
    fn has_room(&self, limits: &Limits) -> bool {
        self.full(limits).is_none()
    }

    /// Which limit keeps more responses from being made.
    fn full(&self, limits: &Limits) -> Option<Limit> {
        if self.unsent().len() >= limits.unsent {
            return Some(Limit::Unsent);
        }
        (self.responses.len() + self.awaited >= limits.in_flight).then_some(Limit::InFlight)
    }

    fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.unflushed.is_none()
    }

    fn unsent(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// When the oldest response was made that the kernel does not have to the end.
    fn oldest(&self) -> Option<Instant> {
        self.unflushed.or_else(|| self.responses.front().map(|unsent| unsent.made))
    }

    fn push(&mut self, response: &[u8], made: Instant) {
        let Ok(length) = u16::try_from(response.len()) else { return };
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(response);
        self.responses.push_back(Unsent { end: self.octets.len(), made });
    }

    /// Notes that the kernel has `count` more octets.
    fn forget(&mut self, count: usize) {
        self.sent += count;
        while let Some(unsent) = self.responses.front().filter(|unsent| unsent.end <= self.sent) {
            self.unflushed.get_or_insert(unsent.made);
            self.responses.pop_front();
        }
        if self.responses.is_empty() {
            self.octets.clear();
            self.sent = 0;
            if self.octets.capacity() > KEPT_CAPACITY {
                self.octets = Vec::new();
            }
        } else if self.sent > MOVED_AT {
            self.octets.drain(..self.sent);
            for unsent in &mut self.responses {
                unsent.end -= self.sent;
            }
            self.sent = 0;
        }
    }
}

/// How long a response may take that waits for an upstream: longer than that takes.
const AWAITED: Duration = Duration::from_secs(5);

/// Octets of the length before each message (RFC 1035 §4.2.2).
const LENGTH: usize = 2;

/// Octets of a message's header: fewer are no message.
const HEADER: usize = 12;

/// Octets of buffer that an idle connection keeps: a query and its response fit, a thousand connections hold 8 MiB at most.
const KEPT_CAPACITY: usize = 4096;

/// Octets that the kernel has and that are still kept before the rest is moved to the front: a buffer that never runs empty would
/// grow without end, and moving it for every write would take more time than writing.
const MOVED_AT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_only_with_its_last_octet() {
        let octets = [&[0, 12][..], &[7; 12], &[0]].concat();
        for end in 0..14 {
            assert!(matches!(frame(&octets[..end]), Frame::Part), "{end} octets");
        }
        assert!(matches!(frame(&octets), Frame::Whole(query) if query == [7; 12]));
        for length in 0..12 {
            assert!(matches!(frame(&[0, length]), Frame::Alien), "length {length}");
        }
    }

    #[test]
    fn responses_leave_the_output_by_their_last_octet() {
        let mut output = Output::default();
        let limits = Limits { in_flight: 2, unsent: 1_000, ..Limits::default() };
        let first = now();
        let second = first + Duration::from_secs(1);
        output.push(&[1; 20], first);
        assert!(output.has_room(&limits));
        output.push(&[2; 30], second);
        assert!(!output.has_room(&limits), "two are in flight");
        assert_eq!(output.unsent()[..3], [0, 20, 1]);
        output.forget(21);
        assert_eq!(output.oldest(), Some(first));
        output.forget(1);
        assert_eq!(output.oldest(), Some(first), "the stream may hold it");
        output.unflushed = None;
        assert_eq!(output.oldest(), Some(second));
        assert!(output.has_room(&limits));
        output.push(&[3; 1_000], second);
        output.forget(32);
        assert!(!output.has_room(&limits), "too many octets are unsent");
        assert_eq!(output.unsent().len(), 1_002);
        output.forget(1_002);
        assert!(output.unsent().is_empty() && !output.is_empty());
        output.unflushed = None;
        assert!(output.is_empty());
    }

    #[test]
    fn an_output_that_never_runs_empty_does_not_grow() {
        let mut output = Output::default();
        let response = vec![5; 10_000];
        output.push(&response, now());
        for _ in 0..1_000 {
            output.push(&response, now());
            output.forget(10_002);
            assert_eq!(output.unsent().len(), 10_002);
            assert_eq!(output.unsent()[..3], [39, 16, 5]);
            assert!(output.octets.len() < 2 * MOVED_AT);
        }
    }
}
