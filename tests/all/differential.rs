//! Holds the answers to those of Knot and NSD, which serve what `spacedns export` writes.
//!
//! Three servers on loopback are asked the same: names that exist, names that do not, empty non-terminals, names below wildcards,
//! odd types, mixed case. Rcode, AA, the answer set and the SOA must be the same from all three. Where they differ by design, the
//! difference has a line in [`explained`]; nothing else passes. Exclusive suffixes and reverse zones only: overlay and bare names
//! are no zones, and have their pages.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use crate::examples::repository;
use crate::message::{Query, Record, Response};
use crate::process::{PATIENCE, SPACEDNS, Server, ask, drop_file, is_installed, poll};

const GENERATED_APPS: u32 = 1_000;
const GENERATED_QUERIES: usize = 20_000;
const EXAMPLE_QUERIES: usize = 2_000;

#[test]
fn knot_and_nsd_answer_the_examples_alike() {
    let zones = ["app.localspace", "0.10.in-addr.arpa", "28.172.in-addr.arpa"];
    let app = "quiet-meadow-12345.app.localspace";
    let declared =
        Declared { names: ["", "web.", "1.web."].map(|below| format!("{below}{app}")).into(), wild: Vec::new() };
    compare(&repository().join("zones"), &zones, EXAMPLE_QUERIES, &declared);
}

#[test]
fn knot_and_nsd_answer_a_thousand_apps_alike() {
    let directory = tempfile::tempdir().unwrap();
    let declared = generate(directory.path());
    let zones = ["app.localspace", "apps.acme.internal", "10.in-addr.arpa"];
    compare(directory.path(), &zones, GENERATED_QUERIES, &declared);
}

/// Names that exist whether they have data or not. A zone file has no word for those that have none.
#[derive(Default)]
struct Declared {
    names: BTreeSet<String>,
    /// Below these every name is.
    wild: Vec<String>,
}

impl Declared {
    /// Takes in an app with its components, how many of each are declared, and the ports that they have.
    fn add(&mut self, app: &str, components: &[(&str, u32, &[&str])]) {
        let mut add = |name: String| self.names.insert(name);
        add(format!("{app}.app.localspace"));
        for (component, quantity, ports) in components {
            let name = format!("{component}.{app}.app.localspace");
            for number in 1..=*quantity {
                add(format!("{number}.{name}"));
            }
            if !ports.is_empty() {
                add(format!("_tcp.{name}"));
            }
            for port in *ports {
                add(format!("_{port}._tcp.{name}"));
            }
            add(name);
        }
    }

    fn holds(&self, name: &str) -> bool {
        self.names.contains(name) || self.wild.iter().any(|wild| name.ends_with(wild))
    }
}

