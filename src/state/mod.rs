//! What outlives the process: what was served, the last good version of every file, claims, generation and serial.
//!
//! Two things are wanted of it. A start must answer as before within milliseconds, which leaves no time to read documents: so
//! what is served is saved as it is served, app by app, and read back without knowing what it means (`served`). And then
//! all must go on as if nothing had happened: so what the registry is made of is saved beside it (`remembered`), and the
//! owner task makes one of it while the old answers are given. Both are records of one `log`, and what a change touches
//! goes into it as one batch, so that the two can never be of different moments.
//!
//! A change is written, not synced, before it is served: what was answered once is answered again after the end of the
//! process, whenever it ends. The end of the machine may cost the last second. Where writing fails or takes long,
//! serving goes on without it.
//!
//! Generation and serial go on from where they were. Where the process did not end in an orderly way some may be missing from
//! what is saved, so they go on from further up: they never go back, whatever the clock says.

mod keeper;
mod lock;
mod log;
mod remembered;
mod served;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::thread;

use tracing::{info, warn};

use self::keeper::{Keeper, Patience, Position};
use self::lock::Lock;
use self::log::{Base, Part, Place, Record, Records, Replay, Unusable};
pub use self::remembered::{Remembered, Version};
use self::served::Parts;
use crate::name::Name;
use crate::octets::{Reader, Writer};
use crate::registry::{AppClaims, AppId, FileClaims, Now, SpaceClaims, SpaceId, TombstoneClaim};
use crate::zone::Snapshot;

/// A state directory that is read, and written to.
#[derive(Debug)]
pub struct State {
    place: Place,
    /// What was read of it; `None` when there was nothing that could be used.
    found: Option<Found>,
    keeper: Option<Keeper>,
}

/// What is in a state directory.
#[derive(Debug)]
struct Found {
    base: u64,
    replay: Replay,
}

/// What one change is to save.
#[derive(Debug, Default)]
pub struct Batch {
    records: Records,
}

impl State {
    /// Opens a state directory and reads what was served; what cannot be used is passed over, with a word in the log.
    ///
    /// It never fails: serving does not depend on it.
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Option<Snapshot>) {
        let place = Place::new(directory);
        let mut lock = Lock::default();
        // Before anything is read: whoever has the lock changes what is there.
        let locked = lock.take(directory);
        let (found, snapshot) = find(&place).unzip();
        let position = found.as_ref().filter(|found| found.replay.damage.is_none()).map(|found| Position {
            base: found.base,
            last: found.replay.last,
            last_length: found.replay.last_length,
            changes: found.replay.length,
        });
        drop(locked);
        let keeper = Keeper::start(place.clone(), lock, position);
        let keeper = keeper.map_err(|error| warn!("{}: state is not saved: {error}", directory.display())).ok();
        let state = Self { place, found, keeper };
        if let Some(snapshot) = &snapshot {
            // From here on this process has not ended.
            let open = Records::from([(vec![served::GENERATION], Some(ending(snapshot, Ending::Open)))]);
            state.give(Batch { records: open }, Patience::None);
        }
        (state, snapshot)
    }

    /// Reads the rest of what outlived the last process, once: it may be much.
    pub fn remember(&mut self, now: Now) -> Option<Remembered> {
        let Found { base, replay } = self.found.take()?;
        let directory = self.place.directory().display();
        match read_rest(&self.place, base, &replay, now) {
            Ok(remembered) => return Some(remembered),
            Err(error) => warn!("{directory}: the last good versions of files in base.{base}: {error}"),
        }
        // The base before it, with what changed since, holds the same.
        let bases = self.place.list().map(|(bases, _)| bases).unwrap_or_default();
        for base in bases.range(..base).rev() {
            let Ok(older) = Replay::read(&self.place, *base, replay.last) else { continue };
            if older.last != replay.last || older.damage != replay.damage {
                continue;
            }
            match read_rest(&self.place, *base, &older, now) {
                Ok(remembered) => return Some(remembered),
                Err(error) => warn!("{directory}: the last good versions of files in base.{base}: {error}"),
            }
        }
        if let Some(keeper) = &self.keeper {
            keeper.want_whole();
        }
        None
    }

    /// Whether the next batch is to hold everything: nothing is saved yet, or what was is of no use.
    #[must_use]
    pub fn wants_everything(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::wants_whole)
    }

    /// How often writing or reading failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.keeper.as_ref().map_or(0, Keeper::failures)
    }

    /// Saves what makes `next` out of what was served before, and waits until it would outlive the process, for a while.
    pub fn save_before(&self, mut batch: Batch, next: &Snapshot) {
        batch.records.insert(vec![served::GENERATION], Some(ending(next, Ending::Open)));
        self.give(batch, Patience::Written);
    }

    /// Saves what changes nothing in what is served.
    pub fn save(&self, batch: Batch) {
        if !batch.records.is_empty() {
            self.give(batch, Patience::None);
        }
    }

    /// Saves everything, `batch` being that.
    pub fn save_everything(&self, mut batch: Batch, current: &Snapshot) {
        batch.records.insert(vec![served::GENERATION], Some(ending(current, Ending::Open)));
        if let Some(keeper) = &self.keeper {
            keeper.save_whole(batch.records);
        }
    }

    /// Ends in an orderly way, with `last` being served.
    pub fn end(mut self, last: &Snapshot) {
        let records = Records::from([(vec![served::GENERATION], Some(ending(last, Ending::Orderly)))]);
        self.give(Batch { records }, Patience::None);
        if let Some(keeper) = self.keeper.take() {
            keeper.end();
        }
    }

    fn give(&self, batch: Batch, patience: Patience) {
        if let Some(keeper) = &self.keeper {
            keeper.save(batch.records, patience);
        }
    }
}

