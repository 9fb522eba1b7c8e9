//! Readiness checks of a real server against real backends, in a network namespace of its own: addresses of a space are never
//! loopback.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use spacedns::control::{Health, Status};

use crate::message::{CLIENT_SUBNET, Query, Response, client_subnet};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, poll};

/// Where the instances are.
const HOSTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 77, 0, 1),
    Ipv4Addr::new(10, 77, 0, 2),
    Ipv4Addr::new(10, 77, 0, 3),
    Ipv4Addr::new(10, 77, 0, 4),
];
const PORT: u16 = 8123;
/// Set for the copy of a test that runs in the namespace.
const INSIDE: &str = "SPACEDNS_TEST_INSIDE_NAMESPACE";

#[test]
fn an_unhealthy_instance_leaves_the_answers_and_a_new_one_waits_for_its_first_success() {
    if !enter("an_unhealthy_instance_leaves_the_answers_and_a_new_one_waits_for_its_first_success") {
        return;
    }
    let world = World::start(&["--health-checks"]);
    let [one, two] = [0, 1].map(|host| Backend::start(HOSTS[host]));
    world.expect(&[0, 1], "what was there at the start is presumed ready");
    two.status.store(503, Ordering::Relaxed);
    world.expect(&[0], "one that fails leaves");
    assert!(!world.server.log().contains("web.1 is unhealthy"), "{}", world.server.log());
    world.register(3, HOSTS[2]);
    let own = poll(PATIENCE, || (world.addresses("3.web.shop.app.localspace") == hosts(&[2])).then_some(()));
    assert!(own.is_some(), "its own name answers before it is ready");
    world.expect(&[0], "a new one waits");
    let three = Backend::start(HOSTS[2]);
    world.expect(&[0, 2], "until it passes");
    two.status.store(302, Ordering::Relaxed);
    world.expect(&[0, 1, 2], "one that passes is back");
    assert!(one.asked.load(Ordering::Relaxed) > 0 && three.asked.load(Ordering::Relaxed) > 0);
    // All at once: they are kept, and it is said.
    for backend in [&one, &two, &three] {
        backend.status.store(0, Ordering::Relaxed);
    }
    let said = poll(PATIENCE, || world.server.log().contains("they stay in the answers").then_some(()));
    assert!(said.is_some(), "{}", world.server.log());
    world.expect(&[0, 1, 2], "all that were ready are kept");
    // By the hostname, by discovery, and by a port: whoever looks is told.
    let kept = Some((0, "shop: every web instance fails its check; kept".to_owned()));
    for name in ["shop.herokuapp.com", "web.shop.app.localspace"] {
        assert_eq!(world.ask(name).extended_error(), kept, "{name}");
    }
    let unready = world.status().unready;
    let found: Vec<_> = unready.instances.iter().map(|one| (&*one.app, &*one.instance, one.health)).collect();
    let all = ["web.1", "web.2", "web.3"].map(|instance| ("shop", instance, Health::Kept));
    assert_eq!((unready.count, &*found), (3, &all[..]), "{unready:?}");
    assert!(
        unready.instances.iter().all(|one| one.reason.as_deref().is_some_and(|why| why.starts_with("GET /health")))
    );
    one.status.store(200, Ordering::Relaxed);
    world.expect(&[0], "where one passes the checks are believed");
    assert_eq!(world.ask("shop.herokuapp.com").extended_error(), None);
    let unready = world.status().unready;
    assert!(unready.count == 2 && unready.instances.iter().all(|one| one.health == Health::Failing), "{unready:?}");
}

