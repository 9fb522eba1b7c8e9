//! How much of something may be said: so many in a while, and then how many were not said.

use std::time::Duration;

/// So many in a while.
#[derive(Debug)]
pub struct Allowance {
    most: u32,
    span: Duration,
    /// When the while began.
    begun: Duration,
    told: u32,
    silenced: u64,
}

/// How many were not told of before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silenced(pub u64);

impl Allowance {
    /// Allows `most` in each `span`.
    #[must_use]
    pub const fn new(most: u32, span: Duration) -> Self {
        Self { most, span, begun: Duration::ZERO, told: 0, silenced: 0 }
    }

    /// Whether one may be said `now`; if so, how many were not since the last.
    pub fn ask(&mut self, now: Duration) -> Option<Silenced> {
        if now.saturating_sub(self.begun) >= self.span {
            self.begun = now;
            self.told = 0;
        }
        if self.told == self.most {
            self.silenced += 1;
            return None;
        }
        self.told += 1;
        Some(Silenced(std::mem::take(&mut self.silenced)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_while_are_told_of_and_the_others_counted() {
        let mut allowance = Allowance::new(5, Duration::from_secs(60));
        let told = (0..100).filter(|_| allowance.ask(Duration::from_secs(1)).is_some()).count();
        assert_eq!(told, 5);
        assert_eq!(allowance.ask(Duration::from_secs(59)), None);
        assert_eq!(allowance.ask(Duration::from_secs(60)), Some(Silenced(96)));
        assert_eq!(allowance.ask(Duration::from_secs(61)), Some(Silenced(0)));
    }
}
