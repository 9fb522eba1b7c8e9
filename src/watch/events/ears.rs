//! Reading events, by whoever has the ears: the owner, or a thread that has nothing else to do while the owner works for long.
//!
//! The owner reads what it will work on, so a change wakes one thread and not two that wake one after the other, which would be
//! most of the time that a change takes. But the kernel holds so many events and no more (16,384 if nobody says otherwise; what is
//! beyond, a scan must find), so before the owner does anything that may take long it [lends](Ears::lend) its ears: until it
//! [reads](Ears::read) itself again, what happens goes into its box.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::super::scan::is_passed_over;
use crate::control::{Control, Mark};

/// Where the kernel tells of events. The thread that may be lent this ends with it.
#[derive(Debug)]
pub(super) struct Ears {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inotify: Instances,
    hearing: Mutex<Hearing>,
    /// Told when the ears are lent, and when they are no more.
    lent: Condvar,
}

/// The two instances of inotify that are asked: each of them tells in an order of its own.
#[derive(Debug)]
struct Instances {
    changes: OwnedFd,
    touches: OwnedFd,
}

/// Who hears, and of what.
#[derive(Debug, Default)]
struct Hearing {
    who: Who,
    changes: Directories,
    touches: Directories,
}

/// The directory of each watch.
type Directories = HashMap<i32, Arc<Path>>;

/// Who reads events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The owner, when it waits.
    #[default]
    Owner,
    /// The thread that they are lent to.
    Thread,
    /// Nobody any more.
    Nobody,
}

/// The watches of a directory, one of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    changes: i32,
    touches: i32,
}

impl Ears {
    /// Opens them; what is heard while they are lent goes to `control`.
    pub(super) fn open(control: Control) -> io::Result<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = Instances { changes: inotify::init(flags)?, touches: inotify::init(flags)? };
        let shared = Arc::new(Shared { inotify, hearing: Mutex::default(), lent: Condvar::new() });
        let ears = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name("events".to_owned()).spawn(move || shared.listen(&control))?;
        Ok(ears)
    }

    /// Asks for events of a directory.
    pub(super) fn add(&self, path: &Path, is_root: bool) -> rustix::io::Result<Descriptors> {
        // Only the root may be a link.
        let follow = if is_root { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
        let inotify = &self.shared.inotify;
        // Locked before the kernel knows of it: whoever hears an event finds its directory.
        let mut hearing = self.shared.lock();
        let changes = inotify::add_watch(&inotify.changes, path, ASKED.union(follow))?;
        let touches = inotify::add_watch(&inotify.touches, path, ASKED_OF_TOUCHES.union(follow)).inspect_err(|_| {
            let _ = inotify::remove_watch(&inotify.changes, changes);
        })?;
        let path: Arc<Path> = Arc::from(path);
        hearing.changes.insert(changes, Arc::clone(&path));
        hearing.touches.insert(touches, path);
        Ok(Descriptors { changes, touches })
    }

    /// Asks for no more of them.
    pub(super) fn remove(&self, descriptors: Descriptors) {
        let mut hearing = self.shared.lock();
        hearing.changes.remove(&descriptors.changes);
        hearing.touches.remove(&descriptors.touches);
        drop(hearing);
        // It fails where the directory is gone, and with it the watch.
        let _ = inotify::remove_watch(&self.shared.inotify.changes, descriptors.changes);
        let _ = inotify::remove_watch(&self.shared.inotify.touches, descriptors.touches);
    }

    /// What can be read from when there are changes, and when there are touches.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.shared.inotify.changes.as_fd(), self.shared.inotify.touches.as_fd()]
    }

    /// Has the thread hear until somebody [reads](Self::read).
    pub(super) fn lend(&self) {
        self.shared.lock().who = Who::Thread;
        self.shared.lent.notify_one();
    }

    /// Takes the ears back, if they were lent. What the thread heard lies in the box.
    pub(super) fn take_back(&self) {
        self.shared.lock().who = Who::Owner;
    }

    /// Reads all that there is.
    ///
    /// # Errors
    ///
    /// It does not fail while the descriptors are open.
    pub(super) fn read(&self) -> rustix::io::Result<Heard> {
        self.shared.read(&mut self.shared.lock())
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.shared.lock().who = Who::Nobody;
        self.shared.lent.notify_one();
    }
}

