//! What is to outlive the process, and a registry made of it again.
//!
//! Documents are not enough: who holds a contested name, which numbers were registered once, what was removed a while ago and
//! which registration is the newer are decided by the order in which things happened. So these are given out beside the
//! documents, in pieces no larger than what a change touches ([`Touched`] names them), and taken in all at once.
//!
//! Leases start anew ([`Registry::restored`] is a renewal of all of them), but those that had run out stay so: whoever is not
//! there does not come back because the server was started again. Moments are told as the time that is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::claims::Moved;
use super::deadlines::Deadline;
use super::health::UnreadyInstance;
use super::numbers::Numbers;
use super::{
    Alone, AppEntry, AppId, Concern, File, FileFault, Findings, Hands, Made, Now, OwnerKind, Registry, SpaceId,
    SpaceState, Tombstone, Touched,
};
use crate::name::{Label, Name};
use crate::spec::Documents;

/// Everything that a registry is made of again.
#[derive(Debug, Default)]
pub struct Saved {
    /// The files that had accepted documents.
    pub files: Vec<SavedFile>,
    /// The spaces.
    pub spaces: SpaceClaims,
    /// The apps.
    pub apps: Vec<AppClaims>,
    /// The names that were removed a while ago.
    pub tombstones: Vec<TombstoneClaim>,
}

/// A file as the registry had it.
#[derive(Debug)]
pub struct SavedFile {
    /// The path relative to the spec directory.
    pub file: Arc<str>,
    /// Its accepted documents.
    pub documents: Documents,
    /// What else was known of it.
    pub claims: FileClaims,
}

/// What is known of a file besides its documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileClaims {
    /// When its documents were written, in nanoseconds since 1970.
    pub modified: u128,
    /// The batch that brought them: a file seen in a later one is newer.
    pub seen: u64,
    /// Its leases that had run out, and when, in seconds since 1970.
    pub lapsed: BTreeMap<Duration, u64>,
}

/// Which spaces are being served, and which directory is which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpaceClaims {
    /// The spaces with their numbers.
    pub served: BTreeMap<SpaceId, SpaceState>,
    /// The space of each directory that has a space document; `None` where that was never good.
    pub directories: BTreeMap<Arc<str>, Option<SpaceId>>,
    /// How many spaces are kept only because apps live in them.
    pub retained: usize,
    /// What is wrong with the documents of spaces.
    pub faults: Vec<FileFault>,
}

/// What is known of an app besides the documents that speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppClaims {
    /// Its number.
    pub id: AppId,
    /// The space it is in.
    pub space: SpaceId,
    /// Its name.
    pub label: Label,
    /// Whether it was created internally routed; `None` while nothing declares it.
    pub created_routed: Option<bool>,
    /// The file of the app spec being served.
    pub declared_by: Option<Arc<str>>,
    /// Whether anything ever declared it.
    pub ever_declared: bool,
    /// The numbers once registered, by component.
    pub numbers: Vec<(Label, Vec<u32>)>,
    /// In what time `numbers` are forgotten, where nothing names the app any more.
    pub forget_in: Option<Duration>,
    /// The names that it holds.
    pub names: Vec<Name>,
    /// The LANs that it holds.
    pub lans: Vec<IpNet>,
    /// Its instances that are known not to be ready.
    pub unready: Vec<UnreadyInstance>,
}

/// A name that was removed a while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TombstoneClaim {
    /// The space it was in.
    pub space: SpaceId,
    /// The name.
    pub name: Name,
    /// What it was to the app that held it.
    pub kind: OwnerKind,
    /// In what time it is foreign again.
    pub left: Duration,
}

impl Registry {
    /// What is to be saved of a file; `None` when the registry has no such file.
    #[must_use]
    pub fn file_claims(&self, file: &str) -> Option<FileClaims> {
        let File { modified, seen, leases, .. } = self.files.get(file)?;
        let lapsed = leases.as_ref().map(|leases| leases.lapsed.clone()).unwrap_or_default();
        Some(FileClaims { modified: (*modified).into(), seen: *seen, lapsed })
    }

    /// What is to be saved of the spaces.
    #[must_use]
    pub fn space_claims(&self) -> SpaceClaims {
        let faults = self.faults.get(&Concern::Spaces).map(|findings| findings.faults.clone());
        SpaceClaims { faults: faults.unwrap_or_default(), ..self.spaces.claims() }
    }

    /// What is to be saved of an app; `None` when there is none with this number.
    #[must_use]
    pub fn app_claims(&self, id: AppId) -> Option<AppClaims> {
        let entry = self.apps.get(&id)?;
        let holds = |name: &Name| self.names.holder(&(entry.space, name.clone())) == Some(id);
        Some(AppClaims {
            id,
            space: entry.space,
            label: entry.label.clone(),
            created_routed: entry.created_routed.filter(|_| !self.creations.contains_key(&id)),
            declared_by: entry.declared_by().cloned(),
            ever_declared: entry.ever_declared,
            numbers: entry.numbers.iter().map(|(label, all)| (label.clone(), all.iter().collect())).collect(),
            forget_in: entry.forget_at().map(|at| self.left(at)),
            names: entry.wanted.iter().map(|owner| &owner.name).filter(|name| holds(name)).cloned().collect(),
            lans: entry
                .lans()
                .iter()
                .map(|(network, _)| *network)
                .filter(|network| self.lans.holder(network) == Some(id))
                .collect(),
            unready: self.checks.unready(id),
        })
    }

