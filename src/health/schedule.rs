//! Who is checked when, and what the results come to. Time is an argument; no socket is known here.
//!
//! Checks at once are bounded, in all and for each app: what an app has beyond its share waits in a queue of its own, and
//! the queues take turns. So an app whose thousand instances all hang holds up its own checks and nobody else's.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::control::checks::{Begins, Finding, Target, TargetId};

/// Every target, and when it is checked.
#[derive(Debug)]
pub(super) struct Schedule {
    targets: HashMap<TargetId, Entry>,
    /// Those that wait for their time.
    due: BTreeSet<(Duration, TargetId)>,
    /// By app: those whose time has come, and how many are being checked.
    shares: HashMap<u32, Share>,
    /// The apps that have some whose time has come and room for them, in turn.
    turns: VecDeque<u32>,
    running: usize,
    /// What the next moment within a period is drawn from.
    jitter: u64,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    progress: Progress,
    /// When it is in `due`.
    at: Option<Duration>,
}

#[derive(Debug, Default)]
struct Share {
    waiting: VecDeque<TargetId>,
    running: usize,
    in_turn: bool,
}

/// A check to carry out now.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: TargetId,
    pub(super) target: Arc<Target>,
    pub(super) begun: Duration,
}

/// A check that was carried out.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: TargetId,
    pub(super) app: u32,
    pub(super) begun: Duration,
    pub(super) outcome: Outcome,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The instance did what was asked.
    Passed,
    /// It did not, for this reason.
    Failed(Arc<str>),
    /// There was no response in time.
    TimedOut(Arc<str>),
    /// The check could not be carried out, for want of something on this side.
    Unknown,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            targets: HashMap::new(),
            due: BTreeSet::new(),
            shares: HashMap::new(),
            turns: VecDeque::new(),
            running: 0,
            jitter: seed,
        }
    }

    /// Takes in a target, or other terms of one that is there: what was found of it stays.
    pub(super) fn set(&mut self, id: TargetId, target: Arc<Target>, now: Duration) {
        if let Some(entry) = self.targets.get_mut(&id) {
            entry.target = target;
            return;
        }
        // Those that wait to be ready are checked at once; those that are presumed ready spread over their period.
        let spread = match target.begins {
            Begins::Unready => Duration::ZERO,
            Begins::Ready => self.part_of(target.period),
        };
        let at = now.saturating_add(target.initial_delay).saturating_add(spread);
        let progress = Progress::new(target.begins);
        self.targets.insert(id, Entry { target, progress, at: Some(at) });
        self.due.insert((at, id));
    }

    /// Forgets a target; a check of it that is being carried out finds nobody.
    pub(super) fn remove(&mut self, id: TargetId) {
        if let Some(at) = self.targets.remove(&id).and_then(|entry| entry.at) {
            self.due.remove(&(at, id));
        }
    }

    /// When there is something to begin next, unless something ends before.
    pub(super) fn next(&self) -> Option<Duration> {
        if self.running >= CHECKS_MAX {
            return None;
        }
        self.due.first().map(|(at, _)| *at)
    }

    /// Begins the next check that is due, if there is room for it.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Begun> {
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            let Some(entry) = self.targets.get_mut(&id) else { continue };
            entry.at = None;
            let app = entry.target.app;
            self.shares.entry(app).or_default().waiting.push_back(id);
            self.queue(app);
        }
        while self.running < CHECKS_MAX {
            let app = self.turns.pop_front()?;
            let Some(share) = self.shares.get_mut(&app) else { continue };
            share.in_turn = false;
            let next = share.waiting.pop_front();
            let target = next.and_then(|id| Some((id, Arc::clone(&self.targets.get(&id)?.target))));
            if let Some((id, target)) = target {
                share.running += 1;
                self.running += 1;
                self.queue(app);
                return Some(Begun { id, target, begun: now });
            }
            // It was removed while it waited.
            self.queue(app);
        }
        None
    }

    /// Takes in what a check found; yields what changed by that.
    pub(super) fn end(&mut self, ended: Ended, now: Duration) -> Option<Finding> {
        let Ended { id, app, begun, outcome } = ended;
        self.running = self.running.saturating_sub(1);
        if let Some(share) = self.shares.get_mut(&app) {
            share.running = share.running.saturating_sub(1);
        }
        self.queue(app);
        let jitter = self.targets.get(&id).map(|entry| entry.target.period / JITTER);
        let jitter = jitter.map(|most| self.part_of(most)).unwrap_or_default();
        let entry = self.targets.get_mut(&id)?;
        let at = begun.saturating_add(entry.target.period).saturating_add(jitter).max(now);
        entry.at = Some(at);
        self.due.insert((at, id));
        let outcome = match outcome {
            // This side was held up, stopped or suspended for longer than the check could take: it is no fault of theirs.
            Outcome::TimedOut(_) if now.saturating_sub(begun) > entry.target.timeout + SLACK => Outcome::Unknown,
            outcome => outcome,
        };
        entry.progress.hear(outcome, &entry.target)
    }

    /// Puts an app in turn if it has something to check and room to.
    fn queue(&mut self, app: u32) {
        let Some(share) = self.shares.get_mut(&app) else { return };
        if share.waiting.is_empty() && share.running == 0 {
            self.shares.remove(&app);
        } else if !share.waiting.is_empty() && share.running < SHARE_MAX && !share.in_turn {
            share.in_turn = true;
            self.turns.push_back(app);
        }
    }

    /// Draws a part of a length of time (Steele et al., SplitMix64: one addition and a mix).
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.jitter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let permille = u32::try_from((mixed ^ (mixed >> 31)) % 1000).unwrap_or_default();
        whole * permille / 1000
    }
}

/// What is known of one target: whether it is ready, what was said of it, and how many checks in a row went the other way.
#[derive(Debug)]
struct Progress {
    is_ready: bool,
    said: Option<Finding>,
    passed: u32,
    failed: u32,
}

impl Progress {
    const fn new(begins: Begins) -> Self {
        Self { is_ready: matches!(begins, Begins::Ready), said: None, passed: 0, failed: 0 }
    }

    /// Takes in an outcome; yields what is to be said of the target, where that has changed.
    fn hear(&mut self, outcome: Outcome, terms: &Target) -> Option<Finding> {
        let finding = match outcome {
            Outcome::Unknown => return None,
            Outcome::Passed => {
                (self.passed, self.failed) = (self.passed.saturating_add(1), 0);
                if !self.is_ready && self.passed < terms.success_threshold {
                    return None;
                }
                self.is_ready = true;
                Finding::Ready
            }
            Outcome::Failed(reason) | Outcome::TimedOut(reason) => {
                (self.passed, self.failed) = (0, self.failed.saturating_add(1));
                if self.is_ready && self.failed < terms.failure_threshold {
                    return None;
                }
                self.is_ready = false;
                Finding::Unready(reason)
            }
        };
        if self.said.as_ref() == Some(&finding) {
            return None;
        }
        self.said = Some(finding.clone());
        Some(finding)
    }
}

/// The most checks at once: each is a socket, and the usual limit on open files is 1,024, of which connections of clients want
/// most.
pub(super) const CHECKS_MAX: usize = 256;

/// The most checks of one app at once: with the vendor's 10 s, it keeps up with 1,000 instances of 80 ms each.
pub(super) const SHARE_MAX: usize = 8;

/// A check comes up to this part of its period late, so that instances that came together do not stay together.
const JITTER: u32 = 10;

/// How much longer than its timeout a check may seem to take before this side is thought to have been held up.
const SLACK: Duration = Duration::from_secs(1);
