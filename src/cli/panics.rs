//! What is said of a panic: one log line, and not for every one.
//!
//! A panic that a query brings about is caught and answered with SERVFAIL, and whoever found that query can send it a hundred
//! thousand times a second. The standard hook would print a backtrace for each, under a lock that all workers share.

use std::panic;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::error;

use crate::observe::{Allowance, Silenced};

/// Has panics logged from now on, by `clock`.
pub(crate) fn log(clock: impl Fn() -> Duration + Send + Sync + 'static) {
    let allowance = Mutex::new(Allowance::new(PER_MINUTE, MINUTE));
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

/// Panics that are told of in a minute: enough to see that they differ.
const PER_MINUTE: u32 = 5;

const MINUTE: Duration = Duration::from_secs(60);
