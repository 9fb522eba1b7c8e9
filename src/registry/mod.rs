//! What *is*: spaces, apps, components and instances at a moment, made of the accepted documents of every file.
//!
//! The registry is documents plus explicit **claims**: who holds a contested name, which app was created internally
//! routed, which numbers were once registered, which names were there until a while ago. Equal documents and claims give
//! equal states; nothing else is remembered, but for two seconds which apps were just created. Time is an argument, and all that
//! waits for it stands in one queue.
//!
//! A change is taken in as a batch, so that the order of files in it decides nothing. The batch says which apps, names
//! and addresses it touched; only these are resolved again (`apps`), and the compiler is told the same. Keeping every
//! resolved app was tried on paper and dropped: it is a second copy of the documents, and resolving one takes microseconds.
//!
//! - `spaces`: which directory is which space (design §2.1).
//! - `apps`: one app from all that says something of it (§2.2 to §2.4).
//! - `claims`: who holds what when two want it (§2.5).
//! - `settle`: what a change touched, resolved again.
//! - `saved`: what is to outlive the process, and a registry made of it again.
//! - `health`: what readiness checks say, which no document does.

mod addresses;
mod apps;
mod claims;
mod deadlines;
mod few;
mod files;
mod gather;
mod health;
mod ids;
mod names;
mod numbers;
mod room;
mod saved;
mod settle;
mod spaces;
mod state;
#[cfg(test)]
mod tests;
mod timestamp;
mod topology;
mod without;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use health::{AllUnhealthy, Check, Health, Judgement, Reason, UnreadyInstance, Verdict};
pub use saved::{AppClaims, FileClaims, Saved, SavedFile, SpaceClaims, TombstoneClaim};
pub use settle::{Alone, Hands, Made};
pub use spaces::{DEFAULT_SPACE, SpaceState, ancestors};
// Words of the documents that a state is told in.
pub use crate::spec::{Audience, ComponentKind, Own};
pub use state::{AppState, ComponentState, InstanceState, OwnerKind, OwnerState, Standing};
pub use timestamp::Timestamp;

use crate::name::{Label, Name};
use crate::spec::{Documents, Fault, Place};
use addresses::Addresses;
use claims::Claims;
use deadlines::{Deadline, Deadlines};
use few::Few;
use health::Checks;
use ids::{Apps, Ids};
use numbers::Numbers;
use room::keep_room;
use spaces::Spaces;

/// A space's number; stable while the space exists.
pub type SpaceId = u16;
/// An app's number; stable while the app exists.
pub type AppId = u32;

/// A moment, as the caller read it: this module reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, since some start: what leases and tombstones run on.
    pub monotonic: Duration,
    /// The wall clock in seconds since 1970: for the words of messages only.
    pub wall: u64,
}

/// What happened to one file.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The path relative to the spec directory, `/` between its parts.
    pub file: Arc<str>,
    /// Its accepted documents; `None` when the file is gone.
    pub content: Option<FileContent>,
}

/// The accepted documents of a file.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// The documents, from a reading without faults.
    pub documents: Documents,
    /// When the file was written, in nanoseconds since 1970: decides between two registrations at a cold start.
    pub modified: u128,
}

/// A fault that shows only when files are held against each other; it concerns a name, not the rest of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFault {
    /// The file to mend.
    pub file: Arc<str>,
    /// What is wrong in it; names the other file.
    pub fault: Fault,
}

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The file.
    pub file: Arc<str>,
    /// The place in it.
    pub place: Place,
}

impl Source {
    fn fault(&self, field: &str, fault: String, remedy: String) -> FileFault {
        FileFault {
            file: Arc::clone(&self.file),
            fault: Fault { place: self.place, field: field.to_owned(), fault, remedy },
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.place)
    }
}

