//! A space of a few apps, and what is said of callers and names in it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::compile::Compiler;
use crate::name::Label;
use crate::registry::{FileChange, FileContent, Now};
use crate::spec::{
    AppDomain, AppSpec, At, Audience, ComponentKind, ComponentSpec, Document, DomainSpec, InstanceSpec, NameServer,
    Own, Peer, Role, Settings, SpaceSpec, State,
};
use crate::zone::Readiness;

pub(crate) fn at<T>(line: u32, value: T) -> At<T> {
    At { value, place: Place { line, column: 3 } }
}

pub(crate) fn label(text: &str) -> Label {
    Label::from_octets(text.as_bytes()).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn space() -> Document {
    Document::Space(SpaceSpec {
        name: at(1, "acme".to_owned()),
        cidrs: vec![at(2, "10.0.0.0/16".parse().unwrap())],
        instances: Vec::new(),
        router: vec![at(3, IpAddr::from([10, 0, 0, 10]))],
        internal_routing: false,
        app_domains: vec![
            at(5, AppDomain { name: name("herokuapp.com"), own: Own::Overlay }),
            at(6, AppDomain { name: name("own.internal"), own: Own::Exclusive }),
        ],
        discovery_domains: vec![at(7, name("app.localspace"))],
        peers: vec![at(4, Peer { name: "on-prem".to_owned(), cidr: "192.168.40.0/24".parse().unwrap() })],
        ttl: 5,
        negative_ttl: 2,
        ns: Vec::new(),
    })
}

pub(crate) fn component(line: u32, text: &str, kind: ComponentKind) -> ComponentSpec {
    ComponentSpec {
        name: at(line, label(text)),
        kind,
        http_port: (kind == ComponentKind::Service).then_some(8080),
        internal_ports: Vec::new(),
        quantity: Some(2),
        health_check: None,
    }
}

pub(crate) fn app<const N: usize>(
    text: &str,
    role: Role,
    components: [ComponentSpec; N],
    settings: Settings,
) -> Document {
    let components = components.into();
    Document::App(AppSpec { app: at(1, label(text)), role, components, settings, instances: Vec::new() })
}

pub(crate) fn instance(text: &str, component: &str, number: u32, address: &str) -> AppSpec {
    let instance = InstanceSpec {
        component: label(component),
        number,
        addresses: vec![address.parse().unwrap()],
        ports: Vec::new(),
        state: State::Up,
        lease: None,
        shared_address: false,
    };
    AppSpec {
        app: at(1, label(text)),
        role: Role::Addition,
        components: Vec::new(),
        settings: Settings::default(),
        instances: vec![at(9, instance)],
    }
}

/// What is declared, and what is served of it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    compiler: Compiler,
    pub(crate) snapshot: Snapshot,
    second: u64,
}

