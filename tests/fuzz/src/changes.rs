//! Files come, change and go, and time passes: compiling by difference equals compiling from nothing, in any order.
//!
//! Documents are text and go through `spec`. Their words are few, so that files disagree about the same names and addresses.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use spacedns::compile::{Compiler, canonical};
use spacedns::registry::{FileChange, FileContent, Now, Registry};
use spacedns::spec::{self, Format};
use spacedns::zone::Snapshot;

/// One thing that happens.
#[derive(Debug, Arbitrary)]
enum Step {
    /// Files are written or removed, at once.
    Batch(Vec<(File, Option<Vec<Document>>)>),
    /// Seconds pass.
    Pass(u8),
}

#[derive(Debug, Arbitrary)]
struct File {
    number: u8,
    modified: u8,
}

#[derive(Debug, Arbitrary)]
enum Document {
    Space { name: u8, cidr: u8, router: bool, routing: bool, domains: u8, discovery: u8, peers: bool },
    Spec { app: u8, services: Vec<(u8, u8)>, workers: Vec<u8>, domains: Vec<u8>, archive: bool },
    Addition { app: u8, settings: Settings, instances: Vec<Instance> },
    Topology { app: u8, dynos: Vec<(u8, u8, u8)> },
}

#[derive(Debug, Arbitrary)]
struct Settings {
    routing: Option<bool>,
    hostnames: Option<Vec<u8>>,
    domains: Option<Vec<(u8, bool, Option<u8>)>>,
    web: Option<u8>,
    formation: Option<Vec<(u8, u8)>>,
    lan: Option<u8>,
    discovery: Option<bool>,
}

#[derive(Debug, Arbitrary)]
struct Instance {
    component: u8,
    number: u8,
    address: u8,
    second: Option<u8>,
    state: u8,
    lease: Option<u8>,
    port: Option<u8>,
    shared: bool,
}

/// Runs the steps in `input`.
///
/// # Panics
/// When what was compiled by difference is not what is compiled from nothing.
pub fn run(input: &[u8]) {
    let mut octets = Unstructured::new(input);
    let mut registry = Registry::new(Duration::from_secs(60));
    let mut reversed = Registry::new(Duration::from_secs(60));
    let mut compiler = Compiler::new();
    let mut snapshot = Snapshot::starting();
    let mut second = 0;
    for _ in 0..STEPS_MAX {
        if octets.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut octets) else { break };
        let now = |second| Now { monotonic: Duration::from_secs(second), wall: 1_000_000 + second };
        let (touched, other) = match step {
            Step::Batch(files) => {
                let changes = changes(&files);
                let backwards = changes.iter().rev().cloned().collect();
                (registry.apply(changes, now(second)), reversed.apply(backwards, now(second)))
            }
            Step::Pass(seconds) => {
                second += u64::from(seconds);
                (registry.advance(now(second)), reversed.advance(now(second)))
            }
        };
        assert_eq!(touched, other, "the order of files in a batch decides nothing");
        assert_eq!(registry.faults(), reversed.faults());
        if let Some(next) = compiler.compile(&registry, &touched, &snapshot) {
            assert_ne!(canonical(&snapshot), canonical(&next), "a snapshot is made only when something changed");
            snapshot = next;
        }
        let from_nothing = Compiler::new().compile(&registry, &registry.everything(), &Snapshot::starting());
        let from_nothing = from_nothing.unwrap_or_else(Snapshot::starting);
        assert_eq!(canonical(&snapshot), canonical(&from_nothing), "by difference and from nothing");
    }
}

/// Enough for a file to come, change hands, lapse and go; more only takes time.
const STEPS_MAX: usize = 12;

/// The changes of a batch, each file once; what has a fault changes nothing.
fn changes(files: &[(File, Option<Vec<Document>>)]) -> Vec<FileChange> {
    let mut changes: Vec<FileChange> = Vec::new();
    for (File { number, modified }, documents) in files {
        let file: Arc<str> = Arc::from(one_of(number, &PATHS));
        if changes.iter().any(|change| change.file == file) {
            continue;
        }
        let content = match documents {
            None => None,
            Some(documents) => {
                let texts: Vec<String> = documents.iter().map(text).collect();
                let reading = spec::read(texts.join("---\n").as_bytes(), Format::Yaml, "stem");
                if !reading.faults.is_empty() {
                    continue;
                }
                Some(FileContent { documents: reading.documents.into(), modified: u128::from(*modified) })
            }
        };
        changes.push(FileChange { file, content });
    }
    changes
}

fn one_of<'w>(number: &u8, words: &[&'w str]) -> &'w str {
    words[usize::from(*number) % words.len()]
}

fn list(numbers: &[u8], words: &[&str]) -> String {
    let words: Vec<&str> = numbers.iter().map(|number| one_of(number, words)).collect();
    words.join(", ")
}

