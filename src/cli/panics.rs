//! What is said of a panic: one log line, and not for every one.
//!
//! A panic that a query brings about is caught and answered with SERVFAIL, and whoever found that query can send it a hundred
//! thousand times a second. The standard hook would print a backtrace for each, under a lock that all workers share.

use std::panic;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::error;

/// Has panics logged from now on, by `clock`.
pub(crate) fn log(clock: impl Fn() -> Duration + Send + Sync + 'static) {
    let allowance = Mutex::new(Allowance::default());
    panic::set_hook(Box::new(move |panic| {
        let allowed = allowance.lock().unwrap_or_else(PoisonError::into_inner).ask(clock());
        let Some(Silenced(silenced)) = allowed else { return };
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let words =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(|text| &**text));
        let words = words.unwrap_or("no words");
        error!(place, silenced, "a fault of ours, caught where a query brought it about: {words}; please report it");
    }));
}

/// How many panics are still told of in this minute.
#[derive(Debug, Default)]
struct Allowance {
    /// When the minute began.
    begun: Duration,
    told: u32,
    silenced: u64,
}

/// How many panics were not told of before this one.
#[derive(Debug, PartialEq, Eq)]
struct Silenced(u64);

impl Allowance {
    fn ask(&mut self, now: Duration) -> Option<Silenced> {
        if now.saturating_sub(self.begun) >= MINUTE {
            self.begun = now;
            self.told = 0;
        }
        if self.told == PER_MINUTE {
            self.silenced += 1;
            return None;
        }
        self.told += 1;
        Some(Silenced(std::mem::take(&mut self.silenced)))
    }
}

/// Panics that are told of in a minute: enough to see that they differ.
const PER_MINUTE: u32 = 5;

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_panics_a_minute_are_told_of_and_the_others_counted() {
        let mut allowance = Allowance::default();
        let told = (0..100).filter(|_| allowance.ask(Duration::from_secs(1)).is_some()).count();
        assert_eq!(told, 5);
        assert_eq!(allowance.ask(Duration::from_secs(59)), None);
        assert_eq!(allowance.ask(Duration::from_secs(60)), Some(Silenced(96)));
        assert_eq!(allowance.ask(Duration::from_secs(61)), Some(Silenced(0)));
    }
}