impl Batch {
    /// Adds what in what is served differs.
    pub fn served(&mut self, old: &Snapshot, new: &Snapshot) {
        served::difference(old, new, &mut self.records);
    }

    /// Adds the last good version of a file, or that there is none any more.
    pub fn file(&mut self, file: &str, version: Option<&Version>) {
        remembered::put_file(&mut self.records, file, version);
    }

    /// Adds which leases of a file have run out.
    pub fn leases(&mut self, file: &str, claims: &FileClaims) {
        remembered::put_lapsed(&mut self.records, file, claims);
    }

    /// Adds which directory the files are in.
    pub fn root(&mut self, mark: &[u8]) {
        remembered::put_root(&mut self.records, mark);
    }

    /// Adds what is known of an app, or that there is none any more.
    pub fn app(&mut self, id: AppId, claims: Option<&AppClaims>, now: Now) {
        remembered::put_app(&mut self.records, id, claims, now);
    }

    /// Adds that a name was removed, or that this is over.
    pub fn tombstone(&mut self, name: &(SpaceId, Name), claim: Option<&TombstoneClaim>, now: Now) {
        remembered::put_tombstone(&mut self.records, name, claim, now);
    }

    /// Adds which spaces there are.
    pub fn spaces(&mut self, claims: &SpaceClaims) {
        remembered::put_spaces(&mut self.records, claims);
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It has not, as far as is written.
    Open,
    /// With all that it had served in what is saved.
    Orderly,
}

fn ending(snapshot: &Snapshot, ending: Ending) -> Vec<u8> {
    let mut to = Writer::new();
    to.u64(snapshot.generation);
    to.u32(snapshot.serial);
    to.flag(ending == Ending::Orderly);
    to.0
}

/// Reads what was served from the newest base that can be used.
fn find(place: &Place) -> Option<(Found, Snapshot)> {
    let directory = place.directory().display();
    let (bases, _) = place.list().map_err(|error| info!("{directory}: no saved state: {error}")).ok()?;
    for base in bases.iter().rev() {
        match read_served(place, *base) {
            Ok((replay, snapshot)) => {
                if let Some(number) = replay.damage {
                    warn!("{directory}: changes.{number} is damaged: what is served is as it was before that");
                }
                return Some((Found { base: *base, replay }, snapshot));
            }
            Err(error) => warn!("{directory}: base.{base} {error}: the one before it is used, if there is one"),
        }
    }
    None
}

/// Reads what was served from a base and the changes since, in as many threads as there are cores.
fn read_served(place: &Place, number: u64) -> Result<(Replay, Snapshot), Unusable> {
    let (base, replay) = thread::scope(|scope| {
        let replay = thread::Builder::new().spawn_scoped(scope, || Replay::read(place, number, u64::MAX));
        let base = Base::read(place, number, Part::Served);
        let replay = replay.ok().and_then(|thread| thread.join().ok());
        (base, replay.unwrap_or_else(|| Replay::read(place, number, u64::MAX)))
    });
    let (base, replay) = (base?, replay?);
    let blocks: Vec<&[u8]> = base.blocks().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = blocks.len().div_ceil(threads).max(1);
    let read = |blocks: &[&[u8]]| read_blocks(blocks, &replay);
    let shares = thread::scope(|scope| {
        let started: Vec<_> = blocks
            .chunks(share)
            .map(|blocks| (blocks, thread::Builder::new().spawn_scoped(scope, move || read(blocks))))
            .collect();
        let join = |(blocks, thread): (_, Result<thread::ScopedJoinHandle<'_, _>, _>)| match thread {
            Ok(thread) => thread.join().unwrap_or(None),
            Err(_) => read(blocks),
        };
        started.into_iter().map(join).collect::<Option<Vec<_>>>()
    });
    let mut parts = Parts::default();
    let mut last = None;
    for (share, generation) in shares.ok_or(Unusable::Damaged)? {
        parts.append(share);
        last = generation.or(last);
    }
    for (key, value) in &replay.records {
        if key.first().is_some_and(|kind| *kind <= served::SERVED_MAX)
            && let Some(value) = value
        {
            parts.read(key, value).ok_or(Unusable::Damaged)?;
            if key.first() == Some(&served::GENERATION) {
                last = Some(value.clone());
            }
        }
    }
    let last = last.as_deref().and_then(|value| Reader::whole(value, read_ending)).ok_or(Unusable::Damaged)?;
    let (generation, serial) = go_on(last);
    Ok((replay, parts.snapshot(generation, serial)))
}

/// What is served of some blocks, but for what changed since; and the record of the generation, if it is there.
fn read_blocks(blocks: &[&[u8]], replay: &Replay) -> Option<(Parts, Option<Vec<u8>>)> {
    let mut parts = Parts::default();
    let mut generation = None;
    for block in blocks {
        for Record { key, value } in log::records(block)? {
            if !replay.records.is_empty() && replay.records.contains_key(key) {
                continue;
            }
            parts.read(key, value?)?;
            if key.first() == Some(&served::GENERATION) {
                generation = value.map(<[u8]>::to_vec);
            }
        }
    }
    Some((parts, generation))
}

fn read_rest(place: &Place, number: u64, replay: &Replay, now: Now) -> Result<Remembered, Unusable> {
    let base = Base::read(place, number, Part::Rest)?;
    let mut remembered = Remembered::default();
    for block in base.blocks() {
        for Record { key, value } in log::records(block).ok_or(Unusable::Damaged)? {
            if !replay.records.contains_key(key) {
                value.and_then(|value| remembered.read(key, value, now)).ok_or(Unusable::Damaged)?;
            }
        }
    }
    let mut changed: Vec<_> = replay.records.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
    changed.sort_unstable();
    for (key, value) in changed.into_iter().filter(|(key, _)| key.first() > Some(&served::SERVED_MAX)) {
        remembered.read(key, value, now).ok_or(Unusable::Damaged)?;
    }
    Ok(remembered)
}

fn read_ending(from: &mut Reader<'_>) -> Option<(u64, u32, bool)> {
    Some((from.u64()?, from.u32()?, from.flag()?))
}

/// The generation and serial to go on from.
const fn go_on((generation, serial, orderly): (u64, u32, bool)) -> (u64, u32) {
    if orderly {
        return (generation, serial);
    }
    (generation.saturating_add(GENERATIONS_UNSAVED), serial.wrapping_add(SERIALS_UNSAVED))
}

/// How many generations may have been served and not saved, with a disk that failed: a change each 10 ms for two hours.
const GENERATIONS_UNSAVED: u64 = 1_000_000;

/// The same of serials, which follow the clock: they run ahead of it only with more than one change a second.
const SERIALS_UNSAVED: u32 = 10_000;

/// Decoding is bound by memory, where more threads than these wait for each other.
const THREADS_MAX: usize = 8;
