//! Files coming, going and being renewed: whose documents speak of which app, and whose leases run until when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::deadlines::Deadline;
use super::spaces::Cover;
use super::{
    AppEntry, AppId, Concern, Contribution, Entry, File, FileContent, Findings, Leases, Now, Registry, Source, SpaceId,
    Touched, join, topology,
};
use crate::name::{Label, Name};
use crate::spec::{At, Document, Documents, Head, Place, TopologyApp};

impl Registry {
    /// When a lease of a file ran out last that was not renewed since, in seconds since 1970.
    #[must_use]
    pub fn lapsed(&self, file: &str) -> Option<u64> {
        self.files.get(file)?.leases.as_ref()?.lapsed.values().max().copied()
    }

    /// The space that a file at this path is in.
    #[must_use]
    pub fn space_at(&self, file: &str) -> Option<SpaceId> {
        match self.spaces.cover(file) {
            Cover::Space(space) => Some(space),
            Cover::Rejected | Cover::None => None,
        }
    }

    /// Whether a space document is among a file's documents, or is to be.
    pub(super) fn concerns_spaces(&self, file: &Arc<str>, content: Option<&FileContent>) -> bool {
        self.files.get(file).is_some_and(|old| has_space(&old.documents))
            || content.is_some_and(|new| has_space(&new.documents))
    }

    /// Replaces a file's documents.
    pub(super) fn replace(
        &mut self,
        file: Arc<str>,
        content: Option<FileContent>,
        entry: Entry,
        touched: &mut Touched,
    ) {
        if let Some(old) = self.files.remove(&file) {
            self.contribute(&file, &old.documents, Direction::Leave, &mut |app| _ = touched.apps.insert(app));
            self.deadlines.withdraw(old.deadline(), Deadline::Lease(Arc::clone(&file)));
        }
        self.forget_findings(&Concern::File(Arc::clone(&file)));
        if let Some(FileContent { documents, modified }) = content {
            if entry == Entry::Now {
                self.contribute(&file, &documents, Direction::Join, &mut |app| _ = touched.apps.insert(app));
            }
            let new = File::new(documents, modified, self.batch, (self.now.monotonic, BTreeMap::new()));
            let is_leased = new.leases.is_some();
            self.files.insert(Arc::clone(&file), new);
            if is_leased {
                self.arm(&file);
            }
        }
    }

    /// Enters a file's documents with the apps they are about, or takes them out, and tells which apps these are.
    fn contribute(
        &mut self,
        file: &Arc<str>,
        documents: &Documents,
        direction: Direction,
        touch: &mut dyn FnMut(AppId),
    ) {
        let mut findings = Findings::default();
        for (index, head) in (0..).zip(documents.heads()) {
            let (named, topology): (Option<At<Label>>, &[TopologyApp]) = match head {
                Head::App(app) => (Some(app), &[]),
                Head::Other(Document::Topology(apps)) => (None, apps),
                Head::Other(_) => continue,
            };
            let place = named.as_ref().map_or(Place::START, |app| app.place);
            let source = Source { file: Arc::clone(file), place };
            let space = match self.spaces.cover(file) {
                Cover::Space(space) => space,
                Cover::Rejected => continue,
                Cover::None => {
                    findings.faults.push(source.fault(
                        "",
                        "no space covers this file: there is no space document in its directory or above".to_owned(),
                        "move it below a space's directory, or put a space document beside it".to_owned(),
                    ));
                    continue;
                }
            };
            if let Some(app) = named {
                let contribution = Contribution { file: Arc::clone(file), document: index, part: 0 };
                self.enter(space, app.value, contribution, direction, touch);
            }
            for (part, app) in (0..).zip(topology) {
                let contribution = Contribution { file: Arc::clone(file), document: index, part };
                match self.spaces.at(space).and_then(|state| topology::label_of(app, &state.spec)) {
                    Some(label) => self.enter(space, label, contribution, direction, touch),
                    None => findings.faults.push(Source { file: Arc::clone(file), place: app.place }.fault(
                        "apps",
                        "the app has no name here: no dyno hostname lies under the discovery domain and no domain under an \
                         app domain"
                            .to_owned(),
                        "add its `*.herokuapp.com` domain to `domains`, or declare the suffix in the space's `app_domains`"
                            .to_owned(),
                    )),
                }
            }
        }
        if direction == Direction::Join && !findings.faults.is_empty() {
            self.replace_findings(Concern::File(Arc::clone(file)), findings);
        }
    }

