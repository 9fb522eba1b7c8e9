//! How much may be in flight, for everyone and for each caller: counted where queries come in, so that a flood is told off without costing
//! anybody else a place in the queue.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who has how many queries in flight.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    callers: HashMap<IpAddr, usize>,
}

impl Admission {
    /// Lets one more query of `caller` in; `None` when there are too many.
    pub(super) fn admit(self: &Arc<Self>, caller: IpAddr) -> Option<Permit> {
        let mut counts = self.counts();
        if counts.all >= ALL_MAX {
            return None;
        }
        let of_caller = counts.callers.entry(caller).or_default();
        if *of_caller >= CALLER_MAX {
            return None;
        }
        *of_caller += 1;
        counts.all += 1;
        drop(counts);
        Some(Permit { admission: Arc::clone(self), caller })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that was let in; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    caller: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        if let Some(of_caller) = counts.callers.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                counts.callers.remove(&self.caller);
            }
        }
    }
}

/// Queries in flight in all: some megabytes.
pub(super) const ALL_MAX: usize = 4096;
/// Queries in flight of one caller.
const CALLER_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_hundred_and_everyone_four_thousand() {
        let admission = Arc::new(Admission::default());
        let caller = |number: u32| IpAddr::from(number.to_be_bytes());
        let mut permits: Vec<Permit> = (0..100).map(|_| admission.admit(caller(1)).unwrap()).collect();
        assert!(admission.admit(caller(1)).is_none());
        permits.extend((2..).take(ALL_MAX - 100).map(|number| admission.admit(caller(number)).unwrap()));
        assert!(admission.admit(caller(1_000_000)).is_none(), "full");
        permits.truncate(99);
        assert!(admission.admit(caller(1)).is_some());
        drop(permits);
        assert!(admission.counts().callers.is_empty() && admission.counts().all == 0);
    }
}
