//! The rules of conflicts, leases, spaces and memory, each on the registry alone: documents in, states and faults out.

use std::sync::Arc;
use std::time::Duration;

use super::{
    AllUnhealthy, AppId, AppState, Check, FileChange, FileContent, Health, Judgement, Now, Registry, Standing, Touched,
    Verdict,
};
use crate::name::{Label, Name};
use crate::spec::{self, Document, Format};

/// How long removed hostnames stay.
const TOMBSTONE: Duration = Duration::from_secs(3_600);

/// A registry with a clock and a counter of batches.
struct Dropped {
    registry: Registry,
    elapsed: Duration,
    batches: u128,
}

impl Dropped {
    /// A registry that knows the space `acme`.
    fn new() -> Self {
        let mut new = Self { registry: Registry::new(TOMBSTONE), elapsed: Duration::ZERO, batches: 0 };
        new.write(&[("space.yaml", "space: acme\ncidr: 10.0.0.0/16\ninternal_routing: true\n")]);
        new
    }

    fn now(&self) -> Now {
        Now { monotonic: self.elapsed, wall: 1_795_192_782 + self.elapsed.as_secs() }
    }

    /// Writes files, or removes those without content, as one batch.
    fn batch(&mut self, changes: &[(&str, Option<&str>)]) -> Touched {
        self.batches += 1;
        let read = |content: &str| {
            let reading = spec::read(content.as_bytes(), Format::Yaml, "stem");
            assert_eq!(reading.faults, []);
            FileContent { documents: reading.documents.into(), modified: self.batches }
        };
        let changes = changes
            .iter()
            .map(|(file, content)| FileChange { file: Arc::from(*file), content: content.map(read) })
            .collect();
        self.registry.apply(changes, self.now())
    }

    fn write(&mut self, files: &[(&str, &str)]) -> Touched {
        self.batch(&files.iter().map(|(file, content)| (*file, Some(*content))).collect::<Vec<_>>())
    }

    fn remove(&mut self, file: &str) -> Touched {
        self.batch(&[(file, None)])
    }

    fn at(&mut self, seconds: u64) -> Touched {
        self.elapsed = Duration::from_secs(seconds);
        self.registry.advance(self.now())
    }

    fn faults(&self) -> Vec<String> {
        self.registry.faults().iter().map(|found| format!("{}:{}", found.file, found.fault)).collect()
    }

    fn app(&self, label: &str) -> Option<AppState> {
        self.registry.app(self.id(label)?)
    }

    fn id(&self, label: &str) -> Option<AppId> {
        let (space, _) = self.registry.spaces().next()?;
        self.registry.app_named(space, &label_of(label))
    }

    fn standing(&self, app: &str, component: &str, number: u32) -> Option<Standing> {
        Some(self.app(app)?.components.get(&label_of(component))?.instances.get(&number)?.standing)
    }

    fn holder(&self, name: &str) -> Option<String> {
        let (space, _) = self.registry.spaces().next()?;
        let app = self.registry.name_holder(space, &name.parse::<Name>().unwrap())?;
        Some(self.registry.app(app)?.label.to_string())
    }
}

fn label_of(text: &str) -> Label {
    Label::from_octets(text.as_bytes()).unwrap()
}

fn instance(app: &str, component: &str, number: u32, address: &str) -> String {
    format!("app: {app}\ncomponent: {component}\nnumber: {number}\naddress: {address}\n")
}

#[test]
fn the_app_spec_being_served_stays_and_the_first_path_wins_at_a_cold_start() {
    let mut dropped = Dropped::new();
    dropped.write(&[
        ("b.yaml", "name: shop\nservices: [{name: web}]\n"),
        ("a.yaml", "name: shop\nworkers: [{name: job}]\n"),
    ]);
    assert!(dropped.app("shop").unwrap().components.contains_key(&label_of("job")));
    assert_eq!(dropped.faults().len(), 1);
    assert!(dropped.faults()[0].starts_with("b.yaml:1:7: name: the app shop is declared already (a.yaml:1:7)"));

    let mut dropped = Dropped::new();
    dropped.write(&[("b.yaml", "name: shop\nservices: [{name: web}]\n")]);
    dropped.write(&[("a.yaml", "name: shop\nworkers: [{name: job}]\n")]);
    assert!(dropped.app("shop").unwrap().components.contains_key(&label_of("web")));
    assert!(dropped.faults()[0].starts_with("a.yaml:1:7"), "{:?}", dropped.faults());
    dropped.remove("b.yaml");
    assert!(dropped.app("shop").unwrap().components.contains_key(&label_of("job")));
    assert_eq!(dropped.faults(), [""; 0]);
}

