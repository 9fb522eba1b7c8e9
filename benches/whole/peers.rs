//! The servers that are measured: how each is configured, started and asked.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use super::harness::asking::Asker;
use super::harness::load::{A_RECORD, echo_command};
use super::harness::server::{Core, Server, free_address, spacedns};
use super::names;

/// What this server is called in the tables.
pub(crate) const OURS: &str = "spacedns";
/// The machine's limit.
pub(crate) const ECHO: &str = "echo";
/// The fastest of the others, which we are held against.
pub(crate) const RIVAL: &str = "gdnsd";

/// A server at work.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// From start to first right answer.
    pub(crate) ready: Duration,
    pub(crate) server: Server,
}

/// Writes a server's configuration and yields the command that starts it at an address.
type Configure = fn(&Path, SocketAddrV4) -> Vec<String>;

/// Starts every server there is on the names in `directory`, each on a port of its own, and says which are not here.
pub(crate) fn start_all(directory: &Path, count: u32, only: &[String]) -> Vec<Peer> {
    let is_wanted = |name: &str| {
        [ECHO, OURS].contains(&name) || only.is_empty() || only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let commands: [(&str, Configure); 6] = [
        (ECHO, |_, address| echo_command(address, A_RECORD)),
        (OURS, |directory, address| spacedns(&directory.join(names::SPEC), address, &["--workers", "1"])),
        (RIVAL, gdnsd),
        ("Knot", knot),
        ("NSD", nsd),
        ("dnsmasq", dnsmasq),
    ];
    let wanted = commands.into_iter().filter(|(name, _)| is_wanted(name));
    let started = wanted.filter_map(|(name, command)| {
        let (address, prefix) = (free_address(), Core::Server.prefix());
        let command = command(directory, address);
        let started = if name == ECHO {
            start(name, &command, address, &prefix, |server| asker(server).ask("echo", 1).is_some())
        } else {
            start(name, &command, address, &prefix, answers_the_last_of(count))
        };
        started.inspect_err(|why| println!("{name}: {why}")).ok()
    });
    started.collect()
}

/// Starts one server and waits until it is ready.
///
/// # Errors
///
/// It is not installed, or does not come up: why.
pub(crate) fn start(
    name: &str,
    command: &[String],
    address: SocketAddrV4,
    prefix: &[String],
    is_ready: impl FnMut(&Server) -> bool,
) -> Result<Peer, String> {
    let mut server = Server::start(prefix, command, address)?;
    let ready = server.wait_until(is_ready)?;
    Ok(Peer { name: name.to_owned(), ready, server })
}

/// Whether a server gives the address of the last of so many names.
pub(crate) fn answers_the_last_of(count: u32) -> impl Fn(&Server) -> bool {
    let (last, right) = (names::host(count - 1), names::address(count - 1));
    move |server| asker(server).finds(&last, right)
}

fn asker(server: &Server) -> Asker {
    Asker::new(server.address.into(), Duration::from_millis(50))
}

fn gdnsd(directory: &Path, address: SocketAddrV4) -> Vec<String> {
    let at = |path: &str| directory.join(path).display().to_string();
    for folder in ["gdnsd/zones", "gdnsd/run", "gdnsd/state"] {
        fs::create_dir_all(at(folder)).expect("it can be made");
    }
    fs::copy(at(names::ZONE), at("gdnsd/zones/herokuapp.com")).expect("it can be copied");
    let (run, state) = (at("gdnsd/run"), at("gdnsd/state"));
    let text = format!(
        "options => {{ listen => {address}, udp_threads = 1, tcp_threads = 1, run_dir = {run}, state_dir = {state} }}\n"
    );
    fs::write(at("gdnsd/config"), text).expect("it can be written");
    ["gdnsd", "-c", &at("gdnsd"), "start"].map(str::to_owned).to_vec()
}

fn knot(directory: &Path, address: SocketAddrV4) -> Vec<String> {
    let at = |path: &str| directory.join(path).display().to_string();
    fs::create_dir_all(at("knot")).expect("it can be made");
    let (ip, port, run, zone) = (address.ip(), address.port(), at("knot"), at(names::ZONE));
    let text = format!(
        "server:\n    listen: {ip}@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n    rundir: {run}\n\
         database:\n    storage: {run}\nzone:\n  - domain: herokuapp.com\n    file: {zone}\n    zonefile-sync: -1\n    journal-content: none\n"
    );
    fs::write(at("knot.conf"), text).expect("it can be written");
    ["knotd", "-c", &at("knot.conf")].map(str::to_owned).to_vec()
}

fn nsd(directory: &Path, address: SocketAddrV4) -> Vec<String> {
    let at = |path: &str| directory.join(path).display().to_string();
    fs::create_dir_all(at("nsd")).expect("it can be made");
    let (ip, port, home, zone) = (address.ip(), address.port(), at("nsd"), at(names::ZONE));
    let text = format!(
        "server:\n  ip-address: {ip}@{port}\n  server-count: 1\n  username: \"\"\n  zonesdir: {home}\n  database: \"\"\n  pidfile: {home}/p\n  \
         xfrdfile: {home}/x\n  zonelistfile: {home}/z\n  rrl-ratelimit: 0\n  minimal-responses: yes\nremote-control:\n  control-enable: no\n\
         zone:\n  name: herokuapp.com\n  zonefile: {zone}\n"
    );
    fs::write(at("nsd.conf"), text).expect("it can be written");
    ["nsd", "-d", "-c", &at("nsd.conf")].map(str::to_owned).to_vec()
}

fn dnsmasq(directory: &Path, address: SocketAddrV4) -> Vec<String> {
    let at = |path: &str| directory.join(path).display().to_string();
    let (port, hosts, pid) = (address.port(), at(names::HOSTS), at("dnsmasq.pid"));
    let text = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\naddn-hosts={hosts}\nlocal=/herokuapp.com/\n\
         local-ttl=5\nuser=root\npid-file={pid}\n"
    );
    fs::write(at("dnsmasq.conf"), text).expect("it can be written");
    ["dnsmasq", "-k", "-C", &at("dnsmasq.conf")].map(str::to_owned).to_vec()
}
