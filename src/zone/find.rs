//! What a name is to a caller: the one place where existence is decided.
//!
//! Longest match first, as the design has it (§4): a bare name of the caller's LAN, then the zones that are all ours, then
//! the names that overlay a public suffix, then what is reserved though nothing declares it ([`super::special`]). Below an app's part of a
//! discovery domain the app's own components say what exists.
//! Elsewhere every name has its ancestors beside it as empty non-terminals, so existence is monotone and the closest encloser
//! (RFC 4592 §3.3.1) is a binary search: seven probes at 127 labels.
//!
//! A name that the caller may not see takes the very path of one that does not exist.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::found::{Fit, Found, Host, Hosts, Missing, Node, Owned, Plain, Pointer, SrvSet, Told, Types, Why, Zone};
use super::special::Reserved;
use super::table::scoped;
use super::{
    ApexKind, App, AppIndex, Audience, Bare, Component, Gate, Lan, LooseName, NameEntry, NameServer, Owner, OwnerKind,
    Snapshot, Space, SpaceIndex, View, key_of, name_hash,
};
use crate::name::{NAME_MAX, Name, NameBuffer, hash, same, same_label};

impl Snapshot {
    /// Finds what `name` is to a caller with this view.
    #[must_use]
    pub fn find<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        self.space(view.space).map_or(Found::Foreign, |space| self.find_told(view, space, name))
    }

    /// The same, told as far as a plain question for addresses needs it.
    #[inline(always)]
    #[must_use]
    pub fn find_plain<'s>(&'s self, view: View, space: &'s Space, name: &NameBuffer) -> Plain<'s> {
        self.find_told(view, space, name)
    }

    #[inline(always)]
    fn find_told<'s, T: Told<'s>>(&'s self, view: View, space: &'s Space, name: &NameBuffer) -> T {
        let declared: T = self.find_declared(view, space, name);
        if declared.types() == Some(Types::All) {
            return declared;
        }
        match Reserved::of(name) {
            None => declared,
            Some(reserved) => T::owned(self.find_reserved_or_declared(view, space, name, reserved)),
        }
    }

    /// What a reserved name is, which is not ours for every type by what is declared.
    #[cold]
    fn find_reserved_or_declared<'s>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        reserved: Reserved,
    ) -> Owned<'s> {
        match self.find_declared(view, space, name) {
            // A domain that has its other types in the public zone has no such zone here.
            Found::Owned(owned) if owned.types == Types::Address => Owned { types: Types::All, ..owned },
            _ => self.find_reserved(view, name, reserved),
        }
    }

    /// Finds what `name` is to a caller with this view where a rule sends it elsewhere that would stay here otherwise: what is declared is ours
    /// all the same, and so is what lies above an address that is; a name is not for being one that should not leave.
    #[must_use]
    pub fn find_opened<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        let Some(space) = self.space(view.space) else { return Found::Foreign };
        match self.find_declared(view, space, name) {
            Found::Owned(Owned {
                node: Node::Missing(Missing::NoLan | Missing::NoService | Missing::NoAddress),
                ..
            }) => Found::Foreign,
            declared => declared,
        }
    }

    /// Finds what `name` is by what is declared.
    #[inline(always)]
    fn find_declared<'s, T: Told<'s>>(&'s self, view: View, space: &'s Space, name: &NameBuffer) -> T {
        let count = name.label_count();
        if count == 1 {
            if let Some(owned) = self.find_bare(view, name) {
                return owned;
            }
        } else if count > 1
            && name.word(name.offset(count - 2)) & TCP_MASK == TCP
            && let Some(owned) = self.find_below_bare(view, name)
        {
            return T::owned(owned);
        }
        let end = name.word(name.wire().len().saturating_sub(8));
        let mut exclusive = None;
        for apex in &space.apexes {
            // One comparison for those that end differently, as they mostly do.
            if apex.name.wire().last_chunk().is_some_and(|octets| u64::from_le_bytes(*octets) != end) {
                continue;
            }
            let Some(below) = count.checked_sub(apex.labels) else { continue };
            if name.ends_as(below, apex.name.wire()) {
                if apex.kind == ApexKind::Discovery {
                    return self.find_discovery(view, space, name, below);
                }
                exclusive = Some(below);
                break;
            }
        }
        // An end by octets is enough here: below, labels are compared.
        if end >> 16 == ARPA
            && exclusive.is_none()
            && let Some(found) = self.find_reverse(view, space, name)
        {
            return T::owned(found);
        }
        self.find_hostname(view, space, name, exclusive)
    }

    /// Bare names: one label.
    #[inline(always)]
    fn find_bare<'s, T: Told<'s>>(&'s self, view: View, name: &NameBuffer) -> Option<T> {
        let Lan::App(app) = view.lan else { return self.no_lan(view, name).map(T::owned) };
        let app = self.apps.at(app)?;
        match component(app, name.label(0)) {
            // The name is the app's for every type: a stub that validates gets NODATA, not the root's word for it.
            Some(component) if component.bare == Bare::Named => {
                let node = Node::Host(up(app, component, Fit::Some));
                Some(T::owned(Owned { apex: 1, types: Types::All, node }))
            }
            _ => self.no_bare(view, name, Missing::NoService).map(T::owned),
        }
    }

    /// `_tcp.<service>` and what is below it.
    fn find_below_bare<'s>(&'s self, view: View, name: &NameBuffer) -> Option<Owned<'s>> {
        let count = name.label_count();
        let Lan::App(app) = view.lan else { return self.no_lan(view, name) };
        let app = self.apps.at(app)?;
        let component = component(app, name.label(count - 1)).filter(|found| found.bare == Bare::Named)?;
        let node = match count {
            2 if component.ports.is_empty() => Node::Missing(Missing::NoInstance),
            2 => Node::EmptyNonTerminal,
            3 => srv(app, component, name.label(0)),
            _ => Node::Missing(Missing::NoInstance),
        };
        Some(Owned { apex: count, types: Types::All, node })
    }

    /// What a bare name, or one below it, is to a caller on no app's LAN, or on those of several.
    fn no_lan<'s>(&'s self, view: View, name: &NameBuffer) -> Option<Owned<'s>> {
        if view.lan == Lan::Ambiguous && !self.is_zone_or_above(view, name) {
            let node = Node::Host(Host::empty(Why::AmbiguousCaller));
            return Some(Owned { apex: name.label_count(), types: Types::NotDelegation, node });
        }
        self.no_bare(view, name, Missing::NoLan)
    }

    /// A single label that is nobody's bare name: NXDOMAIN, unless a zone of ours is there or below.
    fn no_bare<'s>(&'s self, view: View, name: &NameBuffer, missing: Missing) -> Option<Owned<'s>> {
        if name.label_count() != 1 || self.is_zone_or_above(view, name) {
            return None;
        }
        Some(Owned { apex: 1, types: Types::NotDelegation, node: Node::Missing(missing) })
    }

    /// Whether a zone of the space is at `name` or below it.
    pub(super) fn is_zone_or_above(&self, view: View, name: &NameBuffer) -> bool {
        self.space(view.space).is_some_and(|space| space.apexes.iter().any(|apex| is_at_or_above(name, &apex.name)))
    }

    #[inline(always)]
    fn find_discovery<'s, T: Told<'s>>(&'s self, view: View, space: &'s Space, name: &NameBuffer, below: usize) -> T {
        let owned = Owned { apex: below, types: Types::All, node: Node::Apex };
        let Some(app_label) = below.checked_sub(1) else { return T::owned(owned) };
        let visible = self
            .app_at(view.space, name, app_label)
            .filter(|(index, app)| app.audience == Audience::Space || view.lan == Lan::App(*index));
        let Some((_, app)) = visible else { return absent(space, name, owned, Missing::NoApp) };
        let Some(component_label) = app_label.checked_sub(1) else {
            return T::owned(Owned { node: Node::EmptyNonTerminal, ..owned });
        };
        let Some(component) = component(app, name.label(component_label)) else {
            return absent(space, name, owned, Missing::NoComponent);
        };
        if component_label == 0 {
            return T::owned(Owned { node: Node::Host(up(app, component, Fit::All)), ..owned });
        }
        match below_component(app, component, name, component_label) {
            Node::Missing(missing) => absent(space, name, owned, missing),
            node => T::owned(Owned { node, ..owned }),
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

    /// App hostnames and domains: in a zone that is all ours, whose name starts at the label `exclusive`, or names that overlay a public suffix.
    #[inline(always)]
    fn find_hostname<'s, T: Told<'s>>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        exclusive: Option<usize>,
    ) -> T {
        // Almost every name that is ours is held by an app, and is the first that looks like it. Anything else is looked up again.
        let first = self.names.candidates(scoped(u64::from(view.space), name.hash())).next();
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

    /// Reverse names of the space's addresses.
    ///
    /// Every octet or nibble between a zone's apex and a whole address is an empty non-terminal, whether an address is
    /// registered below it or not: else its existence would tell of instances that the caller may not see.
    fn find_reverse<'s>(&'s self, view: View, space: &Space, name: &NameBuffer) -> Option<Owned<'s>> {
        let count = name.label_count();
        let apex = (0..count)
            .find(|index| space.reverse.binary_search_by(|zone| zone.wire().cmp(name.suffix(*index))).is_ok())?;
        let node = if apex == 0 {
            Node::Apex
        } else {
            match reversed(name) {
                Reversed::Address(address) => {
                    self.pointer(view, address).map_or(Node::Missing(Missing::NoAddress), Node::Pointer)
                }
                Reversed::Part => Node::EmptyNonTerminal,
                Reversed::Neither => Node::Missing(Missing::NoAddress),
            }
        };
        Some(Owned { apex, types: Types::All, node })
    }

    fn pointer(&self, view: View, address: IpAddr) -> Option<Pointer<'_>> {
        let holder = self.holder(key_of(address))?;
        let app = self.apps.at(holder.app)?;
        if app.space != view.space || (app.audience == Audience::Lan && view.lan != Lan::App(holder.app)) {
            return None;
        }
        let component = app.components.get(usize::from(holder.component))?;
        let instance = component.instances.get(usize::from(holder.instance))?;
        Some(Pointer { app, component, instance })
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

    /// The app whose name in `space` is the label at `index`.
    #[inline(always)]
    fn app_at(&self, space: SpaceIndex, name: &NameBuffer, index: usize) -> Option<(AppIndex, &App)> {
        let label = name.label(index);
        for index in self.app_names.candidates(scoped(u64::from(space), hash(label))) {
            if let Some(app) = self.apps.at(index)
                && app.space == space
                && same_label(app.label.octets(), label)
            {
                return Some((index, app));
            }
        }
        None
    }

    /// Loads what answering about `name` will read first, so that the memory of a whole batch is waited for together and not query by
    /// query. What it returns means nothing, but that the loads are not left out.
    ///
    /// Who asks is not known yet, so the space is a guess: the first. A wrong one costs a few loads and nothing else.
    #[must_use]
    pub fn touch(&self, name: &NameBuffer) -> usize {
        let Some(NameEntry::Owner { app, owner }) = self.names.find(scoped(0, name.hash()), |_| true) else { return 0 };
        let Some(app) = self.apps.at(app) else { return 0 };
        let octets =
            app.owners.get(usize::from(owner)).map_or(0, |owner| usize::from(owner.name.wire().first() == Some(&1)));
        let addresses = app.components.first().and_then(|component| component.up.v4().first());
        octets + addresses.map_or(0, |address| usize::from(address.octets()[3]))
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

/// What the name of a component is.
#[inline(always)]
fn up<'s>(app: &'s App, component: &'s Component, fit: Fit) -> Host<'s> {
    Host { hosts: Hosts::Set(&component.up), why: Why::of(app, component), fit, zone: Zone::Inside }
}

/// What a name is that is not there, in a zone that is all ours: nothing, unless it is a name server's.
#[inline(always)]
fn absent<'s, T: Told<'s>>(space: &'s Space, name: &NameBuffer, owned: Owned<'s>, missing: Missing) -> T {
    for server in &space.ns {
        if is_inside(server, name, owned.apex)
            && let Some(node) = name_server(space, name, owned.apex)
        {
            return T::owned(Owned { node, ..owned });
        }
    }
    T::owned(Owned { node: Node::Missing(missing), ..owned })
}

/// What is below a component's name, whose label is at `label`.
#[inline(always)]
fn below_component<'s>(app: &'s App, component: &'s Component, name: &NameBuffer, label: usize) -> Node<'s> {
    match label {
        1 if name.label(0) == b"_tcp" && !component.ports.is_empty() => Node::EmptyNonTerminal,
        1 => match number_of(name.label(0)).and_then(|number| component.instance(number)) {
            Some((_, instance)) => Node::Host(Host {
                hosts: if instance.state.is_there() { Hosts::Instance(instance) } else { Hosts::None },
                why: Why::Instance(Pointer { app, component, instance }),
                fit: Fit::All,
                zone: Zone::Inside,
            }),
            None => Node::Missing(Missing::NoInstance),
        },
        2 if name.label(1) == b"_tcp" => srv(app, component, name.label(0)),
        _ => Node::Missing(Missing::NoInstance),
    }
}

/// The component called `label`. Most apps have a few, and those are compared faster than a place among them is searched.
#[inline(always)]
fn component<'s>(app: &'s App, label: &[u8]) -> Option<&'s Component> {
    match &*app.components {
        few if few.len() <= FEW => {
            for component in few {
                if same_label(component.label.octets(), label) {
                    return Some(component);
                }
            }
            None
        }
        _ => app.component(label).map(|(_, component)| component),
    }
}

