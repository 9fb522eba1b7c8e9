//! What answering would lose, were some files gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::app;
use crate::registry::Registry;
use crate::zone::{App, Snapshot};

/// Names that answer with addresses now, and those that would still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// How many do.
    pub before: usize,
    /// How many would.
    pub after: usize,
}

impl Loss {
    /// Of what is `served`, if `files` were not there.
    ///
    /// Every app served is counted, a few milliseconds for a hundred thousand; only those that the files are about are
    /// resolved again.
    #[must_use]
    pub fn of(files: &BTreeSet<Arc<str>>, registry: &Registry, served: &Snapshot) -> Self {
        let before = served.apps.iter().map(|(_, app)| app.answering()).sum();
        let lost: usize = registry
            .apps_in(files)
            .into_iter()
            .map(|id| {
                let now = served.apps.at(id).map_or(0, App::answering);
                let left = registry.app_without(id, files);
                let left = left.and_then(|state| Some(app::compile(&state, registry.space(state.space)?)));
                now.saturating_sub(left.as_ref().map_or(0, App::answering))
            })
            .sum();
        Self { before, after: before.saturating_sub(lost) }
    }
}
