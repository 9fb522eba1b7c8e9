//! The table of names outside the discovery domains: owners, what lies above them, and what was there until a while ago.
//!
//! Every ancestor of an owner is an entry too, an empty non-terminal, so that existence is monotone (design §9). Ancestors
//! are counted here; the snapshot holds one entry a name, and an owner's own entry goes before its being an ancestor.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Compiler;
use crate::name::Name;
use crate::registry::{OwnerKind, Registry, SpaceId};
use crate::zone::{App, LooseName, NameEntry, Paged, Snapshot, Table, Types, name_hash};

/// How many owners lie below each name, and which loose places are free.
#[derive(Debug, Default)]
pub(super) struct Ancestors {
    below: HashMap<(SpaceId, Name), usize>,
    free: BTreeSet<u32>,
    used: u32,
}

/// What of a snapshot is changed when its names are.
pub(super) struct Named<'n> {
    /// The apps, which are compiled already: an owner is a place in them.
    pub(super) apps: &'n Paged<App>,
    pub(super) entries: &'n mut Table<NameEntry>,
    pub(super) loose: &'n mut Paged<LooseName>,
}

impl Compiler {
    /// Enters what each of `names` is now, each once and in order.
    pub(super) fn compile_names(
        &mut self,
        registry: &Registry,
        names: &[(SpaceId, Name)],
        previous: &Snapshot,
        mut next: Named<'_>,
    ) -> bool {
        let next = &mut next;
        let mut above = BTreeSet::new();
        let owners: Vec<Option<NameEntry>> = names.iter().map(|key| owner(registry, next.apps, key)).collect();
        let old: Vec<Option<NameEntry>> =
            names.iter().map(|(space, name)| previous.name_entry(*space, name.wire())).collect();
        let mut counted = Counted::default();
        for (key, (owner, old)) in names.iter().zip(owners.iter().zip(&old)) {
            let was_owner = matches!(old, Some(NameEntry::Owner { .. }));
            if was_owner != owner.is_some() {
                counted
                    .add(key, owner.is_some(), |key, is_owner, by| self.ancestors.count(key, is_owner, by, &mut above));
            }
        }
        counted.end(|key, is_owner, by| self.ancestors.count(key, is_owner, by, &mut above));
        let mut changed = false;
        for (key, (owner, old)) in names.iter().zip(owners.into_iter().zip(old)) {
            changed |= self.settle(registry, key, (old, owner), previous, next);
        }
        for key in above.iter().filter(|key| names.binary_search(key).is_err()) {
            let known = (previous.name_entry(key.0, key.1.wire()), owner(registry, next.apps, key));
            changed |= self.settle(registry, key, known, previous, next);
        }
        changed
    }

    /// Enters a name, which was `old` and has this owner now.
    fn settle(
        &mut self,
        registry: &Registry,
        key: &(SpaceId, Name),
        (old, owner): (Option<NameEntry>, Option<NameEntry>),
        previous: &Snapshot,
        next: &mut Named<'_>,
    ) -> bool {
        let (space, name) = key;
        let old_loose = match old {
            Some(NameEntry::EmptyNonTerminal(loose) | NameEntry::Tombstone(loose)) => {
                previous.loose.at(loose).map(|found| (loose, found.types))
            }
            _ => None,
        };
        let loose = |types| LooseName { space: *space, name: name.clone(), types };
        let new = if owner.is_some() {
            owner
        } else if let Some(kind) = registry.tombstone(*space, name) {
            let types = match kind {
                OwnerKind::Hostname | OwnerKind::Target => Types::All,
                OwnerKind::Domain | OwnerKind::Wildcard => Types::Address,
            };
            match (old, old_loose) {
                (Some(NameEntry::Tombstone(_)), Some((_, was))) if was == types => old,
                _ => Some(NameEntry::Tombstone(self.ancestors.place(loose(types), next.loose))),
            }
        } else if self.ancestors.below.contains_key(key) {
            match old {
                Some(NameEntry::EmptyNonTerminal(_)) => old,
                _ => Some(NameEntry::EmptyNonTerminal(self.ancestors.place(loose(Types::All), next.loose))),
            }
        } else {
            None
        };
        if old == new {
            return false;
        }
        let hash = name_hash(*space, name.wire());
        if let Some(old) = old {
            next.entries.remove(hash, old);
            if let Some((place, _)) = old_loose {
                next.loose.set(place, None);
                self.ancestors.free.insert(place);
            }
        }
        if let Some(new) = new {
            next.entries.insert(hash, new);
        }
        true
    }
}

