//! What a forwarded answer from the cache costs, beside dnsmasq and Unbound: `cargo bench --bench forward`.
//!
//! Each server in turn forwards to the same fake upstream, has every name in its cache, and is asked for them in bursts over UDP. It
//! runs with one worker on one core, the load on another. What is measured is the CPU time of the whole server process for a query, its own
//! and the kernel's on its behalf. Rounds alternate between the servers, and the median of each counts. A server that is not
//! installed is left out, and that is said.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

mod harness;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::Parser;

use harness::asking::Asker;
use harness::figures::Spread;
use harness::load::{Outcome, Plan, play_role};
use harness::options::Mode;
use harness::server::{Core, SPACEDNS, Server, free_address, is_installed};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench forward --")]
struct Settings {
    /// So many names, all of them in the cache
    #[arg(long, default_value_t = 1_000)]
    names: u32,
    /// How often each server is measured
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long each time
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// This spacedns and not the one that was built with it
    #[arg(long, default_value = SPACEDNS)]
    binary: String,
    #[command(flatten)]
    mode: Mode,
}

fn main() {
    play_role();
    let mut settings = Settings::parse();
    if settings.mode.smoke {
        settings = Settings { names: 50, rounds: 1, seconds: 0.2, ..settings };
    }
    let upstream = upstream();
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    let queries = directory.path().join("queries");
    let lines: Vec<String> = (0..settings.names).map(|number| format!("{} A", name(number))).collect();
    fs::write(&queries, lines.join("\n")).expect("it can be written");
    let servers: [(&str, &str, Configure); 3] =
        [("spacedns", &settings.binary, spacedns), ("Unbound", "unbound", unbound), ("dnsmasq", "dnsmasq", dnsmasq)];
    let mut measured: Vec<(&str, Server, Vec<Outcome>)> = Vec::new();
    for (name, program, configure) in servers {
        if is_installed(program) {
            measured.push((name, start(program, configure, directory.path(), upstream, settings.names), Vec::new()));
        } else {
            println!("{name} is not installed, and not measured");
        }
    }
    for _ in 0..settings.rounds {
        for (name, server, outcomes) in &mut measured {
            let outcome = ask(server, &queries, settings.seconds);
            assert!(outcome.answered > 0 && outcome.with_answer > 0.999, "{name} does not answer right: {outcome:?}");
            outcomes.push(outcome);
        }
    }
    println!("{} names in the cache, {} rounds\n", settings.names, settings.rounds);
    println!("| Server | CPU µs a query | of Unbound | queries a second | lost |\n|---|---|---|---|---|");
    let unbound = measured.iter().find(|(name, _, _)| *name == "Unbound").map(|(_, _, outcomes)| outcomes);
    for (name, _, outcomes) in &measured {
        let cost = Spread::of(outcomes.iter().map(|outcome| outcome.cpu_us));
        let rate = Spread::of(outcomes.iter().map(|outcome| outcome.qps));
        let ratio = unbound.map_or_else(
            || "-".to_owned(),
            |others| {
                let ratios = outcomes.iter().zip(others).map(|(own, other)| own.cpu_us / other.cpu_us);
                Spread::of(ratios).print(2)
            },
        );
        let lost: u64 = outcomes.iter().map(|outcome| outcome.lost).sum();
        println!("| {name} | {:.2} | {ratio} | {:.0} | {lost} |", cost.median, rate.median);
    }
}

/// Asks with as many queries in flight as every server here has room for.
fn ask(server: &Server, queries: &Path, seconds: f64) -> Outcome {
    Plan::new(server.address, queries.to_owned(), seconds).ask(server, &Core::Load.prefix())
}

/// Starts a server and has every name in its cache.
fn start(program: &str, configure: Configure, directory: &Path, upstream: SocketAddr, names: u32) -> Server {
    let address = free_address();
    let mut command = vec![program.to_owned()];
    command.extend(configure(directory, address, upstream));
    let mut server =
        Server::start(&Core::Server.prefix(), &command, address).unwrap_or_else(|why| panic!("{program}: {why}"));
    let mut asker = Asker::new(address.into(), Duration::from_millis(300));
    for number in 0..names {
        let answered = server.wait_until(|_| asker.finds(&name(number), ANSWER));
        answered.unwrap_or_else(|why| panic!("{program}: {why}"));
    }
    server
}

/// The arguments of a server that listens on the first address and forwards to the second.
type Configure = fn(&Path, SocketAddrV4, SocketAddr) -> Vec<String>;

fn spacedns(directory: &Path, listen: SocketAddrV4, upstream: SocketAddr) -> Vec<String> {
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

fn dnsmasq(directory: &Path, listen: SocketAddrV4, upstream: SocketAddr) -> Vec<String> {
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

fn unbound(directory: &Path, listen: SocketAddrV4, upstream: SocketAddr) -> Vec<String> {
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

/// What the upstream gives for every name.
const ANSWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn name(number: u32) -> String {
    format!("host-{number:05}.bench.example.org")
}
