//! How long a change takes to be answered, from rename to first right answer: `cargo bench --bench reload`.
//!
//! Starts the server on a directory of apps in JSON, two instances each, then many times renames one changed registration into
//! place and asks for it by UDP in a tight loop. What is measured is all of it: the file event, its two threads, reading,
//! compiling, publishing, a worker's next batch, and both ways through the loopback.
//!
//! - `-- --apps 100000`: so many apps (10,000). `--changes 1000`: so many changes.
//! - `--load 20000`: so many queries a second for other apps meanwhile.
//! - `--smoke`: a hundred apps and twenty changes, for a test of the benchmark itself.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SPACE: &str = "space: bench\ncidr: 10.0.0.0/8\napp_domains: [{name: herokuapp.com, own: exclusive}]\n";

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let apps = argument("--apps").unwrap_or(if smoke { 100 } else { 10_000 });
    let changes = argument("--changes").unwrap_or(if smoke { 20 } else { 1_000 });
    let load = argument("--load").unwrap_or(0);

    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    fs::write(directory.path().join("space.yaml"), SPACE).expect("it can be written to");
    for app in 0..apps {
        let file = directory.path().join(place_of(app));
        fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
        fs::write(file, registration(app, 0)).expect("it can be written");
    }
    let begun = Instant::now();
    let mut server = Server::start(directory.path());
    let socket = server.socket();
    while !holds(&ask(&socket, apps - 1, 0, Duration::from_millis(100)), address(apps - 1, 1, 0)) {
        server.assert_up(begun.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    println!("{apps} apps: first right answer after {:.2?}, PSS {:.1} MiB", begun.elapsed(), server.pss_mib());

    // The scans that follow the start are not what is asked.
    thread::sleep(Duration::from_millis(if smoke { 10 } else { 1_500 }));
    let ended = Arc::new(AtomicBool::new(false));
    let background = (load > 0).then(|| background(server.socket(), apps, load, Arc::clone(&ended)));
    let before = server.cpu();
    let mut asked = 0;
    let mut latencies: Vec<Duration> = (0..changes)
        .map(|change| {
            let app = scatter(change, apps);
            // Every app is changed as often as every other, so how often tells which version is next.
            let version = change / apps + 1;
            let (latency, queries) = time_one(directory.path(), &socket, app, version);
            asked += queries;
            thread::sleep(REST);
            latency
        })
        .collect();
    let cpu = server.cpu();
    ended.store(true, Ordering::Relaxed);
    let answered = background.map(|thread| thread.join().expect("it does not panic"));

    latencies.sort_unstable();
    let at = |share: usize| latencies.get((latencies.len() * share / 100).min(latencies.len() - 1)).copied();
    println!(
        "{changes} changes: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, max {:.2?}",
        at(50).unwrap_or_default(),
        at(90).unwrap_or_default(),
        at(99).unwrap_or_default(),
        at(100).unwrap_or_default()
    );
    let each = |spent: Duration| spent / changes;
    println!(
        "CPU a change: {:.0?} of the owner and its events, {:.0?} with answering {} queries",
        each(cpu.changing.saturating_sub(before.changing)),
        each(cpu.all.saturating_sub(before.all)),
        asked / changes,
    );
    if let Some(answered) = answered {
        println!("background: {load} queries a second offered, {answered} answered in all");
    }
}

/// Between two changes: long enough for the owner to be asleep again.
const REST: Duration = Duration::from_millis(3);

/// Renames a new version into place; how long until it is answered, and how many queries that took.
fn time_one(directory: &Path, socket: &UdpSocket, app: u32, version: u32) -> (Duration, u32) {
    let place = directory.join(place_of(app));
    let beside = directory.join(".beside");
    fs::write(&beside, registration(app, version)).expect("it can be written");
    let right = address(app, 1, version);
    let mut queries = 0;
    let begun = Instant::now();
    fs::rename(&beside, &place).expect("it can be renamed");
    loop {
        queries += 1;
        let id = u16::try_from(queries % 65_536).unwrap_or_default();
        if holds(&ask(socket, app, id, Duration::from_secs(1)), right) {
            return (begun.elapsed(), queries);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "app {app} version {version} is never answered");
    }
}

/// Offers so many queries a second, in bursts of a millisecond; yields how many were answered.
fn background(socket: UdpSocket, apps: u32, rate: u32, ended: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let reading = socket.try_clone().expect("a socket can be shared");
    let own = Arc::clone(&ended);
    let reader = thread::spawn(move || {
        let mut answered = 0;
        let mut response = [0; 1500];
        reading.set_read_timeout(Some(Duration::from_millis(100))).expect("it is not zero");
        while !own.load(Ordering::Relaxed) {
            answered += u64::from(reading.recv(&mut response).is_ok());
        }
        answered
    });
    thread::spawn(move || {
        let begun = Instant::now();
        let mut sent: u32 = 0;
        while !ended.load(Ordering::Relaxed) {
            let due = begun.elapsed().as_secs_f64() * f64::from(rate);
            while f64::from(sent) < due {
                let _ = socket.send(&query(scatter(sent, apps), 7));
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        reader.join().expect("it does not panic")
    })
}

/// Another app each time, each of them once before one comes again.
fn scatter(turn: u32, apps: u32) -> u32 {
    // A prime that no usual number of apps is a multiple of.
    let turn = u64::from(turn % apps) * 7_919;
    u32::try_from(turn % u64::from(apps)).unwrap_or_default()
}

fn name(app: u32) -> String {
    format!("app-{app:06}")
}

fn place_of(app: u32) -> String {
    let name = name(app);
    format!("instances/{}/{name}.json", name.split_at(8).0)
}

fn registration(app: u32, version: u32) -> String {
    let instance = |number| {
        let address = Ipv4Addr::from(address(app, number, version));
        format!(r#"{{"component": "web", "number": {number}, "address": "{address}"}}"#)
    };
    format!(r#"{{"app": "{}", "internal_routing": true, "instances": [{}, {}]}}"#, name(app), instance(1), instance(2))
}

/// The addresses of one version and the next are apart, and so are those of any two apps.
fn address(app: u32, number: u32, version: u32) -> [u8; 4] {
    let host = app * 2 + number + (version % 2) * 0x0040_0000;
    (0x0a00_0100 + host).to_be_bytes()
}

/// Asks for the address of an app's hostname.
fn ask(socket: &UdpSocket, app: u32, id: u16, patience: Duration) -> Vec<u8> {
    let query = query(app, id);
    socket.set_read_timeout(Some(patience)).expect("it is not zero");
    let mut response = vec![0; 1500];
    if socket.send(&query).is_err() {
        return Vec::new();
    }
    loop {
        match socket.recv(&mut response) {
            // Late responses to earlier queries are passed over.
            Ok(length) if response.starts_with(&id.to_be_bytes()) => {
                response.truncate(length);
                return response;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Vec::new(),
        }
    }
}

fn query(app: u32, id: u16) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in [name(app).as_str(), "herokuapp", "com", ""] {
        query.push(u8::try_from(label.len()).unwrap_or_default());
        query.extend(label.as_bytes());
    }
    query.extend([0, 1, 0, 1]);
    query
}

/// Whether a response has an A record with this address.
fn holds(response: &[u8], address: [u8; 4]) -> bool {
    let rdata = [&[0, 4][..], &address].concat();
    response.windows(rdata.len()).any(|octets| octets == rdata)
}

/// The number after a flag.
fn argument(flag: &str) -> Option<u32> {
    let value = std::env::args().skip_while(|argument| argument != flag).nth(1)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value}")))
}

/// The server under test; it ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
    /// What it says: shown when it does not come up.
    log: tempfile::NamedTempFile,
}

/// What threads have spent.
struct Cpu {
    /// All of them.
    all: Duration,
    /// Those that take changes in: the owner task and the thread of file events.
    changing: Duration,
}

impl Server {
    fn start(directory: &Path) -> Self {
        // Of TCP, which others on the machine are likelier to hold; the server needs both.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.expect("loopback has a free port");
        let log = tempfile::NamedTempFile::new().expect("a file of our own can be made");
        let child = Command::new(env!("CARGO_BIN_EXE_spacedns"))
            .arg("serve")
            .arg(directory)
            .args(["--listen", &address.to_string()])
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("it is there"))
            .spawn()
            .expect("the server can be started");
        Self { child, address, log }
    }

    fn assert_up(&mut self, waited: Duration) {
        let ended = self.child.try_wait().expect("it is a child of ours");
        if ended.is_some() || waited > Duration::from_secs(120) {
            let log = fs::read_to_string(self.log.path()).unwrap_or_default();
            panic!("the server does not come up ({ended:?}):\n{log}");
        }
    }

    fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(self.address).expect("loopback is there");
        socket
    }

    fn pss_mib(&self) -> f64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
    }

    fn cpu(&self) -> Cpu {
        let mut cpu = Cpu { all: Duration::ZERO, changing: Duration::ZERO };
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs").flatten() {
            let text = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let spent = text("schedstat").split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
            let spent = Duration::from_nanos(spent.unwrap_or_default());
            cpu.all += spent;
            if ["owner", "notify-rs inoti"].contains(&text("comm").trim()) {
                cpu.changing += spent;
            }
        }
        cpu
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