/// How many components are looked at one by one.
const FEW: usize = 4;

/// `arpa.`, as the last six octets of a name's last word.
const ARPA: u64 = u64::from_le_bytes(*b"\x04arpa\0\0\0");
/// The label `_tcp` with its length, as the word of a name that begins with it.
const TCP: u64 = u64::from_le_bytes(*b"\x04_tcp\0\0\0");
const TCP_MASK: u64 = (1 << 40) - 1;

impl<'s> Host<'s> {
    const fn empty(why: Why<'s>) -> Self {
        Self { hosts: Hosts::None, why, fit: Fit::Some, zone: Zone::Inside }
    }

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

/// Whether `zone` is `name` or lies below it.
pub(super) fn is_at_or_above(name: &NameBuffer, zone: &Name) -> bool {
    // An end by octets is one by labels only where a label starts.
    let Some(above) = zone.wire().len().checked_sub(name.wire().len()) else { return false };
    same(zone.wire().get(above..).unwrap_or_default(), name.wire())
        && zone
            .labels()
            .skip(zone.label_count().saturating_sub(name.label_count()))
            .eq((0..name.label_count()).map(|index| name.label(index)))
}

/// Whether a name server's name ends as the zone at label `apex` does.
#[inline(always)]
fn is_inside(server: &NameServer, name: &NameBuffer, apex: usize) -> bool {
    let (server, apex) = (server.name.wire(), name.suffix(apex));
    server.len() >= apex.len() && server.ends_with(apex)
}

/// A name server that the space has inside the zone at label `apex`, or what lies between the two.
///
/// Whoever follows the zone's NS must get there by this very server.
fn name_server<'s>(space: &'s Space, name: &NameBuffer, apex: usize) -> Option<Node<'s>> {
    for server in space.ns.iter().filter(|server| is_inside(server, name, apex)) {
        if server.name.wire() == name.wire() {
            let why = Why::Text("the space's `ns` gives this name server no address");
            let hosts = Hosts::NameServer(server);
            return Some(Node::Host(Host { hosts, why, fit: Fit::All, zone: Zone::Inside }));
        }
        if is_at_or_above(name, &server.name) {
            return Some(Node::EmptyNonTerminal);
        }
    }
    None
}