#[test]
fn two_instances_of_an_app_with_one_address_are_a_warning_that_names_both() {
    let warnings = |dropped: &Dropped| {
        dropped.registry.warnings().iter().map(|found| format!("{}:{}", found.file, found.fault)).collect::<Vec<_>>()
    };
    let mut dropped = Dropped::new();
    dropped.write(&[
        ("a.yaml", &instance("shop", "web", 1, "10.0.0.1")),
        ("b.yaml", &instance("shop", "worker", 1, "10.0.0.1")),
        ("c.yaml", &instance("shop", "worker", 2, "10.0.0.2")),
    ]);
    assert_eq!(dropped.faults(), [""; 0], "both are served");
    let [warning] = &warnings(&dropped)[..] else { panic!("{:?}", warnings(&dropped)) };
    let words = "b.yaml:1:1: address: worker.1 has 10.0.0.1, and so has web.1 (a.yaml:1:1); remove the one ";
    assert!(warning.starts_with(words), "{warning}");
    assert_eq!((dropped.registry.warnings_of("b.yaml").len(), dropped.registry.warnings_of("a.yaml").len()), (1, 0));
    // Where one is not there any more, or they say that they share, all is well.
    dropped.write(&[("a.yaml", &(instance("shop", "web", 1, "10.0.0.1") + "state: down\n"))]);
    assert_eq!(warnings(&dropped), [""; 0]);
    let shared = |component: &str| instance("shop", component, 1, "10.0.0.1") + "shared_address: true\n";
    dropped.write(&[("a.yaml", &shared("web")), ("b.yaml", &shared("worker"))]);
    assert_eq!(warnings(&dropped), [""; 0]);
}

#[test]
fn a_name_stays_with_its_holder_and_goes_to_the_next_who_wants_it() {
    let mut dropped = Dropped::new();
    dropped.write(&[("b.yaml", "app: blog\nhostnames: [x.herokuapp.com]\n")]);
    dropped.write(&[("a.yaml", "app: shop\nhostnames: [x.herokuapp.com]\n")]);
    assert_eq!(dropped.holder("x.herokuapp.com").as_deref(), Some("blog"));
    assert!(
        dropped.faults()[0].starts_with("a.yaml:2:13: x.herokuapp.com. is held by another app already (b.yaml:2:13)")
    );
    // A line above moves the holder: the fault follows.
    dropped.write(&[("b.yaml", "# mine\napp: blog\nhostnames: [x.herokuapp.com]\n")]);
    assert!(dropped.faults()[0].contains("(b.yaml:3:13)"), "{:?}", dropped.faults());
    let touched = dropped.remove("b.yaml");
    assert_eq!(dropped.holder("x.herokuapp.com").as_deref(), Some("shop"));
    assert_eq!(touched.names.len(), 1);
    assert_eq!(dropped.faults(), [""; 0]);
    let (space, _) = dropped.registry.spaces().next().unwrap();
    assert_eq!(dropped.registry.tombstone(space, &"x.herokuapp.com".parse().unwrap()), None);
}

#[test]
fn a_lease_runs_out_is_renewed_and_has_one_deadline() {
    let mut dropped = Dropped::new();
    let leased = format!("{}lease: 30s\n", instance("shop", "web", 1, "10.0.0.1"));
    dropped.write(&[("web.1.yaml", &leased)]);
    assert_eq!(dropped.registry.deadline(), Some(Duration::from_secs(30)));
    dropped.at(20);
    assert!(dropped.write(&[("web.1.yaml", &leased)]).is_empty(), "a renewal changes nothing");
    assert_eq!(dropped.registry.deadline(), Some(Duration::from_secs(50)));
    assert!(dropped.at(49).is_empty());
    assert_eq!(dropped.standing("shop", "web", 1), Some(Standing::Up));
    assert!(!dropped.at(50).is_empty());
    assert_eq!(dropped.standing("shop", "web", 1), Some(Standing::Expired(1_795_192_832)));
    assert_eq!(dropped.registry.address_holders("10.0.0.1".parse().unwrap()), []);
    assert_eq!(dropped.registry.deadline(), None);
    dropped.write(&[("web.1.yaml", &leased)]);
    assert_eq!(dropped.standing("shop", "web", 1), Some(Standing::Up));
}

