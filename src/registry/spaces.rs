//! Which directory is which space (design §2.1).
//!
//! A file belongs to the space document in its nearest ancestor directory. The address is how callers of different spaces
//! are told apart, so spaces whose networks overlap cannot both be: the one that is served stays. A document that goes, or comes
//! to clash, while apps live in its space keeps its last good version.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;

use super::{File, Findings, Source, SpaceClaims, SpaceId};
use crate::name::Name;
use crate::spec::{AppDomain, At, Document, Own, Place, SpaceSpec};

/// The name of the space that exists when no document declares one.
pub const DEFAULT_SPACE: &str = "default";

/// A space as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceState {
    /// What its document says.
    pub spec: SpaceSpec,
    /// Where it says so; `None` for the default space.
    pub source: Option<Source>,
    /// The directory it covers, relative to the spec directory; empty for all of it.
    pub directory: Arc<str>,
}

impl SpaceState {
    /// Whether a name lies in a zone of the space that is all ours.
    #[must_use]
    pub fn owns_whole(&self, name: &Name) -> bool {
        let exclusive = self.spec.app_domains.iter().filter(|domain| domain.value.own == Own::Exclusive);
        self.is_discovery(name) || exclusive.into_iter().any(|domain| name.is_within(&domain.value.name))
    }

    /// Whether a name lies in a discovery domain of the space.
    #[must_use]
    pub fn is_discovery(&self, name: &Name) -> bool {
        self.spec.discovery_domains.iter().any(|domain| name.is_within(&domain.value))
    }

    /// Where the space's document says something; the default space has none.
    #[must_use]
    pub fn source_of<T>(&self, said: &At<T>) -> Option<Source> {
        let source = self.source.as_ref()?;
        Some(Source { file: Arc::clone(&source.file), place: said.place })
    }

    /// Whether its document stands in `directory`.
    fn covers(&self, directory: &str) -> bool {
        self.source.is_some() && *self.directory == *directory
    }

    fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.spec.cidrs.iter().map(|cidr| cidr.value).chain(self.spec.peers.iter().map(|peer| peer.value.cidr))
    }

    /// What keeps this space and another from being at once, and where it is written.
    fn clash(&self, other: &Self) -> Option<Clash> {
        if self.spec.name.value == other.spec.name.value {
            let fault = format!("the space {} is declared twice", self.spec.name.value);
            return Some(Clash { place: self.spec.name.place, field: "space", fault });
        }
        let cidrs = self.spec.cidrs.iter().map(|cidr| ("cidr", cidr.place, cidr.value));
        let peers = self.spec.peers.iter().map(|peer| ("peers", peer.place, peer.value.cidr));
        cidrs.chain(peers).find_map(|(field, place, ours)| {
            let theirs = other.networks().find(|theirs| ours.contains(theirs) || theirs.contains(&ours))?;
            let fault = format!("{ours} overlaps {theirs} of the space {}", other.spec.name.value);
            Some(Clash { place, field, fault })
        })
    }
}

/// What keeps two spaces from being at once.
struct Clash {
    place: Place,
    field: &'static str,
    fault: String,
}

/// Which space a file is in.
pub(super) enum Cover {
    /// This one.
    Space(SpaceId),
    /// One whose document is not accepted: the fault is at that document.
    Rejected,
    /// None.
    None,
}

/// The spaces that are, and which directory is which.
#[derive(Debug)]
pub(super) struct Spaces {
    served: BTreeMap<SpaceId, SpaceState>,
    directories: BTreeMap<Arc<str>, Option<SpaceId>>,
    /// How many are kept only because apps live in them.
    retained: usize,
}

impl Spaces {
    pub(super) const fn new() -> Self {
        Self { served: BTreeMap::new(), directories: BTreeMap::new(), retained: 0 }
    }

    /// What is to outlive the process.
    pub(super) fn claims(&self) -> SpaceClaims {
        let (served, directories) = (self.served.clone(), self.directories.clone());
        SpaceClaims { served, directories, retained: self.retained, faults: Vec::new() }
    }

    /// Takes in what outlived another process.
    pub(super) fn restore(&mut self, claims: SpaceClaims) {
        self.retained = claims.retained;
        self.served = claims.served;
        self.directories = claims.directories;
    }

    /// Whether a space is kept only because apps live in it: then any file that goes may end it.
    pub(super) const fn has_retained(&self) -> bool {
        self.retained > 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SpaceId, &SpaceState)> {
        self.served.iter().map(|(id, state)| (*id, state))
    }

    pub(super) fn at(&self, id: SpaceId) -> Option<&SpaceState> {
        self.served.get(&id)
    }

