//! How long something took, less what the machine took for others meanwhile: so a limit on time holds on a machine that has much
//! else to do, and is as strict as it reads on one that has not.
//!
//! Beside what is measured a thread sleeps and works a little, over and over. By how much longer that takes than it should is time in
//! which whoever had something to do waited for a processor; a step that waits for another did so as well, and no more often than
//! there are turns. Rejected: limits so wide that they hold everywhere, as they hold for the defect, too; and to try until it is quick
//! once, which proves nothing of what is slow every other time. A server that itself burns every processor is one of those others: who
//! looks for that measures its CPU.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Measures from its start on.
pub(crate) struct Stopwatch {
    begun: Instant,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    turn: Mutex<Turn>,
}

/// What a thread that should need a known time for each of its turns is at.
#[derive(Default, Clone, Copy)]
struct Turn {
    /// When it began, since the start.
    begun: Duration,
    /// What the machine took in all turns before it.
    lost: Duration,
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let (begun, shared) = (Instant::now(), Arc::new(Shared::default()));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            while !own.over.load(Ordering::Relaxed) {
                std::thread::sleep(SLEEP);
                let worked = cpu_time();
                while cpu_time() - worked < WORK {
                    std::hint::spin_loop();
                }
                let mut turn = own.turn();
                let ended = begun.elapsed();
                let lost = turn.lost + (ended - turn.begun).saturating_sub(SLEEP + WORK);
                *turn = Turn { begun: ended, lost };
            }
        });
        Self { begun, shared }
    }

    /// How long it is since the start, by what the machine gave of it.
    pub(crate) fn given(&self) -> Duration {
        let turn = *self.shared.turn();
        let elapsed = self.begun.elapsed();
        let late = elapsed.saturating_sub(turn.begun).saturating_sub(SLEEP + WORK);
        elapsed.saturating_sub(turn.lost + late)
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// The processor's time that a computation takes in this thread: nothing else that goes on is in it.
pub(crate) fn computed<T>(computation: impl FnOnce() -> T) -> (T, Duration) {
    let begun = cpu_time();
    let result = computation();
    (result, cpu_time() - begun)
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// How long a turn sleeps, and how much it works: a twentieth of a processor.
const SLEEP: Duration = Duration::from_millis(10);
const WORK: Duration = Duration::from_micros(500);

#[test]
fn what_the_machine_takes_for_others_is_not_counted_and_all_else_is() {
    let watch = Stopwatch::start();
    std::thread::sleep(Duration::from_millis(500));
    // As much as it asked for, and not much more, whatever else goes on; and it does not forget to count.
    let given = watch.given();
    assert!(given > Duration::from_millis(50) && given < Duration::from_secs(2), "{given:?}");
}
