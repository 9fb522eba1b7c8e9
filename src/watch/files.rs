//! What is known of every file: what was last seen of it, its last good version, what is wrong with it, and until when it is
//! left alone.
//!
//! Three jobs change that, each in a file of its own: [hearing](heard) of files, by events and scans; [choosing](due) which of them
//! to look at now; and [taking](take) or refusing one, which says what counts as whole.
//!
//! Nothing here shrinks what is served by mistake: only a file that is not there any more, in a directory that is, counts
//! as removed, and where no event told of it the owner is asked first. Every other trouble leaves the last good version and
//! a fault beside it.
//!
//! Time is an argument, so every rule can be tested without waiting for it.

mod due;
mod heard;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::read::Removal;
use super::report::{FileReport, FileState};
use super::scan::{DirectoryId, Identity};
use super::wait::{Wait, Why};
use crate::control::Hash;
use crate::registry::FileChange;
use crate::spec::{Document, Fault};

/// The files of one directory.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    keep: Keep,
    /// The directory whose contents are used; `None` before the first scan.
    root_id: Option<DirectoryId>,
    /// Boxed: a tree has places free.
    entries: BTreeMap<Arc<str>, Box<Entry>>,
    /// Directories that cannot be read.
    unread: BTreeMap<Arc<str>, Fault>,
    /// Which files are to be looked at, and when.
    waits: BTreeMap<Arc<str>, Wait>,
    /// Files that are missing since a moment, of which no event told.
    missing: BTreeMap<Arc<str>, Duration>,
    /// Why what is served does not change; `None` while it may.
    frozen: Option<String>,
}

/// Of which files the octets of the last good version are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Of those whose next version is held against them.
    Yaml,
    /// Of all: they are to outlive the process.
    All,
}

/// What is to outlive the process of a file.
#[derive(Debug)]
pub(crate) enum Kept<'f> {
    /// The octets of its last good version, and what it is known by where that is what is there now.
    Good(&'f [u8], Option<Identity>),
    /// What the registry was told of it, as no version was ever good.
    Remains(&'f Document),
}

/// What is known of one file. There may be a hundred thousand, so what few of them have is apart.
#[derive(Debug)]
struct Entry {
    /// What the report is about; `None` when the file could not be read.
    identity: Option<Identity>,
    good: Option<Good>,
    state: FileState,
    /// Where there is anything to say of it.
    remarks: Option<Box<Remarks>>,
}

/// What there is to say of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remarks {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// What the registry was told of a file that was never good.
    remains: Vec<Document>,
    /// What the faults are about, where it could be read.
    refused: Option<Hash>,
}

/// The last good version.
#[derive(Debug)]
struct Good {
    /// Of the octets: says whether a file is as it was.
    hash: Hash,
    /// The octets, where they are kept.
    octets: Option<Box<Octets>>,
    modified: u64,
    removal: Removal,
    /// The generation that was first made with it; `None` until it was.
    generation: Option<NonZeroU64>,
}

/// Octets behind one pointer: of most files none are kept.
#[derive(Debug)]
struct Octets(Box<[u8]>);

impl Entry {
    fn new(identity: Option<Identity>, good: Option<Good>, state: FileState, remarks: Remarks) -> Self {
        let remarks = (remarks != Remarks::default()).then(|| Box::new(remarks));
        Self { identity, good, state, remarks }
    }

    fn faults(&self) -> &[Fault] {
        self.remarks.as_ref().map_or(&[], |remarks| &remarks.faults)
    }

    fn warnings(&self) -> &[Fault] {
        self.remarks.as_ref().map_or(&[], |remarks| &remarks.warnings)
    }

    fn remains(&self) -> &[Document] {
        self.remarks.as_ref().map_or(&[], |remarks| &remarks.remains)
    }

    fn report(&self) -> FileReport {
        FileReport { state: self.state, faults: self.faults().to_vec(), warnings: self.warnings().to_vec() }
    }
}

/// How a file stands: for receipts.
#[derive(Debug)]
pub(crate) struct Standing<'f> {
    /// What became of it.
    pub(crate) state: FileState,
    /// What is wrong with it.
    pub(crate) faults: &'f [Fault],
    /// What is accepted but worth a look.
    pub(crate) warnings: &'f [Fault],
    /// What is used of it, and the first generation that was made with it.
    pub(crate) used: Option<(Hash, Option<u64>)>,
    /// What its faults are about, where it could be read.
    pub(crate) refused: Option<Hash>,
}

impl<'f> Standing<'f> {
    fn of(entry: &'f Entry) -> Self {
        Self {
            state: entry.state,
            faults: entry.faults(),
            warnings: entry.warnings(),
            used: entry.good.as_ref().map(|good| (good.hash, good.generation.map(NonZeroU64::get))),
            refused: entry.remarks.as_ref().and_then(|remarks| remarks.refused),
        }
    }
}

impl Files {
    /// Makes the state of a directory that was not looked at yet.
    pub(crate) fn new(root: &Path, keep: Keep) -> Self {
        Self {
            root: root.to_owned(),
            keep,
            root_id: None,
            entries: BTreeMap::new(),
            unread: BTreeMap::new(),
            waits: BTreeMap::new(),
            missing: BTreeMap::new(),
            frozen: None,
        }
    }

    /// What there is to say of each file, and of each directory that cannot be read.
    pub(crate) fn reports(&self) -> BTreeMap<Arc<str>, FileReport> {
        let files = self.entries.iter().map(|(file, entry)| (Arc::clone(file), entry.report()));
        let unread = self.unread.iter().map(|(directory, fault)| {
            let report = FileReport { state: FileState::Stale, faults: vec![fault.clone()], warnings: Vec::new() };
            (Arc::clone(directory), report)
        });
        files.chain(unread).collect()
    }