impl Ancestors {
    /// Counts what is in `snapshot`, and adds the names of its entries to `names`.
    pub(super) fn resume(&mut self, snapshot: &Snapshot, names: &mut BTreeSet<(SpaceId, Name)>) {
        self.used = snapshot.loose.iter().map(|(place, _)| place + 1).max().unwrap_or(0);
        self.free = (0..self.used).filter(|place| snapshot.loose.at(*place).is_none()).collect();
        let mut above = BTreeSet::new();
        for entry in snapshot.names.values() {
            match entry {
                NameEntry::Owner { app, owner } => {
                    let Some(app) = snapshot.apps.at(app) else { continue };
                    let Some(owner) = app.owners.get(usize::from(owner)) else { continue };
                    let key = (app.space, owner.name.clone());
                    self.count(&key, true, 1, &mut above);
                    names.insert(key);
                }
                NameEntry::EmptyNonTerminal(place) | NameEntry::Tombstone(place) => {
                    names.extend(snapshot.loose.at(place).map(|loose| (loose.space, loose.name.clone())));
                }
            }
        }
    }

    /// Counts so many owners, of which this is one and the others lie beside it, among those below each of its ancestors, or no longer;
    /// notes what gains its first or loses its last.
    fn count(&mut self, key: &(SpaceId, Name), is_owner: bool, by: usize, above: &mut BTreeSet<(SpaceId, Name)>) {
        let ancestors = std::iter::successors(key.1.parent(), Name::parent).take_while(|name| !name.is_root());
        for ancestor in ancestors {
            let ancestor = (key.0, ancestor);
            match self.below.get_mut(&ancestor) {
                Some(below) if is_owner => *below += by,
                None if is_owner => {
                    self.below.insert(ancestor.clone(), by);
                    above.insert(ancestor);
                }
                Some(below) if *below > by => *below -= by,
                Some(_) => {
                    self.below.remove(&ancestor);
                    above.insert(ancestor);
                }
                None => {}
            }
        }
    }

    fn place(&mut self, name: LooseName, places: &mut Paged<LooseName>) -> u32 {
        let place = self.free.pop_first().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        places.set(place, Some(Arc::new(name)));
        place
    }
}

/// Owners of one parent that come one after the other: nearly all of a start, and their ancestors are counted once.
#[derive(Default)]
struct Counted<'k> {
    last: Option<(&'k (SpaceId, Name), bool)>,
    count: usize,
}

impl<'k> Counted<'k> {
    /// Adds an owner that came or went; counts those before it where it is not beside them.
    fn add(&mut self, key: &'k (SpaceId, Name), is_owner: bool, count: impl FnMut(&(SpaceId, Name), bool, usize)) {
        let is_beside =
            self.last.is_some_and(|(last, was)| was == is_owner && last.0 == key.0 && above(&last.1) == above(&key.1));
        if !is_beside {
            self.end(count);
            self.last = Some((key, is_owner));
        }
        self.count += 1;
    }

    fn end(&mut self, mut count: impl FnMut(&(SpaceId, Name), bool, usize)) {
        if let Some((last, is_owner)) = self.last.take() {
            count(last, is_owner, std::mem::take(&mut self.count));
        }
    }
}

/// The octets of a name without its leftmost label.
fn above(name: &Name) -> &[u8] {
    let first = name.wire().first().map_or(0, |length| usize::from(*length) + 1);
    name.wire().get(first..).unwrap_or_default()
}

/// The entry of a name that an app holds.
fn owner(registry: &Registry, apps: &Paged<App>, key: &(SpaceId, Name)) -> Option<NameEntry> {
    let app = registry.name_holder(key.0, &key.1)?;
    // The registry gives owners in order, without repeats.
    let owner = apps.at(app)?.owners.binary_search_by(|owner| owner.name.cmp(&key.1)).ok()?;
    Some(NameEntry::Owner { app, owner: u16::try_from(owner).ok()? })
}
