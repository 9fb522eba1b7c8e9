//! How long taking in documents and compiling them takes: `cargo bench --bench compile`.
//!
//! In one thread and without a file: for each number of apps, two instances each, everything from nothing, and then one
//! change at a time. A node is a name that answers: a hostname, the component's and each instance's discovery name.
//! `cargo bench --bench compile -- 1000` takes so many apps only; `-- --smoke` a hundred.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spacedns::compile::Compiler;
use spacedns::registry::{FileChange, FileContent, Now, Registry};
use spacedns::spec::{self, Format};
use spacedns::zone::Snapshot;

const SPACE: &str = "space: bench\ncidr: 10.0.0.0/8\napp_domains: [{name: herokuapp.com, own: exclusive}]\n";

/// The names of one app: its hostname, `web.<app>`, and `1.web.<app>` and `2.web.<app>`.
const NODES: u32 = 4;

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let sizes = match given {
        Some(size) => vec![size],
        None if smoke => vec![100],
        None => vec![1_000, 10_000, 100_000],
    };
    println!(
        "{:>7} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
        "apps", "parse", "apply", "compile", "nodes/s", "change: apply", "compile"
    );
    for apps in sizes {
        measure(apps, if smoke { 10 } else { 2_000 });
    }
}

fn measure(apps: u32, changes: u32) {
    let texts: Vec<(Arc<str>, String)> =
        (0..apps).map(|app| (Arc::from(format!("instances/app-{app:06}.json")), registration(app, 0))).collect();
    let (parsing, mut files) = time(|| {
        let parsed = texts.iter().map(|(file, text)| change(file, text, Format::Json));
        parsed.collect::<Vec<_>>()
    });
    files.push(change(&Arc::from("space.yaml"), SPACE, Format::Yaml));

    let mut registry = Registry::new(Duration::from_secs(3_600));
    let mut compiler = Compiler::new();
    let (applying, touched) = time(|| registry.apply(files, now(0)));
    let starting = Snapshot::starting();
    let (compiling, snapshot) = time(|| compiler.compile(&registry, &touched, &starting));
    let mut snapshot = snapshot.expect("something changed");

    let (mut applying_one, mut compiling_one) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..changes {
        let app = turn * 7_919 % apps;
        let file = Arc::from(format!("instances/app-{app:06}.json"));
        let changed = change(&file, &registration(app, turn / apps + 1), Format::Json);
        let (took, touched) = time(|| registry.apply(vec![changed], now(1)));
        applying_one += took;
        let (took, next) = time(|| compiler.compile(&registry, &touched, &snapshot));
        compiling_one += took;
        snapshot = next.expect("the change is one");
    }
    black_box(&snapshot);
    let nodes = f64::from(apps * NODES) / (applying + compiling).as_secs_f64();
    println!(
        "{apps:>7} {parsing:>10.1?} {applying:>10.1?} {compiling:>10.1?} {nodes:>12.0} {:>12.1?} {:>12.1?}",
        applying_one / changes,
        compiling_one / changes
    );
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

const fn now(second: u64) -> Now {
    Now { monotonic: Duration::from_secs(second), wall: 1_700_000_000 + second }
}

fn change(file: &Arc<str>, text: &str, format: Format) -> FileChange {
    let reading = spec::read(text.as_bytes(), format, "stem");
    assert!(reading.faults.is_empty(), "{:?}", reading.faults);
    FileChange {
        file: Arc::clone(file),
        content: Some(FileContent { documents: reading.documents.into(), modified: 7 }),
    }
}

fn registration(app: u32, version: u32) -> String {
    let instance = |number| {
        let host = app * 2 + number + (version % 2) * 0x0040_0000;
        let address = Ipv4Addr::from(0x0a00_0100 + host);
        format!(r#"{{"component": "web", "number": {number}, "address": "{address}"}}"#)
    };
    format!(r#"{{"app": "app-{app:06}", "internal_routing": true, "instances": [{}, {}]}}"#, instance(1), instance(2))
}
