//! One UDP worker: receive a batch, answer it from one snapshot, send it.
//!
//! Answering is three passes over the batch, each a plain loop: read every query, touch what answering each will load first, answer. A
//! query takes a handful of loads from all over the memory that depend on one another; made in a row for one query, each is waited for,
//! and made for a whole batch they overlap. A panic is caught around the passes and not around each query: one query is answered
//! SERVFAIL, and the pass goes on behind it.
//!
//! A worker has one socket and waits in `recvmmsg` itself: a batch costs two system calls. One worker polling several sockets
//! was rejected: it costs a third and a fourth. So each listening address has as many threads as there are workers; those
//! that nobody asks sleep.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::answer::{Asked, Desk, Reply, Round, Said};
use super::batch::{self, Batch, Message, Sent, Wait};
use super::phase::{Phase, PhaseFlag};
use super::streams::now;
use crate::engine::{Reading, Transport, touch};
use crate::observe::{Counters, Event, Limit, Span};
use crate::publish::{Reader, Snapshot};

/// Answers until the server closes and the socket is shut down, then what is queued in the socket; or until the server leaves, and
/// then nothing more: the socket is another's, who must not find it shut down, so this looks every [`LOOK`].
pub(super) fn run(
    socket: &Arc<UdpSocket>,
    desk: &Desk,
    mut reader: Reader,
    counters: &Counters,
    (size, run, phase): (usize, usize, &PhaseFlag),
) {
    let readings = (0..size).map(|_| Reading::new()).collect();
    let mut worker = Worker { socket, desk, counters, batch: Batch::new(size, batch::run_max(socket, run)), readings };
    let mut failures = 0;
    let mut left = DRAIN_DATAGRAMS / size + 1;
    let mut batches = 0_u32;
    while left > 0 {
        // A shut down socket never waits, so whoever sets the phase first and shuts down then wakes this thread for sure.
        let wait = match phase.get() {
            Phase::Serving => Wait::ForOne,
            Phase::Closing => Wait::Never,
            Phase::Leaving => return,
        };
        match worker.batch.receive(socket, wait) {
            Ok(0) if wait == Wait::Never => return,
            Ok(count) => {
                failures = 0;
                if count == size {
                    counters.limit(Limit::Batch, 1);
                }
                batches = batches.wrapping_add(1);
                if count > 0 {
                    worker.turn(&mut reader, count, batches);
                } else {
                    reader.keep_up();
                }
            }
            Err(_) => {
                counters.event(Event::ReceiveFailed, 1);
                thread::sleep(pause_after(failures));
                failures = failures.saturating_add(1);
            }
        }
        left -= usize::from(wait == Wait::Never);
    }
}

/// What a worker has of its own.
struct Worker<'w> {
    socket: &'w Arc<UdpSocket>,
    desk: &'w Desk,
    counters: &'w Counters,
    batch: Batch,
    /// One for each place in the batch.
    readings: Box<[Reading]>,
}