    fn enter(
        &mut self,
        space: SpaceId,
        label: Label,
        contribution: Contribution,
        direction: Direction,
        touch: &mut dyn FnMut(AppId),
    ) {
        match direction {
            Direction::Leave => {
                let Some(id) = self.app_ids.find(space, &label, &self.apps) else { return };
                if let Some(entry) = self.apps.get_mut(&id) {
                    entry.contributions.remove(&contribution);
                    touch(id);
                }
            }
            Direction::Join => {
                let id = self.app_ids.find(space, &label, &self.apps).unwrap_or_else(|| {
                    let id = self.free_ids.pop_first();
                    let id = id.unwrap_or_else(|| AppId::try_from(self.apps.len()).unwrap_or(AppId::MAX));
                    self.apps.insert(id, Box::new(AppEntry::new(space, label)));
                    self.app_ids.insert(id, &self.apps);
                    id
                });
                let Some(entry) = self.apps.get_mut(&id) else { return };
                entry.contributions.insert(contribution);
                touch(id);
                if let Some(at) = entry.forget_at() {
                    entry.change_rare(|rare| rare.forget_at = None);
                    self.deadlines.withdraw(Some(at), Deadline::Forget(id));
                }
            }
        }
    }

    /// Decides anew which directory is which space, and enters every file again where that changed.
    pub(super) fn settle_spaces(&mut self, touched: &mut Touched) {
        let files = std::mem::take(&mut self.files);
        // Leave under the old spaces, join under the new ones: a file may now belong to another. At a start none has joined.
        if !self.apps.is_empty() || !self.faults.is_empty() {
            for (file, content) in &files {
                self.contribute(file, &content.documents, Direction::Leave, &mut |app| _ = touched.apps.insert(app));
                self.forget_findings(&Concern::File(Arc::clone(file)));
            }
        }
        let findings = self.spaces.settle(&files, self.batch);
        self.replace_findings(Concern::Spaces, findings);
        self.files = files;
        self.join_files(touched);
        let gone: Vec<(SpaceId, Name)> =
            self.tombstones.keys().filter(|(space, _)| self.spaces.at(*space).is_none()).cloned().collect();
        for key in gone {
            if let Some(tombstone) = self.tombstones.remove(&key) {
                self.deadlines.withdraw(Some(tombstone.until), Deadline::Tombstone(key.0, key.1.clone()));
                touched.names.insert(key);
            }
        }
        touched.spaces = true;
        touched.ranges = true;
    }

    /// Enters every file with the apps it is about, in the order of their paths; all of these are touched.
    pub(super) fn join_files(&mut self, touched: &mut Touched) {
        let files = std::mem::take(&mut self.files);
        let mut by_path: Vec<(&Arc<str>, &File)> = files.iter().collect();
        by_path.sort_unstable_by_key(|(file, _)| *file);
        // Nearly all are apps of their own at a start: a table that doubles asks every app for its name each time.
        self.app_ids.reserve(by_path.len().saturating_sub(self.apps.len()), &self.apps);
        for (file, content) in by_path {
            self.contribute(file, &content.documents, Direction::Join, &mut |_| {});
        }
        self.files = files;
        // At a start it was filled in order, and then half its places are free; made of what is in order it has none.
        self.apps = std::mem::take(&mut self.apps).into_iter().collect();
        join(&mut touched.apps, self.apps.keys().copied().collect());
    }

    /// Grants the leases of files anew that were written or touched and say what they said before.
    pub fn renew(&mut self, files: &[Arc<str>], now: Now) -> Touched {
        self.now = now;
        let mut touched = Touched::default();
        for file in files {
            self.grant(file, &mut touched);
        }
        if !touched.is_empty() {
            self.settle(&mut touched);
        }
        touched
    }

