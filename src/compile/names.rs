//! The table of names outside the discovery domains: owners, what lies above them, and what was there until a while ago.
//!
//! Every ancestor of an owner is an entry too, an empty non-terminal, so that existence is monotone (design §9). Ancestors
//! are counted here; the snapshot holds one entry a name, and an owner's own entry goes before its being an ancestor.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Compiler;
use crate::name::Name;
use crate::registry::{OwnerKind, Registry, SpaceId};
use crate::zone::{LooseName, NameEntry, Snapshot, Types, name_hash};

/// How many owners lie below each name, and which loose places are free.
#[derive(Debug, Default)]
pub(super) struct Ancestors {
    below: HashMap<(SpaceId, Name), usize>,
    free: BTreeSet<u32>,
    used: u32,
}

impl Compiler {
    /// Enters what each of `names` is now. `next.apps` must be compiled already: an owner is a place in them.
    pub(super) fn compile_names(
        &mut self,
        registry: &Registry,
        names: &BTreeSet<(SpaceId, Name)>,
        previous: &Snapshot,
        next: &mut Snapshot,
    ) -> bool {
        let mut above = BTreeSet::new();
        for key in names {
            let was_owner = matches!(previous.name_entry(key.0, key.1.wire()), Some(NameEntry::Owner { .. }));
            let is_owner = owner(registry, next, key).is_some();
            if was_owner != is_owner {
                self.ancestors.count(key, is_owner, &mut above);
            }
        }
        let mut changed = false;
        for key in names.union(&above) {
            changed |= self.settle(registry, key, previous, next);
        }
        changed
    }

    fn settle(&mut self, registry: &Registry, key: &(SpaceId, Name), previous: &Snapshot, next: &mut Snapshot) -> bool {
        let (space, name) = key;
        let old = previous.name_entry(*space, name.wire());
        let old_loose = match old {
            Some(NameEntry::EmptyNonTerminal(loose) | NameEntry::Tombstone(loose)) => {
                previous.loose.at(loose).map(|found| (loose, found.types))
            }
            _ => None,
        };
        let loose = |types| LooseName { space: *space, name: name.clone(), types };
        let new = if let Some(owner) = owner(registry, next, key) {
            Some(owner)
        } else if let Some(kind) = registry.tombstone(*space, name) {
            let types = match kind {
                OwnerKind::Hostname | OwnerKind::Target => Types::All,
                OwnerKind::Domain | OwnerKind::Wildcard => Types::Address,
            };
            match (old, old_loose) {
                (Some(NameEntry::Tombstone(_)), Some((_, was))) if was == types => old,
                _ => Some(NameEntry::Tombstone(self.ancestors.place(loose(types), next))),
            }
        } else if self.ancestors.below.contains_key(key) {
            match old {
                Some(NameEntry::EmptyNonTerminal(_)) => old,
                _ => Some(NameEntry::EmptyNonTerminal(self.ancestors.place(loose(Types::All), next))),
            }
        } else {
            None
        };
        if old == new {
            return false;
        }
        let hash = name_hash(*space, name.wire());
        if let Some(old) = old {
            next.names.remove(hash, old);
            if let Some((place, _)) = old_loose {
                next.loose.set(place, None);
                self.ancestors.free.insert(place);
            }
        }
        if let Some(new) = new {
            next.names.insert(hash, new);
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
                    self.count(&key, true, &mut above);
                    names.insert(key);
                }
                NameEntry::EmptyNonTerminal(place) | NameEntry::Tombstone(place) => {
                    names.extend(snapshot.loose.at(place).map(|loose| (loose.space, loose.name.clone())));
                }
            }
        }
    }

    /// Counts an owner among those below each of its ancestors, or no longer; notes what gains its first or loses its last.
    fn count(&mut self, key: &(SpaceId, Name), is_owner: bool, above: &mut BTreeSet<(SpaceId, Name)>) {
        let ancestors = std::iter::successors(key.1.parent(), Name::parent).take_while(|name| !name.is_root());
        for ancestor in ancestors {
            let ancestor = (key.0, ancestor);
            match self.below.get_mut(&ancestor) {
                Some(below) if is_owner => *below += 1,
                None if is_owner => {
                    self.below.insert(ancestor.clone(), 1);
                    above.insert(ancestor);
                }
                Some(below) if *below > 1 => *below -= 1,
                Some(_) => {
                    self.below.remove(&ancestor);
                    above.insert(ancestor);
                }
                None => {}
            }
        }
    }

    fn place(&mut self, name: LooseName, next: &mut Snapshot) -> u32 {
        let place = self.free.pop_first().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        next.loose.set(place, Some(Arc::new(name)));
        place
    }
}

/// The entry of a name that an app holds.
fn owner(registry: &Registry, next: &Snapshot, key: &(SpaceId, Name)) -> Option<NameEntry> {
    let app = registry.name_holder(key.0, &key.1)?;
    // The registry gives owners in order, without repeats.
    let owner = next.apps.at(app)?.owners.binary_search_by(|owner| owner.name.cmp(&key.1)).ok()?;
    Some(NameEntry::Owner { app, owner: u16::try_from(owner).ok()? })
}
