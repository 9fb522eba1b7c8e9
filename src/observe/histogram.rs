//! How long things took: counts by power of two, which hold from a tenth of a microsecond to minutes with nothing to set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::add;

/// How many buckets there are.
pub const BUCKETS: usize = 31;

/// Durations that one thread measures.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts that something took so long, `times` over.
    pub(super) fn record(&self, duration: Duration, times: u64) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        add(self.counts.get(bucket(nanoseconds)), times);
        add(Some(&self.nanoseconds), nanoseconds.saturating_mul(times));
    }
}

/// Durations of many threads, summed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    counts: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Durations {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        super::sum(&mut self.counts, &histogram.counts);
        self.nanoseconds = self.nanoseconds.wrapping_add(histogram.nanoseconds.load(Ordering::Relaxed));
    }

    /// Each bucket: the longest that it counts, in seconds, and how many it has of its own; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = (0..BUCKETS).map(|index| {
            if index + 1 == BUCKETS { f64::INFINITY } else { Duration::from_nanos(FIRST << index).as_secs_f64() }
        });
        bounds.zip(self.counts)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// How long they took together.
    #[must_use]
    pub const fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }
}

/// The bucket of a duration: the first whose bound it does not pass.
fn bucket(nanoseconds: u64) -> usize {
    let above = nanoseconds.saturating_sub(1) / FIRST;
    let index = usize::try_from(u64::BITS - above.leading_zeros()).unwrap_or(BUCKETS);
    index.min(BUCKETS - 1)
}

/// The bound of the first bucket, in nanoseconds: less than any answer takes. The last bound but one is 54 s.
const FIRST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_under_the_first_bound_that_it_does_not_pass() {
        for (nanoseconds, expected) in
            [(0, 0), (1, 0), (100, 0), (101, 1), (200, 1), (201, 2), (400, 2), (401, 3), (u64::MAX, BUCKETS - 1)]
        {
            assert_eq!(bucket(nanoseconds), expected, "{nanoseconds}");
        }
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(3), 2);
        histogram.record(Duration::from_secs(3600), 1);
        let mut durations = Durations::default();
        durations.add(&histogram);
        let filled: Vec<_> = durations.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(3.2e-6, 2), (f64::INFINITY, 1)]);
        assert_eq!((durations.count(), durations.total()), (3, Duration::from_secs(3600) + Duration::from_micros(6)));
    }
}