    /// What is to be saved of a name that was removed; `None` when it was not.
    #[must_use]
    pub fn tombstone_claim(&self, space: SpaceId, name: &Name) -> Option<TombstoneClaim> {
        let Tombstone { kind, until } = *self.tombstones.get(&(space, name.clone()))?;
        Some(TombstoneClaim { space, name: name.clone(), kind, left: self.left(until) })
    }

    /// Makes a registry of what was saved, as it was, with the settings of this one; what does not fit together is as if it had
    /// not been saved.
    ///
    /// Everything is touched. Every lease that had not run out starts anew.
    #[must_use]
    pub fn restored(&self, saved: Saved, now: Now) -> (Self, Touched) {
        let (registry, touched, _) = self.restored_by(&Alone, saved, now);
        (registry, touched)
    }

    /// As [`restored`](Self::restored), by all `hands`, as [`apply_by`](Self::apply_by) has it.
    #[must_use]
    pub fn restored_by<H: Hands>(&self, hands: &H, saved: Saved, now: Now) -> (Self, Touched, Made<H::Made>) {
        let tombstone = self.tombstone;
        let mut registry = Self::new(tombstone);
        registry.checks.share_settings(&self.checks);
        registry.now = now;
        let Saved { files, spaces, apps, tombstones } = saved;
        registry.batch = files.iter().map(|file| file.claims.seen).max().unwrap_or(0).saturating_add(1);
        let mut moved = Moved::default();
        for app in apps {
            registry.restore_app(app, &mut moved);
        }
        let last = registry.apps.last_key_value().map_or(0, |(id, _)| *id);
        registry.free_ids = (0..last).filter(|id| !registry.apps.contains_key(id)).collect();
        for TombstoneClaim { space, name, kind, left } in tombstones {
            let until = now.monotonic.saturating_add(left.min(tombstone));
            registry.tombstones.insert((space, name.clone()), Tombstone { kind, until });
            registry.deadlines.set(until, Deadline::Tombstone(space, name));
        }
        for SavedFile { file, documents, claims } in files {
            let FileClaims { modified, seen, lapsed } = claims;
            let entry = File::new(documents, modified, seen, (now.monotonic, lapsed));
            registry.files.insert(Arc::clone(&file), entry);
            registry.arm(&file);
        }
        let mut touched = Touched { apps: registry.apps.keys().copied().collect(), ..Touched::default() };
        registry.restore_spaces(spaces, &mut touched);
        let made = registry.settle_moved(moved, &mut touched, hands);
        registry.keep_room();
        touched.extend(registry.everything());
        (registry, touched, made)
    }

    fn restore_app(&mut self, claims: AppClaims, moved: &mut Moved) {
        let AppClaims { id, space, label, names, lans, .. } = claims;
        if id > ID_MAX || self.apps.contains_key(&id) || self.app_ids.find(space, &label, &self.apps).is_some() {
            return;
        }
        let mut entry = AppEntry::new(space, label);
        entry.created_routed = claims.created_routed;
        entry.ever_declared = claims.ever_declared;
        let remembered = claims.numbers.into_iter();
        let mut remembered: Vec<(Label, Numbers)> =
            remembered.map(|(label, numbers)| (label, numbers.into_iter().collect())).collect();
        remembered.sort_by(|(a, _), (b, _)| a.cmp(b));
        remembered.dedup_by(|(a, _), (b, _)| a == b);
        entry.numbers = remembered.into();
        let forget_at = claims.forget_in.map(|left| self.now.monotonic.saturating_add(left.min(self.tombstone)));
        entry.change_rare(|rare| {
            rare.declared_by = claims.declared_by;
            rare.forget_at = forget_at;
        });
        if let Some(at) = forget_at {
            self.deadlines.set(at, Deadline::Forget(id));
        }
        self.checks.restore(id, claims.unready);
        self.apps.insert(id, Box::new(entry));
        self.app_ids.insert(id, &self.apps);
        for name in names {
            self.names.grant((space, name.clone()), id);
            moved.names.push((space, name));
        }
        for network in lans {
            self.lans.grant(network, id);
            moved.lans.insert(network);
        }
    }

    /// Takes the spaces as they were and enters every file. They are not decided anew: what was served when a document came is
    /// part of that decision, and is over.
    fn restore_spaces(&mut self, claims: SpaceClaims, touched: &mut Touched) {
        if claims.served.is_empty() && claims.directories.is_empty() {
            return self.settle_spaces(touched);
        }
        let faults = claims.faults.clone();
        self.replace_findings(Concern::Spaces, Findings { faults, warnings: Vec::new() });
        self.spaces.restore(claims);
        self.join_files(touched);
    }

    fn left(&self, at: Duration) -> Duration {
        at.saturating_sub(self.now.monotonic)
    }

    /// Every file that has documents, for whoever saves all of them.
    pub fn files(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys()
    }

    /// Every name that was removed a while ago.
    #[must_use]
    pub fn tombstones(&self) -> BTreeSet<(SpaceId, Name)> {
        self.tombstones.keys().cloned().collect()
    }
}

/// The highest number of an app that is believed: numbers are places in lists.
const ID_MAX: AppId = 1 << 24;