/// A space that is all exclusive suffixes, with apps of every sort. Gives what they declare.
fn generate(directory: &Path) -> Declared {
    let mut declared = Declared::default();
    let space = "space: acme\ncidr: 10.0.0.0/8\nrouter: [10.255.0.1, 10.255.0.2]\ninternal_routing: true\n\
                 app_domains: [{name: apps.acme.internal, own: exclusive}]\n";
    drop_file(directory, "space.yaml", space);
    for app in 0..GENERATED_APPS {
        let address = |number: u32| format!("10.{}.{}.{number}", app / 250 + 1, app % 250);
        let mut text = match app % 4 {
            0 => format!(
                "name: app-{app}\nservices: [{{name: web, http_port: 80, internal_ports: [9000]}}, {{name: api}}]\n"
            ),
            _ => {
                format!("app: app-{app}\nformation: {{web: {{quantity: {}}}, worker: {{quantity: 1}}}}\n", app % 3 + 1)
            }
        };
        // Settings of a spec stand in a document of their own.
        if app % 4 == 0 {
            write!(text, "---\napp: app-{app}\n").unwrap();
            if app % 8 == 0 {
                text += "discovery: space\n";
            }
        }
        match app % 10 {
            1 => writeln!(text, "domains: [{{domain: d{app}.apps.acme.internal, wildcard: true}}]").unwrap(),
            2 => writeln!(text, "domains: [{{domain: a.b.c{app}.apps.acme.internal}}]").unwrap(),
            3 => writeln!(
                text,
                "domains: [{{domain: w{app}.apps.acme.internal, wildcard: true}}, {{domain: x.y.w{app}.apps.acme.internal}}]"
            )
            .unwrap(),
            _ => {}
        }
        // One app in seven has nothing up.
        if app % 7 != 6 {
            text += "instances:\n";
            for number in 1..=app % 5 + 1 {
                writeln!(text, "  - {{component: web, number: {number}, address: {}}}", address(number)).unwrap();
            }
            if app % 4 != 0 {
                writeln!(text, "  - {{component: worker, number: 1, address: {}, port: 7000}}", address(99)).unwrap();
            }
        }
        drop_file(directory, &format!("apps/{}/app-{app}.yaml", app / 100), &text);
        let name = format!("app-{app}");
        match app % 8 {
            // Shown to its own LAN only.
            4 => {}
            0 => declared.add(&name, &[("web", 1, &["http", "80", "9000"]), ("api", 1, &["http", "8080"])]),
            _ => declared.add(&name, &[("web", app % 3 + 1, &[]), ("worker", 1, &["http"])]),
        }
        let host = |name: String| format!("{name}.apps.acme.internal");
        declared.names.insert(host(name));
        let (wild, exact) = match app % 10 {
            1 => (Some(format!("d{app}")), Vec::new()),
            // With the empty non-terminals above it.
            2 => (None, vec![format!("a.b.c{app}"), format!("b.c{app}"), format!("c{app}")]),
            3 => (Some(format!("w{app}")), vec![format!("x.y.w{app}"), format!("y.w{app}")]),
            _ => (None, Vec::new()),
        };
        declared.names.extend(wild.iter().cloned().chain(exact).map(host));
        declared.wild.extend(wild.map(|domain| format!(".{}", host(domain))));
    }
    declared
}

