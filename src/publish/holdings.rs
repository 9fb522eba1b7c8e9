//! How many of everything a snapshot holds: for metrics and the status page. Walks all of it, so it is for once a generation.

use crate::zone::{Believed, Component, Gate, InstanceState, NameEntry, Snapshot};

/// How many of everything a snapshot holds. The words are of closed sets, and each is there even where there is none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Spaces.
    pub spaces: u64,
    /// Components.
    pub components: u64,
    /// Those of them that are answered though every instance fails its check.
    pub components_kept: u64,
    /// Apps, by what their gate does.
    pub apps: [(&'static str, u64); 2],
    /// Instances, by what is known of them.
    pub instances: [(&'static str, u64); STATES],
    /// Names outside the discovery domains, by what they are.
    pub names: [(&'static str, u64); 3],
    /// Addresses that callers are known by.
    pub callers: u64,
}

impl Holdings {
    /// Counts what `snapshot` holds.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut holdings = Self {
            spaces: count(snapshot.spaces.iter().flatten()),
            components: 0,
            components_kept: 0,
            apps: [("open", 0), ("closed", 0)],
            instances: InstanceState::ALL.map(|state| (state.word(), 0)),
            names: [("owner", 0), ("empty-non-terminal", 0), ("tombstone", 0)],
            callers: count(snapshot.holders.values()),
        };
        for (_, app) in snapshot.apps.iter() {
            tally(&mut holdings.apps, usize::from(matches!(app.gate, Gate::Closed(_))));
            holdings.components += count(app.components.iter());
            let is_kept = |component: &&Component| component.believed == Believed::Instances;
            holdings.components_kept += count(app.components.iter().filter(is_kept));
            for instance in app.components.iter().flat_map(|component| &component.instances) {
                tally(&mut holdings.instances, instance.state as usize);
            }
        }
        for entry in snapshot.names.values() {
            let index = match entry {
                NameEntry::Owner { .. } => 0,
                NameEntry::EmptyNonTerminal(_) => 1,
                NameEntry::Tombstone(_) => 2,
            };
            tally(&mut holdings.names, index);
        }
        holdings
    }
}

fn tally(counts: &mut [(&'static str, u64)], index: usize) {
    if let Some((_, count)) = counts.get_mut(index) {
        *count += 1;
    }
}

fn count(iterator: impl Iterator) -> u64 {
    u64::try_from(iterator.count()).unwrap_or(u64::MAX)
}

const STATES: usize = InstanceState::ALL.len();
