//! The removal hold: a loss that nobody announced is not believed at once.
//!
//! A file that is removed makes an event. Where a scan finds many files gone and no event told of it, the file system may
//! have lost its head: a mount that shows half of what it holds, a network file system whose server came back empty. So where
//! ten or more registrations went like that, and more than half of the names that answer would not any more, they are kept
//! for a while, and the log and the metrics say so. What goes on to be missing is believed after that; what comes back was never
//! gone; and as soon as what has come in their place answers for enough names, nothing is lost and the hold ends.
//!
//! Removals that an event told of, and leases that ran out, are not held: these were meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::compile::Loss;
use crate::observe::FileGauges;
use crate::publish::Snapshot;
use crate::registry::Registry;

/// Decides which losses to believe.
#[derive(Debug)]
pub(crate) struct Hold {
    period: Duration,
    gauges: Arc<FileGauges>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// How many names answered when it began.
    before: usize,
    /// When to look at it again.
    due: Duration,
}

impl Hold {
    /// Makes a hold that lasts for `period`; none if that is zero.
    pub(crate) fn new(period: Duration, gauges: Arc<FileGauges>) -> Self {
        Self { period, gauges, held: None }
    }

    /// When a loss that is held is to be looked at again.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.due)
    }

    /// Which of the files that are `missing`, each since a moment, are to count as removed.
    pub(crate) fn believe(
        &mut self,
        missing: &BTreeMap<Arc<str>, Duration>,
        registry: &Registry,
        served: &Snapshot,
        now: Duration,
    ) -> BTreeSet<Arc<str>> {
        let is_over = |since: Duration| since + self.period <= now;
        let over: BTreeSet<Arc<str>> =
            missing.iter().filter(|(_, since)| is_over(**since)).map(|(file, _)| Arc::clone(file)).collect();
        if self.held.is_some() && !over.is_empty() {
            warn!(files = over.len(), "files that a scan found gone stayed so: they count as removed now");
        }
        let first = missing.values().copied().filter(|since| !is_over(*since)).min().map(|since| since + self.period);
        let Some(first) = first else {
            self.end();
            return over;
        };
        if self.held.as_ref().is_some_and(|held| now < held.due) {
            return over;
        }
        let all: BTreeSet<Arc<str>> = missing.keys().cloned().collect();
        let registrations = registry.registrations_in(&all);
        let before = self.held.as_ref().map(|held| held.before);
        let loss = (registrations >= REGISTRATIONS_MIN).then(|| Loss::of(&all, registry, served));
        match loss {
            Some(Loss { before: now_answering, after }) if after * 2 < before.unwrap_or(now_answering) => {
                let before = before.unwrap_or(now_answering);
                if self.held.is_none() {
                    warn!(
                        files = all.len(),
                        registrations,
                        "a scan found files gone of which no event told, and {} of {before} names would stop answering: \
                         they are kept for {:?}",
                        now_answering.saturating_sub(after),
                        self.period,
                    );
                    self.gauges.hold_begun();
                }
                self.gauges.held(all.len() - over.len());
                self.held = Some(Held { before, due: first.min(now + LOOK_AGAIN) });
                over
            }
            _ => {
                self.end();
                all
            }
        }
    }

    fn end(&mut self) {
        if self.held.take().is_some() {
            info!("nothing is held back any more");
            self.gauges.held(0);
        }
    }
}

/// Fewer registrations than these may go without an event.
const REGISTRATIONS_MIN: usize = 10;

/// How soon a loss that is held is weighed again, while files come in that may make up for it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