impl World {
    /// - `shop`: a service `web` with one of two up, a worker; routed, with a custom domain, a wildcard and a LAN;
    /// - `blog`: a process type `web` with nothing registered; routed;
    /// - `secret`: a service `api` that only its own LAN sees; not routed.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            registry: Registry::new(Duration::from_secs(60)),
            compiler: Compiler::new(),
            snapshot: Snapshot { readiness: Readiness::Ready, ..Snapshot::starting() },
            second: 0,
        };
        let domain = DomainSpec {
            domain: name("api.example.com"),
            wildcard: true,
            itself: true,
            cname: Some(name("willow.herokudns.com")),
        };
        let shop = Settings {
            internal_routing: Some(at(4, true)),
            lan: Some(at(5, vec![at(5, "10.0.9.0/24".parse().unwrap())])),
            domains: Some(at(6, vec![at(6, domain)])),
            discovery: Some(at(7, Audience::Space)),
            ..Settings::default()
        };
        let blog = Settings { internal_routing: Some(at(4, true)), ..Settings::default() };
        let components = [component(2, "web", ComponentKind::Service), component(3, "worker", ComponentKind::Worker)];
        world.drop("space.yaml", [space()]);
        world.drop("shop.yaml", [app("shop", Role::Spec, components, shop)]);
        world.drop("blog.yaml", [app("blog", Role::Addition, [component(2, "web", ComponentKind::Process)], blog)]);
        let api = component(2, "api", ComponentKind::Service);
        world.drop("secret.yaml", [app("secret", Role::Spec, [api], Settings::default())]);
        world.register("instances/shop.yaml", instance("shop", "web", 1, "10.0.1.1"));
        world.register("instances/secret.yaml", instance("secret", "api", 1, "10.0.3.1"));
        world
    }

    pub(crate) fn drop<const N: usize>(&mut self, file: &str, documents: [Document; N]) {
        let content = Some(FileContent { documents: documents.into(), modified: 1 });
        let touched = self.registry.apply(vec![FileChange { file: Arc::from(file), content }], self.now());
        self.compile(&touched);
    }

    pub(crate) fn register(&mut self, file: &str, app: AppSpec) {
        self.drop(file, [Document::App(app)]);
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.second += seconds;
        let touched = self.registry.advance(self.now());
        self.compile(&touched);
    }

    /// Gives the space a name server.
    pub(crate) fn name_server(&mut self, text: &str, address: &str) {
        let Document::Space(mut space) = space() else { return };
        space.ns = vec![at(8, NameServer { name: name(text), addresses: vec![address.parse().unwrap()] })];
        self.drop("space.yaml", [Document::Space(space)]);
    }

    /// Adds the space `zeta`, with the same discovery domain.
    pub(crate) fn second_space(&mut self) {
        let Document::Space(mut space) = space() else { return };
        space.name = at(1, "zeta".to_owned());
        space.cidrs = vec![at(2, "10.9.0.0/16".parse().unwrap())];
        space.router = Vec::new();
        space.peers = Vec::new();
        self.drop("zeta/space.yaml", [Document::Space(space)]);
    }

    fn now(&self) -> Now {
        Now { monotonic: Duration::from_secs(self.second), wall: 1_795_192_782 + self.second }
    }

    fn compile(&mut self, touched: &crate::registry::Touched) {
        if let Some(next) = self.compiler.compile(&self.registry, touched, &self.snapshot) {
            self.snapshot = next;
        }
    }

    fn ask(&self, caller: &str, qname: &str, qtype: Rtype) -> Explanation {
        explain(&self.registry, &self.snapshot, caller.parse().unwrap(), &name(qname), qtype)
    }

    /// The steps for A, a line each.
    fn lines(&self, caller: &str, qname: &str) -> Vec<String> {
        self.ask(caller, qname, Rtype::A).steps.iter().map(ToString::to_string).collect()
    }
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|found| found == line), "no line `{line}` in\n{}", lines.join("\n"));
}

#[test]
fn a_bare_name_is_told_from_the_caller_to_the_answer() {
    let world = World::new();
    let expected = [
        "caller: 10.0.1.1 is the registered address of shop web.1 (instances/shop.yaml:9:3)",
        "view: it is shown the names of the space acme, and as one on the LAN of shop that app's own (shop.yaml:1:3)",
        "name: web. is the bare name of a service on the LAN of shop",
        "app: shop is declared (shop.yaml:1:3)",
        "gate: open: 1 of 2 web instances up (shop.yaml:2:3)",
        "instance: shop web.1 at 10.0.1.1: it is up (instances/shop.yaml:9:3)",
        "instance: shop web.2: nothing registers it",
        "answer: 1 A record, good for 5 s",
    ];
    assert_eq!(world.lines("10.0.1.1", "web"), expected);
}

#[test]
fn a_hostname_is_told_with_its_routing_its_gate_and_its_router() {
    let world = World::new();
    let expected = [
        "caller: 192.168.40.7 lies in 192.168.40.0/24, the network of on-prem, a peer of the space acme (space.yaml:4:3)",
        "view: it is shown the names of the space acme, and no bare names: it is on no app's LAN (space.yaml:1:3)",
        "name: shop.herokuapp.com. is an app hostname, its own zone, over a public suffix (shop.yaml:1:3)",
        "app: shop is declared (shop.yaml:1:3)",
        "app: shop is internally routed: it says so itself (shop.yaml:4:3)",
        "gate: open: 1 of 2 web instances up; the router of the space answers (shop.yaml:2:3)",
        "gate: the router of the space acme is at 10.0.0.10 (space.yaml:3:3)",
        "instance: shop web.1 at 10.0.1.1: it is up (instances/shop.yaml:9:3)",
        "instance: shop web.2: nothing registers it",
        "answer: 1 A record, good for 5 s",
    ];
    assert_eq!(world.lines("192.168.40.7", "shop.herokuapp.com"), expected);
}

