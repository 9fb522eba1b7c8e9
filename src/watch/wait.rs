//! Which files are to be looked at, when, and why.

use std::time::Duration;

use super::scan::{Identity, Seen};
use crate::registry::Now;

/// How it is known that something is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event told of it, or of the directory that it was in.
    ByEvent,
    /// A scan did not find it.
    ByScan,
}

/// A look that is due.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    /// When the waiting began.
    pub(crate) since: Duration,
    pub(crate) due: Duration,
    pub(crate) why: Why,
    /// What a scan saw of it just now.
    pub(crate) seen: Option<Seen>,
    /// Since when it is put off for a space that may be on its way.
    pub(crate) put_off: Option<Duration>,
    /// What is known of what is in it.
    pub(crate) inside: Inside,
}

/// What is known of what is in a file before it is read for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// Nothing.
    Unknown,
    /// No space document.
    NoSpace,
}

/// Why a file is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is certainly whole.
    Whole,
    /// The first walk listed it: whole, if it has stood a while, which shows when it is read.
    Listed,
    /// Whoever wrote it has finished.
    Finished,
    /// It is being written, and was this when a scan saw it.
    Written(Option<Identity>),
    /// It may be cut off, unless it is still this.
    Standing(Identity),
    /// It is said to be gone.
    Vanished(Told),
    /// It was gone.
    Missing(Told),
}

impl Wait {
    /// A look at once.
    pub(crate) fn now(now: Now, why: Why) -> Self {
        Self::until(now, Duration::ZERO, why)
    }

    /// A look after a while.
    pub(crate) fn until(now: Now, wait: Duration, why: Why) -> Self {
        Self {
            since: now.monotonic,
            due: now.monotonic + wait,
            why,
            seen: None,
            put_off: None,
            inside: Inside::Unknown,
        }
    }

    /// Whether what is there now may be more in a moment.
    pub(crate) const fn is_coming(&self) -> bool {
        matches!(self.why, Why::Written(_) | Why::Standing(_))
    }

    /// Whether there was nothing when somebody last looked, or was told.
    pub(crate) const fn is_for_what_is_gone(&self) -> bool {
        matches!(self.why, Why::Missing(_) | Why::Vanished(_))
    }

    /// The same, for what a scan saw just now: it is not looked at again before it is read.
    pub(crate) fn seen(self, seen: Seen) -> Self {
        Self { seen: Some(seen), ..self }
    }
}

/// How long a file that is written in place must be left alone before it is read. An editor's write takes less.
pub(crate) const QUIET: Duration = Duration::from_millis(50);

/// How long a file that is never left alone is waited for.
pub(crate) const QUIET_MAX: Duration = Duration::from_millis(500);

/// How long a spec must be missing: delete-and-create is how many tools write.
pub(crate) const REMOVAL: Duration = Duration::from_secs(1);

/// How long a registration must be missing: what a tool needs between its delete and its create.
pub(crate) const REGISTRATION_REMOVAL: Duration = Duration::from_millis(5);
