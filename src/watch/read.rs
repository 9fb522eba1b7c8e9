//! Reads one file: opens only what is a regular file, no more of it than the largest file may have, and says in a fault
//! what is in the way.
//!
//! Between the stat that found a file and its opening, anything may have been put in its place. So it is opened without
//! waiting (a FIFO without a writer would hold the owner task for ever) and looked at again by its descriptor, before and
//! after the reading: what changed in between is not used. Of what a walk only listed, the look by the descriptor is the first one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use rustix::fs::{Mode, OFlags};

use super::scan::{Identity, Seen, Sight, Way, absolute, format_of, look};
use crate::control::Hash;
use crate::spec::{self, Document, Documents, Fault, Place, REGISTRATION_MAX, Reading, Role};

/// What became of reading a file.
#[derive(Debug)]
pub(crate) enum Contents {
    /// Its octets, and what it was when they were read.
    Octets(Text, Identity),
    /// It changed while it was read.
    Changing,
    /// It was there and is gone.
    Gone,
    /// It is not to be read.
    Fault(Fault),
    /// It cannot be read.
    Failed(io::Error),
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) octets: Box<[u8]>,
    /// Of the octets.
    pub(crate) hash: Hash,
}

/// What stands in a file.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// To be used where there are no faults.
    pub(crate) documents: Documents,
    /// To be used where there are, and no version was ever good.
    pub(crate) remains: Vec<Document>,
    /// How its removal is taken.
    pub(crate) removal: Removal,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
}

/// How the removal of a file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Perhaps as an editor's delete-and-create: specs are edited.
    OfSpec,
    /// As it is: registrations come and go.
    OfRegistration,
}

impl From<Reading> for Parsed {
    fn from(reading: Reading) -> Self {
        let remains = if reading.faults.is_empty() { Vec::new() } else { reading.remains() };
        let Reading { documents, faults, warnings } = reading;
        let removal = if documents.iter().any(is_spec) { Removal::OfSpec } else { Removal::OfRegistration };
        Self { documents: documents.into(), remains, removal, faults, warnings }
    }
}

fn is_spec(document: &Document) -> bool {
    match document {
        Document::Space(_) | Document::BrokenSpace | Document::Unread => true,
        Document::App(app) => app.role == Role::Spec || app.instances.is_empty(),
        Document::Topology(_) => false,
    }
}

/// A file that was looked at, read and parsed before anybody decided whether to take it.
#[derive(Debug)]
pub(crate) struct Ahead {
    sight: Sight,
    /// Parsed, unless its octets were known; nothing of what is no file, or a large one.
    read: Option<(Contents, Option<Parsed>)>,
}

impl Ahead {
    fn new(from: &Directory<'_>, relative: &str, Asked { known, look: looked }: Asked) -> Self {
        let (sight, contents) = match looked {
            Look::Listed => from.open_listed(relative),
            Look::Unseen => (look(from.root, relative), None),
            Look::Seen(seen) => (Sight::File(seen), None),
        };
        let Sight::File(seen) = &sight else { return Self { sight, read: None } };
        if seen.identity.size() > AHEAD_SIZE_MAX {
            return Self { sight, read: None };
        }
        let contents = contents.unwrap_or_else(|| from.read(relative, seen));
        let reading = match &contents {
            Contents::Octets(text, _) if known != Some(text.hash) => {
                Some(parse(from.root, relative, seen.way, &text.octets).into())
            }
            _ => None,
        };
        Self { read: Some((contents, reading)), sight }
    }

    /// What is there, and what was read of it if it is a file.
    pub(crate) fn into_parts(self) -> (Sight, Option<(Contents, Option<Parsed>)>) {
        (self.sight, self.read)
    }
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The hash of its last good version: what has it still is not parsed.
    pub(crate) known: Option<Hash>,
    pub(crate) look: Look,
}

/// Whether a file was looked at already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nobody knows what is there.
    Unseen,
    /// It was a regular file when its directory was listed.
    Listed,
    /// This was seen of it just now.
    Seen(Seen),
}

