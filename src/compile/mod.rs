//! Registry + previous snapshot → snapshot, by difference.
//!
//! The registry says what a change touched; only that is compiled, and compared with what is there, so that a change that
//! changes nothing makes no snapshot. Everything else is shared with the snapshot before (its tables copy what is written to
//! and nothing else).
//!
//! - `app`: one app's block.
//! - `names`: the table of names outside the discovery domains, with the empty non-terminals above them.
//! - `loss`: what answering would lose, were some files gone.
//!
//! Compiling from nothing is the same code with everything touched: that is what the property test holds it against.

mod app;
mod loss;
mod names;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::loss::Loss;
use self::names::Named;
use crate::name::Name;
use crate::record::Ttl;
use crate::registry::{Alone, AppId, AppState, Hands, Own, Registry, SpaceState, Touched};
use crate::zone::{
    self, AddressSet, Apex, ApexKind, App, Holder, Holders, Lan, NameServer, Paged, Ranges, Rule, Sharing, Snapshot,
    Space, View, app_hash, key_of, loopback, reverse_zones,
};

/// Keeps what is needed to compile by difference.
#[derive(Debug, Default)]
pub struct Compiler {
    ancestors: names::Ancestors,
}

impl Compiler {
    /// Makes a compiler that has compiled nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a compiler that goes on from a snapshot that another one compiled, in another process perhaps; says what is in it.
    ///
    /// Compiling what is in it and what is in the registry gives `None` where the two are the same.
    #[must_use]
    pub fn resume(snapshot: &Snapshot) -> (Self, Touched) {
        let mut compiler = Self::new();
        let mut touched = Touched { spaces: true, ranges: true, ..Touched::default() };
        touched.apps = snapshot.apps.iter().map(|(id, _)| id).collect();
        touched.addresses = snapshot.holders.values().map(|holder| holder.ip()).collect();
        compiler.ancestors.resume(snapshot, &mut touched.names);
        (compiler, touched)
    }

    /// Compiles what `touched` names and shares the rest with `previous`; `None` when what is served would be the same.
    ///
    /// `previous` must be what this compiler compiled last, or [`Snapshot::starting`]. Generation, serial and readiness are the
    /// publisher's: they are copied from `previous`.
    #[must_use]
    pub fn compile(&mut self, registry: &Registry, touched: &Touched, previous: &Snapshot) -> Option<Snapshot> {
        self.compile_blocks(&Alone, registry, touched, (previous, Vec::new()))
    }

    /// As [`compile`](Self::compile), with the [`Block`]s of the apps that were touched, in their order: who has many of them made in
    /// several threads. Those that are missing are made here. What names lead to and who holds addresses is found by both `hands`.
    #[must_use]
    pub fn compile_blocks<H: Hands>(
        &mut self,
        hands: &H,
        registry: &Registry,
        touched: &Touched,
        (previous, blocks): (&Snapshot, impl IntoIterator<Item = Block>),
    ) -> Option<Snapshot> {
        let mut blocks = blocks.into_iter();
        let mut next = previous.clone();
        let mut changed = false;
        if touched.spaces {
            changed |= compile_spaces(registry, &mut next);
        }
        // Lists and no sets: at a start most of what is in them is added twice, in an order that is nearly theirs.
        let mut addresses: Vec<IpAddr> = touched.addresses.iter().copied().collect();
        let mut names: Vec<(u16, Name)> = touched.names.iter().cloned().collect();
        for id in &touched.apps {
            let new = blocks.next().unwrap_or_else(|| block(registry, *id));
            changed |= compile_app((*id, new), previous, &mut next, &mut addresses, &mut names);
        }
        let Snapshot { apps, names: entries, loose, holders, .. } = &mut next;
        let apps = &*apps;
        let count = addresses.len().min(names.len());
        let renamed = || {
            names.sort();
            names.dedup();
            self.compile_names(registry, &names, previous, Named { apps, entries, loose })
        };
        let moved = || {
            addresses.sort();
            addresses.dedup();
            addresses.into_iter().fold(false, |changed, it| changed | compile_address(registry, it, apps, holders))
        };
        let (renamed, moved) = hands.both(count, renamed, moved);
        changed |= renamed | moved;
        if touched.ranges {
            let ranges = compile_ranges(registry);
            if *next.ranges != ranges {
                next.ranges = Arc::new(ranges);
                changed = true;
            }
        }
        changed.then_some(next)
    }
}

