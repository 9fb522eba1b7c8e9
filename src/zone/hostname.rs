//! App hostnames and domains: what a name is outside the discovery domains.
//!
//! Every name has its ancestors beside it as empty non-terminals, so existence is monotone and the closest encloser (RFC 4592 §3.3.1) is a
//! binary search: seven probes at 127 labels.

use super::find::name_server;
use super::found::{Fit, Host, Hosts, Lead, Missing, Node, Owned, Told, Types, Why, Zone};
use super::table::scoped;
use super::{
    App, AppIndex, Gate, LooseName, NameEntry, Owner, OwnerKind, Snapshot, Space, SpaceIndex, View, name_hash,
};
use crate::name::{NAME_MAX, NameBuffer, same};

impl Snapshot {
    /// App hostnames and domains: in a zone that is all ours, whose name starts at the label `exclusive`, or names that overlay a public suffix.
    #[inline(always)]
    pub(super) fn find_hostname<'s, T: Told<'s>>(
        &'s self,
        (view, space): (View, &'s Space),
        name: &NameBuffer,
        exclusive: Option<usize>,
        lead: Lead,
    ) -> T {
        // Almost every name that is ours is held by an app, and is the first that looks like it. Anything else is looked up again.
        let first = match lead {
            Lead::Owner { app, owner } => Some(NameEntry::Owner { app, owner }),
            Lead::None | Lead::App(_) => self.names.candidates(scoped(u64::from(view.space), name.hash())).next(),
        };
        if let Some(NameEntry::Owner { app, owner }) = first
            && let Some((app, owner)) = self.owner_named(app, owner, view.space, name.wire())
            && let Some(host) = host(space, app, owner.kind)
            && exclusive != Some(0)
        {
            return T::owned(match exclusive {
                Some(apex) => Owned { apex, types: Types::All, node: Node::Host(host.inside()) },
                None => host.overlay(),
            });
        }
        let entry = first.and_then(|_| self.entry_of(view, name));
        if let Some(below) = exclusive {
            return T::owned(self.find_exclusive(view, space, name, entry, below));
        }
        match self.find_overlay(view, space, name, entry) {
            Some(owned) => T::owned(owned),
            None => T::foreign(),
        }
    }

    /// A zone of app hostnames that is all ours.
    fn find_exclusive<'s>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        entry: Option<Entry<'s>>,
        below: usize,
    ) -> Owned<'s> {
        let node = if below == 0 { Node::Apex } else { self.find_in_exclusive(view, space, name, entry, below) };
        let node = match node {
            Node::Missing(_) => name_server(space, name, below).unwrap_or(node),
            node => node,
        };
        // The zone is ours whole, so a custom domain in it has no public zone that its other types could be in.
        Owned { apex: below, types: Types::All, node }
    }

    #[inline(always)]
    fn find_in_exclusive<'s>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        entry: Option<Entry<'s>>,
        below: usize,
    ) -> Node<'s> {
        match entry {
            Some(Entry::Owner(app, kind)) => {
                host(space, app, kind).map_or(Node::Missing(Missing::NoName), |host| Node::Host(host.inside()))
            }
            Some(Entry::EmptyNonTerminal) => Node::EmptyNonTerminal,
            Some(Entry::Tombstone(_)) => Node::Missing(Missing::Removed),
            None => {
                let encloser = self.closest_encloser(view, name, below);
                match self.wildcard(view, space, name, encloser) {
                    Some(host) => Node::Host(host.inside()),
                    None => Node::Missing(Missing::NoName),
                }
            }
        }
    }

    /// Names that overlay a public suffix: the exact name, or a declared wildcard.
    fn find_overlay<'s>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        entry: Option<Entry<'s>>,
    ) -> Option<Owned<'s>> {
        let count = name.label_count();
        match entry {
            Some(Entry::Owner(app, kind)) => {
                if let Some(host) = host(space, app, kind) {
                    return Some(host.overlay());
                }
            }
            Some(Entry::Tombstone(loose)) => {
                return Some(Owned { apex: 0, types: loose.types, node: Node::Missing(Missing::Removed) });
            }
            Some(Entry::EmptyNonTerminal) => {
                if let Some(apex) = self.wildcard_above(view, name, 1) {
                    return Some(Owned { apex, types: Types::Address, node: Node::EmptyNonTerminal });
                }
            }
            None => {
                let encloser = self.closest_encloser(view, name, count);
                if let Some(host) = self.wildcard(view, space, name, encloser) {
                    return Some(Owned { apex: encloser, types: Types::Address, node: Node::Host(host) });
                }
                // Below an empty non-terminal of a wildcard's domain the wildcard does not hold (RFC 4592 §2.2.2).
                if let Some(apex) = self.wildcard_above(view, name, encloser + 1) {
                    return Some(Owned { apex, types: Types::Address, node: Node::Missing(Missing::NoName) });
                }
            }
        }
        if count == 1 && self.is_zone_or_above(view, name) {
            return Some(Owned { apex: count, types: Types::NotDelegation, node: Node::EmptyNonTerminal });
        }
        None
    }

    /// What a name outside the discovery domains is in `space`; `wire` is the whole name, lower-cased.
    #[must_use]
    pub fn name_entry(&self, space: SpaceIndex, wire: &[u8]) -> Option<NameEntry> {
        self.names.find(name_hash(space, wire), |entry| self.entry_named(entry, space, wire).is_some())
    }

    fn entry(&self, view: View, wire: &[u8]) -> Option<Entry<'_>> {
        self.entry_under(name_hash(view.space, wire), view.space, wire)
    }

    /// The same for a name whose hash was made when it was read.
    #[inline(never)]
    fn entry_of(&self, view: View, name: &NameBuffer) -> Option<Entry<'_>> {
        self.entry_under(scoped(u64::from(view.space), name.hash()), view.space, name.wire())
    }

    #[inline(always)]
    fn entry_under(&self, hash: u64, space: SpaceIndex, wire: &[u8]) -> Option<Entry<'_>> {
        for entry in self.names.candidates(hash) {
            if let Some(entry) = self.entry_named(entry, space, wire) {
                return Some(entry);
            }
        }
        None
    }

    /// What is behind `entry`, if that is what `wire` names.
    #[inline(always)]
    fn entry_named(&self, entry: NameEntry, space: SpaceIndex, wire: &[u8]) -> Option<Entry<'_>> {
        let (entry, name) = match entry {
            NameEntry::Owner { app, owner } => {
                let (app, owner) = self.owner_named(app, owner, space, wire)?;
                return Some(Entry::Owner(app, owner.kind));
            }
            NameEntry::EmptyNonTerminal(loose) => (Entry::EmptyNonTerminal, &self.loose_name(loose, space)?.name),
            NameEntry::Tombstone(loose) => {
                let loose = self.loose_name(loose, space)?;
                (Entry::Tombstone(loose), &loose.name)
            }
        };
        same(name.wire(), wire).then_some(entry)
    }

    #[inline(always)]
    fn owner_named(&self, app: AppIndex, owner: u16, space: SpaceIndex, wire: &[u8]) -> Option<(&App, &Owner)> {
        let app = self.apps.at(app)?;
        let owner = app.owners.get(usize::from(owner))?;
        (app.space == space && same(owner.name.wire(), wire)).then_some((app, owner))
    }

    #[cold]
    #[inline(never)]
    fn loose_name(&self, index: u32, space: SpaceIndex) -> Option<&LooseName> {
        self.loose.at(index).filter(|loose| loose.space == space)
    }

    /// The label of the longest ancestor of `name` that exists, among labels 1 to `last`; `last` itself is taken as existing.
    #[inline(never)]
    fn closest_encloser(&self, view: View, name: &NameBuffer, last: usize) -> usize {
        let (mut low, mut high) = (1, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            // A tombstone is no node: it has no ancestors of its own.
            let exists =
                matches!(self.entry(view, name.suffix(middle)), Some(Entry::Owner(..) | Entry::EmptyNonTerminal));
            if exists { high = middle } else { low = middle + 1 }
        }
        high
    }

    /// What the wildcard directly below the ancestor at label `encloser` gives for `name`.
    fn wildcard<'s>(&'s self, view: View, space: &'s Space, name: &NameBuffer, encloser: usize) -> Option<Host<'s>> {
        let Some(Entry::Owner(app, kind)) = self.wildcard_entry(view, name, encloser) else { return None };
        // Names with a leading underscore are protocol matters of the public zone (`_acme-challenge`, `_dmarc`).
        if (0..encloser).any(|index| name.label(index).first() == Some(&b'_')) {
            return None;
        }
        host(space, app, kind)
    }

    /// The label, from `first` on, of an ancestor that has a wildcard directly below it.
    fn wildcard_above(&self, view: View, name: &NameBuffer, first: usize) -> Option<usize> {
        (first..name.label_count()).find(|index| self.wildcard_entry(view, name, *index).is_some())
    }

    fn wildcard_entry(&self, view: View, name: &NameBuffer, encloser: usize) -> Option<Entry<'_>> {
        let suffix = name.suffix(encloser);
        let mut wire = [0; NAME_MAX];
        let (star, rest) = wire.split_first_chunk_mut::<2>()?;
        *star = *b"\x01*";
        rest.get_mut(..suffix.len())?.copy_from_slice(suffix);
        self.entry(view, wire.get(..suffix.len() + 2)?)
    }
}

