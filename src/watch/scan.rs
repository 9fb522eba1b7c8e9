//! Which files there are: the rules of design §2, and one walk that obeys them.
//!
//! The walk opens directories and looks at files by stat; it opens no file. It calls back before it lists a directory, so
//! that whoever wants events of it can ask for them first: what changes between the two is then heard of.
//!
//! A directory that cannot be read is not an empty one. Of the root that is an error; of one further down it is noted, and
//! nothing below it counts as gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::spec::Format;

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The files that count, by path relative to the root; not those that are as they were known.
    pub(crate) files: BTreeMap<Arc<str>, Sight>,
    /// Those: nearly all, and so nothing is kept of them but that they are there.
    pub(crate) unchanged: BTreeSet<Arc<str>>,
    /// Files by the word of their directory, which nobody [looked](Unknown::List) at; some of them twice.
    pub(crate) listed: Vec<Arc<str>>,
    /// The directories that were listed, by path; the root's is empty.
    pub(crate) directories: BTreeMap<Arc<str>, DirectoryId>,
    /// Those that could not be listed, and why: nothing is known of what is below.
    pub(crate) unread: BTreeMap<Arc<str>, io::Error>,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Sight {
    /// A regular file, perhaps by way of a link.
    File(Seen),
    /// Nothing, or a link to nothing.
    Gone,
    /// Something that is never opened: this.
    Odd(&'static str),
    /// It cannot be told.
    Failed(io::Error),
}

/// A regular file, as stat shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which file with which contents.
    pub(crate) identity: Identity,
    /// How the path leads to it.
    pub(crate) way: Way,
}

/// How a path leads to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is the file.
    Itself,
    /// It is a symbolic link.
    Link,
    /// It is a link through a name that begins with `..`: a Kubernetes mount, whose files change all at once and whole.
    Swapped,
}

/// What changes when a file's contents do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// One of each file is kept: with its nine words of four octets all that is known of a file is 112 octets and not 120, which mimalloc has not.
#[repr(Rust, packed(4))]
pub(crate) struct Identity {
    device: u32,
    inode: u64,
    /// In octets, and one more: so an `Option` of all this is no larger.
    above_size: NonZeroU64,
    /// When it was written, in nanoseconds since 1970.
    pub(crate) modified: u64,
    /// The same of the file itself.
    changed: i64,
}

impl Identity {
    /// The identity in what stat returned.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        // Sixty-four bits of nanoseconds reach to the year 2262.
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: device_of(metadata.dev()),
            inode: metadata.ino(),
            above_size: above(metadata.size()),
            modified: u64::try_from(nanoseconds(metadata.mtime(), metadata.mtime_nsec())).unwrap_or(0),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// How large it is, in octets.
    pub(crate) const fn size(self) -> u64 {
        self.above_size.get() - 1
    }

    /// The identity as it is saved.
    pub(crate) fn to_octets(self) -> Vec<u8> {
        let Self { device, inode, above_size: _, modified, changed } = self;
        let numbers = [device.into(), inode, self.size()].map(u64::to_le_bytes).concat();
        let (modified, changed) = (u128::from(modified), i128::from(changed));
        [numbers, modified.to_le_bytes().to_vec(), changed.to_le_bytes().to_vec()].concat()
    }

    /// The identity in what was saved.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (numbers, rest) = octets.split_first_chunk::<24>()?;
        let (modified, changed) = rest.split_first_chunk::<16>()?;
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        Some(Self {
            device: device_of(numbers.next()?),
            inode: numbers.next()?,
            above_size: above(numbers.next()?),
            modified: u128::from_le_bytes(*modified).try_into().ok()?,
            changed: i128::from_le_bytes(changed.try_into().ok()?).try_into().ok()?,
        })
    }

    /// What of it stays under another name.
    pub(crate) const fn body(self) -> Body {
        Body { device: self.device, inode: self.inode, size: self.size(), modified: self.modified }
    }
}

/// The number of a device: Linux has twelve bits of kind and twenty of number, which all lie in the lower half.
fn device_of(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn above(size: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(size)
}

/// What of an [`Identity`] stays when a file gets another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    device: u32,
    inode: u64,
    size: u64,
    modified: u64,
}

/// Which directory a path leads to. Inode numbers are used again soon, hence the time it was made, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryId {
    device: u64,
    inode: u64,
    made: Option<SystemTime>,
}