/// What a change touched, for the compiler: all that may differ, and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Whether any space came, went or changed.
    pub spaces: bool,
    /// Whether callers' ranges changed: spaces, peers, LANs.
    pub ranges: bool,
    /// The apps.
    pub apps: BTreeSet<AppId>,
    /// The names that changed hands, came or went.
    pub names: BTreeSet<(SpaceId, Name)>,
    /// The instance addresses that changed hands, came or went.
    pub addresses: BTreeSet<IpAddr>,
    /// The files whose leases ran out, or were renewed after that.
    pub leases: BTreeSet<Arc<str>>,
}

impl Touched {
    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Touches what `other` did as well.
    pub fn extend(&mut self, other: Self) {
        self.spaces |= other.spaces;
        self.ranges |= other.ranges;
        join(&mut self.apps, other.apps);
        join(&mut self.names, other.names);
        join(&mut self.addresses, other.addresses);
        join(&mut self.leases, other.leases);
    }
}

/// Adds one set to another: a large one is merged, a small one put in piece by piece.
fn join<T: Ord>(set: &mut BTreeSet<T>, mut other: BTreeSet<T>) {
    if other.len() > set.len() / 16 { set.append(&mut other) } else { set.extend(other) }
}

/// What is, made of the documents of every file.
#[derive(Debug)]
pub struct Registry {
    tombstone: Duration,
    /// Counts batches: a file seen in a later one is newer.
    batch: u64,
    now: Now,
    files: HashMap<Arc<str>, File>,
    spaces: Spaces,
    /// Boxed: a tree that was filled in order has half its places free.
    apps: Apps,
    app_ids: Ids,
    free_ids: BTreeSet<AppId>,
    names: Claims<(SpaceId, Name)>,
    lans: Claims<ipnet::IpNet>,
    addresses: Addresses,
    tombstones: BTreeMap<(SpaceId, Name), Tombstone>,
    checks: Checks,
    deadlines: Deadlines,
    /// The apps created a moment ago of which nothing said whether they are internally routed, and when; at most [`CREATIONS_MAX`].
    creations: BTreeMap<AppId, Duration>,
    /// Only what has any; by what it concerns.
    faults: BTreeMap<Concern, Findings>,
    /// Counts changes of `faults`.
    fault_changes: u64,
}

#[derive(Debug)]
struct File {
    documents: Documents,
    /// When these documents were written, in nanoseconds since 1970; a renewal leaves it as it is.
    modified: u64,
    /// The batch that brought these documents.
    seen: u64,
    /// Where there are any.
    leases: Option<Box<Leases>>,
}

/// The leases in a file.
#[derive(Debug)]
struct Leases {
    /// How long they are, each once.
    lengths: Box<[Duration]>,
    /// When the file was last written or touched.
    renewed: Duration,
    /// Those that have run out since, and the wall clock at that moment.
    lapsed: BTreeMap<Duration, u64>,
    deadline: Option<Duration>,
}

/// All that is known of one app besides the documents themselves.
#[derive(Debug, Clone)]
struct AppEntry {
    space: SpaceId,
    label: Label,
    /// Who says something of it, by path and place in the file.
    contributions: Few<Contribution>,
    /// Whether it was created internally routed; `None` while nothing declares it.
    created_routed: Option<bool>,
    /// Whether anything ever declared it.
    ever_declared: bool,
    /// The numbers once registered, by component and in its order.
    numbers: Box<[(Label, Numbers)]>,
    /// The names that it wants.
    wanted: Box<[OwnerState]>,
    /// What most apps have nothing of.
    rare: Option<Box<Rare>>,
}

/// What an app has that is only registered has not; apart, as there may be a hundred thousand of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rare {
    /// The file of the app spec being served.
    declared_by: Option<Arc<str>>,
    /// When the app's numbers are forgotten, because nothing names it any more.
    forget_at: Option<Duration>,
    /// The LANs that it wants.
    lans: Box<[(ipnet::IpNet, Source)]>,
}

/// One document, or one app of a topology, that says something of an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Contribution {
    file: Arc<str>,
    document: u32,
    part: u32,
}

/// When a file's documents are entered with the apps they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Now,
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tombstone {
    kind: OwnerKind,
    until: Duration,
}

