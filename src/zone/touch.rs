//! Loads what answering a batch will read, before the first of it is answered.
//!
//! An answer hangs on a chain of loads from all over the memory: a table's slot, the app's block, the list of its names, the name, the
//! component, its ports. Each needs the one before it, and most are in no cache, so a query by itself waits for each of them in turn: that
//! is most of what it costs with 100,000 apps. A batch has as many chains that do not depend on each other. So they are walked together, a
//! link at a time: a link is a loop of a few instructions a query, short enough for a processor to have ten of them under way at once.
//! Walking each chain to its end in one loop was what stood here first, and had two or three under way.
//!
//! Who asks is not looked at, so the space is a guess: the first. A wrong one costs a few loads and nothing else.

use super::find::{component, end_of};
use super::found::Lead;
use super::table::scoped;
use super::{ApexKind, App, Component, NameEntry, Snapshot};
use crate::name::NameBuffer;

/// One query's chain, as far as it has been walked.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'s> {
    lead: Lead,
    app: Option<&'s App>,
    component: Option<&'s Component>,
    /// Made of all that was loaded. It means nothing, but that no load is left out.
    loaded: usize,
}

impl<'s> Chain<'s> {
    /// The chain of no query.
    pub const NONE: Self = Self { lead: Lead::None, app: None, component: None, loaded: 0 };

    /// Begins with the table that leads to an app.
    #[inline(always)]
    #[must_use]
    pub fn begin(snapshot: &'s Snapshot, name: &NameBuffer) -> Self {
        let lead = match app_label(snapshot, name) {
            Some(label) => {
                let mut apps = snapshot.app_names.candidates(scoped(0, name.label_hash(label)));
                apps.next().map_or(Lead::None, Lead::App)
            }
            None => match snapshot.names.candidates(scoped(0, name.hash())).next() {
                Some(NameEntry::Owner { app, owner }) => Lead::Owner { app, owner },
                _ => Lead::None,
            },
        };
        Self { lead, ..Self::NONE }
    }

    /// On to the app's block.
    #[inline(always)]
    pub fn reach_app(&mut self, snapshot: &'s Snapshot) {
        let (Lead::App(index) | Lead::Owner { app: index, .. }) = self.lead else { return };
        if let Some(app) = snapshot.apps.at(index) {
            self.loaded = usize::from(app.space) ^ app.label.octets().len();
            self.app = Some(app);
        }
    }

    /// On to the lists that hang on the app's block.
    #[inline(always)]
    pub fn reach_lists(&mut self) {
        let Some(app) = self.app else { return };
        // Mostly the component that matters is the first, or lies beside it.
        self.component = app.components.first();
        self.loaded ^= self.component.map_or(0, |component| component.up.v4().len());
        if let Lead::Owner { owner, .. } = self.lead {
            self.loaded ^= app.owners.get(usize::from(owner)).map_or(0, |owner| owner.name.wire().len());
        }
    }

    /// On to what hangs on the lists: the octets of a name, or a component's own lists.
    #[inline(always)]
    pub fn reach_ends(&mut self, snapshot: &'s Snapshot, name: &NameBuffer) {
        let Some(app) = self.app else { return };
        if let Lead::Owner { owner, .. } = self.lead {
            let octets = app.owners.get(usize::from(owner)).map_or(&[][..], |owner| owner.name.wire());
            self.loaded ^= usize::from(octets.first() == Some(&1)) ^ usize::from(octets.last() == Some(&1));
            self.component = None;
        } else if let Some(label) = app_label(snapshot, name)
            && label > 1
        {
            self.component = component(app, name.label(label - 1));
            let (instances, ports) =
                self.component.map_or((&[][..], &[][..]), |found| (&*found.instances, &*found.ports));
            self.loaded ^= instances.first().map_or(0, |instance| instance.addresses.v4().len());
            self.loaded ^= ports.first().map_or(0, |port| port.targets.len());
        }
    }

    /// On to the targets of a component's ports.
    #[inline(always)]
    pub fn reach_targets(&mut self) {
        let Some(component) = self.component else { return };
        let first = component.ports.first().and_then(|port| port.targets.first());
        self.loaded ^= first.map_or(0, |target| usize::from(target.port));
        self.loaded ^= component.instances.last().map_or(0, |instance| instance.addresses.v4().len());
    }

    /// What was found on the way, and the number that means nothing.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> (Lead, usize) {
        (self.lead, self.loaded)
    }
}

/// The label of `name` that is an app's in a discovery domain, as far as the last octets tell.
#[inline(always)]
fn app_label(snapshot: &Snapshot, name: &NameBuffer) -> Option<usize> {
    let (space, end) = (snapshot.space(0)?, end_of(name));
    for apex in &space.apexes {
        if apex.kind == ApexKind::Discovery
            && apex.name.wire().last_chunk().is_some_and(|octets| u64::from_le_bytes(*octets) == end)
        {
            return name.label_count().checked_sub(apex.labels + 1);
        }
    }
    None
}
