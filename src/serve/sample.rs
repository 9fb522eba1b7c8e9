//! Takes a sample of queries for the [census](crate::census), beside the workers.
//!
//! While there is room left for this second a worker copies a question and hands it over; then it is one load of a number that
//! nobody writes to. So a server with little to do is seen whole, and one with much gives [`SAMPLES`] a second of it, whatever
//! asks. One query in so many was rejected: a quiet source would never be seen.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing::warn;

use super::streams::now;
use crate::census::{Census, Question, WINDOW};
use crate::observe::{Counters, Event};
use crate::publish::Subscriber;

/// The workers' side.
#[derive(Debug)]
pub(super) struct Sampler {
    left: Arc<AtomicU32>,
    sender: SyncSender<Question>,
}

/// The side of the thread that looks at them.
pub(super) struct Samples {
    left: Arc<AtomicU32>,
    receiver: Receiver<Question>,
}

pub(super) fn new() -> (Sampler, Samples) {
    // Twice what a second takes: it is never full.
    let (sender, receiver) = sync_channel(2 * SAMPLES as usize);
    let left = Arc::new(AtomicU32::new(SAMPLES));
    (Sampler { left: Arc::clone(&left), sender }, Samples { left, receiver })
}

impl Sampler {
    /// Whether another is wanted.
    pub(super) fn wants(&self) -> bool {
        self.left.load(Ordering::Relaxed) != 0
    }

    /// Hands a query over; never waits.
    #[cold]
    pub(super) fn take(&self, source: IpAddr, query: &[u8]) {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if let (Ok(_), Some(question)) = (taken, Question::read(source, query)) {
            // Whoever would look at it may be gone.
            let _ = self.sender.try_send(question);
        }
    }
}

impl Samples {
    /// Looks at samples until no worker is left. Sleeps while nobody asks.
    pub(super) fn run(self, subscriber: &Subscriber, counters: &Counters) {
        let Self { left, receiver } = self;
        let begun = now();
        let mut census = Census::default();
        let mut said = Said::default();
        while let Ok(first) = receiver.recv() {
            let until = now() + PERIOD;
            let mut next = Ok(first);
            loop {
                match next {
                    Ok(question) => {
                        let elapsed = now().saturating_duration_since(begun);
                        let finding = census.see(&subscriber.current(), &question, elapsed);
                        if let Some(finding) = finding {
                            counters.event(Event::ViewsCollapsed, 1);
                            if said.may(elapsed) {
                                warn!("{finding}");
                            }
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                next = receiver.recv_timeout(until.saturating_duration_since(now()));
            }
            left.store(SAMPLES, Ordering::Relaxed);
        }
    }
}

/// How many lines were written in this window.
#[derive(Debug, Default)]
struct Said {
    since: Duration,
    lines: u32,
}

impl Said {
    /// Whether one more may be.
    fn may(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= WINDOW {
            *self = Self { since: now, lines: 0 };
        }
        self.lines += 1;
        self.lines <= LINES_MAX
    }
}

/// Queries that are looked at in a [`PERIOD`]: about 0.2 ms of a core.
const SAMPLES: u32 = 256;

/// How long they are for.
const PERIOD: Duration = Duration::from_secs(1);

/// Lines in the log a window; what is more is only counted.
const LINES_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_end_when_the_second_is_full_and_nobody_waits() {
        let (sampler, samples) = new();
        let query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";
        for _ in 0..3 * SAMPLES {
            sampler.take([10, 0, 0, 1].into(), query);
        }
        assert!(!sampler.wants());
        assert_eq!(samples.receiver.try_iter().count(), SAMPLES as usize);
        samples.left.store(1, Ordering::Relaxed);
        assert!(sampler.wants());
        sampler.take([10, 0, 0, 1].into(), &query[..14]);
        assert!(!sampler.wants());
        assert_eq!(samples.receiver.try_iter().count(), 0, "no question");
    }

    #[test]
    fn lines_are_few_in_a_window() {
        let mut said = Said::default();
        let lines = (0..100).filter(|_| said.may(Duration::from_secs(1))).count();
        assert_eq!(lines, LINES_MAX as usize);
        assert!(said.may(WINDOW));
    }
}
