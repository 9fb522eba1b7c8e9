//! The one mutable cell between compiling and answering: the current snapshot.
//!
//! One owner publishes ([`Publisher`]), many workers read ([`Reader`]). A worker looks once a batch: when nothing was
//! published that look is one load of a counter that nobody writes to, so its cache line stays shared. What a worker has
//! reached it writes on a line of its own, which only the owner reads, when it asks [`Publisher::reached`].
//!
//! Freeing a snapshot may free a hundred thousand blocks, so a worker must never be the one to let go of it last: the owner
//! keeps every snapshot that was ever current and frees it in [`Publisher::reap`], once it alone holds it.
//!
//! A worker that waits for queries has reached everything: it looks before it answers the next one. It says so by resting
//! ([`Reader::rest`]), or a receipt would wait for traffic. It holds the snapshot of its last batch while it rests, and with it a
//! block of every app that changed since: so who waits in vain takes the newest now and then ([`Reader::keep_up`]). Waking and publishing are the two halves of Dekker's handshake
//! (each writes its own word, then reads the other's), hence the sequentially consistent operations there and only there.
//!
//! A lock around the snapshot was rejected (readers would write to it), and so was `ArcSwap::load` for each batch (it writes to a
//! line, and its guards would end on the workers).

mod holdings;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::holdings::Holdings;
/// What is published; named here too for those who only pass it on.
pub use crate::zone::{Readiness, Snapshot};

/// The owner's side: puts snapshots where workers find them, and frees them after.
#[derive(Debug)]
pub struct Publisher {
    cell: Arc<Cell>,
    /// Snapshots that were current and that a worker may hold, oldest first. A worker holds one, and two for the moment in
    /// which it takes the newer, so after a [`reap`](Self::reap) there are at most twice as many as there are readers.
    old: Vec<Arc<Snapshot>>,
}

impl Publisher {
    /// Makes `snapshot` the current one, with the generation and serial that it has.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let generation = Generation(AtomicU64::new(snapshot.generation));
        let caught_up = (Mutex::default(), Condvar::new());
        let cell = Cell { current: ArcSwap::from_pointee(snapshot), generation, readers: Mutex::default(), caught_up };
        Self { cell: Arc::new(cell), old: Vec::new() }
    }

    /// Makes `contents` the current snapshot and returns its generation: one more than the last.
    ///
    /// The generation and the serial that `contents` came with are overwritten; its readiness is what is published.
    pub fn publish(&mut self, contents: Snapshot, wall_seconds: u64) -> u64 {
        let next = self.stage(contents, wall_seconds);
        self.put(next)
    }

    /// Gives `contents` the generation and serial with which it is to be [`put`](Self::put) in its place: for whoever has
    /// something to do between the two.
    #[must_use]
    pub fn stage(&self, mut contents: Snapshot, wall_seconds: u64) -> Arc<Snapshot> {
        let last = self.current();
        contents.generation = last.generation + 1;
        contents.serial = serial_after(&last, wall_seconds);
        Arc::new(contents)
    }

    /// Makes what was [`stage`](Self::stage)d last the current snapshot and returns its generation.
    pub fn put(&mut self, next: Arc<Snapshot>) -> u64 {
        let last = self.current();
        let generation = next.generation;
        // The snapshot first: whoever sees the new generation finds a snapshot at least as new.
        self.cell.current.store(next);
        self.cell.generation.0.store(generation, Ordering::SeqCst);
        self.old.push(last);
        self.reap();
        generation
    }

    /// Says that what is published is what the files say, and no longer what they said before this process.
    pub fn catch_up(&self) {
        let (caught_up, told) = &self.cell.caught_up;
        *lock(caught_up) = true;
        told.notify_all();
    }

    /// The snapshot that was published last.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.cell.current.load_full()
    }

    /// Makes the handle from which workers make their readers.
    #[must_use]
    pub fn subscribe(&self) -> Subscriber {
        Subscriber { cell: Arc::clone(&self.cell) }
    }

    /// Frees the old snapshots that no worker holds any more. [`publish`](Self::publish) does so too.
    pub fn reap(&mut self) {
        // Nobody can take a new reference to a snapshot that is not current, so a count of one stays one.
        self.old.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    /// The lowest generation that every live reader has reached: no response of an older one will be made.
    #[must_use]
    pub fn reached(&self) -> u64 {
        let published = self.cell.generation.0.load(Ordering::SeqCst);
        let readers = self.cell.readers();
        readers.iter().map(|slot| slot.0.load(Ordering::SeqCst)).min().unwrap_or(RESTING).min(published)
    }
}