/// What a finding concerns; findings are replaced as a whole when it is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Concern {
    Spaces,
    File(Arc<str>),
    App(AppId),
    Name(SpaceId, Name),
    Lan(ipnet::IpNet),
    Address(AppId, Label, u32),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    faults: Vec<FileFault>,
    warnings: Vec<FileFault>,
}

/// The most numbers of one component that are remembered after their registrations went.
const NUMBERS_MAX: usize = 1_000;
/// For how long an app is being created: what its files say first comes one file after the other, and each may take half a second to
/// be left alone and a second to stand.
const CREATION: Duration = Duration::from_secs(2);
/// The most apps of which is known that they are being created. More come together, with all that is said of them.
const CREATIONS_MAX: usize = 1_000;
/// The most tombstones kept; beyond it the one that would end first goes.
const TOMBSTONES_MAX: usize = 1_000_000;

impl Registry {
    /// Makes an empty registry; removed hostnames stay NXDOMAIN for `tombstone`.
    #[must_use]
    pub fn new(tombstone: Duration) -> Self {
        Self {
            tombstone,
            batch: 0,
            now: Now { monotonic: Duration::ZERO, wall: 0 },
            files: HashMap::new(),
            spaces: Spaces::new(),
            apps: Apps::new(),
            app_ids: Ids::default(),
            free_ids: BTreeSet::new(),
            names: Claims::new(),
            lans: Claims::new(),
            addresses: Addresses::new(),
            tombstones: BTreeMap::new(),
            checks: Checks::default(),
            deadlines: Deadlines::new(),
            creations: BTreeMap::new(),
            faults: BTreeMap::new(),
            fault_changes: 0,
        }
    }

    /// Takes in what happened to files, as one batch: their order decides nothing.
    ///
    /// A file whose documents are the same as before is a renewal of its leases and touches nothing else.
    pub fn apply(&mut self, changes: Vec<FileChange>, now: Now) -> Touched {
        self.apply_by(&Alone, changes, now).0
    }

    /// As [`apply`](Self::apply), by all `hands`; yields what they made of the apps that were touched, where it holds.
    pub fn apply_by<H: Hands>(
        &mut self,
        hands: &H,
        mut changes: Vec<FileChange>,
        now: Now,
    ) -> (Touched, Made<H::Made>) {
        self.now = now;
        self.batch += 1;
        let mut touched = Touched { spaces: self.batch == 1, ranges: self.batch == 1, ..Touched::default() };
        self.end_creations(&mut touched);
        // Of two changes of one file the last holds.
        changes.sort_by(|a, b| a.file.cmp(&b.file));
        let mut changed: Vec<(Arc<str>, Option<FileContent>)> = Vec::with_capacity(changes.len());
        for FileChange { file, content } in changes {
            match content {
                Some(content) if self.files.get(&file).is_some_and(|old| old.documents == content.documents) => {
                    self.grant(&file, &mut touched);
                }
                content => {
                    changed.pop_if(|(last, _)| *last == file);
                    changed.push((file, content));
                }
            }
        }
        let spaces_changed = self.batch == 1
            || (self.spaces.has_retained() && changed.iter().any(|(_, content)| content.is_none()))
            || changed.iter().any(|(file, content)| self.concerns_spaces(file, content.as_ref()));
        // Where spaces change, settling them enters every file anew: to enter these before would be for nothing.
        let entry = if spaces_changed { Entry::Later } else { Entry::Now };
        if self.files.is_empty() {
            self.files.reserve(changed.len());
        }
        for (file, content) in changed {
            self.replace(file, content, entry, &mut touched);
        }
        if spaces_changed {
            self.settle_spaces(&mut touched);
        }
        let made = self.settle_moved(claims::Moved::default(), &mut touched, hands);
        self.keep_room();
        (touched, made)
    }

    /// Keeps what has an entry for each file, name or address from growing where these only come and go.
    fn keep_room(&mut self) {
        keep_room(&mut self.files);
        self.names.keep_room();
        self.addresses.keep_room();
    }

