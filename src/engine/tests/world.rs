//! A space with a few apps, put together by hand.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use crate::name::{Label, Name};
use crate::record::Ttl;
use crate::zone::{
    AddressSet, Apex, ApexKind, App, AppIndex, Audience, Bare, Believed, Component, Gate, Holder, Instance,
    InstanceState, Lan, LooseName, NameEntry, NameServer, Owner, OwnerKind, Port, Ranges, Readiness, Reason, Rule,
    Sharing, Snapshot, Space, Target, Types, View, app_hash, key_of, loopback, name_hash, reverse_zones,
};

/// On the LAN of `shop`.
pub(crate) const SHOP: &str = "10.0.130.1";
/// On the LAN of `big`.
pub(crate) const BIG: &str = "10.0.140.1";
/// On the LAN of `secret`.
pub(crate) const SECRET: &str = "10.0.150.1";
/// At an address that two apps share.
pub(crate) const SHARED: &str = "10.0.160.1";
/// In the space, on no LAN.
pub(crate) const SPACE: &str = "10.0.200.1";
/// Outside.
pub(crate) const STRANGER: &str = "8.8.8.8";

/// The space `acme` with its apps:
///
/// - `shop`: `web` with two instances up and one expired, `worker` with one starting; behind the router;
/// - `idle`: `web` with nothing up; its gate is closed;
/// - `big`: `web` with a hundred instances of two addresses each; no router in front;
/// - `secret`: seen from its own LAN only;
/// - names of apps that were removed.
pub(crate) fn acme() -> Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(make_acme).clone()
}

fn make_acme() -> Snapshot {
    let mut snapshot = Snapshot { generation: 1, serial: 2026, readiness: Readiness::Ready, ..Snapshot::starting() };
    snapshot.spaces = Arc::from([Some(Arc::new(space()))]);
    let rule =
        |network: &str, rank| Rule { network: network.parse().unwrap(), rank, view: View { space: 0, lan: Lan::None } };
    let rules = [rule("10.0.0.0/16", 1), rule("fd00::/64", 1), rule("192.168.40.0/24", 2)];
    let [v4, v6] = loopback(View { space: 0, lan: Lan::None });
    snapshot.ranges = Arc::new(Ranges::flatten(&[&rules[..], &[v4, v6]].concat()));

    let web = component("web", Bare::Named)
        .instance(1, InstanceState::Up, &["10.0.130.1"])
        .instance(2, InstanceState::Up, &["10.0.130.2", "fd00::130:2"])
        .instance(3, InstanceState::Expired, &[])
        .port("8080", &[(0, 8080), (1, 8081)])
        .port("http", &[(0, 8080), (1, 8081)]);
    let worker = component("worker", Bare::Nameless)
        .instance(1, InstanceState::Starting, &["10.0.131.1"])
        .closed("shop: 0 of 1 worker instances up")
        .port("9100", &[]);
    let owners = [
        ("shop.herokuapp.com", OwnerKind::Hostname),
        ("shop.apps.acme.internal", OwnerKind::Hostname),
        ("deep.er.apps.acme.internal", OwnerKind::Hostname),
        ("willow.herokudns.com", OwnerKind::Target),
        ("api.example.com", OwnerKind::Domain),
        ("*.wild.example.com", OwnerKind::Wildcard),
    ];
    add_app(&mut snapshot, 0, app("shop", Gate::Router, [web.done(), worker.done()], &owners));

    let web = component("web", Bare::Named)
        .instance(1, InstanceState::Down, &[])
        .instance(2, InstanceState::Unregistered, &[])
        .closed("idle: 0 of 2 web instances up");
    let gate = Gate::Closed("idle: 0 of 2 web instances up; web.1 lease expired 2026-11-20T16:40:12Z".into());
    add_app(&mut snapshot, 1, app("idle", gate, [web.done()], &[("idle.herokuapp.com", OwnerKind::Hostname)]));

    let mut web = component("web", Bare::Named);
    for number in 1..=100 {
        web =
            web.instance(number, InstanceState::Up, &[&format!("10.0.140.{number}"), &format!("fd00::140:{number:x}")]);
    }
    let targets: Vec<_> = (0..100).map(|instance| (instance, 8080)).collect();
    let web = web.port("http", &targets);
    add_app(&mut snapshot, 2, app("big", Gate::Web(0), [web.done()], &[("big.herokuapp.com", OwnerKind::Hostname)]));

    let web = component("web", Bare::Named).instance(1, InstanceState::Up, &[SECRET, SHARED]);
    let secret = App { audience: Audience::Lan, ..app("secret", Gate::Router, [web.done()], &[]) };
    add_app(&mut snapshot, 3, secret);

    add_loose(&mut snapshot, "gone.herokuapp.com", Types::All, NameEntry::Tombstone);
    add_loose(&mut snapshot, "gone.example.com", Types::Address, NameEntry::Tombstone);
    for above in ["er.apps.acme.internal", "herokuapp.com", "herokudns.com", "wild.example.com", "example.com", "com"] {
        add_loose(&mut snapshot, above, Types::All, NameEntry::EmptyNonTerminal);
    }
    snapshot
}

