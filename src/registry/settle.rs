//! Resolving what a change touched, and letting claims follow.
//!
//! An app is looked at once, and all that comes of it is kept: what it wants, and what the caller makes of it where that will be served. At
//! a start that is most of the work, and no app's depends on another's: it is divided among whatever [`Hands`] there are. Who has
//! what is decided after, by one. What was made of an app that did not get all that it wants is thrown away: that is rare, and whoever
//! asked for it makes it again of the app as it is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::{Addresses, Claim};
use super::claims::Moved;
use super::numbers::Numbers;
use super::state::{AppState, OwnerState};
use super::{AppId, Concern, Findings, Registry, Source, SpaceState, Touched, join};
use crate::name::Label;

/// Whoever carries out what is to be done with many apps: this module owns no thread.
pub trait Hands: Sync {
    /// What is made of each app while it is looked at.
    type Made: Send;

    /// Makes it.
    fn make(&self, app: &AppState, space: &SpaceState) -> Self::Made;

    /// Does `work` on each of `items`; in their order.
    fn divide<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R>;

    /// Does two things that have nothing to do with each other, with so many items in each.
    fn both<A, B: Send>(&self, items: usize, one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B);
}

/// Makes nothing, and does one thing after the other.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Hands for Alone {
    type Made = ();

    fn make(&self, _: &AppState, _: &SpaceState) {}

    fn divide<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        items.iter().map(work).collect()
    }

    fn both<A, B: Send>(&self, _: usize, one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
        (one(), other())
    }
}

/// What was made of apps, in the order of their numbers.
pub type Made<M> = Vec<(AppId, M)>;

/// How an app stands that is created, as to whether it is internally routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    /// It is created now, and nothing says so yet.
    Begun,
    /// Nothing changed.
    AsItWas,
    /// It is said.
    Over,
}

/// What an app wants, as its documents are now.
pub(super) struct Wants<M> {
    pub(super) names: Box<[OwnerState]>,
    pub(super) lans: Box<[(ipnet::IpNet, Source)]>,
    pub(super) claims: Box<[Claim]>,
    pub(super) numbers: Box<[(Label, Numbers)]>,
    pub(super) created_routed: Option<bool>,
    pub(super) creation: Creation,
    pub(super) declared_by: Option<Arc<str>>,
    pub(super) is_declared: bool,
    pub(super) findings: Findings,
    /// The app itself, where its instances are held to their checks.
    pub(super) state: Option<AppState>,
    pub(super) made: Option<M>,
}

impl Registry {
    /// Resolves every touched app again and lets claims follow. Names and addresses change hands without changing what
    /// anyone wants, so one pass is enough.
    pub(super) fn settle(&mut self, touched: &mut Touched) {
        self.settle_moved(Moved::default(), touched, &Alone);
    }

    /// As [`settle`](Self::settle), with claims to decide that no app brings up; yields what was made of the apps.
    pub(super) fn settle_moved<H: Hands>(
        &mut self,
        mut moved: Moved,
        touched: &mut Touched,
        hands: &H,
    ) -> Made<H::Made> {
        let ids: Vec<AppId> = touched.apps.iter().copied().collect();
        let mut made = Vec::with_capacity(ids.len());
        // A table that doubles hashes everything in it anew; room that is not needed goes back when all is applied.
        self.names.reserve(ids.len());
        self.addresses.reserve(ids.len());
        for some in ids.chunks(LOOKED_AT) {
            let wants = hands.divide(some, |id| self.look_at(*id, hands));
            for (id, wants) in some.iter().zip(wants) {
                made.extend(wants.and_then(|wants| Some((*id, self.follow(*id, wants, &mut moved)?))));
            }
        }
        let mut contested = BTreeSet::new();
        let names: Vec<_> =
            moved.names.into_iter().filter_map(|key| self.settle_name(key, touched, &mut contested)).collect();
        // A set that is made of what is nearly in order takes a third of the time of one that is added to.
        join(&mut touched.names, names.into_iter().collect());
        for (key, kind) in moved.given_up {
            self.bury(&key, kind);
        }
        for network in moved.lans {
            self.settle_lan(network, touched);
        }
        let moved_addresses: BTreeSet<IpAddr> = moved.addresses.into_iter().collect();
        let mut addresses = std::mem::replace(&mut self.addresses, Addresses::new());
        let settled = addresses.settle(&moved_addresses, |app| self.newness_of(app));
        self.addresses = addresses;
        contested.extend(settled.iter().map(|settled| settled.identity.0));
        join(&mut touched.addresses, moved_addresses);
        self.settle_displaced(settled, touched);
        let gone: Vec<AppId> =
            touched.apps.iter().copied().filter(|id| self.apps.get(id).is_some_and(|entry| entry.is_gone())).collect();
        for id in gone {
            self.app_ids.remove(id, &self.apps);
            if self.apps.remove(&id).is_some() {
                self.free_ids.insert(id);
                self.end_creation(id);
                self.forget_findings(&Concern::App(id));
                self.checks.forget(id);
            }
        }
        made.retain(|(id, _)| !contested.contains(id));
        made
    }
}

/// How many apps are looked at before their claims follow: what is known of an app in between is a kilobyte.
const LOOKED_AT: usize = 2048;