    /// What is to outlive the process of a file.
    pub(crate) fn kept(&self, file: &str) -> Option<Kept<'_>> {
        let entry = self.entries.get(file)?;
        match (&entry.good, entry.remains()) {
            (Some(good), _) => {
                Some(Kept::Good(&good.octets.as_ref()?.0, entry.identity.filter(|_| entry.state == FileState::Ok)))
            }
            (None, [remains]) => Some(Kept::Remains(remains)),
            (None, _) => None,
        }
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// What is known of a file to whom looks for changes.
    pub(crate) fn known(&self, file: &str) -> Option<(Arc<str>, Option<Identity>)> {
        let (file, entry) = self.entries.get_key_value(file)?;
        Some((Arc::clone(file), entry.identity))
    }

    /// Which directory the files are in.
    pub(crate) const fn root_id(&self) -> Option<DirectoryId> {
        self.root_id
    }

    /// Takes in a file that outlived another process, as it was: the first scan tells what became of it.
    pub(crate) fn restore(
        &mut self,
        file: Arc<str>,
        octets: Box<[u8]>,
        (identity, modified): (Option<Identity>, u64),
        removal: Removal,
        (remains, warnings): (Vec<Document>, Vec<Fault>),
    ) {
        // No octets are good.
        let broken = octets.is_empty();
        let state = if broken { FileState::Rejected } else { FileState::Ok };
        let hash = Hash::of(&octets);
        let good = (!broken).then(|| {
            let octets = Some(Box::new(Octets(octets)));
            Good { hash, octets, modified, removal, generation: None }
        });
        let remarks = Remarks { warnings, remains, ..Remarks::default() };
        self.entries.insert(file, Box::new(Entry::new(identity, good, state, remarks)));
    }

    /// Takes in which directory it was that the files are in.
    pub(crate) const fn restore_root(&mut self, root: Option<DirectoryId>) {
        self.root_id = root;
    }

    /// How a file stands; `None` where there is none.
    pub(crate) fn standing(&self, file: &str) -> Option<Standing<'_>> {
        self.entries.get(file).map(|entry| Standing::of(entry))
    }

    /// What became of each file, by path, after this path.
    pub(crate) fn states(&self, after: &str) -> impl Iterator<Item = (&Arc<str>, FileState)> {
        let from = self.entries.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        from.map(|(file, entry)| (file, entry.state))
    }

    /// How many there are: served as they stand, in an older version, not at all.
    pub(crate) fn tally(&self) -> [usize; 3] {
        let mut tally = [0; 3];
        for entry in self.entries.values() {
            let [ok, stale, rejected] = &mut tally;
            *match entry.state {
                FileState::Ok => ok,
                FileState::Stale => stale,
                FileState::Rejected => rejected,
                FileState::Expired => ok,
            } += 1;
        }
        tally
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The directories that cannot be read, and why.
    pub(crate) fn unread_directories(&self) -> &BTreeMap<Arc<str>, Fault> {
        &self.unread
    }

    /// How many files are to be looked at again.
    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Whether a file is to be looked at again.
    pub(crate) fn is_waiting(&self, file: &str) -> bool {
        self.waits.contains_key(file)
    }

    /// Takes in that `generation` was made with these files as they are.
    pub(crate) fn made(&mut self, files: impl IntoIterator<Item = Arc<str>>, generation: u64) {
        let Some(generation) = NonZeroU64::new(generation) else { return };
        for file in files {
            if let Some(good) = self.entries.get_mut(&file).and_then(|entry| entry.good.as_mut()) {
                good.generation.get_or_insert(generation);
            }
        }
    }

    /// How many files have a good version.
    pub(crate) fn count(&self) -> usize {
        self.entries.values().filter(|entry| entry.good.is_some()).count()
    }

    /// Whether what is served does not change, because the directory is lost.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Why it does not.
    pub(crate) fn frozen(&self) -> Option<&str> {
        self.frozen.as_deref()
    }

    /// The hash of the last good version of a file.
    pub(crate) fn good(&self, file: &str) -> Option<Hash> {
        Some(self.entries.get(file)?.good.as_ref()?.hash)
    }

    /// Whether no version of a file was ever good.
    fn is_new(&self, file: &str) -> bool {
        self.good(file).is_none()
    }

    /// Whether some file is still held back that may be in what is served first.
    pub(crate) fn is_settling(&self) -> bool {
        self.waits.values().any(|wait| matches!(wait.why, Why::Standing(_) | Why::Finished | Why::Listed | Why::Whole))
    }

    /// When the next file is to be looked at.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.waits.values().map(|wait| wait.due).min()
    }

    /// The files that are missing since a moment, of which no event told: they are kept until somebody
    /// [believes](Self::believe) it.
    pub(crate) const fn missing(&self) -> &BTreeMap<Arc<str>, Duration> {
        &self.missing
    }

    /// Takes files that are missing for removed.
    pub(crate) fn believe(&mut self, files: BTreeSet<Arc<str>>) -> Vec<FileChange> {
        for file in &files {
            debug!(%file, "removed");
            self.missing.remove(file);
            self.entries.remove(file);
        }
        files.into_iter().map(|file| FileChange { file, content: None }).collect()
    }
}

#[cfg(test)]
mod sizes {
    use super::*;

    /// There may be a hundred thousand, and mimalloc has no size between 112 octets and 128.
    #[test]
    fn what_is_known_of_a_file_is_fourteen_words() {
        assert_eq!(size_of::<Entry>(), 112);
    }
}
