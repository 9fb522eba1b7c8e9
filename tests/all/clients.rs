//! Programs as they are, with one line in `resolv.conf`: ours.
//!
//! Each test runs once more in namespaces of its own (network, mounts, processes), where port 53 is free and nothing outlives it. In
//! there is the server with a fake upstream on loopback; over a pair of virtual interfaces from it, in a second network
//! namespace, the client. What files of `/etc` say of resolution is laid over them, for those processes alone.
//!
//! A client that misses a response waits for [`CLIENT_TIMEOUT`], where a default would be 5 s: so that a machine with much else to do
//! is not mistaken for one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::spawn;
use std::time::Duration;

use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, is_installed, poll};
use crate::upstream::{Upstream, address, soa};

/// What a client waits for a response before it asks again; each is told so.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What no look-up takes, on however slow a machine, unless it waited for a response that did not come: musl asks again after half of
/// the timeout.
const SOON: Duration = Duration::from_secs(14);

#[test]
fn every_c_library_and_language_resolves_by_us_alone() {
    isolated("clients::every_c_library_and_language_resolves_by_us_alone", PROGRAMS, || {
        let world = World::new();
        let built = |compiler: &[&str], source: &str| {
            let program = world.path(source.rsplit('.').next().unwrap()).join(compiler[0]);
            std::fs::create_dir_all(program.parent().unwrap()).unwrap();
            let mut command = Command::new(compiler[0]);
            command.args(&compiler[1..]).arg("-o").arg(&program).arg(sources().join(source));
            said(command.env("GOCACHE", world.path("cache")).env("GOFLAGS", "-mod=mod").env("CGO_ENABLED", "1"));
            program.to_str().unwrap().to_owned()
        };
        let source = |name: &str| sources().join(name).to_str().unwrap().to_owned();
        let (glibc, musl) = (built(&["gcc", "-O1"], "resolve.c"), built(&["musl-gcc", "-O1", "-static"], "resolve.c"));
        let go = built(&["go", "build"], "resolve.go");
        let (node, java, python) = (source("resolve.cjs"), source("Resolve.java"), source("resolve.py"));
        let mut clients: Vec<(&str, Vec<&str>, Families)> = vec![
            ("glibc", vec![&glibc], Families::Both),
            ("musl", vec![&musl], Families::Both),
            ("Go's own", vec!["env", "GODEBUG=netdns=go", &go], Families::Both),
            ("Go's cgo", vec!["env", "GODEBUG=netdns=cgo", &go], Families::Both),
            ("Node's lookup", vec!["node", &node, "lookup"], Families::Both),
            ("Node's resolve4", vec!["node", &node, "resolve4"], Families::Ipv4),
            ("Java", vec!["java", &java], Families::Both),
            ("Python", vec!["python3", &python], Families::Both),
        ];
        // Debian's musl is 1.2.3, which has no TCP. Zig brings a newer one, and Debian no Zig.
        let newer =
            is_there("zig").then(|| built(&["zig", "cc", "-target", "x86_64-linux-musl", "-static"], "resolve.c"));
        match &newer {
            Some(newer) => clients.push(("a newer musl", vec![newer], Families::Both)),
            None => println!("zig is not here: musl with TCP was not tested"),
        }
        for resolv_conf in [
            format!("nameserver {SERVER}\noptions timeout:30\n"),
            format!("nameserver {SERVER}\nsearch nobody.app.localspace\noptions ndots:5 timeout:30\n"),
        ] {
            world.write("resolv.conf", &resolv_conf);
            for (client, command, families) in &clients {
                let output = said(world.client(command[0]).args(&command[1..]).args(NAMES.map(|(name, _)| name)));
                let lines: Vec<&str> = output.lines().collect();
                assert_eq!(lines.len(), NAMES.len(), "{client}: {output}");
                for (line, (name, addresses)) in lines.into_iter().zip(NAMES) {
                    let [asked, found, took] = line.split(' ').collect::<Vec<_>>()[..] else {
                        panic!("{client}: {line}")
                    };
                    let whole = format!("{client}: {line}\nwith {resolv_conf}{}", world.server.log());
                    assert_eq!(asked, name, "{whole}");
                    assert_eq!(set(found.split(',')), families.of(addresses), "{whole}");
                    assert!(Duration::from_millis(took.parse().unwrap()) < SOON, "{whole}");
                }
            }
            for (name, addresses) in NAMES {
                let mut command = world.client("getent");
                let output = command.args(["ahosts", name]).output().unwrap();
                let output = String::from_utf8(output.stdout).unwrap();
                let found = output.lines().filter_map(|line| line.split(' ').next());
                assert_eq!(set(found), Families::Both.of(addresses), "getent: {name}: {output}");
            }
        }
    });
}