#[test]
fn a_renewal_that_is_told_before_time_passes_saves_the_lease() {
    let mut dropped = Dropped::new();
    let leased = format!("{}lease: 30s\n", instance("shop", "web", 1, "10.0.0.1"));
    dropped.write(&[("web.1.yaml", &leased)]);
    dropped.elapsed = Duration::from_secs(35);
    assert!(dropped.write(&[("web.1.yaml", &leased)]).is_empty());
    assert!(dropped.at(35).is_empty());
    assert_eq!(dropped.registry.deadline(), Some(Duration::from_secs(65)));
}

#[test]
fn leases_of_one_file_run_out_one_by_one() {
    let mut dropped = Dropped::new();
    dropped.write(&[(
        "all.yaml",
        "app: shop\ninstances:\n- {component: web, number: 1, address: 10.0.0.1, lease: 10s}\n\
         - {component: web, number: 2, address: 10.0.0.2, lease: 20s}\n- {component: web, number: 3, address: 10.0.0.3}\n",
    )]);
    let standings =
        |dropped: &Dropped| [1, 2, 3].map(|number| dropped.standing("shop", "web", number) == Some(Standing::Up));
    assert_eq!(standings(&dropped), [true, true, true]);
    dropped.at(10);
    assert_eq!(standings(&dropped), [false, true, true]);
    dropped.at(25);
    assert_eq!(standings(&dropped), [false, false, true]);
    assert_eq!(dropped.registry.deadline(), None);
}

#[test]
fn a_newer_registration_whose_lease_ran_out_gives_way_to_an_older() {
    let mut dropped = Dropped::new();
    dropped.write(&[("old.yaml", &instance("shop", "web", 1, "10.0.0.1"))]);
    dropped.write(&[("new.yaml", &format!("{}lease: 10s\n", instance("shop", "web", 1, "10.0.0.2")))]);
    let address = |dropped: &Dropped| {
        dropped.app("shop").unwrap().components[&label_of("web")].instances[&1].addresses[0].to_string()
    };
    assert_eq!(address(&dropped), "10.0.0.2");
    dropped.at(10);
    assert_eq!(address(&dropped), "10.0.0.1");
    assert_eq!(dropped.standing("shop", "web", 1), Some(Standing::Up));
}

#[test]
fn who_lost_an_address_displaces_nobody_in_turn() {
    let mut dropped = Dropped::new();
    dropped.write(&[("a.yaml", &instance("one", "web", 1, "10.0.0.1"))]);
    dropped
        .write(&[("b.yaml", "app: two\ninstances: [{component: web, number: 1, addresses: [10.0.0.1, 10.0.0.2]}]\n")]);
    assert_eq!(dropped.standing("one", "web", 1), Some(Standing::Displaced));
    dropped.write(&[("c.yaml", &instance("three", "web", 1, "10.0.0.2"))]);
    // `two` lost as a whole, and so `one` has its address back.
    assert_eq!(dropped.standing("two", "web", 1), Some(Standing::Displaced));
    assert_eq!(dropped.standing("one", "web", 1), Some(Standing::Up));
    assert_eq!(dropped.faults().len(), 1, "{:?}", dropped.faults());
    assert!(
        dropped.faults()[0].starts_with("b.yaml:2:13: address: 10.0.0.2 was registered by another app since (c.yaml")
    );
    dropped.remove("c.yaml");
    assert_eq!(dropped.standing("two", "web", 1), Some(Standing::Up));
    assert_eq!(dropped.standing("one", "web", 1), Some(Standing::Displaced));
    dropped.remove("a.yaml");
    assert_eq!(dropped.faults(), [""; 0]);
}

#[test]
fn an_address_is_shared_only_when_both_say_so() {
    let mut dropped = Dropped::new();
    let shared = |app: &str| format!("{}shared_address: true\n", instance(app, "web", 1, "10.0.0.1"));
    dropped.write(&[("a.yaml", &shared("one")), ("b.yaml", &shared("two"))]);
    assert_eq!(dropped.registry.address_holders("10.0.0.1".parse().unwrap()).len(), 2);
    assert_eq!(dropped.faults(), [""; 0]);
    dropped.write(&[("b.yaml", &instance("two", "web", 1, "10.0.0.1"))]);
    assert_eq!(dropped.registry.address_holders("10.0.0.1".parse().unwrap()).len(), 1);
    assert_eq!(dropped.standing("one", "web", 1), Some(Standing::Displaced));
}

#[test]
fn a_registration_that_is_down_holds_no_address() {
    let mut dropped = Dropped::new();
    dropped.write(&[("a.yaml", &instance("one", "web", 1, "10.0.0.1"))]);
    dropped.write(&[("b.yaml", &format!("{}state: down\n", instance("two", "web", 1, "10.0.0.1")))]);
    assert_eq!(dropped.standing("one", "web", 1), Some(Standing::Up));
    assert_eq!(dropped.standing("two", "web", 1), Some(Standing::Down));
    assert_eq!(dropped.faults(), [""; 0]);
}

