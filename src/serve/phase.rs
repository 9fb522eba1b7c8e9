//! How far a server has got: at work, or on its way out in one of two ways.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How far a server has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum Phase {
    /// It answers.
    #[default]
    Serving = 0,
    /// It ends, and the sockets with it: what is queued in them is answered first.
    Closing = 1,
    /// It ends, and another server has the sockets: what is queued in them is the other's.
    Leaving = 2,
}

impl Phase {
    /// Whether nothing new is begun.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what `wait_for` gives it")]
    pub(super) fn is_over(&self) -> bool {
        *self != Self::Serving
    }

    /// How long a connection is listened to from now on, for what its client has sent, or is about to.
    pub(super) const fn quiet(self) -> Duration {
        match self {
            Self::Serving | Self::Closing => QUIET,
            Self::Leaving => QUIET_LEAVING,
        }
    }

    /// The same of a connection whose datagrams the other server receives as well: short, since half of them are lost to it.
    pub(super) const fn quiet_shared(self) -> Duration {
        match self {
            Self::Serving | Self::Closing => QUIET,
            Self::Leaving => QUIET_SHARED,
        }
    }
}

/// The phase, for those who look at it between two batches.
#[derive(Debug, Default)]
pub(super) struct PhaseFlag(AtomicU8);

impl PhaseFlag {
    pub(super) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Closing,
            _ => Phase::Leaving,
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }
}

/// Long enough for what was under way, and short for whoever waits for the end.
const QUIET: Duration = Duration::from_millis(100);

/// The same where nobody waits for the end, because another server is at work: a client that connected a moment ago, and is
/// slow to ask, is answered.
const QUIET_LEAVING: Duration = Duration::from_secs(2);

/// The same of datagrams: long enough for what was received already.
const QUIET_SHARED: Duration = Duration::from_millis(10);
