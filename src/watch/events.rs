//! Asks for events of directories, and turns them into marks.
//!
//! One watch a directory, none recursive: what is below is watched as it is scanned, so that one directory which cannot be
//! read ends nothing. Events are hints. Where they cannot be had (no more instances or watches) or do not tell of
//! everything (NFS, overlay, 9p, FUSE) the scans alone find what changed, and every scan asks again.
//!
//! Changes and touches are asked for apart. A change is heard at once, and a few at a time only where they come by the hundred a
//! second. A touch renews a lease, which has seconds, and ten thousand leases are touched all the time: to wake up for each would cost
//! more than all else that is done about it, so after one others gather for a while, and no change waits for that.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tracing::{info, warn};

use super::scan::{DirectoryId, absolute, below, is_passed_over};
use crate::control::{Control, Mark};

/// The watches of one directory and what is below it.
#[derive(Debug)]
pub(crate) struct Watches {
    root: PathBuf,
    control: Control,
    events: Option<Events>,
    watched: BTreeMap<Arc<str>, Watch>,
    health: Health,
    /// What the last round of asking came to.
    failure: Option<String>,
}

/// One directory that events come from.
#[derive(Debug)]
struct Watch {
    id: DirectoryId,
    descriptors: Descriptors,
    /// The kind of file system, where others may change what is in it unheard.
    deaf: Option<&'static str>,
}

/// Whether events can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// They can.
    Events,
    /// They cannot: scans alone find what changed.
    Polling,
}

impl Watches {
    /// Makes the watches of `root`, none yet; marks go to `control`.
    pub(crate) fn new(root: &Path, control: Control) -> Self {
        Self {
            root: root.to_owned(),
            control,
            events: None,
            watched: BTreeMap::new(),
            health: Health::Events,
            failure: None,
        }
    }

    /// Whether events can be relied on.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Whether `directory` is one that events come from.
    pub(crate) fn has(&self, directory: &str) -> bool {
        self.watched.contains_key(directory)
    }

    /// Begins a round of asking.
    pub(crate) fn begin(&mut self) {
        self.failure = None;
        if self.events.is_none() {
            match Events::start(self.control.clone()) {
                Ok(events) => self.events = Some(events),
                Err(error) => self.failure = Some(format!("{error} (is fs.inotify.max_user_instances reached?)")),
            }
        }
    }

    /// Asks for events of a directory, unless they come already.
    pub(crate) fn add(&mut self, directory: &Arc<str>, path: &Path, id: DirectoryId) {
        if self.watched.get(directory).is_some_and(|watch| watch.id == id) {
            return;
        }
        self.forget(directory);
        let Some(events) = &self.events else { return };
        match events.add(path, directory.is_empty()) {
            Ok(descriptors) => {
                // One directory has one watch, whatever it is called: what it was called before is not.
                self.watched.retain(|_, watch| watch.descriptors != descriptors);
                self.watched.insert(Arc::clone(directory), Watch { id, descriptors, deaf: deafness(path) });
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::NOSPC) => self.failure = Some("fs.inotify.max_user_watches is reached".to_owned()),
            Err(error) => self.failure = Some(format!("{}: {error}", path.display())),
        }
    }

    /// Ends a round over what is below `under`: drops what is no longer `there`, and says when it must be done without
    /// events, or need not any more.
    pub(crate) fn end(&mut self, under: &str, there: &BTreeMap<Arc<str>, DirectoryId>) {
        let gone: Vec<_> =
            below(&self.watched, under).filter(|directory| !there.contains_key(*directory)).cloned().collect();
        for directory in gone {
            self.forget(&directory);
        }
        let deaf = self.watched.iter().find_map(|(directory, watch)| Some((directory, watch.deaf?)));
        let deaf = deaf.map(|(directory, kind)| {
            let path = absolute(&self.root, directory);
            format!("{} is on {kind}, where not every change is told", path.display())
        });
        let failure = self.failure.take().or(deaf);
        // Only a round over everything shows that every directory can be watched again.
        let health = match &failure {
            Some(_) => Health::Polling,
            None if under.is_empty() => Health::Events,
            None => self.health,
        };
        match (self.health, health, failure) {
            (Health::Events, Health::Polling, Some(failure)) => {
                warn!("no file events: {failure}; the directory is scanned every few seconds instead");
            }
            (Health::Polling, Health::Events, _) => info!("file events come again"),
            _ => {}
        }
        self.health = health;
    }

    /// Drops the watch of a directory that was removed, or moved away, or made anew.
    pub(crate) fn forget(&mut self, directory: &str) {
        if let Some(watch) = self.watched.remove(directory)
            && let Some(events) = &self.events
        {
            events.remove(watch.descriptors);
        }
    }
}