    /// Lets time pass: leases and tombstones run out.
    pub fn advance(&mut self, now: Now) -> Touched {
        self.now = now;
        let mut touched = Touched::default();
        while let Some((at, deadline)) = self.deadlines.pop(now.monotonic) {
            match deadline {
                Deadline::Lease(file) => self.lapse(&file, at, &mut touched),
                Deadline::Tombstone(space, name) => {
                    self.tombstones.remove(&(space, name.clone()));
                    touched.names.insert((space, name));
                }
                Deadline::Creation(app) => {
                    self.creations.remove(&app);
                    touched.apps.insert(app);
                }
                Deadline::Forget(app) => {
                    if let Some(entry) = self.apps.get_mut(&app) {
                        entry.numbers = Box::default();
                        entry.change_rare(|rare| rare.forget_at = None);
                        touched.apps.insert(app);
                    }
                }
            }
        }
        self.settle(&mut touched);
        touched
    }

    /// The monotonic moment at which [`advance`](Self::advance) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadlines.first()
    }

    /// Every fault between files, by file and place.
    #[must_use]
    pub fn faults(&self) -> Vec<FileFault> {
        sorted(self.faults.values().flat_map(|findings| &findings.faults))
    }

    /// The faults between one file and others, by place.
    #[must_use]
    pub fn faults_of(&self, file: &str) -> Vec<FileFault> {
        let faults = self.faults.values().flat_map(|findings| &findings.faults);
        sorted(faults.filter(|found| *found.file == *file))
    }

    /// How often [`faults`](Self::faults) and [`warnings`](Self::warnings) may have changed: where this has not, they have not.
    #[must_use]
    pub const fn fault_changes(&self) -> u64 {
        self.fault_changes
    }

    /// The warnings between one file and others, or within it, by place.
    #[must_use]
    pub fn warnings_of(&self, file: &str) -> Vec<FileFault> {
        let warnings = self.faults.values().flat_map(|findings| &findings.warnings);
        sorted(warnings.filter(|found| *found.file == *file))
    }

    /// Every warning that needs more than one file to see, by file and place.
    #[must_use]
    pub fn warnings(&self) -> Vec<FileFault> {
        sorted(self.faults.values().flat_map(|findings| &findings.warnings))
    }

    /// As if everything had just been touched: what a compiler that starts from nothing is told.
    #[must_use]
    pub fn everything(&self) -> Touched {
        Touched {
            spaces: true,
            ranges: true,
            apps: self.apps.keys().copied().collect(),
            names: self.names.iter().map(|(key, _)| key.clone()).chain(self.tombstones.keys().cloned()).collect(),
            addresses: self.addresses.iter().collect(),
            leases: BTreeSet::new(),
        }
    }

    /// The spaces, with their numbers.
    pub fn spaces(&self) -> impl Iterator<Item = (SpaceId, &SpaceState)> {
        self.spaces.iter()
    }

    /// The space with this number.
    #[must_use]
    pub fn space(&self, id: SpaceId) -> Option<&SpaceState> {
        self.spaces.at(id)
    }

    /// Every app's number.
    pub fn app_ids(&self) -> impl Iterator<Item = AppId> + '_ {
        self.apps.keys().copied()
    }

    /// The app called `label` in `space`.
    #[must_use]
    pub fn app_named(&self, space: SpaceId, label: &Label) -> Option<AppId> {
        self.app_ids.find(space, label, &self.apps)
    }

    /// Every app's number, space and name, without resolving the app.
    pub fn app_names(&self) -> impl Iterator<Item = (AppId, SpaceId, &Label)> {
        self.apps.iter().map(|(id, entry)| (*id, entry.space, &entry.label))
    }

    /// When the next lease in a file runs out; the monotonic clock.
    #[must_use]
    pub fn lease_end(&self, file: &str) -> Option<Duration> {
        self.files.get(file)?.leases.as_ref()?.deadline
    }

    /// The space that an app is in, without resolving the app.
    #[must_use]
    pub fn space_of(&self, id: AppId) -> Option<SpaceId> {
        Some(self.apps.get(&id)?.space)
    }

    /// An app as it is now, resolved from its documents and claims.
    #[must_use]
    pub fn app(&self, id: AppId) -> Option<AppState> {
        Some(self.resolve(id, self.apps.get(&id)?).0)
    }

    /// Who holds a hostname, a DNS target, a custom domain or a wildcard.
    #[must_use]
    pub fn name_holder(&self, space: SpaceId, name: &Name) -> Option<AppId> {
        self.names.holder(&(space, name.clone()))
    }

    /// What a name was to the app that held it, if that app was removed a short while ago.
    #[must_use]
    pub fn tombstone(&self, space: SpaceId, name: &Name) -> Option<OwnerKind> {
        self.tombstones.get(&(space, name.clone())).map(|tombstone| tombstone.kind)
    }

    /// The apps that hold an instance address, in byte order of their names, each with component and number.
    #[must_use]
    pub fn address_holders(&self, address: IpAddr) -> Vec<(AppId, Label, u32)> {
        let mut holders = self.addresses.holders(address);
        holders.sort_by_key(|(app, component, number)| {
            (self.apps.get(app).map(|entry| &entry.label), component.clone(), *number)
        });
        holders.dedup_by_key(|(app, ..)| *app);
        holders
    }

    /// Every LAN, with the app that holds it.
    pub fn lans(&self) -> impl Iterator<Item = (ipnet::IpNet, AppId)> + '_ {
        self.lans.iter().map(|(network, app)| (*network, app))
    }

    /// Where the app that holds a LAN says so.
    #[must_use]
    pub fn lan_source(&self, network: ipnet::IpNet) -> Option<&Source> {
        let holder = self.apps.get(&self.lans.holder(&network)?)?;
        holder.lans().iter().find(|(wanted, _)| *wanted == network).map(|(_, source)| source)
    }

    fn replace_findings(&mut self, concern: Concern, findings: Findings) {
        if findings.faults.is_empty() && findings.warnings.is_empty() {
            self.forget_findings(&concern);
        } else if self.faults.get(&concern) != Some(&findings) {
            self.faults.insert(concern, findings);
            self.fault_changes += 1;
        }
    }

    fn forget_findings(&mut self, concern: &Concern) {
        if self.faults.remove(concern).is_some() {
            self.fault_changes += 1;
        }
    }
}