#[test]
fn a_file_that_moves_to_another_space_takes_its_app_along() {
    let mut dropped = Dropped::new();
    dropped.write(&[("east/space.yaml", "space: east\ncidr: 10.8.0.0/16\n")]);
    dropped.write(&[("shop.yaml", "app: shop\ninternal_routing: false\nhostnames: [x.herokuapp.com]\n")]);
    let moved = "app: shop\ninternal_routing: true\nhostnames: [x.herokuapp.com]\n";
    dropped.batch(&[("shop.yaml", None), ("east/shop.yaml", Some(moved))]);
    assert_eq!(dropped.faults(), [""; 0], "in its new space it is a new app");
    let spaces: Vec<_> = dropped.registry.spaces().map(|(id, state)| (state.spec.name.value.clone(), id)).collect();
    let (_, east) = spaces.iter().find(|(name, _)| name == "east").unwrap();
    let id = dropped.registry.app_named(*east, &label_of("shop")).unwrap();
    assert!(dropped.registry.app(id).unwrap().internal_routing);
    assert_eq!(dropped.app("shop"), None);
    // The nearest document decides: a space below it takes its files over.
    dropped.write(&[
        ("east/sub/space.yaml", "space: sub\ncidr: 10.9.0.0/16\n"),
        ("east/sub/a.yaml", "app: deep\nweb: api\n"),
    ]);
    let (sub, _) = dropped.registry.spaces().find(|(_, state)| state.spec.name.value == "sub").unwrap();
    assert!(dropped.registry.app_named(sub, &label_of("deep")).is_some());
    dropped.remove("east/sub/space.yaml");
    assert!(dropped.faults()[0].contains("the document of the space sub is gone"), "{:?}", dropped.faults());
    assert!(dropped.registry.app_named(sub, &label_of("deep")).is_some(), "its last good version stays");
    dropped.remove("east/sub/a.yaml");
    assert_eq!(dropped.faults(), [""; 0]);
    assert!(dropped.registry.space(sub).is_none());
}

#[test]
fn a_file_that_no_space_covers_is_a_fault() {
    let mut dropped = Dropped { registry: Registry::new(TOMBSTONE), elapsed: Duration::ZERO, batches: 0 };
    dropped.write(&[("east/space.yaml", "space: east\ncidr: 10.8.0.0/16\n"), ("shop.yaml", "app: shop\nweb: api\n")]);
    assert_eq!(dropped.faults().len(), 1);
    assert!(dropped.faults()[0].starts_with("shop.yaml:1:6: no space covers this file"), "{:?}", dropped.faults());
    dropped.write(&[("space.yaml", "space: acme\ncidr: 10.0.0.0/16\n")]);
    assert_eq!(dropped.faults(), [""; 0]);
}

#[test]
fn spaces_that_overlap_or_have_one_name_cannot_both_be() {
    let mut dropped = Dropped::new();
    dropped.write(&[("a/space.yaml", "space: east\ncidr: 10.0.128.0/20\n"), ("a/shop.yaml", "app: shop\nweb: api\n")]);
    assert_eq!(dropped.faults().len(), 1, "{:?}", dropped.faults());
    assert!(
        dropped.faults()[0].starts_with("a/space.yaml:2:7: cidr: 10.0.128.0/20 overlaps 10.0.0.0/16 of the space acme")
    );
    assert_eq!(dropped.app("shop"), None, "its files are in no space meanwhile");
    dropped.write(&[("a/space.yaml", "space: acme\ncidr: 10.8.0.0/16\n")]);
    assert!(dropped.faults()[0].contains("the space acme is declared twice"), "{:?}", dropped.faults());
    dropped.write(&[("a/space.yaml", "space: east\ncidr: 10.8.0.0/16\n")]);
    assert_eq!(dropped.faults(), [""; 0]);
    // A space that comes to clash keeps its last good version.
    dropped.write(&[("a/space.yaml", "space: east\ncidr: 10.8.0.0/16\npeers: [10.0.3.0/24]\nttl: 60\n")]);
    assert!(dropped.faults()[0].contains("10.0.3.0/24 overlaps"), "{:?}", dropped.faults());
    let (_, east) = dropped.registry.spaces().find(|(_, state)| state.spec.name.value == "east").unwrap();
    assert_eq!(east.spec.ttl, 5);
}

