//! What a name is to a caller: the one place where existence is decided.
//!
//! Longest match first, as the design has it (§4): a bare name of the caller's LAN, then the zones that are all ours, then
//! the names that overlay a public suffix, then what is reserved though nothing declares it ([`super::special`]). Below an app's part of a
//! discovery domain the app's own components say what exists. What a name is outside the discovery domains is in [`super::hostname`], what
//! the name of an address is in [`super::reverse`].
//!
//! A name that the caller may not see takes the very path of one that does not exist.

use super::found::{
    Fit, Found, Host, Hosts, Lead, Missing, Node, Owned, Plain, Pointer, Services, SrvSet, Told, Types, Why, Zone,
};
use super::special::Reserved;
use super::table::scoped;
use super::{ApexKind, App, AppIndex, Audience, Bare, Component, Lan, NameServer, Snapshot, Space, SpaceIndex, View};
use crate::name::{Name, NameBuffer, hash, same, same_label};

impl Snapshot {
    /// Finds what `name` is to a caller with this view.
    #[must_use]
    pub fn find<'s>(&'s self, view: View, name: &NameBuffer) -> Found<'s> {
        self.space(view.space).map_or(Found::Foreign, |space| self.find_told((view, space), name, Lead::None))
    }

    /// The same, told as far as a plain question for addresses needs it.
    #[inline(always)]
    #[must_use]
    pub fn find_plain<'s>(&'s self, shown: (View, &'s Space), name: &NameBuffer, lead: Lead) -> Plain<'s> {
        self.find_told(shown, name, lead)
    }

    /// The same as far as a plain question for services needs it.
    #[must_use]
    pub fn find_services<'s>(&'s self, shown: (View, &'s Space), name: &NameBuffer, lead: Lead) -> Services<'s> {
        self.find_told(shown, name, lead)
    }

    #[inline(always)]
    fn find_told<'s, T: Told<'s>>(&'s self, (view, space): (View, &'s Space), name: &NameBuffer, lead: Lead) -> T {
        let declared: T = self.find_declared((view, space), name, lead);
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
        match self.find_declared((view, space), name, Lead::None) {
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
        match self.find_declared((view, space), name, Lead::None) {
            Found::Owned(Owned {
                node: Node::Missing(Missing::NoLan | Missing::NoService | Missing::NoAddress),
                ..
            }) => Found::Foreign,
            declared => declared,
        }
    }

    /// Finds what `name` is by what is declared.
    #[inline(always)]
    fn find_declared<'s, T: Told<'s>>(&'s self, (view, space): (View, &'s Space), name: &NameBuffer, lead: Lead) -> T {
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
        let exclusive = match zone_of(space, name) {
            Some((ApexKind::Discovery, below)) => return self.find_discovery((view, space), name, below, lead),
            Some((ApexKind::Hostnames, below)) => Some(below),
            None => None,
        };
        // An end by octets is enough here: below, labels are compared.
        if end_of(name) >> 16 == ARPA
            && exclusive.is_none()
            && let Some(found) = self.find_reverse(view, space, name)
        {
            return T::owned(found);
        }
        self.find_hostname((view, space), name, exclusive, lead)
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
    fn find_discovery<'s, T: Told<'s>>(
        &'s self,
        (view, space): (View, &'s Space),
        name: &NameBuffer,
        below: usize,
        lead: Lead,
    ) -> T {
        let owned = Owned { apex: below, types: Types::All, node: Node::Apex };
        let Some(app_label) = below.checked_sub(1) else { return T::owned(owned) };
        let visible = self
            .app_at(view.space, name.label(app_label), lead)
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

    /// The app that is called so in `space`.
    #[inline(always)]
    fn app_at(&self, space: SpaceIndex, label: &[u8], lead: Lead) -> Option<(AppIndex, &App)> {
        let called = |index| {
            let app = self.apps.at(index)?;
            (app.space == space && same_label(app.label.octets(), label)).then_some((index, app))
        };
        if let Lead::App(index) = lead
            && let Some(found) = called(index)
        {
            return Some(found);
        }
        for index in self.app_names.candidates(scoped(u64::from(space), hash(label))) {
            if let Some(found) = called(index) {
                return Some(found);
            }
        }
        None
    }
}

/// The zone of the space that is all ours and that `name` is in: what kind it is, and the label that its own name starts at.
#[inline(always)]
fn zone_of(space: &Space, name: &NameBuffer) -> Option<(ApexKind, usize)> {
    let end = end_of(name);
    for apex in &space.apexes {
        // One comparison for those that end differently, as they mostly do.
        if apex.name.wire().last_chunk().is_some_and(|octets| u64::from_le_bytes(*octets) != end) {
            continue;
        }
        let Some(below) = name.label_count().checked_sub(apex.labels) else { continue };
        if name.ends_as(below, apex.name.wire()) {
            return Some((apex.kind, below));
        }
    }
    None
}

/// The last eight octets of a name, and what is behind it where it is shorter.
#[inline(always)]
pub(super) fn end_of(name: &NameBuffer) -> u64 {
    name.word(name.wire().len().saturating_sub(8))
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
pub(super) fn component<'s>(app: &'s App, label: &[u8]) -> Option<&'s Component> {
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
pub(super) fn name_server<'s>(space: &'s Space, name: &NameBuffer, apex: usize) -> Option<Node<'s>> {
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

#[inline(always)]
fn srv<'s>(app: &'s App, component: &'s Component, label: &[u8]) -> Node<'s> {
    if let [b'_', label @ ..] = label
        && let Some(port) = component.port(label)
    {
        return Node::Srv(SrvSet { app, component, port });
    }
    Node::Missing(Missing::NoInstance)
}

/// The instance number that a label is: decimal, without leading zeros.
pub(super) fn number_of(label: &[u8]) -> Option<u32> {
    if label.first() == Some(&b'0') {
        return None;
    }
    label.iter().try_fold(0_u32, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}
