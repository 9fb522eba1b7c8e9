//! What a name is to the caller, in which zone, and which app stands behind it (design §4.1).
//!
//! [`Snapshot::find`](crate::zone::Snapshot::find) has decided; what is read off the name here are the labels that it was found by.

use super::app::{Part, kind_words};
use super::{Inquiry, Subject};
use crate::name::{Label, Name, NameBuffer};
use crate::registry::{AppId, AppState, Audience, Source};
use crate::zone::{
    ApexKind, Found, Lan, Missing, NameEntry, Node, Owned, OwnerKind, SpaceIndex, Types, View, Why, reverse_name,
    reverse_zones,
};

/// A name of ours, as it was found.
struct Place<'s> {
    view: View,
    buffer: NameBuffer,
    owned: Owned<'s>,
    zone: Name,
}

impl Place<'_> {
    /// The label that stands so many labels above the zone's, from 1.
    fn above_zone(&self, labels: usize) -> Option<Label> {
        Label::from_octets(self.buffer.label(self.owned.apex.checked_sub(labels)?)).ok()
    }
}

impl Inquiry<'_> {
    /// Says what the name is, and what stands behind it.
    pub(super) fn explain_name(&mut self, view: View) {
        let (snapshot, buffer) = (self.snapshot, NameBuffer::from(self.name));
        let Found::Owned(owned) = snapshot.find(view, &buffer) else { return self.explain_foreign(view) };
        let zone = Name::from_wire(buffer.suffix(owned.apex)).unwrap_or_else(|_| Name::root());
        let Some(space) = snapshot.space(view.space) else { return };
        let apex = space.apexes.iter().find(|apex| apex.name == zone).map(|apex| apex.kind);
        let place = Place { view, buffer, owned, zone };
        match apex {
            Some(ApexKind::Discovery) => self.explain_discovery(&place),
            Some(ApexKind::Hostnames) => self.explain_hostname(&place),
            None if place.zone.is_root() => self.explain_bare(&place),
            None if space.reverse.contains(&place.zone) => self.explain_reverse(&place),
            None => self.explain_hostname(&place),
        }
    }

    fn explain_bare(&mut self, place: &Place<'_>) {
        let name = self.name;
        let service = || place.above_zone(1);
        let part = match (place.owned.node, place.owned.types) {
            (Node::EmptyNonTerminal, _) if self.name.labels().next() != Some(b"_tcp") => {
                return self.name_is("stands above a zone of ours, and is never asked upstream", None);
            }
            (Node::Missing(Missing::SpecialUse), _) => {
                return self.name_is("is a special-use name, and is asked upstream by a rule of its own alone", None);
            }
            (Node::Localhost, _) => return self.name_is("is whoever asks", None),
            (Node::Host(host), _) if matches!(host.why, Why::AmbiguousCaller) => {
                let apps: Vec<String> = self
                    .registry
                    .address_holders(self.caller)
                    .iter()
                    .filter_map(|(app, ..)| Some(self.registry.app(*app)?.label.to_string()))
                    .collect();
                let words = format!("is a bare name, and the caller may be on the LAN of {}", apps.join(" or "));
                return self.name_is(&words, None);
            }
            (Node::Missing(Missing::NoLan), _) => return self.explain_bare_elsewhere(place),
            (Node::Missing(Missing::NoService), _) => return self.explain_no_service(place),
            (Node::Host(_), _) => service().map(Part::Component),
            (Node::Srv(set), _) => service().map(|label| Part::Port(label, set.port.label.clone())),
            _ => Some(Part::Nothing),
        };
        let (Lan::App(app), Some(part)) = (place.view.lan, part) else { return };
        let label = self.registry.app(app).map(|state| state.label.to_string()).unwrap_or_default();
        let words = match part {
            Part::Component(_) => format!("{name} is the bare name of a service on the LAN of {label}"),
            Part::Port(..) => format!("{name} is the SRV set of a service on the LAN of {label}"),
            _ if matches!(place.owned.node, Node::EmptyNonTerminal) => {
                format!("{name} stands above the SRV sets of a service on the LAN of {label}")
            }
            _ => format!("{name} is below a service on the LAN of {label}, which has no such port"),
        };
        self.say(Subject::Name, words, None);
        self.explain_app(app, &part);
    }

    /// A bare name, asked from no app's LAN.
    fn explain_bare_elsewhere(&mut self, place: &Place<'_>) {
        self.name_is("is a single label: a bare name, and those are for callers on an app's LAN", None);
        let registry = self.registry;
        for state in self.apps_of(place.view.space) {
            let component = place.above_zone(1).and_then(|label| state.components.get(&label).cloned());
            if let Some(component) = component.filter(|component| component.has_bare_name) {
                let source = component.source.or_else(|| registry.app(state.id)?.declared);
                self.say(Subject::Name, format!("it exists on the LAN of {}", state.label), source);
            }
        }
    }

    /// A bare name that no service of the caller's app has.
    fn explain_no_service(&mut self, place: &Place<'_>) {
        let Lan::App(app) = place.view.lan else { return };
        let Some(state) = self.registry.app(app) else { return };
        self.name_is(&format!("is a single label, and no service of {} is called that", state.label), None);
        if let Some((label, component)) = place
            .above_zone(1)
            .and_then(|label| Some((state.components.get(&label)?, label)))
            .map(|(found, label)| (label, found))
        {
            let words = format!(
                "{label} of {} is {}, and only services have bare names",
                state.label,
                kind_words(component.kind)
            );
            self.say(Subject::Name, words, component.source.clone());
        }
        let services = state.components.iter().filter(|(_, component)| component.has_bare_name);
        let services: Vec<String> = services.map(|(label, _)| label.to_string()).collect();
        let has = if services.is_empty() { "no service".to_owned() } else { services.join(", ") };
        self.say(Subject::App, format!("on the LAN of {} there is {has}", state.label), state.declared);
    }

    fn explain_discovery(&mut self, place: &Place<'_>) {
        let zone = &place.zone;
        let Some(app_label) = place.above_zone(1) else {
            return self.name_is("is the apex of a discovery domain", self.discovery_source(place));
        };
        let Some(state) = self.registry.app_named(place.view.space, &app_label).and_then(|id| self.registry.app(id))
        else {
            let words = format!(
                "is in the discovery domain {zone} and would be of an app {app_label}, which the space has not"
            );
            return self.name_is(&words, self.discovery_source(place));
        };
        let component = place.above_zone(2);
        let (words, part) = match place.owned.node {
            Node::Missing(Missing::NoApp) => {
                let words = format!(
                    "is a discovery name of {app_label}, which is there and hidden from this caller: to it the name does not exist"
                );
                (words, Part::Nothing)
            }
            Node::Missing(Missing::NoComponent) => {
                let labels: Vec<String> = state.components.keys().map(ToString::to_string).collect();
                (
                    format!("is a discovery name of {app_label}, whose components are {}", labels.join(", ")),
                    Part::Nothing,
                )
            }
            Node::Srv(set) => {
                let part = Part::Port(set.component.label.clone(), set.port.label.clone());
                (format!("is the SRV set of a port of {app_label} {}", set.component.label), part)
            }
            Node::Host(host) => match (host.why, component) {
                (Why::Instance(pointer), _) => {
                    let (label, number) = (pointer.component.label.clone(), pointer.instance.number);
                    (
                        format!("is the discovery name of the instance {app_label} {label}.{number}"),
                        Part::Instance(label, number),
                    )
                }
                (_, Some(label)) => (format!("is the discovery name of {app_label} {label}"), Part::Component(label)),
                (_, None) => return,
            },
            Node::EmptyNonTerminal => (format!("stands above discovery names of {app_label}"), Part::Nothing),
            _ => (self.no_instance_words(&state, component.as_ref()), Part::Nothing),
        };
        self.name_is(&words, self.discovery_source(place));
        self.explain_audience(&state);
        self.explain_app(state.id, &part);
    }

    fn no_instance_words(&self, state: &AppState, component: Option<&Label>) -> String {
        let served = component.and_then(|label| self.snapshot.apps.at(state.id)?.component(label.octets()));
        let Some((_, served)) = served else { return "is in a discovery domain".to_owned() };
        let numbers = served.instances.iter().map(|instance| instance.number.to_string());
        let ports = served.ports.iter().map(|port| format!("_{}._tcp", port.label));
        let known: Vec<String> = numbers.chain(ports).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        format!("is below {} {}, which has {known} there", state.label, served.label)
    }

    fn discovery_source(&self, place: &Place<'_>) -> Option<Source> {
        let space = self.registry.space(place.view.space)?;
        let domain = space.spec.discovery_domains.iter().find(|domain| domain.value == place.zone)?;
        space.source_of(domain)
    }

    /// App hostnames, DNS targets, custom domains: in a zone that is all ours, or over a public suffix.
    fn explain_hostname(&mut self, place: &Place<'_>) {
        let (name, zone) = (self.name, &place.zone);
        let zone_words =
            if zone == name { "its own zone, over a public suffix".to_owned() } else { format!("in the zone {zone}") };
        let types = if place.owned.types == Types::Address {
            "; only A, AAAA, HTTPS and SVCB are ours, the other types are the public zone's"
        } else {
            ""
        };
        match (self.snapshot.name_entry(place.view.space, name.wire()), place.owned.node) {
            (_, Node::Apex) => {
                let source = self.registry.space(place.view.space).and_then(|space| {
                    let domain = space.spec.app_domains.iter().find(|domain| domain.value.name == *zone)?;
                    space.source_of(domain)
                });
                self.name_is("is the apex of a domain of app hostnames that is all ours", source);
            }
            (Some(NameEntry::Owner { app, owner }), Node::Host(_)) => {
                let Some((kind, held)) = self.owner(app, owner) else { return };
                let zone_words = if place.owned.types == Types::Address { "over its public zone" } else { &zone_words };
                self.name_is(&format!("is {kind}, {zone_words}{types}"), held.1);
                self.explain_app(app, &Part::Hostname);
            }
            (None, Node::Host(_)) => self.explain_wildcard(place, types),
            (Some(NameEntry::Tombstone(_)), _) => {
                self.name_is(&format!("was held by an app that was removed; it is denied for a while{types}"), None);
            }
            (_, Node::EmptyNonTerminal) => {
                self.name_is(&format!("stands above names of ours, {zone_words}{types}"), None)
            }
            _ => {
                self.name_is(&format!("lies {zone_words}, and no app declares it{types}"), None);
                self.explain_would_be(place.view.space);
            }
        }
    }

    /// What an owner name is to its app; its name, and where it is written.
    fn owner(&self, app: AppId, owner: u16) -> Option<(&'static str, (Name, Option<Source>))> {
        let owner = self.snapshot.apps.at(app)?.owners.get(usize::from(owner))?;
        let kind = match owner.kind {
            OwnerKind::Hostname => "an app hostname",
            OwnerKind::Target => "the DNS target of a custom domain",
            OwnerKind::Domain => "a custom domain",
            OwnerKind::Wildcard => "the wildcard of a custom domain",
        };
        let state = self.registry.app(app)?;
        let source = state.owners.into_iter().find(|held| held.name == owner.name).map(|held| held.source);
        Some((kind, (owner.name.clone(), source)))
    }

    /// A name that only a wildcard gives: the one directly below its closest encloser (RFC 4592 §3.3.1), of which there is one.
    fn explain_wildcard(&mut self, place: &Place<'_>, types: &str) {
        let star = Label::from_octets(b"*").ok();
        let wildcard = std::iter::successors(self.name.parent(), Name::parent).find_map(|ancestor| {
            let wildcard = ancestor.child(star.as_ref()?).ok()?;
            match self.snapshot.name_entry(place.view.space, wildcard.wire()) {
                Some(NameEntry::Owner { app, owner }) => self.owner(app, owner).map(|(_, held)| (app, held)),
                _ => None,
            }
        });
        if let Some((app, (wildcard, source))) = wildcard {
            self.name_is(&format!("is what the wildcard {wildcard} gives{types}"), source);
            self.explain_app(app, &Part::Hostname);
        }
    }

    fn explain_reverse(&mut self, place: &Place<'_>) {
        let cidr = self.registry.space(place.view.space).and_then(|space| {
            let cidr = space.spec.cidrs.iter().find(|cidr| reverse_zones(cidr.value).contains(&place.zone))?;
            space.source_of(cidr)
        });
        let zone = &place.zone;
        match place.owned.node {
            Node::Apex => self.name_is("is the apex of a reverse zone of the space's `cidr`", cidr),
            Node::EmptyNonTerminal => self.name_is(&format!("is part of a reverse name, in the zone {zone}"), cidr),
            Node::Pointer(pointer) => {
                let (label, number) = (pointer.component.label.clone(), pointer.instance.number);
                let words = format!(
                    "is the reverse name of an address of {} {label}.{number}, in the zone {zone}",
                    pointer.app.label
                );
                self.name_is(&words, cidr);
                if let Some(app) = self.registry.app_named(place.view.space, &pointer.app.label) {
                    self.explain_app(app, &Part::Instance(label, number));
                }
            }
            _ => {
                self.name_is(&format!("is in the reverse zone {zone}"), cidr);
                self.explain_hidden_address(place.view.space);
            }
        }
    }

    /// The instance behind a reverse name that the caller is not shown.
    fn explain_hidden_address(&mut self, space: SpaceIndex) {
        for state in self.apps_of(space).into_iter().filter(|state| state.audience == Audience::App) {
            for (label, component) in &state.components {
                for (number, instance) in
                    component.instances.iter().filter(|(_, instance)| instance.standing.is_there())
                {
                    let reverse =
                        |address: &std::net::IpAddr| reverse_name(*address, if address.is_ipv4() { 4 } else { 32 });
                    if let Some(address) =
                        instance.addresses.iter().find(|address| reverse(address).as_ref() == Some(self.name))
                    {
                        let words = format!(
                            "{address} is the address of {} {label}.{number}, which is hidden from this caller",
                            state.label
                        );
                        self.say(Subject::Name, words, instance.source.clone());
                        self.explain_audience(&state);
                    }
                }
            }
        }
    }

    fn explain_foreign(&mut self, view: View) {
        self.name_is("is not ours", None);
        self.explain_would_be(view.space);
        let (snapshot, buffer) = (self.snapshot, NameBuffer::from(self.name));
        for (space, state) in
            snapshot.spaces.iter().zip(0..).filter_map(|(state, space)| Some((space, state.as_ref()?)))
        {
            let there = View { space, lan: Lan::None };
            let Found::Owned(owned) = snapshot.find(there, &buffer) else { continue };
            if space != view.space && !matches!(owned.node, Node::Missing(_) | Node::EmptyNonTerminal) {
                let source = self.registry.space(space).and_then(|found| found.source.clone());
                self.say(
                    Subject::Name,
                    format!("it is a name of the space {}, which this caller is not in", state.name),
                    source,
                );
            }
        }
    }

    /// An app whose hostname the name would be, were it internally routed.
    fn explain_would_be(&mut self, space: SpaceIndex) {
        let Some(state) = self.registry.space(space) else { return };
        let is_below = |parent: &Name| state.spec.app_domains.iter().any(|domain| domain.value.name == *parent);
        let label =
            self.name.parent().filter(is_below).and_then(|_| Label::from_octets(self.name.labels().next()?).ok());
        let app = label.and_then(|label| self.registry.app_named(space, &label)).and_then(|id| self.registry.app(id));
        if let Some(app) = app.filter(|app| !app.internal_routing) {
            self.say(Subject::Name, format!("it would be the hostname of {}", app.label), app.declared.clone());
            self.explain_routed(&app);
        }
    }

    fn apps_of(&self, space: SpaceIndex) -> Vec<AppState> {
        self.registry.app_ids().filter_map(|id| self.registry.app(id)).filter(|state| state.space == space).collect()
    }

    fn name_is(&mut self, words: &str, source: Option<Source>) {
        self.say(Subject::Name, format!("{} {words}", self.name), source);
    }
}
