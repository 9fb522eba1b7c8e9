//! What is served: immutable data, and how a name is found in it.
//!
//! A [`Snapshot`] is everything that is served at one instant. Workers answer from one while the next is compiled; the two
//! share all that did not change. [`Snapshot::view`] says what a caller is shown, [`Snapshot::find`] what a name is to it.

mod addresses;
mod app;
mod find;
mod found;
mod holders;
mod hostname;
mod paged;
mod records;
mod reverse;
mod space;
mod special;
mod table;
mod touch;
mod view;
mod withheld;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub use addresses::{AddressSet, BUCKETS, bucket_of};
pub use app::{
    App, Audience, Bare, Believed, Component, Gate, Instance, InstanceState, Owner, OwnerKind, Port, Reason, Target,
};
pub use found::{
    Fit, Found, Host, Hosts, Lead, Missing, Node, Owned, Plain, PlainKind, Pointer, Services, SrvSet, Types, Why, Zone,
};
pub use holders::{Holder, Holders, Sharing};
pub use paged::Paged;
pub use records::SOA_TIMERS;
pub use space::{Apex, ApexKind, NameServer, Space, SpaceIndex, reverse_name, reverse_zones};
pub use special::is_reserved;
pub use table::{Table, hash};
pub use touch::Chain;
pub use view::{Lan, Ranges, Rule, View, key_of, loopback};
pub use withheld::Withheld;

use crate::name::Name;

/// An app's place in [`Snapshot::apps`]; stable while the app exists.
pub type AppIndex = u32;

/// Everything served at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which instant: counts up by one with each change of what is served.
    pub generation: u64,
    /// The serial of every SOA. Not part of any node, or each generation would rewrite everything.
    pub serial: u32,
    /// Whether the first scan is complete.
    pub readiness: Readiness,
    /// The spaces, by index; a place is empty when its space went.
    pub spaces: Arc<[Option<Arc<Space>>]>,
    /// Who is shown what, by address.
    pub ranges: Arc<Ranges>,
    /// Registered instance addresses.
    pub holders: Holders,
    /// Hostnames, DNS targets, custom domains, wildcards, and what lies above or was there, under [`name_hash`].
    pub names: Table<NameEntry>,
    /// Apps by space and name, under [`app_hash`].
    pub app_names: Table<AppIndex>,
    /// The apps.
    pub apps: Paged<App>,
    /// The names of entries that no app holds.
    pub loose: Paged<LooseName>,
}

/// Whether a snapshot may be answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The first scan is not complete: an unseen custom domain must not go public, so everything is SERVFAIL.
    Starting,
    /// It is.
    Ready,
}

/// What a name outside the discovery domains is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameEntry {
    /// An app holds it.
    Owner {
        /// The app.
        app: AppIndex,
        /// Which of its owners.
        owner: u16,
    },
    /// Nothing is there, and something is below it; its name is `loose`.
    EmptyNonTerminal(u32),
    /// An app held it until a while ago (design §4.3); its name is `loose`.
    Tombstone(u32),
}

/// The name of an entry that no app holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseName {
    /// The space it is in.
    pub space: SpaceIndex,
    /// The name.
    pub name: Name,
    /// For which types it is ours: what a removed hostname and a removed custom domain differ in.
    pub types: Types,
}

impl Snapshot {
    /// Makes the snapshot of an empty, unread directory.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            generation: 0,
            serial: 0,
            readiness: Readiness::Starting,
            spaces: Arc::from([]),
            ranges: Arc::default(),
            holders: Holders::default(),
            names: Table::new(),
            app_names: Table::new(),
            apps: Paged::default(),
            loose: Paged::default(),
        }
    }

    /// The space at `index`.
    #[must_use]
    pub fn space(&self, index: SpaceIndex) -> Option<&Space> {
        self.spaces.get(usize::from(index))?.as_deref()
    }

    /// What is shown to callers at `address`; `None` means that they may not ask (design §3).
    ///
    /// IPv4-mapped IPv6 addresses count as the IPv4 address they hold.
    #[must_use]
    pub fn view(&self, address: IpAddr) -> Option<View> {
        match address {
            IpAddr::V4(address) => self.view_of_v4(address),
            IpAddr::V6(address) => self.view_of_v6(address),
        }
    }

    /// The same for IPv4.
    #[inline(always)]
    #[must_use]
    pub fn view_of_v4(&self, address: Ipv4Addr) -> Option<View> {
        self.view_of(address.into())
    }

    /// The same for IPv6. Not inlined: nothing of sixteen octets is in the way of IPv4 then.
    #[inline(never)]
    #[must_use]
    pub fn view_of_v6(&self, address: Ipv6Addr) -> Option<View> {
        self.view_of(address.into())
    }

    #[inline(always)]
    fn view_of(&self, address: IpAddr) -> Option<View> {
        if let Some(holder) = self.holder(key_of(address)) {
            let space = self.apps.at(holder.app)?.space;
            let lan = match holder.sharing {
                Sharing::Sole => Lan::App(holder.app),
                Sharing::Shared => Lan::Ambiguous,
            };
            return Some(View { space, lan });
        }
        self.ranges.view_of(address)
    }

    /// Who holds an instance address.
    #[inline(always)]
    #[must_use]
    pub fn holder(&self, address: u128) -> Option<Holder> {
        self.holders.find(address)
    }

    /// The app called `label` in `space`.
    #[must_use]
    pub fn app_named(&self, space: SpaceIndex, label: &[u8]) -> Option<(AppIndex, &App)> {
        let is_it = |app: &App| app.space == space && app.label.octets() == label;
        let index = self.app_names.find(app_hash(space, label), |index| self.apps.at(index).is_some_and(is_it))?;
        Some((index, self.apps.at(index)?))
    }
}

/// The hash of a name in [`Snapshot::names`]; `wire` is the whole name, lower-cased.
#[must_use]
pub fn name_hash(space: SpaceIndex, wire: &[u8]) -> u64 {
    hash(u64::from(space), wire)
}

/// The hash of an app in [`Snapshot::app_names`].
#[must_use]
pub fn app_hash(space: SpaceIndex, label: &[u8]) -> u64 {
    hash(u64::from(space), label)
}
