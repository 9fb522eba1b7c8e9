//! What a forwarded answer from the cache costs, beside dnsmasq and Unbound: `cargo bench --bench forward`.
//!
//! Each server in turn forwards to the same fake upstream, has every name in its cache, and is asked for them in bursts over UDP. It
//! runs with one worker on one core, the load on another. What is measured is the CPU time of the whole server process for a query, its own
//! and the kernel's on its behalf. Rounds alternate between the servers, and the median of each counts. A server that is not
//! installed is left out, and that is said.
//!
//! - `-- --rounds 3`, `--seconds 5`, `--names 1000`: so many.
//! - `--binary FILE`: this spacedns instead of the one that was built with it.
//! - `--smoke`: one short round, for a test of the benchmark itself.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let rounds = argument("--rounds").unwrap_or(if smoke { 1 } else { 3 });
    let names = argument("--names").unwrap_or(if smoke { 50 } else { 1_000 });
    let period = Duration::from_secs(argument("--seconds").unwrap_or(5).into());
    let period = if smoke { Duration::from_millis(200) } else { period };

    // The load on the second core, and the servers on the first.
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-pc", "1", &own]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        println!("taskset cannot keep the load and the servers apart: read the figures with care");
    }
    let upstream = upstream();
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    let mut measured: Vec<(&str, Vec<Measured>)> = Vec::new();
    for (name, _) in SERVERS {
        if Command::new(program_of(name)).arg("--version").output().is_ok() {
            measured.push((name, Vec::new()));
        } else {
            println!("{name} is not installed, and not measured");
        }
    }
    for _ in 0..rounds {
        for (name, found) in &mut measured {
            let command = SERVERS.iter().find(|(other, _)| other == name).expect("it is one of them").1;
            let server = Server::start(name, command, directory.path(), upstream);
            found.push(server.measure(names, period));
        }
    }
    println!("{names} names in the cache, {rounds} rounds of {period:?}");
    println!("| server | CPU µs a query | queries a second | lost |\n|---|---|---|---|");
    for (name, found) in &mut measured {
        found.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let Some(Measured { cost, rate, lost }) = found.get(found.len() / 2) else { continue };
        let range =
            found.first().zip(found.last()).map(|(least, most)| format!("{:.2} to {:.2}", least.cost, most.cost));
        println!("| {name} | {cost:.2} ({}) | {rate:.0} | {lost} |", range.unwrap_or_default());
    }
}

/// What one round found.
struct Measured {
    /// Microseconds of CPU time a query.
    cost: f64,
    /// Responses a second.
    rate: f64,
    /// Queries without a response.
    lost: u64,
}

/// How to start a server that listens on the first address and forwards to the second.
type Start = fn(&Path, SocketAddr, SocketAddr) -> Vec<String>;

const SERVERS: [(&str, Start); 3] = [("spacedns", spacedns), ("dnsmasq", dnsmasq), ("unbound", unbound)];

fn program_of(name: &str) -> String {
    match name {
        "spacedns" => text("--binary").unwrap_or_else(|| env!("CARGO_BIN_EXE_spacedns").to_owned()),
        // Where a daemon is, and not every user's path has that.
        _ => ["/usr/sbin", "/usr/local/sbin"]
            .map(|directory| format!("{directory}/{name}"))
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or_else(|| name.to_owned()),
    }
}

fn spacedns(directory: &Path, listen: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let specs = directory.join("zones");
    fs::create_dir_all(&specs).expect("it can be made");
    // Something has to be declared: where there is no space, nobody may ask.
    let app = r#"{"app": "shop", "instances": [{"component": "web", "number": 1, "address": "10.0.130.56"}]}"#;
    fs::write(specs.join("shop.json"), app).expect("it can be written");
    ["serve".to_owned(), specs.display().to_string(), format!("--listen={listen}"), format!("--upstream={upstream}")]
        .into_iter()
        .chain(["--workers=1".to_owned()])
        .collect()
}

