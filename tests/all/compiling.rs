//! Compiling by difference equals compiling from nothing, whatever the changes and their order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use spacedns::compile::{self, Block, Compiler, canonical};
use spacedns::name::{Label, Name};
use spacedns::registry::{
    AllUnhealthy, AppClaims, AppId, AppState, Check, FileChange, FileContent, Hands, Judgement, Made, Now, Registry,
    Saved, SavedFile, SpaceId, SpaceState, TombstoneClaim, Touched, Verdict,
};
use spacedns::spec::{
    AppDomain, AppSpec, At, Audience, ComponentKind, ComponentSpec, Document, Documents, DomainSpec, HealthCheck,
    InstanceSpec, Own, Peer, Place, Role, Settings, SpaceSpec, State,
};
use spacedns::zone::Snapshot;

fn at<T>(value: T) -> At<T> {
    At { value, place: Place::START }
}

fn label(text: &str) -> Label {
    Label::from_octets(text.as_bytes()).unwrap()
}

fn name(text: &str) -> At<Name> {
    at(text.parse().unwrap())
}

fn arb_instance() -> impl Strategy<Value = InstanceSpec> {
    let state = prop_oneof![5 => Just(State::Up), 1 => Just(State::Starting), 1 => Just(State::Draining), 1 => Just(State::Down)];
    let component = prop_oneof![3 => Just("web"), 1 => Just("api"), 1 => Just("run")];
    (
        component,
        1..4_u32,
        prop::collection::btree_set(1..12_u8, 1..3),
        state,
        prop::option::of(5..30_u64),
        any::<bool>(),
        0..2_u16,
    )
        .prop_map(|(component, number, hosts, state, lease, shared_address, port)| InstanceSpec {
            component: label(component),
            number,
            addresses: hosts.into_iter().map(|host| IpAddr::from([10, 0, 0, host])).collect(),
            ports: (0..port).map(|_| (label("http"), 9_000)).collect(),
            state,
            lease: lease.map(Duration::from_secs),
            shared_address,
        })
}

fn arb_settings() -> impl Strategy<Value = Settings> {
    let hostnames =
        ["one.herokuapp.com", "two.herokuapp.com", "a.b.own.internal", "b.own.internal", "c.a.b.own.internal"];
    let domains = ["example.com", "www.example.com", "deep.sub.example.com", "sub.example.org"];
    (
        prop::option::weighted(0.8, any::<bool>()),
        prop::option::of(prop::sample::subsequence(hostnames.to_vec(), 0..4)),
        prop::option::of(prop::sample::subsequence(domains.to_vec(), 0..3)),
        any::<bool>(),
        prop::option::of(prop_oneof![Just("10.0.1.0/24"), Just("10.0.1.128/25")]),
        prop::option::of(prop_oneof![Just(Audience::App), Just(Audience::Space)]),
        prop::option::weighted(0.1, Just(true)),
    )
        .prop_map(|(routed, hostnames, domains, wildcard, lan, discovery, archive)| Settings {
            internal_routing: routed.map(at),
            hostnames: hostnames.map(|names| at(names.into_iter().map(name).collect())),
            domains: domains.map(|names| {
                let target = Some("willow.herokudns.com".parse().unwrap());
                let domain = |text: &str| DomainSpec {
                    domain: text.parse().unwrap(),
                    wildcard,
                    itself: true,
                    cname: target.clone(),
                };
                at(names.into_iter().map(|text| at(domain(text))).collect())
            }),
            web: None,
            lan: lan.map(|network| at(vec![at(network.parse().unwrap())])),
            discovery: discovery.map(at),
            archive: archive.map(at),
        })
}

fn arb_app() -> impl Strategy<Value = Document> {
    let kind = prop_oneof![Just(ComponentKind::Service), Just(ComponentKind::Worker), Just(ComponentKind::Process)];
    let components =
        prop::collection::btree_map(prop_oneof![Just("web"), Just("api"), Just("queue")], (kind, 0..4_u32), 0..3);
    let role = prop_oneof![Just(Role::Spec), Just(Role::Addition)];
    (
        prop_oneof![Just("shop"), Just("blog"), Just("news")],
        role,
        components,
        arb_settings(),
        prop::collection::vec(arb_instance(), 0..4),
    )
        .prop_map(|(app, role, components, settings, instances)| {
            let components = components.into_iter().map(|(component, (kind, quantity))| ComponentSpec {
                name: at(label(component)),
                kind,
                http_port: (kind == ComponentKind::Service).then_some(8080),
                internal_ports: vec![3000; usize::from(quantity > 1)],
                quantity: (quantity > 0).then_some(quantity),
                health_check: (kind == ComponentKind::Service && quantity != 3).then(check),
            });
            Document::App(AppSpec {
                app: at(label(app)),
                role,
                components: components.collect(),
                settings,
                instances: instances.into_iter().map(at).collect(),
            })
        })
}

fn check() -> HealthCheck {
    HealthCheck {
        http_path: Some("/health".into()),
        port: None,
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 9,
    }
}