#[test]
fn curl_fetches_by_us_alone() {
    isolated("clients::curl_fetches_by_us_alone", &["curl"], || {
        let world = World::new();
        let _service = Service::start();
        for (name, served) in FETCHED {
            let mut command = world.client("curl");
            command.args(["-sS", "--max-time", "60", "-w", " %{time_namelookup}", &format!("http://{name}/")]);
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let (body, took) = said.rsplit_once(' ').unwrap();
            // curl(1): 6 is a host that could not be resolved.
            let expected = if served.is_some() { 0 } else { 6 };
            assert_eq!((output.status.code(), body), (Some(expected), served.unwrap_or_default()), "{name}: {said}");
            assert!(took.parse::<f64>().unwrap() < SOON.as_secs_f64(), "{name}: {said}");
        }
    });
}

#[test]
fn nginx_resolves_by_us_alone() {
    isolated("clients::nginx_resolves_by_us_alone", &["nginx", "curl"], || {
        let world = World::new();
        let _service = Service::start();
        let home = world.home.path().display().to_string();
        world.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; user root; pid {home}/nginx.pid; error_log {home}/nginx.log info;\n\
                 events {{}}\n\
                 http {{\n\
                   access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
                   resolver {SERVER}; resolver_timeout 60s;\n\
                   server {{ listen 127.0.0.1:8080; location / {{ proxy_pass http://$arg_name/; }} }}\n\
                 }}\n"
            ),
        );
        let _nginx =
            Running::start(world.client("nginx").args(["-p", &home, "-c", "nginx.conf"]), &world.path("nginx.log"));
        for (name, served) in FETCHED {
            let fetched = poll(PATIENCE, || {
                let mut command = world.client("curl");
                command.args(["-s", "--max-time", "60", "-w", " %{http_code} %{time_total}"]);
                let output = command.arg(format!("http://127.0.0.1:8080/?name={name}")).output().unwrap();
                // Until it listens.
                output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
            });
            let fetched = fetched.unwrap_or_else(|| panic!("{name}: {}", world.read("nginx.log")));
            let [ref body @ .., code, took] = fetched.split(' ').collect::<Vec<_>>()[..] else { panic!("{fetched}") };
            let whole = format!("{name}: {fetched}\n{}", world.read("nginx.log"));
            match served {
                Some(served) => assert_eq!((body.join(" ").as_str(), code), (served, "200"), "{whole}"),
                None => assert_eq!(code, "502", "{whole}"),
            }
            // nginx asks again after 5 s, whatever it is told; what it has asked twice it says in its log.
            assert!(took.parse::<f64>().unwrap() < SOON.as_secs_f64(), "{whole}");
        }
        assert!(!world.read("nginx.log").contains("timed out"), "{}", world.read("nginx.log"));
    });
}

#[test]
fn haproxy_follows_by_us_alone() {
    isolated("clients::haproxy_follows_by_us_alone", &["haproxy"], || {
        let world = World::new();
        let socket = world.path("haproxy.sock");
        let backends = NAMES.iter().enumerate().map(|(index, (name, _))| {
            format!(
                "backend b{index}\n  server-template s 1-3 {name}:80 resolvers us init-addr none resolve-prefer ipv4\n"
            )
        });
        let text = format!(
            "global\n  stats socket {}\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
             resolvers us\n  nameserver one {SERVER}:53\n  accepted_payload_size 1232\n  resolve_retries 3\n\
             \x20 timeout resolve 1s\n  timeout retry {}s\n  hold valid 1s\n  hold nx 1s\n  hold obsolete 0s\n{}",
            socket.display(),
            CLIENT_TIMEOUT.as_secs(),
            backends.collect::<String>()
        );
        world.write("haproxy.cfg", &text);
        let _haproxy = Running::start(
            world.client("haproxy").arg("-f").arg(world.path("haproxy.cfg")),
            &world.path("haproxy.log"),
        );
        let holds = |web: &[&str]| {
            let mut last = String::new();
            let held = poll(PATIENCE, || {
                last = tell(&socket, "show servers state")?;
                let right = NAMES.iter().enumerate().all(|(index, (name, addresses_of_name))| {
                    let expected = match *name {
                        // One instance by its number, however many there are.
                        "1.web.shop.app.localspace" | "www.example.net" | "api" => Families::Ipv4.of(addresses_of_name),
                        _ if addresses_of_name.is_empty() => BTreeSet::new(),
                        _ => set(web.iter().copied()),
                    };
                    server_addresses(&last, &format!("b{index}")) == expected
                });
                right.then_some(())
            });
            let resolvers = tell(&socket, "show resolvers").unwrap_or_default();
            assert!(held.is_some(), "{web:?}: {last}\n{resolvers}\n{}", world.read("haproxy.log"));
        };
        holds(&["10.80.0.11"]);
        world.drop_instance("web", 2, "10.80.0.14");
        holds(&["10.80.0.11", "10.80.0.14"]);
        std::fs::remove_file(world.path("zones/instances/web.2.json")).unwrap();
        holds(&["10.80.0.11"]);
        // Each row is `what: count`.
        let counts = tell(&socket, "show resolvers").unwrap();
        let count =
            |what: &str| counts.lines().find_map(|line| line.trim().strip_prefix(what)?.trim().parse::<u64>().ok());
        assert!(count("valid:").is_some_and(|valid| valid > 0), "{counts}");
        for nothing in ["timeout:", "refused:", "invalid:", "too_big:", "truncated:"] {
            assert_eq!(count(nothing), Some(0), "{counts}");
        }
    });
}

#[test]
fn a_caller_that_speaks_for_others_is_told_of_once() {
    isolated("clients::a_caller_that_speaks_for_others_is_told_of_once", &["getent"], || {
        let world = World::new();
        let ask = || world.client("getent").args(["ahosts", "feed"]).output().unwrap();
        let line = "10.80.0.2 asks for `feed`, which shop, whose LAN it is on, does not have, and blog has";
        let told = poll(PATIENCE, || {
            ask();
            world.server.log().contains(line).then_some(())
        });
        assert!(told.is_some(), "{}", world.server.log());
        ask();
        let World { server, _upstream, home: _home } = world;
        let log = server.end();
        assert!(log.matches(line).count() == 1 && log.contains("views-collapsed=1"), "{log}");
    });
}

/// What programs are asked for, and the addresses that they are to find; none where there is no such name.
const NAMES: [(&str, &[&str]); 10] = [
    // A bare service: the `web` of this app and not of the other; no IPv6 address, and that is no fault.
    ("web", &["10.80.0.11"]),
    ("api", &["10.80.0.12", "fd00:80::12"]),
    // Discovery names.
    ("web.shop.app.localspace", &["10.80.0.11"]),
    ("1.web.shop.app.localspace", &["10.80.0.11"]),
    // An internal hostname; one whose gate is closed.
    ("shop.herokuapp.com", &["10.80.0.11"]),
    ("idle.herokuapp.com", &[]),
    // Forwarded.
    ("www.example.net", &["10.80.0.13"]),
    // Missing: a label, a name of ours, a forwarded one.
    ("nothing", &[]),
    ("nobody.app.localspace", &[]),
    ("missing.example.net", &[]),
];

/// Who says that it is reached, by name.
const FETCHED: [(&str, Option<&str>); 6] = [
    ("web", Some("10.80.0.11")),
    ("1.web.shop.app.localspace", Some("10.80.0.11")),
    ("shop.herokuapp.com", Some("10.80.0.11")),
    ("www.example.net", Some("10.80.0.13")),
    ("nobody.app.localspace", None),
    ("missing.example.net", None),
];

const SPECS: &str = "\
name: shop
services: [{name: web}, {name: api}]

internal_routing: true
lan: [10.80.0.0/24]
discovery: space
---
name: blog
services: [{name: web}, {name: feed}]
lan: [10.80.1.0/24]
---
app: blog
component: web
number: 1
address: 10.80.1.11
---
app: idle
internal_routing: true
formation: {web: {quantity: 1}}
";

const PROGRAMS: &[&str] = &["getent", "gcc", "musl-gcc", "go", "node", "java", "python3"];

/// The server's address, as clients know it.
const SERVER: &str = "10.80.0.1";

/// The server's side of the two, and how to run programs on the other.
struct World {
    server: Server,
    _upstream: Upstream,
    home: tempfile::TempDir,
}

impl World {
    /// Makes the client's namespace and starts the server. To be called in the namespaces of [`isolated`] only.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("resolv.conf"), format!("nameserver {SERVER}\noptions timeout:30\n")).unwrap();
        std::fs::write(path("nsswitch.conf"), "hosts: files dns\n").unwrap();
        std::fs::write(path("hosts"), "127.0.0.1 localhost\n").unwrap();
        std::fs::write(path("client"), "").unwrap();
        said(Command::new("sh").current_dir(home.path()).args(["-euc", SET_UP]));
        drop_file(home.path(), "zones/apps.yaml", SPECS);
        for (component, v4, v6) in [("web", "10.80.0.11", ""), ("api", "10.80.0.12", ", \"fd00:80::12\"")] {
            drop_file(home.path(), &format!("zones/instances/{component}.1.json"), &registration(component, 1, v4, v6));
        }
        let upstream = Upstream::start(|asked| {
            let www = asked.is_for("www.example.net");
            vec![match asked.qtype() {
                1 if www => asked.response(0, &[address("www.example.net", [10, 80, 0, 13])]),
                _ => asked.response(if www { 0 } else { 3 }, &[soa("example.net")]),
            }]
        });
        let server = Server::start(|port| {
            let mut command = Command::new(SPACEDNS);
            command.arg("serve").arg(home.path().join("zones")).arg(format!("--upstream={}", upstream.address));
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--listen", &format!("{SERVER}:53")]);
            command
        });
        Self { server, _upstream: upstream, home }
    }

    /// A program on the client's side.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path("client").display())).arg(program);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes into the file itself: another in its place would not be the one that is laid over `/etc`.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn drop_instance(&self, component: &str, number: u32, v4: &str) {
        let file = format!("zones/instances/{component}.{number}.json");
        drop_file(self.home.path(), &file, &registration(component, number, v4, ""));
    }
}