/// Gives each file in turn, read on threads of their own where they are many; where they are few, as in most changes, nothing is
/// ahead.
///
/// The threads stay a few batches ahead of who takes: enough that nobody waits, few enough to hold. Each takes every so many-th batch,
/// so the order is known beforehand. They stay the same for all: what they allocate lies together.
pub(crate) fn read_ahead(
    root: &Path,
    files: &[Arc<str>],
    asked: &[Asked],
    mut take: impl FnMut(&Arc<str>, Option<Ahead>),
) {
    if files.len() < AHEAD_MIN {
        return files.iter().for_each(|file| take(file, None));
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    thread::scope(|scope| {
        let start = |own: usize| {
            let (sender, receiver) = mpsc::sync_channel::<Vec<Ahead>>(BATCHES_AHEAD);
            let read = move || {
                let directory = Directory::open(root);
                let batches = files.chunks(BATCH).zip(asked.chunks(BATCH)).skip(own).step_by(threads);
                for (files, asked) in batches {
                    let batch: Vec<Ahead> =
                        files.iter().zip(asked).map(|(file, asked)| Ahead::new(&directory, file, *asked)).collect();
                    // Whoever takes may have given up.
                    if sender.send(batch).is_err() {
                        return;
                    }
                }
            };
            // Of a share without a thread nothing is ahead: each is read when its turn comes.
            thread::Builder::new().spawn_scoped(scope, read).ok().map(|thread| (receiver, thread))
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        for (files, started) in files.chunks(BATCH).zip(started.iter().cycle()) {
            let batch = started.as_ref().and_then(|(receiver, _)| receiver.recv().ok()).unwrap_or_default();
            let batch = batch.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            files.iter().zip(batch).for_each(|(file, ahead)| take(file, ahead));
        }
        // The share of one that panicked was read in its turn: it costs nothing but that.
        started.into_iter().flatten().for_each(|(_, thread)| _ = thread.join());
    });
}

/// From how many files on a thread is worth its start.
const AHEAD_MIN: usize = 256;

/// How many files a thread reads before it gives them: one hand-over for some hundred microseconds of work.
const BATCH: usize = 64;

/// How many batches of each thread may wait to be taken: a megabyte of what is usual.
const BATCHES_AHEAD: usize = 4;

/// The most octets of a file that is read ahead: of three thousand, which is as many as eight threads hold, a hundred megabytes and not
/// twelve gigabytes. A larger one takes milliseconds to parse, in its turn.
const AHEAD_SIZE_MAX: u64 = 32 << 10;

/// Reading is half in the kernel, where more threads than these wait for each other.
const THREADS_MAX: usize = 8;

/// Reads the file at `relative`, which was just seen.
pub(crate) fn read(root: &Path, relative: &str, seen: &Seen) -> Contents {
    Directory { root, opened: None }.read(relative, seen)
}

/// The directory that files are read from.
struct Directory<'r> {
    root: &'r Path,
    /// Where many are read it is opened once: what lies above it is not walked again for each.
    opened: Option<OwnedFd>,
}

impl<'r> Directory<'r> {
    /// Opens a directory; where that cannot be, each file finds out for itself.
    fn open(root: &'r Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self { root, opened: rustix::fs::open(root, flags, Mode::empty()).ok() }
    }

    /// Reads a file that was just seen.
    fn read(&self, relative: &str, seen: &Seen) -> Contents {
        if seen.identity.size() > size_max() {
            return Contents::Fault(too_large(seen.identity.size()));
        }
        let contents = self.open_file(relative, seen.way).and_then(|opened| match opened {
            Some((_, identity)) if identity.size() > size_max() => Ok(Contents::Fault(too_large(identity.size()))),
            Some((file, identity)) => contents_of(file, identity),
            None => Ok(Contents::Changing),
        });
        match contents {
            Ok(contents) => contents,
            Err(error) if super::scan::is_gone(&error) => Contents::Gone,
            // What was a file has become a link: the next look tells which.
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) && seen.way == Way::Itself => Contents::Changing,
            Err(error) => Contents::Failed(error),
        }
    }

    /// Opens a file that was listed and not looked at, and reads it if it is not large. It is looked at when it is open; where
    /// anything else is in its place by now, or it cannot be opened, as every other path.
    fn open_listed(&self, relative: &str) -> (Sight, Option<Contents>) {
        let Ok(Some((file, identity))) = self.open_file(relative, Way::Itself) else {
            return (look(self.root, relative), None);
        };
        let is_small = identity.size() <= AHEAD_SIZE_MAX;
        let contents = is_small.then(|| contents_of(file, identity).unwrap_or_else(Contents::Failed));
        (Sight::File(Seen { identity, way: Way::Itself }), contents)
    }

    /// Opens a file, and looks at what was opened; `None` where it is no regular file.
    fn open_file(&self, relative: &str, way: Way) -> io::Result<Option<(File, Identity)>> {
        let follow = if way == Way::Itself { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | follow;
        let file: File = match &self.opened {
            Some(directory) => rustix::fs::openat(directory, relative, flags, Mode::empty())?.into(),
            None => rustix::fs::open(absolute(self.root, relative), flags, Mode::empty())?.into(),
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then(|| (file, Identity::of(&metadata))))
    }
}

/// What is in a file that was this when it was opened.
fn contents_of(mut file: File, identity: Identity) -> io::Result<Contents> {
    let octets = read_bounded(&mut file, identity.size())?;
    let after = Identity::of(&file.metadata()?);
    if after != identity || octets.len() as u64 != identity.size() {
        return Ok(Contents::Changing);
    }
    let hash = Hash::of(&octets);
    Ok(Contents::Octets(Text { octets: octets.into(), hash }, identity))
}

/// Reads as many octets as there should be, and one more where they come together: that shows that the file has grown.
fn read_bounded(file: &mut File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).unwrap_or(0);
    let mut octets = vec![0; size + 1];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if filled >= size {
            break;
        }
    }
    octets.truncate(filled);
    Ok(octets)
}