/// One app as it is served; `None` where there is none.
pub type Block = Option<Arc<App>>;

/// Makes the block of one app; it depends on no other's.
#[must_use]
pub fn block(registry: &Registry, id: AppId) -> Block {
    let state = registry.app(id)?;
    block_of(&state, registry.space(state.space)?)
}

/// The same of an app that is resolved already.
#[must_use]
pub fn block_of(app: &AppState, space: &SpaceState) -> Block {
    Some(Arc::new(app::compile(app, space)))
}

fn compile_spaces(registry: &Registry, next: &mut Snapshot) -> bool {
    let count = registry.spaces().map(|(id, _)| usize::from(id) + 1).max().unwrap_or(0);
    let mut spaces: Vec<Option<Arc<Space>>> = vec![None; count];
    for (id, state) in registry.spaces() {
        if let Some(place) = spaces.get_mut(usize::from(id)) {
            *place = Some(Arc::new(compile_space(state)));
        }
    }
    if *spaces == *next.spaces {
        return false;
    }
    next.spaces = spaces.into();
    true
}

fn compile_space(state: &SpaceState) -> Space {
    let spec = &state.spec;
    let discovery = spec.discovery_domains.iter().map(|domain| (&domain.value, ApexKind::Discovery));
    let exclusive = spec.app_domains.iter().filter(|domain| domain.value.own == Own::Exclusive);
    let hostnames = exclusive.map(|domain| (&domain.value.name, ApexKind::Hostnames));
    let mut apexes: Vec<Apex> = discovery
        .chain(hostnames)
        .map(|(name, kind)| Apex { name: name.clone(), labels: name.label_count(), kind })
        .collect();
    apexes.sort_by(|a, b| b.labels.cmp(&a.labels).then_with(|| a.name.cmp(&b.name)));
    apexes.dedup_by(|a, b| a.name == b.name);
    let mut reverse: Vec<Name> = spec.cidrs.iter().flat_map(|cidr| reverse_zones(cidr.value)).collect();
    reverse.sort();
    reverse.dedup();
    let mut ns: Vec<NameServer> = spec
        .ns
        .iter()
        .map(|ns| {
            let addresses = AddressSet::new(ns.value.addresses.iter().copied());
            NameServer { name: ns.value.name.clone(), v4: addresses.v4().into(), v6: addresses.v6().into() }
        })
        .collect();
    if ns.is_empty() {
        let localhost = "localhost".parse().unwrap_or_else(|_| Name::root());
        ns.push(NameServer { name: localhost, v4: Box::default(), v6: Box::default() });
    }
    Space {
        name: spec.name.value.as_str().into(),
        ttl: Ttl::from_seconds(spec.ttl),
        negative_ttl: Ttl::from_seconds(spec.negative_ttl),
        router: AddressSet::new(spec.router.iter().map(|address| address.value)),
        apexes: apexes.into(),
        reverse: reverse.into(),
        discovery: spec.discovery_domains.iter().map(|domain| domain.value.clone()).collect(),
        ns: ns.into(),
    }
}

/// Compiles one app and notes which addresses and names to look at: those that it had, and those that it has.
fn compile_app(
    (id, new): (AppId, Block),
    previous: &Snapshot,
    next: &mut Snapshot,
    addresses: &mut Vec<IpAddr>,
    names: &mut Vec<(u16, Name)>,
) -> bool {
    let old = previous.apps.at(id);
    if old == new.as_deref() {
        return false;
    }
    // An entry of a name is a place among the app's owners: where these stay, so does it.
    let renamed = old.map(|app| (app.space, &app.owners)) != new.as_deref().map(|app| (app.space, &app.owners));
    for app in old.into_iter().chain(new.as_deref()) {
        if renamed {
            names.extend(app.owners.iter().map(|owner| (app.space, owner.name.clone())));
        }
        for instance in app.components.iter().flat_map(|component| &component.instances) {
            addresses.extend(instance.held());
        }
    }
    let key = |app: &App| (app.space, app.label.clone());
    if old.map(key) != new.as_deref().map(key) {
        if let Some(old) = old {
            next.app_names.remove(app_hash(old.space, old.label.octets()), id);
        }
        if let Some(new) = &new {
            next.app_names.insert(app_hash(new.space, new.label.octets()), id);
        }
    }
    next.apps.set(id, new);
    true
}

