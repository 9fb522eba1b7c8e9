//! Who holds an instance address when several apps register it (design §2.5).
//!
//! An address is reused sooner than a dead container's file is removed, so the newer registration takes it and the older
//! leaves the answers as a whole, unless both say that they share. Registrations that touch each other through their
//! addresses are decided together, newest first: one that lost holds nothing, and so displaces nobody in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::AppId;
use crate::name::Label;

/// Which instance of which app: there is one registration in force for each.
pub(super) type Identity = (AppId, Label, u32);

/// How new a registration is: by batch, then (at a cold start) by the file's time, then by path and place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newness {
    pub(super) batch: u64,
    pub(super) modified: u128,
    pub(super) file: Arc<str>,
    pub(super) place: (usize, usize, usize),
}

/// What one registration in force claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) newness: Newness,
    pub(super) sharing: Sharing,
}

/// One of an app's claims, which are in order. A list: a tree has room for eleven, and most apps have one or two.
type Claimed = ((Label, u32), Claim);

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
    claims: HashMap<AppId, Box<[Claimed]>>,
    claimants: HashMap<IpAddr, Vec<Identity>>,
    /// Who lost an address, which one, and to whom.
    displaced: HashMap<Identity, (IpAddr, Identity)>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { claims: HashMap::new(), claimants: HashMap::new(), displaced: HashMap::new() }
    }

    /// Replaces what an app claims; adds the addresses concerned to `changed`. Yields which of its instances had lost an address
    /// and claim none now.
    pub(super) fn claim(
        &mut self,
        app: AppId,
        new: BTreeMap<(Label, u32), Claim>,
        changed: &mut BTreeSet<IpAddr>,
    ) -> Vec<(Label, u32)> {
        let old = self.claims.remove(&app).unwrap_or_default();
        for (instance, claim) in &old {
            if new.get(instance) == Some(claim) {
                continue;
            }
            let (component, number) = instance;
            let identity = (app, component.clone(), *number);
            changed.extend(&claim.addresses);
            for address in &claim.addresses {
                if let Some(claimants) = self.claimants.get_mut(address) {
                    claimants.retain(|claimant| *claimant != identity);
                    if claimants.is_empty() {
                        self.claimants.remove(address);
                    }
                }
            }
        }
        for (instance, claim) in &new {
            if claim_in(&old, instance) == Some(claim) {
                continue;
            }
            let (component, number) = instance;
            changed.extend(&claim.addresses);
            for address in &claim.addresses {
                let claimants = self.claimants.entry(*address).or_insert_with(|| Vec::with_capacity(1));
                claimants.push((app, component.clone(), *number));
            }
        }
        let over = old.into_iter().map(|(instance, _)| instance).filter(|instance| !new.contains_key(instance));
        let over = over.filter(|(label, number)| self.displaced.remove(&(app, label.clone(), *number)).is_some());
        let over = over.collect();
        if !new.is_empty() {
            self.claims.insert(app, new.into_iter().collect());
        }
        over
    }

    /// Decides again who holds `changed` and all that hangs together with it; yields everyone whose standing changed, and everyone
    /// who is displaced still: by whom, or from where, may read otherwise now.
    pub(super) fn settle(&mut self, changed: &BTreeSet<IpAddr>) -> Vec<Settled> {
        let mut reached: BTreeMap<Identity, Claim> = BTreeMap::new();
        // Nearly every address has one claimant, and nothing hangs together with it.
        let mut pending: Vec<IpAddr> =
            changed.iter().copied().filter(|address| !self.is_uncontested(*address)).collect();
        let mut seen: BTreeSet<IpAddr> = pending.iter().copied().collect();
        while let Some(address) = pending.pop() {
            for identity in self.claimants.get(&address).into_iter().flatten() {
                let Some(claim) = self.claim_of(identity) else { continue };
                if reached.contains_key(identity) {
                    continue;
                }
                pending.extend(claim.addresses.iter().filter(|address| seen.insert(**address)));
                reached.insert(identity.clone(), claim.clone());
            }
        }
        let mut order: Vec<(&Identity, &Claim)> = reached.iter().collect();
        order.sort_by(|(_, a), (_, b)| b.newness.cmp(&a.newness));
        let mut held: HashMap<IpAddr, Vec<(&Identity, Sharing)>> = HashMap::new();
        let mut settled = Vec::new();
        for (identity, claim) in order {
            let lost = claim.addresses.iter().find_map(|address| {
                let others = held.get(address)?;
                let stronger = others.iter().find(|(other, sharing)| {
                    other.0 != identity.0 && (*sharing == Sharing::Sole || claim.sharing == Sharing::Sole)
                })?;
                Some((*address, stronger.0.clone()))
            });
            if lost.is_none() {
                for address in &claim.addresses {
                    held.entry(*address).or_default().push((identity, claim.sharing));
                }
            }
            let moved = self.displaced.get(identity) != lost.as_ref();
            if moved || lost.is_some() {
                let moved = if moved { claim.addresses.clone() } else { Vec::new() };
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
        self.claimants.keys().copied()
    }

    /// Everyone who holds `address`.
    pub(super) fn holders(&self, address: IpAddr) -> Vec<Identity> {
        let claimants = self.claimants.get(&address).into_iter().flatten();
        claimants.filter(|identity| !self.displaced.contains_key(*identity)).cloned().collect()
    }

    /// Whether an address has one claimant, who has it and shares none of its others.
    fn is_uncontested(&self, address: IpAddr) -> bool {
        let claimants = |address: &IpAddr| self.claimants.get(address).map_or(&[][..], Vec::as_slice);
        let [identity] = claimants(&address) else { return false };
        let alone = |claim: &Claim| claim.addresses.iter().all(|address| claimants(address).len() == 1);
        self.claim_of(identity).is_some_and(alone) && !self.displaced.contains_key(identity)
    }

    fn claim_of(&self, (app, component, number): &Identity) -> Option<&Claim> {
        let claims = self.claims.get(app)?;
        let index = claims.binary_search_by(|((label, other), _)| label.cmp(component).then(other.cmp(number))).ok()?;
        claims.get(index).map(|(_, claim)| claim)
    }
}

/// What an instance claims, of claims in order.
fn claim_in<'c>(claims: &'c [Claimed], instance: &(Label, u32)) -> Option<&'c Claim> {
    let index = claims.binary_search_by(|(other, _)| other.cmp(instance)).ok()?;
    claims.get(index).map(|(_, claim)| claim)
}