fn text(document: &Document) -> String {
    match document {
        Document::Space { name, cidr, router, routing, domains, discovery, peers } => {
            let mut text = format!(
                "space: {}\ncidr: {}\ninternal_routing: {routing}\napp_domains: {}\ndiscovery_domain: {}\n",
                one_of(name, &["acme", "zeta"]),
                one_of(cidr, &["10.0.0.0/16", "10.0.0.0/8", "[10.0.0.0/24, 'fd00::/64']", "10.1.0.0/16"]),
                one_of(domains, &["[herokuapp.com]", "[{name: own.internal, own: exclusive}, herokuapp.com]"]),
                one_of(discovery, &["app.localspace", "[apps.internal, app.localspace]", "own.internal"]),
            );
            if *router {
                text += "router: [10.0.0.200]\n";
            }
            if *peers {
                text += "peers: [{name: vpn, cidr: 192.168.40.0/24}]\n";
            }
            text
        }
        Document::Spec { app, services, workers, domains, archive } => {
            let mut text = format!("name: {}\nservices:\n", one_of(app, &APPS));
            for (service, port) in services.iter().take(4) {
                writeln!(text, "- {{name: {}, http_port: {}}}", one_of(service, &COMPONENTS), 1 + u16::from(*port))
                    .expect("memory");
            }
            text += "workers:\n";
            for worker in workers.iter().take(4) {
                writeln!(text, "- {{name: {}}}", one_of(worker, &COMPONENTS)).expect("memory");
            }
            writeln!(
                text,
                "domains: [{}]",
                list(domains, &["{domain: example.com}", "{domain: a.example.com, wildcard: true}"])
            )
            .expect("memory");
            if *archive {
                text += "maintenance: {archive: true}\n";
            }
            text
        }
        Document::Addition { app, settings, instances } => {
            let mut text = format!("app: {}\n", one_of(app, &APPS));
            write_settings(&mut text, settings).expect("memory");
            text += "instances:\n";
            for instance in instances.iter().take(6) {
                write_instance(&mut text, instance).expect("memory");
            }
            text
        }
        Document::Topology { app, dynos } => {
            let app = one_of(app, &APPS);
            let mut text = format!("apps:\n- domains: [{app}.herokuapp.com]\n  formation:\n");
            for (process, number, address) in dynos.iter().take(4) {
                let (process, number) = (one_of(process, &COMPONENTS), 1 + number % 4);
                writeln!(
                    text,
                    "  - {{process_type: {process}, dynos: [{{number: {number}, private_ip: 10.0.0.{}, hostname: \
                     {number}.{process}.{app}.app.localspace}}]}}",
                    1 + address % 16
                )
                .expect("memory");
            }
            text
        }
    }
}

fn write_settings(text: &mut String, settings: &Settings) -> std::fmt::Result {
    let Settings { routing, hostnames, domains, web, formation, lan, discovery } = settings;
    if let Some(routing) = routing {
        writeln!(text, "internal_routing: {routing}")?;
    }
    if let Some(hostnames) = hostnames {
        writeln!(text, "hostnames: [{}]", list(hostnames, &NAMES))?;
    }
    if let Some(domains) = domains {
        let domains: Vec<String> = domains
            .iter()
            .map(|(domain, wildcard, target)| {
                let target = target.map_or(String::new(), |target| format!(", cname: {}", one_of(&target, &NAMES)));
                format!("{{domain: {}, wildcard: {wildcard}{target}}}", one_of(domain, &NAMES))
            })
            .collect();
        writeln!(text, "domains: [{}]", domains.join(", "))?;
    }
    if let Some(web) = web {
        writeln!(text, "web: {}", one_of(web, &COMPONENTS))?;
    }
    if let Some(formation) = formation {
        let processes: Vec<String> = formation
            .iter()
            .map(|(process, quantity)| format!("{}: {{quantity: {}}}", one_of(process, &COMPONENTS), quantity % 4))
            .collect();
        writeln!(text, "formation: {{{}}}", processes.join(", "))?;
    }
    if let Some(lan) = lan {
        writeln!(
            text,
            "lan: [{}]",
            one_of(lan, &["10.0.0.0/28", "10.0.0.128/25", "10.1.2.0/24", "10.0.0.0/28, 10.0.0.4/30"])
        )?;
    }
    if let Some(discovery) = discovery {
        writeln!(text, "discovery: {}", if *discovery { "space" } else { "app" })?;
    }
    Ok(())
}

fn write_instance(text: &mut String, instance: &Instance) -> std::fmt::Result {
    let Instance { component, number, address, second, state, lease, port, shared } = instance;
    let second = second.map_or(String::new(), |second| format!(", 10.1.0.{}", 1 + second % 16));
    let lease = lease.map_or(String::new(), |lease| format!(", lease: {}s", 5 + lease % 60));
    let port = port.map_or(String::new(), |port| format!(", port: {}", 1 + u16::from(port)));
    writeln!(
        text,
        "- {{component: {}, number: {}, addresses: [10.0.0.{}{second}], state: {}, shared_address: {shared}{lease}{port}}}",
        one_of(component, &COMPONENTS),
        1 + number % 4,
        1 + address % 16,
        one_of(state, &["up", "up", "starting", "draining", "down"]),
    )
}

const PATHS: [&str; 8] = [
    "space.yaml",
    "a.yaml",
    "b.yaml",
    "sub/space.yaml",
    "sub/a.yaml",
    "sub/deep/b.yaml",
    "other/space.yaml",
    "other/a.yaml",
];
const APPS: [&str; 3] = ["shop", "blog", "news"];
const COMPONENTS: [&str; 4] = ["web", "api", "worker", "run"];
const NAMES: [&str; 9] = [
    "shop.herokuapp.com",
    "blog.herokuapp.com",
    "own.internal",
    "a.own.internal",
    "c.b.a.own.internal",
    "example.com",
    "a.example.com",
    "x.a.example.com",
    "willow.herokudns.com",
];