impl AppEntry {
    fn new(space: SpaceId, label: Label) -> Self {
        Self {
            space,
            label,
            contributions: Few::new(),
            created_routed: None,
            ever_declared: false,
            numbers: Box::default(),
            wanted: Box::default(),
            rare: None,
        }
    }

    fn declared_by(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.declared_by.as_ref()
    }

    fn forget_at(&self) -> Option<Duration> {
        self.rare.as_ref()?.forget_at
    }

    fn lans(&self) -> &[(ipnet::IpNet, Source)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.lans)
    }

    /// Changes what few apps have, and keeps it where there is any left.
    fn change_rare(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut none = Rare::default();
        let rare = self.rare.as_deref_mut().unwrap_or(&mut none);
        change(rare);
        let is_some = *rare != Rare::default();
        if !is_some {
            self.rare = None;
        } else if self.rare.is_none() {
            self.rare = Some(Box::new(none));
        }
    }

    /// Whether nothing says anything of it and nothing is remembered.
    fn is_gone(&self) -> bool {
        self.contributions.is_empty() && self.numbers.is_empty()
    }
}

fn sorted<'a>(findings: impl Iterator<Item = &'a FileFault>) -> Vec<FileFault> {
    let mut all: Vec<FileFault> = findings.cloned().collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod sizes {
    use super::*;

    /// There may be a hundred thousand of each, and mimalloc has no size between 96 octets and 112.
    #[test]
    fn of_an_app_and_of_a_file_no_word_is_kept_that_few_of_them_need() {
        assert_eq!(size_of::<AppEntry>(), 96);
        assert_eq!(size_of::<File>(), 40);
        assert_eq!(size_of::<Contribution>(), size_of::<Few<Contribution>>());
        assert_eq!(size_of::<(Label, Numbers)>(), 40);
    }
}
