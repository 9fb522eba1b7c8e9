//! The commands that register: each of them typed against the real server, and held to what the server then answers.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::message::{Query, Response};
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, is_installed, poll};

/// The TTL is as long as a test that waits for it can bear.
const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\nttl: 2\nnegative_ttl: 1\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n";
const NAME: &str = "shop.herokuapp.com";
const FILE: &str = "instances/shop/web.1.json";

/// A spec directory, and a server of it.
struct Site {
    directory: tempfile::TempDir,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop_file(directory.path(), "space.yaml", SPACE);
        drop_file(directory.path(), "shop.yaml", APP);
        let server = Server::spacedns(directory.path());
        Self { directory, server }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SPACEDNS);
        command
            .args(arguments)
            .env("SPACEDNS_DIR", self.path())
            .env("SPACEDNS_SERVER", self.server.admin().to_string());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that is to succeed.
    fn did(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}\n{}", err(&output), self.server.log());
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let response = self.server.ask(&Query::new(name, 1).octets(), PATIENCE).expect("a response");
        Response::read(&response).unwrap().answer.into_iter().map(|record| record.rdata).collect()
    }

    /// Waits until a name is answered with exactly these.
    fn until(&self, name: &str, addresses: &[&str]) -> Duration {
        let watch = Stopwatch::start();
        let seen = poll(PATIENCE, || (self.addresses(name) == addresses).then_some(()));
        assert!(seen.is_some(), "{name} is {:?}, not {addresses:?}\n{}", self.addresses(name), self.server.log());
        watch.given()
    }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn wait_returns_only_when_no_answer_is_older() {
    let site = Site::new();
    for turn in 0..200 {
        let address = format!("10.0.{}.{}", 1 + turn / 100, 1 + turn % 100);
        if turn % 2 == 0 {
            site.did(&["register", "shop", "web", "1", "--address", &address, "--wait=60s"]);
        } else {
            let text = format!(r#"{{"app": "shop", "component": "web", "number": 1, "address": "{address}"}}"#);
            drop_file(site.path(), FILE, &text);
            site.did(&["wait", "--timeout=60s", site.path().join(FILE).to_str().unwrap()]);
        }
        assert_eq!(site.addresses(NAME), [address], "right after the receipt of turn {turn}");
    }
    site.did(&["deregister", "shop", "web", "1", "--wait=60s"]);
    assert_eq!(site.addresses(NAME), [""; 0]);
}

#[test]
fn what_is_rejected_exits_1_with_the_fault_and_what_never_comes_exits_3() {
    let site = Site::new();
    // Told before it is written.
    let output = site.run(&["register", "shop", "web", "0", "--address", "203.0.113.1", "--lease", "1s"]);
    assert_eq!(code(&output), Some(1));
    assert_eq!(err(&output).lines().count(), 3, "{}", err(&output));
    assert!(!site.path().join("instances").exists());
    // Right by itself, and outside the space: the server says so.
    let output = site.run(&["register", "shop", "web", "1", "--address", "10.9.0.1", "--wait=60s"]);
    assert_eq!(code(&output), Some(1), "{}", err(&output));
    assert!(err(&output).contains("web.1.json:1:1: ") && err(&output).contains("10.9.0.1"), "{}", err(&output));
    // A file that somebody wrote.
    drop_file(site.path(), "broken.yaml", "name: shop\nservices: [\n");
    let broken = site.path().join("broken.yaml");
    let output = site.run(&["wait", "--timeout=60s", broken.to_str().unwrap()]);
    assert_eq!(code(&output), Some(1), "{}", err(&output));
    assert!(err(&output).contains("broken.yaml:2:11: "), "{}", err(&output));
    // A file that no server looks at.
    let elsewhere = tempfile::tempdir().unwrap();
    drop_file(elsewhere.path(), "shop.yaml", "name: other\n");
    let file = elsewhere.path().join("shop.yaml");
    let directory = elsewhere.path().to_str().unwrap();
    let output = site.run(&["wait", "-C", directory, "--timeout=200ms", file.to_str().unwrap()]);
    assert_eq!(code(&output), Some(3), "{}", err(&output));
    assert!(err(&output).contains("another version of it"), "{}", err(&output));
    // A server that is not there.
    let nobody = ["wait", "--server", "127.0.0.1:1", "--timeout=200ms", broken.to_str().unwrap()];
    let output = site.run(&nobody);
    assert_eq!(code(&output), Some(3), "{}", err(&output));
    assert!(err(&output).contains("no server answers at http://127.0.0.1:1"), "{}", err(&output));
    // A registration that nobody made.
    for command in ["drain", "deregister"] {
        let output = site.run(&[command, "shop", "web", "7"]);
        assert_eq!(code(&output), Some(1));
        assert!(err(&output).contains("web.7.json: no such registration"), "{}", err(&output));
    }
}

#[test]
fn drain_takes_an_instance_out_at_once_and_returns_no_earlier_than_the_last_ttl() {
    let site = Site::new();
    site.did(&["register", "shop", "web", "1", "--address", "10.0.1.1", "--wait=60s"]);
    site.did(&["register", "shop", "web", "2", "--address", "10.0.1.2", "--wait=60s"]);
    let ended = Arc::new(AtomicBool::new(false));
    let (own, address) = (Arc::clone(&ended), site.server.address);
    let watching = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        let mut last = None;
        while !own.load(Ordering::Relaxed) {
            let response = crate::process::ask(&socket, &Query::new(NAME, 1).octets(), PATIENCE).expect("a response");
            let answer = Response::read(&response).unwrap().answer;
            if answer.iter().any(|record| record.rdata == "10.0.1.1") {
                last = Some(Instant::now());
            }
        }
        last.expect("it was there")
    });
    site.did(&["drain", "shop", "web", "1", "--wait=60s"]);
    let returned = Instant::now();
    ended.store(true, Ordering::Relaxed);
    let last = watching.join().unwrap();
    assert!(returned.duration_since(last) >= Duration::from_secs(2), "{:?}", returned.duration_since(last));
    assert_eq!(site.addresses(NAME), ["10.0.1.2"]);
    // It is there still, for who is connected to it.
    assert_eq!(site.addresses("1.web.shop.app.localspace"), ["10.0.1.1"]);
}

