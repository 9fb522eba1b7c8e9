//! What would be, were some files gone: asked before a loss that nobody announced is believed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::few::Few;
use super::spaces::Cover;
use super::{AppEntry, AppId, AppState, Contribution, Registry, topology};
use crate::name::Label;
use crate::spec::{Document, Head};

impl Registry {
    /// How many instances these files register.
    #[must_use]
    pub fn registrations_in(&self, files: &BTreeSet<Arc<str>>) -> usize {
        let documents = files.iter().filter_map(|file| self.files.get(file)).flat_map(|file| file.documents.iter());
        documents
            .map(|document| match &*document {
                Document::Space(_) | Document::BrokenSpace | Document::Unread => 0,
                Document::App(app) => app.instances.len(),
                Document::Topology(apps) => apps.iter().map(|app| app.instances.len()).sum(),
            })
            .sum()
    }

    /// The apps that these files say something of.
    #[must_use]
    pub fn apps_in(&self, files: &BTreeSet<Arc<str>>) -> BTreeSet<AppId> {
        let mut apps = BTreeSet::new();
        for (path, file) in files.iter().filter_map(|file| self.files.get_key_value(file)) {
            let Cover::Space(space) = self.spaces.cover(path) else { continue };
            let id = |label: Label| self.app_ids.find(space, &label, &self.apps);
            for head in file.documents.heads() {
                match head {
                    Head::App(app) => apps.extend(id(app.value)),
                    Head::Other(Document::Topology(parts)) => {
                        let spec = self.spaces.at(space).map(|state| &state.spec);
                        let labels = parts.iter().filter_map(|part| topology::label_of(part, spec?));
                        apps.extend(labels.filter_map(id));
                    }
                    Head::Other(_) => {}
                }
            }
        }
        apps
    }

    /// An app as it would be without these files; whatever it holds it would hold still.
    #[must_use]
    pub fn app_without(&self, id: AppId, files: &BTreeSet<Arc<str>>) -> Option<AppState> {
        let entry = self.apps.get(&id)?;
        let mut contributions = Few::new();
        for contribution in entry.contributions.iter().filter(|contribution| !files.contains(&contribution.file)) {
            contributions.insert(Contribution::clone(contribution));
        }
        Some(self.resolve(id, &AppEntry { contributions, ..AppEntry::clone(entry) }).0)
    }
}
