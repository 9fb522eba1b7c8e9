//! A server begins, hands over and ends: no query is lost on the way, and it keeps no right that it does not need.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};

use spacedns::life::takeover;

use crate::load::Load;
use crate::message::{Query, Response};
use crate::process::{PATIENCE, Port, SPACEDNS, Server, drop_file, is_installed, poll};

const NAME: &str = "shop.herokuapp.com";
const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const SHOP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 1}}\n---\n\
                    app: shop\ninstances: [{component: web, number: 1, address: 10.0.1.1}]\n";

/// A directory that anybody may read, with an app that answers, beside a place for the handover.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop_file(&home.path().join("zones"), "space.yaml", SPACE);
    drop_file(&home.path().join("zones"), "shop.yaml", SHOP);
    fs::create_dir(home.path().join("run")).unwrap();
    home
}

fn serve(home: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(SPACEDNS);
    command.arg("serve").arg(home.join("zones")).args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--trust-subnet-from", "127.0.0.0/8", "--workers", "2"]).args(more);
    command
}

fn handover(home: &Path) -> String {
    home.join("run/next").to_str().unwrap().to_owned()
}

fn is_answered(server: &Server) -> bool {
    let response = server.ask(&Query::new(NAME, 1).octets(), PATIENCE);
    response.is_some_and(|response| Response::read(&response).is_ok_and(|response| response.answer.len() == 1))
}

/// Ten; or as many as `SPACEDNS_TEST_UPGRADES` says.
#[test]
fn no_query_is_lost_while_servers_take_over_from_each_other() {
    let upgrades = std::env::var_os("SPACEDNS_TEST_UPGRADES");
    let upgrades: usize = upgrades.map_or(10, |text| text.to_str().unwrap().parse().unwrap());
    let home = home();
    let path = handover(home.path());
    let state = home.path().join("run/state");
    let more = ["--handover", &path, "--state-dir", state.to_str().unwrap()];
    let mut server = Server::start(|port| serve(home.path(), port, &more));
    assert!(poll(PATIENCE, || is_answered(&server).then_some(())).is_some(), "{}", server.log());
    let load = Load::start(server.address, NAME, 1000, 250);
    for _ in 0..upgrades {
        load.wait(100);
        server.replace(serve(home.path(), server.address.port(), &more));
    }
    load.wait(100);
    let answered = load.end().unwrap_or_else(|lost| panic!("{lost}\n{}", server.log()));
    // Each takes the path over, and the one that leaves does not remove it.
    std::os::unix::net::UnixStream::connect(state.join("control.sock")).expect("the control socket is the last one's");
    println!("{upgrades} upgrades, {answered} queries, each answered");
    assert!(answered > upgrades * 100, "{answered} queries are no load");
    let log = server.end();
    assert_eq!(log.matches("the next server answers").count(), upgrades, "{log}");
    assert!(!Path::new(&path).exists(), "the last one leaves nothing");
}

#[test]
fn a_server_that_ends_before_it_took_over_changes_nothing() {
    let home = home();
    let path = handover(home.path());
    let server = Server::start(|port| serve(home.path(), port, &["--handover", &path, "--admin", "off"]));
    for _ in 0..3 {
        // It answers a moment before it waits.
        let taken = poll(PATIENCE, || takeover::take(Path::new(&path)).unwrap()).expect("a server waits there");
        assert_eq!(taken.descriptors.len(), 3, "two of UDP, one of TCP");
        drop(taken);
    }
    let told = poll(PATIENCE, || server.log().contains("ended before it answered").then_some(()));
    assert!(told.is_some(), "{}", server.log());
    assert!(is_answered(&server));
}

#[test]
fn a_connection_that_was_open_is_answered_by_the_server_that_goes() {
    let home = home();
    let path = handover(home.path());
    let mut server = Server::start(|port| serve(home.path(), port, &["--handover", &path]));
    assert!(poll(PATIENCE, || is_answered(&server).then_some(())).is_some());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let query = Query::new(NAME, 1).octets();
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat();
    let mut ask = || {
        stream.write_all(&framed).and_then(|()| stream.read_exact(&mut [0; 2])).map(|()| {
            let mut response = [0; 512];
            stream.read(&mut response).unwrap()
        })
    };
    assert!(ask().unwrap() > 12);
    // The server that goes waits for this connection, so it has ended by the time of the second query.
    server.replace(serve(home.path(), server.address.port(), &["--handover", &path]));
    assert!(ask().is_err() || ask().is_err(), "it was closed");
    assert!(is_answered(&server));
}

#[test]
fn what_systemd_passes_on_is_answered_and_left_to_it() {
    if !is_installed("systemd-socket-activate") {
        println!("systemd-socket-activate is not here: sockets that systemd passes on were not tried");
        return;
    }
    let home = home();
    let activate = |port: u16| {
        let mut command = Command::new("systemd-socket-activate");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--setenv=PATH", "--", SPACEDNS, "serve"]);
        command.arg(home.path().join("zones")).args(["--listen", &format!("127.0.0.1:{port}")]);
        command
    };
    // It is the first connection that starts the server, and that is answered by it.
    let reserved = Port::free();
    let port = reserved.number;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = activate(port).stderr(log.reopen().unwrap()).spawn().unwrap();
    let query = Query::new(NAME, 1).octets();
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat();
    let answered = poll(PATIENCE, || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&framed).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut response).ok()?;
        Response::read(&response).ok()
    });
    let said = fs::read_to_string(log.path()).unwrap();
    let ended = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(ended.success());
    child.wait().unwrap();
    let answer = answered.unwrap_or_else(|| panic!("no answer:\n{said}")).answer;
    assert_eq!(answer.len(), 1, "an heir waits until it can answer\n{said}");
    assert!(said.contains("taking over"), "{said}");
}