#[test]
fn routing_that_is_written_otherwise_later_is_not_what_says_so() {
    let mut dropped = Dropped::new();
    dropped.write(&[("shop.yaml", "app: shop\ninternal_routing: false\n")]);
    dropped.write(&[("shop.yaml", "app: shop\ninternal_routing: true\n")]);
    let state = dropped.app("shop").unwrap();
    assert!(!state.internal_routing);
    assert_eq!(state.internal_routing_source, None);
    assert!(dropped.faults()[0].contains("created with `internal_routing: false`"), "{:?}", dropped.faults());
}

#[test]
fn routing_that_is_said_a_moment_after_the_app_was_created_was_said_with_it() {
    for (seconds, is_routed) in [(1, false), (2, true)] {
        let mut dropped = Dropped::new();
        dropped.write(&[("shop.yaml", "name: shop\n")]);
        assert!(dropped.app("shop").unwrap().internal_routing, "as its space has it");
        // What else is said of it meanwhile does not end that.
        dropped.write(&[("web.yaml", "app: shop\ndiscovery: app\n")]);
        dropped.at(seconds);
        dropped.write(&[("settings.yaml", "app: shop\ninternal_routing: false\n")]);
        assert_eq!(dropped.app("shop").unwrap().internal_routing, is_routed, "after {seconds} s");
        assert_eq!(dropped.faults().len(), usize::from(is_routed), "{:?}", dropped.faults());
        let name = "shop.herokuapp.com".parse::<Name>().unwrap();
        let space = dropped.app("shop").unwrap().space;
        assert_eq!(dropped.registry.tombstone(space, &name), None, "it never was the app's, or is");
        // Once said it is said.
        dropped.write(&[("settings.yaml", "app: shop\ninternal_routing: true\n")]);
        assert_eq!(dropped.app("shop").unwrap().internal_routing, is_routed);
        assert_eq!(dropped.faults().len(), usize::from(!is_routed), "{:?}", dropped.faults());
    }
}

#[test]
fn routing_that_its_space_has_otherwise_a_moment_after_the_app_was_created_was_so_then() {
    for (seconds, is_routed) in [(1, false), (2, true)] {
        let mut dropped = Dropped::new();
        dropped.write(&[("shop.yaml", "name: shop\n")]);
        assert!(dropped.app("shop").unwrap().internal_routing, "as its space has it");
        dropped.at(seconds);
        dropped.write(&[("space.yaml", "space: acme\ncidr: 10.0.0.0/16\ninternal_routing: false\n")]);
        let shop = dropped.app("shop").unwrap();
        assert_eq!((shop.internal_routing, !shop.owners.is_empty()), (is_routed, is_routed), "after {seconds} s");
        let name = "shop.herokuapp.com".parse::<Name>().unwrap();
        assert_eq!(dropped.registry.tombstone(shop.space, &name), None, "it never was the app's, or is");
        assert_eq!(
            dropped.registry.app_claims(dropped.id("shop").unwrap()).unwrap().created_routed,
            is_routed.then_some(true)
        );
        assert_eq!(dropped.faults(), [""; 0]);
    }
}

#[test]
fn what_was_chosen_when_an_app_was_created_is_saved_when_its_moment_is_over_though_nothing_else_happens() {
    let mut dropped = Dropped::new();
    dropped.write(&[("shop.yaml", "name: shop\n")]);
    let id = dropped.id("shop").unwrap();
    let saved = |dropped: &Dropped| dropped.registry.app_claims(id).unwrap().created_routed;
    assert_eq!(saved(&dropped), None, "it may be chosen otherwise yet");
    assert_eq!(dropped.registry.deadline(), Some(Duration::from_secs(2)));
    assert!(dropped.at(1).apps.is_empty());
    let touched = dropped.at(2);
    assert_eq!((touched.apps.contains(&id), saved(&dropped)), (true, Some(true)));
    assert_eq!(dropped.registry.deadline(), None);
    dropped.write(&[("other.yaml", "name: other\ninternal_routing: true\n")]);
    assert_eq!(dropped.registry.deadline(), None, "what is said is chosen");
}