const SET_UP: &str = "
for file in resolv.conf nsswitch.conf hosts; do mount --bind $file /etc/$file; done
ip link set lo up
unshare --net=client true
ip link add server type veth peer name client
ip link set client netns \"$PWD/client\"
for host in 1 11 12 13 14; do ip address add 10.80.0.$host/24 dev server; done
ip address add fd00:80::12/64 dev server nodad
ip link set server up
nsenter --net=client sh -euc '
ip link set lo up
ip address add 10.80.0.2/24 dev client
ip address add fd00:80::2/64 dev client nodad
ip link set client up'
";

fn registration(component: &str, number: u32, v4: &str, v6: &str) -> String {
    format!(r#"{{"app": "shop", "component": "{component}", "number": {number}, "addresses": ["{v4}"{v6}]}}"#)
}

/// Runs `body` in namespaces of its own: this binary once more, with `test` alone. Nothing that it starts outlives it.
fn isolated(test: &str, programs: &[&str], body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let all = ["unshare", "nsenter", "mount", "ip"].iter().chain(programs);
    let missing: Vec<&&str> = all.filter(|program| !is_installed(program)).collect();
    if !missing.is_empty() {
        println!("{missing:?} not here: {test} was not run");
        return;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
    };
    let allowed = unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !allowed {
        let required = std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_some();
        assert!(!required, "namespaces take root, and SPACEDNS_TEST_REQUIRE_PEERS is set");
        println!("namespaces take root: {test} was not run");
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default().into_string().unwrap();
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    let output = command.env(INSIDE, "1").env("PATH", format!("{path}:/usr/sbin:/sbin")).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    print!("{text}");
}

const INSIDE: &str = "SPACEDNS_TEST_INSIDE";

/// Whose addresses a look-up is for.
#[derive(Clone, Copy)]
enum Families {
    Both,
    Ipv4,
}

impl Families {
    fn of(self, addresses: &[&str]) -> BTreeSet<String> {
        set(addresses.iter().copied().filter(|address| matches!(self, Self::Both) || !address.contains(':')))
    }
}

/// Addresses as everybody writes them; what is none stays as it is.
fn set<'a>(addresses: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let written =
        |address: &str| address.parse::<IpAddr>().map_or_else(|_| address.to_owned(), |found| found.to_string());
    addresses.filter(|address| *address != "-").map(written).collect()
}

/// Says over HTTP which address it was reached at, on every one.
struct Service;

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let body = stream.local_addr().unwrap().ip().to_string();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close", body.len());
                let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
            }
        });
        Self
    }
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let output = || Stdio::from(File::options().create(true).append(true).open(log).unwrap());
        Self(
            command
                .stdin(Stdio::null())
                .stdout(output())
                .stderr(output())
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end; gives what it says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The addresses of a backend's servers, by HAProxy's `show servers state`.
fn server_addresses(state: &str, backend: &str) -> BTreeSet<String> {
    let rows = state.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    set(rows.filter(|row| row.get(1) == Some(&backend)).filter_map(|row| row.get(4).copied()))
}

/// Tells a control socket something; gives what it says to that.
fn tell(socket: &Path, line: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("{line}\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

/// The clients that are compiled or run from source.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}
