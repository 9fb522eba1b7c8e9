//! What `spacedns::explain` says of a space of a few apps, each step with the line it came from.

use std::time::Duration;

use spacedns::explain::{Explanation, Outcome, explain};
use spacedns::name::Name;
use spacedns::record::Rtype;

use crate::scenario::Change;
use crate::world::World;

const SPACE: &str = "\
space: acme
cidr: 10.0.0.0/16
router:
  - 10.0.0.10
peers:
  - {name: on-prem, cidr: 192.168.40.0/24}
app_domains:
  - herokuapp.com
  - {name: own.internal, own: exclusive}
discovery_domain:
  - app.localspace
";

const SHOP: &str = "\
name: shop
services:
  - name: web
    instance_count: 2
workers:
  - name: worker
---
app: shop
internal_routing: true
discovery: space
lan:
  - 10.0.9.0/24
domains:
  - {domain: api.example.com, wildcard: true, cname: willow.herokudns.com}
";

const BLOG: &str = "\
app: blog
internal_routing: true
formation:
  web: {quantity: 2}
";

const SECRET: &str = "\
name: secret
services:
  - name: api
";

/// - `shop`: a service `web` with one of two up, a worker; routed, with a custom domain, a wildcard and a LAN;
/// - `blog`: a process type `web` with nothing registered; routed;
/// - `secret`: a service `api` that only its own LAN sees; not routed.
fn shop() -> World {
    let mut world = World::new();
    let files = [("space.yaml", SPACE), ("shop.yaml", SHOP), ("blog.yaml", BLOG), ("secret.yaml", SECRET)];
    world.apply(&files.map(|(path, content)| write(path, content)));
    world.apply(&[register("shop", "web", "10.0.1.1", ""), register("secret", "api", "10.0.3.1", "")]);
    assert_eq!(world.faults(), []);
    world
}

fn write(path: &str, content: &str) -> Change {
    Change::Write { path: path.to_owned(), content: content.to_owned() }
}

/// Registers the first instance of a component; `more` are further keys.
fn register(app: &str, component: &str, address: &str, more: &str) -> Change {
    let content = format!("app: {app}\ncomponent: {component}\nnumber: 1\naddress: {address}\n{more}");
    write(&format!("instances/{app}.yaml"), &content)
}

fn ask(world: &World, caller: &str, qname: &str, qtype: Rtype) -> Explanation {
    let name: Name = qname.parse().unwrap();
    explain(&world.registry, &world.snapshot, caller.parse().unwrap(), &name, qtype)
}

/// The steps for A, a line each.
fn told(world: &World, caller: &str, qname: &str) -> Vec<String> {
    printed(&ask(world, caller, qname, Rtype::A))
}

fn printed(explained: &Explanation) -> Vec<String> {
    explained.to_string().lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|found| found == line), "no line `{line}` in\n{}", lines.join("\n"));
}

#[test]
fn a_bare_name_is_told_from_the_caller_to_the_answer() {
    let world = shop();
    let expected = [
        "caller: 10.0.1.1 is the registered address of shop web.1 (instances/shop.yaml:1:1)",
        "view: it is shown the names of the space acme, and the bare names of shop, on whose LAN it is (shop.yaml:1:7)",
        "name: web. is the bare name of a service on the LAN of shop",
        "app: shop is declared (shop.yaml:1:7)",
        "gate: open: 1 of 2 web instances up (shop.yaml:3:11)",
        "instance: shop web.1 at 10.0.1.1: it is up (instances/shop.yaml:1:1)",
        "instance: shop web.2: nothing registers it",
        "answer: 1 A record, good for 5 s",
    ];
    assert_eq!(told(&world, "10.0.1.1", "web"), expected);
}