fn compare(directory: &Path, zones: &[&str], queries: usize, declared: &Declared) {
    if !(is_installed("knotd") && is_installed("nsd")) {
        println!("Knot or NSD is not here: nothing was compared");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut owners = declared.names.clone();
    for zone in zones {
        let export = Command::new(SPACEDNS).args(["export", zone]).arg(directory).output().unwrap();
        assert!(export.status.success(), "export {zone}: {}", String::from_utf8_lossy(&export.stderr));
        let text = String::from_utf8(export.stdout).unwrap();
        owners.extend(owners_of(&text));
        std::fs::write(home.path().join(zone), text).unwrap();
    }
    assert!(owners.len() > 10, "the export names {} owners", owners.len());
    check_zones(home.path(), zones);
    let ours = Server::spacedns(directory);
    let knot = Server::start(|port| knot(home.path(), zones, port));
    let nsd = Server::start(|port| nsd(home.path(), zones, port));
    let servers = [("spacedns", &ours), ("knot", &knot), ("nsd", &nsd)];
    let sockets = servers.map(|(name, server)| (name, connect(server, zones)));
    let owners: Vec<String> = owners.into_iter().collect();
    let mut random = Random(7);
    let (mut differences, mut explanations) = (Vec::new(), 0);
    for _ in 0..queries {
        let (qname, qtype) = random.question(&owners, zones);
        let query = Query::new(&qname, qtype).octets();
        let [ours, knot, nsd] = sockets.each_ref().map(|(name, socket)| {
            // A peer may lose a datagram while it begins a child anew; we may not.
            let tries = if *name == "spacedns" { 1 } else { 5 };
            let octets = (0..tries).find_map(|_| ask(socket, &query, PATIENCE / tries));
            let octets = octets.unwrap_or_else(|| panic!("{name} does not answer {qname} TYPE{qtype}"));
            Response::read(&octets).unwrap_or_else(|fault| panic!("{name}: {qname} TYPE{qtype}: {fault}"))
        });
        for (name, peer) in [("knot", &knot), ("nsd", &nsd)] {
            if essence(&ours) == essence(peer) {
                continue;
            }
            if explained(&qname, &ours, peer, declared) {
                explanations += 1;
            } else {
                differences.push(format!("{qname} TYPE{qtype}\nspacedns: {ours}{name}: {peer}"));
            }
        }
    }
    println!("{queries} queries, {explanations} explained differences");
    let first: String = differences.iter().take(20).map(|difference| format!("{difference}\n")).collect();
    assert!(differences.is_empty(), "{} differences, the first of them:\n{first}", differences.len());
    assert!(explanations < queries / 4, "{explanations} explained differences: most of the comparison says nothing");
}

/// What must be the same: rcode, AA, the answers, and the SOA but for its serial.
fn essence(response: &Response) -> (u16, bool, BTreeSet<Record>, Vec<Record>) {
    let without_serial = |record: &Record| {
        let mut record = record.clone();
        if record.rtype == 6 {
            let mut words: Vec<&str> = record.rdata.split(' ').collect();
            words[2] = "*";
            record.rdata = words.join(" ");
        }
        record
    };
    let answer = response.answer.iter().map(without_serial).collect();
    let soas = response.authority.iter().filter(|record| record.rtype == 6).map(without_serial).collect();
    (response.rcode, response.aa, answer, soas)
}

/// The differences that are meant.
fn explained(qname: &str, ours: &Response, peer: &Response, declared: &Declared) -> bool {
    let name = qname.to_ascii_lowercase();
    let denied_there = ours.rcode == 0 && ours.answer.is_empty() && peer.rcode == 3;
    // Every partial reverse name is an empty non-terminal with us, or its existence would tell of instances that the caller
    // may not see (DESIGN §3).
    let partial_reverse = denied_there && name.ends_with("in-addr.arpa") && is_partial_reverse(&name);
    // A name of ours without data exists (DESIGN §4.1: "stays a node"); a zone file has no word for that.
    let nothing_up = denied_there && declared.holds(&name);
    // A wildcard matches no label with a leading `_` (DESIGN §4.1).
    let underscore = ours.rcode == 3 && peer.rcode == 0 && name.split('.').any(|label| label.starts_with('_'));
    partial_reverse || nothing_up || underscore
}

fn is_partial_reverse(name: &str) -> bool {
    let digits: Vec<&str> = name.trim_end_matches(".in-addr.arpa").split('.').collect();
    digits.len() < 4 && digits.iter().all(|digit| digit.parse::<u8>().is_ok_and(|octet| octet.to_string() == *digit))
}

/// The owners in a zone file: the first words of its lines.
fn owners_of(zone: &str) -> BTreeSet<String> {
    let records = zone.lines().filter(|line| !line.starts_with([';', '$', ' ', '\t']) && !line.is_empty());
    records
        .filter_map(|line| line.split_whitespace().next())
        .map(|owner| owner.trim_end_matches('.').to_owned())
        .collect()
}

/// BIND's reader takes the zones too.
fn check_zones(home: &Path, zones: &[&str]) {
    if !is_installed("named-checkzone") {
        println!("named-checkzone is not here: the zones were not checked by it");
        return;
    }
    for zone in zones {
        let check = Command::new("named-checkzone").args(["-i", "none", zone]).arg(home.join(zone)).output().unwrap();
        assert!(check.status.success(), "{zone}: {}", String::from_utf8_lossy(&check.stdout));
    }
}

fn knot(home: &Path, zones: &[&str], port: u16) -> Command {
    let state = home.join("knot");
    std::fs::create_dir_all(&state).unwrap();
    let state = state.display();
    let mut text = format!(
        "server:\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n    rundir: {state}\n\
         database:\n    storage: {state}\nlog:\n  - target: stderr\n    any: warning\nzone:\n"
    );
    for zone in zones {
        let file = home.join(zone);
        let file = file.display();
        write!(text, "  - domain: {zone}\n    file: {file}\n    zonefile-sync: -1\n    journal-content: none\n")
            .unwrap();
    }
    let place = home.join("knot.conf");
    std::fs::write(&place, text).unwrap();
    let mut command = Command::new(program("knotd"));
    command.arg("-c").arg(place);
    command
}

fn nsd(home: &Path, zones: &[&str], port: u16) -> Command {
    let state = home.join("nsd");
    std::fs::create_dir_all(&state).unwrap();
    let state = state.display();
    let mut text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  zonesdir: {state}\n  pidfile: {state}/pid\n  \
         xfrdfile: {state}/xfrd\n  zonelistfile: {state}/zones\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n"
    );
    for zone in zones {
        write!(text, "zone:\n  name: {zone}\n  zonefile: {}\n", home.join(zone).display()).unwrap();
    }
    let place = home.join("nsd.conf");
    std::fs::write(&place, text).unwrap();
    let mut command = Command::new(program("nsd"));
    command.arg("-d").arg("-c").arg(place);
    command
}