#[test]
fn the_control_socket_says_the_same_as_the_admin_address() {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    let state = tempfile::tempdir().unwrap();
    let state_dir = state.path().to_str().unwrap();
    let server = Server::spacedns_with(directory.path(), &["--state-dir", state_dir]);
    let register = |options: &[&str]| {
        let mut command = Command::new(SPACEDNS);
        command.args(["register", "shop", "web", "1", "--address=10.0.1.1", "--wait=60s"]).args(options);
        command.env("SPACEDNS_DIR", directory.path()).output().unwrap()
    };
    let socket = state.path().join("control.sock");
    assert_eq!(code(&register(&["--state-dir", state_dir])), Some(0));
    assert_eq!(code(&register(&["--server", &format!("unix:{}", socket.display())])), Some(0));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    // One that is left by a crash is replaced by the next.
    let _ = server.kill();
    assert!(socket.exists());
    let server = Server::spacedns_with(directory.path(), &["--state-dir", state_dir]);
    let output = register(&["--state-dir", state_dir]);
    assert_eq!(code(&output), Some(0), "{}\n{}", err(&output), server.log());
    server.end();
    assert!(!socket.exists());
}

#[test]
fn env_and_diff_tell_what_is_in_a_directory() {
    let site = Site::new();
    site.did(&["register", "shop", "web", "1", "--address", "10.0.1.1", "--port", "9000"]);
    let output = site.run(&["env", "shop", "WEB", "1"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        "HEROKU_DNS_APP_NAME=shop.app.localspace\nHEROKU_DNS_FORMATION_NAME=web.shop.app.localspace\n\
         HEROKU_DNS_DYNO_NAME=1.web.shop.app.localspace\nHEROKU_PRIVATE_IP=10.0.1.1\n\
         PRIVATE_DOMAIN=web\nPRIVATE_URL=http://web:9000\nPRIVATE_PORT=9000\n"
    );
    // An app that nobody knows has no environment, however well it is typed.
    let output = site.run(&["env", "nope", "web", "1"]);
    assert_eq!((code(&output), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(err(&output).contains("there is no app nope here; declare or register it first, or "), "{}", err(&output));
    // An instance of a known app that is not registered yet has its names.
    let output = site.run(&["env", "shop", "web", "7"]);
    assert_eq!(code(&output), Some(0));
    assert!(
        err(&output).contains("shop web.7 is not registered, so HEROKU_PRIVATE_IP is not known"),
        "{}",
        err(&output)
    );
    let other = Site::new();
    let (old, new) = (other.path().to_str().unwrap(), site.path().to_str().unwrap());
    let output = site.run(&["diff", old, new]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("+ shop.herokuapp.com. 2 IN A 10.0.1.1\n"), "{said}");
    assert!(said.contains("callers on the LAN of shop in the space acme:\n+ "), "{said}");
    assert_eq!(code(&site.run(&["diff", old, old])), Some(0));
    assert_eq!(code(&site.run(&["diff", old, "/nowhere"])), Some(2));
}

#[test]
fn run_gives_the_status_of_its_command() {
    let site = Site::new();
    let run = |command: &[&str]| {
        let arguments = [&["run", "shop", "web", "--address", "10.0.1.1", "--"], command].concat();
        let output = site.run(&arguments);
        assert!(
            fs::read_dir(site.path().join("instances/shop"))
                .unwrap()
                .all(|entry| { entry.unwrap().file_name().to_str().unwrap().starts_with('.') })
        );
        (code(&output), err(&output))
    };
    assert_eq!(run(&["true"]).0, Some(0));
    assert_eq!(run(&["sh", "-c", "exit 7"]).0, Some(7));
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]).0, Some(137));
    assert_eq!(run(&["/nowhere/command"]).0, Some(127));
    assert_eq!(run(&["/etc"]).0, Some(126));
    let output = site.run(&["run", "shop", "web", "--address", "203.0.113.1", "--", "true"]);
    assert_eq!(code(&output), Some(125), "{}", err(&output));
    // It tells the command who it is.
    let output = site.run(&["run", "shop", "web", "--address=10.0.1.1", "--port=9000", "--", "env"]);
    let said = String::from_utf8(output.stdout).unwrap();
    for line in ["HEROKU_DNS_DYNO_NAME=1.web.shop.app.localspace", "HEROKU_PRIVATE_IP=10.0.1.1", "PORT=9000"] {
        assert!(said.lines().any(|said| said == line), "no {line}: {said}");
    }
}