#[test]
fn a_hostname_is_told_with_its_routing_its_gate_and_its_router() {
    let world = shop();
    let expected = [
        "caller: 192.168.40.7 lies in 192.168.40.0/24, the network of on-prem, a peer of the space acme (space.yaml:6:5)",
        "view: it is shown the names of the space acme, and no bare names: it is on no app's LAN (space.yaml:1:8)",
        "name: shop.herokuapp.com. is an app hostname, its own zone, over a public suffix (shop.yaml:1:7)",
        "app: shop is declared (shop.yaml:1:7)",
        "app: shop is internally routed: it says so itself (shop.yaml:9:19)",
        "gate: open: 1 of 2 web instances up; the router of the space answers (shop.yaml:3:11)",
        "gate: the router of the space acme is at 10.0.0.10 (space.yaml:4:5)",
        "instance: shop web.1 at 10.0.1.1: it is up (instances/shop.yaml:1:1)",
        "instance: shop web.2: nothing registers it",
        "answer: 1 A record, good for 5 s",
    ];
    assert_eq!(told(&world, "192.168.40.7", "shop.herokuapp.com"), expected);
}

#[test]
fn each_rule_of_the_view_is_told_with_its_line() {
    let world = shop();
    let first = |caller: &str| told(&world, caller, "web").remove(0);
    assert_eq!(
        first("10.0.9.9"),
        "caller: 10.0.9.9 is no instance's address and lies in 10.0.9.0/24, in the `lan` of shop (shop.yaml:12:5)"
    );
    assert_eq!(
        first("10.0.200.1"),
        "caller: 10.0.200.1 is no instance's address, in no app's `lan`, and in 10.0.0.0/16, a `cidr` of the space acme \
         (space.yaml:2:7)"
    );
    assert_eq!(
        first("::1"),
        "caller: ::1 is this machine itself, which counts as a peer of the only space, acme (space.yaml:1:8)"
    );
    assert_eq!(first("::ffff:10.0.1.1"), first("10.0.1.1"));
    let stranger = ask(&world, "8.8.8.8", "web", Rtype::A);
    assert_eq!(stranger.outcome, Outcome::Refused);
    assert_eq!(
        stranger.to_string(),
        "caller: 8.8.8.8 is in no space and no peer of any\n\
         caller: the space acme and its peers are in 10.0.0.0/16, 192.168.40.0/24 (space.yaml:2:7)\n\
         answer: REFUSED: nothing is said to callers from there\n"
    );
}

#[test]
fn a_hidden_name_is_told_to_the_operator_and_denied_to_the_caller() {
    let world = shop();
    let explained = ask(&world, "10.0.200.1", "api.secret.app.localspace", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NxDomain);
    let lines = printed(&explained);
    has(
        &lines,
        "name: api.secret.app.localspace. is a discovery name of secret, which is there and hidden from this caller: to it the \
         name does not exist (space.yaml:11:5)",
    );
    has(
        &lines,
        "app: the discovery names of secret are seen by callers on its own LAN only: the default of an app with listed \
         components (secret.yaml:1:7)",
    );
    has(&lines, "answer: no such name: no such app");
    assert!(!String::from_utf8_lossy(&explained.response).contains("hidden"), "the wire says nothing of it");
    let reverse = told(&world, "10.0.200.1", "1.3.0.10.in-addr.arpa");
    has(
        &reverse,
        "name: 10.0.3.1 is the address of secret api.1, which is hidden from this caller (instances/secret.yaml:1:1)",
    );
    let own = ask(&world, "10.0.3.1", "api.secret.app.localspace", Rtype::A);
    assert_eq!(own.outcome, Outcome::Answer);
}

#[test]
fn a_closed_gate_says_why() {
    let world = shop();
    let explained = ask(&world, "10.0.200.1", "blog.herokuapp.com", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NoData);
    let lines = printed(&explained);
    has(&lines, "gate: closed: blog: 0 of 2 web instances up (blog.yaml:4:3)");
    has(&lines, "instance: blog web.1: nothing registers it");
    has(&lines, "answer: no data: blog: 0 of 2 web instances up");
}

