//! One TCP connection: frames in, frames out, as many at once as arrive (RFC 7766 §6.2.1.1, §8).
//!
//! A loop of three steps, each of which does what can be done without waiting: answer the whole messages that have arrived, write
//! what has been answered, then wait for whatever lets one of the two go on, or for the moment at which patience ends. Reading stops
//! while too much is unsent, so what a client can make us hold is bounded by [`Limits`], and what it does not take closes it.
//!
//! A client that has closed its side still gets its answers. A message that is not a query (shorter than a header, or a response) says that
//! the stream is not DNS, or out of step: what was answered before it is sent, and the connection closed.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::answer::Asked;
use super::roster::Place;
use super::tcp::{Limits, QUIET, Shared, Worker, now};
use crate::engine::Transport;
use crate::observe::Event;

/// One client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    source: IpAddr,
    place: Place,
    shared: Rc<Shared>,
    input: Input,
    output: Output,
    /// When we were told to stop.
    stopped: Option<Instant>,
}

impl Connection {
    /// Takes over a stream that was let in.
    pub(super) fn new(stream: TcpStream, source: IpAddr, place: Place, shared: Rc<Shared>) -> Self {
        Self { stream, source, place, shared, input: Input::default(), output: Output::default(), stopped: None }
    }

    /// Answers until either side has had enough, and counts how it ended.
    pub(super) async fn run(mut self) {
        let ending = self.converse().await;
        if ending == Ending::CutOff || self.input.more == More::Refused {
            self.shared.counters.event(Event::CutOff, 1);
        }
        self.shared.counters.event(Event::Closed, 1);
    }

    async fn converse(&mut self) -> Ending {
        let mut stop = self.shared.stop.clone();
        loop {
            self.answer();
            if self.write().is_err() {
                return Ending::Gone;
            }
            if self.can_answer() {
                // As much as may be unsent was answered, and all of it is written. The other connections come first now.
                tokio::task::yield_now().await;
                continue;
            }
            let interest = match (self.can_read(), self.output.is_empty()) {
                (true, true) => Interest::READABLE,
                (true, false) => Interest::READABLE | Interest::WRITABLE,
                (false, false) => Interest::WRITABLE,
                (false, true) => return Ending::Done,
            };
            let (deadline, ending) = self.patience();
            tokio::select! {
                // In this order, or a client that never pauses could neither be stopped nor told to go.
                biased;
                () = self.place.evicted() => return Ending::Done,
                _ = stop.wait_for(|stop| *stop), if self.stopped.is_none() => self.stopped = Some(now()),
                () = sleep_until(deadline) => return ending,
                ready = self.stream.ready(interest) => {
                    let is_readable = ready.is_ok_and(|ready| ready.is_readable());
                    if is_readable && self.can_read() && self.read().is_err() {
                        return Ending::Gone;
                    }
                }
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
            if rest.is_empty() || !self.output.has_room(&self.shared.limits) {
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
            let asked = Asked { source: self.source, transport: Transport::Tcp, query };
            match self.shared.desk.answer(snapshot, &self.shared.counters, asked, response) {
                Some(length) => self.output.push(response.get(..length).unwrap_or_default(), now),
                None => self.input.more = More::Refused,
            }
            if self.input.messages >= self.shared.limits.queries {
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

    fn read(&mut self) -> io::Result<()> {
        let mut worker = self.shared.worker.borrow_mut();
        match self.stream.try_read(&mut worker.received) {
            Ok(0) => self.input.more = More::Ended,
            Ok(count) => self.input.octets.extend_from_slice(worker.received.get(..count).unwrap_or_default()),
            Err(error) if is_nothing_yet(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.try_write(self.output.unsent()) {
                Ok(count) if count > 0 => {
                    self.output.forget(count);
                    self.place.used(now());
                }
                Err(error) if is_nothing_yet(&error) => return Ok(()),
                result => {
                    self.shared.counters.event(Event::SendFailed, 1);
                    return Err(result.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                }
            }
        }
        Ok(())
    }

    /// Until when to wait, and what it means when nothing has happened by then.
    fn patience(&self) -> (Instant, Ending) {
        let limits = &self.shared.limits;
        if let Some(made) = self.output.oldest() {
            // What is taken octet by octet is not taken: the oldest response counts, not the last progress.
            let patience = if self.output.unsent().len() >= limits.unsent { limits.frame } else { limits.idle };
            return (made + patience, Ending::CutOff);
        }
        match (self.stopped, self.input.begun) {
            (Some(stopped), _) => (stopped + QUIET, Ending::Done),
            (None, Some(begun)) => (begun + limits.frame, Ending::CutOff),
            (None, None) => (self.place.last_used() + limits.idle, Ending::Done),
        }
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// In order: the client had all it asked for, was idle, or had to make room.
    Done,
    /// The client kept us waiting in the middle of something.
    CutOff,
    /// The connection broke.
    Gone,
}

/// What has arrived and is not answered.
#[derive(Debug, Default)]
struct Input {
    octets: Vec<u8>,
    more: More,
    /// When the message began of which only a part is there.
    begun: Option<Instant>,
    /// Messages taken so far.
    messages: u32,
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
        self.responses.len() < limits.in_flight && self.unsent().len() < limits.unsent
    }

    fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    fn unsent(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// When the oldest response was made that the kernel does not have to the end.
    fn oldest(&self) -> Option<Instant> {
        self.responses.front().map(|unsent| unsent.made)
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
        while self.responses.front().is_some_and(|unsent| unsent.end <= self.sent) {
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

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

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
        let second = first + std::time::Duration::from_secs(1);
        output.push(&[1; 20], first);
        assert!(output.has_room(&limits));
        output.push(&[2; 30], second);
        assert!(!output.has_room(&limits), "two are in flight");
        assert_eq!(output.unsent()[..3], [0, 20, 1]);
        output.forget(21);
        assert_eq!(output.oldest(), Some(first));
        output.forget(1);
        assert_eq!(output.oldest(), Some(second));
        assert!(output.has_room(&limits));
        output.push(&[3; 1_000], second);
        output.forget(32);
        assert!(!output.has_room(&limits), "too many octets are unsent");
        assert_eq!(output.unsent().len(), 1_002);
        output.forget(1_002);
        assert!(output.is_empty() && output.unsent().is_empty());
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
