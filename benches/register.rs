//! How long a registration takes, as its user sees it: `cargo bench --bench register`.
//!
//! Starts the server on a directory of registrations, one instance a file, then many times types `spacedns register --wait` with a
//! new address for one of them. Timed from before the command is started: until the instance's name is first answered with the
//! new address, asked in a tight loop, and until the command returns. So both hold the start of a process and two syncs of the disk.
//!
//! - `-- --instances 100000`: so many instances (100,000), ten an app. `--changes 500`: so many registrations.
//! - `--smoke`: a hundred instances and ten registrations, for a test of the benchmark itself.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SPACEDNS: &str = env!("CARGO_BIN_EXE_spacedns");
const SPACE: &str = "space: bench\ncidr: 10.0.0.0/8\n";
/// Instances of one app.
const PER_APP: u32 = 10;

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let instances = argument("--instances").unwrap_or(if smoke { 100 } else { 100_000 });
    let changes = argument("--changes").unwrap_or(if smoke { 10 } else { 500 });

    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    fs::write(directory.path().join("space.yaml"), SPACE).expect("it can be written to");
    for instance in 0..instances {
        let (app, number) = (name(instance), number(instance));
        let file = directory.path().join(format!("instances/{app}/web.{number}.json"));
        fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
        let address = address(instance, 0);
        let text = format!(r#"{{"app": "{app}", "component": "web", "number": {number}, "address": "{address}"}}"#);
        fs::write(file, text).expect("it can be written");
    }
    let mut server = Server::start(directory.path());
    let begun = Instant::now();
    while !server.answers(instances - 1, address(instances - 1, 0)) {
        assert!(server.child.try_wait().expect("it is a child of ours").is_none(), "the server has ended");
        assert!(begun.elapsed() < Duration::from_secs(120), "the server does not come up");
    }
    println!("{instances} instances: first right answer after {:.2?}", begun.elapsed());
    // The scans that follow the start are not what is asked.
    thread::sleep(Duration::from_millis(if smoke { 10 } else { 1_500 }));
    let (mut answered, mut returned): (Vec<Duration>, Vec<Duration>) = (0..changes)
        .map(|change| {
            let timed = server.register(directory.path(), scatter(change, instances), change / instances + 1);
            thread::sleep(REST);
            timed
        })
        .unzip();
    print("first right answer", &mut answered);
    print("wait returned", &mut returned);
}

/// Between two registrations: long enough for the owner task to be asleep again.
const REST: Duration = Duration::from_millis(5);

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).or_else(|| times.last()).copied().unwrap_or_default();
    println!("{what}: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, max {:.2?}", at(50), at(90), at(99), at(100));
}

/// Another instance each time, each of them once before one comes again.
fn scatter(turn: u32, instances: u32) -> u32 {
    // A prime that no usual number of instances is a multiple of.
    let turn = u64::from(turn % instances) * 7_919;
    u32::try_from(turn % u64::from(instances)).unwrap_or_default()
}

fn name(instance: u32) -> String {
    format!("app-{:06}", instance / PER_APP)
}

const fn number(instance: u32) -> u32 {
    instance % PER_APP + 1
}

/// The addresses of one version and the next are apart, and so are those of any two instances.
fn address(instance: u32, version: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0100 + instance + (version % 2) * 0x0080_0000)
}

/// The number after a flag.
fn argument(flag: &str) -> Option<u32> {
    let value = std::env::args().skip_while(|argument| argument != flag).nth(1)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value}")))
}

/// The server under test; it ends with this.
struct Server {
    child: Child,
    socket: UdpSocket,
    admin: SocketAddr,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let (dns, admin) = (free_address(), free_address());
        let child = Command::new(SPACEDNS)
            .arg("serve")
            .arg(directory)
            .args(["--listen", &dns.to_string(), "--admin", &admin.to_string(), "--log", "warn"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(dns).expect("loopback is there");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it is not zero");
        Self { child, socket, admin }
    }

    /// How long until a new address is answered, and until the command says so.
    fn register(&self, directory: &Path, instance: u32, version: u32) -> (Duration, Duration) {
        let (app, number, address) = (name(instance), number(instance).to_string(), address(instance, version));
        let begun = Instant::now();
        let mut command = Command::new(SPACEDNS)
            .args(["register", &app, "web", &number, "--address", &address.to_string(), "--wait=60s"])
            .arg("-C")
            .arg(directory)
            .args(["--server", &self.admin.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("the command can be started");
        thread::scope(|scope| {
            let returned = scope.spawn(|| {
                let status = command.wait().expect("it is a child of ours");
                assert!(status.success(), "{status}");
                begun.elapsed()
            });
            while !self.answers(instance, address) {
                assert!(begun.elapsed() < Duration::from_secs(60), "{app}.{number} is never answered");
            }
            (begun.elapsed(), returned.join().expect("it does not panic"))
        })
    }

    /// Whether an instance's name is answered with this address.
    fn answers(&self, instance: u32, address: Ipv4Addr) -> bool {
        let id = u16::try_from(instance % 65_521).unwrap_or_default().to_be_bytes();
        let mut query = [&id[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        for label in [&*number(instance).to_string(), "web", &name(instance), "app", "localspace", ""] {
            query.push(u8::try_from(label.len()).unwrap_or_default());
            query.extend(label.as_bytes());
        }
        query.extend([0, 1, 0, 1]);
        let mut response = [0; 512];
        let rdata = [&[0, 4][..], &address.octets()].concat();
        self.socket.send(&query).is_ok()
            && self.socket.recv(&mut response).is_ok_and(|length| {
                let response = response.get(..length).unwrap_or_default();
                response.starts_with(&id) && response.windows(rdata.len()).any(|octets| octets == rdata)
            })
    }
}

/// An address of loopback that is free.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.expect("loopback has a free port")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
