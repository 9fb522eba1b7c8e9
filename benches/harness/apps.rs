//! The apps that servers are given, as files of a spec directory: `app-000000` and so on, a file each.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// So many apps in one directory, all alike.
#[derive(Debug, Clone)]
pub(crate) struct Apps {
    pub(crate) directory: PathBuf,
    pub(crate) count: u32,
    /// Instances of `web` that each has.
    pub(crate) instances: u32,
    pub(crate) kind: Kind,
}

/// What stands in an app's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A registration of all its instances, in JSON, that declares the app: it has a hostname.
    Registration,
    /// The same with a port, so that there are SRV records.
    RegistrationWithPort,
    /// An app spec in YAML of 400 octets and no instance: as many come from DigitalOcean.
    Spec,
}

impl Apps {
    /// Writes all files, below `suffix`, an exclusive one.
    pub(crate) fn write(&self, suffix: &str) {
        let space = format!("space: bench\ncidr: 10.0.0.0/8\napp_domains: [{{name: {suffix}, own: exclusive}}]\n");
        fs::create_dir_all(&self.directory).expect("it can be made");
        fs::write(self.directory.join("space.yaml"), space).expect("it can be written");
        for app in 0..self.count {
            let file = self.file(app);
            if app % FOLDER == 0 {
                fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
            }
            fs::write(file, self.text(app, 0)).expect("it can be written");
        }
    }

    /// The file of an app.
    pub(crate) fn file(&self, app: u32) -> PathBuf {
        let ending = if self.kind == Kind::Spec { "yaml" } else { "json" };
        self.directory.join(format!("instances/{:04}/{}.{ending}", app / FOLDER, name(app)))
    }

    /// What stands in an app's file; every version gives other addresses than the one before.
    pub(crate) fn text(&self, app: u32, version: u32) -> String {
        let name = name(app);
        if self.kind == Kind::Spec {
            return spec(&name);
        }
        let port = if self.kind == Kind::RegistrationWithPort { r#", "ports": {"http": 8080}"# } else { "" };
        let mut instances = String::new();
        for number in 1..=self.instances {
            let (comma, address) = (if number > 1 { ", " } else { "" }, self.address(app, number, version));
            let _ =
                write!(instances, r#"{comma}{{"component": "web", "number": {number}, "address": "{address}"{port}}}"#);
        }
        format!(r#"{{"app": "{name}", "internal_routing": true, "instances": [{instances}]}}"#)
    }

    /// The addresses of one version and the next are apart, and so are those of any two instances.
    pub(crate) fn address(&self, app: u32, number: u32, version: u32) -> Ipv4Addr {
        let instance = app * self.instances + number - 1;
        assert!(instance < OTHER_VERSION, "there are not as many addresses");
        Ipv4Addr::from(0x0a00_0100 + instance + (version % 2) * OTHER_VERSION)
    }

    /// Owners with an RRset: of each app its hostname and its component, and of each instance its own name and its reverse one.
    pub(crate) fn owners(&self) -> u32 {
        self.count * (2 + 2 * self.instances)
    }
}

/// Where the addresses of the other versions begin: two million instances of each fit into 10.0.0.0/8.
const OTHER_VERSION: u32 = 0x0040_0000;

/// Files a directory.
const FOLDER: u32 = 100;

/// What an app is called.
pub(crate) fn name(app: u32) -> String {
    format!("app-{app:06}")
}

/// Another app each time, each of them once before one comes again.
pub(crate) fn scatter(turn: u32, apps: u32) -> u32 {
    // A prime that no usual number of apps is a multiple of.
    let turn = u64::from(turn % apps) * 7_919;
    u32::try_from(turn % u64::from(apps)).unwrap_or_default()
}

/// An app spec of just 400 octets, as `doctl apps spec get` prints them.
fn spec(name: &str) -> String {
    let mut text = format!(
        "name: {name}\nregion: ams\ninternal_routing: true\nservices:\n- name: web\n  github:\n    repo: example/{name}\n    \
         branch: main\n    deploy_on_push: true\n  http_port: 8080\n  instance_count: 2\n  instance_size_slug: apps-s-1vcpu-1gb\n  \
         health_check:\n    http_path: /healthz\n    period_seconds: 10\n  envs:\n  - key: LOG_LEVEL\n    value: info\n"
    );
    let greeting = |value: String| format!("  - key: GREETING\n    value: {value}\n");
    let missing = SPEC_OCTETS - text.len() - greeting(String::new()).len();
    text.push_str(&greeting("a".repeat(missing)));
    assert_eq!(text.len(), SPEC_OCTETS);
    text
}

const SPEC_OCTETS: usize = 400;

/// The same numbers each time (xorshift, Marsaglia 2003): two runs ask the same.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(end)).unwrap_or_default()
    }
}

/// Writes what is asked, a name and a type a line.
pub(crate) fn write_queries(file: &Path, mut query: impl FnMut(&mut Chance) -> String) {
    let mut chance = Chance(7);
    let mut text = String::new();
    for _ in 0..QUERIES {
        let _ = writeln!(text, "{}", query(&mut chance));
    }
    fs::write(file, text).expect("it can be written");
}

/// How many queries a file holds; they are asked over and over.
const QUERIES: u32 = 100_000;
