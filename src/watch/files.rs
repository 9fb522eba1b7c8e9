//! The state of every file: what was last seen of it, its last good version, what is wrong with it, and until when it is
//! left alone.
//!
//! Truncated YAML can be valid YAML, and can hold a wrong address. So a file is taken when it is whole, and what tells is
//! how it came: renamed into place or, for JSON, closed by its writer: at once. Written in place: after a little quiet.
//! Empty, without a last line feed, or less than it was: after it has stood a while. The beginning of what it was, cut within
//! a line, or anything that may be cut where the disk is full: never. A file cut at the end of a line is, after a second, a
//! shorter file: nothing tells it from an edit, and so the writer should rename, or write JSON.
//!
//! Nothing here shrinks what is served by mistake: only a file that is not there any more, in a directory that is, counts
//! as removed, and where no event told of it the owner is asked first. Every other trouble leaves the last good version and
//! a fault beside it.
//!
//! A file whose time of writing moved and whose octets did not is a renewal, and is not parsed. So is one that was written
//! and cannot be used: whoever writes is there, though what it writes is broken.
//!
//! Time is an argument, so every rule can be tested without waiting for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::doubt::{Coming, Doubt, STANDING, has_stood};
use super::read::{self, Ahead, Asked, Contents, Parsed, Removal, Text, read_ahead, unreadable, whole};
use super::report::{FileReport, FileState};
use super::scan::{
    Body, DirectoryId, Identity, Scan, Seen, Sight, Way, absolute, entries_below, format_of, is_below, look,
};
use super::wait::{Told, Wait, Why};
use crate::control::{Hash, Mark};
use crate::registry::{FileChange, FileContent, Now};
use crate::spec::{Document, Documents, Fault, Format};

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

/// What came of looking at the files that were due.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// What changed.
    pub(crate) changes: Vec<FileChange>,
    /// Files that were written or touched, and mean what they meant.
    pub(crate) renewed: Vec<Arc<str>>,
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
    octets: Option<Box<[u8]>>,
    modified: u64,
    removal: Removal,
    /// The generation that was first made with it; `None` until it was.
    generation: Option<NonZeroU64>,
}

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

/// What became of looking at one file.
enum Outcome {
    /// It means something else now.
    Changed(FileContent),
    /// It was written or touched, and means what it meant.
    Renewed,
    /// It is removed.
    Gone,
    /// Nothing, or nothing yet.
    Same,
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
                Some(Kept::Good(good.octets.as_ref()?, entry.identity.filter(|_| entry.state == FileState::Ok)))
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
        let good = (!broken).then_some(Good { hash, octets: Some(octets), modified, removal, generation: None });
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

    /// Whether some file is still held back that may be in what is served first.
    pub(crate) fn is_settling(&self) -> bool {
        self.waits.values().any(|wait| matches!(wait.why, Why::Standing(_) | Why::Finished | Why::Whole))
    }

