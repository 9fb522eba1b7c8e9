//! What of a change outlives the process: put together from all who know a part of it, and given to [`State`].
//!
//! Between the first snapshot and the end every round saves what it changed, before it is published. What may be saved in
//! pieces is noted by name and told as it stands at the end of the round, so that nothing is said twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::files::{Files, Keep, Kept};
use super::read::{self, Parsed, Removal};
use super::scan::{DirectoryId, Identity, Way};
use super::shares::{Shares, in_shares};
use crate::compile::Block;
use crate::publish::Snapshot;
use crate::registry::{FileClaims, Made, Now, Registry, Saved, SavedFile, Touched};
use crate::spec::Document;
use crate::state::{Batch, Remembered, State, Version};

/// Where to, and what is not yet on its way.
pub(super) struct Saving {
    state: Option<State>,
    files: BTreeSet<Arc<str>>,
    touched: Touched,
    /// The directory that was saved last.
    root: Option<DirectoryId>,
}

impl Saving {
    pub(super) fn new(state: Option<State>) -> Self {
        Self { state, files: BTreeSet::new(), touched: Touched::default(), root: None }
    }

    /// Takes in what the last process left: files as they were, and the registry that was made of them. `None` when there is
    /// nothing, or nothing of use.
    pub(super) fn resume(&mut self, root: &Path, empty: &Registry, now: Now) -> Option<Resumed> {
        let Remembered { files: versions, root: mark, spaces, apps, tombstones } =
            self.state.as_mut()?.remember(now)?;
        let mut files = Files::new(root, Keep::All);
        let versions: Vec<(Arc<str>, Version)> = versions.into_iter().collect();
        let parsed = in_shares(&versions, |(file, version)| parse_one(root, file, version));
        let mut saved = Saved { files: Vec::with_capacity(versions.len()), spaces, apps, tombstones };
        for ((file, version), parsed) in versions.into_iter().zip(parsed) {
            let Version { octets, mark, claims } = version;
            let Some(parsed) = parsed else {
                warn!("{file}: its last good version is none to this version of spacedns; it is read anew");
                continue;
            };
            let identity = Identity::from_octets(&mark);
            let Parsed { documents, remains, removal, warnings, .. } = parsed;
            let modified = u64::try_from(claims.modified).unwrap_or(u64::MAX);
            files.restore(Arc::clone(&file), octets, (identity, modified), removal, (remains, warnings));
            saved.files.push(SavedFile { file, documents, claims });
        }
        self.root = mark.and_then(|mark| DirectoryId::from_octets(&mark));
        files.restore_root(self.root);
        let (registry, touched, made) = empty.restored_by(&Shares, saved, now);
        info!(files = files.count(), "what was saved is taken in: what changed since is looked for");
        Some(Resumed { files, registry, touched, made })
    }

    /// Notes what a round touched.
    pub(super) fn note(&mut self, touched: &Touched) {
        if self.state.is_some() {
            self.touched.extend(touched.clone());
        }
    }

    /// Notes which files a round changed.
    pub(super) fn note_files(&mut self, files: &[Arc<str>]) {
        if self.state.is_some() {
            self.files.extend(files.iter().cloned());
        }
    }

    /// How often saving failed.
    pub(super) fn failures(&self) -> u64 {
        self.state.as_ref().map_or(0, State::failures)
    }

    /// Saves what was noted; where that changes what is served, before it is.
    pub(super) fn save(&mut self, files: &Files, registry: &Registry, change: Option<[&Snapshot; 2]>, now: Now) {
        let Some(state) = &self.state else { return };
        let (changed, touched) = (std::mem::take(&mut self.files), std::mem::take(&mut self.touched));
        let mut batch = Batch::default();
        for file in &changed {
            batch.file(file, version(files, registry, file).as_ref());
        }
        for file in touched.leases.difference(&changed) {
            registry.file_claims(file).iter().for_each(|claims| batch.leases(file, claims));
        }
        put_claims(&mut batch, registry, &touched, now);
        if let Some(root) = files.root_id().filter(|root| self.root.replace(*root) != Some(*root)) {
            batch.root(&root.to_octets());
        }
        match change {
            Some([old, new]) => {
                batch.served(old, new);
                state.save_before(batch, new);
            }
            None => state.save(batch),
        }
    }