#[test]
fn each_rule_of_the_view_is_told_with_its_line() {
    let world = World::new();
    let first = |caller: &str| world.lines(caller, "web").remove(0);
    assert_eq!(
        first("10.0.9.9"),
        "caller: 10.0.9.9 is no instance's address and lies in 10.0.9.0/24, in the `lan` of shop (shop.yaml:5:3)"
    );
    assert_eq!(
        first("10.0.200.1"),
        "caller: 10.0.200.1 is no instance's address, in no app's `lan`, and in 10.0.0.0/16, a `cidr` of the space acme \
         (space.yaml:2:3)"
    );
    assert_eq!(
        first("::1"),
        "caller: ::1 is this machine itself, which counts as a peer of the only space, acme (space.yaml:1:3)"
    );
    assert_eq!(first("::ffff:10.0.1.1"), first("10.0.1.1"));
    let stranger = world.ask("8.8.8.8", "web", Rtype::A);
    assert_eq!(stranger.outcome, Outcome::Refused);
    assert_eq!(
        stranger.to_string(),
        "caller: 8.8.8.8 is in no space and no peer of any\n\
         caller: the space acme and its peers are in 10.0.0.0/16, 192.168.40.0/24 (space.yaml:2:3)\n\
         answer: REFUSED: nothing is said to callers from there\n"
    );
}

#[test]
fn a_hidden_name_is_told_to_the_operator_and_denied_to_the_caller() {
    let world = World::new();
    let explained = world.ask("10.0.200.1", "api.secret.app.localspace", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NxDomain);
    let lines: Vec<String> = explained.steps.iter().map(ToString::to_string).collect();
    has(
        &lines,
        "name: api.secret.app.localspace. is a discovery name of secret, which is there and hidden from this caller: to it the \
         name does not exist (space.yaml:7:3)",
    );
    has(
        &lines,
        "app: the discovery names of secret are seen by callers on its own LAN only: the default of an app with listed \
         components (secret.yaml:1:3)",
    );
    has(&lines, "answer: no such name: no such app");
    assert!(!String::from_utf8_lossy(&explained.response).contains("hidden"), "the wire says nothing of it");
    let reverse = world.lines("10.0.200.1", "1.3.0.10.in-addr.arpa");
    has(
        &reverse,
        "name: 10.0.3.1 is the address of secret api.1, which is hidden from this caller (instances/secret.yaml:9:3)",
    );
    let own = world.ask("10.0.3.1", "api.secret.app.localspace", Rtype::A);
    assert_eq!(own.outcome, Outcome::Answer);
}

#[test]
fn a_closed_gate_says_why() {
    let world = World::new();
    let explained = world.ask("10.0.200.1", "blog.herokuapp.com", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NoData);
    let lines: Vec<String> = explained.steps.iter().map(ToString::to_string).collect();
    has(&lines, "gate: closed: blog: 0 of 2 web instances up (blog.yaml:2:3)");
    has(&lines, "instance: blog web.1: nothing registers it");
    has(&lines, "answer: no data: blog: 0 of 2 web instances up");
}

#[test]
fn a_lease_that_ran_out_is_told_with_its_moment() {
    let mut world = World::new();
    let mut leased = instance("blog", "web", 1, "10.0.2.1");
    leased.instances[0].value.lease = Some(Duration::from_secs(30));
    world.register("instances/blog.yaml", leased);
    assert_eq!(world.ask("10.0.2.1", "blog.herokuapp.com", Rtype::A).outcome, Outcome::Answer);
    world.wait(30);
    let lines = world.lines("10.0.2.1", "blog.herokuapp.com");
    has(
        &lines,
        "caller: blog web.1 says that it is at this address, but its lease ran out at 2026-11-20T16:40:12Z \
         (instances/blog.yaml:9:3)",
    );
    has(
        &lines,
        "instance: blog web.1 at 10.0.2.1: its lease ran out at 2026-11-20T16:40:12Z (instances/blog.yaml:9:3)",
    );
    has(&lines, "answer: no data: blog: 0 of 2 web instances up; web.1 lease expired 2026-11-20T16:40:12Z");
}

