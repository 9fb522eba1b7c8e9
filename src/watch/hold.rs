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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Compiler;
    use crate::registry::{FileChange, FileContent, Now};
    use crate::spec::{self, Format};

    const PERIOD: Duration = Duration::from_secs(10);

    /// A registry, what is served of it, and the hold.
    struct Bench {
        registry: Registry,
        served: Snapshot,
        hold: Hold,
    }

    impl Bench {
        fn with(instances: u32) -> Self {
            let hold = Hold::new(PERIOD, Arc::new(FileGauges::default()));
            let mut bench = Self { registry: Registry::new(Duration::ZERO), served: Snapshot::starting(), hold };
            bench.add("a", instances);
            bench
        }

        /// Adds so many instances of an app of their own, each in a file.
        fn add(&mut self, app: &str, instances: u32) {
            let change = |number| {
                let text = format!(
                    "app: app-{app}\ncomponent: web\nnumber: {number}\naddress: 10.0.0.{number}\nshared_address: true\n"
                );
                let documents = spec::read(text.as_bytes(), Format::Yaml, "stem").documents.into();
                FileChange { file: file(app, number), content: Some(FileContent { documents, modified: 0 }) }
            };
            let now = Now { monotonic: Duration::ZERO, wall: 0 };
            let touched = self.registry.apply((1..=instances).map(change).collect(), now);
            self.served = Compiler::new().compile(&self.registry, &touched, &self.served).unwrap();
        }

        /// How many of the first `missing` files are believed to be gone at a second.
        fn believed(&mut self, missing: u32, second: u64) -> usize {
            let missing = (1..=missing).map(|number| (file("a", number), Duration::ZERO)).collect();
            self.hold.believe(&missing, &self.registry, &self.served, Duration::from_secs(second)).len()
        }
    }

    fn file(app: &str, number: u32) -> Arc<str> {
        Arc::from(format!("{app}/{number}.yaml"))
    }

    #[test]
    fn fewer_than_ten_registrations_and_no_more_than_half_of_the_names_are_believed() {
        assert_eq!(Bench::with(12).believed(9, 0), 9);
        // Twenty-one names: of the instances, and of the component.
        assert_eq!(Bench::with(20).believed(10, 0), 10, "eleven are left");
        assert_eq!(Bench::with(20).believed(11, 0), 0, "ten are left");
    }

    #[test]
    fn what_is_held_is_believed_after_a_while_or_when_something_has_come_in_its_place() {
        let mut bench = Bench::with(20);
        assert_eq!(bench.believed(20, 0), 0);
        assert_eq!(bench.hold.next(), Some(LOOK_AGAIN));
        assert_eq!(bench.believed(20, 9), 0);
        assert_eq!(bench.believed(20, 10), 20);
        assert_eq!(bench.hold.next(), None);

        let mut bench = Bench::with(20);
        assert_eq!(bench.believed(20, 0), 0);
        bench.add("b", 9);
        assert_eq!(bench.believed(20, 1), 0, "ten names for twenty-one");
        bench.add("c", 1);
        assert_eq!(bench.believed(20, 2), 20);
    }

    #[test]
    fn what_comes_back_ends_the_hold_and_without_a_period_there_is_none() {
        let mut bench = Bench::with(20);
        assert_eq!(bench.believed(20, 0), 0);
        assert_eq!(bench.believed(3, 1), 3, "what is missing still is not much");
        let mut bench = Bench::with(20);
        bench.hold.period = Duration::ZERO;
        assert_eq!(bench.believed(20, 0), 20);
    }
}