impl DirectoryId {
    /// The identity of the directory at `path`, after links.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() { Ok(Self::of(&metadata)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), made: metadata.created().ok() }
    }

    /// The identity as it is saved.
    pub(crate) fn to_octets(self) -> Vec<u8> {
        let made = self.made.and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
        let made = made.map_or(0, |made| made.as_nanos());
        [&self.device.to_le_bytes()[..], &self.inode.to_le_bytes(), &made.to_le_bytes()].concat()
    }

    /// The identity in what was saved.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (device, rest) = octets.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let made = u128::from_le_bytes(rest.try_into().ok()?);
        let seconds = Duration::from_secs(u64::try_from(made / 1_000_000_000).ok()?);
        let made = (made > 0)
            .then(|| SystemTime::UNIX_EPOCH.checked_add(seconds))
            .flatten()
            .and_then(|whole| whole.checked_add(Duration::from_nanos(u64::try_from(made % 1_000_000_000).ok()?)));
        Some(Self { device: u64::from_le_bytes(*device), inode: u64::from_le_bytes(*inode), made })
    }
}

/// What is known of the file at a path, if there is one: its path, shared, and what it was when it was read.
pub(crate) type Known<'k> = &'k dyn Fn(&str) -> Option<(Arc<str>, Option<Identity>)>;

/// What is done about files of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are looked at, as all others.
    Look,
    /// They are [listed](Scan::listed) where they are JSON: since when that has stood makes a difference only where nothing is in it,
    /// and whoever opens it looks at it anyway. At a start that is a fifteenth of all work, which nobody can share.
    List,
}

/// What is told of each directory before it is listed.
pub(crate) type Before<'b> = &'b mut dyn FnMut(&Arc<str>, &Path, DirectoryId);

/// Walks `root` from the directory `under` down (empty for all of it), calling `before` on each directory before it is
/// listed; `unknown` is for files that are not `known`.
///
/// # Errors
///
/// The root cannot be listed. A lower directory that is not there any more is no error: nothing is found below it.
pub(crate) fn scan(
    root: &Path,
    under: &str,
    (known, unknown): (Known<'_>, Unknown),
    before: Before<'_>,
) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut ahead = BTreeSet::from([Arc::<str>::from(under)]);
    while let Some(directory) = ahead.pop_first() {
        match list(root, &directory, &mut scan, &mut ahead, ((known, unknown), before)) {
            Ok(()) => {}
            Err(error) if directory.is_empty() => return Err(error),
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                scan.unread.insert(directory, error);
            }
        }
    }
    Ok(scan)
}

fn list(
    root: &Path,
    directory: &Arc<str>,
    scan: &mut Scan,
    ahead: &mut BTreeSet<Arc<str>>,
    (known, before): ((Known<'_>, Unknown), Before<'_>),
) -> io::Result<()> {
    let path = absolute(root, directory);
    // A link to a directory is followed for the root only; `x -> /` would walk the machine.
    let metadata = if directory.is_empty() { fs::metadata(&path)? } else { fs::symlink_metadata(&path)? };
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if directory.split('/').count() > DEPTH_MAX {
        return Err(io::Error::other("directories are nested too deep"));
    }
    let id = DirectoryId::of(&metadata);
    before(directory, &path, id);
    // Kubernetes changes all files of a mount by swapping one link: a list that saw it swapped is of two minds.
    let swap = path.join(SWAP);
    for _ in 0..LISTS_MAX {
        let mount = fs::read_link(&swap).ok();
        list_entries(directory, &path, scan, ahead, known)?;
        if fs::read_link(&swap).ok() == mount {
            break;
        }
    }
    scan.directories.insert(Arc::clone(directory), id);
    Ok(())
}

fn list_entries(
    directory: &Arc<str>,
    path: &Path,
    scan: &mut Scan,
    ahead: &mut BTreeSet<Arc<str>>,
    (known, unknown): (Known<'_>, Unknown),
) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let Some(name) = name.to_str() else {
            let lossy = name.to_string_lossy();
            if !is_passed_over(&lossy) && format_of(&lossy).is_some() {
                scan.files.insert(joined(directory, &lossy), Sight::Odd("a file whose name is not UTF-8"));
            }
            continue;
        };
        if is_passed_over(name) {
            continue;
        }
        if kind.is_dir() {
            ahead.insert(joined(directory, name));
        } else if let Some((format, _)) = format_of(name) {
            let relative = join(directory, name);
            let known = known(&relative);
            if known.is_none() && unknown == Unknown::List && kind.is_file() && format == Format::Json {
                scan.listed.push(relative.into());
                continue;
            }
            // By the descriptor of the directory: to resolve every path from the root takes longer than all else.
            scan.add(relative, sight_of(entry.metadata(), || entry.path()), known);
        }
    }
    Ok(())
}