#[test]
fn systemd_hears_what_becomes_of_the_server() {
    let home = home();
    let place = home.path().join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut told = [0; 512];
        let length = socket.recv(&mut told).expect("systemd is told");
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    let server = Server::start(|port| {
        let mut command = serve(home.path(), port, &[]);
        command.env("NOTIFY_SOCKET", &place).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
        command
    });
    let mut told = vec![hear()];
    while told.iter().filter(|told| told.trim() == "WATCHDOG=1").count() < 3 {
        told.push(hear());
    }
    let ready = format!("MAINPID={}\nREADY=1", server.id());
    assert!(told.iter().any(|told| told.trim() == ready), "{told:?}");
    server.end();
    assert!(poll(PATIENCE, || (hear().trim() == "STOPPING=1").then_some(())).is_some());
}

/// Runs a command that is to fail, and gives what it says.
fn failure(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_taken_port_is_said_with_the_process_that_has_it() {
    let home = home();
    let server = Server::start(|port| serve(home.path(), port, &[]));
    let said = failure(serve(home.path(), server.address.port(), &[]));
    assert!(said.contains(&format!("process {} (spacedns) has the port", server.id())), "{said}");
}

#[test]
fn an_open_resolver_does_not_start() {
    let home = home();
    let mut command = Command::new(SPACEDNS);
    command.arg("serve").arg(home.path().join("zones"));
    command.args(["--listen", "0.0.0.0:0", "--trust-subnet-from", "0.0.0.0/0", "--upstream", "192.0.2.1"]);
    let said = failure(command);
    assert!(said.contains("open resolver") && said.contains("0.0.0.0/0"), "{said}");
}

/// One line of `/proc/PID/status`.
fn status(server: &Server, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_forbidden_path_fails_under_the_sandbox_and_an_allowed_one_does_not() {
    let (home, outside) = (home(), tempfile::tempdir().unwrap());
    let place = home.path().join("zones/outside.yaml");
    fs::write(outside.path().join("blog.yaml"), SHOP.replace("shop", "blog").replace("10.0.1.1", "10.0.1.2")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("blog.yaml"), place).unwrap();
    let is_blog_answered = |server: &Server| {
        let response = server.ask(&Query::new("blog.herokuapp.com", 1).octets(), PATIENCE);
        Response::read(&response.unwrap()).unwrap().answer.len() == 1
    };
    let server = Server::start(|port| serve(home.path(), port, &[]));
    if server.log().contains("has no Landlock") {
        assert!(std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_none(), "this kernel has no Landlock");
        println!("this kernel has no Landlock: what it forbids was not tried");
        return;
    }
    assert!(server.log().contains("Landlock keeps everything else out of reach"), "{}", server.log());
    assert_eq!(status(&server, "NoNewPrivs"), "1");
    assert!(is_answered(&server));
    let told = poll(PATIENCE, || server.log().contains("outside.yaml").then_some(()));
    assert!(told.is_some() && server.log().contains("ermission denied"), "{}", server.log());
    assert!(!is_blog_answered(&server));
    drop(server);
    let also = ["--also-read", outside.path().to_str().unwrap()];
    for more in [&also[..], &["--sandbox", "no-new-privileges"], &["--sandbox=off"]] {
        let server = Server::start(|port| serve(home.path(), port, more));
        let answered = poll(PATIENCE, || is_blog_answered(&server).then_some(()));
        assert!(answered.is_some(), "{more:?}\n{}", server.log());
        assert_eq!(status(&server, "NoNewPrivs") == "1", !more.contains(&"--sandbox=off"), "{more:?}");
    }
}

#[test]
fn a_server_of_root_becomes_a_user_without_rights_and_is_taken_over_all_the_same() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_none(), "this takes root");
        println!("this is not root: no server became another user");
        return;
    }
    let home = home();
    std::os::unix::fs::chown(home.path().join("run"), Some(65532), Some(65532)).unwrap();
    let path = handover(home.path());
    let state = home.path().join("run/state");
    let more = ["--user", "65532", "--handover", &path, "--state-dir", state.to_str().unwrap()];
    let mut server = Server::start(|port| serve(home.path(), port, &more));
    for _ in 0..2 {
        assert!(poll(PATIENCE, || is_answered(&server).then_some(())).is_some(), "{}", server.log());
        for field in ["Uid", "Gid"] {
            assert_eq!(status(&server, field), "65532 65532 65532 65532", "{field}");
        }
        assert_eq!(status(&server, "Groups"), "65532");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(&server, set), "0000000000000000", "{set}");
        }
        drop_file(
            &home.path().join("zones"),
            "more.yaml",
            &SHOP.replace("shop", "more").replace("10.0.1.1", "10.0.1.2"),
        );
        server.replace(serve(home.path(), server.address.port(), &more));
    }
    let saved = poll(PATIENCE, || fs::read_dir(&state).ok()?.flatten().find(|entry| entry.file_name() == "changes.1"));
    let saved = saved.unwrap_or_else(|| panic!("nothing was saved:\n{}", server.log())).metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&saved), 65532);
    // What it may not read, it says.
    fs::set_permissions(home.path().join("zones"), fs::Permissions::from_mode(0o700)).unwrap();
    let said = failure(serve(home.path(), 0, &["--user", "65532"]));
    assert!(said.contains("the spec directory cannot be read: Permission denied"), "{said}");
    let said = failure(serve(home.path(), 0, &["--user", "nobody-by-that-name"]));
    assert!(said.contains("is not in /etc/passwd"), "{said}");
}