/// Where the kernel tells of events, and the thread that hears them.
#[derive(Debug)]
struct Events {
    inotify: Arc<Instances>,
    /// `None` only while this is dropped.
    directories: Option<Arc<Directories>>,
}

/// The two instances of inotify that are asked: each of them tells in an order of its own.
#[derive(Debug)]
struct Instances {
    changes: OwnedFd,
    touches: OwnedFd,
}

/// The watches of a directory, one of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptors {
    changes: i32,
    touches: i32,
}

/// The directory of each watch.
type Directories = Mutex<Paths>;

#[derive(Debug, Default)]
struct Paths {
    changes: HashMap<i32, Arc<Path>>,
    touches: HashMap<i32, Arc<Path>>,
}

impl Events {
    fn start(control: Control) -> io::Result<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = Arc::new(Instances { changes: inotify::init(flags)?, touches: inotify::init(flags)? });
        let directories = Arc::new(Directories::default());
        let (heard, known) = (Arc::clone(&inotify), Arc::downgrade(&directories));
        thread::Builder::new().name("events".to_owned()).spawn(move || listen(&heard, &known, &control))?;
        Ok(Self { inotify, directories: Some(directories) })
    }

    fn add(&self, path: &Path, is_root: bool) -> rustix::io::Result<Descriptors> {
        // Only the root may be a link.
        let follow = if is_root { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
        // Locked before the kernel knows of it: whoever hears an event finds its directory.
        let mut directories = self.directories();
        let changes = inotify::add_watch(&self.inotify.changes, path, ASKED.union(follow))?;
        let touches =
            inotify::add_watch(&self.inotify.touches, path, ASKED_OF_TOUCHES.union(follow)).inspect_err(|_| {
                let _ = inotify::remove_watch(&self.inotify.changes, changes);
            })?;
        if let Some(directories) = &mut directories {
            let path: Arc<Path> = Arc::from(path);
            directories.changes.insert(changes, Arc::clone(&path));
            directories.touches.insert(touches, path);
        }
        Ok(Descriptors { changes, touches })
    }

    fn remove(&self, descriptors: Descriptors) {
        if let Some(mut directories) = self.directories() {
            directories.changes.remove(&descriptors.changes);
            directories.touches.remove(&descriptors.touches);
        }
        // It fails where the directory is gone, and with it the watch.
        let _ = inotify::remove_watch(&self.inotify.changes, descriptors.changes);
        let _ = inotify::remove_watch(&self.inotify.touches, descriptors.touches);
    }

    fn directories(&self) -> Option<MutexGuard<'_, Paths>> {
        Some(lock(self.directories.as_ref()?))
    }
}

impl Drop for Events {
    /// Ends the thread: the end of a watch is an event, and with nobody to tell it of the thread ends.
    fn drop(&mut self) {
        self.directories = None;
        if let Ok(descriptor) = inotify::add_watch(&self.inotify.changes, "/", WatchFlags::DELETE_SELF) {
            let _ = inotify::remove_watch(&self.inotify.changes, descriptor);
        }
    }
}

/// Passes on what happens until nobody wants to know.
fn listen(inotify: &Instances, directories: &Weak<Directories>, control: &Control) {
    let mut buffers = [[MaybeUninit::uninit(); BUFFER], [MaybeUninit::uninit(); BUFFER]];
    let [buffer, other] = &mut buffers;
    let mut changes = Reader::new(&inotify.changes, buffer);
    let mut touches = Reader::new(&inotify.touches, other);
    let mut pace = Pace::default();
    let mut was_touched = false;
    loop {
        // Where some were touched, others gather. Whoever wakes for a change takes them along.
        let (changed, touched) = (&inotify.changes, &inotify.touches);
        if was_touched {
            wait(&[changed], Some(TOUCHES_GATHER))
        } else {
            wait(&[changed, touched], None)
        };
        let Some(directories) = directories.upgrade() else { return };
        let mut heard = Heard::default();
        let read = {
            let Paths { changes: changing, touches: touching } = &mut *lock(&directories);
            let read_changes = heard.read(&mut changes, changing, mark_of);
            let read_touches = heard.read(&mut touches, touching, touch_of);
            read_changes.and_then(|changes| Ok((changes, read_touches?)))
        };
        drop(directories);
        let Ok((changes_heard, touches_heard)) = read else {
            // It does not fail while the descriptors are open. If it did, scans would find what changes.
            return control.rescan();
        };
        was_touched = touches_heard > 0;
        heard.tell(control);
        if changes_heard > 0 {
            if pace.wants_rest(changes_heard) {
                thread::sleep(REST);
            } else {
                pace.found(wait(&[changed], Some(SOON)));
            }
        }
    }
}