#[test]
fn who_registers_is_told_when_the_instance_is_in_the_answers_and_until_then_why_not() {
    if !enter("who_registers_is_told_when_the_instance_is_in_the_answers_and_until_then_why_not") {
        return;
    }
    let world = World::start(&["--health-checks"]);
    let _backends = [0, 1].map(|host| Backend::start(HOSTS[host]));
    let register = |wait: &str| {
        let mut command = Command::new(SPACEDNS);
        command.args(["register", "shop", "web", "3", "--address", &HOSTS[2].to_string(), wait]);
        command.env("SPACEDNS_DIR", world.directory.path()).env("SPACEDNS_SERVER", world.server.admin().to_string());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = register("--wait=2s");
    assert_eq!(code, Some(3), "{said}");
    let words = "it is registered, and takes no traffic before it passes its checks: web.3 (";
    assert!(said.contains(words), "{said}");
    let _three = Backend::start(HOSTS[2]);
    let (code, said) = register("--wait=60s");
    assert_eq!(code, Some(0), "{said}");
    assert!(world.addresses("shop.herokuapp.com").contains(&HOSTS[2].to_string()), "right after the receipt");
}

#[test]
fn where_all_are_to_be_removed_the_reason_is_in_the_answer() {
    if !enter("where_all_are_to_be_removed_the_reason_is_in_the_answer") {
        return;
    }
    let world = World::start(&["--health-checks", "--all-unhealthy", "remove"]);
    let [one, _two] = [0, 1].map(|host| Backend::start(HOSTS[host]));
    world.expect(&[0, 1], "what was there at the start is presumed ready");
    one.status.store(503, Ordering::Relaxed);
    world.expect(&[1], "one that fails leaves");
    std::fs::remove_file(world.directory.path().join("web.2.json")).unwrap();
    world.expect(&[], "the last one goes");
    let reason = world.ask("shop.herokuapp.com").extended_error();
    assert_eq!(reason, Some((0, "shop: 0 of 2 web instances up; web.1 unhealthy: GET /health 503".to_owned())));
    world.register(2, HOSTS[3]);
    let waits = poll(PATIENCE, || {
        let (_, reason) = world.ask("shop.herokuapp.com").extended_error()?;
        reason.ends_with("; web.2 not ready yet: GET /health connection refused").then_some(())
    });
    assert!(waits.is_some(), "{:?}", world.ask("shop.herokuapp.com").extended_error());
}

#[test]
fn without_the_flag_nobody_is_checked() {
    if !enter("without_the_flag_nobody_is_checked") {
        return;
    }
    let backend = Backend::start(HOSTS[0]);
    backend.status.store(503, Ordering::Relaxed);
    let world = World::start(&[]);
    world.register(3, HOSTS[2]);
    world.expect(&[0, 1, 2], "what is registered answers");
    assert_eq!(backend.asked.load(Ordering::Relaxed), 0);
}

/// A server, and the directory it reads.
struct World {
    server: Server,
    directory: tempfile::TempDir,
}

impl World {
    /// A server with two registered instances, where checks come every second.
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop_file(directory.path(), "space.yaml", "space: acme\ncidr: 10.77.0.0/16\ninternal_routing: true\n");
        let health = "{http_path: /health, period_seconds: 1, timeout_seconds: 5, failure_threshold: 2}";
        let spec = format!(
            "name: shop\ndiscovery: space\nservices:\n- {{name: web, http_port: {PORT}, instance_count: 2, health_check: {health}}}\n"
        );
        drop_file(directory.path(), "shop.yaml", &spec);
        for (number, host) in [(1, HOSTS[0]), (2, HOSTS[1])] {
            register(directory.path(), number, host);
        }
        let server = Server::start(|port| {
            let mut command = Command::new(SPACEDNS);
            command.arg("serve").arg(directory.path()).args(arguments);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--trust-subnet-from", "127.0.0.0/8"]);
            command
        });
        Self { server, directory }
    }

    fn register(&self, number: u32, host: Ipv4Addr) {
        register(self.directory.path(), number, host);
    }

    fn ask(&self, name: &str) -> Response {
        let mut query = Query::new(name, 1);
        let caller = client_subnet(Ipv4Addr::new(10, 77, 1, 1).into(), 32, 0);
        query.edns.as_mut().unwrap().options.push((CLIENT_SUBNET, caller));
        let response = poll(PATIENCE, || self.server.ask(&query.octets(), Duration::from_secs(2)));
        Response::read(&response.expect("the server answers")).unwrap()
    }

    fn status(&self) -> Status {
        let page = crate::admin::get(self.server.admin(), "/status").json();
        serde_json::from_value(page).unwrap()
    }

    fn addresses(&self, name: &str) -> BTreeSet<String> {
        self.ask(name).answer.into_iter().map(|record| record.rdata).collect()
    }

    /// Waits until the app's hostname has these hosts and no others.
    fn expect(&self, wanted: &[usize], why: &str) {
        let ask = || self.addresses("shop.herokuapp.com");
        let reached = poll(PATIENCE, || (ask() == hosts(wanted)).then_some(()));
        assert!(reached.is_some(), "{why}: {:?}, not {wanted:?}\n{}", ask(), self.server.log());
    }
}

fn hosts(wanted: &[usize]) -> BTreeSet<String> {
    wanted.iter().map(|host| HOSTS[*host].to_string()).collect()
}

fn register(directory: &Path, number: u32, host: Ipv4Addr) {
    let content =
        format!("{{\"app\": \"shop\", \"component\": \"web\", \"number\": {number}, \"address\": \"{host}\"}}");
    drop_file(directory, &format!("web.{number}.json"), &content);
}

/// An instance that gives every request the status it is told to; with 0, it closes the connection.
struct Backend {
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Backend {
    fn start(host: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((host, PORT)).unwrap();
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let backend = Self { status: Arc::clone(&status), asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                asked.fetch_add(1, Ordering::Relaxed);
                match status.load(Ordering::Relaxed) {
                    0 => {}
                    // To a host that does not answer: whoever went there would time out.
                    302 => _ = write!(stream, "HTTP/1.1 302 Found\r\nlocation: http://10.77.9.9:{PORT}/\r\n\r\n"),
                    status => _ = write!(stream, "HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n\r\nno"),
                }
            }
        });
        backend
    }
}

/// Runs a test of this file again in a network namespace that has the hosts' addresses; whether this is that run.
fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !["unshare", "ip"].into_iter().all(crate::process::is_installed) {
        println!("NOT RUN: {test} needs unshare and ip");
        return false;
    }
    let addresses = HOSTS.map(|host| format!("ip address add {host}/32 dev lo && ")).concat();
    let script = format!("ip link set lo up && {addresses} exec \"$0\" \"$@\"");
    let run = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--net", "sh", "-c", script])
            .args(arguments)
            .env(INSIDE, "1")
            .output()
            .unwrap()
    };
    let possible = run(&format!("ip link set lo up && {addresses} true"), &[]);
    if !possible.status.success() {
        let required = std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_some();
        let why = String::from_utf8_lossy(&possible.stderr).into_owned();
        assert!(!required, "no network namespace can be made, and SPACEDNS_TEST_REQUIRE_PEERS is set: {why}");
        println!("NOT RUN: {test} needs a network namespace: {why}");
        return false;
    }
    let binary = std::env::current_exe().unwrap();
    let name = format!("health::{test}");
    let output = run(&script, &[binary.to_str().unwrap(), "--exact", &name, "--nocapture", "--test-threads=1"]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}