    /// What was noted up to here is told with everything.
    pub(super) fn forget(&mut self) {
        self.files.clear();
        self.touched = Touched::default();
    }

    /// Whether everything is to be saved, which may take long.
    pub(super) fn wants_everything(&self) -> bool {
        self.state.as_ref().is_some_and(State::wants_everything)
    }

    /// Saves everything, if that is wanted.
    pub(super) fn save_everything(&mut self, files: &Files, registry: &Registry, current: &Snapshot, now: Now) {
        let Some(state) = self.state.as_ref().filter(|_| self.wants_everything()) else { return };
        let mut batch = Batch::default();
        for file in files.paths() {
            if let Some(version) = version(files, registry, file) {
                batch.file(file, Some(&version));
            }
        }
        let everything = Touched { names: registry.tombstones(), ..registry.everything() };
        put_claims(&mut batch, registry, &everything, now);
        self.root = files.root_id();
        self.root.iter().for_each(|root| batch.root(&root.to_octets()));
        batch.served(&Snapshot::starting(), current);
        state.save_everything(batch, current);
    }

    /// Ends in an orderly way.
    pub(super) fn end(&mut self, last: &Snapshot) {
        if let Some(state) = self.state.take() {
            state.end(last);
        }
    }
}

/// What the last process left.
pub(super) struct Resumed {
    pub(super) files: Files,
    pub(super) registry: Registry,
    pub(super) touched: Touched,
    pub(super) made: Made<Block>,
}

fn put_claims(batch: &mut Batch, registry: &Registry, touched: &Touched, now: Now) {
    for id in &touched.apps {
        batch.app(*id, registry.app_claims(*id).as_ref(), now);
    }
    for name in &touched.names {
        batch.tombstone(name, registry.tombstone_claim(name.0, &name.1).as_ref(), now);
    }
    if touched.spaces {
        batch.spaces(&registry.space_claims());
    }
}

fn version(files: &Files, registry: &Registry, file: &str) -> Option<Version> {
    let (octets, mark): (Box<[u8]>, _) = match files.kept(file)? {
        Kept::Good(octets, identity) => (octets.into(), identity.map(Identity::to_octets).unwrap_or_default()),
        Kept::Remains(Document::BrokenSpace) => (Box::default(), BROKEN.to_vec()),
        Kept::Remains(_) => (Box::default(), UNREAD.to_vec()),
    };
    let claims: FileClaims = registry.file_claims(file)?;
    Some(Version { octets, mark: mark.into(), claims })
}

/// Parses the last good version of a file; nothing where it has faults.
fn parse_one(root: &Path, file: &str, version: &Version) -> Option<Parsed> {
    if version.octets.is_empty() {
        let remains = if *version.mark == *BROKEN { Document::BrokenSpace } else { Document::Unread };
        let documents = vec![remains.clone()].into();
        let removal = Removal::OfSpec;
        let (faults, warnings) = (Vec::new(), Vec::new());
        return Some(Parsed { documents, remains: vec![remains], removal, faults, warnings });
    }
    let mut reading = read::parse(root, file, Way::Itself, &version.octets);
    if !reading.warnings.is_empty() {
        // What leads out of the directory is not quoted; how the path leads to it is only looked at here.
        reading = read::parse(root, file, Way::Link, &version.octets);
    }
    Some(Parsed::from(reading)).filter(|parsed| parsed.faults.is_empty())
}

/// Instead of what a file is known by: no version was ever good, and it is to be a space, or might be.
const BROKEN: &[u8] = b"broken space";
const UNREAD: &[u8] = b"unread";
