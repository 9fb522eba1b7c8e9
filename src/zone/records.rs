//! A snapshot as a list: every name that a view shows, and what is at it.
//!
//! For whoever needs names instead of answers: `export`, comparisons, explanations. Reserved names, which no file declares, are not listed. It asks [`Snapshot::find`] about each name, so it
//! cannot tell another story than the answers do.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{AppIndex, Audience, Bare, Found, Lan, NameEntry, Node, Pointer, Snapshot, View, Zone, reverse_name};
use crate::name::{Label, Name, NameBuffer};
use crate::record::{Rdata, Rrset, Soa};

/// SOA REFRESH, RETRY and EXPIRE in seconds (design §4.1): nobody transfers these zones, so they are only there to be read.
pub const SOA_TIMERS: [u32; 3] = [3600, 600, 86400];

impl Snapshot {
    /// Every name that callers with this view are shown and that has, or could have, records; in order.
    #[must_use]
    pub fn names_shown(&self, view: View) -> Vec<Name> {
        let mut names = BTreeSet::new();
        let Some(space) = self.space(view.space) else { return Vec::new() };
        names.extend(space.apexes.iter().map(|apex| apex.name.clone()));
        names.extend(space.reverse.iter().cloned());
        let is_ours = |name: &Name| space.apexes.iter().any(|apex| name.is_within(&apex.name));
        names.extend(space.ns.iter().map(|ns| ns.name.clone()).filter(is_ours));
        for (id, _) in self.apps.iter().filter(|(_, app)| app.space == view.space) {
            self.collect_names_of_app(view, id, &mut names);
        }
        names.into_iter().collect()
    }

    /// Those of [`names_shown`](Self::names_shown) that an app makes; in order.
    #[must_use]
    pub fn names_of_app(&self, view: View, id: AppIndex) -> BTreeSet<Name> {
        let mut names = BTreeSet::new();
        self.collect_names_of_app(view, id, &mut names);
        names
    }

    fn collect_names_of_app(&self, view: View, id: AppIndex, names: &mut BTreeSet<Name>) {
        let Some((app, space)) = self.apps.at(id).and_then(|app| Some((app, self.space(app.space)?))) else { return };
        let is_on_lan = view.lan == Lan::App(id);
        let owners = app.owners.iter().zip(0..).filter(|(owner, index)| {
            self.name_entry(app.space, owner.name.wire()) == Some(NameEntry::Owner { app: id, owner: *index })
        });
        names.extend(owners.map(|(owner, _)| owner.name.clone()));
        let is_shown = app.audience == Audience::Space || is_on_lan;
        for component in &app.components {
            let mut bases = Vec::new();
            if is_shown {
                let roots =
                    space.discovery.iter().filter_map(|domain| Name::join([&component.label, &app.label], domain).ok());
                bases.extend(roots);
                for base in &bases {
                    names.extend(
                        component
                            .instances
                            .iter()
                            .filter_map(|instance| base.child(&number_label(instance.number)?).ok()),
                    );
                }
                names.extend(component.instances.iter().flat_map(|instance| {
                    instance.held().filter_map(|address| reverse_name(address, if address.is_ipv4() { 4 } else { 32 }))
                }));
            }
            if is_on_lan && component.bare == Bare::Named {
                bases.extend(Name::root().child(&component.label));
            }
            for base in &bases {
                names.extend(component.ports.iter().filter_map(|port| service_name(&port.label, base)));
            }
            names.extend(bases);
        }
    }

    /// Every RRset at `name`, as callers with this view get it.
    #[must_use]
    pub fn rrsets_at(&self, view: View, name: &Name) -> Vec<Rrset> {
        let Found::Owned(owned) = self.find(view, &NameBuffer::from(name)) else { return Vec::new() };
        let Some(space) = self.space(view.space) else { return Vec::new() };
        let set = |rdata: Vec<Rdata>, ttl| {
            let rtype = rdata.first()?.rtype();
            Some(Rrset { owner: name.clone(), rtype, ttl, rdata })
        };
        let apex = || {
            let mname = space.ns.first().map_or_else(Name::root, |ns| ns.name.clone());
            let [refresh, retry, expire] = SOA_TIMERS;
            let rname = "nobody.invalid".parse().unwrap_or_else(|_| Name::root());
            let minimum = space.negative_ttl.seconds();
            let soa = Soa { mname, rname, serial: self.serial, refresh, retry, expire, minimum };
            let ns = space.ns.iter().map(|ns| Rdata::Ns(ns.name.clone())).collect();
            [set(vec![Rdata::Soa(soa)], space.negative_ttl), set(ns, space.ttl)]
        };
        let sets = match owned.node {
            Node::Missing(_) | Node::EmptyNonTerminal => Vec::new(),
            Node::Apex => apex().into(),
            Node::Host(host) => {
                let v4 = host.hosts.v4().iter().map(|address| Rdata::A(*address)).collect();
                let v6 = host.hosts.v6().iter().map(|address| Rdata::Aaaa(*address)).collect();
                let mut sets = vec![set(v4, space.ttl), set(v6, space.ttl)];
                if host.zone == Zone::Apex {
                    sets.extend(apex());
                }
                sets
            }
            Node::Srv(found) => {
                let targets = found.port.targets.iter().filter_map(|target| {
                    let instance = found.component.instances.get(usize::from(target.instance))?;
                    let pointer = Pointer { app: found.app, component: found.component, instance };
                    Some(Rdata::Srv {
                        priority: 0,
                        weight: 1,
                        port: target.port,
                        target: pointer.name(&space.discovery)?,
                    })
                });
                vec![set(targets.collect(), space.ttl)]
            }
            Node::Localhost => {
                let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
                vec![set(vec![Rdata::A(v4)], space.ttl), set(vec![Rdata::Aaaa(v6)], space.ttl)]
            }
            Node::LocalhostPointer(zone) => {
                let pointer = "localhost".parse().ok().map(Rdata::Ptr);
                let mut sets = vec![set(pointer.into_iter().collect(), space.ttl)];
                if zone == Zone::Apex {
                    sets.extend(apex());
                }
                sets
            }
            Node::Pointer(pointer) => {
                vec![set(pointer.name(&space.discovery).map(Rdata::Ptr).into_iter().collect(), space.ttl)]
            }
        };
        let mut sets: Vec<Rrset> = sets.into_iter().flatten().collect();
        sets.sort_by_key(|set| set.rtype);
        sets
    }
}

impl Pointer<'_> {
    /// The instance's canonical name, under the first of the discovery domains.
    #[must_use]
    pub fn name(&self, discovery: &[Name]) -> Option<Name> {
        let number = number_label(self.instance.number)?;
        Name::join([&number, &self.component.label, &self.app.label], discovery.first()?).ok()
    }
}

fn number_label(number: u32) -> Option<Label> {
    Label::from_octets(number.to_string().as_bytes()).ok()
}

/// `_<port>._tcp.<base>`.
fn service_name(port: &Label, base: &Name) -> Option<Name> {
    let labelled = [b"_", port.octets()].concat();
    let (service, protocol) = (Label::from_octets(&labelled).ok()?, Label::from_octets(b"_tcp").ok()?);
    Name::join([&service, &protocol], base).ok()
}
