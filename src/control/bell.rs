//! What wakes the owner: a descriptor, so that it can wait for it and for file events at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// Rings from the first message in the box until the box is emptied.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    /// Makes a bell that does not ring.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Lets it ring.
    pub(super) fn ring(&self) {
        // It fails where it rings already, 2⁶⁴ times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it stop.
    pub(super) fn hush(&self) {
        // It fails where it did not ring.
        let _ = rustix::io::read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

impl AsFd for Bell {
    /// Can be read from while the bell rings.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
