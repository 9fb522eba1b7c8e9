//! Which app has which name: a table of numbers, and no second copy of any name.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{AppEntry, AppId, SpaceId};
use crate::name::Label;

/// The apps.
pub(super) type Apps = BTreeMap<AppId, Box<AppEntry>>;

/// The numbers of apps by their names. The names are in the apps, which are asked for them: everything here takes those that there are.
#[derive(Debug, Default)]
pub(super) struct Ids {
    table: HashTable<AppId>,
    hasher: RandomState,
}

impl Ids {
    /// The number of an app.
    pub(super) fn find(&self, space: SpaceId, label: &Label, apps: &Apps) -> Option<AppId> {
        self.table.find(self.hash(space, label), |id| is_it(*id, space, label, apps)).copied()
    }

    /// Enters an app that is not entered.
    pub(super) fn insert(&mut self, id: AppId, apps: &Apps) {
        let Some(AppEntry { space, label, .. }) = apps.get(&id).map(|entry| &**entry) else { return };
        let hasher = &self.hasher;
        let hash_of = |id: &AppId| apps.get(id).map_or(0, |entry| hasher.hash_one((entry.space, &entry.label)));
        self.table.insert_unique(hasher.hash_one((*space, label)), id, hash_of);
    }

    /// Makes room for so many apps more.
    pub(super) fn reserve(&mut self, count: usize, apps: &Apps) {
        let hasher = &self.hasher;
        let hash_of = |id: &AppId| apps.get(id).map_or(0, |entry| hasher.hash_one((entry.space, &entry.label)));
        self.table.reserve(count, hash_of);
    }

    /// Takes out an app, before it is taken out of `apps`.
    pub(super) fn remove(&mut self, id: AppId, apps: &Apps) {
        let Some(entry) = apps.get(&id) else { return };
        let hash = self.hash(entry.space, &entry.label);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == id) {
            found.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn hash(&self, space: SpaceId, label: &Label) -> u64 {
        self.hasher.hash_one((space, label))
    }
}

fn is_it(id: AppId, space: SpaceId, label: &Label, apps: &Apps) -> bool {
    apps.get(&id).is_some_and(|entry| entry.space == space && entry.label == *label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_found_by_its_space_and_name_until_it_is_taken_out() {
        let (mut ids, mut apps) = (Ids::default(), Apps::new());
        let label = |id: AppId| Label::from_octets(format!("app-{}", id / 2).as_bytes()).unwrap();
        let space = |id: AppId| SpaceId::try_from(id % 2).unwrap();
        for id in 0..1_000 {
            assert_eq!(ids.find(space(id), &label(id), &apps), None);
            apps.insert(id, Box::new(AppEntry::new(space(id), label(id))));
            ids.insert(id, &apps);
        }
        for id in (0..1_000).step_by(3) {
            ids.remove(id, &apps);
            apps.remove(&id);
        }
        for id in 0..1_000 {
            assert_eq!(ids.find(space(id), &label(id), &apps), (id % 3 != 0).then_some(id));
        }
    }
}