#[test]
fn an_app_has_a_thousand_components_and_remembers_as_many() {
    let mut dropped = Dropped::new();
    let many: String = (0..1_005)
        .map(|n| format!("- {{component: c{n}, number: 1, address: 10.0.{}.{}}}\n", n / 250, n % 250 + 1))
        .collect();
    dropped.write(&[("all.yaml", &format!("app: shop\ninstances:\n{many}"))]);
    assert_eq!(dropped.app("shop").unwrap().components.len(), 1_000);
    assert_eq!(dropped.faults().len(), 1);
    assert!(dropped.faults()[0].contains("5 registrations, as that of c"), "{:?}", dropped.faults());
    for n in 0..50 {
        dropped.write(&[("all.yaml", &instance("shop", &format!("later{n}"), 1, "10.0.0.1"))]);
    }
    assert_eq!(dropped.faults(), [""; 0]);
    let remembered = dropped.app("shop").unwrap().components;
    assert_eq!(remembered.len(), 1_000);
    assert!(remembered.contains_key(&label_of("later49")));
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut dropped = Dropped::new();
    for round in 0..20 {
        let app = format!("app-{round}");
        let files = [
            (format!("{app}.yaml"), format!("name: {app}\nservices: [{{name: web}}]\nlan: [172.20.{round}.0/24]\n")),
            (format!("{app}-1.yaml"), format!("{}lease: 10s\n", instance(&app, "web", 1, "10.0.0.1"))),
            (format!("{app}-2.yaml"), instance(&format!("only-{round}"), "web", 1, "10.0.0.1")),
        ];
        dropped.write(&files.iter().map(|(file, content)| (file.as_str(), content.as_str())).collect::<Vec<_>>());
        assert_eq!(dropped.faults().len(), 1, "two apps register one address");
        dropped.batch(&files.iter().map(|(file, _)| (file.as_str(), None)).collect::<Vec<_>>());
        assert_eq!(dropped.faults(), [""; 0]);
    }
    assert!(dropped.registry.deadline().is_some(), "tombstones and remembered numbers");
    dropped.at(2 * TOMBSTONE.as_secs());
    let registry = &dropped.registry;
    assert_eq!(registry.deadline(), None);
    assert_eq!((registry.apps.len(), registry.app_ids.len(), registry.files.len()), (0, 0, 1));
    assert_eq!((registry.tombstones.len(), registry.faults.len()), (0, 0));
    assert_eq!(
        (registry.names.iter().count(), registry.lans.iter().count(), registry.addresses.iter().count()),
        (0, 0, 0)
    );
}

#[test]
fn a_file_that_could_never_be_read_keeps_its_directory_out_of_the_default_space() {
    let unread = |file: &str| FileChange {
        file: Arc::from(file),
        content: Some(FileContent { documents: vec![Document::Unread].into(), modified: 0 }),
    };
    let mut dropped = Dropped { registry: Registry::new(TOMBSTONE), elapsed: Duration::ZERO, batches: 0 };
    let now = dropped.now();
    let registered =
        |app: &str| spec::read(instance(app, "web", 1, "10.0.0.1").as_bytes(), Format::Yaml, "stem").documents.into();
    let change = |file: &str, app: &str| FileChange {
        file: Arc::from(file),
        content: Some(FileContent { documents: registered(app), modified: 0 }),
    };
    // At a cold start, in one batch: what is beside it and below waits, the rest is served.
    dropped.registry.apply(
        vec![
            unread("a/space.yaml"),
            change("a/web.yaml", "beside"),
            change("a/b/web.yaml", "below"),
            change("web.yaml", "above"),
        ],
        now,
    );
    let apps = |dropped: &Dropped| {
        let registry = &dropped.registry;
        let mut apps: Vec<String> =
            registry.app_ids().filter_map(|id| registry.app(id)).map(|app| app.label.to_string()).collect();
        apps.sort();
        apps
    };
    assert_eq!(apps(&dropped), ["above"]);
    // It turns out to be no space.
    dropped.write(&[("a/space.yaml", &instance("shop", "web", 2, "10.0.0.2"))]);
    assert_eq!(apps(&dropped), ["above", "below", "beside", "shop"]);
    // What is served goes on, whatever appears beside it.
    dropped.registry.apply(vec![unread("a/b/secret.yaml"), unread("secret.yaml")], now);
    assert_eq!(apps(&dropped), ["above", "below", "beside", "shop"]);
    // Where a space covers the directory, nothing waits.
    let mut dropped = Dropped::new();
    dropped.registry.apply(vec![unread("a/secret.yaml"), change("a/web.yaml", "beside")], now);
    assert_eq!(apps(&dropped), ["beside"]);
}

