//! The one queue of what waits for time: leases, tombstones, and numbers to be forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{AppId, SpaceId};
use crate::name::Name;

/// What happens at a moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A lease of this file runs out.
    Lease(Arc<str>),
    /// This name is foreign again.
    Tombstone(SpaceId, Name),
    /// This app was not created a moment ago any more.
    Creation(AppId),
    /// The numbers of this app, which nothing names any more, are forgotten.
    Forget(AppId),
}

/// Moments on the monotonic clock and what happens then.
#[derive(Debug)]
pub(super) struct Deadlines {
    queue: BTreeSet<(Duration, Deadline)>,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self { queue: BTreeSet::new() }
    }

    pub(super) fn set(&mut self, at: Duration, deadline: Deadline) {
        self.queue.insert((at, deadline));
    }

    /// Takes a deadline back that was set for `at`, if it was.
    pub(super) fn withdraw(&mut self, at: Option<Duration>, deadline: Deadline) {
        if let Some(at) = at {
            self.queue.remove(&(at, deadline));
        }
    }

    pub(super) fn first(&self) -> Option<Duration> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The files with a lease that runs.
    pub(super) fn leased(&self) -> Vec<Arc<str>> {
        self.leased_until(Duration::MAX)
    }

    /// The files with a lease that runs out at `end` or before.
    pub(super) fn leased_until(&self, end: Duration) -> Vec<Arc<str>> {
        let lease = |(_, deadline): &(Duration, Deadline)| match deadline {
            Deadline::Lease(file) => Some(Arc::clone(file)),
            Deadline::Tombstone(..) | Deadline::Creation(_) | Deadline::Forget(_) => None,
        };
        self.queue.iter().take_while(|(at, _)| *at <= end).filter_map(lease).collect()
    }

    /// Takes out the next deadline that is due at `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Duration, Deadline)> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first()
    }
}
