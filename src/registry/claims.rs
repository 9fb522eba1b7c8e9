//! Who holds a name or a LAN that several apps want: the one that has it keeps it (design §2.5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{Identity, Settled};
use super::deadlines::Deadline;
use super::few::Few;
use super::names::owner_called;
use super::{AppId, AppState, Concern, Findings, OwnerKind, Registry, SpaceId, TOMBSTONES_MAX, Tombstone, Touched};
use crate::name::Name;

/// Who wants each key, and who has it.
#[derive(Debug)]
pub(super) struct Claims<K> {
    claims: HashMap<K, Claim>,
}

#[derive(Debug, Default)]
struct Claim {
    holder: Option<AppId>,
    /// Everyone who wants it, the holder included.
    wanting: Few<AppId>,
}

/// Keys whose claims are to be decided again.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) names: BTreeSet<(SpaceId, Name)>,
    pub(super) lans: BTreeSet<IpNet>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Names that their holder gave up, and what they were to it.
    pub(super) given_up: BTreeMap<(SpaceId, Name), OwnerKind>,
}

impl<K: Eq + Hash> Claims<K> {
    pub(super) fn new() -> Self {
        Self { claims: HashMap::new() }
    }

    pub(super) fn holder(&self, key: &K) -> Option<AppId> {
        self.claims.get(key)?.holder
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, AppId)> {
        self.claims.iter().filter_map(|(key, claim)| Some((key, claim.holder?)))
    }

    pub(super) fn want(&mut self, key: K, app: AppId) {
        self.claims.entry(key).or_default().wanting.insert(app);
    }

    /// Gives a key to an app that had it before the process was started; it keeps it if it wants it.
    pub(super) fn grant(&mut self, key: K, app: AppId) {
        self.claims.entry(key).or_default().holder = Some(app);
    }

    /// Whoever wants a key no longer does; who has it is decided by [`settle`](Self::settle).
    pub(super) fn forgo(&mut self, key: &K, app: AppId) {
        if let Some(claim) = self.claims.get_mut(key) {
            claim.wanting.remove(&app);
        }
    }

    /// Decides who has `key`: who had it, else the first by `rank`. Yields who had it before and everyone who wants it.
    fn settle<R: Ord>(&mut self, key: &K, rank: impl Fn(AppId) -> R) -> (Option<AppId>, Option<AppId>, Vec<AppId>) {
        let Some(claim) = self.claims.get_mut(key) else { return (None, None, Vec::new()) };
        let before = claim.holder;
        if !before.is_some_and(|holder| claim.wanting.contains(&holder)) {
            claim.holder = claim.wanting.iter().copied().min_by_key(|app| rank(*app));
        }
        let after = claim.holder;
        let wanting = claim.wanting.iter().copied().collect::<Vec<_>>();
        if wanting.is_empty() {
            self.claims.remove(key);
        }
        (before, after, wanting)
    }
}

impl Registry {
    /// Decides who has a name; whoever gains or loses it is touched.
    pub(super) fn settle_name(&mut self, key: (SpaceId, Name), touched: &mut Touched) {
        let apps = &self.apps;
        let source_of = |app: AppId| owner_called(&apps.get(&app)?.wanted, &key.1).map(|owner| owner.source.clone());
        let (before, after, wanting) = self.names.settle(&key, source_of);
        let mut findings = Findings::default();
        if let Some(holding) = after.and_then(source_of) {
            for source in wanting.iter().filter(|app| Some(**app) != after).filter_map(|app| source_of(*app)) {
                findings.faults.push(source.fault(
                    "",
                    format!("{} is held by another app already ({holding})", key.1),
                    "remove it from one of the two files; the one being served keeps it".to_owned(),
                ));
            }
        }
        self.replace_findings(Concern::Name(key.0, key.1.clone()), findings);
        if before == after {
            return;
        }
        touched.apps.extend(before.into_iter().chain(after).filter(|app| self.apps.contains_key(app)));
        if after.is_some()
            && let Some(tombstone) = self.tombstones.remove(&key)
        {
            self.deadlines.withdraw(Some(tombstone.until), Deadline::Tombstone(key.0, key.1.clone()));
        }
        touched.names.insert(key);
    }

