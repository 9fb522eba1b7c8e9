//! Who holds a name or a LAN that several apps want: the one that has it keeps it (design §2.5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{Identity, Settled};
use super::deadlines::Deadline;
use super::few::Few;
use super::names::owner_called;
use super::room::{keep_room, make_room};
use super::{AppId, AppState, Concern, Findings, OwnerKind, Registry, SpaceId, TOMBSTONES_MAX, Tombstone, Touched};
use crate::name::Name;

/// Who wants each key, and who has it.
#[derive(Debug)]
pub(super) struct Claims<K> {
    claims: HashMap<K, Claim>,
    /// Those that are more than the word of one app.
    contests: HashMap<K, Contest>,
}

/// A claim. Nearly every key is wanted by one app, which has it: two words say that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// One app wants it, and nobody has it yet.
    Wanted(AppId),
    /// One app wants it and has it.
    Held(AppId),
    /// Anything else, which is among the contests.
    Contested,
}

#[derive(Debug, Default)]
struct Contest {
    holder: Option<AppId>,
    /// Everyone who wants it, the holder included.
    wanting: Few<AppId>,
}

/// Keys whose claims are to be decided again.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// In any order, and some of them more than once.
    pub(super) names: Vec<(SpaceId, Name)>,
    pub(super) lans: BTreeSet<IpNet>,
    /// Likewise.
    pub(super) addresses: Vec<IpAddr>,
    /// Names that their holder gave up, and what they were to it.
    pub(super) given_up: BTreeMap<(SpaceId, Name), OwnerKind>,
    /// Apps whose creation had not ended: what they give up was never theirs.
    pub(super) begun: BTreeSet<AppId>,
}

impl<K: Clone + Eq + Hash> Claims<K> {
    pub(super) fn new() -> Self {
        Self { claims: HashMap::new(), contests: HashMap::new() }
    }

    /// Makes room for what is in nobody's claims yet, if this is most of what there will be.
    pub(super) fn reserve(&mut self, count: usize) {
        make_room(&mut self.claims, count);
    }

    /// Keeps it from growing where claims only come and go.
    pub(super) fn keep_room(&mut self) {
        keep_room(&mut self.claims);
    }

    pub(super) fn holder(&self, key: &K) -> Option<AppId> {
        self.holder_by(key, *self.claims.get(key)?)
    }

