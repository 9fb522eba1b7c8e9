//! The names that every server is given, in each one's own form, and what is asked of them.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::harness::apps::{Apps, Kind, name, write_queries};

/// The files that [`write`] writes, below its directory.
pub(crate) const ZONE: &str = "zone";
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const SPEC: &str = "spec";

/// What is asked of so many names.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Names that exist.
    pub(crate) hit: PathBuf,
    /// Half of them, 35 % AAAA of names that have none, 15 % names that do not exist.
    pub(crate) mix: PathBuf,
    /// One name that exists, over and over.
    pub(crate) hot: PathBuf,
}

/// Writes the names as a zone file, a hosts file and a spec directory, and what is asked.
pub(crate) fn write(directory: &Path, count: u32) -> Asked {
    let mut zone =
        "$ORIGIN herokuapp.com.\n$TTL 5\n@ IN SOA ns h 1 3600 600 86400 2\n@ IN NS ns\nns IN A 10.0.0.53\n".to_owned();
    let mut hosts = String::new();
    for app in 0..count {
        let (name, address) = (name(app), address(app));
        let _ = writeln!(zone, "{name} IN A {address}");
        let _ = writeln!(hosts, "{address} {name}.herokuapp.com");
    }
    apps(directory, count).write("herokuapp.com");
    fs::write(directory.join(ZONE), zone).expect("it can be written");
    fs::write(directory.join(HOSTS), hosts).expect("it can be written");
    let at = |file: &str| directory.join(file);
    let asked = Asked { hit: at("hit"), mix: at("mix"), hot: at("hot") };
    write_queries(&asked.hit, |chance| format!("{} A", host(chance.below(count))));
    write_queries(&asked.mix, |chance| {
        let existing = host(chance.below(count));
        match chance.below(100) {
            0..50 => format!("{existing} A"),
            50..85 => format!("{existing} AAAA"),
            _ => format!("nx-{}.herokuapp.com A", chance.below(1_000_000)),
        }
    });
    write_queries(&asked.hot, |_| format!("{} A", host(count / 2)));
    asked
}

/// The apps of the spec directory: one instance each.
pub(crate) fn apps(directory: &Path, count: u32) -> Apps {
    Apps { directory: directory.join(SPEC), count, instances: 1, kind: Kind::Registration }
}

/// An app's hostname.
pub(crate) fn host(app: u32) -> String {
    format!("{}.herokuapp.com", name(app))
}

/// An app's address.
pub(crate) fn address(app: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + app)
}

/// What is asked of apps with two instances and a port.
pub(crate) struct Services {
    pub(crate) apps: Apps,
    /// `web`, from each app's first instance.
    pub(crate) bare: PathBuf,
    pub(crate) callers: PathBuf,
    /// The SRV records of an app's component, which bring two targets and their addresses.
    pub(crate) srv: PathBuf,
}

/// Writes such apps, and what is asked.
pub(crate) fn write_services(directory: &Path, count: u32) -> Services {
    let kind = Kind::RegistrationWithPort;
    let apps = Apps { directory: directory.join("services"), count, instances: 2, kind };
    apps.write("herokuapp.com");
    let at = |file: &str| directory.join(file);
    let services = Services { bare: at("bare"), callers: at("callers"), srv: at("srv"), apps };
    write_queries(&services.bare, |_| "web A".to_owned());
    write_queries(&services.callers, |chance| services.apps.address(chance.below(count), 1, 0).to_string());
    write_queries(&services.srv, |chance| format!("_http._tcp.web.{}.app.localspace SRV", name(chance.below(count))));
    services
}

/// What is asked where an exclusive suffix is so short that names below it have 127 labels, the most there can be.
pub(crate) struct Deep {
    pub(crate) apps: Apps,
    pub(crate) hit: PathBuf,
    /// Names that do not exist.
    pub(crate) miss: PathBuf,
}

/// Writes such apps, and what is asked.
pub(crate) fn write_deep(directory: &Path, count: u32) -> Deep {
    let apps = Apps { directory: directory.join("deep"), count, instances: 1, kind: Kind::Registration };
    apps.write(SHORT);
    let deep = Deep { hit: directory.join("deep-hit"), miss: directory.join("deep-miss"), apps };
    write_queries(&deep.hit, |chance| format!("{}.{SHORT} A", name(chance.below(count))));
    write_queries(&deep.miss, |chance| {
        let labels: Vec<String> = (0..125).map(|_| chance.below(10).to_string()).collect();
        format!("{}.{SHORT} A", labels.join("."))
    });
    deep
}

/// Two labels of one octet: with 125 such before it a name has 127 labels, and 255 octets.
const SHORT: &str = "a.b";
