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

use super::found::{Fit, Found, Host, Hosts, Missing, Node, Owned, Pointer, SrvSet, Types, Why, Zone};
use super::special::Reserved;
use super::table::scoped;
use super::{
    ApexKind, App, AppIndex, Audience, Bare, Component, Gate, Lan, NameEntry, NameServer, OwnerKind, Snapshot, Space,
    SpaceIndex, View, key_of, name_hash,
};
use crate::name::{NAME_MAX, Name, NameBuffer};

impl Snapshot {
    /// Finds what `name` is to a caller with this view.
    #[inline(always)]
    #[must_use]
    pub fn find<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        let declared = self.find_declared(view, name);
        if matches!(declared, Found::Owned(Owned { types: Types::All, .. })) {
            return declared;
        }
        match (declared, Reserved::of(name)) {
            (_, None) => declared,
            // A domain that has its other types in the public zone has no such zone here.
            (Found::Owned(owned), Some(_)) if owned.types == Types::Address => {
                Found::Owned(Owned { types: Types::All, ..owned })
            }
            (_, Some(reserved)) => Found::Owned(self.find_reserved(view, name, reserved)),
        }
    }

    /// Finds what `name` is to a caller with this view where a rule sends it elsewhere that would stay here otherwise: what is declared is ours
    /// all the same, and so is what lies above an address that is; a name is not for being one that should not leave.
    #[must_use]
    pub fn find_opened<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        match self.find_declared(view, name) {
            Found::Owned(Owned {
                node: Node::Missing(Missing::NoLan | Missing::NoService | Missing::NoAddress),
                ..
            }) => Found::Foreign,
            declared => declared,
        }
    }

    /// Finds what `name` is by what is declared.
    #[inline(always)]
    fn find_declared<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        let Some(space) = self.space(view.space) else { return Found::Foreign };
        if let Some(owned) = self.find_bare(view, name) {
            return Found::Owned(owned);
        }
        for apex in &space.apexes {
            let Some(below) = name.label_count().checked_sub(apex.labels) else { continue };
            if name.suffix(below) == apex.name.wire() {
                let (types, node) = match apex.kind {
                    ApexKind::Discovery => (Types::All, self.find_discovery(view, name, below)),
                    ApexKind::Hostnames => self.find_exclusive(view, space, name, below),
                };
                let node = match node {
                    Node::Missing(_) => name_server(space, name, below).unwrap_or(node),
                    node => node,
                };
                return Found::Owned(Owned { apex: below, types, node });
            }
        }
        // An end by octets is enough here: below, labels are compared.
        if name.wire().ends_with(b"\x04arpa\x00")
            && let Some(found) = self.find_reverse(view, space, name)
        {
            return Found::Owned(found);
        }
        self.find_overlay(view, space, name)
    }

    /// Bare names: one label, and `_tcp.<service>` with what is below it.
    #[inline(always)]
    fn find_bare<'s>(&'s self, view: View, name: &NameBuffer) -> Option<Owned<'s>> {
        let count = name.label_count();
        let below_tcp = count > 1 && name.suffix(count - 2).starts_with(b"\x04_tcp");
        if !(count == 1 || below_tcp) {
            return None;
        }
        let owned = |node| Some(Owned { apex: count, types: Types::NotDelegation, node });
        let app = match view.lan {
            Lan::App(app) => self.apps.at(app)?,
            Lan::Ambiguous if !self.is_zone_or_above(view, name) => {
                return owned(Node::Host(Host::empty(Why::AmbiguousCaller)));
            }
            Lan::Ambiguous | Lan::None => return self.no_bare(view, name, Missing::NoLan),
        };
        let Some((_, component)) = app.component(name.label(count - 1)).filter(|(_, found)| found.bare == Bare::Named)
        else {
            return self.no_bare(view, name, Missing::NoService);
        };
        if count == 1 {
            let host = Host {
                hosts: Hosts::Set(&component.up),
                why: Why::of(app, component),
                fit: Fit::Some,
                zone: Zone::Inside,
            };
            // The name is the app's for every type: a stub that validates gets NODATA, not the root's word for it.
            return Some(Owned { apex: count, types: Types::All, node: Node::Host(host) });
        }
        let node = match count {
            2 if component.ports.is_empty() => Node::Missing(Missing::NoInstance),
            2 => Node::EmptyNonTerminal,
            3 => srv(app, component, name.label(0)),
            _ => Node::Missing(Missing::NoInstance),
        };
        Some(Owned { apex: count, types: Types::All, node })
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

    fn find_discovery<'s>(&'s self, view: View, name: &NameBuffer, below: usize) -> Node<'s> {
        let Some(app_label) = below.checked_sub(1) else { return Node::Apex };
        let visible = self
            .app_named(view.space, name.label(app_label))
            .filter(|(index, app)| app.audience == Audience::Space || view.lan == Lan::App(*index));
        let Some((_, app)) = visible else { return Node::Missing(Missing::NoApp) };
        let Some(component_label) = app_label.checked_sub(1) else { return Node::EmptyNonTerminal };
        let Some((_, component)) = app.component(name.label(component_label)) else {
            return Node::Missing(Missing::NoComponent);
        };
        match component_label {
            0 => Node::Host(Host {
                hosts: Hosts::Set(&component.up),
                why: Why::of(app, component),
                fit: Fit::All,
                zone: Zone::Inside,
            }),
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

    /// A zone of app hostnames that is all ours.
    fn find_exclusive<'s>(
        &'s self,
        view: View,
        space: &'s Space,
        name: &NameBuffer,
        below: usize,
    ) -> (Types, Node<'s>) {
        if below == 0 {
            return (Types::All, Node::Apex);
        }
        let node = match self.entry_of(view, name) {
            Some(NameEntry::Owner { app, owner }) => {
                self.host(space, app, owner).map_or(Node::Missing(Missing::NoName), |host| Node::Host(host.inside()))
            }
            Some(NameEntry::EmptyNonTerminal(_)) => Node::EmptyNonTerminal,
            Some(NameEntry::Tombstone(_)) => Node::Missing(Missing::Removed),
            None => {
                let encloser = self.closest_encloser(view, name, below);
                match self.wildcard(view, space, name, encloser) {
                    Some(host) => Node::Host(host.inside()),
                    None => Node::Missing(Missing::NoName),
                }
            }
        };
        // The zone is ours whole, so a custom domain in it has no public zone that its other types could be in.
        (Types::All, node)
    }

    /// Names that overlay a public suffix: the exact name, or a declared wildcard.
    #[inline(always)]
    fn find_overlay<'s>(&'s self, view: View, space: &'s Space, name: &NameBuffer) -> Found<'s> {
        let count = name.label_count();
        match self.entry_of(view, name) {
            Some(NameEntry::Owner { app, owner }) => {
                if let Some(host) = self.host(space, app, owner) {
                    let types = if host.zone == Zone::Apex { Types::All } else { Types::Address };
                    return Found::Owned(Owned { apex: 0, types, node: Node::Host(host) });
                }
            }
            Some(NameEntry::Tombstone(loose)) => {
                let types = self.loose.at(loose).map_or(Types::Address, |loose| loose.types);
                return Found::Owned(Owned { apex: 0, types, node: Node::Missing(Missing::Removed) });
            }
            Some(NameEntry::EmptyNonTerminal(_)) => {
                if let Some(apex) = self.wildcard_above(view, name, 1) {
                    return Found::Owned(Owned { apex, types: Types::Address, node: Node::EmptyNonTerminal });
                }
            }
            None => {
                let encloser = self.closest_encloser(view, name, count);
                if let Some(host) = self.wildcard(view, space, name, encloser) {
                    return Found::Owned(Owned { apex: encloser, types: Types::Address, node: Node::Host(host) });
                }
                // Below an empty non-terminal of a wildcard's domain the wildcard does not hold (RFC 4592 §2.2.2).
                if let Some(apex) = self.wildcard_above(view, name, encloser + 1) {
                    return Found::Owned(Owned { apex, types: Types::Address, node: Node::Missing(Missing::NoName) });
                }
            }
        }
        if count == 1 && self.is_zone_or_above(view, name) {
            return Found::Owned(Owned { apex: count, types: Types::NotDelegation, node: Node::EmptyNonTerminal });
        }
        Found::Foreign
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

    fn entry(&self, view: View, wire: &[u8]) -> Option<NameEntry> {
        self.name_entry(view.space, wire)
    }

    /// What a name outside the discovery domains is in `space`; `wire` is the whole name, lower-cased.
    #[must_use]
    pub fn name_entry(&self, space: SpaceIndex, wire: &[u8]) -> Option<NameEntry> {
        self.entry_under(name_hash(space, wire), space, wire)
    }

    /// The same for a name whose hash was made when it was read.
    fn entry_of(&self, view: View, name: &NameBuffer) -> Option<NameEntry> {
        self.entry_under(scoped(u64::from(view.space), name.hash()), view.space, name.wire())
    }

    #[inline]
    fn entry_under(&self, hash: u64, space: SpaceIndex, wire: &[u8]) -> Option<NameEntry> {
        self.names.find(hash, |entry| match entry {
            NameEntry::Owner { app, owner } => self
                .apps
                .at(app)
                .filter(|app| app.space == space)
                .and_then(|app| app.owners.get(usize::from(owner)))
                .is_some_and(|owner| owner.name.wire() == wire),
            NameEntry::EmptyNonTerminal(loose) | NameEntry::Tombstone(loose) => {
                self.loose.at(loose).is_some_and(|loose| loose.space == space && loose.name.wire() == wire)
            }
        })
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

    #[inline(never)]
    /// The label of the longest ancestor of `name` that exists, among labels 1 to `last`; `last` itself is taken as existing.
    fn closest_encloser(&self, view: View, name: &NameBuffer, last: usize) -> usize {
        let (mut low, mut high) = (1, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            // A tombstone is no node: it has no ancestors of its own.
            let exists = matches!(
                self.entry(view, name.suffix(middle)),
                Some(NameEntry::Owner { .. } | NameEntry::EmptyNonTerminal(_))
            );
            if exists { high = middle } else { low = middle + 1 }
        }
        high
    }

    /// What the wildcard directly below the ancestor at label `encloser` gives for `name`.
    fn wildcard<'s>(&'s self, view: View, space: &'s Space, name: &NameBuffer, encloser: usize) -> Option<Host<'s>> {
        let Some(NameEntry::Owner { app, owner }) = self.wildcard_entry(view, name, encloser) else { return None };
        // Names with a leading underscore are protocol matters of the public zone (`_acme-challenge`, `_dmarc`).
        if (0..encloser).any(|index| name.label(index).first() == Some(&b'_')) {
            return None;
        }
        self.host(space, app, owner)
    }

    /// The label, from `first` on, of an ancestor that has a wildcard directly below it.
    fn wildcard_above(&self, view: View, name: &NameBuffer, first: usize) -> Option<usize> {
        (first..name.label_count()).find(|index| self.wildcard_entry(view, name, *index).is_some())
    }

    fn wildcard_entry(&self, view: View, name: &NameBuffer, encloser: usize) -> Option<NameEntry> {
        let suffix = name.suffix(encloser);
        let mut wire = [0; NAME_MAX];
        let (star, rest) = wire.split_first_chunk_mut::<2>()?;
        *star = *b"\x01*";
        rest.get_mut(..suffix.len())?.copy_from_slice(suffix);
        self.entry(view, wire.get(..suffix.len() + 2)?)
    }

    #[inline(always)]
    fn host<'s>(&'s self, space: &'s Space, app: AppIndex, owner: u16) -> Option<Host<'s>> {
        let app = self.apps.at(app)?;
        let zone = match app.owners.get(usize::from(owner))?.kind {
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
}

impl Host<'_> {
    const fn empty(why: Why<'_>) -> Host<'_> {
        Host { hosts: Hosts::None, why, fit: Fit::Some, zone: Zone::Inside }
    }

    /// The same in a zone that is all ours: it is no apex of its own there.
    const fn inside(mut self) -> Self {
        self.zone = Zone::Inside;
        self
    }
}

/// Whether `zone` is `name` or lies below it.
pub(super) fn is_at_or_above(name: &NameBuffer, zone: &Name) -> bool {
    // An end by octets is one by labels only where a label starts.
    zone.wire().ends_with(name.wire())
        && zone
            .labels()
            .skip(zone.label_count().saturating_sub(name.label_count()))
            .eq((0..name.label_count()).map(|index| name.label(index)))
}

/// A name server that the space has inside the zone at label `apex`, or what lies between the two.
///
/// Whoever follows the zone's NS must get there by this very server.
fn name_server<'s>(space: &'s Space, name: &NameBuffer, apex: usize) -> Option<Node<'s>> {
    let inside = |server: &&NameServer| server.name.wire().ends_with(name.suffix(apex));
    for server in space.ns.iter().filter(inside) {
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
