//! Who holds an instance address when several apps register it (design §2.5).
//!
//! An address is reused sooner than a dead container's file is removed, so the newer registration takes it and the older
//! leaves the answers as a whole, unless both say that they share. Registrations that touch each other through their
//! addresses are decided together, newest first: one that lost holds nothing, and so displaces nobody in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::AppId;
use super::room::{keep_room, make_room};
use crate::name::Label;

/// Which instance of which app: there is one registration in force for each.
pub(super) type Identity = (AppId, Label, u32);

/// How new a registration is: by batch, then (at a cold start) by the file's time, then by path and place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Newness {
    pub(super) batch: u64,
    pub(super) modified: u64,
    pub(super) file: Arc<str>,
    pub(super) place: [u32; 3],
}

impl Newness {
    /// What a claim keeps of it: enough to see that it is another. Which of two is the newer is asked for where an address is
    /// contested, and nearly none is.
    pub(super) fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What one registration in force claims. Of each instance there is one, so it is seven words and no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) component: Label,
    pub(super) addresses: Claimed,
    /// See [`Newness::mark`].
    pub(super) newness: u64,
    pub(super) number: u32,
    pub(super) sharing: Sharing,
}

impl Claim {
    fn instance(&self) -> (&Label, u32) {
        (&self.component, self.number)
    }
}

/// The addresses of one registration; of one, without an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claimed {
    One(Ipv4Addr),
    List(Box<[IpAddr]>),
}

impl Claimed {
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        match addresses {
            [IpAddr::V4(address)] => Self::One(*address),
            list => Self::List(list.into()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let (one, list): (_, &[IpAddr]) = match self {
            Self::One(address) => (Some(IpAddr::V4(*address)), &[]),
            Self::List(list) => (None, list),
        };
        one.into_iter().chain(list.iter().copied())
    }
}

/// One of the claims of an app, by its place among them.
type Claimant = (AppId, u32);

/// Whether a registration agrees to share its addresses with other apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Shared,
    Sole,
}

/// A registration that lost an address to another app, or has it back.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) identity: Identity,
    /// Its addresses, where its standing changed; none where only the words of its fault may have.
    pub(super) moved: Vec<IpAddr>,
}