    /// Remembers a name that its app gave up, so that it does not take the public route at once (design §4.3).
    pub(super) fn bury(&mut self, key: &(SpaceId, Name), kind: OwnerKind) {
        let overlay = self.spaces.at(key.0).is_some_and(|state| !state.owns_whole(&key.1));
        if self.tombstone.is_zero() || !overlay || self.names.holder(key).is_some() {
            return;
        }
        let until = self.now.monotonic.saturating_add(self.tombstone);
        if self.tombstones.len() >= TOMBSTONES_MAX && !self.tombstones.contains_key(key) {
            let first = self.tombstones.iter().min_by_key(|(_, tombstone)| tombstone.until).map(|(key, _)| key.clone());
            if let Some(tombstone) = first.as_ref().and_then(|first| self.tombstones.remove(first))
                && let Some((space, name)) = first
            {
                self.deadlines.withdraw(Some(tombstone.until), Deadline::Tombstone(space, name));
            }
        }
        self.tombstones.insert(key.clone(), Tombstone { kind, until });
        self.deadlines.set(until, Deadline::Tombstone(key.0, key.1.clone()));
    }

    /// Decides who has a LAN.
    pub(super) fn settle_lan(&mut self, network: IpNet, touched: &mut Touched) {
        let apps = &self.apps;
        let source_of = |app: AppId| {
            apps.get(&app)?.lans.iter().find(|(wanted, _)| *wanted == network).map(|(_, source)| source.clone())
        };
        let (before, after, wanting) = self.lans.settle(&network, source_of);
        let mut findings = Findings::default();
        if let Some(holding) = after.and_then(source_of) {
            for source in wanting.iter().filter(|app| Some(**app) != after).filter_map(|app| source_of(*app)) {
                findings.faults.push(source.fault(
                    "lan",
                    format!("{network} is another app's LAN already ({holding})"),
                    "give each app a network of its own; the one being served keeps it".to_owned(),
                ));
            }
        }
        self.replace_findings(Concern::Lan(network), findings);
        if before != after {
            touched.ranges = true;
            touched.apps.extend(before.into_iter().chain(after).filter(|app| self.apps.contains_key(app)));
        }
    }

    /// Reports who lost an address to whom, and touches those whose standing changed.
    pub(super) fn settle_displaced(&mut self, settled: Vec<Settled>, touched: &mut Touched) {
        // An app may lose a thousand addresses at once, and is resolved once for all of them.
        let mut states = BTreeMap::new();
        for Settled { identity, moved } in settled {
            if !moved.is_empty() {
                touched.apps.insert(identity.0);
                touched.addresses.extend(moved);
            }
            self.report_displaced(&identity, &mut states);
        }
    }

    /// States the fault of a registration that lost an address, or takes it back.
    fn report_displaced(&mut self, identity: &Identity, states: &mut BTreeMap<AppId, Option<AppState>>) {
        let mut source_of = |(app, component, number): &Identity| {
            let state = states.entry(*app).or_insert_with(|| self.app(*app)).as_ref()?;
            state.components.get(component)?.instances.get(number)?.source.clone()
        };
        let mut findings = Findings::default();
        if let Some((address, winner)) = self.addresses.displaced(identity)
            && let (Some(loser), Some(holder)) = (source_of(identity), source_of(winner))
        {
            findings.faults.push(loser.fault(
                "address",
                format!("{address} was registered by another app since ({holder}) and is its now"),
                "remove this registration, or write `shared_address: true` in both if they share the address on purpose"
                    .to_owned(),
            ));
        }
        self.replace_findings(Concern::Address(identity.0, identity.1.clone(), identity.2), findings);
    }
}
