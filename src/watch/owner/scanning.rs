//! Looking at everything, and at what is below a directory of which an event told.
//!
//! Everything is looked at in [steps](super::super::files::Tour), one a round, so that no change waits for a million files. What
//! is below a directory is not, and nor is everything where nothing is served yet, or where a directory changed meanwhile: the walk
//! would be of two minds about it, so it is begun anew and not left before its end. That also ends what many such changes could
//! keep from ending.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::mem;
use std::time::Duration;

use super::super::events::Health;
use super::super::files::{Tally, Tour};
use super::super::scan::{Body, Progress};
use super::super::wait::Told;
use super::{Gathering, Owner, SCAN_EVERY, SETTLING_MAX};
use crate::registry::Now;

/// Whether everything is being looked at.
#[derive(Debug)]
pub(super) enum Scanning {
    /// No.
    No,
    /// It was, and has to be anew, at once and to the end.
    Interrupted,
    /// It is.
    InSteps(Box<UnderWay>),
}

/// A look at everything that is not at its end.
#[derive(Debug)]
pub(super) struct UnderWay {
    tour: Tour,
    /// What was gone from its place when it began.
    departed: HashSet<Body>,
    /// How long the steps took.
    took: Duration,
    next: Next,
}

/// What comes after a look at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another, after a while.
    Later,
    /// Another, as soon as may be: somebody asked for it when this one had begun.
    Asked,
}

/// How far a look at everything went in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// Not to its end, if at all.
    NotToTheEnd,
    /// To its end in one step.
    AtOnce,
    /// To its end, and this is what there was.
    InSteps(Tally),
}

impl Owner {
    pub(super) fn ask_for_scan(&mut self) {
        match &mut self.scanning {
            Scanning::InSteps(under_way) => under_way.next = Next::Asked,
            Scanning::No | Scanning::Interrupted => self.scan_due = self.scan_due.min(self.scan_not_before),
        }
    }

    /// When to look at everything next, or at more of it.
    pub(super) fn next_step(&self, now: Now) -> Duration {
        match (&self.scanning, self.watches.health()) {
            (Scanning::InSteps(_), Health::Events) => now.monotonic + STEP_REST,
            // Whoever depends on it does not wait for longer than it takes.
            (Scanning::InSteps(_), Health::Polling) => now.monotonic,
            (Scanning::No | Scanning::Interrupted, _) => self.scan_due,
        }
    }

    /// Begins anew, if everything is being looked at.
    pub(super) fn interrupt_scan(&mut self) {
        if matches!(self.scanning, Scanning::InSteps(_)) {
            self.scanning = Scanning::Interrupted;
        }
    }

    /// Goes on looking at everything, or begins to.
    pub(super) fn scan_everything(&mut self) -> Looked {
        let begun = (self.clock)();
        // The first asks for every watch, which takes much longer than the next ones will.
        let first = self.scan_not_before.is_zero();
        let is_served = !first && self.gathering == Gathering::Over && self.files.root_id().is_some();
        let before = mem::replace(&mut self.scanning, Scanning::No);
        let names = if is_served && !matches!(before, Scanning::Interrupted) { STEP } else { usize::MAX };
        let mut under_way = match before {
            Scanning::InSteps(under_way) => under_way,
            Scanning::No | Scanning::Interrupted => Box::new(self.begin_scan(names)),
        };
        let gone_on = self.go_on(&mut under_way.tour, names);
        let has_steps = under_way.tour.steps() > 1;
        if matches!(gone_on, Ok(Progress::Begun)) {
            under_way.took += (self.clock)().monotonic.saturating_sub(begun.monotonic);
            self.scanning = Scanning::InSteps(under_way);
            return Looked::NotToTheEnd;
        }
        let UnderWay { tour, mut departed, took, next } = *under_way;
        if has_steps {
            departed.extend(self.files.departed());
        }
        let tally = self.settle_scan(gone_on, tour, "", (Told::ByScan, &departed), begun);
        let ended = (self.clock)().monotonic;
        let took = took + ended.saturating_sub(begun.monotonic);
        let pause = match self.watches.health() {
            Health::Events if !first => SCAN_EVERY.max(took * SCAN_SHARE),
            Health::Events | Health::Polling => SCAN_EVERY,
        };
        if first {
            // What came while nobody looked is no newcomer: all instances of an app may have moved in the meantime.
            self.newcomers_from = Some(ended + SETTLING_MAX);
        }
        self.scan_due = ended + pause;
        self.scan_not_before = ended + took * SCAN_SHARE_ASKED;
        if next == Next::Asked {
            self.ask_for_scan();
        }
        tally.filter(|_| has_steps).map_or(Looked::AtOnce, Looked::InSteps)
    }

    fn begin_scan(&mut self, names: usize) -> UnderWay {
        self.watches.begin();
        if names == usize::MAX {
            self.watches.lend();
        }
        let departed = self.files.departed();
        UnderWay { tour: Tour::begin("", &mut self.files), departed, took: Duration::ZERO, next: Next::Later }
    }

    pub(super) fn scan_below(&mut self, under: &str, told: Told, departed: &HashSet<Body>, now: Now) {
        self.interrupt_scan();
        self.watches.begin();
        self.watches.lend();
        let mut tour = Tour::begin(under, &mut self.files);
        let gone_on = self.go_on(&mut tour, usize::MAX);
        self.settle_scan(gone_on, tour, under, (told, departed), now);
    }

    fn go_on(&mut self, tour: &mut Tour, names: usize) -> io::Result<Progress> {
        tour.go_on(&mut self.files, names, &mut |directory, path, id| self.watches.add(directory, path, id))
    }

    /// Takes in what a look at everything below `under` found; what there was.
    fn settle_scan(
        &mut self,
        walked: io::Result<Progress>,
        tour: Tour,
        under: &str,
        (told, departed): (Told, &HashSet<Body>),
        now: Now,
    ) -> Option<Tally> {
        let tally = match walked {
            Ok(_) => {
                let found = tour.found(&self.files);
                let tally = found.tally;
                self.watches.end(under, &found.scan.directories);
                self.files.found(found, under, told, departed, now);
                if under.is_empty() && self.gathering == Gathering::Until {
                    self.ready_by.get_or_insert(now.monotonic + SETTLING_MAX);
                }
                Some(tally)
            }
            Err(error) => {
                self.watches.end(under, &BTreeMap::new());
                self.files.lost(&error);
                None
            }
        };
        self.gauges.polling(self.watches.health() == Health::Polling);
        self.gauges.frozen(self.files.is_frozen());
        tally
    }
}

/// How many names are looked at in a step: a fraction of a millisecond.
pub(in crate::watch) const STEP: usize = 256;

/// How long a rest between two steps is: about as long as a step, so that workers have the core too, and the scheduler does not
/// take this for a thread that has had its share when a change wakes it.
const STEP_REST: Duration = Duration::from_micros(500);

/// The scans of a directory that gives events take this part of the time at most.
const SCAN_SHARE: u32 = 200;

/// Scans that somebody asks for take this part of the time at most, however often they ask.
const SCAN_SHARE_ASKED: u32 = 10;