    fn holder_by(&self, key: &K, claim: Claim) -> Option<AppId> {
        match claim {
            Claim::Wanted(_) => None,
            Claim::Held(app) => Some(app),
            Claim::Contested => self.contests.get(key)?.holder,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, AppId)> {
        self.claims.iter().filter_map(|(key, claim)| Some((key, self.holder_by(key, *claim)?)))
    }

    pub(super) fn want(&mut self, key: K, app: AppId) {
        match self.claims.get(&key) {
            None => _ = self.claims.insert(key, Claim::Wanted(app)),
            Some(Claim::Wanted(other) | Claim::Held(other)) if *other == app => {}
            Some(_) => self.contest(key, |contest| contest.wanting.insert(app)),
        }
    }

    /// Gives a key to an app that had it before the process was started; it keeps it if it wants it.
    pub(super) fn grant(&mut self, key: K, app: AppId) {
        self.contest(key, |contest| contest.holder = Some(app));
    }

    /// Whoever wants a key no longer does; who has it is decided by [`settle`](Self::settle).
    pub(super) fn forgo(&mut self, key: &K, app: AppId) {
        if self.claims.contains_key(key) {
            self.contest(key.clone(), |contest| contest.wanting.remove(&app));
        }
    }

    /// Changes a claim as the contest that it may be, and keeps it as one only where it is.
    fn contest(&mut self, key: K, change: impl FnOnce(&mut Contest)) {
        let mut contest = match self.claims.get(&key) {
            None => Contest::default(),
            Some(Claim::Wanted(app)) => Contest { holder: None, wanting: Few::of(*app) },
            Some(Claim::Held(app)) => Contest { holder: Some(*app), wanting: Few::of(*app) },
            Some(Claim::Contested) => self.contests.remove(&key).unwrap_or_default(),
        };
        change(&mut contest);
        let claim = match (contest.holder, contest.wanting.only()) {
            (None, Some(app)) => Claim::Wanted(*app),
            (Some(holder), Some(app)) if holder == *app => Claim::Held(holder),
            _ => {
                self.contests.insert(key.clone(), contest);
                Claim::Contested
            }
        };
        self.claims.insert(key, claim);
    }

    /// Decides who has `key`: who had it, else the first by `rank`. Yields who had it before and everyone who wants it.
    fn settle<R: Ord>(&mut self, key: &K, rank: impl Fn(AppId) -> R) -> (Option<AppId>, Option<AppId>, Vec<AppId>) {
        let Some(claim) = self.claims.get_mut(key) else { return (None, None, Vec::new()) };
        match *claim {
            Claim::Wanted(app) => {
                *claim = Claim::Held(app);
                (None, Some(app), vec![app])
            }
            Claim::Held(app) => (Some(app), Some(app), vec![app]),
            Claim::Contested => self.settle_contest(key, rank),
        }
    }

    fn settle_contest<R: Ord>(
        &mut self,
        key: &K,
        rank: impl Fn(AppId) -> R,
    ) -> (Option<AppId>, Option<AppId>, Vec<AppId>) {
        let (mut before, mut after, mut wanting) = (None, None, Vec::new());
        self.contest(key.clone(), |contest| {
            before = contest.holder;
            if !before.is_some_and(|holder| contest.wanting.contains(&holder)) {
                contest.holder = contest.wanting.iter().copied().min_by_key(|app| rank(*app));
            }
            after = contest.holder;
            wanting = contest.wanting.iter().copied().collect();
        });
        if wanting.is_empty() {
            self.claims.remove(key);
            self.contests.remove(key);
        }
        (before, after, wanting)
    }
}

impl Registry {
    /// Decides who has a name; whoever gains or loses it is touched. Yields the name where it changed hands, and adds everyone who wants it
    /// to `contested` where that are several.
    pub(super) fn settle_name(
        &mut self,
        key: (SpaceId, Name),
        touched: &mut Touched,
        contested: &mut BTreeSet<AppId>,
    ) -> Option<(SpaceId, Name)> {
        let apps = &self.apps;
        let source_of = |app: AppId| owner_called(&apps.get(&app)?.wanted, &key.1).map(|owner| owner.source.clone());
        let (before, after, wanting) = self.names.settle(&key, source_of);
        let mut findings = Findings::default();
        if wanting.len() > 1
            && let Some(holding) = after.and_then(source_of)
        {
            contested.extend(&wanting);
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
            return None;
        }
        touched.apps.extend(before.into_iter().chain(after).filter(|app| self.apps.contains_key(app)));
        if after.is_some()
            && let Some(tombstone) = self.tombstones.remove(&key)
        {
            self.deadlines.withdraw(Some(tombstone.until), Deadline::Tombstone(key.0, key.1.clone()));
        }
        Some(key)
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
            apps.get(&app)?.lans().iter().find(|(wanted, _)| *wanted == network).map(|(_, source)| source.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_key_keeps_it_while_it_wants_it_and_then_the_first_has_it() {
        let mut claims = Claims::new();
        let settle = |claims: &mut Claims<char>| claims.settle(&'k', |app| app);
        claims.want('k', 2);
        assert_eq!(claims.holder(&'k'), None);
        assert_eq!(settle(&mut claims), (None, Some(2), vec![2]));
        claims.want('k', 1);
        claims.want('k', 2);
        assert_eq!(settle(&mut claims), (Some(2), Some(2), vec![1, 2]));
        claims.want('k', 3);
        claims.forgo(&'k', 2);
        assert_eq!(settle(&mut claims), (Some(2), Some(1), vec![1, 3]));
        claims.forgo(&'k', 3);
        assert_eq!(settle(&mut claims), (Some(1), Some(1), vec![1]));
        assert!(claims.contests.is_empty(), "one is left");
        assert_eq!(claims.iter().collect::<Vec<_>>(), [(&'k', 1)]);
        claims.forgo(&'k', 1);
        assert_eq!(claims.holder(&'k'), Some(1), "nothing is decided yet");
        assert_eq!(settle(&mut claims), (Some(1), None, vec![]));
        assert!(claims.claims.is_empty() && claims.contests.is_empty());
    }

    #[test]
    fn who_was_granted_a_key_has_it_only_where_it_wants_it() {
        let mut claims = Claims::new();
        claims.grant('k', 7);
        claims.want('k', 1);
        claims.want('k', 7);
        assert_eq!(claims.settle(&'k', |app| app), (Some(7), Some(7), vec![1, 7]));
        claims.grant('l', 7);
        claims.want('l', 1);
        assert_eq!(claims.settle(&'l', |app| app), (Some(7), Some(1), vec![1]));
        claims.grant('m', 7);
        assert_eq!(claims.settle(&'m', |app| app), (Some(7), None, vec![]));
        assert_eq!(claims.holder(&'m'), None);
    }

    #[test]
    fn a_claim_of_one_app_is_two_words_of_four_octets() {
        assert_eq!(size_of::<Claim>(), 8);
    }
}