/// What a name outside the discovery domains is, with what it leads to: a [`NameEntry`] resolved.
#[derive(Clone, Copy)]
enum Entry<'s> {
    /// An app holds it.
    Owner(&'s App, OwnerKind),
    /// Nothing is there, and something is below it.
    EmptyNonTerminal,
    /// An app held it until a while ago.
    Tombstone(&'s LooseName),
}

/// What a name is that `app` holds.
#[inline(always)]
fn host<'s>(space: &'s Space, app: &'s App, kind: OwnerKind) -> Option<Host<'s>> {
    let zone = match kind {
        OwnerKind::Hostname | OwnerKind::Target => Zone::Apex,
        OwnerKind::Domain | OwnerKind::Wildcard => Zone::Inside,
    };
    let (hosts, why) = match &app.gate {
        Gate::Router => (Hosts::Set(&space.router), Why::Nothing),
        Gate::Web(component) => (Hosts::Set(&app.components.get(usize::from(*component))?.up), Why::Nothing),
        Gate::Closed(reason) => (Hosts::None, Why::Text(reason)),
        Gate::KeptRouter(component) => {
            (Hosts::Set(&space.router), Why::Kept(app, app.components.get(usize::from(*component))?))
        }
        Gate::KeptWeb(component) => {
            let component = app.components.get(usize::from(*component))?;
            (Hosts::Set(&component.up), Why::Kept(app, component))
        }
    };
    Some(Host { hosts, why, fit: Fit::Some, zone })
}

impl<'s> Host<'s> {
    /// A name that overlays a public suffix.
    #[inline(always)]
    const fn overlay(self) -> Owned<'s> {
        let types = match self.zone {
            Zone::Apex => Types::All,
            Zone::Inside => Types::Address,
        };
        Owned { apex: 0, types, node: Node::Host(self) }
    }

    /// The same in a zone that is all ours: it is no apex of its own there.
    #[inline(always)]
    const fn inside(mut self) -> Self {
        self.zone = Zone::Inside;
        self
    }
}
