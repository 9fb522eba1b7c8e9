//! The one place where clocks are read that others are given.
//!
//! Monotonic time is that of `CLOCK_BOOTTIME`: it goes on while the machine is suspended, as whoever waits for a lease or a
//! tombstone outside of it sees it, and so a suspension shows as any other pause does. The standard library's stands still.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::registry::Now;
use crate::watch::Clock;

/// Makes a clock that says how long ago it was made.
pub(crate) fn monotonic() -> impl Fn() -> Duration + Send + Sync {
    let begun = since_boot();
    move || since_boot().saturating_sub(begun)
}

/// Makes a clock whose monotonic time begins now.
#[expect(clippy::disallowed_methods, reason = "this is where time becomes an argument")]
pub(crate) fn start() -> Clock {
    let monotonic = monotonic();
    Box::new(move || Now {
        monotonic: monotonic(),
        // A wall clock before 1970 is wrong anyway; it is for the words of messages only.
        wall: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs()),
    })
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Draws a number that two servers that start together do not share.
#[expect(clippy::disallowed_methods, reason = "this is where chance becomes an argument")]
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) << 32 | u64::from(std::process::id())
}