fn space() -> Space {
    let apex = |name: &str, kind| {
        let name: Name = name.parse().unwrap();
        Apex { labels: name.label_count(), name, kind }
    };
    let mut reverse: Vec<Name> =
        ["10.0.0.0/16", "fd00::/64"].iter().flat_map(|network| reverse_zones(network.parse().unwrap())).collect();
    reverse.sort_by(|a, b| a.wire().cmp(b.wire()));
    Space {
        name: "acme".into(),
        ttl: Ttl::from_seconds(5),
        negative_ttl: Ttl::from_seconds(2),
        router: AddressSet::new(addresses(&["10.0.0.10", "10.0.16.10"])),
        apexes: [
            apex("apps.acme.internal", ApexKind::Hostnames),
            apex("app.localspace", ApexKind::Discovery),
            apex("disco.test", ApexKind::Discovery),
        ]
        .into(),
        reverse: reverse.into(),
        discovery: ["app.localspace".parse().unwrap(), "disco.test".parse().unwrap()].into(),
        ns: [NameServer {
            name: "ns1.acme.example".parse().unwrap(),
            v4: ["10.0.0.53".parse().unwrap()].into(),
            v6: ["fd00::53".parse().unwrap()].into(),
        }]
        .into(),
    }
}

/// A component in the making.
pub(crate) struct Draft {
    component: Component,
    up: Vec<IpAddr>,
}

pub(crate) fn component(label: &str, bare: Bare) -> Draft {
    let component = Component {
        label: Label::from_octets(label.as_bytes()).unwrap(),
        bare,
        up: AddressSet::default(),
        believed: Believed::Checks,
        closed: Reason::default(),
        instances: Box::default(),
        ports: Box::default(),
    };
    Draft { component, up: Vec::new() }
}

impl Draft {
    /// Adds an instance, to be called in order of the numbers.
    pub(crate) fn instance(mut self, number: u32, state: InstanceState, held: &[&str]) -> Self {
        let all = addresses(held);
        let instance = Instance { number, state, addresses: AddressSet::new(all.iter().copied()) };
        if state == InstanceState::Up {
            self.up.extend(all);
        }
        self.component.instances = self.component.instances.into_iter().chain([instance]).collect();
        self
    }

    pub(crate) fn done(self) -> Component {
        Component { up: AddressSet::new(self.up), ..self.component }
    }

    pub(crate) fn closed(mut self, reason: &str) -> Self {
        self.component.closed = reason.into();
        self
    }

    /// Says that those up are kept, though they fail their checks.
    pub(crate) fn kept(mut self) -> Self {
        self.component.believed = Believed::Instances;
        self
    }

    /// Adds an SRV set, to be called in order of the labels.
    pub(crate) fn port(mut self, label: &str, targets: &[(u16, u16)]) -> Self {
        let label = Label::from_octets(label.as_bytes()).unwrap();
        let targets = targets.iter().map(|(instance, port)| Target { instance: *instance, port: *port }).collect();
        self.component.ports = self.component.ports.into_iter().chain([Port { label, targets }]).collect();
        self
    }
}

pub(crate) fn app<const N: usize>(
    label: &str,
    gate: Gate,
    components: [Component; N],
    owners: &[(&str, OwnerKind)],
) -> App {
    App {
        space: 0,
        label: Label::from_octets(label.as_bytes()).unwrap(),
        audience: Audience::Space,
        gate,
        owners: owners.iter().map(|(name, kind)| Owner { name: name.parse().unwrap(), kind: *kind }).collect(),
        components: components.into(),
    }
}

/// Puts an app into the snapshot, with its names and its instances' addresses.
pub(crate) fn add_app(snapshot: &mut Snapshot, index: AppIndex, app: App) {
    snapshot.app_names.insert(app_hash(0, app.label.octets()), index);
    for (owner, number) in app.owners.iter().zip(0..) {
        snapshot.names.insert(name_hash(0, owner.name.wire()), NameEntry::Owner { app: index, owner: number });
    }
    for (component, place) in app.components.iter().zip(0..) {
        for (instance, number) in component.instances.iter().zip(0..) {
            for address in instance.held() {
                let sharing = if address == addresses(&[SHARED])[0] { Sharing::Shared } else { Sharing::Sole };
                let address = key_of(address);
                let holder = Holder { address, app: index, component: place, instance: number, sharing };
                snapshot.holders.insert(holder);
            }
        }
    }
    snapshot.apps.set(index, Some(Arc::new(app)));
}

fn add_loose(snapshot: &mut Snapshot, name: &str, types: Types, entry: fn(u32) -> NameEntry) {
    let name: Name = name.parse().unwrap();
    let index = u32::try_from(snapshot.loose.iter().count()).unwrap();
    snapshot.names.insert(name_hash(0, name.wire()), entry(index));
    snapshot.loose.set(index, Some(Arc::new(LooseName { space: 0, name, types })));
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
