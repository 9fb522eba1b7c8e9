//! The rounds of the owner task: take the hints, look at what is due, rebuild, publish.
//!
//! [Hearing](hear) and [scanning] turn hints and what there is into what is due, and [replying](reply) comes after the round;
//! between these is this file.

mod hear;
mod reply;
mod scanning;

#[cfg(test)]
pub(super) use self::scanning::STEP;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use self::scanning::{Looked, Scanning};
use super::checks::{self, Checks};
use super::events::Watches;
use super::files::{Files, Keep, Tally};
use super::hold::Hold;
use super::receipts::Receipts;
use super::saving::{Resumed, Saving};
use super::shares::{Shares, in_shares};
use super::{Clock, Explain, Settings};
use crate::compile::{self, Block, Compiler};
use crate::control::checks::{Checklist, Finding, TargetId};
use crate::control::{Change, Control, Inbox, Order, Pending, Request};
use crate::observe::{FileGauges, Span};
use crate::publish::{Publisher, Readiness, Snapshot};
use crate::registry::{AllUnhealthy, AppId, FileChange, FileFault, Made, Now, Registry, Timestamp, Touched};
use crate::state::State;

/// The state of the owner task.
pub(crate) struct Owner {
    root: PathBuf,
    inbox: Inbox,
    clock: Clock,
    explain: Explain,
    /// The last generations, the newest last; at most [`HISTORY_MAX`].
    history: VecDeque<Change>,
    watches: Watches,
    pub(super) files: Files,
    registry: Registry,
    /// The readiness checks; `None` when nobody carries them out.
    checks: Option<Checks>,
    /// What they found since the last round.
    findings: BTreeMap<TargetId, Finding>,
    compiler: Compiler,
    pub(super) publisher: Publisher,
    saving: Saving,
    /// Whether what is compiled is held back until the first scan is complete.
    gathering: Gathering,
    hold: Hold,
    gauges: Arc<FileGauges>,
    /// When it last looked at what has come in.
    looked: Duration,
    /// When instances count as newcomers, which wait for their first success; `None` before the first scan.
    newcomers_from: Option<Duration>,
    /// When the first word came of what is not served yet.
    heard: Option<Duration>,
    /// When everything is looked at next, or was to be and is; the monotonic clock.
    scan_due: Duration,
    scanning: Scanning,
    /// Before this, nobody's asking brings a scan forward: scanning takes a tenth of the time at most.
    scan_not_before: Duration,
    /// Until when the first snapshot waits for files that may be cut off; `None` before the first scan and once it is
    /// published.
    ready_by: Option<Duration>,
    /// What was read before the first snapshot is due: it is taken in as one batch, so that who was read a moment later, as a
    /// file that may be cut off is, loses no conflict by that.
    first: Vec<FileChange>,
    pub(super) receipts: Receipts,
    /// What was said of faults between files.
    told: BTreeSet<FileFault>,
    /// How often these had changed then.
    told_changes: u64,
}

impl Owner {
    /// Makes the owner of a directory that it has not looked at yet.
    pub(crate) fn new(
        settings: Settings,
        publisher: Publisher,
        (control, inbox): (Control, Inbox),
        gauges: Arc<FileGauges>,
        (clock, explain): (Clock, Explain),
        state: Option<State>,
    ) -> Self {
        let Settings { root, tombstone, removal_hold } = settings;
        let keep = if state.is_some() { Keep::All } else { Keep::Yaml };
        Self {
            saving: Saving::new(state),
            gathering: Gathering::Until,
            watches: Watches::new(&root, control),
            files: Files::new(&root, keep),
            root,
            inbox,
            looked: clock().monotonic,
            newcomers_from: None,
            heard: None,
            clock,
            explain,
            history: VecDeque::new(),
            registry: Registry::new(tombstone),
            checks: None,
            findings: BTreeMap::new(),
            compiler: Compiler::new(),
            publisher,
            hold: Hold::new(removal_hold, Arc::clone(&gauges)),
            gauges,
            scan_due: Duration::ZERO,
            scanning: Scanning::No,
            scan_not_before: Duration::ZERO,
            ready_by: None,
            first: Vec::new(),
            receipts: Receipts::default(),
            told: BTreeSet::new(),
            told_changes: 0,
        }
    }

    /// Holds instances to their readiness checks, before anything is read.
    pub(super) fn check_health(&mut self, policy: AllUnhealthy, checklist: Checklist) {
        self.registry.check_health(policy);
        self.checks = Some(Checks::new(checklist));
    }

