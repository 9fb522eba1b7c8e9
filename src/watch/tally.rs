//! When to count the files by state again: after something happened, and never so often that it takes more than a small part of the time.

use std::time::Duration;

/// When the next count is due.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    due: Option<Duration>,
    /// Before this it is too soon.
    not_before: Duration,
}

impl Tally {
    /// Takes in that something happened that may have changed it.
    pub(crate) fn note(&mut self, now: Duration) {
        let due = now.max(self.not_before);
        self.due.get_or_insert(due);
    }

    /// When it is due.
    pub(crate) const fn next(&self) -> Option<Duration> {
        self.due
    }

    /// Whether it is due.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Takes in that it was done, from `begun` until `now`.
    pub(crate) fn done(&mut self, now: Duration, begun: Duration) {
        self.due = None;
        self.not_before = now + now.saturating_sub(begun) * SHARE;
    }
}

/// Counting takes this part of the time at most, as scans do.
const SHARE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_takes_long_is_not_repeated_soon_and_none_is_lost() {
        let second = Duration::from_secs;
        let mut tally = Tally::default();
        assert!(!tally.is_due(second(1)));
        tally.note(second(1));
        assert!(tally.is_due(second(1)));
        tally.done(second(2), second(1));
        tally.note(second(3));
        assert!(!tally.is_due(second(201)));
        assert_eq!(tally.next(), Some(second(202)));
        assert!(tally.is_due(second(202)));
    }
}
