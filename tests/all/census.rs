//! When one address speaks for many callers: what is a sign of it, and what is none. That a server says so is shown beside its other clients.

use std::net::IpAddr;
use std::time::Duration;

use spacedns::census::{Census, GRACE, MANY, Question, Sign, WINDOW};

use crate::message::Query;
use crate::scenario::Change;
use crate::world::World;

/// A census of what is asked in a world, a second a question.
struct Watch {
    world: World,
    census: Census,
    now: Duration,
}

impl Watch {
    fn new() -> Self {
        let mut text = String::from(
            "name: shop\nservices: [{name: web}]\nlan: [172.28.5.0/24]\ndiscovery: space\n---\n\
             name: blog\nservices: [{name: web}, {name: feed}]\nlan: [172.28.6.0/24]\ndiscovery: space\n---\n\
             {app: shop, component: web, number: 1, address: 10.0.0.9}\n",
        );
        for app in 0..MANY {
            text += &format!("---\napp: app-{app}\nformation: {{web: {{quantity: 1}}}}\ninternal_routing: true\n");
        }
        let mut world = World::new();
        world.apply(&[Change::Write { path: "apps.yaml".into(), content: text }]);
        assert_eq!(world.faults(), []);
        Self { world, census: Census::default(), now: Duration::ZERO }
    }

    /// Asks for a name again and again, longer than anything is waited for; gives what came of it.
    fn ask(&mut self, source: &str, name: &str) -> Option<String> {
        let mut found = None;
        for _ in 0..=GRACE.as_secs() {
            self.now += Duration::from_secs(1);
            let next = self.ask_once(source, name);
            assert!(found.is_none() || next.is_none(), "it is told of once");
            found = found.or(next);
        }
        found
    }

    fn ask_once(&mut self, source: &str, name: &str) -> Option<String> {
        let source: IpAddr = source.parse().unwrap();
        let question = Question::read(source, &Query::new(name, 1).octets()).unwrap();
        let finding = self.census.see(&self.world.snapshot, &question, self.now)?;
        assert_eq!(finding.source, source.to_canonical());
        Some(finding.to_string())
    }
}

#[test]
fn a_bare_name_that_only_others_have_is_a_sign_once_a_window() {
    let mut watch = Watch::new();
    let found = watch.ask("172.17.0.1", "web").unwrap();
    assert!(
        found.starts_with("172.17.0.1 asks for `web`, and is on no app's LAN; shop and 9 other apps have; if a NAT"),
        "{found}"
    );
    assert_eq!(watch.ask("172.17.0.1", "feed"), None, "it was told");
    let found = watch.ask("::ffff:172.28.5.1", "FEED").unwrap();
    assert!(
        found.starts_with("172.28.5.1 asks for `feed`, which shop, whose LAN it is on, does not have, and blog has;"),
        "{found}"
    );
    watch.now += WINDOW;
    assert!(watch.ask("172.17.0.1", "web").is_some());
}

#[test]
fn names_of_many_apps_are_a_sign_and_are_named() {
    let mut watch = Watch::new();
    let name = |app| format!("app-{app}.herokuapp.com");
    let discovery = |app| format!("2.web.app-{app}.app.localspace");
    for app in 1..MANY {
        let name = if app % 2 == 0 { name(app) } else { discovery(app) };
        assert_eq!(watch.ask("172.28.5.1", &name), None);
        assert_eq!(watch.ask("172.28.5.1", &name), None, "the same once more");
    }
    let question = Question::read("172.28.5.1".parse().unwrap(), &Query::new(&name(0), 1).octets()).unwrap();
    let finding = watch.census.see(&watch.world.snapshot, &question, watch.now).unwrap();
    let Sign::ManyApps(apps) = &finding.sign else { panic!("{finding:?}") };
    assert_eq!(apps.len(), MANY);
    let text = finding.to_string();
    assert!(
        text.starts_with("172.28.5.1, which is no instance, asks for the names of many apps: app-1, app-2,"),
        "{text}"
    );
}

#[test]
fn what_a_container_may_ask_is_no_sign() {
    let mut watch = Watch::new();
    let names: Vec<String> = (0..MANY).map(|app| format!("web.app-{app}.app.localspace")).collect();
    let others = ["web", "feed", "nobody", "localspace", "www.example", "shop.herokuapp.com", "example"];
    // An instance, loopback, and who may not ask at all: whatever they ask.
    for source in ["10.0.0.9", "127.0.0.1", "::1", "203.0.113.9"] {
        for name in names.iter().map(String::as_str).chain(others) {
            assert_eq!(watch.ask(source, name), None, "{source} {name}");
        }
    }
    // A container on a LAN, and a host on none: their own names, few of others, none that exists nowhere.
    for (source, names) in [
        ("172.28.6.9", &["web", "feed", "wpad", "web.shop.app.localspace", "www.example"][..]),
        ("172.17.0.1", &["wpad", "nobody.app.localspace", "app-1.herokuapp.com", "localspace"]),
    ] {
        for name in names {
            assert_eq!(watch.ask(source, name), None, "{source} {name}");
        }
    }
    // One that asks before it is registered, and is then.
    assert_eq!(watch.ask_once("10.0.0.10", "web"), None);
    let registered = "{app: shop, component: web, number: 2, address: 10.0.0.10}\n";
    watch.world.apply(&[Change::Write { path: "web.2.yaml".into(), content: registered.to_owned() }]);
    assert_eq!(watch.ask("10.0.0.10", "feed"), None);
}