/// Parses what was read. What a link outside the directory leads to is not ours to quote, not in a fault and not in a
/// warning (design §2).
pub(crate) fn parse(root: &Path, relative: &str, way: Way, octets: &[u8]) -> Reading {
    let name = relative.rsplit_once('/').map_or(relative, |(_, name)| name);
    let Some((format, stem)) = format_of(name) else { return Reading::default() };
    // The parsers are other people's. A panic of theirs must cost this file, not the thread that reads them all.
    let mut reading = catch_unwind(|| spec::read(octets, format, stem)).unwrap_or_else(|_| Reading {
        faults: vec![whole("cannot be read: the reader gave up", "report it, with the file, as a fault of spacedns")],
        ..Reading::default()
    });
    let end = if way == Way::Itself { End::Inside } else { end_of(root, &absolute(root, relative)) };
    let words = match end {
        End::Inside => None,
        End::Outside => Some([
            "the link leads out of the spec directory, to a file that is at fault here",
            "mend that file; put it into the directory to be told what is wrong",
        ]),
        End::Unknown => Some([
            "something is worth a look here, and is not told while nobody can see whether this is a link out of the spec directory",
            "bring the directory back",
        ]),
    };
    if let Some([found, remedy]) = words {
        for fault in reading.faults.iter_mut().chain(&mut reading.warnings) {
            fault.field.clear();
            found.clone_into(&mut fault.fault);
            remedy.clone_into(&mut fault.remedy);
        }
        reading.faults.truncate(1);
        reading.warnings.truncate(1);
    }
    reading
}

/// Where a path ends, after links.
enum End {
    Inside,
    Outside,
    /// It is not there, or the directory is not.
    Unknown,
}

fn end_of(root: &Path, path: &Path) -> End {
    match (fs::canonicalize(root), fs::canonicalize(path)) {
        (Ok(root), Ok(path)) if path.starts_with(&root) => End::Inside,
        (Ok(_), Ok(_)) => End::Outside,
        _ => End::Unknown,
    }
}

/// Whether a file may become a space document: it holds the key, nothing yet, or more than is looked through.
pub(crate) fn may_be_space(root: &Path, relative: &str) -> bool {
    let Sight::File(seen) = look(root, relative) else { return false };
    if seen.identity.size() > AHEAD_SIZE_MAX {
        return true;
    }
    match read(root, relative, &seen) {
        Contents::Octets(Text { octets, .. }, _) => octets.is_empty() || has_space_key(&octets),
        Contents::Changing => true,
        Contents::Gone | Contents::Fault(_) | Contents::Failed(_) => false,
    }
}