/// Where a program is: Debian keeps servers outside a user's path.
fn program(name: &str) -> String {
    let place = format!("/usr/sbin/{name}");
    if Path::new(&place).is_file() { place } else { name.to_owned() }
}

/// A socket to a server that has loaded every zone.
fn connect(server: &Server, zones: &[&str]) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address).unwrap();
    for zone in zones {
        let query = Query::new(zone, 6).octets();
        let loaded = poll(PATIENCE, || ask(&socket, &query, PATIENCE).filter(|response| response[3] & 15 == 0));
        assert!(loaded.is_some(), "{zone} was not loaded:\n{}", server.log());
    }
    socket
}

/// The same numbers in every run (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.next(of.len())]
    }

    fn question(&mut self, owners: &[String], zones: &[&str]) -> (String, u16) {
        const LABELS: [&str; 12] =
            ["nope", "web", "api", "1", "2", "77", "*", "_tcp", "_http", "x", "a\\.b", "xn--n1a"];
        let owner = owners[self.next(owners.len())].clone();
        let mut name = match self.next(10) {
            // It exists.
            0..=3 => owner,
            // Above it, down to the apex at most: existing, or an empty non-terminal.
            4 | 5 => parents(&owner, zones, self.next(3) + 1),
            // Below it, or beside it.
            6 | 7 => format!("{}.{owner}", self.one_of(&LABELS)),
            8 => format!("{}.{}.{owner}", self.one_of(&LABELS), self.one_of(&LABELS)),
            _ => format!("{}.{}", self.one_of(&LABELS), parents(&owner, zones, self.next(3) + 1)),
        };
        if self.next(3) == 0 {
            name = name.chars().map(|c| if self.next(2) == 0 { c.to_ascii_uppercase() } else { c }).collect();
        }
        (name, self.qtype())
    }

    fn qtype(&mut self) -> u16 {
        const COMMON: [u16; 14] = [1, 1, 1, 28, 28, 33, 12, 6, 2, 16, 15, 65, 43, 5];
        match self.next(8) {
            0 => loop {
                let qtype = u16::try_from(self.next(65_536)).unwrap();
                // Meta-types and zone transfers are no questions of data, and peers refuse them each in their way.
                if !(qtype == 0 || qtype == 41 || (128..=255).contains(&qtype)) {
                    return qtype;
                }
            },
            _ => COMMON[self.next(COMMON.len())],
        }
    }
}

/// An ancestor of `name`, so many labels up, but not above the zone that it is in.
fn parents(name: &str, zones: &[&str], up: usize) -> String {
    let mut name = name;
    for _ in 0..up {
        match name.split_once('.') {
            Some((_, parent)) if !zones.contains(&name) => name = parent,
            _ => break,
        }
    }
    name.to_owned()
}
