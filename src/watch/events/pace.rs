//! When to listen to what, so that what comes by the hundred a second costs little and what comes alone waits for nothing.
//!
//! A change is heard at once, and a few at a time only where they come by the hundred a second. A touch renews a lease, which has
//! seconds, and ten thousand leases are touched all the time: to wake up for each would cost more than all else that is done about
//! it, so after one others gather for a while, and no change waits for that. Whoever wakes takes along all that there is.

use std::time::Duration;

/// How thick events come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many readings in a row found changes [`SOON`] after somebody began to listen.
    in_a_row: u32,
    /// Since when somebody listens.
    listening: Duration,
    rest: Rest,
    /// Whether the last reading found touches.
    was_touched: bool,
}

/// Whether changes are let gather.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// No.
    #[default]
    None,
    /// For the next [`REST`].
    Ahead,
}

/// What to wait for besides what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Changes and touches.
    All,
    /// Changes, and that touches have gathered for so long.
    Changes(Duration),
    /// That both have gathered for so long.
    Nothing(Duration),
}

impl Pace {
    /// What to wait for from now on; then all that there is is to be read, and [told](Self::read) of.
    pub(super) const fn listen(&mut self, now: Duration) -> Attention {
        self.listening = now;
        match (self.rest, self.was_touched) {
            (Rest::Ahead, _) => Attention::Nothing(REST),
            (Rest::None, true) => Attention::Changes(TOUCHES_GATHER),
            (Rest::None, false) => Attention::All,
        }
    }

    /// Takes in how many changes and touches were read.
    pub(super) fn read(&mut self, changes: usize, touches: usize, now: Duration) {
        self.was_touched = touches > 0;
        if std::mem::take(&mut self.rest) == Rest::Ahead {
            if changes < THICK {
                self.in_a_row = 0;
            }
        } else if changes > 0 {
            let came_soon = now.saturating_sub(self.listening) <= SOON;
            self.in_a_row = if came_soon { self.in_a_row.saturating_add(1) } else { 0 };
        }
        if self.in_a_row >= BUSY {
            self.rest = Rest::Ahead;
        }
    }
}

/// How many readings in a row must find changes soon before they rest: more than careful writing of one file takes.
const BUSY: u32 = 8;

/// How soon that is: some hundred changes a second, each waited for before the next, are none the later for it.
const SOON: Duration = Duration::from_millis(1);

/// How long a rest is: what a change may come to be heard later by, while many others are.
const REST: Duration = Duration::from_millis(5);

/// How many events must gather in a rest for another: two to five files' worth.
const THICK: usize = 8;

/// For how long touches gather: a hundredth of the shortest lease.
const TOUCHES_GATHER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace, and a clock that the test turns.
    #[derive(Default)]
    struct Turned {
        pace: Pace,
        now: Duration,
    }

    impl Turned {
        /// Listens, and reads so many changes and touches after a while; what was waited for.
        fn read_after(&mut self, wait: Duration, changes: usize, touches: usize) -> Attention {
            let attention = self.pace.listen(self.now);
            self.now += wait;
            self.pace.read(changes, touches, self.now);
            attention
        }
    }

    #[test]
    fn changes_gather_while_they_come_thick() {
        let mut turned = Turned::default();
        for _ in 0..BUSY {
            assert_eq!(turned.read_after(SOON, 1, 0), Attention::All);
        }
        assert_eq!(turned.read_after(REST, THICK, 0), Attention::Nothing(REST));
        assert_eq!(turned.read_after(REST, THICK - 1, 0), Attention::Nothing(REST));
        assert_eq!(turned.read_after(SOON, 1, 0), Attention::All, "they do not come as thick any more");
    }

    #[test]
    fn changes_of_which_each_waits_for_the_one_before_are_heard_at_once() {
        let mut turned = Turned::default();
        for _ in 0..100 {
            assert_eq!(turned.read_after(SOON + Duration::from_nanos(1), 5, 0), Attention::All);
        }
    }

    #[test]
    fn a_rest_in_which_nothing_came_is_the_last() {
        let mut turned = Turned::default();
        for _ in 0..BUSY {
            turned.read_after(SOON, 1, 0);
        }
        assert_eq!(turned.read_after(REST, 0, 0), Attention::Nothing(REST));
        assert_eq!(turned.read_after(SOON * 100, 1, 0), Attention::All);
        assert_eq!(turned.read_after(SOON, 1, 0), Attention::All);
    }

    #[test]
    fn touches_gather_and_changes_do_not_wait_for_them() {
        let mut turned = Turned::default();
        let apart = SOON * 2;
        assert_eq!(turned.read_after(apart, 0, 1), Attention::All);
        assert_eq!(turned.read_after(apart, 1, 3), Attention::Changes(TOUCHES_GATHER));
        assert_eq!(turned.read_after(TOUCHES_GATHER, 0, 0), Attention::Changes(TOUCHES_GATHER));
        assert_eq!(turned.read_after(apart, 1, 0), Attention::All);
    }
}