    /// When the next file is to be looked at.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.waits.values().map(|wait| wait.due).min()
    }

    /// Takes in that something happened to a file.
    pub(crate) fn mark(&mut self, file: &Arc<str>, mark: Mark, now: Duration) {
        let last = self.waits.get(file);
        let writing = matches!(last, Some(Wait { why: Why::Written(_), .. }));
        let since = last.filter(|_| writing).map_or(now, |wait| wait.since);
        let json = format_of(file).is_some_and(|(format, _)| format == Format::Json);
        let (due, why) = match mark {
            Mark::Placed => (now, Why::Finished),
            Mark::Closed if json => (now, Why::Finished),
            Mark::Touched if last.is_some() => return,
            Mark::Touched => (now, Why::Finished),
            Mark::Removed => (now, Why::Vanished(Told::ByEvent)),
            // Whoever writes has it open still.
            Mark::Written => (since + QUIET_MAX, Why::Written(None)),
            Mark::Made | Mark::Closed => ((now + QUIET).min(since + QUIET_MAX), Why::Written(None)),
        };
        self.waits.insert(Arc::clone(file), Wait { since, due, why, seen: None });
    }

    /// Takes in what a scan of everything below `under` found; `told` is what it was made for.
    pub(crate) fn found(&mut self, scan: Scan, under: &str, told: Told, now: Now) {
        let id = scan.directories.get(under).copied();
        let replaced = under.is_empty() && self.root_id.is_some() && self.root_id != id;
        if replaced && scan.is_empty() && !self.entries.is_empty() {
            return self.freeze("it was replaced by an empty one".to_owned());
        }
        let first = self.root_id.is_none();
        if under.is_empty() {
            self.root_id = id;
            if self.frozen.take().is_some() {
                info!("the spec directory has content again: what is served follows it");
            }
        }
        self.note_unread(&scan, under);
        self.missing.retain(|file, _| !scan.unread.keys().any(|directory| is_below(file, directory)));
        self.missing.retain(|file, _| !scan.unchanged.contains(file));
        let gone: Vec<Arc<str>> = self
            .absent(&scan, under)
            .into_iter()
            .filter(|file| !self.unread.keys().any(|directory| is_below(file, directory)))
            .filter(|file| !matches!(self.waits.get(file), Some(Wait { why: Why::Missing(_) | Why::Vanished(_), .. })))
            .filter(|file| told == Told::ByEvent || !self.missing.contains_key(file))
            .collect();
        let moved: HashSet<Body> =
            gone.iter().filter_map(|file| Some(self.entries.get(file)?.identity?.body())).collect();
        for file in gone {
            // A directory made anew is often still being filled.
            let wait = if replaced {
                Wait::until(now, REMOVAL, Why::Missing(told))
            } else {
                Wait::now(now, Why::Vanished(told))
            };
            self.waits.insert(file, wait);
        }
        for (file, sight) in scan.files {
            self.missing.remove(&file);
            let stood =
                |identity: Identity| if first { has_stood(identity, now) } else { moved.contains(&identity.body()) };
            self.sight(file, &sight, first, stood, now);
        }
    }

    /// The files that a scan did not find. What it found as it was is in the order of the files, so the two are walked side by side:
    /// nearly every file is such, and to look for each would be most of what an idle server does.
    fn absent(&self, scan: &Scan, under: &str) -> Vec<Arc<str>> {
        let mut unchanged = scan.unchanged.iter().peekable();
        entries_below(&self.entries, under)
            .map(|(file, _)| file)
            .filter(|file| unchanged.next_if_eq(file).is_none() && !scan.files.contains_key(*file))
            .cloned()
            .collect()
    }

    fn sight(&mut self, file: Arc<str>, sight: &Sight, first: bool, stood: impl Fn(Identity) -> bool, now: Now) {
        if self.waits.contains_key(&file) {
            return;
        }
        let entry = self.entries.get(&file);
        let wait = match sight {
            Sight::File(seen) if entry.is_some_and(|entry| entry.identity == Some(seen.identity)) => return,
            Sight::File(seen @ Seen { way: Way::Swapped, .. }) => Wait::now(now, Why::Whole).seen(*seen),
            Sight::File(seen) if stood(seen.identity) => Wait::now(now, Why::Whole).seen(*seen),
            Sight::File(seen) if first => Wait::now(now, Why::Finished).seen(*seen),
            Sight::File(seen) => Wait::until(now, QUIET, Why::Written(Some(seen.identity))),
            Sight::Gone if entry.is_none() => return,
            Sight::Gone => Wait::now(now, Why::Vanished(Told::ByScan)),
            Sight::Odd(_) | Sight::Failed(_) => Wait::now(now, Why::Finished),
        };
        self.waits.insert(file, wait);
    }

    fn note_unread(&mut self, scan: &Scan, under: &str) {
        self.unread.retain(|directory, _| {
            let stays = scan.unread.contains_key(directory) || !(is_below(directory, under) || &**directory == under);
            if !stays {
                info!(directory = %directory, "the directory can be read again");
            }
            stays
        });
        for (directory, error) in &scan.unread {
            let fault = unreadable(error);
            if self.unread.get(directory) != Some(&fault) {
                warn!(directory = %directory, "{fault}; its files stay as they were");
                self.unread.insert(Arc::clone(directory), fault);
            }
        }
    }

    /// Takes in that the directory itself cannot be listed: unreadable is not empty.
    pub(crate) fn lost(&mut self, error: &io::Error) {
        self.freeze(error.to_string());
    }

    fn freeze(&mut self, why: String) {
        // What is missing while everything is missing was not removed.
        self.waits.retain(|_, wait| !matches!(wait.why, Why::Missing(_) | Why::Vanished(_)));
        self.missing.clear();
        if self.frozen.as_ref() != Some(&why) {
            warn!("the spec directory is lost: {why}; what is served stays as it is until there is content again");
            self.frozen = Some(why);
        }
    }

    /// Takes everything as it stands, as who reads the directory only once must.
    pub(crate) fn hurry(&mut self) {
        for wait in self.waits.values_mut() {
            wait.why = Why::Whole;
        }
    }

    /// Whether a file was written or touched since it was last seen, though perhaps no event told of it: asked before its
    /// lease runs out.
    pub(crate) fn was_touched(&mut self, file: &Arc<str>, now: Now) -> bool {
        let Sight::File(seen) = look(&self.root, file) else { return false };
        let known = self.entries.get(file).is_some_and(|entry| entry.identity == Some(seen.identity));
        if !known && !self.waits.contains_key(file) {
            let wait = Wait::until(now, QUIET, Why::Written(Some(seen.identity)));
            self.waits.insert(Arc::clone(file), wait);
        }
        self.is_renewed(file, seen.identity)
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

    /// Looks at every file that is due, and says what came of it.
    pub(crate) fn due(&mut self, now: Now) -> Due {
        let mut due: Vec<Arc<str>> = (self.waits.iter())
            .filter(|(_, wait)| wait.due <= now.monotonic)
            .map(|(file, _)| Arc::clone(file))
            .collect();
        let mut found = Due::default();
        let is_first = self.entries.is_empty();
        if self.waits.values().any(Wait::is_coming) {
            let mut spaces = self.coming_spaces(&due);
            spaces.retain(|file| self.waits.get(file).is_some_and(|wait| wait.due <= now.monotonic));
            // They may have to stand a while yet.
            self.look_at_all(&spaces, &mut found, now);
            due.retain(|file| spaces.binary_search(file).is_err());
            self.put_off(&mut due, now.monotonic);
        }
        self.look_at_all(&due, &mut found, now);
        if is_first {
            // A tree that was filled in order has half its places free; one that is made of what is in order has none.
            self.entries = std::mem::take(&mut self.entries).into_iter().collect();
        }
        found
    }

    fn look_at_all(&mut self, files: &[Arc<str>], found: &mut Due, now: Now) {
        let of = |file| Asked { known: self.good(file), seen: self.waits.get(file).and_then(|wait| wait.seen) };
        let asked: Vec<Asked> = files.iter().map(|file| of(file)).collect();
        let mut root_stands = None;
        let root = self.root.clone();
        read_ahead(&root, files, &asked, |file, ahead| match self.look_at(file, ahead, &mut root_stands, now) {
            Outcome::Changed(content) => {
                found.changes.push(FileChange { file: Arc::clone(file), content: Some(content) });
            }
            Outcome::Gone => found.changes.push(FileChange { file: Arc::clone(file), content: None }),
            Outcome::Renewed => found.renewed.push(Arc::clone(file)),
            Outcome::Same => {}
        });
    }

    /// Puts off what is due and new while a file on its way may be its space. Served with another space until then, its names would
    /// be told to callers who are not to know them.
    fn put_off(&mut self, due: &mut Vec<Arc<str>>, now: Duration) {
        let spaces: Vec<(Arc<str>, Duration)> = (self.coming_spaces(due).into_iter())
            .filter_map(|file| Some((Arc::from(directory_of(&file)), self.waits.get(&file)?.due)))
            .filter(|(_, due)| *due > now)
            .collect();
        due.retain(|file| {
            let over = spaces.iter().filter(|(directory, _)| is_below(file, directory) && self.is_new(file));
            let Some(until) = over.map(|(_, due)| *due).max() else { return true };
            let Some(wait) = self.waits.get_mut(file) else { return true };
            let until = until.min(wait.since + QUIET_MAX + STANDING);
            if until > now {
                wait.due = until;
            }
            until <= now
        });
    }

    /// The new files on their way that may be a space for what is new in `due`, in order: a file belongs to the space document in its
    /// nearest ancestor directory (design §2).
    fn coming_spaces(&self, due: &[Arc<str>]) -> Vec<Arc<str>> {
        let newcomers = due.iter().filter(|file| self.is_new(file));
        let above: HashSet<&str> = newcomers.flat_map(|file| directories_above(file)).collect();
        let coming = self.waits.iter().filter(|(_, wait)| wait.is_coming()).map(|(file, _)| file);
        (coming.filter(|file| above.contains(directory_of(file)) && self.is_new(file)).enumerate())
            .filter(|(number, file)| *number >= LOOKED_INTO_MAX || read::may_be_space(&self.root, file))
            .map(|(_, file)| Arc::clone(file))
            .collect()
    }

    /// Whether no version of a file was ever good.
    fn is_new(&self, file: &str) -> bool {
        self.good(file).is_none()
    }

    fn look_at(&mut self, file: &Arc<str>, ahead: Option<Ahead>, root_stands: &mut Option<bool>, now: Now) -> Outcome {
        let Some(wait) = self.waits.remove(file) else { return Outcome::Same };
        let (sight, ahead) = ahead.map_or_else(|| (look(&self.root, file), None), Ahead::into_parts);
        if !matches!(sight, Sight::Gone) {
            self.missing.remove(file);
        }
        match sight {
            Sight::File(seen) => {
                let renewed = self.is_renewed(file, seen.identity);
                let content = self.arrive(file, (seen, ahead), &wait, now);
                content.map_or(if renewed { Outcome::Renewed } else { Outcome::Same }, Outcome::Changed)
            }
            Sight::Gone => {
                let root = || self.root_id.is_some() && DirectoryId::at(&self.root).ok() == self.root_id;
                let stands = *root_stands.get_or_insert_with(root);
                if self.miss(file, &wait, stands, now) { Outcome::Gone } else { Outcome::Same }
            }
            Sight::Odd(what) => {
                self.refuse::<FileContent>(file, None, None, vec![odd(what)]);
                Outcome::Same
            }
            Sight::Failed(error) => self.unread(file, &error).map_or(Outcome::Same, Outcome::Changed),
        }
    }

    /// Whether a file that has a good version was written or touched since that was last asked.
    fn is_renewed(&mut self, file: &Arc<str>, seen: Identity) -> bool {
        let Some(good) = self.entries.get_mut(file).and_then(|entry| entry.good.as_mut()) else { return false };
        std::mem::replace(&mut good.modified, seen.modified) != seen.modified
    }

    /// A file that is there: read it, or wait on.
    fn arrive(
        &mut self,
        file: &Arc<str>,
        (seen, ahead): (Seen, Option<(Contents, Option<Parsed>)>),
        wait: &Wait,
        now: Now,
    ) -> Option<FileContent> {
        let entry = self.entries.get(file);
        let known = entry.is_some_and(|entry| entry.identity == Some(seen.identity));
        let again = now.monotonic < wait.since + QUIET_MAX;
        match &wait.why {
            Why::Vanished(_) | Why::Missing(_) if known => return None,
            // It was made anew, and nobody said yet that it is finished.
            Why::Vanished(_) | Why::Missing(_) => return self.wait_quiet(file, now.monotonic, seen.identity, now),
            Why::Written(Some(before)) if again && *before != seen.identity => {
                return self.wait_quiet(file, wait.since, seen.identity, now);
            }
            _ => {}
        }
        let (contents, parsed) = ahead.unwrap_or_else(|| (read::read(&self.root, file, &seen), None));
        let (text, identity) = match contents {
            Contents::Octets(text, identity) => (text, identity),
            Contents::Changing => return self.wait_quiet(file, now.monotonic, seen.identity, now),
            Contents::Gone => {
                self.waits.insert(Arc::clone(file), Wait::now(now, Why::Vanished(Told::ByScan)));
                return None;
            }
            // No identity is kept of what could not be read: every scan tries again.
            Contents::Fault(fault) => return self.refuse(file, None, None, vec![fault]),
            Contents::Failed(error) => return self.unread(file, &error),
        };
        if let Some(entry) = self.entries.get_mut(file)
            && entry.is_as(text.hash, seen.way)
        {
            entry.identity = Some(identity);
            return None;
        }
        let stood = wait.why == Why::Whole || wait.why == Why::Standing(identity);
        let coming = if matches!(wait.why, Why::Finished | Why::Whole) { Coming::Whole } else { Coming::InPlace };
        let format = format_of(file).map_or(Format::Yaml, |(format, _)| format);
        let before = self.entries.get(file).and_then(|entry| entry.good.as_ref());
        let before = before.map(|good| good.octets.as_deref().filter(|_| format == Format::Yaml).unwrap_or_default());
        match Doubt::of(&text.octets, before, format, coming, &absolute(&self.root, file)) {
            Doubt::Cut(fault) => return self.refuse(file, Some(identity), Some(text.hash), vec![fault]),
            Doubt::Unsure if !stood => {
                self.waits.insert(Arc::clone(file), Wait::until(now, STANDING, Why::Standing(identity)));
                return None;
            }
            Doubt::Unsure | Doubt::None => {}
        }
        if text.octets.is_empty() {
            let fault = whole("is empty, which is not taken for a removal", "write a document into it, or remove it");
            return self.refuse(file, Some(identity), Some(text.hash), vec![fault]);
        }
        let parsed = parsed.unwrap_or_else(|| read::parse(&self.root, file, seen.way, &text.octets).into());
        if parsed.faults.is_empty() {
            return self.accept(file, identity, text, parsed);
        }
        let Parsed { remains, faults, warnings, .. } = parsed;
        self.reject(file, Some(identity), Some(text.hash), (faults, warnings));
        self.leave(file, remains, identity.modified)
    }

    fn wait_quiet<T>(&mut self, file: &Arc<str>, since: Duration, identity: Identity, now: Now) -> Option<T> {
        let wait = Wait { since, ..Wait::until(now, QUIET, Why::Written(Some(identity))) };
        self.waits.insert(Arc::clone(file), wait);
        None
    }

    fn accept(
        &mut self,
        file: &Arc<str>,
        identity: Identity,
        Text { octets, hash }: Text,
        parsed: Parsed,
    ) -> Option<FileContent> {
        let Parsed { documents, removal, warnings, .. } = parsed;
        let before = self.entries.get(file);
        // Otherwise the writer put back what there was.
        let last = before.and_then(|entry| entry.good.as_ref()).filter(|last| last.hash == hash);
        let (same, generation) = (last.is_some(), last.and_then(|last| last.generation));
        let is_yaml = format_of(file).is_some_and(|(format, _)| format == Format::Yaml);
        let octets = (self.keep == Keep::All || is_yaml).then_some(octets);
        let modified = identity.modified;
        let good = Good { hash, octets, modified, removal, generation };
        let remarks = Remarks { warnings, ..Remarks::default() };
        let entry = Entry::new(Some(identity), Some(good), FileState::Ok, remarks);
        tell(file, before.map(|entry| &**entry), &entry);
        self.entries.insert(Arc::clone(file), Box::new(entry));
        (!same).then(|| FileContent { documents, modified: modified.into() })
    }

    /// What the registry is told of a file of which no version was ever good, unless it was told already.
    fn leave(&mut self, file: &Arc<str>, remains: Vec<Document>, modified: u64) -> Option<FileContent> {
        let entry = self.entries.get_mut(file).filter(|entry| entry.good.is_none() && entry.remains() != remains)?;
        entry.remarks.get_or_insert_default().remains.clone_from(&remains);
        Some(FileContent { documents: Documents::from(remains), modified: modified.into() })
    }

    /// A file that cannot be read at all.
    fn refuse<T>(
        &mut self,
        file: &Arc<str>,
        identity: Option<Identity>,
        hash: Option<Hash>,
        faults: Vec<Fault>,
    ) -> Option<T> {
        self.reject(file, identity, hash, (faults, Vec::new()));
        None
    }

    /// A file that is there and cannot be read, by rights or by chance. One that never was good may hold anything, which the
    /// registry is told once.
    fn unread(&mut self, file: &Arc<str>, error: &io::Error) -> Option<FileContent> {
        let mut fault = unreadable(error);
        if self.good(file).is_none() {
            fault.remedy +=
                "; it may be a space, so what is beside it and below waits where no other space covers that";
        }
        self.reject(file, None, None, (vec![fault], Vec::new()));
        let leads_nowhere = error.raw_os_error() == Some(libc::ELOOP);
        self.entries.get(file).filter(|entry| entry.remains().is_empty() && !leads_nowhere)?;
        self.leave(file, vec![Document::Unread], 0)
    }

    /// A file that cannot be used as it is, with octets of this hash where it could be read: what it was before stays.
    fn reject(
        &mut self,
        file: &Arc<str>,
        identity: Option<Identity>,
        refused: Option<Hash>,
        (faults, warnings): (Vec<Fault>, Vec<Fault>),
    ) {
        let mut before = self.entries.remove(file);
        let good = before.as_mut().and_then(|entry| entry.good.take());
        let remains = before.as_ref().map(|entry| entry.remains().to_vec()).unwrap_or_default();
        let state = if good.is_some() { FileState::Stale } else { FileState::Rejected };
        let entry = Entry::new(identity, good, state, Remarks { faults, warnings, remains, refused });
        tell(file, before.as_deref(), &entry);
        self.entries.insert(Arc::clone(file), Box::new(entry));
    }

    /// A file that is not there; true when it counts as removed.
    fn miss(&mut self, file: &Arc<str>, wait: &Wait, root_stands: bool, now: Now) -> bool {
        let Some(entry) = self.entries.get(file) else { return false };
        let Some(good) = &entry.good else {
            return self.entries.remove(file).is_some_and(|entry| !entry.remains().is_empty());
        };
        let told = match wait.why {
            Why::Missing(told) => told,
            Why::Vanished(told) => return self.wait_missing(file, good.removal.after(), told, now),
            _ => return self.wait_missing(file, good.removal.after(), Told::ByScan, now),
        };
        if !root_stands {
            // Nothing is known of a file whose directory is gone; the next scan of the new one tells.
            return false;
        }
        if told == Told::ByScan {
            self.missing.entry(Arc::clone(file)).or_insert(now.monotonic);
            return false;
        }
        debug!(%file, "removed");
        self.missing.remove(file);
        self.entries.remove(file);
        true
    }

    fn wait_missing(&mut self, file: &Arc<str>, removal: Duration, told: Told, now: Now) -> bool {
        self.waits.insert(Arc::clone(file), Wait::until(now, removal, Why::Missing(told)));
        false
    }
}

