//! One snapshot that has something of everything, made of files as the server makes it: `spec`, `registry`, `compile`.
//!
//! Three spaces; apps before and behind a router; gates open and closed; wildcards, exclusive suffixes, DNS targets; an app that only
//! its LAN sees; an address that two apps share; names of an app that was removed; address sets and SRV sets of a thousand.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use spacedns::compile::Compiler;
use spacedns::registry::{FileChange, FileContent, Now, Registry};
use spacedns::spec::{self, Format};
use spacedns::zone::{Readiness, Snapshot};

/// The snapshot.
pub static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(make);

/// Who may ask: instances and LANs of different apps, a shared address, both spaces, peers, loopback, strangers.
pub static CALLERS: LazyLock<Vec<IpAddr>> = LazyLock::new(|| {
    [
        "10.0.129.1",
        "10.0.130.2",
        "172.28.5.9",
        "10.0.160.1",
        "fd00:a::1:0:0:1",
        "::ffff:10.0.129.1",
        "10.0.200.1",
        "10.64.0.1",
        "10.64.200.1",
        "192.168.40.7",
        "127.0.0.1",
        "::1",
        "8.8.8.8",
        "2001:db8::1",
        "10.0.150.1",
        "10.66.255.1",
    ]
    .iter()
    .map(|text| text.parse().expect("written above"))
    .collect()
});

/// Suffixes below which names may be ours, in wire form and lower case; single labels and the root may be, besides. It says more than
/// the engine should own, never less: enough to see AA on the public's names.
pub const OURS: [&str; 38] = [
    "d.e",
    "localspace",
    "internal",
    "shop.herokuapp.com",
    "frozen-oasis-70544.herokuapp.com",
    "idle.herokuapp.com",
    "gone.herokuapp.com",
    "archived.herokuapp.com",
    "big.herokuapp.com",
    "api.example.com",
    "wild.example.com",
    "gone.example.com",
    "willow.herokudns.com",
    // Reverse zones: those of the spaces, and those that are nobody's (RFC 6303); cut coarsely.
    "0.in-addr.arpa",
    "10.in-addr.arpa",
    "100.in-addr.arpa",
    "127.in-addr.arpa",
    "169.in-addr.arpa",
    "172.in-addr.arpa",
    "192.in-addr.arpa",
    "198.in-addr.arpa",
    "203.in-addr.arpa",
    "255.in-addr.arpa",
    "0.ip6.arpa",
    "f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    // Special-use names (RFC 6761, 6762, 7686, 8375, 9476) are answered here, too.
    "localhost",
    "invalid",
    "test",
    "onion",
    "alt",
    "local",
    "home.arpa",
    "resolver.arpa",
    "service.arpa",
    "long.example.org",
    "deep.example.org",
    "ipv4only.arpa",
];

/// How many instances the large components have: as many as there may be.
const MANY: usize = 1000;

/// Names as long as they may be.
const LONG_APP: &str = "a-name-as-long-as-names-may-be-x";
const LONG_COMPONENT: &str = "a-process-type-as-long-as-a-label-may-be-that-is-63-octets-long";

const FILES: [(&str, &str); 12] = [
    (
        "acme/space.yaml",
        "space: acme\n\
         cidr: [10.0.0.0/16, 172.28.0.0/16, 'fd00:a::/64']\n\
         instances: [10.0.128.0/17, 172.28.0.0/16, 'fd00:a::1:0:0:0/80']\n\
         router: [10.0.0.10, 10.0.16.10, 'fd00:a::10']\n\
         app_domains: [herokuapp.com, {name: apps.acme.internal, own: exclusive}]\n\
         discovery_domain: [app.localspace, apps.internal]\n\
         peers: [{name: vpn, cidr: 192.168.40.0/24}]\n\
         ttl: 5\n\
         negative_ttl: 2\n\
         ns: [{name: ns1.app.localspace, addresses: [10.0.0.53, 'fd00:a::53']}, {name: ns2.acme.example, addresses: [10.0.0.54]}]\n",
    ),
    ("tiny/space.yaml", "space: tiny\ncidr: 10.66.0.0/16\ndiscovery_domain: d.e\n"),
    ("bare/space.yaml", "space: bare\ncidr: 10.64.0.0/16\ninternal_routing: true\n"),
    (
        "acme/shop.yaml",
        "name: shop\n\
         services:\n\
         - {name: web, http_port: 8080, internal_ports: [3000]}\n\
         - {name: api, internal_ports: [9000, 9001]}\n\
         workers: [{name: mailer}]\n\
         domains: [{domain: public.example.net}]\n\
         ---\n\
         app: shop\n\
         internal_routing: true\n\
         discovery: space\n\
         lan: [172.28.5.0/24]\n\
         domains: [{domain: api.example.com, cname: whispering.willow.herokudns.com}, {domain: wild.example.com, wildcard: true}]\n\
         instances:\n\
         - {component: web, number: 1, address: 10.0.129.1}\n\
         - {component: web, number: 2, addresses: [10.0.129.2, 'fd00:a::1:0:0:1']}\n\
         - {component: web, number: 3, address: 10.0.129.3, state: starting}\n\
         - {component: api, number: 1, address: 10.0.129.4, ports: {http: 81, metrics: 9100}}\n\
         - {component: mailer, number: 1, address: 10.0.129.5}\n\
         - {component: run, number: 4891, address: 10.0.129.6}\n",
    ),
    (
        "acme/frozen.yaml",
        "app: frozen-oasis-70544\n\
         internal_routing: true\n\
         formation: {web: {quantity: 3}, worker: {quantity: 1}}\n\
         hostnames: [frozen-oasis-70544.herokuapp.com, a.b.apps.acme.internal]\n\
         instances: [{component: web, number: 1, address: 10.0.130.2}, {component: worker, number: 1, address: 10.0.130.3}]\n",
    ),
    ("acme/idle.yaml", "app: idle\ninternal_routing: true\nformation: {web: {quantity: 2}}\n"),
    (
        "acme/archived.yaml",
        "app: archived\ninternal_routing: true\nformation: {web: {quantity: 1}}\n---\nname: old\nservices: {name: web}\n\
         maintenance: {archive: true}\n",
    ),
    (
        "acme/secret.yaml",
        "app: secret\ndiscovery: app\nformation: {web: {quantity: 1}}\n\
         instances: [{component: web, number: 1, addresses: [10.0.150.1, 10.0.160.1], shared_address: true}]\n",
    ),
    (
        "acme/second.yaml",
        "app: second\nformation: {web: {quantity: 1}}\n\
         instances: [{component: web, number: 1, address: 10.0.160.1, shared_address: true}]\n",
    ),
    (
        "acme/gone.yaml",
        "app: gone\ninternal_routing: true\nformation: {web: {quantity: 1}}\ndomains: [{domain: gone.example.com}]\n",
    ),
    (
        "bare/long.yaml",
        "app: a-name-as-long-as-names-may-beee\n\
         formation: {a-process-type-as-long-as-a-label-may-be-that-is-63-octets-long: {quantity: 1}}\n\
         domains: [{domain: long.example.org, wildcard: true}, {domain: x.y.z.deep.example.org}]\n\
         instances: [{component: web, number: 4294967295, address: 10.64.200.1}]\n",
    ),
    ("bare/topology.json", include_str!("../../../zones/topology.json")),
];

