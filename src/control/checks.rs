//! Which readiness checks are to be carried out, told by the owner task to whoever carries them out; and what they found.
//!
//! Told by difference, and merged like everything else here: a target that changes ten times before anyone looks is one target.
//! So what waits is bounded by the targets there are, and the owner never waits for a checker that is behind.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// A target's number; never given twice.
pub type TargetId = u64;

/// One instance to be checked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The number of its app: what shares of the checker's time go by.
    pub app: u32,
    /// Where it is: every one must pass.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// What is asked for over HTTP; without it, connecting is all.
    pub http_path: Option<String>,
    /// How long to leave it alone first.
    pub initial_delay: Duration,
    /// How often it is checked.
    pub period: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// How many checks in a row must pass before it is ready.
    pub success_threshold: u32,
    /// How many in a row must fail before it is not.
    pub failure_threshold: u32,
    /// What holds until a check has told.
    pub begins: Begins,
}

/// What is held of a target before its first check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// It is ready until its checks fail.
    Ready,
    /// It is not ready until its checks pass.
    Unready,
}

/// What the checks of a target found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is ready.
    Ready,
    /// It is not, for this reason.
    Unready(Arc<str>),
}

/// Makes the two ends: the owner's list, and where it is read.
#[must_use]
pub fn checklist() -> (Checklist, Changes) {
    let shared = Arc::new(Shared::default());
    (Checklist { shared: Arc::clone(&shared) }, Changes { shared })
}

/// The owner's end. Dropping it ends the checks.
#[derive(Debug)]
pub struct Checklist {
    shared: Arc<Shared>,
}

impl Checklist {
    /// Has a target checked from now on, or otherwise than before.
    pub(crate) fn set(&self, id: TargetId, target: Target) {
        self.send(id, Some(target));
    }

    /// Has a target checked no longer.
    pub(crate) fn remove(&self, id: TargetId) {
        self.send(id, None);
    }

    fn send(&self, id: TargetId, target: Option<Target>) {
        self.shared.lock().changes.insert(id, target);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Checklist {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.arrived.notify_one();
    }
}

/// The end of whoever carries the checks out.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
}

impl Changes {
    /// Waits for changes and takes them: targets to check, and those to check no longer; `None` when the owner has ended.
    pub(crate) async fn next(&self) -> Option<BTreeMap<TargetId, Option<Target>>> {
        loop {
            {
                let mut pending = self.shared.lock();
                if pending.over {
                    return None;
                }
                if !pending.changes.is_empty() {
                    return Some(std::mem::take(&mut pending.changes));
                }
            }
            self.shared.arrived.notified().await;
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    changes: BTreeMap<TargetId, Option<Target>>,
    over: bool,
}

impl Shared {
    /// A holder that panicked leaves nothing half done: every change is one insertion or one assignment.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