impl Worker<'_> {
    /// Answers a batch that was received, and sends the responses. Not inlined: `cargo bench --bench engine` counts within it.
    #[inline(never)]
    fn turn(&mut self, reader: &mut Reader, count: usize, batches: u32) {
        // Reading the clock twice for every query would cost a twentieth of it.
        let begun = batches.is_multiple_of(TIMED).then(now);
        self.answer(reader.current(), count);
        if let Some(begun) = begun {
            let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
            let each = now().saturating_duration_since(begun) / count;
            self.counters.duration(Span::Answer, each, u64::from(count));
        }
        let Sent { failed, kept_out, .. } = self.batch.send(self.socket);
        reader.rest();
        if failed > 0 {
            self.counters.event(Event::SendFailed, failed.try_into().unwrap_or(u64::MAX));
        }
        if kept_out > 0 {
            self.counters.limit(Limit::Run, kept_out.try_into().unwrap_or(u64::MAX));
        }
    }

    /// Answers the first `count` places of the batch.
    fn answer(&mut self, snapshot: &Snapshot, count: usize) {
        self.pass(count, |worker, place| {
            if let (Some(query), Some(reading)) = (worker.batch.query(place), worker.readings.get_mut(place)) {
                reading.read(query);
            }
        });
        let readings = self.readings.get_mut(..count).unwrap_or_default();
        // Where it panics, what was not touched is answered like the rest: only slower.
        if catch_unwind(AssertUnwindSafe(|| touch(readings, snapshot))).is_err() {
            self.counters.event(Event::Panicked, 1);
        }
        let mut round = self.desk.round((snapshot, self.counters), Transport::Udp, 0);
        self.pass(count, |worker, place| worker.answer_one(snapshot, &mut round, place));
    }

    /// Does `work` at each place. Where it panics the query there is answered SERVFAIL, and the pass goes on behind it.
    fn pass(&mut self, count: usize, mut work: impl FnMut(&mut Self, usize)) {
        let mut begun = 0;
        while begun < count {
            // A panic leaves nothing half done: the snapshot is never changed, and a response is queued when it is whole.
            let done = catch_unwind(AssertUnwindSafe(|| {
                while begun < count {
                    begun += 1;
                    work(self, begun - 1);
                }
            }));
            if done.is_err() {
                self.break_off(begun - 1);
            }
        }
    }

    #[inline(always)]
    fn answer_one(&mut self, snapshot: &Snapshot, round: &mut Round<'_>, place: usize) {
        let Self { socket, desk, counters, batch, readings } = self;
        // Reading one that is not done was broken off, and that was said.
        let Some(reading) = readings.get(place).filter(|reading| reading.is_done()) else { return };
        let Some(Message { source, query, response }) = batch.message(place) else { return };
        let asked = Asked { source, transport: Transport::Udp, turn: 0, query };
        let said = match round.answer(asked, reading, response) {
            Said::Later(wanted) => {
                let Some(origin) = batch.origin(place) else { return };
                let reply = Reply::Datagram(Arc::clone(socket), Box::new(origin));
                let Some(Message { query, response, .. }) = batch.message(place) else { return };
                let asked = Asked { source, transport: Transport::Udp, turn: 0, query };
                desk.pass_on(*wanted, reply, (snapshot, counters), asked, response)
            }
            said => said,
        };
        self.reply(place, &said);
    }

    fn break_off(&mut self, place: usize) {
        let Some(Message { source, query, response }) = self.batch.message(place) else { return };
        let asked = Asked { source, transport: Transport::Udp, turn: 0, query };
        let said = self.desk.break_off(self.counters, asked, response);
        self.reply(place, &said);
    }

    #[inline(always)]
    fn reply(&mut self, place: usize, said: &Said) {
        if let Said::Response(length) = said {
            self.batch.reply(place, *length);
        }
    }
}

/// How long to leave a socket alone that failed to receive, after so many failures in a row. Most failures belong to one datagram
/// and the next works; one that lasts (no memory) must not take the processor.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0..FREE_FAILURES => Duration::ZERO,
        _ => Duration::from_millis(1 << (failures - FREE_FAILURES).min(10)).min(PAUSE_MAX),
    }
}

/// How long a worker waits for a query before it looks whether it is to leave, and keeps up with what is published. Four looks a second cost a core nothing, and nobody
/// waits for one who leaves.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// One batch in so many is timed.
const TIMED: u32 = 64;

/// Failures in a row that cost no pause.
const FREE_FAILURES: u32 = 8;

/// The longest pause: a server that is well again answers within this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Datagrams that are answered after a stop: more than a socket buffer of 4 MiB holds (doubled by the kernel, at the 768 octets
/// that the smallest datagram takes), so that queries that keep coming cannot keep the worker.
const DRAIN_DATAGRAMS: usize = (8 << 20) / 768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_last_cost_a_pause_and_it_has_an_end() {
        assert_eq!(pause_after(0), Duration::ZERO);
        assert_eq!(pause_after(FREE_FAILURES), Duration::from_millis(1));
        assert!(pause_after(FREE_FAILURES + 5) > pause_after(FREE_FAILURES + 4));
        assert_eq!(pause_after(u32::MAX), PAUSE_MAX);
    }
}