#[test]
fn renewing_takes_no_parsing_and_brings_back_what_had_lapsed() {
    let mut dropped = Dropped::new();
    let leased = |number, seconds| format!("{}lease: {seconds}s\n", instance("shop", "web", number, "10.0.0.1"));
    dropped.write(&[("web.1.yaml", &leased(1, 10)), ("web.2.yaml", &leased(2, 20).replace("0.1", "0.2"))]);
    dropped.elapsed = Duration::from_secs(9);
    let file = Arc::<str>::from("web.1.yaml");
    assert!(dropped.registry.lapsing(dropped.now()).is_empty());
    assert!(dropped.registry.renew(std::slice::from_ref(&file), dropped.now()).is_empty());
    assert!(dropped.at(18).is_empty());
    assert!(!dropped.at(19).is_empty(), "10 s after the renewal");
    // A pause: what runs has its whole time again, what had run out has not come back.
    dropped.elapsed = Duration::from_secs(1000);
    assert_eq!(dropped.registry.lapsing(dropped.now()), [Arc::from("web.2.yaml")]);
    assert_eq!(dropped.registry.renew_all(dropped.now()), 1);
    assert!(dropped.at(1019).is_empty());
    assert!(!dropped.at(1020).is_empty());
    assert!(!dropped.registry.renew(&[file], dropped.now()).is_empty());
    assert_eq!(dropped.registry.deadline(), Some(Duration::from_secs(1030)));
}

/// A registry that holds instances to their checks, with an app whose `web` and `api` have some.
fn checked(policy: AllUnhealthy) -> Dropped {
    let mut dropped = Dropped { registry: Registry::new(TOMBSTONE), elapsed: Duration::ZERO, batches: 0 };
    dropped.registry.check_health(policy);
    dropped.write(&[
        ("space.yaml", "space: acme\ncidr: 10.0.0.0/16\n"),
        (
            "shop.yaml",
            "name: shop\nservices:\n- {name: web, http_port: 3000, health_check: {http_path: /health}}\n\
             - {name: api, internal_ports: [9000], health_check: {}}\n- {name: plain}\n",
        ),
    ]);
    dropped
}

impl Dropped {
    fn health(&self, component: &str, number: u32) -> Health {
        self.app("shop").unwrap().components[&label_of(component)].instances[&number].health.clone()
    }

    fn checks(&self) -> Vec<Check> {
        self.registry.app_ids().flat_map(|id| self.registry.checks(id)).collect()
    }

    /// Has checks of an instance, at the address it has, found this.
    fn judge(&mut self, component: &str, number: u32, verdict: Verdict) -> Touched {
        let id = self.app("shop").unwrap().id;
        let found = self.registry.checks(id);
        let check =
            found.iter().find(|check| (check.component.octets(), check.number) == (component.as_bytes(), number));
        let Check { component, number, addresses, .. } = check.expect("it is checked").clone();
        self.registry.judge(vec![Judgement { app: id, component, number, addresses, verdict }])
    }
}

fn failing() -> Verdict {
    Verdict::Unready("GET /health 503".into())
}

#[test]
fn what_was_there_at_the_start_is_presumed_ready_and_what_comes_later_waits_for_its_first_success() {
    let mut dropped = checked(AllUnhealthy::Keep);
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.1"))]);
    dropped.registry.await_newcomers();
    dropped.write(&[("web.2.yaml", &instance("shop", "web", 2, "10.0.0.2"))]);
    dropped.write(&[("plain.1.yaml", &instance("shop", "plain", 1, "10.0.0.3"))]);
    assert_eq!([1, 2].map(|number| dropped.health("web", number)), [Health::Presumed, Health::Waiting(None)]);
    assert_eq!(dropped.health("plain", 1), Health::Presumed, "nobody checks it");
    assert!(!dropped.judge("web", 2, failing()).is_empty());
    assert_eq!(dropped.health("web", 2), Health::Waiting(Some("GET /health 503".into())), "it was never ready");
    assert!(!dropped.judge("web", 2, Verdict::Ready).is_empty());
    assert_eq!(dropped.health("web", 2), Health::Passing);
    assert!(dropped.judge("web", 2, Verdict::Ready).is_empty(), "the same again changes nothing");
    assert!(!dropped.judge("web", 2, failing()).is_empty());
    assert_eq!(dropped.health("web", 2), Health::Failing("GET /health 503".into()));
}

#[test]
fn an_edit_or_a_renewal_takes_nothing_from_an_instance_but_a_move_does() {
    let mut dropped = checked(AllUnhealthy::Keep);
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.1"))]);
    dropped.write(&[("plain.1.yaml", &instance("shop", "plain", 1, "10.0.0.3"))]);
    dropped.registry.await_newcomers();
    dropped.judge("web", 1, Verdict::Ready);
    dropped.write(&[("web.1.yaml", &format!("{}port: 4000\n", instance("shop", "web", 1, "10.0.0.1")))]);
    assert_eq!(dropped.health("web", 1), Health::Passing);
    // A check for what ran without one: it is in the answers, and stays.
    dropped.write(&[(
        "shop.yaml",
        "name: shop\nservices: [{name: web, health_check: {}}, {name: plain, health_check: {}}]\n",
    )]);
    assert_eq!((dropped.health("web", 1), dropped.health("plain", 1)), (Health::Passing, Health::Presumed));
    assert_eq!(dropped.checks().len(), 2);
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.9"))]);
    assert_eq!(dropped.health("web", 1), Health::Waiting(None), "another process");
    dropped.judge("web", 1, Verdict::Ready);
    dropped.remove("web.1.yaml");
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.9"))]);
    assert_eq!(dropped.health("web", 1), Health::Waiting(None), "it began anew");
}

