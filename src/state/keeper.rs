//! The two threads that write: one appends changes, the other syncs them and merges them into a base.
//!
//! What is handed over is merged as it waits, a key is written once however often it changed, so the box is bounded by what
//! there is to save; where a disk fails for so long that it holds more than [`PENDING_MAX`], it is emptied, and all of the
//! state is asked for when the disk is well again. Whoever hands over may wait until what it gave would outlive the process
//! ([`Keeper::save`]): for a while, and no more while the disk lags behind. Syncing is in a thread of its own, so that
//! nobody waits for that.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{info, warn};

use super::lock::Lock;
use super::log::{BaseWriter, Changes, Place, Records, merge};
use super::served::SERVED_MAX;

/// Where writing goes on from: what is on disk and could be read to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The newest base that can be read.
    pub(super) base: u64,
    /// The last file of changes, and how much of it holds.
    pub(super) last: u64,
    pub(super) last_length: u64,
    /// How long the changes since the base are.
    pub(super) changes: u64,
}

/// The owner's end.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How long [`Keeper::save`] may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until what was given would outlive the process, or the disk lags.
    Written,
    /// No time at all.
    None,
}

impl Keeper {
    /// Starts the threads. Without a position they ask for the whole state, once they hold the lock.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub(super) fn start(place: Place, lock: Lock, position: Option<Position>) -> io::Result<Self> {
        let wants = match position {
            _ if !lock.is_held() => Wants::Nothing,
            None => Wants::Whole,
            Some(_) => Wants::Changes,
        };
        let shared = Arc::new(Shared {
            place,
            inner: Mutex::new(Inner { wants, ..Inner::default() }),
            arrived: Condvar::new(),
            written: Condvar::new(),
            tick: Condvar::new(),
            failures: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        let writer = Writer { shared: Arc::clone(&shared), lock, position, changes: None };
        threads.push(thread::Builder::new().name("state".to_owned()).spawn(move || writer.run())?);
        let syncer = Arc::clone(&shared);
        threads.push(thread::Builder::new().name("state-sync".to_owned()).spawn(move || syncer.sync_and_merge())?);
        Ok(Self { shared, threads })
    }

    /// Whether the next thing to be saved is to be everything.
    pub(super) fn wants_whole(&self) -> bool {
        self.shared.lock().wants == Wants::Whole
    }

    /// Asks for the whole state: what is there is of no use.
    pub(super) fn want_whole(&self) {
        let mut inner = self.shared.lock();
        if inner.wants == Wants::Changes {
            inner.want(Wants::Whole);
        }
    }

    /// How often writing failed.
    pub(super) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Hands over what changed.
    pub(super) fn save(&self, records: Records, patience: Patience) {
        let mut inner = self.shared.lock();
        if inner.wants != Wants::Changes {
            return;
        }
        inner.take_in(records);
        if inner.octets > PENDING_MAX {
            return inner.want(Wants::Whole);
        }
        inner.submitted += 1;
        let own = inner.submitted;
        self.shared.arrived.notify_one();
        if patience == Patience::None || inner.pace == Pace::Lagging {
            return;
        }
        let behind = |inner: &mut Inner| inner.written < own && inner.pace != Pace::Lagging;
        let waited = self.shared.written.wait_timeout_while(inner, WRITTEN_WITHIN, behind);
        let (mut inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if outcome.timed_out() && inner.written < own {
            inner.pace = Pace::Lagging;
            drop(inner);
            warn!("saving state takes long: changes are served before they are saved, until it has caught up");
        }
    }

    /// Hands over everything there is.
    pub(super) fn save_whole(&self, records: Records) {
        let mut inner = self.shared.lock();
        if inner.wants == Wants::Nothing {
            return;
        }
        inner.want(Wants::Changes);
        inner.pending = records;
        inner.scope = Scope::Whole;
        inner.submitted += 1;
        self.shared.arrived.notify_one();
    }

    /// Ends the threads when all that was handed over is written and synced, or could not be in [`ENDED_WITHIN`].
    pub(super) fn end(self) {
        let mut inner = self.shared.lock();
        inner.ending = true;
        self.shared.arrived.notify_all();
        let going_on = |inner: &mut Inner| inner.stage != Stage::Synced;
        let waited = self.shared.written.wait_timeout_while(inner, ENDED_WITHIN, going_on);
        let (inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(inner);
        if outcome.timed_out() {
            return warn!("the last changes are not saved: the disk takes too long");
        }
        for thread in self.threads {
            if thread.join().is_err() {
                warn!("a thread that saves state had ended before");
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    place: Place,
    inner: Mutex<Inner>,
    /// Something is to be written.
    arrived: Condvar,
    /// Something was written.
    written: Condvar,
    /// Something is to be synced or merged, at once.
    tick: Condvar,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is to be written.
    pending: Records,
    /// How much that is.
    octets: usize,
    scope: Scope,
    /// How often something was handed over, and how many of these are written.
    submitted: u64,
    written: u64,
    pace: Pace,
    /// A file to be synced.
    unsynced: Option<File>,
    /// What is to be merged.
    merge: Option<Merge>,
    wants: Wants,
    ending: bool,
    stage: Stage,
}

/// What may be handed over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// Nothing: another process saves its state here, or there is nowhere to save to.
    #[default]
    Nothing,
    /// What changed since the last time.
    Changes,
    /// Everything.
    Whole,
}

/// How far ending has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Running,
    /// What was handed over is written.
    Written,
    /// And synced.
    Synced,
}

/// What is pending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Scope {
    #[default]
    Changes,
    Whole,
}

/// Whether writing keeps up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pace {
    #[default]
    Even,
    Lagging,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    base: u64,
    to: u64,
}

impl Inner {
    fn take_in(&mut self, records: Records) {
        for (key, value) in records {
            self.octets += key.len() + value.as_ref().map_or(0, Vec::len);
            if let Some(old) = self.pending.insert(key, value) {
                self.octets = self.octets.saturating_sub(old.map_or(0, |old| old.len()));
            }
        }
    }

    /// Takes back what could not be written; what came since is newer.
    fn take_back(&mut self, records: Records, scope: Scope) {
        for (key, value) in records {
            let octets = key.len() + value.as_ref().map_or(0, Vec::len);
            self.pending.entry(key).or_insert_with(|| {
                self.octets += octets;
                value
            });
        }
        if scope == Scope::Whole {
            self.scope = scope;
        }
    }

    /// Asks for something else than before; what was handed over is void.
    fn want(&mut self, wants: Wants) {
        self.pending.clear();
        (self.octets, self.scope, self.wants) = (0, Scope::Changes, wants);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whatever panicked, a map of records is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once a second, and when there is something to merge.
    fn sync_and_merge(&self) {
        loop {
            let idle = |inner: &mut Inner| inner.merge.is_none() && inner.stage == Stage::Running;
            let waited = self.tick.wait_timeout_while(self.lock(), SYNC_EVERY, idle);
            let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let (unsynced, merge, stage) = (inner.unsynced.take(), inner.merge, inner.stage);
            drop(inner);
            if let Some(file) = unsynced
                && let Err(error) = file.sync_data()
            {
                // The kernel may have dropped what it could not write: nothing is known of what is on disk.
                self.fail("synced", &error);
                self.lock().want(Wants::Whole);
            }
            if stage != Stage::Running {
                self.lock().stage = Stage::Synced;
                return self.written.notify_all();
            }
            if let Some(Merge { base, to }) = merge {
                self.merge(base, to);
                self.lock().merge = None;
            }
        }
    }

    fn merge(&self, base: u64, to: u64) {
        let older = self.place.list().map(|(bases, _)| bases).unwrap_or_default();
        // Of what is damaged the one before it holds the same.
        let bases = std::iter::once(base).chain(older.range(..base).next_back().copied());
        for base in bases {
            match merge(&self.place, base, to, to + 1, SERVED_MAX) {
                Ok(_) => {
                    if let Err(error) = self.place.prune(to + 1) {
                        self.fail("tidied up", &error);
                    }
                    return;
                }
                Err(error) => self.fail("merged", &error),
            }
        }
        self.lock().want(Wants::Whole);
    }

    fn fail(&self, what: &str, error: &dyn std::fmt::Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        warn!("{}: saved state cannot be {what}: {error}", self.place.directory().display());
    }
}

/// The thread that appends.
struct Writer {
    shared: Arc<Shared>,
    lock: Lock,
    position: Option<Position>,
    changes: Option<Changes>,
}

impl Writer {
    fn run(mut self) {
        let mut trouble: Option<String> = None;
        // Whether it is to be said that all is well: only when all is saved, which may have to be asked for first.
        let mut is_to_be_told = false;
        loop {
            let mut inner = self.shared.lock();
            if !self.lock.is_held() && trouble.is_none() {
                // The first try: it says what is in the way.
            } else if trouble.is_some() {
                let waited = self.shared.arrived.wait_timeout_while(inner, RETRY_EVERY, |inner| !inner.ending);
                (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
            } else {
                let idle = |inner: &mut Inner| inner.pending.is_empty() && !inner.ending;
                inner = self.shared.arrived.wait_while(inner, idle).unwrap_or_else(PoisonError::into_inner);
            }
            let (records, scope, ending) = (mem::take(&mut inner.pending), mem::take(&mut inner.scope), inner.ending);
            let submitted = inner.submitted;
            inner.octets = 0;
            drop(inner);
            let outcome = if records.is_empty() { self.check_lock() } else { self.write(&records, scope) };
            let mut inner = self.shared.lock();
            match outcome {
                Ok(()) => {
                    inner.written = submitted;
                    is_to_be_told |= trouble.take().is_some() | (mem::take(&mut inner.pace) == Pace::Lagging);
                    let is_saved = inner.wants != Wants::Whole;
                    drop(inner);
                    if is_saved && mem::take(&mut is_to_be_told) {
                        info!("{}: state is saved again", self.shared.place.directory().display());
                    }
                    self.shared.written.notify_all();
                }
                Err(error) => {
                    inner.take_back(records, scope);
                    inner.pace = Pace::Lagging;
                    drop(inner);
                    self.shared.written.notify_all();
                    self.shared.failures.fetch_add(1, Ordering::Relaxed);
                    let place = self.shared.place.directory().display();
                    let told = format!("{place}: state cannot be saved: {error}");
                    if trouble.as_ref() != Some(&told) {
                        warn!("{told}; serving goes on, and it is tried again every few seconds");
                    }
                    trouble = Some(told);
                }
            }
            if ending {
                break;
            }
        }
        self.shared.lock().stage = Stage::Written;
        self.shared.tick.notify_all();
    }

    /// Whether this process is the one that writes; a directory is given to one at a time.
    fn check_lock(&mut self) -> io::Result<()> {
        if self.lock.take(self.shared.place.directory())? {
            // Somebody else wrote here: nothing of what is there is to be gone on from.
            (self.position, self.changes) = (None, None);
            self.shared.lock().want(Wants::Whole);
        }
        Ok(())
    }

    fn write(&mut self, records: &Records, scope: Scope) -> io::Result<()> {
        self.check_lock()?;
        if scope == Scope::Whole {
            return self.write_whole(records);
        }
        let Some(position) = self.position else {
            return Ok(());
        };
        let place = &self.shared.place;
        let mut changes = match self.changes.take() {
            Some(changes) => changes,
            None => Changes::create(place, position.last + 1, position.last_length)?,
        };
        // What is not whole is passed over: the next try begins a file of its own.
        self.position = Some(Position { last: changes.number, last_length: changes.length, ..position });
        changes.append(records)?;
        self.shared.lock().unsynced = Some(changes.handle()?);
        let before = if changes.number == position.last { position.last_length } else { 0 };
        let length = position.changes + (changes.length - before);
        let position = Position { last: changes.number, last_length: changes.length, changes: length, ..position };
        self.position = Some(position);
        self.changes = Some(changes);
        if length > MERGE_FROM || position.last.saturating_sub(position.base) > FILES_MAX {
            self.begin_merge(position);
        }
        Ok(())
    }

    /// Begins a new file of changes, so that those before it can be merged.
    fn begin_merge(&mut self, position: Position) {
        let mut inner = self.shared.lock();
        if inner.merge.is_some() {
            return;
        }
        inner.merge = Some(Merge { base: position.base, to: position.last });
        drop(inner);
        self.changes = None;
        self.position = Some(Position { base: position.last + 1, changes: 0, ..position });
        self.shared.tick.notify_all();
    }

    fn write_whole(&mut self, records: &Records) -> io::Result<()> {
        let place = &self.shared.place;
        let (bases, changes) = place.list()?;
        let number = bases.last().max(changes.last()).map_or(1, |last| last + 1);
        let mut base = BaseWriter::create(place, number, SERVED_MAX)?;
        for (key, value) in records {
            value.as_ref().map_or(Ok(()), |value| base.push(key, value))?;
        }
        base.finish()?;
        self.changes = Some(Changes::create(place, number, 0)?);
        self.position = Some(Position { base: number, last: number, last_length: 0, changes: 0 });
        place.prune(number)
    }
}

/// How long a change waits to be saved before it is served: a write to the page cache takes microseconds. Longer than this
/// takes a disk that is overrun, and then serving goes first.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);

/// How often what was written is synced: so much the end of the machine, not of the process, may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often writing is tried again where it failed.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the disk.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// How much may wait to be written, in octets.
const PENDING_MAX: usize = 64 << 20;

/// From how many octets of changes on they are merged into a base: reading so much takes some tens of milliseconds.
const MERGE_FROM: u64 = 16 << 20;

/// From how many files of changes on they are merged: each start makes one.
const FILES_MAX: u64 = 8;