impl Shared {
    /// What is behind it is whole whatever panicked beside it: a list of paths, and a word.
    fn lock(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what happens while the ears are lent, until they are no more.
    fn listen(&self, control: &Control) {
        let mut hearing = self.lock();
        loop {
            hearing = match hearing.who {
                Who::Nobody => return,
                Who::Owner => self.lent.wait(hearing).unwrap_or_else(PoisonError::into_inner),
                Who::Thread => {
                    match self.read(&mut hearing) {
                        // Before the owner can read what came later.
                        Ok(heard) => heard.tell(control),
                        Err(_) => control.lost(),
                    }
                    let waited = self.lent.wait_timeout(hearing, GATHER);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn read(&self, hearing: &mut Hearing) -> rustix::io::Result<Heard> {
        let mut heard = Heard::default();
        heard.changes = heard.read(&self.inotify.changes, &mut hearing.changes, mark_of)?;
        heard.touches = heard.read(&self.inotify.touches, &mut hearing.touches, touch_of)?;
        Ok(heard)
    }
}

/// What one reading gave.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What happened to what, in that order.
    pub(super) marks: Vec<(PathBuf, Mark)>,
    /// Whether there was more than the kernel holds.
    pub(super) has_run_over: bool,
    /// How many events there were of changes.
    pub(super) changes: usize,
    /// And of touches.
    pub(super) touches: usize,
}

impl Heard {
    /// Reads as much as there is; how many events that was.
    fn read(
        &mut self,
        inotify: &OwnedFd,
        directories: &mut Directories,
        mark_of: fn(ReadFlags) -> Option<Mark>,
    ) -> rustix::io::Result<usize> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(inotify, &mut buffer);
        let (mut heard, mut at_once) = (0, 0);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(heard),
                Err(error) => return Err(error),
            };
            (heard, at_once) = (heard + 1, at_once + 1);
            self.take_in(&event, directories, mark_of);
            if reader.is_buffer_empty() {
                if at_once < FULL || heard >= HEARD_MAX {
                    return Ok(heard);
                }
                at_once = 0;
            }
        }
    }

    fn take_in(&mut self, event: &Event<'_>, directories: &mut Directories, mark_of: fn(ReadFlags) -> Option<Mark>) {
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
            control.lost();
        }
        if !self.marks.is_empty() {
            control.mark(self.marks);
        }
    }
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

/// How long events gather between two readings of who has nothing else to do: some thousand renames are made in that time.
const GATHER: Duration = Duration::from_millis(10);

/// Room for some hundred events at once; one needs 272 octets at most.
const BUFFER: usize = 32 * 1024;

/// How many events may fill that: after fewer, nothing is left.
const FULL: usize = 100;

/// How many events of a kind are read before somebody looks at them, but for those of the last buffer, 1,024 at most: both kinds are as many as
/// the box holds then.
const HEARD_MAX: usize = 3072;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::channel;

    fn named(number: u32) -> String {
        format!("{number}.json")
    }

    fn changed(ears: &Ears, root: &Path) -> usize {
        // Of making a file and closing it, one mark is left.
        let marks = ears.read().unwrap().marks;
        let paths: std::collections::BTreeSet<_> = marks.into_iter().map(|(path, _)| path).collect();
        assert!(paths.iter().all(|path| path.parent() == Some(root)));
        paths.len()
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
    fn one_reading_gives_all_that_there_is() {
        let root = tempfile::tempdir().unwrap();
        let (control, inbox) = channel().unwrap();
        let ears = Ears::open(control).unwrap();
        ears.add(root.path(), true).unwrap();
        for count in [0, 1, 33, 34, 1000] {
            (0..count).for_each(|number| std::fs::write(root.path().join(named(number)), "").unwrap());
            assert_eq!(changed(&ears, root.path()), usize::try_from(count).unwrap());
        }
        assert!(inbox.take().is_empty(), "they were not lent");
    }

    /// What is made while they are lent, and given back, and lent again is heard once, by the one or the other.
    #[test]
    fn nothing_is_missed_between_lending_and_taking_back() {
        let root = tempfile::tempdir().unwrap();
        let (control, inbox) = channel().unwrap();
        let ears = Ears::open(control).unwrap();
        ears.add(root.path(), true).unwrap();
        let made = root.path().to_owned();
        let writer = thread::spawn(move || {
            for number in 0..2000 {
                std::fs::write(made.join(named(number)), "").unwrap();
            }
        });
        let mut heard = std::collections::BTreeSet::new();
        let mut has_ended = false;
        while !has_ended {
            has_ended = writer.is_finished();
            ears.lend();
            thread::yield_now();
            ears.take_back();
            heard.extend(ears.read().unwrap().marks.into_iter().map(|(path, _)| path));
            heard.extend(inbox.take().marks.into_keys().map(PathBuf::from));
        }
        writer.join().unwrap();
        assert_eq!(heard.len(), 2000);
    }

    #[test]
    fn who_has_them_lent_tells_the_box() {
        let root = tempfile::tempdir().unwrap();
        let (control, inbox) = channel().unwrap();
        let ears = Ears::open(control).unwrap();
        ears.add(root.path(), true).unwrap();
        ears.lend();
        std::fs::write(root.path().join("a.json"), "").unwrap();
        let told = (0..10_000).any(|_| {
            thread::sleep(Duration::from_millis(1));
            !inbox.take().is_empty()
        });
        assert!(told);
    }

    #[test]
    fn the_thread_ends_with_the_ears() {
        for is_lent in [false, true] {
            let (control, _inbox) = channel().unwrap();
            let ears = Ears::open(control).unwrap();
            if is_lent {
                ears.lend();
            }
            let shared = Arc::downgrade(&ears.shared);
            drop(ears);
            let ended = (0..10_000).any(|_| {
                thread::sleep(Duration::from_millis(1));
                shared.strong_count() == 0
            });
            assert!(ended);
        }
    }
}