    /// Grants every lease anew that has not run out: for a while nobody looked, so nobody can have been seen to renew.
    /// Returns in how many files there are such.
    pub fn renew_all(&mut self, now: Now) -> usize {
        self.now = now;
        let leased = self.deadlines.leased();
        for file in &leased {
            self.regrant(file);
        }
        leased.len()
    }

    /// The files with a lease that [`advance`](Self::advance) would let run out at `now`.
    #[must_use]
    pub fn lapsing(&self, now: Now) -> Vec<Arc<str>> {
        self.deadlines.leased_until(now.monotonic)
    }

    /// Grants every lease of a file anew. Its registrations grow no newer by that: nobody loses an instance or an address to
    /// a file that says what it said before.
    pub(super) fn grant(&mut self, file: &Arc<str>, touched: &mut Touched) {
        let Some(leases) = self.files.get_mut(file).and_then(|entry| entry.leases.as_mut()) else { return };
        let came_back = !std::mem::take(&mut leases.lapsed).is_empty();
        self.regrant(file);
        if came_back {
            touched.leases.insert(Arc::clone(file));
            self.touch_apps_of(file, touched);
        }
    }

    /// Grants those leases of a file anew that have not run out.
    fn regrant(&mut self, file: &Arc<str>) {
        let Some(leases) = self.files.get_mut(file).and_then(|entry| entry.leases.as_mut()) else { return };
        leases.renewed = self.now.monotonic;
        self.deadlines.withdraw(leases.deadline.take(), Deadline::Lease(Arc::clone(file)));
        self.arm(file);
    }

    /// Lets the leases of a file run out that end at `at` or before.
    pub(super) fn lapse(&mut self, file: &Arc<str>, at: Duration, touched: &mut Touched) {
        let now = self.now;
        let Some(leases) = self.files.get_mut(file).and_then(|entry| entry.leases.as_mut()) else { return };
        leases.deadline = None;
        for lease in &leases.lengths {
            let end = leases.renewed.saturating_add(*lease);
            if end <= at {
                let ago = now.monotonic.saturating_sub(end).as_secs();
                leases.lapsed.entry(*lease).or_insert_with(|| now.wall.saturating_sub(ago));
            }
        }
        touched.leases.insert(Arc::clone(file));
        self.touch_apps_of(file, touched);
        self.arm(file);
    }

    fn touch_apps_of(&mut self, file: &Arc<str>, touched: &mut Touched) {
        let Some(entry) = self.files.get_mut(file) else { return };
        let documents = std::mem::take(&mut entry.documents);
        self.contribute(file, &documents, Direction::Join, &mut |app| _ = touched.apps.insert(app));
        if let Some(entry) = self.files.get_mut(file) {
            entry.documents = documents;
        }
    }

    /// Sets the deadline of the next lease of a file to run out.
    pub(super) fn arm(&mut self, file: &Arc<str>) {
        let Some(leases) = self.files.get_mut(file).and_then(|entry| entry.leases.as_mut()) else { return };
        let next = leases.lengths.iter().filter(|lease| !leases.lapsed.contains_key(lease)).min();
        leases.deadline = next.map(|lease| leases.renewed.saturating_add(*lease));
        if let Some(at) = leases.deadline {
            self.deadlines.set(at, Deadline::Lease(Arc::clone(file)));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Join,
    Leave,
}

impl File {
    /// A file that was seen in a batch; with the moment at which its leases began, and those that had run out.
    pub(super) fn new(
        documents: Documents,
        modified: u128,
        seen: u64,
        (renewed, lapsed): (Duration, BTreeMap<Duration, u64>),
    ) -> Self {
        let lengths = documents.leases();
        let leases = Leases { lengths: lengths.into(), renewed, lapsed, deadline: None };
        let leases = (!leases.lengths.is_empty()).then(|| Box::new(leases));
        Self { documents, modified: u64::try_from(modified).unwrap_or(u64::MAX), seen, leases }
    }

    fn deadline(&self) -> Option<Duration> {
        self.leases.as_ref()?.deadline
    }
}

fn has_space(documents: &Documents) -> bool {
    let is_space = |document: &Document| !matches!(document, Document::Topology(_));
    documents.others().any(is_space)
}