/// What one reading gave.
#[derive(Debug, Default)]
struct Heard {
    marks: Vec<(PathBuf, Mark)>,
    /// Whether there was more than the kernel holds.
    has_run_over: bool,
}

impl Heard {
    /// Reads as much as there is at once; how many events that was.
    fn read<Fd: AsFd>(
        &mut self,
        reader: &mut Reader<'_, Fd>,
        directories: &mut HashMap<i32, Arc<Path>>,
        mark_of: fn(ReadFlags) -> Option<Mark>,
    ) -> rustix::io::Result<usize> {
        let mut heard = 0;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(heard),
                Err(error) => return Err(error),
            };
            heard += 1;
            self.take_in(&event, directories, mark_of);
            if reader.is_buffer_empty() {
                return Ok(heard);
            }
        }
    }

    fn take_in(
        &mut self,
        event: &Event<'_>,
        directories: &mut HashMap<i32, Arc<Path>>,
        mark_of: fn(ReadFlags) -> Option<Mark>,
    ) {
        self.has_run_over |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        let Some(directory) = directories.get(&event.wd()) else { return };
        match (mark_of(event.events()), event.file_name()) {
            (Some(mark), None) => self.marks.push((directory.to_path_buf(), mark)),
            (Some(mark), Some(name)) if !is_of_no_concern(name.to_bytes()) => {
                self.marks.push((directory.join(OsStr::from_bytes(name.to_bytes())), mark));
            }
            _ => {}
        }
        if event.events().contains(ReadFlags::IGNORED) {
            directories.remove(&event.wd());
        }
    }

    fn tell(self, control: &Control) {
        if self.has_run_over {
            control.rescan();
        }
        if !self.marks.is_empty() {
            control.mark(self.marks);
        }
    }
}

/// Whether changes come so thick that they are better let gather: each reading wakes the owner, which costs more than it reads.
#[derive(Debug, Default)]
struct Pace {
    /// How many readings in a row found more [`SOON`].
    in_a_row: u32,
    /// Whether the last reading was after a rest.
    has_rested: bool,
}

impl Pace {
    /// Whether to rest, after a reading of so many events.
    const fn wants_rest(&mut self, events: usize) -> bool {
        if self.has_rested && events < THICK {
            *self = Self { in_a_row: 0, has_rested: false };
        }
        self.has_rested = self.in_a_row >= BUSY;
        self.has_rested
    }

    /// Takes in whether there was more soon after.
    const fn found(&mut self, came: Came) {
        self.in_a_row = match came {
            Came::Something => self.in_a_row.saturating_add(1),
            Came::Nothing => 0,
        };
    }
}

/// Whether there is something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Something,
    Nothing,
}

/// Waits until there is something to read, for so long at most.
fn wait(inotify: &[&OwnedFd], most: Option<Duration>) -> Came {
    let mut polled: Vec<PollFd<'_>> = inotify.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    let most = most.and_then(|most| Timespec::try_from(most).ok());
    match poll(&mut polled, most.as_ref()) {
        Ok(ready) if ready > 0 => Came::Something,
        // A signal: whoever reads then finds nothing, and waits again.
        _ => Came::Nothing,
    }
}

/// A list of paths is whole whatever panicked beside it.
fn lock(directories: &Directories) -> MutexGuard<'_, Paths> {
    directories.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a path is one that is passed over, as what careful writers rename into place is until then: nobody need wake
/// for it. A name that begins with `..` may be what the links of a mount lead through.
fn is_of_no_concern(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| is_passed_over(name) && !name.starts_with(".."))
}

/// What an event says; `None` of what another event says too.
fn mark_of(events: ReadFlags) -> Option<Mark> {
    let is = |any: ReadFlags| events.intersects(any);
    if is(GONE) {
        Some(Mark::Removed)
    } else if is(ReadFlags::MOVED_TO) {
        Some(Mark::Placed)
    } else if is(ReadFlags::CLOSE_WRITE) {
        Some(Mark::Closed)
    } else if is(ReadFlags::MODIFY) {
        Some(Mark::Written)
    } else if is(ReadFlags::CREATE) {
        Some(Mark::Made)
    } else {
        None
    }
}

/// The same of an event of touches: that a directory goes is told among the changes.
fn touch_of(events: ReadFlags) -> Option<Mark> {
    events.contains(ReadFlags::ATTRIB).then_some(Mark::Touched)
}

/// The kind of file system that a directory is on, if that is one where changes are made elsewhere than in this kernel, or
/// below what it shows: its events are only of what is changed here.
fn deafness(path: &Path) -> Option<&'static str> {
    let kind = u32::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()?;
    DEAF.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// What is asked for. Not to be told of files that are opened and read: our own reads must cause no work.
