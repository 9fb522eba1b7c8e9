//! The one place where clocks are read that others are given.

use std::time::{Duration, Instant, SystemTime};

use crate::registry::Now;
use crate::watch::Clock;

/// Makes a clock that says how long ago it was made.
#[expect(clippy::disallowed_methods, reason = "this is where time becomes an argument")]
pub(crate) fn monotonic() -> impl Fn() -> Duration + Send + Sync {
    let begun = Instant::now();
    move || begun.elapsed()
}

/// Makes a clock whose monotonic time begins now.
#[expect(clippy::disallowed_methods, reason = "this is where time becomes an argument")]
pub(crate) fn start() -> Clock {
    let begun = Instant::now();
    Box::new(move || Now {
        monotonic: begun.elapsed(),
        // A wall clock before 1970 is wrong anyway; it is for the words of messages only.
        wall: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs()),
    })
}

/// Draws a number that two servers that start together do not share.
#[expect(clippy::disallowed_methods, reason = "this is where chance becomes an argument")]
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) << 32 | u64::from(std::process::id())
}