#[test]
fn a_lease_that_ran_out_is_told_with_its_moment() {
    let mut world = shop();
    world.apply(&[register("blog", "web", "10.0.2.1", "lease: 30s\n")]);
    assert_eq!(ask(&world, "10.0.2.1", "blog.herokuapp.com", Rtype::A).outcome, Outcome::Answer);
    world.advance(Duration::from_secs(30));
    let lines = told(&world, "10.0.2.1", "blog.herokuapp.com");
    has(
        &lines,
        "caller: blog web.1 says that it is at this address, but its lease ran out at 2026-11-20T16:40:12Z \
         (instances/blog.yaml:1:1)",
    );
    has(
        &lines,
        "instance: blog web.1 at 10.0.2.1: its lease ran out at 2026-11-20T16:40:12Z (instances/blog.yaml:1:1)",
    );
    has(&lines, "answer: no data: blog: 0 of 2 web instances up; web.1 lease expired 2026-11-20T16:40:12Z");
}

#[test]
fn an_address_that_was_taken_names_who_took_it() {
    let mut world = shop();
    world.apply(&[register("blog", "web", "10.0.1.1", "")]);
    let lines = told(&world, "10.0.1.1", "shop.herokuapp.com");
    let taken = "10.0.1.1 was registered since by blog web.1 (instances/blog.yaml:1:1), and is its now";
    has(&lines, "caller: 10.0.1.1 is the registered address of blog web.1 (instances/blog.yaml:1:1)");
    has(&lines, &format!("caller: shop web.1 says that it is at this address, but {taken} (instances/shop.yaml:1:1)"));
    has(&lines, &format!("instance: shop web.1 at 10.0.1.1: {taken} (instances/shop.yaml:1:1)"));
}

#[test]
fn an_ambiguous_caller_hears_of_every_app_it_may_be_of() {
    let mut world = shop();
    let shared = |app| register(app, "web", "10.0.2.1", "shared_address: true\n");
    world.apply(&[shared("blog"), shared("shop")]);
    let explained = ask(&world, "10.0.2.1", "web", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NoData);
    let lines = printed(&explained);
    has(&lines, "caller: 10.0.2.1 is the registered address of blog web.1 (instances/blog.yaml:1:1)");
    has(&lines, "caller: 10.0.2.1 is the registered address of shop web.1 (instances/shop.yaml:1:1)");
    has(&lines, "caller: 2 apps share this address, so it cannot be told on whose LAN the caller is");
    has(&lines, "name: web. is a bare name, and the caller may be on the LAN of blog or shop");
    has(&lines, "answer: no data: ambiguous caller: several apps share this address");
}