fn arb_space() -> impl Strategy<Value = Document> {
    (
        prop_oneof![Just("acme"), Just("zeta")],
        prop_oneof![Just("10.0.0.0/16"), Just("10.0.0.0/8")],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(space, cidr, router, internal_routing)| {
            Document::Space(SpaceSpec {
                name: at(space.to_owned()),
                cidrs: vec![at(cidr.parse().unwrap())],
                instances: Vec::new(),
                router: if router { vec![at(IpAddr::from([10, 0, 255, 1]))] } else { Vec::new() },
                internal_routing,
                app_domains: vec![
                    at(AppDomain { name: "herokuapp.com".parse().unwrap(), own: Own::Overlay }),
                    at(AppDomain { name: "own.internal".parse().unwrap(), own: Own::Exclusive }),
                ],
                discovery_domains: vec![name("app.localspace"), name("apps.internal")],
                peers: vec![at(Peer { name: "vpn".to_owned(), cidr: "192.168.40.0/24".parse().unwrap() })],
                ttl: 5,
                negative_ttl: 2,
                ns: Vec::new(),
            })
        })
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Change(BTreeMap<u8, Option<Vec<Document>>>),
    Pass(u64),
    /// Some checks of those that there are find this; from the second such step on, newcomers wait.
    Judge(Vec<(prop::sample::Index, bool)>),
}

pub(crate) fn arb_step() -> impl Strategy<Value = Step> {
    let documents = prop_oneof![
        8 => prop::collection::vec(arb_app(), 1..3),
        1 => arb_space().prop_map(|space| vec![space]),
    ];
    let change = prop::collection::btree_map(0..6_u8, prop::option::weighted(0.75, documents), 1..4);
    let judge = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..6);
    prop_oneof![4 => change.prop_map(Step::Change), 1 => (1..40_u64).prop_map(Step::Pass), 2 => judge.prop_map(Step::Judge)]
}

/// Has checks find what was drawn.
pub(crate) fn judge(registry: &mut Registry, drawn: &[(prop::sample::Index, bool)]) -> Touched {
    let checks: Vec<_> =
        registry.app_ids().flat_map(|app| registry.checks(app).into_iter().map(move |check| (app, check))).collect();
    let judged = drawn.iter().filter(|_| !checks.is_empty()).map(|(index, passes)| {
        let (app, Check { component, number, addresses, .. }) = index.get(&checks).clone();
        let verdict = if *passes { Verdict::Ready } else { Verdict::Unready("GET /health 503".into()) };
        Judgement { app, component, number, addresses, verdict }
    });
    let judged = judged.collect();
    registry.await_newcomers();
    registry.judge(judged)
}

pub(crate) fn changes_of(files: &BTreeMap<u8, Option<Vec<Document>>>) -> Vec<FileChange> {
    let content = |documents: &Vec<Document>| FileContent { documents: documents.clone().into(), modified: 7 };
    // Two files lie in a directory of their own, so that spaces can be nested.
    let path = |file: u8| Arc::from(if file < 2 { format!("sub/{file}.yaml") } else { format!("{file}.yaml") });
    files
        .iter()
        .map(|(file, documents)| FileChange { file: path(*file), content: documents.as_ref().map(content) })
        .collect()
}

/// Makes the blocks of apps while they are looked at, the last app first.
struct Backwards;

impl Hands for Backwards {
    type Made = Block;

    fn make(&self, app: &AppState, space: &SpaceState) -> Block {
        compile::block_of(app, space)
    }

    fn divide<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let mut done: Vec<R> = items.iter().rev().map(work).collect();
        done.reverse();
        done
    }

    fn both<A, B: Send>(&self, _: usize, one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
        let other = other();
        (one(), other)
    }
}