impl Scan {
    fn add(&mut self, relative: String, sight: Sight, known: Option<(Arc<str>, Option<Identity>)>) {
        let identity = match &sight {
            Sight::File(seen) => Some(seen.identity),
            _ => None,
        };
        // Where a directory is listed again, what was seen last holds.
        match known {
            Some((file, known)) if identity.is_some() && known == identity => {
                self.files.remove(&file);
                self.unchanged.insert(file);
            }
            Some((file, _)) => {
                self.unchanged.remove(&file);
                self.files.insert(file, sight);
            }
            None => _ = self.files.insert(relative.into(), sight),
        }
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unchanged.is_empty() && self.listed.is_empty()
    }
}

/// Looks at one path by stat. A directory is [`Sight::Gone`]: there is no file there.
pub(crate) fn look(root: &Path, relative: &str) -> Sight {
    let path = absolute(root, relative);
    sight_of(fs::symlink_metadata(&path), || path)
}

/// What is at a path, of which `metadata` was found without following a link.
fn sight_of(metadata: io::Result<Metadata>, path: impl FnOnce() -> PathBuf) -> Sight {
    let (metadata, way) = match metadata {
        Ok(metadata) if metadata.is_symlink() => {
            let path = path();
            match fs::metadata(&path) {
                Ok(target) => (target, way_of(&path)),
                Err(error) => return failed(error),
            }
        }
        Ok(metadata) => (metadata, Way::Itself),
        Err(error) => return failed(error),
    };
    match odd(metadata.file_type()) {
        None => Sight::File(Seen { identity: Identity::of(&metadata), way }),
        Some(_) if way == Way::Itself && metadata.is_dir() => Sight::Gone,
        Some(what) => Sight::Odd(what),
    }
}

fn failed(error: io::Error) -> Sight {
    if is_gone(&error) { Sight::Gone } else { Sight::Failed(error) }
}

/// Whether an error says that there is nothing; any other says that nobody knows.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn odd(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a link to a directory")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

fn way_of(link: &Path) -> Way {
    let swapped = fs::read_link(link).is_ok_and(|target| {
        target.components().any(|part| {
            let part = part.as_os_str().as_bytes();
            part.starts_with(b"..") && part != b".."
        })
    });
    if swapped { Way::Swapped } else { Way::Link }
}

/// Whether a name is passed over, whatever it names: hidden files, writers' temporary files, editors' copies.
pub(crate) fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

/// How a file with this name is written, and its name without the ending; `None` where it is no spec.
pub(crate) fn format_of(name: &str) -> Option<(Format, &str)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let format = match ending {
        "yaml" | "yml" => Format::Yaml,
        "json" => Format::Json,
        _ => return None,
    };
    Some((format, stem))
}

/// The path below `root` of a relative one; the root's own is empty.
pub(crate) fn absolute(root: &Path, relative: &str) -> PathBuf {
    if relative.is_empty() { root.to_owned() } else { root.join(relative) }
}

/// The relative path of what is called `name` in `directory`.
pub(crate) fn joined(directory: &str, name: &str) -> Arc<str> {
    join(directory, name).into()
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { [directory, "/", name].concat() }
}

/// The paths in `map` that lie below `directory`; all of them for the root.
pub(crate) fn below<'m, V>(map: &'m BTreeMap<Arc<str>, V>, directory: &str) -> impl Iterator<Item = &'m Arc<str>> {
    entries_below(map, directory).map(|(path, _)| path)
}

/// The same, and what they lead to.
pub(crate) fn entries_below<'m, V>(
    map: &'m BTreeMap<Arc<str>, V>,
    directory: &str,
) -> impl Iterator<Item = (&'m Arc<str>, &'m V)> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let from = map.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
    from.take_while(move |(path, _)| path.starts_with(&prefix))
}

/// Whether `relative` lies somewhere below `directory`.
pub(crate) fn is_below(relative: &str, directory: &str) -> bool {
    directory.is_empty() || relative.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// How deep directories may be nested. Links are not followed, so only bind mounts could make a loop; this ends it.
const DEPTH_MAX: usize = 32;

/// The link that Kubernetes swaps.
const SWAP: &str = "..data";

/// How often a directory is listed while its link is being swapped; a swap takes kubelet a minute.
const LISTS_MAX: usize = 3;