#[test]
fn an_address_that_was_taken_names_who_took_it() {
    let mut world = World::new();
    world.register("instances/blog.yaml", instance("blog", "web", 1, "10.0.1.1"));
    let lines = world.lines("10.0.1.1", "shop.herokuapp.com");
    let taken = "10.0.1.1 was registered since by blog web.1 (instances/blog.yaml:9:3), and is its now";
    has(&lines, "caller: 10.0.1.1 is the registered address of blog web.1 (instances/blog.yaml:9:3)");
    has(&lines, &format!("caller: shop web.1 says that it is at this address, but {taken} (instances/shop.yaml:9:3)"));
    has(&lines, &format!("instance: shop web.1 at 10.0.1.1: {taken} (instances/shop.yaml:9:3)"));
}

#[test]
fn an_ambiguous_caller_hears_of_every_app_it_may_be_of() {
    let mut world = World::new();
    for (file, app) in [("instances/blog.yaml", "blog"), ("instances/shop.yaml", "shop")] {
        let mut shared = instance(app, "web", 1, "10.0.2.1");
        shared.instances[0].value.shared_address = true;
        world.register(file, shared);
    }
    let explained = world.ask("10.0.2.1", "web", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NoData);
    let lines: Vec<String> = explained.steps.iter().map(ToString::to_string).collect();
    has(&lines, "caller: 10.0.2.1 is the registered address of blog web.1 (instances/blog.yaml:9:3)");
    has(&lines, "caller: 10.0.2.1 is the registered address of shop web.1 (instances/shop.yaml:9:3)");
    has(&lines, "caller: 2 apps share this address, so it cannot be told on whose LAN the caller is");
    has(&lines, "name: web. is a bare name, and the caller may be on the LAN of blog or shop");
    has(&lines, "answer: no data: ambiguous caller: several apps share this address");
}

#[test]
fn every_kind_of_name_is_told_apart() {
    let world = World::new();
    let name = |caller: &str, qname: &str| {
        let lines = world.lines(caller, qname);
        lines.into_iter().find(|line| line.starts_with("name: ")).unwrap()
    };
    let (lan, space) = ("10.0.1.1", "10.0.200.1");
    for (caller, qname, expected) in [
        (lan, "_tcp.web", "name: _tcp.web. stands above the SRV sets of a service on the LAN of shop"),
        (lan, "_http._tcp.web", "name: _http._tcp.web. is the SRV set of a service on the LAN of shop"),
        (lan, "_x._tcp.web", "name: _x._tcp.web. is below a service on the LAN of shop, which has no such port"),
        (lan, "nobody", "name: nobody. is a single label, and no service of shop is called that"),
        (space, "web", "name: web. is a single label: a bare name, and those are for callers on an app's LAN"),
        (space, "localspace", "name: localspace. stands above a zone of ours, and is never asked upstream"),
        (space, "app.localspace", "name: app.localspace. is the apex of a discovery domain (space.yaml:7:3)"),
        (
            space,
            "gone.app.localspace",
            "name: gone.app.localspace. is in the discovery domain app.localspace. and would be of an app gone, which the \
             space has not (space.yaml:7:3)",
        ),
        (
            space,
            "shop.app.localspace",
            "name: shop.app.localspace. stands above discovery names of shop (space.yaml:7:3)",
        ),
        (
            space,
            "web.shop.app.localspace",
            "name: web.shop.app.localspace. is the discovery name of shop web (space.yaml:7:3)",
        ),
        (
            space,
            "1.web.shop.app.localspace",
            "name: 1.web.shop.app.localspace. is the discovery name of the instance shop web.1 (space.yaml:7:3)",
        ),
        (
            space,
            "3.web.shop.app.localspace",
            "name: 3.web.shop.app.localspace. is below shop web, which has 1, 2, _8080._tcp, _http._tcp there (space.yaml:7:3)",
        ),
        (
            space,
            "x.shop.app.localspace",
            "name: x.shop.app.localspace. is a discovery name of shop, whose components are web, worker (space.yaml:7:3)",
        ),
        (
            space,
            "_http._tcp.web.shop.app.localspace",
            "name: _http._tcp.web.shop.app.localspace. is the SRV set of a port of shop web (space.yaml:7:3)",
        ),
        (
            space,
            "own.internal",
            "name: own.internal. is the apex of a domain of app hostnames that is all ours (space.yaml:6:3)",
        ),
        (
            space,
            "shop.own.internal",
            "name: shop.own.internal. is an app hostname, in the zone own.internal. (shop.yaml:1:3)",
        ),
        (space, "x.own.internal", "name: x.own.internal. lies in the zone own.internal., and no app declares it"),
        (
            space,
            "willow.herokudns.com",
            "name: willow.herokudns.com. is the DNS target of a custom domain, its own zone, over a public suffix (shop.yaml:6:3)",
        ),
        (
            space,
            "api.example.com",
            "name: api.example.com. is a custom domain, over its public zone; only A, AAAA, HTTPS and SVCB are ours, the other \
             types are the public zone's (shop.yaml:6:3)",
        ),
        (
            space,
            "a.b.api.example.com",
            "name: a.b.api.example.com. is what the wildcard *.api.example.com. gives; only A, AAAA, HTTPS and SVCB are ours, \
             the other types are the public zone's (shop.yaml:6:3)",
        ),
        (
            space,
            "1.1.0.10.in-addr.arpa",
            "name: 1.1.0.10.in-addr.arpa. is the reverse name of an address of shop web.1, in the zone 0.10.in-addr.arpa. \
             (space.yaml:2:3)",
        ),
        (
            space,
            "1.0.10.in-addr.arpa",
            "name: 1.0.10.in-addr.arpa. is part of a reverse name, in the zone 0.10.in-addr.arpa. (space.yaml:2:3)",
        ),
        (space, "www.example.org", "name: www.example.org. is not ours"),
    ] {
        assert_eq!(name(caller, qname), expected);
    }
}

