//! How the spec directory is doing: written by the owner task, read by whoever asks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::{Counters, Gauge, Sort, levels};

/// The gauges and counters of the spec directory.
#[derive(Debug, Default)]
pub struct FileGauges {
    resuming: AtomicBool,
    polling: AtomicBool,
    frozen: AtomicBool,
    held: AtomicUsize,
    /// Served as they stand, in an older version, and not at all.
    states: [AtomicUsize; 3],
    pollings: AtomicU64,
    freezes: AtomicU64,
    holds: AtomicU64,
    pauses: AtomicU64,
    unsaved: AtomicU64,
    /// What the owner task times.
    counters: Counters,
}

impl FileGauges {
    /// Notes whether what was saved is still being taken in: it is served as it was, and changes wait.
    pub fn resuming(&self, is_resuming: bool) {
        self.resuming.store(is_resuming, Ordering::Relaxed);
    }

    /// Notes whether scans alone find what changed.
    pub fn polling(&self, is_polling: bool) {
        note(&self.polling, &self.pollings, is_polling);
    }

    /// Notes whether what is served stays as it is, because the directory is lost.
    pub fn frozen(&self, is_frozen: bool) {
        note(&self.frozen, &self.freezes, is_frozen);
    }

    /// Counts that losses of which no event told are held back.
    pub fn hold_begun(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many files are missing and held.
    pub fn held(&self, files: usize) {
        self.held.store(files, Ordering::Relaxed);
    }

    /// How many files are missing and held.
    #[must_use]
    pub fn are_held(&self) -> u64 {
        u64::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    /// Notes how many files are served as they stand, how many in an older version, and how many not at all.
    pub fn states(&self, ok: usize, stale: usize, rejected: usize) {
        for (state, files) in self.states.iter().zip([ok, stale, rejected]) {
            state.store(files, Ordering::Relaxed);
        }
    }

    /// The files by state.
    pub fn by_state(&self) -> impl Iterator<Item = Gauge> {
        let [ok, stale, rejected] = &self.states;
        let count = |files: &AtomicUsize| u64::try_from(files.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let states = [("ok", count(ok)), ("stale", count(stale)), ("rejected", count(rejected))];
        levels("files", "Files, by what became of them", "state", states)
    }

    /// Counts that the process stood still, and every lease began anew.
    pub fn paused(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters of the owner task; only it may count.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Notes how often state could not be saved.
    pub fn saving_failed(&self, times: u64) {
        self.unsaved.store(times, Ordering::Relaxed);
    }

    /// Every number, by its name: those that are so now, then those that only grow.
    #[must_use]
    pub fn numbers(&self) -> [Gauge; 9] {
        let is = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            number(
                "resuming",
                "Whether what was saved is still being taken in, and changes wait",
                Sort::Level,
                is(&self.resuming),
            ),
            number("files_polling", "Whether scans alone find what changed", Sort::Level, is(&self.polling)),
            number(
                "files_frozen",
                "Whether the spec directory is lost and what is served stays",
                Sort::Level,
                is(&self.frozen),
            ),
            number("files_held", "Files that are missing and held", Sort::Level, self.are_held()),
            number("pollings", "Times that file events could not be had any more", Sort::Count, count(&self.pollings)),
            number("freezes", "Times that the spec directory was lost", Sort::Count, count(&self.freezes)),
            number("holds", "Times that large losses were held", Sort::Count, count(&self.holds)),
            number(
                "pauses",
                "Times that the process stood still and every lease began anew",
                Sort::Count,
                count(&self.pauses),
            ),
            number("state_failures", "Times that state could not be saved", Sort::Count, count(&self.unsaved)),
        ]
    }
}

const fn number(name: &'static str, help: &'static str, sort: Sort, value: u64) -> Gauge {
    Gauge { name, help, label: None, sort, value }
}

/// Notes a state, and counts each time that it begins.
fn note(flag: &AtomicBool, counter: &AtomicU64, now: bool) {
    if !flag.swap(now, Ordering::Relaxed) && now {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every number that is not zero, as ` name=count`.
impl fmt::Display for FileGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.numbers()
            .iter()
            .filter(|number| number.value > 0)
            .try_for_each(|number| write!(f, " {}={}", number.name.replace('_', "-"), number.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_counted_when_it_begins() {
        let gauges = FileGauges::default();
        for is_polling in [false, true, true, false, true] {
            gauges.polling(is_polling);
        }
        gauges.held(12);
        gauges.hold_begun();
        gauges.resuming(true);
        assert_eq!(gauges.to_string(), " resuming=1 files-polling=1 files-held=12 pollings=2 holds=1");
    }
}
