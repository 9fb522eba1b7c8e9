//! Who holds an instance address when several apps register it (design §2.5).
//!
//! An address is reused sooner than a dead container's file is removed, so the newer registration takes it and the older
//! leaves the answers as a whole, unless both say that they share. Registrations that touch each other through their
//! addresses are decided together, newest first: one that lost holds nothing, and so displaces nobody in turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::AppId;
use crate::name::Label;

/// Which instance of which app: there is one registration in force for each.
pub(super) type Identity = (AppId, Label, u32);

/// How new a registration is: by batch, then (at a cold start) by the file's time, then by path and place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newness {
    pub(super) batch: u64,
    pub(super) modified: u64,
    pub(super) file: Arc<str>,
    pub(super) place: [u32; 3],
}

/// What one registration in force claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) addresses: Claimed,
    pub(super) newness: Newness,
    pub(super) sharing: Sharing,
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

/// One of an app's claims, which are in order. A list: a tree has room for eleven, and most apps have one or two.
type Own = ((Label, u32), Claim);

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
    claims: HashMap<AppId, Box<[Own]>>,
    /// Of an IPv4 address that one registration claims: nearly all are such.
    sole: HashMap<Ipv4Addr, Claimant>,
    /// Of every other address.
    others: HashMap<IpAddr, Vec<Claimant>>,
    /// Who lost an address, which one, and to whom.
    displaced: HashMap<Identity, (IpAddr, Identity)>,
}

impl Addresses {
    pub(super) fn new() -> Self {
        Self { claims: HashMap::new(), sole: HashMap::new(), others: HashMap::new(), displaced: HashMap::new() }
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
        let new: Box<[Own]> = new.into_iter().collect();
        // A claim that stays may lie at another place now.
        let stays = |(index, own): (u32, &Own), others: &[Own]| {
            let same = claim_in(others, &own.0).filter(|(_, claim)| **claim == own.1);
            (same.is_some(), same.is_some_and(|(place, _)| place == index))
        };
        for (index, own) in (0..).zip(&old) {
            let (same, in_place) = stays((index, own), &new);
            for address in own.1.addresses.iter().filter(|_| !in_place) {
                self.leave(address, (app, index));
            }
            changed.extend(own.1.addresses.iter().filter(|_| !same));
        }
        for (index, own) in (0..).zip(&new) {
            let (same, in_place) = stays((index, own), &old);
            for address in own.1.addresses.iter().filter(|_| !in_place) {
                self.join(address, (app, index));
            }
            changed.extend(own.1.addresses.iter().filter(|_| !same));
        }
        let over = old.into_iter().map(|(instance, _)| instance).filter(|instance| claim_in(&new, instance).is_none());
        let over = over.filter(|(label, number)| self.displaced.remove(&(app, label.clone(), *number)).is_some());
        let over = over.collect();
        if !new.is_empty() {
            self.claims.insert(app, new);
        }
        over
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

    fn own(&self, (app, index): Claimant) -> Option<&Own> {
        self.claims.get(&app)?.get(usize::try_from(index).ok()?)
    }

    fn identity(&self, claimant: Claimant) -> Option<Identity> {
        let ((label, number), _) = self.own(claimant)?;
        Some((claimant.0, label.clone(), *number))
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
            for claimant in self.claimants(address) {
                let (Some(identity), Some((_, claim))) = (self.identity(*claimant), self.own(*claimant)) else {
                    continue;
                };
                if reached.contains_key(&identity) {
                    continue;
                }
                pending.extend(claim.addresses.iter().filter(|address| seen.insert(*address)));
                reached.insert(identity, claim.clone());
            }
        }
        let mut order: Vec<(&Identity, &Claim)> = reached.iter().collect();
        order.sort_by(|(_, a), (_, b)| b.newness.cmp(&a.newness));
        let mut held: HashMap<IpAddr, Vec<(&Identity, Sharing)>> = HashMap::new();
        let mut settled = Vec::new();
        for (identity, claim) in order {
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
        let alone = |(_, claim): &Own| claim.addresses.iter().all(|address| self.claimants(address).len() == 1);
        // Nearly always nobody is displaced, and then nobody need be asked for.
        let is_displaced = || self.identity(*claimant).is_some_and(|identity| self.displaced.contains_key(&identity));
        self.own(*claimant).is_some_and(alone) && (self.displaced.is_empty() || !is_displaced())
    }
}

/// What an instance claims, of claims in order, and its place among them.
fn claim_in<'c>(claims: &'c [Own], instance: &(Label, u32)) -> Option<(u32, &'c Claim)> {
    let index = claims.binary_search_by(|(other, _)| other.cmp(instance)).ok()?;
    Some((u32::try_from(index).ok()?, &claims.get(index)?.1))
}