/// Enters who holds an address now. The apps must be compiled already: a holder is a place in them.
fn compile_address(registry: &Registry, address: IpAddr, apps: &Paged<App>, entered: &mut Holders) -> bool {
    let key = key_of(address);
    let holders = registry.address_holders(address);
    let new = holders.first().and_then(|(id, label, number)| {
        let (component, found) = apps.at(*id)?.component(label.octets())?;
        let (instance, _) = found.instance(*number)?;
        let sharing = if holders.len() > 1 { Sharing::Shared } else { Sharing::Sole };
        Some(Holder { address: key, app: *id, component, instance, sharing })
    });
    let old = entered.find(key);
    if old == new {
        return false;
    }
    if let Some(old) = old {
        entered.remove(old);
    }
    if let Some(new) = new {
        entered.insert(new);
    }
    true
}

fn compile_ranges(registry: &Registry) -> Ranges {
    let mut rules = Vec::new();
    for (network, app) in registry.lans() {
        if let Some(space) = registry.space_of(app) {
            rules.push(Rule { network, rank: 0, view: View { space, lan: Lan::App(app) } });
        }
    }
    for (space, state) in registry.spaces() {
        let view = View { space, lan: Lan::None };
        rules.extend(state.spec.cidrs.iter().map(|cidr| Rule { network: cidr.value, rank: 1, view }));
        rules.extend(state.spec.peers.iter().map(|peer| Rule { network: peer.value.cidr, rank: 2, view }));
    }
    // Who is on this machine is a peer, where there is one space to be a peer of (design §3).
    let mut spaces = registry.spaces();
    if let (Some((space, _)), None) = (spaces.next(), spaces.next()) {
        rules.extend(loopback(View { space, lan: Lan::None }));
    }
    Ranges::flatten(&rules)
}

/// Everything a snapshot serves, by name instead of by number: two snapshots are equal when these are.
///
/// Numbers of apps and loose names depend on the order of changes and mean nothing outside their snapshot.
#[must_use]
pub fn canonical(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let label = |id: u32| snapshot.apps.at(id).map(|app| app.label.to_string()).unwrap_or_default();
    let space = |id: u16| snapshot.space(id).map(|space| space.name.to_string()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for found in snapshot.spaces.iter().flatten() {
        all.insert(format!("space {}", found.name), format!("{found:?}"));
    }
    for (id, app) in snapshot.apps.iter() {
        let reached = snapshot.app_named(app.space, app.label.octets()).map(|(found, _)| found == id);
        let App { space: at, label, audience, gate, owners, components } = app;
        all.insert(
            format!("app {}/{label}", space(*at)),
            format!("{reached:?} {audience:?} {gate:?} {owners:?} {components:?}"),
        );
    }
    for entry in snapshot.names.values() {
        let (at, name, what) = match entry {
            zone::NameEntry::Owner { app, owner } => {
                let Some(app) = snapshot.apps.at(app) else { continue };
                let name = app.owners.get(usize::from(owner)).map(|owner| owner.name.to_string());
                (app.space, name.unwrap_or_default(), format!("held by {}", app.label))
            }
            zone::NameEntry::EmptyNonTerminal(loose) | zone::NameEntry::Tombstone(loose) => {
                let Some(found) = snapshot.loose.at(loose) else { continue };
                let what = if matches!(entry, zone::NameEntry::Tombstone(_)) { "tombstone" } else { "empty" };
                (found.space, found.name.to_string(), format!("{what} {:?}", found.types))
            }
        };
        // Two entries for one name would show as a longer value.
        all.entry(format!("name {}/{name}", space(at))).or_insert_with(String::new).push_str(&what);
    }
    for holder in snapshot.holders.values() {
        let Holder { address, app, component, instance, sharing } = holder;
        let what = format!("{} {component} {instance} {sharing:?}", label(app));
        all.entry(format!("address {address:x}")).or_insert_with(String::new).push_str(&what);
    }
    let view = |view: View| match view.lan {
        Lan::App(app) => format!("{}/{}", space(view.space), label(app)),
        lan => format!("{}/{lan:?}", space(view.space)),
    };
    for (first, last, shown) in snapshot.ranges.iter() {
        all.insert(format!("range {first:032x}"), format!("{last:032x} {}", view(shown)));
    }
    all
}