fn make() -> Snapshot {
    let mut registry = Registry::new(Duration::from_secs(3600));
    let mut compiler = Compiler::new();
    let mut changes: Vec<FileChange> = FILES.iter().map(|(path, text)| change(path, text)).collect();
    changes.push(change("bare/big.yaml", &big()));
    changes.push(change("tiny/short.yaml", &many("ab", "w", 2, 0x0a42_0000)));
    changes.push(change("tiny/long.yaml", &many(LONG_APP, LONG_COMPONENT, 1, 0x0a42_4000)));
    changes.push(change("tiny/wide.yaml", &many("wide", "web", 8, 0x0a42_8000)));
    // The topology's addresses are Heroku's, and lie in no space of ours: its faults are between files, which are allowed here.
    let start = Now { monotonic: Duration::ZERO, wall: 1_795_192_782 };
    let touched = registry.apply(changes, start);
    let snapshot = Snapshot { readiness: Readiness::Ready, generation: 1, serial: 1, ..Snapshot::starting() };
    let snapshot = compiler.compile(&registry, &touched, &snapshot).expect("there is something to serve");
    let later = Now { monotonic: Duration::from_secs(60), wall: start.wall + 60 };
    let removed = vec![FileChange { file: "acme/gone.yaml".into(), content: None }];
    let touched = registry.apply(removed, later);
    compiler.compile(&registry, &touched, &snapshot).expect("an app is gone")
}

fn change(path: &str, text: &str) -> FileChange {
    let format = if path.ends_with(".json") { Format::Json } else { Format::Yaml };
    let reading = spec::read(text.as_bytes(), format, "stem");
    assert_eq!(reading.faults, [], "{path}");
    FileChange { file: Arc::from(path), content: Some(FileContent { documents: reading.documents.into(), modified: 7 }) }
}

/// An app with a component of as many instances as there may be, and one with half as many of two families.
fn big() -> String {
    let mut text = "app: big\nformation: {web: {quantity: 1}, many: {quantity: 1}}\ninstances:\n".to_owned();
    for number in 1..=MANY {
        let (high, low) = (number / 250, number % 250 + 1);
        writeln!(text, "- {{component: web, number: {number}, address: 10.64.{high}.{low}, port: 80}}")
            .expect("memory");
    }
    for number in 1..=MANY / 2 {
        let (high, low) = (number / 250 + 8, number % 250 + 1);
        writeln!(text, "- {{component: many, number: {number}, address: 10.64.{high}.{low}}}").expect("memory");
    }
    text
}

/// An app with a component of as many instances as there may be, each with so many addresses, from this one on.
fn many(app: &str, component: &str, addresses: u32, first: u32) -> String {
    let mut text = format!("app: {app}\nformation: {{{component}: {{quantity: 1}}}}\ninstances:\n");
    for (number, from) in (1..=MANY).zip((first..).step_by(8)) {
        let addresses: Vec<_> =
            (from..from + addresses).map(|address| Ipv4Addr::from_bits(address).to_string()).collect();
        let addresses = addresses.join(", ");
        writeln!(text, "- {{component: {component}, number: {number}, addresses: [{addresses}], port: 80}}")
            .expect("memory");
    }
    text
}