/// RFC 1982 §3.2: greater than the last, and never half the circle away from it. It follows the wall clock, so that it
/// goes on rising over a restart, and counts up by one where the clock has not moved or went back.
fn serial_after(last: &Snapshot, wall_seconds: u64) -> u32 {
    let wall = u32::try_from(wall_seconds & u64::from(u32::MAX)).unwrap_or_default();
    let ahead = wall.wrapping_sub(last.serial);
    // Nothing was served before the first generation, so there is nothing to be greater than.
    let is_first = last.generation == 0;
    if is_first || (1..1 << 31).contains(&ahead) { wall } else { last.serial.wrapping_add(1) }
}

/// Makes readers; given to whoever starts workers.
#[derive(Debug, Clone)]
pub struct Subscriber {
    cell: Arc<Cell>,
}

impl Subscriber {
    /// The snapshot that was published last, for who looks once in a while and answers no query.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        // The owner keeps every snapshot until it alone holds it, so letting go of this one frees nothing.
        self.cell.current.load_full()
    }

    /// Registers a worker.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let slot = Arc::new(Slot(AtomicU64::new(RESTING)));
        self.cell.readers().push(Arc::clone(&slot));
        Reader { snapshot: self.cell.current.load_full(), slot, cell: Arc::clone(&self.cell) }
    }
}

