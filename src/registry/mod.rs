//! What *is*: spaces, apps, components and instances at a moment, made of the accepted documents of every file.

use std::sync::Arc;
use std::time::Duration;

use crate::spec::{Document, Fault};

/// A moment, as the caller read it: this module reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, since some start: what leases and tombstones run on.
    pub monotonic: Duration,
    /// The wall clock in seconds since 1970: for the words of messages only.
    pub wall: u64,
}

/// What happened to one file.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The path relative to the spec directory, `/` between its parts.
    pub file: Arc<str>,
    /// Its accepted documents; `None` when the file is gone.
    pub content: Option<FileContent>,
}

/// The accepted documents of a file.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// The documents in the order of the file, from a reading without faults.
    pub documents: Vec<Document>,
    /// When the file was written, in nanoseconds since 1970: decides between two registrations at a cold start.
    pub modified: u128,
}

/// A fault that shows only when files are held against each other; it concerns a name, not the rest of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFault {
    /// The file to mend.
    pub file: Arc<str>,
    /// What is wrong in it; names the other file.
    pub fault: Fault,
}

/// What a change touched, for the compiler.
#[derive(Debug, Clone, Default)]
pub struct Touched {}

/// What is, made of the documents of every file.
#[derive(Debug)]
pub struct Registry {}

impl Registry {
    /// Makes an empty registry; removed hostnames stay NXDOMAIN for `tombstone`.
    #[must_use]
    pub fn new(_tombstone: Duration) -> Self {
        Self {}
    }

    /// Takes in what happened to files, as one batch: their order decides nothing.
    pub fn apply(&mut self, _changes: Vec<FileChange>, _now: Now) -> Touched {
        Touched::default()
    }

    /// Lets time pass: leases and tombstones run out.
    pub fn advance(&mut self, _now: Now) -> Touched {
        Touched::default()
    }

    /// The monotonic moment at which [`advance`](Self::advance) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Every fault between files, by file and place.
    #[must_use]
    pub fn faults(&self) -> Vec<FileFault> {
        Vec::new()
    }

    /// Every warning that needs more than one file to see, by file and place.
    #[must_use]
    pub fn warnings(&self) -> Vec<FileFault> {
        Vec::new()
    }
}