const ASKED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// The same of touches.
const ASKED_OF_TOUCHES: WatchFlags = WatchFlags::ATTRIB.union(WatchFlags::ONLYDIR).union(WatchFlags::EXCL_UNLINK);

/// What says that something is not where it was.
const GONE: ReadFlags = ReadFlags::DELETE
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT);

/// What `statfs(2)` calls file systems that do not tell of every change.
const DEAF: [(u32, &str); 10] = [
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x794c_7630, "overlay"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x786f_4256, "vboxsf"),
];

/// How many readings in a row must find more soon before they rest: more than careful writing of one file takes.
const BUSY: u32 = 8;

/// How soon that is: some hundred changes a second, each waited for before the next, are none the later for it.
const SOON: Duration = Duration::from_millis(1);

/// How long a rest is: what a change may come to be heard later by, while many others are.
const REST: Duration = Duration::from_millis(5);

/// How many events must gather in a rest for another: two to five files' worth.
const THICK: usize = 8;

/// For how long touches gather: a hundredth of the shortest lease.
const TOUCHES_GATHER: Duration = Duration::from_millis(50);

/// Room for some hundred events at once; one needs 272 octets at most.
const BUFFER: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::channel;

    #[test]
    fn without_events_scans_must_do_until_every_directory_can_be_watched() {
        let root = tempfile::tempdir().unwrap();
        let (control, _inbox) = channel();
        let mut watches = Watches::new(root.path(), control);
        let there = BTreeMap::from([(Arc::from(""), DirectoryId::at(root.path()).unwrap())]);
        watches.begin();
        watches.failure = Some("no more watches".to_owned());
        watches.end("", &there);
        assert_eq!(watches.health(), Health::Polling);
        watches.begin();
        watches.end("a", &BTreeMap::new());
        assert_eq!(watches.health(), Health::Polling, "one directory says nothing of the others");
        watches.begin();
        for (directory, id) in &there {
            watches.add(directory, root.path(), *id);
        }
        watches.end("", &there);
        assert_eq!(watches.health(), Health::Events);
        assert!(watches.has(""));
        watches.end("", &BTreeMap::new());
        assert!(!watches.has(""), "what is gone is forgotten");
    }

    #[test]
    fn changes_gather_while_they_come_thick_and_not_where_each_waits_for_the_one_before() {
        let mut pace = Pace::default();
        for _ in 0..BUSY {
            assert!(!pace.wants_rest(1));
            pace.found(Came::Something);
        }
        assert!(pace.wants_rest(1));
        assert!(pace.wants_rest(THICK));
        assert!(!pace.wants_rest(THICK - 1), "they do not come as thick any more");
        for _ in 0..100 {
            pace.found(Came::Nothing);
            assert!(!pace.wants_rest(5));
        }
    }

    #[test]
    fn what_is_passed_over_wakes_nobody() {
        for (name, expected) in
            [(".shop.json.new", true), ("shop.json~", true), ("..data", false), ("shop.json", false)]
        {
            assert_eq!(is_of_no_concern(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn nobody_asks_to_be_told_of_reading() {
        for unasked in [WatchFlags::OPEN, WatchFlags::ACCESS, WatchFlags::CLOSE_NOWRITE] {
            assert!(!ASKED.union(ASKED_OF_TOUCHES).intersects(unasked));
        }
        assert!(!ASKED.contains(WatchFlags::ATTRIB), "touches are asked for apart");
        assert_eq!(touch_of(ReadFlags::ATTRIB), Some(Mark::Touched));
        assert_eq!(touch_of(ReadFlags::UNMOUNT), None);
        assert_eq!(mark_of(ReadFlags::OPEN), None);
        assert_eq!(mark_of(ReadFlags::CLOSE_WRITE), Some(Mark::Closed));
        assert_eq!(mark_of(ReadFlags::CREATE | ReadFlags::ISDIR), Some(Mark::Made));
        assert_eq!(mark_of(ReadFlags::UNMOUNT), Some(Mark::Removed));
    }

    #[test]
    fn the_thread_ends_with_the_watches() {
        let root = tempfile::tempdir().unwrap();
        let (control, inbox) = channel();
        let events = Events::start(control).unwrap();
        events.add(root.path(), true).unwrap();
        let inotify = Arc::downgrade(&events.inotify);
        std::fs::write(root.path().join("a.json"), "").unwrap();
        assert!(!inbox.take(Duration::from_secs(10)).marks.is_empty());
        drop(events);
        let ended = (0..10_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            inotify.strong_count() == 0
        });
        assert!(ended);
    }
}