#[test]
fn every_kind_of_name_is_told_apart() {
    let world = shop();
    let name = |caller: &str, qname: &str| {
        let lines = told(&world, caller, qname);
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
        (space, "app.localspace", "name: app.localspace. is the apex of a discovery domain (space.yaml:11:5)"),
        (
            space,
            "gone.app.localspace",
            "name: gone.app.localspace. is in the discovery domain app.localspace. and would be of an app gone, which the \
             space has not (space.yaml:11:5)",
        ),
        (
            space,
            "shop.app.localspace",
            "name: shop.app.localspace. stands above discovery names of shop (space.yaml:11:5)",
        ),
        (
            space,
            "web.shop.app.localspace",
            "name: web.shop.app.localspace. is the discovery name of shop web (space.yaml:11:5)",
        ),
        (
            space,
            "1.web.shop.app.localspace",
            "name: 1.web.shop.app.localspace. is the discovery name of the instance shop web.1 (space.yaml:11:5)",
        ),
        (
            space,
            "3.web.shop.app.localspace",
            "name: 3.web.shop.app.localspace. is below shop web, which has 1, 2, _8080._tcp, _http._tcp there (space.yaml:11:5)",
        ),
        (
            space,
            "x.shop.app.localspace",
            "name: x.shop.app.localspace. is a discovery name of shop, whose components are web, worker (space.yaml:11:5)",
        ),
        (
            space,
            "_http._tcp.web.shop.app.localspace",
            "name: _http._tcp.web.shop.app.localspace. is the SRV set of a port of shop web (space.yaml:11:5)",
        ),
        (
            space,
            "own.internal",
            "name: own.internal. is the apex of a domain of app hostnames that is all ours (space.yaml:9:5)",
        ),
        (
            space,
            "shop.own.internal",
            "name: shop.own.internal. is an app hostname, in the zone own.internal. (shop.yaml:1:7)",
        ),
        (space, "x.own.internal", "name: x.own.internal. lies in the zone own.internal., and no app declares it"),
        (
            space,
            "willow.herokudns.com",
            "name: willow.herokudns.com. is the DNS target of a custom domain, its own zone, over a public suffix (shop.yaml:14:5)",
        ),
        (
            space,
            "api.example.com",
            "name: api.example.com. is a custom domain, over its public zone; only A, AAAA, HTTPS and SVCB are ours, the other \
             types are the public zone's (shop.yaml:14:5)",
        ),
        (
            space,
            "a.b.api.example.com",
            "name: a.b.api.example.com. is what the wildcard *.api.example.com. gives; only A, AAAA, HTTPS and SVCB are ours, \
             the other types are the public zone's (shop.yaml:14:5)",
        ),
        (
            space,
            "1.1.0.10.in-addr.arpa",
            "name: 1.1.0.10.in-addr.arpa. is the reverse name of an address of shop web.1, in the zone 0.10.in-addr.arpa. \
             (space.yaml:2:7)",
        ),
        (
            space,
            "1.0.10.in-addr.arpa",
            "name: 1.0.10.in-addr.arpa. is part of a reverse name, in the zone 0.10.in-addr.arpa. (space.yaml:2:7)",
        ),
        (space, "www.example.org", "name: www.example.org. is not ours"),
    ] {
        assert_eq!(name(caller, qname), expected);
    }
}

#[test]
fn a_foreign_name_that_an_app_would_have_says_what_is_missing() {
    let world = shop();
    let explained = ask(&world, "10.0.200.1", "secret.herokuapp.com", Rtype::A);
    assert_eq!(explained.outcome, Outcome::Foreign);
    let lines = printed(&explained);
    has(&lines, "name: it would be the hostname of secret (secret.yaml:1:7)");
    has(&lines, "app: secret is not internally routed: the default of its space (space.yaml:1:8)");
    has(&lines, "answer: secret.herokuapp.com. is asked of the upstream; without one it is REFUSED");
}

#[test]
fn a_bare_name_that_cannot_be_says_what_there_is() {
    let world = shop();
    let lines = told(&world, "10.0.1.1", "worker");
    has(&lines, "name: worker of shop is a worker, and only services have bare names (shop.yaml:6:11)");
    has(&lines, "app: on the LAN of shop there is web (shop.yaml:1:7)");
    let lines = told(&world, "10.0.200.1", "api");
    has(&lines, "name: it exists on the LAN of secret (secret.yaml:3:11)");
}

#[test]
fn the_outcome_is_the_engines() {
    let world = shop();
    let outcome = |qname: &str, qtype| ask(&world, "10.0.200.1", qname, qtype).outcome;
    assert_eq!(outcome("api.example.com", Rtype::AAAA), Outcome::NoData);
    assert_eq!(outcome("api.example.com", Rtype(15)), Outcome::Foreign);
    assert_eq!(outcome("app.localspace", Rtype::SOA), Outcome::Answer);
    assert_eq!(outcome("app.localspace", Rtype::AXFR), Outcome::Refused);
    assert_eq!(outcome("app.localspace", Rtype::OPT), Outcome::Error);
    assert_eq!(outcome("web", Rtype::A), Outcome::NxDomain);
    let other = ask(&world, "10.0.200.1", "web.shop.app.localspace", Rtype::AAAA);
    assert_eq!(other.steps.last().unwrap().words, "no data: there is no AAAA here, only A");
}

