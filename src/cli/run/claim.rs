//! The registration of a running command: its number, and what is written of it until it ends.
//!
//! Numbers are found under a lock, so that two that begin at once are not both the first. A number is free when there is no
//! file of it, or when the lease in it ran out: whoever held it was killed. The file is put there only where none is, so
//! whoever writes without the lock is not overwritten either.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::super::registration::{Faults, Manner, Meant, Registration, UnderArgs, put, remove, shown};
use super::super::{FAILURE, complain};
use crate::control::Hash;

/// A registration that is ours.
#[derive(Debug)]
pub(super) struct Claim {
    dir: PathBuf,
    /// Relative to the spec directory.
    file: String,
    registration: Registration,
    meant: Meant,
    /// What was last in the way; said once.
    trouble: Option<String>,
}

/// Why there is no number to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclaimed {
    /// The server would not take it.
    #[error("{0}")]
    Faulty(#[from] Faults),
    /// It cannot be written.
    #[error("{}: {error}", place.display())]
    Unwritten {
        /// What.
        place: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Every number is taken.
    #[error("{}: every number up to {NUMBERS_MAX} is taken", .0.display())]
    Full(PathBuf),
}

impl Claim {
    /// Takes the number that the registration has, whoever may have had it.
    pub(super) fn of_this(dir: &Path, under: &UnderArgs, registration: Registration) -> Result<Self, Unclaimed> {
        let claim = Self::at(dir, under, registration)?;
        claim.put(Manner::Replace).map_err(|error| claim.unwritten(error))?;
        Ok(claim)
    }

    /// Takes the lowest number that is free; `wall` are the seconds since 1970.
    pub(super) fn of_lowest(
        dir: &Path,
        under: &UnderArgs,
        registration: Registration,
        wall: u64,
    ) -> Result<Self, Unclaimed> {
        let first = Self::at(dir, under, registration.clone())?;
        let _lock = lock(&first).map_err(|error| first.unwritten(error))?;
        for number in 1..=NUMBERS_MAX {
            let claim = Self::at(dir, under, Registration { number, ..registration.clone() })?;
            if claim.is_deserted(wall) {
                // A server that reads in between sees what it knows already: nobody there.
                let _ = remove(dir, &claim.file);
            }
            match claim.put(Manner::Claim) {
                Ok(()) => return Ok(claim),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(claim.unwritten(error)),
            }
        }
        Err(Unclaimed::Full(first.place()))
    }

    fn at(dir: &Path, under: &UnderArgs, registration: Registration) -> Result<Self, Unclaimed> {
        let (_, meant) = registration.octets()?;
        Ok(Self { dir: dir.to_owned(), file: meant.file(under), registration, meant, trouble: None })
    }

    /// Where the file is, relative to the spec directory.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The hash of what is written.
    pub(super) fn hash(&self) -> Hash {
        // It was octets before, so it is again.
        Hash::of(&self.registration.octets().map(|(octets, _)| octets).unwrap_or_default())
    }

    /// What the registration means.
    pub(super) fn meant(&self) -> &Meant {
        &self.meant
    }

    /// How long it is believed.
    pub(super) fn lease(&self) -> Duration {
        self.meant.instance.lease.unwrap_or(LEASE)
    }

    /// Writes another state; the hash of what is written.
    pub(super) fn change(&mut self, state: &str) -> Option<Hash> {
        self.registration.state = Some(state.to_owned());
        let written = self.put(Manner::Replace);
        let done = written.is_ok();
        self.note(written, "cannot be written");
        done.then(|| self.hash())
    }

    /// Renews the lease. A registration that is gone is written again: as long as the command runs, it is there.
    pub(super) fn renew(&mut self) {
        let now = TimeSpec::UTIME_NOW;
        let touched = utimensat(AT_FDCWD, &self.place(), &now, &now, UtimensatFlags::NoFollowSymlink);
        let renewed = match touched {
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.put(Manner::Claim),
            Ok(()) if !self.is_ours() => Err(io::Error::other("another instance took the number")),
            other => other.map_err(io::Error::from),
        };
        self.note(renewed, "cannot be renewed");
    }

    /// Removes the registration, unless it is somebody else's by now.
    pub(super) fn leave(&self) {
        if !self.is_ours() {
            complain(&format!("{}: is not ours any more, and is left as it is", self.place().display()), FAILURE);
        } else if let Err(error) = remove(&self.dir, &self.file) {
            complain(&format!("{}: was not removed: {error}", self.place().display()), FAILURE);
        }
    }

    /// Whether the file is there and about this instance.
    fn is_ours(&self) -> bool {
        let found = fs::read(self.place()).ok().and_then(|octets| Meant::read(&octets).ok());
        found.is_some_and(|found| found.instance.addresses == self.meant.instance.addresses)
    }

    fn place(&self) -> PathBuf {
        shown(&self.dir, &self.file)
    }

    fn put(&self, manner: Manner) -> io::Result<()> {
        let (octets, _) = self.registration.octets().map_err(io::Error::other)?;
        put(&self.dir, &self.file, &octets, manner)
    }

    /// Says what is in the way, when it comes and when it goes.
    fn note(&mut self, result: io::Result<()>, what: &str) {
        let place = self.place();
        let place = place.display();
        let trouble =
            result.err().map(|error| format!("{place}: {what}: {error}; the command goes on, and it is tried again"));
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => complain(trouble, FAILURE),
                None => complain(&format!("{place}: is written again"), FAILURE),
            };
            self.trouble = trouble;
        }
    }

    /// Whether there is a registration whose lease ran out a while ago.
    fn is_deserted(&self, wall: u64) -> bool {
        let Ok(metadata) = fs::symlink_metadata(self.place()) else { return false };
        let Some(lease) = fs::read(self.place()).ok().and_then(|octets| Meant::read(&octets).ok()?.instance.lease)
        else {
            return false;
        };
        let written = u64::try_from(metadata.mtime()).unwrap_or(0);
        wall > written.saturating_add(lease.as_secs()).saturating_add(DESERTED.as_secs())
    }

    fn unwritten(&self, error: io::Error) -> Unclaimed {
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let error = if missing {
            io::Error::other("there is no such spec directory; name another with -C DIR")
        } else {
            io::Error::other(format!("cannot be written: {error}"))
        };
        let place = if missing { self.dir.clone() } else { self.place() };
        Unclaimed::Unwritten { place, error }
    }
}

/// Keeps others of the same app from looking for a number at once; until it is dropped.
fn lock(claim: &Claim) -> io::Result<File> {
    super::super::registration::make_directories(&claim.dir, &claim.file)?;
    let path = claim.place().with_file_name(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => sleep(LOCK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other(format!("another process holds {LOCK} beside it and does not let go")))
}

/// The lock's name: one that is passed over.
const LOCK: &str = ".numbers.lock";

/// How soon to try for the lock again, which is held for some milliseconds.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// How often: ten seconds.
const LOCK_TRIES: u32 = 500;

/// The highest number that is looked for: more than a component may have instances.
const NUMBERS_MAX: u32 = 10_000;

/// How long after the end of its lease a number counts as deserted: clocks of two machines may differ.
const DESERTED: Duration = Duration::from_secs(10);

/// The lease when none is written.
const LEASE: Duration = Duration::from_secs(30);