fn dnsmasq(directory: &Path, listen: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let pid = directory.join("dnsmasq.pid");
    [
        "--keep-in-foreground".to_owned(),
        "--conf-file=/dev/null".to_owned(),
        "--no-resolv".to_owned(),
        "--no-hosts".to_owned(),
        "--bind-interfaces".to_owned(),
        "--cache-size=10000".to_owned(),
        "--user=root".to_owned(),
        format!("--pid-file={}", pid.display()),
        format!("--listen-address={}", listen.ip()),
        format!("--port={}", listen.port()),
        format!("--server={}#{}", upstream.ip(), upstream.port()),
    ]
    .into()
}

fn unbound(directory: &Path, listen: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let file = directory.join("unbound.conf");
    let configuration = format!(
        "server:\n  interface: {}@{}\n  num-threads: 1\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  \
         directory: \"{}\"\n  pidfile: \"\"\n  use-syslog: no\n  verbosity: 0\n  do-not-query-localhost: no\n  \
         module-config: \"iterator\"\n  access-control: 127.0.0.0/8 allow\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \".\"\n  forward-addr: {}@{}\n",
        listen.ip(),
        listen.port(),
        directory.display(),
        upstream.ip(),
        upstream.port(),
    );
    fs::write(&file, configuration).expect("it can be written");
    vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()]
}

/// A server under test; it ends with this.
struct Server {
    child: Child,
    socket: UdpSocket,
}

impl Server {
    fn start(name: &str, arguments: Start, directory: &Path, upstream: SocketAddr) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let listen = port.expect("loopback has a free port");
        let child = Command::new("taskset")
            .args(["-c", "0", &program_of(name)])
            .args(arguments(directory, listen, upstream))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(listen).expect("loopback is there");
        Self { child, socket }
    }

    /// Has every name in the cache, then asks for a while.
    fn measure(&self, names: u32, period: Duration) -> Measured {
        let begun = Instant::now();
        let queries: Vec<Vec<u8>> = (0..names).map(query).collect();
        let mut response = [0; 1500];
        self.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("it is not zero");
        for query in &queries {
            // Once, or until it is up.
            while self.socket.send(query).is_err() || !is_answer(self.socket.recv(&mut response), &response) {
                assert!(begun.elapsed() < Duration::from_secs(60), "the server does not come up");
                thread::sleep(Duration::from_millis(20));
            }
        }
        let (mut answered, mut lost) = (0, 0);
        let mut next = queries.iter().cycle();
        let (cpu, begun) = (self.cpu(), Instant::now());
        while begun.elapsed() < period {
            for query in next.by_ref().take(BURST) {
                let _ = self.socket.send(query);
            }
            for _ in 0..BURST {
                if is_answer(self.socket.recv(&mut response), &response) { answered += 1 } else { lost += 1 }
            }
        }
        let (spent, passed) = (self.cpu().saturating_sub(cpu), begun.elapsed());
        let count = f64::from(answered);
        Measured { cost: spent.as_secs_f64() * 1e6 / count, rate: count / passed.as_secs_f64(), lost }
    }

    /// What all threads have spent.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let spent = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a response came, with one record in its answer.
fn is_answer(received: std::io::Result<usize>, response: &[u8]) -> bool {
    received.is_ok_and(|length| length > 12)
        && response.get(3).is_some_and(|flags| flags & 0x0f == 0)
        && response.get(7) == Some(&1)
}

/// A server that answers every question with one address, for an hour.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let question_end = query.iter().skip(12).position(|octet| *octet == 0).map_or(length, |root| 12 + root + 5);
            let mut response = query.get(..question_end).unwrap_or_default().to_vec();
            if let Some(header) = response.first_chunk_mut::<12>() {
                *header = [header[0], header[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            }
            response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1]);
            let _ = socket.send_to(&response, from);
        }
    });
    address
}

fn query(number: u32) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [&format!("host-{number:05}"), "bench", "example", "org", ""] {
        query.push(u8::try_from(label.len()).unwrap_or_default());
        query.extend(label.as_bytes());
    }
    query.extend([0, 1, 0, 1]);
    query
}

/// The text after a flag.
fn text(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}

/// The number after a flag.
fn argument(flag: &str) -> Option<u32> {
    let value = text(flag)?;
    Some(value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value}")))
}

/// Queries that are sent before their responses are read.
const BURST: usize = 64;