#[test]
fn a_foreign_name_that_an_app_would_have_says_what_is_missing() {
    let world = World::new();
    let explained = world.ask("10.0.200.1", "secret.herokuapp.com", Rtype::A);
    assert_eq!(explained.outcome, Outcome::Foreign);
    let lines: Vec<String> = explained.steps.iter().map(ToString::to_string).collect();
    has(&lines, "name: it would be the hostname of secret (secret.yaml:1:3)");
    has(&lines, "app: secret is not internally routed: the default of its space (space.yaml:1:3)");
    has(&lines, "answer: secret.herokuapp.com. is asked of the upstream; without one it is REFUSED");
}

#[test]
fn a_bare_name_that_cannot_be_says_what_there_is() {
    let world = World::new();
    let lines = world.lines("10.0.1.1", "worker");
    has(&lines, "name: worker of shop is a worker, and only services have bare names (shop.yaml:3:3)");
    has(&lines, "app: on the LAN of shop there is web (shop.yaml:1:3)");
    let lines = world.lines("10.0.200.1", "api");
    has(&lines, "name: it exists on the LAN of secret (secret.yaml:2:3)");
}

#[test]
fn the_outcome_is_the_engines() {
    let world = World::new();
    let outcome = |qname: &str, qtype| world.ask("10.0.200.1", qname, qtype).outcome;
    assert_eq!(outcome("api.example.com", Rtype::AAAA), Outcome::NoData);
    assert_eq!(outcome("api.example.com", Rtype(15)), Outcome::Foreign);
    assert_eq!(outcome("app.localspace", Rtype::SOA), Outcome::Answer);
    assert_eq!(outcome("app.localspace", Rtype::AXFR), Outcome::Refused);
    assert_eq!(outcome("app.localspace", Rtype::OPT), Outcome::Error);
    assert_eq!(outcome("web", Rtype::A), Outcome::NxDomain);
    let other = world.ask("10.0.200.1", "web.shop.app.localspace", Rtype::AAAA);
    assert_eq!(other.steps.last().unwrap().words, "no data: there is no AAAA here, only A");
}

#[test]
fn a_step_is_data_too() {
    let explained = World::new().ask("10.0.1.1", "web", Rtype::A);
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["name"], "web.");
    assert_eq!(json["type"], "A");
    assert_eq!(json["outcome"], "answer");
    assert_eq!(json["steps"][0]["subject"], "caller");
    assert_eq!(json["steps"][0]["source"]["file"], "instances/shop.yaml");
    assert_eq!(json["steps"][0]["source"]["line"], 9);
    assert!(json["steps"][6]["source"].is_null());
}
