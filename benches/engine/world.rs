//! The apps that are asked about: so many of two instances each, as many with closed gates, and one as large as there may be.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use spacedns::name::{Label, Name};
use spacedns::record::Ttl;
use spacedns::zone::{
    AddressSet, Apex, ApexKind, App, Audience, Bare, Believed, Component, Gate, Holder, Instance, InstanceState, Lan,
    NameEntry, NameServer, Owner, OwnerKind, Port, Ranges, Readiness, Reason, Rule, Sharing, Snapshot, Space, Target,
    View, app_hash, key_of, loopback, name_hash, reverse_zones,
};

/// A caller of the space on no LAN.
pub(crate) fn anywhere(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0aff_0000 + n % 60_000).into()
}

/// An instance of app `n`.
pub(crate) fn instance(n: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0000 + n * 4 + number)
}

/// A caller on this machine that is an instance of the first app.
pub(crate) const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn label(text: &str) -> Label {
    Label::from_octets(text.as_bytes()).expect("a label")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Everything that is served.
pub(crate) fn snapshot(apps: u32) -> Snapshot {
    let view = View { space: 0, lan: Lan::None };
    let network = "10.0.0.0/8".parse().expect("a network");
    let apex = |text, labels| Apex { name: name(text), labels, kind: ApexKind::Discovery };
    let space = Space {
        name: "bench".into(),
        ttl: Ttl::from_seconds(5),
        negative_ttl: Ttl::from_seconds(2),
        router: AddressSet::default(),
        apexes: [apex("app.localspace", 2), apex("a.b", 2)].into(),
        reverse: reverse_zones(network).into(),
        discovery: [name("app.localspace")].into(),
        ns: [NameServer { name: name("localhost"), v4: Box::default(), v6: Box::default() }].into(),
    };
    let [loopback_v4, loopback_v6] = loopback(view);
    let mut snapshot = Snapshot {
        readiness: Readiness::Ready,
        spaces: Arc::from([Some(Arc::new(space))]),
        ranges: Arc::new(Ranges::flatten(&[Rule { network, rank: 1, view }, loopback_v4, loopback_v6])),
        ..Snapshot::starting()
    };
    for n in 0..apps {
        add_app(&mut snapshot, n * 2, n, &format!("app{n}"), Gate::Web(0));
        let reason = format!("off{n}: 0 of 2 web instances up; web.1 lease expired 2026-11-20T16:40:12Z");
        add_app(&mut snapshot, n * 2 + 1, n, &format!("off{n}"), Gate::Closed(reason.into()));
    }
    add_large(&mut snapshot, apps * 2);
    let address = key_of(CALLER.into());
    let holder = Holder { address, app: 0, component: 0, instance: 0, sharing: Sharing::Sole };
    snapshot.holders.insert(holder);
    snapshot
}

/// An app with as many instances as there may be, of names so short that the addresses of most fit as well.
fn add_large(snapshot: &mut Snapshot, index: u32) {
    let instances = (1..=1000).map(|number| {
        let addresses = AddressSet::new([instance(number, 1), instance(number, 2)].map(IpAddr::V4));
        Instance { number, state: InstanceState::Up, addresses }
    });
    let targets = (0..1000).map(|instance| Target { instance, port: 8080 }).collect();
    let component = Component {
        label: label("w"),
        bare: Bare::Nameless,
        up: AddressSet::default(),
        believed: Believed::Checks,
        closed: Reason::default(),
        instances: instances.collect(),
        ports: [Port { label: label("http"), targets }].into(),
    };
    let (audience, gate) = (Audience::Space, Gate::Web(0));
    let app =
        App { space: 0, label: label("big"), audience, gate, owners: Box::default(), components: [component].into() };
    snapshot.app_names.insert(app_hash(0, b"big"), index);
    snapshot.apps.set(index, Some(Arc::new(app)));
}

fn add_app(snapshot: &mut Snapshot, index: u32, n: u32, text: &str, gate: Gate) {
    let held = if gate == Gate::Web(0) { vec![instance(n, 1), instance(n, 2)] } else { Vec::new() };
    let instances = held.iter().zip(1..).map(|(address, number)| Instance {
        number,
        state: InstanceState::Up,
        addresses: AddressSet::new([IpAddr::V4(*address)]),
    });
    let targets = (0..).zip(&held).map(|(instance, _)| Target { instance, port: 8080 }).collect();
    let web = Component {
        label: label("web"),
        bare: Bare::Named,
        up: AddressSet::new(held.iter().copied().map(IpAddr::V4)),
        believed: Believed::Checks,
        closed: Reason::default(),
        instances: instances.collect(),
        ports: [Port { label: label("http"), targets }].into(),
    };
    let hostname = name(&format!("{text}.herokuapp.com"));
    snapshot.names.insert(name_hash(0, hostname.wire()), NameEntry::Owner { app: index, owner: 0 });
    snapshot.app_names.insert(app_hash(0, text.as_bytes()), index);
    for (address, instance) in held.iter().zip(0..) {
        let address = key_of((*address).into());
        let holder = Holder { address, app: index, component: 0, instance, sharing: Sharing::Sole };
        snapshot.holders.insert(holder);
    }
    let owners = [Owner { name: hostname, kind: OwnerKind::Hostname }].into();
    let app = App { space: 0, label: label(text), audience: Audience::Space, gate, owners, components: [web].into() };
    snapshot.apps.set(index, Some(Arc::new(app)));
}
