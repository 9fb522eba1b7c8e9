//! One UDP worker: receive a batch, answer it from one snapshot, send it.
//!
//! A worker has one socket and waits in `recvmmsg` itself: a batch costs two system calls. One worker polling several sockets
//! was rejected: it costs a third and a fourth. So each listening address has as many threads as there are workers; those
//! that nobody asks sleep.

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::answer::{Asked, Desk, Reply, Said};
use super::batch::{BATCH, Batch, Wait};
use super::phase::{Phase, PhaseFlag};
use super::streams::now;
use crate::engine::Transport;
use crate::observe::{Counters, Event, Span};
use crate::publish::Reader;

/// Answers until the server closes and the socket is shut down, then what is queued in the socket; or until the server leaves, and
/// then nothing more: the socket is another's, who must not find it shut down, so this looks every [`LOOK`].
pub(super) fn run(socket: &Arc<UdpSocket>, desk: &Desk, mut reader: Reader, counters: &Counters, phase: &PhaseFlag) {
    let mut batch = Batch::new();
    let mut failures = 0;
    let mut left = DRAIN_BATCHES;
    let mut batches = 0_u32;
    while left > 0 {
        // A shut down socket never waits, so whoever sets the phase first and shuts down then wakes this thread for sure.
        let wait = match phase.get() {
            Phase::Serving => Wait::ForOne,
            Phase::Closing => Wait::Never,
            Phase::Leaving => return,
        };
        match batch.receive(socket, wait) {
            Ok(0) if wait == Wait::Never => return,
            Ok(count) => {
                failures = 0;
                // Reading the clock twice for every query would cost a twentieth of it.
                batches = batches.wrapping_add(1);
                let begun = batches.is_multiple_of(TIMED).then(now);
                answer(socket, &mut batch, count, (desk, &mut reader, counters));
                if let Some(begun) = begun {
                    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
                    let each = now().saturating_duration_since(begun) / count;
                    counters.duration(Span::Answer, each, u64::from(count));
                }
                let failed = batch.send(socket).failed;
                reader.rest();
                counters.event(Event::SendFailed, failed.try_into().unwrap_or(u64::MAX));
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

fn answer(
    socket: &Arc<UdpSocket>,
    batch: &mut Batch,
    count: usize,
    (desk, reader, counters): (&Desk, &mut Reader, &Counters),
) {
    let snapshot = reader.current();
    for index in 0..count {
        let Some(message) = batch.message(index) else { continue };
        let asked = Asked { source: message.source, transport: Transport::Udp, turn: 0, query: message.query };
        let mut said = desk.answer(snapshot, counters, asked, message.response);
        if let Said::Later(wanted) = said {
            let Some(origin) = batch.origin(index) else { continue };
            let reply = Reply::Datagram(Arc::clone(socket), Box::new(origin));
            let Some(message) = batch.message(index) else { continue };
            let asked = Asked { source: message.source, transport: Transport::Udp, turn: 0, query: message.query };
            said = desk.pass_on(wanted, reply, (snapshot, counters), asked, message.response);
        }
        if let Said::Response(length) = said {
            batch.reply(index, length);
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

/// How long a worker waits for a query before it looks whether it is to leave. Four looks a second cost a core nothing, and nobody
/// waits for one who leaves.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// One batch in so many is timed.
const TIMED: u32 = 64;

/// Failures in a row that cost no pause.
const FREE_FAILURES: u32 = 8;

/// The longest pause: a server that is well again answers within this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Batches that are answered after a stop: more than a socket buffer of 4 MiB holds (doubled by the kernel, at the 768 octets
/// that the smallest datagram takes), so that queries that keep coming cannot keep the worker.
const DRAIN_BATCHES: usize = (8 << 20) / 768 / BATCH + 1;

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
