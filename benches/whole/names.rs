//! The names that every server is given, in each one's own form, and what is asked of them.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What is asked, one name and type a line.
pub(crate) struct Files {
    pub(crate) hit: PathBuf,
    pub(crate) mix: PathBuf,
}

/// Writes `zone`, `hosts` and the spec directory `spec`, and what is asked.
pub(crate) fn write(directory: &Path, apps: u32) -> Files {
    let mut zone =
        "$ORIGIN herokuapp.com.\n$TTL 5\n@ IN SOA ns h 1 3600 600 86400 2\n@ IN NS ns\nns IN A 10.0.0.53\n".to_owned();
    let mut hosts = String::new();
    let spec = directory.join("spec");
    fs::create_dir_all(&spec).expect("it can be made");
    let space = "space: bench\ncidr: 10.0.0.0/8\napp_domains: [{name: herokuapp.com, own: exclusive}]\n";
    fs::write(spec.join("space.yaml"), space).expect("it can be written");
    for app in 0..apps {
        let (name, address) = (name(app), address(app));
        let _ = writeln!(zone, "{name} IN A {address}");
        let _ = writeln!(hosts, "{address} {name}.herokuapp.com");
        let folder = spec.join("instances").join(name.split_at(8).0);
        fs::create_dir_all(&folder).expect("it can be made");
        let registration = format!(
            r#"{{"app": "{name}", "internal_routing": true, "instances": [{{"component": "web", "number": 1, "address": "{address}"}}]}}"#
        );
        fs::write(folder.join(format!("{name}.json")), registration).expect("it can be written");
    }
    fs::write(directory.join("zone"), zone).expect("it can be written");
    fs::write(directory.join("hosts"), hosts).expect("it can be written");
    let mut chance = Chance(7);
    let (mut hit, mut mix) = (String::new(), String::new());
    for _ in 0..QUERIES {
        let _ = writeln!(hit, "{}.herokuapp.com A", name(chance.below(apps)));
        let existing = name(chance.below(apps));
        let _ = match chance.below(100) {
            0..50 => writeln!(mix, "{existing}.herokuapp.com A"),
            50..85 => writeln!(mix, "{existing}.herokuapp.com AAAA"),
            _ => writeln!(mix, "nx-{}.herokuapp.com A", chance.below(1_000_000)),
        };
    }
    let files = Files { hit: directory.join("hit"), mix: directory.join("mix") };
    fs::write(&files.hit, hit).expect("it can be written");
    fs::write(&files.mix, mix).expect("it can be written");
    files
}

/// How many queries a file holds; they are asked over and over.
const QUERIES: u32 = 100_000;

fn name(app: u32) -> String {
    format!("app-{app:06}")
}

fn address(app: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + app)
}

/// The same numbers each time (xorshift, Marsaglia 2003): two runs ask the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(end)).unwrap_or_default()
    }
}
