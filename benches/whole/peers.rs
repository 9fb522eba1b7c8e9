//! The servers that are measured: how each is configured, started, asked and ended.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{self, Outcome};

/// What this server is called in the tables.
pub(crate) const OURS: &str = "spacedns";
/// The machine's limit.
pub(crate) const ECHO: &str = "echo (limit)";

/// One server, started or not.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// From start to first right answer.
    pub(crate) ready: Duration,
    command: Vec<String>,
    address: String,
    log: PathBuf,
    child: Option<Child>,
}

/// Every server there is, with its configuration in `directory`, each on a port of its own.
pub(crate) fn all(directory: &Path, only: Option<&[String]>) -> Vec<Peer> {
    let at = |path: &str| directory.join(path).display().to_string();
    let this = std::env::current_exe().expect("a program knows itself").display().to_string();
    let mut peers = vec![
        peer(directory, ECHO, |address| [this.as_str(), "echo", address].map(str::to_owned).to_vec()),
        peer(directory, OURS, |address| {
            let binary = env!("CARGO_BIN_EXE_spacedns");
            [binary, "serve", &at("spec"), "--listen", address, "--workers", "1"].map(str::to_owned).to_vec()
        }),
        peer(directory, "gdnsd", |address| {
            for folder in ["gdnsd/zones", "gdnsd/run", "gdnsd/state"] {
                fs::create_dir_all(at(folder)).expect("it can be made");
            }
            fs::copy(at("zone"), at("gdnsd/zones/herokuapp.com")).expect("it can be copied");
            let (run, state) = (at("gdnsd/run"), at("gdnsd/state"));
            let text = format!(
                "options => {{ listen => {address}, udp_threads = 1, tcp_threads = 1, run_dir = {run}, state_dir = {state} }}\n"
            );
            fs::write(at("gdnsd/config"), text).expect("it can be written");
            ["gdnsd", "-c", &at("gdnsd"), "start"].map(str::to_owned).to_vec()
        }),
        peer(directory, "Knot", |address| {
            fs::create_dir_all(at("knot")).expect("it can be made");
            let (listen, run, zone) = (address.replace(':', "@"), at("knot"), at("zone"));
            let text = format!(
                "server:\n    listen: {listen}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n    rundir: {run}\n\
                 database:\n    storage: {run}\nzone:\n  - domain: herokuapp.com\n    file: {zone}\n    zonefile-sync: -1\n    journal-content: none\n"
            );
            fs::write(at("knot.conf"), text).expect("it can be written");
            ["knotd", "-c", &at("knot.conf")].map(str::to_owned).to_vec()
        }),
        peer(directory, "NSD", |address| {
            fs::create_dir_all(at("nsd")).expect("it can be made");
            let (listen, home, zone) = (address.replace(':', "@"), at("nsd"), at("zone"));
            let text = format!(
                "server:\n  ip-address: {listen}\n  server-count: 1\n  username: \"\"\n  zonesdir: {home}\n  database: \"\"\n  pidfile: {home}/p\n  \
                 xfrdfile: {home}/x\n  zonelistfile: {home}/z\n  rrl-ratelimit: 0\n  minimal-responses: yes\nremote-control:\n  control-enable: no\n\
                 zone:\n  name: herokuapp.com\n  zonefile: {zone}\n"
            );
            fs::write(at("nsd.conf"), text).expect("it can be written");
            ["nsd", "-d", "-c", &at("nsd.conf")].map(str::to_owned).to_vec()
        }),
        peer(directory, "dnsmasq", |address| {
            let port = address.rsplit_once(':').map_or("", |(_, port)| port);
            let (hosts, pid) = (at("hosts"), at("dnsmasq.pid"));
            let text = format!(
                "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\naddn-hosts={hosts}\nlocal=/herokuapp.com/\n\
                 local-ttl=5\nuser=root\npid-file={pid}\n"
            );
            fs::write(at("dnsmasq.conf"), text).expect("it can be written");
            ["dnsmasq", "-k", "-C", &at("dnsmasq.conf")].map(str::to_owned).to_vec()
        }),
    ];
    let is_wanted = |name: &str| {
        [ECHO, OURS].contains(&name)
            || only.is_none_or(|only| only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)))
    };
    peers.retain(|peer| is_wanted(peer.name));
    peers
}

fn peer(directory: &Path, name: &'static str, command: impl FnOnce(&str) -> Vec<String>) -> Peer {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("loopback has a free port").to_string();
    let log = directory.join(format!("{}.log", name.split(' ').next().unwrap_or_default()));
    Peer { name, ready: Duration::ZERO, command: command(&address), address, log, child: None }
}

impl Peer {
    /// Starts it on the first core and waits for its first right answer.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not come up: why.
    pub(crate) fn start(mut self, hit: &Path) -> Result<Self, String> {
        let program = &self.command[0];
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let is_there =
            Path::new(program).is_absolute() || path.split(':').any(|folder| Path::new(folder).join(program).exists());
        if !is_there {
            return Err(format!("{program} is not installed: not measured"));
        }
        let log = fs::File::create(&self.log).expect("it can be written");
        let begun = Instant::now();
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]).args(&self.command).env("PATH", path).process_group(0).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().expect("it can be shared")).stderr(log).spawn();
        self.child = Some(child.map_err(|error| format!("taskset: {error}: not measured"))?);
        loop {
            let outcome = self.ask(hit, 0.05, 0);
            if outcome.answered > 0 && outcome.with_answer > 0.999 {
                self.ready = begun.elapsed();
                return Ok(self);
            }
            if begun.elapsed() > START_MAX
                || self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
            {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{} does not come up: not measured\n{log}", self.name));
            }
        }
    }

    /// Asks what `file` says for so long, as fast as it answers or at `rate` queries a second.
    pub(crate) fn ask(&mut self, file: &Path, seconds: f64, rate: u32) -> Outcome {
        let this = std::env::current_exe().expect("a program knows itself");
        let before = self.cpu();
        let output = Command::new("taskset")
            .args(["-c", LOAD_CORE])
            .arg(this)
            .args(["load", &self.address])
            .arg(file)
            .args([seconds.to_string(), rate.to_string()])
            .output()
            .expect("taskset (util-linux) can be run");
        let mut outcome = load::read(&output.stdout);
        let spent = self.cpu().saturating_sub(before);
        outcome.cpu_us = spent.as_secs_f64() * 1e6 / (outcome.answered.max(1) as f64);
        outcome
    }

    pub(crate) fn pss_mib(&self) -> f64 {
        let sizes = self.processes().into_iter().filter_map(|id| {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        });
        sizes.sum::<f64>() / 1024.0
    }

    /// User and system time of it and its children, threads and all.
    fn cpu(&self) -> Duration {
        let spent =
            self.processes().into_iter().flat_map(|id| fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten());
        let spent = spent.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut todo: Vec<u32> = self.child.iter().map(Child::id).collect();
        while let Some(id) = todo.pop() {
            found.push(id);
            for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                todo.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        found
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Children first: NSD's parent would start them again, and Knot's leave nothing behind.
        for id in self.processes().into_iter().rev() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// The core of whoever is measured, and that of the load.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// How long a server may take to read its names.
const START_MAX: Duration = Duration::from_secs(120);