    /// Goes on from where the last process was, if it left anything. What is served is that already, and stays where nothing
    /// comes of it.
    pub(crate) fn resume(&mut self) {
        // Of a large directory it takes seconds, in which what was served is, and nobody hears of changes.
        self.gauges.resuming(self.publisher.current().readiness == Readiness::Ready);
        self.take_in_saved();
        self.gauges.resuming(false);
    }

    fn take_in_saved(&mut self) {
        let now = (self.clock)();
        let Some(resumed) = self.saving.resume(&self.root, &self.registry, now) else { return };
        let Resumed { files, registry, mut touched, made } = resumed;
        let (compiler, served) = Compiler::resume(&self.publisher.current());
        (self.files, self.registry, self.compiler) = (files, registry, compiler);
        self.gathering = Gathering::Over;
        touched.extend(served);
        if let Some(contents) = self.compile(&touched, made, None) {
            self.publish(contents, now);
        }
        let files: Vec<Arc<str>> = self.files.paths().cloned().collect();
        self.files.made(files, self.publisher.current().generation);
        // Nothing of that is to be saved again, unless it was none of what was saved.
        self.saving.forget();
        self.tell_conflicts();
        self.looked = (self.clock)().monotonic;
    }

    /// Waits for something to do, and does it.
    pub(crate) fn round(&mut self) -> ControlFlow<()> {
        let now = (self.clock)();
        let reaching = self.receipts.next(now.monotonic);
        let deadlines = [self.files.next(), self.registry.deadline(), self.ready_by, self.hold.next(), reaching];
        let scan = self.next_step(now);
        let next = deadlines.into_iter().flatten().min().map_or(scan, |next| next.min(scan));
        let wait = next.saturating_sub(now.monotonic);
        let Pending { order, marks, findings, requests, .. } = self.next(wait);
        let now = (self.clock)();
        self.notice_pause(wait, now);
        match order {
            Order::Stop => {
                self.end(now);
                return ControlFlow::Break(());
            }
            // What was looked at before may be otherwise now, and nobody will say so.
            Order::Lost => {
                self.interrupt_scan();
                self.ask_for_scan();
            }
            Order::Rescan => self.ask_for_scan(),
            Order::None => {}
        }
        self.findings.extend(findings);
        if !marks.is_empty() {
            self.heard.get_or_insert(now.monotonic);
        }
        self.hear(marks, now);
        let questions = self.hear_requests(requests, now);
        let looked = if self.scan_due <= now.monotonic { self.scan_everything() } else { Looked::NotToTheEnd };
        if self.files.waiting() >= MANY || questions.iter().any(Request::is_long) || self.saving.wants_everything() {
            self.watches.lend();
        }
        self.rebuild();
        let tally = match looked {
            Looked::InSteps(tally) => Some(tally),
            Looked::AtOnce => Some(self.files.tally()),
            Looked::NotToTheEnd => (self.files.len() <= TALLIED).then(|| self.files.tally()),
        };
        if let Some(Tally { ok, stale, rejected }) = tally {
            self.gauges.states(ok, stale, rejected);
        }
        if self.gathering == Gathering::Over && !self.scan_not_before.is_zero() {
            self.publisher.catch_up();
        }
        self.reply(questions);
        ControlFlow::Continue(())
    }

    /// Waits for something to do, so long at most.
    pub(super) fn next(&mut self, wait: Duration) -> Pending {
        self.watches.wait(&self.inbox, &self.clock, wait)
    }

    /// Ends in an orderly way. Where everything is to be saved, as after a time in which nothing could be, no later round will.
    fn end(&mut self, now: Now) {
        let current = self.publisher.current();
        if self.gathering == Gathering::Over {
            self.saving.save_everything(&self.files, &self.registry, &current, now);
        }
        self.saving.end(&current);
    }