impl Subscriber {
    /// Waits up to `patience` until what is published is what the files say, and says whether it is.
    #[must_use]
    pub fn wait_until_caught_up(&self, patience: Duration) -> bool {
        let (caught_up, told) = &self.cell.caught_up;
        let waited = told.wait_timeout_while(lock(caught_up), patience, |caught_up| !*caught_up);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// One worker's side: the snapshot it answers from.
#[derive(Debug)]
pub struct Reader {
    snapshot: Arc<Snapshot>,
    slot: Arc<Slot>,
    cell: Arc<Cell>,
}

impl Reader {
    /// The newest snapshot; to be called once a batch. No lock, no allocation.
    pub fn current(&mut self) -> &Snapshot {
        if self.slot.0.load(Ordering::Relaxed) == RESTING {
            self.slot.0.store(self.snapshot.generation, Ordering::SeqCst);
        }
        if self.cell.generation.0.load(Ordering::SeqCst) > self.snapshot.generation {
            self.snapshot = self.cell.current.load_full();
            self.slot.0.store(self.snapshot.generation, Ordering::Release);
        }
        &self.snapshot
    }

    /// Says that the worker is done with its batch, and answers nothing before it calls [`current`](Self::current) again.
    pub fn rest(&mut self) {
        self.slot.0.store(RESTING, Ordering::Release);
    }

    /// Lets go of a snapshot that is not the newest; for a worker that rests, once in a while.
    ///
    /// One that nobody asks would keep what it answered from last for ever: after as many changes as there are apps all of them
    /// are there twice, and with several such workers once more for each. Letting go at every rest was rejected: it counts at the
    /// snapshot itself, on a line that all workers read.
    pub fn keep_up(&mut self) {
        if self.cell.generation.0.load(Ordering::Relaxed) > self.snapshot.generation {
            self.snapshot = self.cell.current.load_full();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.cell.readers().retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

/// What the two sides share.
#[derive(Debug)]
struct Cell {
    current: ArcSwap<Snapshot>,
    generation: Generation,
    /// Locked when a worker comes or goes, and when the owner asks what was reached.
    readers: Mutex<Vec<Arc<Slot>>>,
    /// Whether the files were ever read to the end; for those who wait for that.
    caught_up: (Mutex<bool>, Condvar),
}

impl Cell {
    fn readers(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        lock(&self.readers)
    }
}

/// What is behind these locks is whole whatever panicked beside it: a list of pointers, a flag.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The generation of the current snapshot, on a line that only publishing writes to.
#[derive(Debug)]
#[repr(align(128))]
struct Generation(AtomicU64);

/// The generation that one worker has reached, on a line that only it writes to (128: lines are fetched in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Slot(AtomicU64);

/// In a [`Slot`]: the worker is between batches.
const RESTING: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Readiness;

    const WALL: u64 = 1_795_197_600;

    fn publisher() -> Publisher {
        Publisher::new(Snapshot::starting())
    }

    #[test]
    fn each_publication_is_one_generation_later() {
        let mut publisher = publisher();
        assert_eq!(publisher.current().generation, 0);
        assert_eq!(publisher.publish(Snapshot::starting(), WALL), 1);
        assert_eq!(publisher.publish(Snapshot { generation: 77, ..Snapshot::starting() }, WALL), 2);
        assert_eq!(publisher.current().generation, 2);
    }

    #[test]
    fn who_waits_until_the_files_are_read_is_told() {
        let publisher = Publisher::new(Snapshot { readiness: Readiness::Ready, ..Snapshot::starting() });
        let subscriber = publisher.subscribe();
        assert!(!subscriber.wait_until_caught_up(Duration::ZERO), "that is what was served before");
        let waiting = std::thread::spawn(move || subscriber.wait_until_caught_up(Duration::from_secs(60)));
        publisher.catch_up();
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn readiness_goes_the_same_way() {
        let mut publisher = publisher();
        let mut reader = publisher.subscribe().reader();
        assert_eq!(reader.current().readiness, Readiness::Starting);
        publisher.publish(Snapshot { readiness: Readiness::Ready, ..Snapshot::starting() }, WALL);
        assert_eq!(reader.current().readiness, Readiness::Ready);
    }

    #[test]
    fn the_serial_rises_whatever_the_clock_says() {
        let mut publisher = publisher();
        let mut serials = Vec::new();
        for wall in [WALL, WALL, WALL - 5_000, 0, WALL + 100, u64::MAX, WALL + 101] {
            publisher.publish(Snapshot::starting(), wall);
            serials.push(publisher.current().serial);
        }
        let first = u32::try_from(WALL).unwrap();
        assert_eq!(serials[..5], [first, first + 1, first + 2, first + 3, first + 100]);
        for pair in serials.windows(2) {
            let ahead = pair[1].wrapping_sub(pair[0]);
            assert!((1..1 << 31).contains(&ahead), "{pair:?}");
        }
    }

    #[test]
    fn the_serial_rises_past_its_end() {
        let mut publisher = Publisher::new(Snapshot { generation: 9, serial: u32::MAX, ..Snapshot::starting() });
        // In the year 2106 the low 32 bits of the clock stand at 5: greater than 2³²−1 by RFC 1982.
        publisher.publish(Snapshot::starting(), (1 << 32) + 5);
        assert_eq!(publisher.current().serial, 5);
        let mut publisher = Publisher::new(Snapshot { generation: 9, serial: u32::MAX, ..Snapshot::starting() });
        publisher.publish(Snapshot::starting(), u64::from(u32::MAX));
        assert_eq!(publisher.current().serial, 0);
    }

    #[test]
    fn the_first_serial_is_the_clock_even_where_that_is_half_the_circle_from_zero() {
        let mut publisher = publisher();
        publisher.publish(Snapshot::starting(), (1 << 31) + 7);
        assert_eq!(publisher.current().serial, (1 << 31) + 7);
    }

    #[test]
    fn a_reader_sees_the_newest_at_its_next_batch() {
        let mut publisher = publisher();
        let mut reader = publisher.subscribe().reader();
        publisher.publish(Snapshot::starting(), WALL);
        publisher.publish(Snapshot::starting(), WALL);
        assert_eq!(reader.current().generation, 2);
        assert_eq!(reader.current().generation, 2);
    }

    #[test]
    fn a_snapshot_is_freed_by_the_owner_and_only_when_no_reader_holds_it() {
        let mut publisher = publisher();
        let mut reader = publisher.subscribe().reader();
        let first = Arc::downgrade(&publisher.current());
        publisher.publish(Snapshot::starting(), WALL);
        publisher.reap();
        assert!(first.upgrade().is_some(), "a reader holds it");
        reader.current();
        assert!(first.upgrade().is_some(), "the reader let go of it, and the owner has not looked");
        publisher.reap();
        assert!(first.upgrade().is_none());
        assert!(publisher.old.is_empty());
    }

    #[test]
    fn what_is_reached_is_what_the_slowest_reader_answers_from() {
        let mut publisher = publisher();
        assert_eq!(publisher.publish(Snapshot::starting(), WALL), 1);
        assert_eq!(publisher.reached(), 1, "there are no readers");
        let subscriber = publisher.subscribe();
        let (mut fast, mut slow) = (subscriber.reader(), subscriber.reader());
        fast.current();
        slow.current();
        publisher.publish(Snapshot::starting(), WALL);
        assert_eq!(publisher.reached(), 1);
        fast.current();
        assert_eq!(publisher.reached(), 1);
        slow.current();
        assert_eq!(publisher.reached(), 2);
    }

    #[test]
    fn a_resting_reader_holds_nobody_up_until_it_goes_on() {
        let mut publisher = publisher();
        let mut reader = publisher.subscribe().reader();
        reader.current();
        reader.rest();
        publisher.publish(Snapshot::starting(), WALL);
        assert_eq!(publisher.reached(), 1);
        assert_eq!(reader.current().generation, 1);
        publisher.publish(Snapshot::starting(), WALL);
        assert_eq!(publisher.reached(), 1);
    }

    #[test]
    fn a_resting_reader_that_keeps_up_holds_nothing_old_and_has_reached_nothing_by_it() {
        let mut publisher = publisher();
        let (mut busy, mut idle) = (publisher.subscribe().reader(), publisher.subscribe().reader());
        for _ in 0..10 {
            publisher.publish(Snapshot::starting(), WALL);
            busy.current();
            publisher.reap();
            assert_eq!(publisher.old.len(), 1, "the idle reader holds the one from before");
            idle.keep_up();
            publisher.reap();
            assert!(publisher.old.is_empty());
        }
        assert_eq!(publisher.reached(), 10, "it rests");
        publisher.publish(Snapshot::starting(), WALL);
        idle.keep_up();
        assert_eq!(publisher.reached(), 10, "the busy one is behind");
        assert_eq!(idle.current().generation, 11);
    }

    #[test]
    fn a_reader_that_went_is_not_waited_for() {
        let mut publisher = publisher();
        let mut reader = publisher.subscribe().reader();
        reader.current();
        publisher.publish(Snapshot::starting(), WALL);
        assert_eq!(publisher.reached(), 0);
        drop(reader);
        assert_eq!(publisher.reached(), 1);
    }

    #[test]
    fn generations_only_rise_while_readers_race_the_owner() {
        let mut publisher = publisher();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = publisher.subscribe().reader();
                std::thread::spawn(move || {
                    let mut last = 0;
                    while last < 2_000 {
                        let generation = reader.current().generation;
                        assert!(generation >= last, "{generation} after {last}");
                        last = generation;
                        reader.rest();
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            publisher.publish(Snapshot::starting(), WALL);
            assert!(publisher.old.len() <= 6, "each reader holds two at most");
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(publisher.reached(), 2_000);
        publisher.reap();
        assert!(publisher.old.is_empty());
    }
}