/// Every address claimed, and by whom.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Of each app, by its number; in the order of its instances.
    claims: Vec<Box<[Claim]>>,
    /// Of an IPv4 address that one registration claims: nearly all are such.
    sole: HashMap<Ipv4Addr, Claimant>,
    /// Of every other address.
    others: HashMap<IpAddr, Vec<Claimant>>,
    /// Who lost an address, which one, and to whom.
    displaced: HashMap<Identity, (IpAddr, Identity)>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { claims: Vec::new(), sole: HashMap::new(), others: HashMap::new(), displaced: HashMap::new() }
    }

    /// Makes room for what nobody claims yet, if this is most of what there will be.
    pub(super) fn reserve(&mut self, count: usize) {
        make_room(&mut self.sole, count);
    }

    /// Keeps it from growing where claims only come and go.
    pub(super) fn keep_room(&mut self) {
        keep_room(&mut self.sole);
    }

    /// Replaces what an app claims by `new`, which is in order; adds the addresses concerned to `changed`. Yields which of its instances
    /// had lost an address and claim none now.
    pub(super) fn claim(&mut self, app: AppId, new: Box<[Claim]>, changed: &mut Vec<IpAddr>) -> Vec<(Label, u32)> {
        let old = self.claims_mut(app).map(std::mem::take).unwrap_or_default();
        // A claim that stays may lie at another place now.
        let stays = |(index, claim): (u32, &Claim), others: &[Claim]| {
            let same = claim_in(others, claim.instance()).filter(|(_, other)| *other == claim);
            (same.is_some(), same.is_some_and(|(place, _)| place == index))
        };
        for (index, claim) in (0..).zip(&old) {
            let (same, in_place) = stays((index, claim), &new);
            for address in claim.addresses.iter().filter(|_| !in_place) {
                self.leave(address, (app, index));
            }
            changed.extend(claim.addresses.iter().filter(|_| !same));
        }
        for (index, claim) in (0..).zip(&new) {
            let (same, in_place) = stays((index, claim), &old);
            for address in claim.addresses.iter().filter(|_| !in_place) {
                self.join(address, (app, index));
            }
            changed.extend(claim.addresses.iter().filter(|_| !same));
        }
        let over = old.into_iter().filter(|claim| claim_in(&new, claim.instance()).is_none());
        let over = over.map(|Claim { component, number, .. }| (component, number));
        let over = over.filter(|(label, number)| self.displaced.remove(&(app, label.clone(), *number)).is_some());
        let over = over.collect();
        if let Some(claims) = self.claims_mut(app) {
            *claims = new;
        }
        over
    }

    fn claims_mut(&mut self, app: AppId) -> Option<&mut Box<[Claim]>> {
        let app = usize::try_from(app).ok()?;
        if app >= self.claims.len() {
            self.claims.resize_with(app + 1, Box::default);
        }
        self.claims.get_mut(app)
    }

    fn join(&mut self, address: IpAddr, claimant: Claimant) {
        if let IpAddr::V4(v4) = address
            && !self.others.contains_key(&address)
        {
            let Some(other) = self.sole.insert(v4, claimant) else { return };
            self.sole.remove(&v4);
            self.others.insert(address, vec![other]);
        }
        self.others.entry(address).or_default().push(claimant);
    }

    fn leave(&mut self, address: IpAddr, claimant: Claimant) {
        if let Some(claimants) = self.others.get_mut(&address) {
            claimants.retain(|other| *other != claimant);
            match (address, claimants.as_slice()) {
                (_, []) => _ = self.others.remove(&address),
                (IpAddr::V4(v4), [last]) => {
                    self.sole.insert(v4, *last);
                    self.others.remove(&address);
                }
                _ => {}
            }
        } else if let IpAddr::V4(v4) = address
            && self.sole.get(&v4) == Some(&claimant)
        {
            self.sole.remove(&v4);
        }
    }

    /// Everyone who claims an address.
    fn claimants(&self, address: IpAddr) -> &[Claimant] {
        let sole = match address {
            IpAddr::V4(v4) => self.sole.get(&v4),
            IpAddr::V6(_) => None,
        };
        sole.map_or_else(|| self.others.get(&address).map_or(&[], Vec::as_slice), std::slice::from_ref)
    }

    fn claim_of(&self, (app, index): Claimant) -> Option<&Claim> {
        self.claims.get(usize::try_from(app).ok()?)?.get(usize::try_from(index).ok()?)
    }

    fn identity(&self, claimant: Claimant) -> Option<Identity> {
        let Claim { component, number, .. } = self.claim_of(claimant)?;
        Some((claimant.0, component.clone(), *number))
    }

    /// Decides again who holds `changed` and all that hangs together with it; yields everyone whose standing changed, and everyone
    /// who is displaced still: by whom, or from where, may read otherwise now. `newness_of` gives that of an app's registrations in force.
    pub(super) fn settle(
        &mut self,
        changed: &BTreeSet<IpAddr>,
        newness_of: impl Fn(AppId) -> BTreeMap<(Label, u32), Newness>,
    ) -> Vec<Settled> {
        let mut reached: BTreeMap<Identity, Claim> = BTreeMap::new();
        // Nearly every address has one claimant, and nothing hangs together with it.
        let mut pending: Vec<IpAddr> =
            changed.iter().copied().filter(|address| !self.is_uncontested(*address)).collect();
        let mut seen: BTreeSet<IpAddr> = pending.iter().copied().collect();
        while let Some(address) = pending.pop() {
            for claimant in self.claimants(address) {
                let (Some(identity), Some(claim)) = (self.identity(*claimant), self.claim_of(*claimant)) else {
                    continue;
                };
                if reached.contains_key(&identity) {
                    continue;
                }
                pending.extend(claim.addresses.iter().filter(|address| seen.insert(*address)));
                reached.insert(identity, claim.clone());
            }
        }
        let apps: BTreeSet<AppId> = reached.keys().map(|(app, ..)| *app).collect();
        let newness: BTreeMap<AppId, _> = apps.into_iter().map(|app| (app, newness_of(app))).collect();
        let mut order: Vec<(Option<&Newness>, &Identity, &Claim)> = (reached.iter())
            .map(|(identity, claim)| {
                let of_app = newness.get(&identity.0);
                (of_app.and_then(|of_app| of_app.get(&(claim.component.clone(), claim.number))), identity, claim)
            })
            .collect();
        order.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let mut held: HashMap<IpAddr, Vec<(&Identity, Sharing)>> = HashMap::new();
        let mut settled = Vec::new();
        for (_, identity, claim) in order {
            let lost = claim.addresses.iter().find_map(|address| {
                let others = held.get(&address)?;
                let stronger = others.iter().find(|(other, sharing)| {
                    other.0 != identity.0 && (*sharing == Sharing::Sole || claim.sharing == Sharing::Sole)
                })?;
                Some((address, stronger.0.clone()))
            });
            if lost.is_none() {
                for address in claim.addresses.iter() {
                    held.entry(address).or_default().push((identity, claim.sharing));
                }
            }
            let moved = self.displaced.get(identity) != lost.as_ref();
            if moved || lost.is_some() {
                let moved = if moved { claim.addresses.iter().collect() } else { Vec::new() };
                settled.push(Settled { identity: identity.clone(), moved });
            }
            match lost {
                Some(lost) => _ = self.displaced.insert(identity.clone(), lost),
                None => _ = self.displaced.remove(identity),
            }
        }
        settled
    }

    /// Who took which address from a registration, if someone did.
    pub(super) fn displaced(&self, identity: &Identity) -> Option<&(IpAddr, Identity)> {
        self.displaced.get(identity)
    }

    /// Every address that anyone claims.
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.sole.keys().copied().map(IpAddr::V4).chain(self.others.keys().copied())
    }

    /// Everyone who holds `address`.
    pub(super) fn holders(&self, address: IpAddr) -> Vec<Identity> {
        let identities = self.claimants(address).iter().filter_map(|claimant| self.identity(*claimant));
        identities.filter(|identity| !self.displaced.contains_key(identity)).collect()
    }

    /// Whether an address has one claimant, who has it and shares none of its others.
    fn is_uncontested(&self, address: IpAddr) -> bool {
        let [claimant] = self.claimants(address) else { return false };
        let alone = |claim: &Claim| claim.addresses.iter().all(|address| self.claimants(address).len() == 1);
        // Nearly always nobody is displaced, and then nobody need be asked for.
        let is_displaced = || self.identity(*claimant).is_some_and(|identity| self.displaced.contains_key(&identity));
        self.claim_of(*claimant).is_some_and(alone) && (self.displaced.is_empty() || !is_displaced())
    }
}

/// What an instance claims, of claims in order, and its place among them.
fn claim_in<'c>(claims: &'c [Claim], instance: (&Label, u32)) -> Option<(u32, &'c Claim)> {
    let index = claims.binary_search_by(|other| other.instance().cmp(&instance)).ok()?;
    Some((u32::try_from(index).ok()?, claims.get(index)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_seven_words() {
        assert_eq!(size_of::<Claim>(), 56);
    }
}