    /// Whether the first snapshot is published.
    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.publisher.current().readiness == Readiness::Ready
    }

    /// Whether everything is being looked at.
    #[cfg(test)]
    pub(super) fn is_scanning(&self) -> bool {
        matches!(self.scanning, Scanning::InSteps(_))
    }

    /// Puts off the next scan that comes of itself.
    #[cfg(test)]
    pub(super) fn put_off_scans(&mut self, period: Duration) {
        if self.scan_due > self.scan_not_before {
            self.scan_due = (self.clock)().monotonic + period;
        }
    }

    /// Grants every lease anew where nobody looked for longer than was meant: the process was stopped, the machine suspended,
    /// and so perhaps were those who would have renewed.
    fn notice_pause(&mut self, wait: Duration, now: Now) {
        let away = now.monotonic.saturating_sub(self.looked).saturating_sub(wait);
        self.looked = now.monotonic;
        if away < PAUSE {
            return;
        }
        let leased = self.registry.renew_all(now);
        if leased > 0 {
            warn!("nothing was looked at for {away:?}: every lease begins anew, in {leased} files");
            self.gauges.paused();
        }
    }

    /// Reads what is due, lets time pass, and publishes what came of it.
    fn rebuild(&mut self) {
        let now = (self.clock)();
        if self.newcomers_from.is_some_and(|from| from <= now.monotonic) {
            self.registry.await_newcomers();
        }
        let starting = self.gathering == Gathering::Until;
        let mut renewed = self.registry.lapsing(now);
        if renewed.len() >= MANY {
            self.watches.lend();
        }
        renewed.retain(|file| self.files.was_touched(file, now));
        let mut due = self.files.due(now);
        if starting {
            self.first.append(&mut due.changes);
            if self.ready_by.is_none_or(|by| now.monotonic < by && self.files.is_settling()) {
                return;
            }
            due.changes = std::mem::take(&mut self.first);
        }
        renewed.append(&mut due.renewed);
        let mut changed = Vec::new();
        let mut contents = self.take_in(due.changes, None, &mut changed, now);
        if !renewed.is_empty() {
            let touched = self.registry.renew(&renewed, now);
            contents = self.compile(&touched, Vec::new(), contents);
        }
        let believed = self.believe_losses(contents.as_ref(), now);
        contents = self.take_in(believed, contents, &mut changed, now);
        // After the files: a lease that was renewed while this thread was held up has not run out.
        if self.registry.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            let touched = self.registry.advance(now);
            contents = self.compile(&touched, Vec::new(), contents);
        }
        let is_judged = !self.findings.is_empty();
        contents = self.judge(contents);
        if starting {
            self.publish_first(contents, now);
        } else if let Some(contents) = contents {
            let generation = self.publish(contents, now);
            self.time(now, &changed);
            let cause = match &*changed {
                [] if is_judged => Cause::Checks,
                [] => Cause::Time,
                files => Cause::Files(files),
            };
            info!(generation, "serving what changed: {cause}");
            let cause = cause.to_string();
            self.note_change(generation, cause, now);
        } else {
            self.saving.save(&self.files, &self.registry, None, now);
        }
        if self.files.next().is_none() {
            // What was heard of is served, or was no change.
            self.heard = None;
        }
        self.saving.save_everything(&self.files, &self.registry, &self.publisher.current(), now);
        self.gauges.saving_failed(self.saving.failures());
        self.files.made(changed, self.publisher.current().generation);
        self.publisher.reap();
    }

    /// Keeps what made a generation, for whoever asks what changed.
    fn note_change(&mut self, generation: u64, cause: String, now: Now) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Change { generation, at: now.wall, time: Timestamp(now.wall).to_string(), cause });
    }

    /// Saves a change and publishes it, in this order: what was answered once is answered again.
    fn publish(&mut self, contents: Snapshot, now: Now) -> u64 {
        let (last, next) = (self.publisher.current(), self.publisher.stage(contents, now.wall));
        self.saving.save(&self.files, &self.registry, Some([&last, &next]), now);
        self.receipts.published(&last, &next, now.monotonic);
        drop(last);
        self.publisher.put(next)
    }

    /// Applies what changed, if anything did, and adds the files to those that `changed`.
    fn take_in(
        &mut self,
        changes: Vec<FileChange>,
        contents: Option<Snapshot>,
        changed: &mut Vec<Arc<str>>,
        now: Now,
    ) -> Option<Snapshot> {
        if changes.is_empty() {
            return contents;
        }
        changed.extend(changes.iter().map(|change| Arc::clone(&change.file)));
        let (touched, made) = self.registry.apply_by(&Shares, changes, now);
        self.saving.note_files(changed);
        let contents = self.compile(&touched, made, contents);
        self.tell_conflicts();
        contents
    }

    /// The removals of files that only a scan found gone, those that are not held.
    fn believe_losses(&mut self, contents: Option<&Snapshot>, now: Now) -> Vec<FileChange> {
        if self.files.missing().is_empty() && self.hold.next().is_none() {
            return Vec::new();
        }
        let published = self.publisher.current();
        let served = contents.unwrap_or(&published);
        let believed = self.hold.believe(self.files.missing(), &self.registry, served, now.monotonic);
        self.files.believe(believed)
    }

    /// Notes how long it took from the reading, and from the first word of it, until what changed was served.
    fn time(&mut self, begun: Now, changed: &[Arc<str>]) {
        let now = (self.clock)().monotonic;
        let counters = self.gauges.counters();
        counters.duration(Span::Reload, now.saturating_sub(begun.monotonic), 1);
        // A word of something that turned out to be no change is nobody's beginning.
        if let Some(heard) = self.heard.take().filter(|_| !changed.is_empty()) {
            counters.duration(Span::Change, now.saturating_sub(heard), 1);
        }
    }

    /// Takes in what the readiness checks found.
    fn judge(&mut self, contents: Option<Snapshot>) -> Option<Snapshot> {
        let findings = std::mem::take(&mut self.findings);
        let Some(checks) = self.checks.as_ref().filter(|_| !findings.is_empty()) else { return contents };
        let judgements = checks.judgements(findings);
        let touched = self.registry.judge(judgements.clone());
        checks::tell(&self.registry, &judgements);
        self.compile(&touched, Vec::new(), contents)
    }

    /// Compiles what `touched` names upon `contents`, or upon what is published; of some apps the block is made already.
    fn compile(&mut self, touched: &Touched, made: Made<Block>, contents: Option<Snapshot>) -> Option<Snapshot> {
        if touched.is_empty() {
            return contents;
        }
        self.saving.note(touched);
        if touched.apps.len() >= MANY {
            self.watches.lend();
        }
        if let Some(checks) = &mut self.checks {
            checks.follow(&self.registry, touched);
        }
        let published = match self.gathering {
            Gathering::Until => Arc::new(Snapshot::starting()),
            Gathering::Over => self.publisher.current(),
        };
        let is_made = |app: &AppId| made.binary_search_by_key(app, |(made, _)| *made).is_ok();
        let others: Vec<AppId> = touched.apps.iter().copied().filter(|app| !is_made(app)).collect();
        let mut others = in_shares(&others, |app| compile::block(&self.registry, *app)).into_iter();
        let mut made = made.into_iter().peekable();
        let blocks = touched.apps.iter().map(|app| match made.next_if(|(of, _)| of == app) {
            Some((_, block)) => block,
            None => others.next().unwrap_or_else(|| compile::block(&self.registry, *app)),
        });
        let previous = contents.as_ref().unwrap_or(&published);
        let compiled = self.compiler.compile_blocks(&Shares, &self.registry, touched, (previous, blocks));
        compiled.or(contents)
    }

    /// The first scan is complete: from now on a name that is not there is not ours.
    fn publish_first(&mut self, contents: Option<Snapshot>, now: Now) {
        let contents = contents.unwrap_or_else(Snapshot::starting);
        let apps = contents.apps.iter().count();
        self.publisher.publish(Snapshot { readiness: Readiness::Ready, ..contents }, now.wall);
        self.gathering = Gathering::Over;
        self.ready_by = None;
        // What is saved of an older state, if anything, was of no use: all of it is told anew.
        self.saving.forget();
        self.registry.await_newcomers();
        self.note_change(self.publisher.current().generation, "the first look at every file".to_owned(), now);
        info!(apps, files = self.files.count(), "ready: every file is read, queries are answered");
    }

    /// Says once of each fault between files that it is there.
    fn tell_conflicts(&mut self) {
        let changes = self.registry.fault_changes();
        if std::mem::replace(&mut self.told_changes, changes) == changes {
            return;
        }
        let faults: BTreeSet<FileFault> = self.registry.faults().into_iter().collect();
        for FileFault { file, fault } in faults.difference(&self.told) {
            warn!("{file}:{fault}");
        }
        self.told = faults;
    }
}