impl Entry {
    /// Whether it was taken as it is from these octets, so that there is nothing to read in them.
    fn is_as(&self, hash: Hash, way: Way) -> bool {
        // What a link leads to is not quoted, and its warnings may be others than those of the file itself.
        let is_plain = way == Way::Itself || self.warnings().is_empty();
        self.state == FileState::Ok && is_plain && self.good.as_ref().is_some_and(|good| good.hash == hash)
    }
}

impl Removal {
    /// How long a file must be missing before it counts as removed.
    const fn after(self) -> Duration {
        match self {
            Self::OfSpec => REMOVAL,
            Self::OfRegistration => REGISTRATION_REMOVAL,
        }
    }
}

/// The directory that a file is in.
fn directory_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// That directory, and those that it is in.
fn directories_above(file: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(directory_of(file)), |directory| {
        (!directory.is_empty()).then(|| directory_of(directory))
    })
}

fn odd(what: &str) -> Fault {
    whole(format!("is {what}, which is never opened"), "put a regular file here, or a link to one")
}

/// Says in the log what changed about a file: once, not at every scan.
fn tell(file: &str, before: Option<&Entry>, after: &Entry) {
    if before.map_or(&[][..], Entry::faults) != after.faults() {
        for fault in after.faults().iter().take(FAULTS_LOGGED) {
            warn!(state = after.state.word(), "{file}:{fault}");
        }
        let more = after.faults().len().saturating_sub(FAULTS_LOGGED);
        if more > 0 {
            warn!(state = after.state.word(), "{file}: {more} more faults; `spacedns check` lists them");
        }
        if after.faults().is_empty() {
            info!("{file}: mended");
        }
    }
    if before.map_or(&[][..], Entry::warnings) != after.warnings() {
        for warning in after.warnings().iter().take(FAULTS_LOGGED) {
            info!("{file}:{warning}");
        }
    }
}

/// How long a file that is written in place must be left alone before it is read. An editor's write takes less.
const QUIET: Duration = Duration::from_millis(50);

/// How long a file that is never left alone is waited for.
const QUIET_MAX: Duration = Duration::from_millis(500);

/// How long a spec must be missing: delete-and-create is how many tools write.
const REMOVAL: Duration = Duration::from_secs(1);

/// How long a registration must be missing: what a tool needs between its delete and its create.
const REGISTRATION_REMOVAL: Duration = Duration::from_millis(5);

/// How many files on their way are looked into for a space; more are taken for one, which puts off what is new and no more.
const LOOKED_INTO_MAX: usize = 16;

/// How many faults of one file are logged.
const FAULTS_LOGGED: usize = 5;