/// Whether the word stands somewhere before a colon, in quotes or without: a value is no key, and what stands deeper does no harm.
fn has_space_key(octets: &[u8]) -> bool {
    const WORD: &[u8] = b"space";
    octets.windows(WORD.len()).enumerate().filter(|(_, window)| *window == WORD).any(|(at, _)| {
        let after = octets.get(at + WORD.len()..).unwrap_or_default();
        let after = after.strip_prefix(b"\"").or_else(|| after.strip_prefix(b"'")).unwrap_or(after);
        after.trim_ascii_start().starts_with(b":")
    })
}

/// A fault of the file as a whole.
pub(crate) fn whole(fault: impl Into<String>, remedy: &str) -> Fault {
    Fault { place: Place::START, field: String::new(), fault: fault.into(), remedy: remedy.to_owned() }
}

/// The fault of something that could not be read.
pub(crate) fn unreadable(error: &io::Error) -> Fault {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "give the server the right to read it",
        Some(libc::ELOOP) => "remove the link, it leads to itself",
        _ => "see to the file system; it is tried again every few seconds",
    };
    whole(format!("cannot be read: {error}"), remedy)
}

fn too_large(size: u64) -> Fault {
    whole(
        format!("has {size} octets, more than the {REGISTRATION_MAX} that a file may have"),
        "put its documents into several files",
    )
}

/// No kind of file may be larger; which kind it is shows only when it is read.
fn size_max() -> u64 {
    u64::try_from(REGISTRATION_MAX).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_known_by_its_key_before_it_is_whole() {
        for text in
            ["space: acme\n", "# one\nspace : acme", "{\"space\": \"acme\", ", "{'space'\n: x}", "? space\n: acme\n"]
        {
            assert!(has_space_key(text.as_bytes()), "{text}");
        }
        for text in ["name: shop\ndiscovery: space\n", "app: space", "spac", "workspaces: []\n"] {
            assert!(!has_space_key(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn large_files_are_not_read_ahead_of_their_turn() {
        let root = tempfile::tempdir().unwrap();
        let files: Vec<Arc<str>> = (0..AHEAD_MIN + 7).map(|number| Arc::from(format!("{number}.yaml"))).collect();
        for (number, file) in files.iter().enumerate() {
            let size = if number % 3 == 0 { AHEAD_SIZE_MAX + 1 } else { AHEAD_SIZE_MAX };
            File::create(root.path().join(&**file)).unwrap().set_len(size).unwrap();
        }
        let asked = vec![Asked { known: None, look: Look::Unseen }; files.len()];
        let mut taken = Vec::new();
        read_ahead(root.path(), &files, &asked, |file, ahead| {
            let (sight, read) = ahead.unwrap().into_parts();
            assert!(matches!(sight, Sight::File(_)));
            taken.push((Arc::clone(file), read.is_some()));
        });
        let expected = files.iter().enumerate().map(|(number, file)| (Arc::clone(file), number % 3 != 0));
        assert_eq!(taken, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_a_link_may_lead_to_is_not_quoted_where_nobody_can_see_where_it_leads() {
        let top = tempfile::tempdir().unwrap();
        let (root, outside) = (top.path().join("zones"), top.path().join("outside.yaml"));
        let text = b"name: shop\nsecret: 1\n";
        fs::create_dir(&root).unwrap();
        fs::write(&outside, text).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("shop.yaml")).unwrap();
        let words = |way| parse(&root, "shop.yaml", way, text).warnings[0].to_string();
        assert!(words(Way::Itself).contains("secret"));
        assert!(words(Way::Link).contains("the link leads out of the spec directory"), "{}", words(Way::Link));
        fs::rename(&root, top.path().join("away")).unwrap();
        let unseen = words(Way::Link);
        assert!(unseen.contains("while nobody can see") && !unseen.contains("secret"), "{unseen}");
    }
}