    /// The space of a file: that of its nearest ancestor directory with a space document.
    pub(super) fn cover(&self, file: &str) -> Cover {
        match ancestors(file).find_map(|directory| self.directories.get(directory)) {
            Some(Some(id)) => Cover::Space(*id),
            Some(None) => Cover::Rejected,
            None => Cover::None,
        }
    }

    /// Decides anew, from every file's documents, those of `batch` among them.
    pub(super) fn settle(&mut self, files: &HashMap<Arc<str>, File>, batch: u64) -> Findings {
        let mut findings = Findings::default();
        let mut candidates = self.candidates(files, &mut findings);
        let declared = candidates.len();
        self.retain_lived_in(files, &mut candidates, &mut findings);
        self.retained = candidates.len() - declared;
        // Whoever is served as it stands goes first, then whoever is served in another form, then newcomers by path.
        candidates.sort_by_key(|state| {
            let served = self.served_in(&state.directory);
            let rank = if served == Some(state) { 0 } else { 2 - u8::from(served.is_some()) };
            (rank, state.source.clone())
        });
        let mut accepted: Vec<SpaceState> = Vec::new();
        // A directory whose space document was never good is a space of which nothing is known.
        let broken = files
            .iter()
            .filter(|(_, content)| content.documents.others().any(|document| *document == Document::BrokenSpace));
        let mut directories: BTreeMap<Arc<str>, Option<SpaceId>> = broken
            .map(|(file, _)| directory_of(file))
            .filter(|directory| !self.is_served(directory, files, batch))
            .map(|directory| (directory, None))
            .collect();
        for state in candidates {
            let clash = accepted.iter().find_map(|other| Some((state.clash(other)?, other.source.clone())));
            let Some((clash, other)) = clash else {
                accepted.push(state);
                continue;
            };
            if let (Some(source), Some(other)) = (&state.source, other) {
                let source = Source { file: Arc::clone(&source.file), place: clash.place };
                findings.faults.push(source.fault(
                    clash.field,
                    format!("{} ({other})", clash.fault),
                    "give every space a name, CIDRs and peers of its own; the one being served stays".to_owned(),
                ));
            }
            let last_good = self.served_in(&state.directory);
            match last_good.filter(|last| accepted.iter().all(|other| last.clash(other).is_none())) {
                Some(last) => accepted.push(last.clone()),
                None if self.is_served(&state.directory, files, batch) => {}
                None => _ = directories.insert(state.directory, None),
            }
        }
        // A file that could never be read may be the space of its directory. Where another space covers that, its files go on
        // as they are: rather that than hold back many for one. In the default space they would be answered for as nobody said.
        let is_said = |above: &str| directories.contains_key(above) || accepted.iter().any(|state| state.covers(above));
        let unread = files
            .iter()
            .filter(|(_, content)| content.documents.others().any(|document| *document == Document::Unread));
        let unknown: Vec<Arc<str>> = unread
            .filter(|(file, _)| !ancestors(file).any(is_said))
            .map(|(file, _)| directory_of(file))
            .filter(|directory| !self.is_served(directory, files, batch))
            .collect();
        if accepted.is_empty() && directories.is_empty() && !unknown.iter().any(|directory| directory.is_empty()) {
            accepted.push(default_space());
        }
        directories.extend(unknown.into_iter().map(|directory| (directory, None)));
        self.number(accepted, directories);
        findings
    }

    /// Whether apps below a directory were served before `batch`. Then they still are, in the space that they were in, when a
    /// space document comes that cannot be accepted: no mistake takes them down.
    fn is_served(&self, directory: &str, files: &HashMap<Arc<str>, File>, batch: u64) -> bool {
        files.iter().any(|(file, content)| {
            let is_below = ancestors(file).any(|above| above == directory);
            is_below && content.seen < batch && has_apps(content) && matches!(self.cover(file), Cover::Space(_))
        })
    }

    /// The space documents of every directory, one each.
    fn candidates(&self, files: &HashMap<Arc<str>, File>, findings: &mut Findings) -> Vec<SpaceState> {
        let mut found: BTreeMap<Source, SpaceState> = BTreeMap::new();
        for (file, content) in files {
            for document in content.documents.others() {
                if let Document::Space(spec) = document {
                    let source = Source { file: Arc::clone(file), place: spec.name.place };
                    let directory = directory_of(file);
                    found.insert(source.clone(), SpaceState { spec: spec.clone(), source: Some(source), directory });
                }
            }
        }
        let mut one_each: BTreeMap<Arc<str>, Vec<SpaceState>> = BTreeMap::new();
        for state in found.into_values() {
            one_each.entry(Arc::clone(&state.directory)).or_default().push(state);
        }
        let mut candidates = Vec::new();
        for (directory, mut states) in one_each {
            let served = self.served_in(&directory).and_then(|served| served.source.as_ref());
            let first = states.iter().position(|state| {
                state.source.as_ref().map(|source| &source.file) == served.map(|source| &source.file)
            });
            let holder = states.remove(first.unwrap_or(0));
            for (source, holding) in
                states.iter().filter_map(|state| Some((state.source.as_ref()?, holder.source.as_ref()?)))
            {
                findings.faults.push(source.fault(
                    "space",
                    format!("this directory is a space already ({holding})"),
                    "move it to a directory of its own".to_owned(),
                ));
            }
            candidates.push(holder);
        }
        candidates
    }

