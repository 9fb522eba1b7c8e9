//! Asks for events of directories, and turns them into marks.
//!
//! One watch a directory, none recursive: notify's recursive watch stops at the first directory it cannot read. Events are
//! hints. Where they cannot be had (no more instances or watches; NFS, overlay, FUSE give none) the scans alone find what
//! changed, and every scan asks again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{info, warn};

use super::scan::{DirectoryId, absolute, below, is_passed_over};
use crate::control::{Control, Mark};

/// The watches of one directory and what is below it.
#[derive(Debug)]
pub(crate) struct Watches {
    root: PathBuf,
    control: Control,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<Arc<str>, DirectoryId>,
    health: Health,
    /// What the last round of asking came to.
    failure: Option<String>,
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
            watcher: None,
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
        if self.watcher.is_none() {
            let control = self.control.clone();
            let config = Config::default().with_follow_symlinks(false);
            let root = self.root.clone();
            match RecommendedWatcher::new(move |event| pass_on(event, &root, &control), config) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
    }

    /// Asks for events of a directory, unless they come already.
    pub(crate) fn add(&mut self, directory: &Arc<str>, path: &Path, id: DirectoryId) {
        if self.watched.get(directory) == Some(&id) {
            return;
        }
        self.forget(directory);
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(Arc::clone(directory), id);
            }
            Err(error) => match error.kind {
                notify::ErrorKind::PathNotFound => {}
                _ => self.failure = Some(error.to_string()),
            },
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
        // Only a round over everything shows that every directory can be watched again.
        let health = match &self.failure {
            Some(_) => Health::Polling,
            None if under.is_empty() => Health::Events,
            None => self.health,
        };
        match (self.health, health, &self.failure) {
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
        if self.watched.remove(directory).is_some()
            && let Some(watcher) = &mut self.watcher
        {
            // It fails where the directory is gone, and with it the watch.
            let _ = watcher.unwatch(&absolute(&self.root, directory));
        }
    }
}

fn pass_on(event: notify::Result<Event>, root: &Path, control: &Control) {
    let Ok(event) = event else { return control.rescan() };
    if event.need_rescan() {
        return control.rescan();
    }
    let Some(mark) = mark_of(event.kind) else { return };
    for path in event.paths.iter().filter(|path| *path == root || !is_of_no_concern(path)) {
        control.mark(path, mark);
    }
}

/// Whether a path is one that is passed over, as what careful writers rename into place is until then: nobody need wake
/// for it. A name that begins with `..` may be what the links of a mount lead through.
fn is_of_no_concern(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| is_passed_over(name) && !name.starts_with(".."))
}

/// What an event says; `None` of what reading does (our own reads must cause no work) and of what another event says too.
fn mark_of(kind: EventKind) -> Option<Mark> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Mark::Closed),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Some(Mark::Removed),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Mark::Placed),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Mark::Touched),
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(Mark::Written),
        _ => None,
    }
}

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
    fn what_is_passed_over_wakes_nobody() {
        for (name, expected) in
            [(".shop.json.new", true), ("shop.json~", true), ("..data", false), ("shop.json", false)]
        {
            assert_eq!(is_of_no_concern(&Path::new("/zones").join(name)), expected, "{name}");
        }
    }

    #[test]
    fn reading_says_nothing() {
        for mode in [AccessMode::Any, AccessMode::Read, AccessMode::Execute] {
            assert_eq!(mark_of(EventKind::Access(AccessKind::Open(mode))), None);
            assert_eq!(mark_of(EventKind::Access(AccessKind::Close(mode))), None);
        }
        assert_eq!(mark_of(EventKind::Access(AccessKind::Read)), None);
        assert_eq!(mark_of(EventKind::Access(AccessKind::Close(AccessMode::Write))), Some(Mark::Closed));
    }
}
