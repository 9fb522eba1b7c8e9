//! The admin address: what each page says of the real server, who is let in, and that receipts are true.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::message::{Query, Response};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\nttl: 2\nnegative_ttl: 1\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n";

/// A response: its code, its head and its body.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn get(admin: SocketAddr, target: &str) -> Page {
    send(admin, &format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\n\r\n"))
}

fn send(admin: SocketAddr, request: &str) -> Page {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response to {request:?}: {text:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { code, head: head.to_owned(), body: body.to_owned() }
}

fn registration(address: &str) -> String {
    format!(r#"{{"app": "shop", "component": "web", "number": 1, "address": "{address}"}}"#)
}

fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn wait(admin: SocketAddr, file: &str, text: &str) -> Value {
    get(admin, &format!("/wait?file={file}&sha256={}&for=30000", sha256(text))).json()
}

fn started(files: &[(&str, &str)]) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [("space.yaml", SPACE), ("shop.yaml", APP)].iter().chain(files) {
        drop_file(directory.path(), file, text);
    }
    let server = Server::spacedns(directory.path());
    (directory, server)
}

fn addresses(server: &Server, name: &str) -> Vec<String> {
    let query = Query::new(name, 1);
    let response = server.ask(&query.octets(), PATIENCE).expect("a response");
    Response::read(&response).unwrap().answer.into_iter().map(|record| record.rdata).collect()
}

#[test]
fn status_tells_of_every_file_its_state_its_hash_and_its_faults() {
    let good = registration("10.0.1.1");
    let (directory, server) = started(&[("web.1.json", &good), ("broken.json", "{\"app\": \"shop\",\n \"nmber\": [}")]);
    let admin = server.admin();
    let status = get(admin, "/status").json();
    assert_eq!((status["readiness"].as_str(), status["generation"].as_u64()), (Some("ready"), Some(1)), "{status}");
    assert_eq!(status["directory"], directory.path().to_str().unwrap());
    assert_eq!(status["counts"], serde_json::json!({"ok": 3, "stale": 0, "rejected": 1, "expired": 0}));
    let files: Vec<&str> =
        status["files"].as_array().unwrap().iter().map(|file| file["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["broken.json", "shop.yaml", "space.yaml", "web.1.json"]);
    let broken = &status["files"][0];
    assert_eq!((broken["state"].as_str(), &broken["sha256"]), (Some("rejected"), &Value::Null));
    assert_eq!(broken["faults"][0]["line"], 2);
    assert!(broken["faults"][0]["remedy"].is_string());
    let web = &status["files"][3];
    assert_eq!(web["sha256"], sha256(&good));
    assert_eq!((web["state"].as_str(), web["generation"].as_u64()), (Some("ok"), Some(1)));

    // The last good version stays, and is told apart from the one that is at fault.
    drop_file(directory.path(), "web.1.json", "{");
    let one = poll(PATIENCE, || {
        let status = get(admin, "/status?file=web.1.json").json();
        (status["files"][0]["state"] == "stale").then(|| status["files"][0].clone())
    });
    let one = one.expect("it goes stale");
    assert_eq!((&one["sha256"], &one["rejected_sha256"]), (&sha256(&good).into(), &sha256("{").into()));
    assert_eq!(get(admin, "/status?file=none.json").json()["files"], serde_json::json!([]));
}

#[test]
fn status_pages_through_many_files_and_selects_by_state() {
    let (directory, server) = started(&[("a.json", "{"), ("b.json", "{"), ("c.json", "{")]);
    let admin = server.admin();
    let first = get(admin, "/status?state=rejected&most=2").json();
    assert_eq!(first["files"].as_array().unwrap().len(), 2);
    assert_eq!(first["next"], "b.json");
    let second = get(admin, "/status?state=rejected&most=2&after=b.json").json();
    assert_eq!(second["files"][0]["file"], "c.json");
    assert_eq!(second["next"], Value::Null);
    for wrong in ["/status?state=bad", "/status?most=x", "/status?colour=red"] {
        assert_eq!(get(admin, wrong).code, 400, "{wrong}");
    }
    drop(directory);
}

#[test]
fn a_lease_that_ran_out_shows() {
    let leased = r#"{"app": "shop", "component": "web", "number": 1, "address": "10.0.1.1", "lease": "5s"}"#;
    let (_directory, server) = started(&[("web.1.json", leased)]);
    let admin = server.admin();
    assert_eq!(get(admin, "/status?file=web.1.json").json()["files"][0]["state"], "ok");
    let expired = poll(PATIENCE, || {
        let file = get(admin, "/status?file=web.1.json").json()["files"][0].clone();
        (file["state"] == "expired").then_some(file)
    });
    let expired = expired.expect("it runs out after 5 s");
    assert!(expired["faults"][0]["fault"].as_str().unwrap().starts_with("the lease ran out 2"), "{expired}");
    assert_eq!(wait(admin, "web.1.json", leased)["receipt"], "rejected");
}

#[test]
fn livez_and_readyz_say_yes_of_a_server_that_answers() {
    let (_directory, server) = started(&[]);
    for (page, word) in [("/livez", "live\n"), ("/readyz", "ready\n")] {
        let page = get(server.admin(), page);
        assert_eq!((page.code, page.body.as_str()), (200, word));
        assert!(page.head.contains("no-store"), "{page:?}");
    }
}

#[test]
fn readyz_says_no_until_the_files_are_read() {
    // Whoever looks too late has seen nothing; that cannot go on for ever.
    let seen = (0..10).any(|_| codes_of_a_start() == [503, 200]);
    assert!(seen, "no start was ever seen not to be ready");
}

/// What `/readyz` says, one after the other, while a server starts.
fn codes_of_a_start() -> Vec<u16> {
    // A YAML file without a last line feed that was just written holds the first snapshot back for a second.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.yaml"), APP.trim_end()).unwrap();
    let mut child = serve(directory.path(), &["--admin=127.0.0.1:0"]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let admin: SocketAddr = loop {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
        if let Some((_, after)) = line.split_once("http://") {
            break after.split('/').next().unwrap().parse().unwrap();
        }
    };
    let mut codes = Vec::new();
    let ready = poll(PATIENCE, || {
        codes.push(get(admin, "/readyz").code);
        (codes.last() == Some(&200)).then_some(())
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(ready.is_some(), "{codes:?}");
    codes.dedup();
    codes
}

#[test]
fn what_is_asked_in_a_wrong_way_is_told_so() {
    let (_directory, server) = started(&[]);
    let admin = server.admin();
    let codes = [
        ("GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 404),
        ("POST /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".to_owned(), 405),
        ("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
        ("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /wait?file=a.json&sha256=12 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        (format!("GET /status HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000)), 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, code) in codes {
        let page = send(admin, &request);
        assert_eq!(page.code, code, "{page:?}");
    }
    for file in ["../shop.yaml", "/etc/passwd.json", ".hidden.json", "a//b.json", "shop.txt", ""] {
        let receipt = get(admin, &format!("/wait?file={file}&gone=1")).json();
        assert_eq!(receipt["receipt"], "rejected", "{file}: {receipt}");
    }
}

#[test]
fn who_only_sits_there_keeps_nobody_out() {
    let (_directory, server) = started(&[]);
    let admin = server.admin();
    let idle: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(admin).unwrap()).collect();
    assert_eq!(get(admin, "/readyz").code, 200);
    // A request that never ends is given up on; the oldest went long before.
    let mut oldest = &idle[0];
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(oldest.read(&mut [0; 16]).unwrap_or(0), 0);
}

#[test]
fn a_receipt_comes_when_no_answer_is_older() {
    let (directory, server) = started(&[]);
    let admin = server.admin();
    for turn in 0..200 {
        let address = format!("10.0.{}.{}", 1 + turn / 100, 1 + turn % 100);
        let text = registration(&address);
        drop_file(directory.path(), "instances/web.1.json", &text);
        let receipt = wait(admin, "instances/web.1.json", &text);
        assert_eq!(receipt["receipt"], "served", "{turn}: {receipt}");
        // 2 s of TTL and 1 s for caches that count in whole seconds.
        assert_eq!(receipt["outlived_ms"], 3000);
        assert_eq!(addresses(&server, "shop.herokuapp.com"), [address], "after the receipt of {receipt}");
    }
    std::fs::remove_file(directory.path().join("instances/web.1.json")).unwrap();
    let gone = get(admin, "/wait?file=instances/web.1.json&gone=1").json();
    assert_eq!(gone["receipt"], "served");
    assert_eq!(addresses(&server, "shop.herokuapp.com"), [""; 0]);
}

#[test]
fn a_receipt_says_why_not() {
    let (directory, server) = started(&[]);
    let admin = server.admin();
    let wrong = registration("203.0.113.1");
    drop_file(directory.path(), "web.1.json", &wrong);
    let receipt = wait(admin, "web.1.json", &wrong);
    assert_eq!(receipt["receipt"], "rejected");
    assert!(receipt["faults"][0]["fault"].as_str().unwrap().contains("203.0.113.1"), "{receipt}");
    // Read, and right by itself; outside the space.
    let outside = registration("10.9.0.1");
    drop_file(directory.path(), "web.1.json", &outside);
    let receipt = wait(admin, "web.1.json", &outside);
    assert_eq!(receipt["receipt"], "rejected", "{receipt}");
    // Not there, and not coming.
    let receipt = get(admin, &format!("/wait?file=none.json&sha256={}&for=50", sha256("none"))).json();
    assert_eq!(receipt["receipt"], "pending");
}

#[test]
fn an_admin_address_that_is_taken_is_an_error_when_it_was_chosen() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(directory.path(), &["--admin", &address]).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--admin off"), "{said}");
}

fn serve(directory: &Path, arguments: &[&str]) -> std::process::Child {
    Command::new(SPACEDNS)
        .arg("serve")
        .arg(directory)
        .args(["--listen=127.0.0.1:0"])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn whoever_waits_when_the_server_stops_is_told_so() {
    let (_directory, server) = started(&[]);
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let hash = sha256("none");
    let request = format!("GET /wait?file=none.json&sha256={hash} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    server.end();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 503"), "{text}");
}
