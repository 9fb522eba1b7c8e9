//! Who may write to a state directory: the process that holds its lock. The kernel lets go of it when that process ends,
//! however it ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The lock of a state directory, held or not.
#[derive(Debug, Default)]
pub(super) struct Lock {
    /// Locked for as long as it is open.
    held: Option<File>,
}

impl Lock {
    /// Whether this process holds it.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the lock where it is not held, and makes the directory where it is not there; says whether it was taken just now.
    ///
    /// # Errors
    ///
    /// Somebody else holds it, or there can be no such directory.
    pub(super) fn take(&mut self, directory: &Path) -> io::Result<bool> {
        if self.held.is_some() {
            return Ok(false);
        }
        if fs::metadata(directory).is_err() {
            // Only its owner may read what is saved: a spec may hold secrets.
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another server saves its state there")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        self.held = Some(file);
        Ok(true)
    }
}

const LOCK: &str = "lock";
