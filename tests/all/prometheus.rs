//! Debian's Prometheus, with the configuration and the rules that are shipped: it scrapes a server and an alert fires for each thing
//! that an operator has to be told of, while users notice none of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::admin::get;
use crate::examples::repository;
use crate::files::{can_mount, inside, serve_mounted};
use crate::message::Query;
use crate::process::{PATIENCE, drop_file, is_installed, poll};
use crate::upstream::Upstream;

/// What is wrong in the test, and the alert that is to say so.
const ALERTS: [&str; 5] = [
    "SpacednsFileBroken",
    "SpacednsLeaseExpired",
    "SpacednsRemovalHeld",
    "SpacednsUpstreamDown",
    "SpacednsUpstreamsDead",
];

#[test]
fn prometheus_scrapes_a_server_and_each_alert_fires_for_what_is_wrong() {
    let test = "prometheus_scrapes_a_server_and_each_alert_fires_for_what_is_wrong";
    if !is_installed("prometheus") {
        return println!("NOT RUN: prometheus is not here, and the rules were fired by nothing real");
    }
    if !can_mount(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", "space: acme\ncidr: 10.0.0.0/8\n");
    drop_file(directory.path(), "shop.yaml", "app: shop\ninternal_routing: true\n");
    for number in 1..=20 {
        let registration =
            format!(r#"{{"app": "shop", "component": "web", "number": {number}, "address": "10.1.0.{number}"}}"#);
        drop_file(directory.path(), &format!("instances/{number}.json"), &registration);
    }
    // One that never answers beside one that does, and one that never does alone, which is most of what is asked.
    let (dead, well) =
        (Upstream::start(|_| Vec::new()), Upstream::start(|asked| vec![asked.answer([192, 0, 2, 1], 60)]));
    let alone = format!("--upstream=alone.example={}", dead.address);
    let beside = [dead.address, well.address].map(|address| format!("--upstream={address}"));
    let arguments = ["--admin", "127.0.0.1:0", "--removal-hold", "1h", &alone, &beside[0], &beside[1]];
    let server = serve_mounted(":", directory.path(), &arguments);
    let prometheus = Prometheus::start(server.admin());
    let scraped = poll(PATIENCE, || (prometheus.targets()["health"] == "up").then_some(()));
    assert!(scraped.is_some(), "{}\n{}", prometheus.targets(), prometheus.said());
    let calm = poll(PATIENCE, || prometheus.firing().is_empty().then_some(()));
    assert!(calm.is_some(), "all is well, and yet: {:?}", prometheus.firing());

    drop_file(directory.path(), "broken.yaml", "app: [\n");
    drop_file(
        directory.path(),
        "brief.json",
        r#"{"app": "brief", "component": "web", "number": 1, "address": "10.2.0.1", "lease": "5s"}"#,
    );
    inside(&server, &format!("mount -t tmpfs none {}", directory.path().join("instances").display()));
    server.signal("HUP");
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.connect(server.address).unwrap();
    let wanted: BTreeSet<String> = ALERTS.map(str::to_owned).into();
    let mut number = 0;
    let fired = poll(PATIENCE * 3, || {
        for zone in ["alone.example", "alone.example", "alone.example", "example"] {
            number += 1;
            // What is too much to ask of a dead upstream at once is refused, and fails as well.
            let _ = client.send(&Query::new(&format!("n{number}.{zone}"), 1).octets());
        }
        prometheus.firing().is_superset(&wanted).then_some(())
    });
    assert!(fired.is_some(), "{:?}\n{}\n{}", prometheus.firing(), server.log(), get(server.admin(), "/metrics").body);
    // Who it is, the status says and no label does.
    let upstreams = get(server.admin(), "/status").json()["upstreams"].clone();
    let states: Vec<&str> = upstreams.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["down", "down", "up"], "{upstreams}");
    assert_eq!((&upstreams[1]["server"], &upstreams[1]["zone"]), (&dead.address.to_string().into(), &".".into()));
    let down: BTreeSet<String> = prometheus.labels("SpacednsUpstreamDown", "upstream");
    assert_eq!(down, ["1", "2"].map(str::to_owned).into());
    let metrics = get(server.admin(), "/metrics").body;
    for told in [dead.address.ip().to_string(), "alone.example".to_owned()] {
        assert!(!metrics.contains(&told), "{told} is in the metrics");
    }
    // And what is mended is no alert any more.
    drop_file(directory.path(), "broken.yaml", "app: mended\ninternal_routing: true\n");
    inside(&server, &format!("umount {}", directory.path().join("instances").display()));
    server.signal("HUP");
    let mended = poll(PATIENCE, || {
        let firing = prometheus.firing();
        (!firing.contains("SpacednsFileBroken") && !firing.contains("SpacednsRemovalHeld")).then_some(())
    });
    assert!(mended.is_some(), "{:?}\n{}", prometheus.firing(), server.log());
}

/// A Prometheus with a directory and a port of its own.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    home: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` once a second, as the shipped configuration says; its rules do not wait.
    fn start(target: SocketAddr) -> Self {
        let shipped = |file: &str| fs::read_to_string(repository().join("deploy/prometheus").join(file)).unwrap();
        let home = tempfile::tempdir().unwrap();
        let (scrape, rules) = (shipped("scrape.yaml"), shipped("alerts.yaml"));
        assert!(scrape.contains("127.0.0.1:9153") && rules.contains("        for: "));
        let often = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n";
        let scrape = scrape.replace("127.0.0.1:9153", &target.to_string());
        fs::write(home.path().join("prometheus.yaml"), format!("{often}{scrape}")).unwrap();
        let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with("        for: ")).collect();
        fs::write(home.path().join("alerts.yaml"), rules.join("\n")).unwrap();
        let said = || Stdio::from(File::options().append(true).create(true).open(home.path().join("said")).unwrap());
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]);
        command.current_dir(home.path()).process_group(0).stdin(Stdio::null()).stdout(said()).stderr(said());
        let child = command.spawn().unwrap();
        let mut prometheus = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into(), home };
        let port = poll(PATIENCE, || {
            let said = prometheus.said();
            let (_, after) = said.split_once("msg=\"Listening on\" address=127.0.0.1:")?;
            after.split_whitespace().next()?.parse().ok()
        });
        prometheus.address.set_port(port.unwrap_or_else(|| panic!("it does not listen:\n{}", prometheus.said())));
        let ready =
            poll(PATIENCE, || prometheus.exchange("/-/ready").is_ok_and(|told| told.contains("200 OK")).then_some(()));
        assert!(ready.is_some(), "{}", prometheus.said());
        prometheus
    }

    /// The alerts that fire.
    fn firing(&self) -> BTreeSet<String> {
        self.alerts().iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// The values of a label among those of an alert that fire.
    fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let alerts = self.alerts().into_iter().filter(|alert| alert["labels"]["alertname"] == name);
        alerts.map(|alert| alert["labels"][label].as_str().unwrap().to_owned()).collect()
    }

    fn alerts(&self) -> Vec<serde_json::Value> {
        let told = self.ask("/api/v1/alerts");
        let alerts = told["data"]["alerts"].as_array().unwrap().iter();
        alerts.filter(|alert| alert["state"] == "firing").cloned().collect()
    }

    /// What it says of what it scrapes.
    fn targets(&self) -> serde_json::Value {
        self.ask("/api/v1/targets?state=active")["data"]["activeTargets"][0].clone()
    }

    fn ask(&self, target: &str) -> serde_json::Value {
        let told = self.exchange(target).unwrap_or_else(|error| panic!("{target}: {error}\n{}", self.said()));
        let (_, body) = told.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{target}: {told}"));
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    /// One request. HTTP/1.0: it ends with the connection, and comes in one piece.
    fn exchange(&self, target: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {target} HTTP/1.0\r\n\r\n")?;
        let mut told = String::new();
        stream.read_to_string(&mut told)?;
        Ok(told)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