/// Those that are not what would be made of their app as it is.
fn wrong(made: Made<Block>, registry: &Registry) -> Vec<(Block, Block)> {
    let compared = made.into_iter().map(|(id, block)| (block, compile::block(registry, id)));
    compared.filter(|(made, right)| made != right).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiling_by_difference_equals_compiling_from_nothing(steps in prop::collection::vec(arb_step(), 1..12), checks in 0..3_u8) {
        let mut registry = Registry::new(Duration::from_secs(60));
        let mut reversed = Registry::new(Duration::from_secs(60));
        let policy = [None, Some(AllUnhealthy::Keep), Some(AllUnhealthy::Remove)][usize::from(checks)];
        for registry in [&mut registry, &mut reversed] {
            policy.inspect(|policy| registry.check_health(*policy));
        }
        let mut compiler = Compiler::new();
        let mut snapshot = Snapshot::starting();
        let mut second = 0;
        for step in steps {
            let now = Now { monotonic: Duration::from_secs(second), wall: 1_000_000 + second };
            let (touched, other) = match &step {
                Step::Change(files) => {
                    let mut backwards = changes_of(files);
                    backwards.reverse();
                    let (touched, made) = registry.apply_by(&Backwards, changes_of(files), now);
                    prop_assert_eq!(wrong(made, &registry), vec![], "what was made while an app was looked at");
                    (touched, reversed.apply(backwards, now))
                }
                Step::Pass(seconds) => {
                    second += seconds;
                    let now = Now { monotonic: Duration::from_secs(second), wall: 1_000_000 + second };
                    (registry.advance(now), reversed.advance(now))
                }
                Step::Judge(drawn) => (judge(&mut registry, drawn), judge(&mut reversed, drawn)),
            };
            prop_assert_eq!(&touched, &other, "the order of files in a batch decides nothing");
            prop_assert_eq!(registry.faults(), reversed.faults());
            let before = canonical(&snapshot);
            if let Some(next) = compiler.compile(&registry, &touched, &snapshot) {
                prop_assert_ne!(&before, &canonical(&next), "a snapshot is made only when something changed");
                prop_assert_eq!(&before, &canonical(&snapshot), "the snapshot before is not touched");
                snapshot = next;
            }
            let everything = registry.everything();
            let from_nothing = Compiler::new().compile(&registry, &everything, &Snapshot::starting());
            let from_nothing = from_nothing.unwrap_or_else(Snapshot::starting);
            prop_assert_eq!(canonical(&snapshot), canonical(&from_nothing));
        }
    }

    #[test]
    fn a_registry_made_of_what_was_saved_is_the_registry(steps in prop::collection::vec(arb_step(), 1..12)) {
        let mut registry = Registry::new(TOMBSTONE);
        registry.check_health(AllUnhealthy::Keep);
        let mut compiler = Compiler::new();
        let mut snapshot = Snapshot::starting();
        let mut kept = Kept::default();
        let mut now = Now { monotonic: Duration::ZERO, wall: 1_000_000 };
        // The first scan of an empty directory: from then on there is something to save.
        let first = registry.apply(Vec::new(), now);
        snapshot = compiler.compile(&registry, &first, &snapshot).unwrap_or(snapshot);
        for step in steps {
            let touched = match &step {
                Step::Change(files) => {
                    let touched = registry.apply(changes_of(files), now);
                    kept.documents.extend(changes_of(files).into_iter().map(|change| {
                        (change.file, change.content.map(|content| content.documents))
                    }));
                    touched
                }
                Step::Pass(seconds) => {
                    now.monotonic += Duration::from_secs(*seconds);
                    now.wall += seconds;
                    registry.advance(now)
                }
                Step::Judge(drawn) => judge(&mut registry, drawn),
            };
            kept.keep(&registry, &touched, now);
            snapshot = compiler.compile(&registry, &touched, &snapshot).unwrap_or(snapshot);
        }
        // Another process, whose clock began anew.
        let later = Now { monotonic: Duration::from_secs(7), wall: now.wall };
        let mut empty = Registry::new(TOMBSTONE);
        empty.check_health(AllUnhealthy::Keep);
        let (restored, mut touched, made) = empty.restored_by(&Backwards, kept.saved(&registry, now), later);
        prop_assert_eq!(wrong(made, &restored), vec![], "what was made while an app was looked at");
        prop_assert_eq!(restored.faults(), registry.faults());
        prop_assert_eq!(restored.warnings(), registry.warnings());
        let from_nothing = Compiler::new().compile(&restored, &touched, &Snapshot::starting());
        prop_assert_eq!(canonical(&snapshot), canonical(&from_nothing.unwrap_or_else(Snapshot::starting)));
        let (mut compiler, served) = Compiler::resume(&snapshot);
        touched.extend(served);
        let changed = compiler.compile(&restored, &touched, &snapshot);
        prop_assert!(changed.is_none(), "what is served would not change");
    }
}

const TOMBSTONE: Duration = Duration::from_secs(60);

/// What one process keeps for the next, by what each change touched.
#[derive(Default)]
struct Kept {
    documents: BTreeMap<Arc<str>, Option<Documents>>,
    apps: BTreeMap<AppId, AppClaims>,
    tombstones: BTreeMap<(SpaceId, Name), (TombstoneClaim, u64)>,
}

impl Kept {
    fn keep(&mut self, registry: &Registry, touched: &Touched, now: Now) {
        for id in &touched.apps {
            match registry.app_claims(*id) {
                Some(claims) => _ = self.apps.insert(*id, claims),
                None => _ = self.apps.remove(id),
            }
        }
        for key in &touched.names {
            match registry.tombstone_claim(key.0, &key.1) {
                Some(claim) => _ = self.tombstones.insert(key.clone(), (claim, now.wall)),
                None => _ = self.tombstones.remove(key),
            }
        }
    }

    fn saved(self, registry: &Registry, now: Now) -> Saved {
        let file = |(file, documents): (Arc<str>, Option<Documents>)| {
            Some(SavedFile { claims: registry.file_claims(&file)?, documents: documents?, file })
        };
        let tombstone = |(claim, then): (TombstoneClaim, u64)| TombstoneClaim {
            left: claim.left.saturating_sub(Duration::from_secs(now.wall - then)),
            ..claim
        };
        Saved {
            files: self.documents.into_iter().filter_map(file).collect(),
            spaces: registry.space_claims(),
            apps: self.apps.into_values().collect(),
            tombstones: self.tombstones.into_values().map(tombstone).collect(),
        }
    }
}