#[test]
fn an_archived_app_and_one_without_a_web_component_say_so() {
    let mut world = shop();
    let archived =
        "name: old\nservices: [{name: web}]\nmaintenance: {archive: true}\n---\napp: old\ninternal_routing: true\n";
    let headless = "name: two\nservices: [{name: one}, {name: other}]\n---\napp: two\ninternal_routing: true\n";
    world.apply(&[write("old.yaml", archived), write("two.yaml", headless)]);
    let lines = told(&world, "10.0.200.1", "old.herokuapp.com");
    has(&lines, "app: old is archived: it keeps its names and has no addresses (old.yaml:3:24)");
    has(&lines, "gate: closed: old: the app is archived (old.yaml:2:19)");
    let lines = told(&world, "10.0.200.1", "two.herokuapp.com");
    has(&lines, "gate: closed: two: it has no web component");
    has(
        &lines,
        "gate: no web component: none is called `web`, `web:` names none, and there is not just one service with an `http_port` \
         (two.yaml:1:7)",
    );
}

#[test]
fn a_removed_app_is_told_of_its_names() {
    let mut world = shop();
    world.apply(&[Change::Remove { path: "blog.yaml".to_owned() }]);
    let explained = ask(&world, "10.0.200.1", "blog.herokuapp.com", Rtype::A);
    assert_eq!(explained.outcome, Outcome::NxDomain);
    let lines = printed(&explained);
    has(&lines, "name: blog.herokuapp.com. was held by an app that was removed; it is denied for a while");
    has(&lines, "answer: no such name: the app that held this name was removed");
}

#[test]
fn instances_that_take_no_traffic_say_what_they_are_at() {
    let mut world = shop();
    for (state, standing) in [
        ("starting", "it is starting; only its own name answers"),
        ("draining", "it is draining; only its own name answers"),
        ("down", "its registration says that it is down"),
    ] {
        world.apply(&[register("shop", "web", "10.0.1.1", &format!("state: {state}\n"))]);
        let lines = told(&world, "10.0.200.1", "1.web.shop.app.localspace");
        has(&lines, &format!("instance: shop web.1 at 10.0.1.1: {standing} (instances/shop.yaml:1:1)"));
    }
}

#[test]
fn a_name_of_another_space_is_told_of() {
    let mut world = shop();
    let space = "space: zeta\ncidr: 10.9.0.0/16\ndiscovery_domain: zeta.localspace\n";
    let app = "app: far\nformation: {web: {quantity: 1}}\n";
    world.apply(&[write("zeta/space.yaml", space), write("zeta/far.yaml", app)]);
    let explained = ask(&world, "10.0.200.1", "web.far.zeta.localspace", Rtype::A);
    assert_eq!(explained.outcome, Outcome::Foreign);
    let lines = printed(&explained);
    has(&lines, "name: web.far.zeta.localspace. is not ours");
    has(&lines, "name: it is a name of the space zeta, which this caller is not in (zeta/space.yaml:1:8)");
    let lines = told(&world, "127.0.0.1", "web");
    has(
        &lines,
        "caller: 127.0.0.1 is this machine itself, which counts as a peer where there is one space; there are 2",
    );
}

#[test]
fn a_set_that_does_not_fit_says_how_much_of_it_goes_out() {
    let mut world = shop();
    let many: String = (1..=200)
        .map(|number| format!("  - {{component: web, number: {number}, address: 10.0.4.{number}}}\n"))
        .collect();
    world.apply(&[write("instances/blog.yaml", &format!("app: blog\ninstances:\n{many}"))]);
    let answer = |qname: &str| told(&world, "10.0.4.1", qname).pop().unwrap();
    assert!(answer("web").starts_with("answer: 7"), "{}", answer("web"));
    assert!(
        answer("web")
            .ends_with(" of 200 A records, good for 5 s; no more fit over UDP, and each caller keeps its own part")
    );
    assert_eq!(answer("web.blog.app.localspace"), "answer: 200 A records, good for 5 s");
}