#[test]
fn runs_that_begin_at_once_have_numbers_of_their_own() {
    let site = Site::new();
    let runs: Vec<Child> = (1..=8)
        .map(|run| {
            let address = format!("10.0.1.{run}");
            let script = "echo $HEROKU_DNS_DYNO_NAME; while [ ! -e $SPACEDNS_DIR/.go ]; do sleep 0.05; done";
            let arguments = ["run", "shop", "web", "--address", &address, "--", "sh", "-c", script];
            site.command(&arguments).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let all = poll(PATIENCE, || (site.addresses(NAME).len() == 8).then_some(()));
    assert!(all.is_some(), "{:?}", site.addresses(NAME));
    fs::write(site.path().join(".go"), "").unwrap();
    let names: BTreeSet<String> = runs
        .into_iter()
        .map(|run| String::from_utf8(run.wait_with_output().unwrap().stdout).unwrap().trim().to_owned())
        .collect();
    let expected = (1..=8).map(|number| format!("{number}.web.shop.app.localspace"));
    assert_eq!(names, expected.collect());
    site.until(NAME, &[]);
}

#[test]
fn a_run_outlasts_its_server_and_its_spec_directory() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("zones");
    fs::create_dir(&directory).unwrap();
    drop_file(&directory, "space.yaml", SPACE);
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; exit 5", top.path().join("go").display());
    let mut run = Command::new(SPACEDNS)
        .args(["run", "shop", "web", "--address=10.0.1.1", "--lease=5s", "--server=127.0.0.1:1", "-C"])
        .arg(&directory)
        .args(["--", "sh", "-c", &script])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let file = directory.join(FILE);
    assert!(poll(PATIENCE, || file.exists().then_some(())).is_some());
    let content = fs::read(&file).unwrap();
    fs::rename(&directory, top.path().join("away")).unwrap();
    fs::create_dir(&directory).unwrap();
    // The next renewal writes it again.
    assert!(poll(PATIENCE, || (fs::read(&file).ok()? == content).then_some(())).is_some());
    fs::write(top.path().join("go"), "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(5));
    assert!(!file.exists());
}

#[test]
fn a_number_is_taken_from_whom_was_killed() {
    let site = Site::new();
    let registration = r#"{"app": "shop", "component": "web", "number": 1, "address": "10.0.1.9", "lease": "5s"}"#;
    drop_file(site.path(), FILE, registration);
    let file = fs::File::options().write(true).open(site.path().join(FILE)).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    let named = |output: Output| String::from_utf8(output.stdout).unwrap();
    let arguments = ["run", "shop", "web", "--address=10.0.1.1", "--", "sh", "-c", "echo $HEROKU_DNS_DYNO_NAME"];
    assert_eq!(named(site.run(&arguments)), "1.web.shop.app.localspace\n");
    drop_file(site.path(), FILE, registration);
    assert_eq!(named(site.run(&arguments)), "2.web.shop.app.localspace\n", "the first is alive");
}

/// A container as far as it matters here: a network and processes of its own, `spacedns run` its first process.
struct Container(Child);

impl Container {
    /// Runs a script's words as the command of an instance at `address`, which it finds by itself.
    fn start(site: &Site, address: &str, options: &str, script: &str) -> Self {
        let setup = format!(
            "ip link set lo up && ip link add c0 type veth peer name c1 && ip addr add {address}/16 dev c0 && \
             ip link set c1 up && ip link set c0 up && \
             exec {SPACEDNS} run shop web {options} -- sh -c '{script}'"
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &setup]);
        command.env("SPACEDNS_DIR", site.path()).env("BIN", SPACEDNS);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Sends the first process a signal.
    fn signal(&self, signal: &str) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let first = fs::read_to_string(children).unwrap();
        let sent = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", first.trim())]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether namespaces can be made here; where peers are required, they have to.
fn has_namespaces() -> bool {
    let made = is_installed("unshare")
        && is_installed("ip")
        && Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "c0", "type", "veth"])
            .output()
            .is_ok_and(|output| output.status.success());
    let required = std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_some();
    assert!(made || !required, "no namespaces can be made, and SPACEDNS_TEST_REQUIRE_PEERS is set");
    if !made {
        println!("NOT RUN: namespaces need root and the programs unshare and ip");
    }
    made
}

/// Listens with what is there for sure: another server of ours, of an empty directory.
const LISTEN: &str = "while [ ! -e $SPACEDNS_DIR/.go ]; do sleep 0.05; done; mkdir -p $SPACEDNS_DIR/.empty; \
     exec $BIN serve $SPACEDNS_DIR/.empty --admin off --listen $HEROKU_PRIVATE_IP:$PORT";

#[test]
fn run_is_the_first_process_of_a_container() {
    if !has_namespaces() {
        return;
    }
    let site = Site::new();
    let container = Container::start(&site, "10.0.5.5", "--port 8080 --lease 5s", LISTEN);
    // It has its own name at once, and takes no traffic before it listens.
    site.until("1.web.shop.app.localspace", &["10.0.5.5"]);
    assert_eq!(site.addresses(NAME), [""; 0]);
    fs::write(site.path().join(".go"), "").unwrap();
    site.until(NAME, &["10.0.5.5"]);
    // It goes on being there after its lease would have run out.
    let until = Instant::now() + Duration::from_secs(7);
    while Instant::now() < until {
        assert_eq!(site.addresses(NAME), ["10.0.5.5"]);
        std::thread::sleep(Duration::from_millis(100));
    }
    // Killed: gone with the lease.
    container.signal("KILL");
    let took = site.until(NAME, &[]);
    assert!(took < Duration::from_secs(10), "a lease of 5 s took {took:?}");
    assert!(site.path().join(FILE).exists(), "nobody was left to remove it");
    drop(container);
    // Asked to end: gone at once, long before the lease.
    let mut container = Container::start(&site, "10.0.5.6", "--number 1 --port 8080 --lease 1h", LISTEN);
    site.until(NAME, &["10.0.5.6"]);
    container.signal("TERM");
    site.until(NAME, &[]);
    assert_eq!(container.0.wait().unwrap().code(), Some(0), "our server ends well when it is told to");
    assert!(!site.path().join(FILE).exists());
}

#[test]
fn run_reaps_orphans_and_hands_signals_on() {
    if !has_namespaces() {
        return;
    }
    let site = Site::new();
    // Twenty orphans end; whoever counts zombies afterwards finds none. Then it says which signals it got.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (sleep 0.01 &) ; done; sleep 0.5; \
                  for turn in 1 2 3 4 5 6 7 8 9 10; do \
                    zombies=$(grep -l \"^State:.Z\" /proc/[0-9]*/status | wc -l); [ $zombies = 0 ] && break; sleep 0.5; done; \
                  echo zombies $zombies; trap \"echo hup\" HUP; trap \"echo usr1\" USR1; trap \"echo term; exit 3\" TERM; \
                  touch $SPACEDNS_DIR/.trapped; while :; do sleep 0.05; done";
    let mut container = Container::start(&site, "10.0.5.7", "", script);
    assert!(poll(PATIENCE, || site.path().join(".trapped").exists().then_some(())).is_some());
    for signal in ["HUP", "USR1", "TERM"] {
        container.signal(signal);
        // Signals of several kinds that are pending at once come in any order.
        std::thread::sleep(Duration::from_millis(300));
    }
    let mut said = String::new();
    container.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(container.0.wait().unwrap().code(), Some(3), "{said}");
    assert!(said.starts_with("zombies 0\n"), "{said}");
    for word in ["hup\n", "usr1\n", "term\n"] {
        assert!(said.contains(word), "no {word}: {said}");
    }
}