fn srv<'s>(app: &'s App, component: &'s Component, label: &[u8]) -> Node<'s> {
    match label.strip_prefix(b"_").and_then(|label| component.port(label)) {
        Some(port) => Node::Srv(SrvSet { app, component, port }),
        None => Node::Missing(Missing::NoInstance),
    }
}

/// The instance number that a label is: decimal, without leading zeros.
fn number_of(label: &[u8]) -> Option<u32> {
    if label.first() == Some(&b'0') {
        return None;
    }
    label.iter().try_fold(0_u32, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// The octet that a label of `in-addr.arpa.` is.
pub(super) fn octet_of(label: &[u8]) -> Option<u8> {
    if label == b"0" { Some(0) } else { number_of(label).and_then(|number| u8::try_from(number).ok()) }
}

/// The nibble that a label of `ip6.arpa.` is; labels are lower-cased.
pub(super) const fn nibble_of(label: &[u8]) -> Option<u8> {
    match label {
        [digit @ b'0'..=b'9'] => Some(*digit - b'0'),
        [digit @ b'a'..=b'f'] => Some(*digit - b'a' + 10),
        _ => None,
    }
}

/// What a name below `arpa.` stands for.
enum Reversed {
    Address(IpAddr),
    Part,
    Neither,
}

fn reversed(name: &NameBuffer) -> Reversed {
    let Some(digits) = name.label_count().checked_sub(2) else { return Reversed::Neither };
    let labels = (0..digits).map(|index| name.label(index));
    match name.label(digits) {
        b"in-addr" => {
            let mut octets = [0_u8; 4];
            for (label, place) in labels.clone().rev().zip(0..) {
                match (octets.get_mut::<usize>(place), octet_of(label)) {
                    (Some(to), Some(octet)) => *to = octet,
                    _ => return Reversed::Neither,
                }
            }
            if digits == octets.len() { Reversed::Address(Ipv4Addr::from(octets).into()) } else { Reversed::Part }
        }
        b"ip6" => {
            let mut address = 0_u128;
            for label in labels.rev() {
                let Some(nibble) = nibble_of(label) else { return Reversed::Neither };
                address = address << 4 | u128::from(nibble);
            }
            match digits {
                0..32 => Reversed::Part,
                32 => Reversed::Address(Ipv6Addr::from_bits(address).into()),
                _ => Reversed::Neither,
            }
        }
        _ => Reversed::Neither,
    }
}