#[test]
fn a_judgement_of_an_address_that_the_instance_has_left_is_passed_over() {
    let mut dropped = checked(AllUnhealthy::Keep);
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.1"))]);
    let [check] = &dropped.checks()[..] else { panic!("one check") };
    let app = dropped.app("shop").unwrap().id;
    let Check { component, number, addresses, .. } = check.clone();
    dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.2"))]);
    let late = Judgement { app, component, number, addresses, verdict: failing() };
    assert!(dropped.registry.judge(vec![late]).is_empty());
    assert_eq!(dropped.health("web", 1), Health::Presumed);
}

#[test]
fn when_all_fail_those_that_were_ready_are_kept_unless_they_are_to_go() {
    for (policy, kept) in [(AllUnhealthy::Keep, true), (AllUnhealthy::Remove, false)] {
        let mut dropped = checked(policy);
        dropped.write(&[("web.1.yaml", &instance("shop", "web", 1, "10.0.0.1"))]);
        dropped.write(&[("web.2.yaml", &instance("shop", "web", 2, "10.0.0.2"))]);
        dropped.registry.await_newcomers();
        dropped.write(&[("web.3.yaml", &instance("shop", "web", 3, "10.0.0.3"))]);
        let up = |dropped: &Dropped| {
            let app = dropped.app("shop").unwrap();
            [1, 2, 3].map(|number| app.components[&label_of("web")].instances[&number].is_up())
        };
        dropped.judge("web", 1, failing());
        assert_eq!(up(&dropped), [false, true, false]);
        dropped.judge("web", 2, failing());
        dropped.judge("web", 3, failing());
        assert_eq!(up(&dropped), [kept, kept, false], "one that was never ready is not kept");
        dropped.judge("web", 2, Verdict::Ready);
        assert_eq!(up(&dropped), [false, true, false]);
    }
}

#[test]
fn the_port_of_a_check_is_its_own_or_the_one_that_serves() {
    let mut dropped = checked(AllUnhealthy::Keep);
    dropped.write(&[
        ("a.yaml", &instance("shop", "web", 1, "10.0.0.1")),
        ("b.yaml", &format!("{}ports: {{http: 4000}}\n", instance("shop", "web", 2, "10.0.0.2"))),
        ("c.yaml", &instance("shop", "api", 1, "10.0.0.3")),
        ("d.yaml", &format!("{}state: draining\n", instance("shop", "web", 3, "10.0.0.4"))),
        ("e.yaml", &format!("{}state: starting\n", instance("shop", "web", 4, "10.0.0.5"))),
    ]);
    let ports: Vec<_> =
        dropped.checks().iter().map(|check| (check.component.to_string(), check.number, check.port)).collect();
    let web = || "web".to_owned();
    assert_eq!(ports, [("api".to_owned(), 1, 9000), (web(), 1, 3000), (web(), 2, 4000), (web(), 4, 3000)]);
    dropped.write(&[(
        "shop.yaml",
        "name: shop\nservices: [{name: web, health_check: {port: 81}}]\nmaintenance: {archive: true}\n",
    )]);
    assert_eq!(dropped.checks(), [], "an archived app is left alone");
    assert_eq!(Dropped::new().checks(), []);
}

#[test]
fn a_name_that_an_app_keeps_is_one_for_who_wants_it_and_who_has_it() {
    let mut dropped = Dropped::new();
    for address in 1..3 {
        let app = format!(
            "app: shop\nhostnames: [shop.example]\ninstances: [{{component: web, number: 1, address: 10.0.0.{address}}}]\n"
        );
        dropped.write(&[("shop.yaml", &app)]);
        let held: Vec<&Name> = dropped.registry.names.iter().map(|((_, name), _)| name).collect();
        let wanted: Vec<&Name> =
            dropped.registry.apps.values().flat_map(|entry| &entry.wanted).map(|owner| &owner.name).collect();
        assert_eq!(held, wanted);
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].wire().as_ptr(), wanted[0].wire().as_ptr(), "there may be a hundred thousand");
    }
}
