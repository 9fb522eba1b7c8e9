//! How the spec directory is doing: written by the owner task, read by whoever asks.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The gauges and counters of the spec directory.
#[derive(Debug, Default)]
pub struct FileGauges {
    polling: AtomicBool,
    frozen: AtomicBool,
    held: AtomicUsize,
    pollings: AtomicU64,
    freezes: AtomicU64,
    holds: AtomicU64,
    pauses: AtomicU64,
    unsaved: AtomicU64,
}

impl FileGauges {
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

    /// Counts that the process stood still, and every lease began anew.
    pub fn paused(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how often state could not be saved.
    pub fn saving_failed(&self, times: u64) {
        self.unsaved.store(times, Ordering::Relaxed);
    }

    /// Every number, by its name: those that are so now, then those that only grow.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, u64); 8] {
        let is = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("files-polling", is(&self.polling)),
            ("files-frozen", is(&self.frozen)),
            ("files-held", u64::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(u64::MAX)),
            ("pollings", count(&self.pollings)),
            ("freezes", count(&self.freezes)),
            ("holds", count(&self.holds)),
            ("pauses", count(&self.pauses)),
            ("state-failures", count(&self.unsaved)),
        ]
    }
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
            .filter(|(_, number)| *number > 0)
            .try_for_each(|(name, number)| write!(f, " {name}={number}"))
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
        assert_eq!(gauges.to_string(), " files-polling=1 files-held=12 pollings=2 holds=1");
    }
}
