//! Asks for events of directories, and turns them into marks.
//!
//! One watch a directory, none recursive: what is below is watched as it is scanned, so that one directory which cannot be
//! read ends nothing. Events are hints. Where they cannot be had (no more instances or watches) or do not tell of
//! everything (NFS, overlay, 9p, FUSE) the scans alone find what changed, and every scan asks again.
//!
//! [Ears](ears) are where events come from, and the [pace] says when to listen: the owner waits here, for events and for its
//! box at once.

mod ears;
mod pace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::{info, warn};

use self::ears::{Descriptors, Ears};
use self::pace::{Attention, Pace};
use super::Clock;
use super::scan::{DirectoryId, absolute, below};
use crate::control::{Control, Inbox, Order, Pending};

/// The watches of one directory and what is below it.
#[derive(Debug)]
pub(crate) struct Watches {
    root: PathBuf,
    control: Control,
    ears: Option<Ears>,
    pace: Pace,
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
            ears: None,
            pace: Pace::default(),
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
        if self.ears.is_none() {
            match Ears::open(self.control.clone()) {
                Ok(ears) => self.ears = Some(ears),
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
        let Some(ears) = &self.ears else { return };
        match ears.add(path, directory.is_empty()) {
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
            && let Some(ears) = &self.ears
        {
            ears.remove(watch.descriptors);
        }
    }

    /// Has somebody else hear until the next [waiting](Self::wait), because there is something to do that may take long.
    pub(crate) fn lend(&self) {
        if let Some(ears) = &self.ears {
            ears.lend();
        }
    }

    /// Waits for `most` until there is something in `inbox`, or something happened to files; takes both.
    pub(crate) fn wait(&mut self, inbox: &Inbox, clock: &Clock, most: Duration) -> Pending {
        if let Some(ears) = &self.ears {
            ears.take_back();
        }
        let mut now = clock().monotonic;
        let end = now.saturating_add(most);
        loop {
            let left = end.saturating_sub(now);
            let attention = self.pace.listen(now);
            let woken = self.poll(inbox, attention, left);
            now = clock().monotonic;
            let mut pending = inbox.take();
            self.read(&mut pending, now);
            if !pending.is_empty() || woken == Woken::AtTheEnd {
                return pending;
            }
        }
    }

    /// Waits for what `attention` is to be given to, and for the box.
    fn poll(&self, inbox: &Inbox, attention: Attention, left: Duration) -> Woken {
        let [changes, touches] = match &self.ears {
            Some(ears) => ears.descriptors().map(|events| PollFd::from_borrowed_fd(events, PollFlags::IN)),
            None => [PollFd::new(inbox, PollFlags::empty()), PollFd::new(inbox, PollFlags::empty())],
        };
        let mut polled = [PollFd::new(inbox, PollFlags::IN), changes, touches];
        let (heard, gather) = match attention {
            Attention::All => (polled.len(), Duration::MAX),
            Attention::Changes(gather) => (2, gather),
            Attention::Nothing(gather) => (1, gather),
        };
        let wait = Timespec::try_from(left.min(gather)).ok();
        let polled = polled.get_mut(..heard).unwrap_or_default();
        match poll(polled, wait.as_ref()) {
            Ok(0) if left <= gather => Woken::AtTheEnd,
            // A signal is nothing to act on.
            Ok(_) | Err(Errno::INTR) => Woken::Before,
            // There is no memory for it, as far as is documented: the round that comes of it asks again.
            Err(_) => Woken::AtTheEnd,
        }
    }

    /// Reads what happened, which is after all that lies in the box.
    fn read(&mut self, pending: &mut Pending, now: Duration) {
        let Some(ears) = &self.ears else { return };
        let Ok(heard) = ears.read() else {
            // It does not fail while the descriptors are open. If it did, a scan would find what changed, and ask anew.
            self.ears = None;
            self.watched.clear();
            pending.order = pending.order.max(Order::Lost);
            return;
        };
        self.pace.read(heard.changes, heard.touches, now);
        if heard.has_run_over {
            pending.order = pending.order.max(Order::Lost);
        }
        for (path, mark) in heard.marks {
            pending.mark(path, mark);
        }
    }
}

/// Why a waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// There may be something to read, or what gathers has gathered.
    Before,
    /// All the time that there was is over.
    AtTheEnd,
}

/// The kind of file system that a directory is on, if that is one where changes are made elsewhere than in this kernel, or
/// below what it shows: its events are only of what is changed here.
fn deafness(path: &Path) -> Option<&'static str> {
    let kind = u32::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()?;
    DEAF.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::channel;

    #[test]
    fn without_events_scans_must_do_until_every_directory_can_be_watched() {
        let root = tempfile::tempdir().unwrap();
        let (control, _inbox) = channel().unwrap();
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
}