/// Whether what is compiled is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gathering {
    /// Until the first scan is complete: nothing was remembered, so what is not seen yet is not gone.
    Until,
    /// No longer.
    Over,
}

/// What made a new generation, for the log.
enum Cause<'c> {
    Files(&'c [Arc<str>]),
    Checks,
    Time,
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files([first, rest @ ..]) if !rest.is_empty() => write!(f, "{first} and {} more", rest.len()),
            Self::Files(files) => f.write_str(files.first().map_or("", |file| file)),
            Self::Checks => f.write_str("readiness checks"),
            Self::Time => f.write_str("time passed"),
        }
    }
}

/// How many generations are remembered: a screen of them.
const HISTORY_MAX: usize = 32;

/// From how many files on the owner has somebody else hear while it looks at them: it takes a few milliseconds.
const MANY: usize = 64;

/// How often everything is looked at by stat while that is cheap.
pub(super) const SCAN_EVERY: Duration = Duration::from_secs(5);

/// For how long nobody may look before it counts as a pause. A lease is five times as long at least.
const PAUSE: Duration = Duration::from_secs(1);

/// Up to so many files are counted by their state after every change, which takes microseconds; more with every scan, which
/// takes much longer.
const TALLIED: usize = 1000;

/// How long the first snapshot waits for files that may be cut off.
const SETTLING_MAX: Duration = Duration::from_millis(1500);