    /// Keeps the spaces whose document is gone while apps live in them.
    fn retain_lived_in(
        &self,
        files: &HashMap<Arc<str>, File>,
        candidates: &mut Vec<SpaceState>,
        findings: &mut Findings,
    ) {
        for state in self.served.values() {
            let Some(source) = &state.source else { continue };
            if candidates.iter().any(|candidate| candidate.directory == state.directory) {
                continue;
            }
            let is_lived_in = files.iter().any(|(file, content)| {
                let nearest = ancestors(file).find(|directory| {
                    **directory == *state.directory
                        || candidates.iter().any(|candidate| *candidate.directory == **directory)
                });
                nearest == Some(&*state.directory) && has_apps(content)
            });
            if is_lived_in {
                findings.faults.push(source.fault(
                    "space",
                    format!("the document of the space {} is gone, and apps live in it", state.spec.name.value),
                    "put it back, or remove the apps too; its last good version stays until then".to_owned(),
                ));
                candidates.push(state.clone());
            }
        }
    }

    /// Gives each space its number: the one it had, else the lowest that is free.
    fn number(&mut self, accepted: Vec<SpaceState>, directories: BTreeMap<Arc<str>, Option<SpaceId>>) {
        let before: BTreeMap<String, SpaceId> =
            self.served.iter().map(|(id, state)| (state.spec.name.value.clone(), *id)).collect();
        self.directories = directories;
        self.served.clear();
        let (known, new): (Vec<_>, Vec<_>) =
            accepted.into_iter().partition(|state| before.contains_key(&state.spec.name.value));
        for state in known.into_iter().chain(new) {
            let had = before.get(&state.spec.name.value).copied();
            // A number just given up is not given out in the same breath: claims are kept by number.
            let is_free = |id: &SpaceId| !self.served.contains_key(id) && !before.values().any(|taken| taken == id);
            let id = had.or_else(|| (0..SpaceId::MAX).find(is_free));
            if let Some(id) = id {
                self.directories.insert(Arc::clone(&state.directory), Some(id));
                self.served.insert(id, state);
            }
        }
    }

    fn served_in(&self, directory: &str) -> Option<&SpaceState> {
        self.served.values().find(|state| state.source.is_some() && *state.directory == *directory)
    }
}

fn has_apps(content: &File) -> bool {
    content.documents.has_apps()
}

fn directory_of(file: &str) -> Arc<str> {
    ancestors(file).next().unwrap_or_default().into()
}

/// The directories above a file, nearest first, down to the spec directory itself, which is the empty path.
pub fn ancestors(file: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(file), |path| {
        if path.is_empty() { None } else { Some(path.rsplit_once('/').map_or("", |(directory, _)| directory)) }
    })
    .skip(1)
}

fn default_space() -> SpaceState {
    fn at<T>(value: T) -> At<T> {
        At { value, place: Place::START }
    }
    let name = |text: &str| text.parse::<Name>().unwrap_or_else(|_| Name::root());
    let cidrs = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];
    let spec = SpaceSpec {
        name: at(DEFAULT_SPACE.to_owned()),
        cidrs: cidrs.iter().filter_map(|cidr| cidr.parse().ok()).map(at).collect(),
        instances: Vec::new(),
        router: Vec::new(),
        internal_routing: false,
        app_domains: vec![at(AppDomain { name: name("herokuapp.com"), own: Own::Overlay })],
        discovery_domains: vec![at(name("app.localspace"))],
        peers: Vec::new(),
        ttl: 5,
        negative_ttl: 2,
        ns: Vec::new(),
    };
    SpaceState { spec, source: None, directory: Arc::from("") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_end_at_the_spec_directory() {
        assert_eq!(ancestors("a/b/c.yaml").collect::<Vec<_>>(), ["a/b", "a", ""]);
        assert_eq!(ancestors("c.yaml").collect::<Vec<_>>(), [""]);
    }
}
