//! What a server says of itself when it is told to: NSID, CH TXT, cookies of a secret in a file, and how long it keeps connections.

use std::process::Command;

use crate::message::{Query, Response};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file};

/// Asks for A of a discovery name with this option, over TCP or UDP; gives the options of the response.
fn options(server: &Server, option: (u16, Vec<u8>), tcp: bool) -> Vec<(u16, Vec<u8>)> {
    let mut query = Query::new("1.web.shop.app.localspace", 1);
    query.edns.as_mut().unwrap().options.push(option);
    let octets = query.octets();
    let response = if tcp { server.ask_stream(&octets, PATIENCE) } else { server.ask(&octets, PATIENCE) };
    Response::read(&response.unwrap()).unwrap().edns.unwrap().options
}

fn start(arguments: &[&str]) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let instance = r#"{"app": "shop", "component": "web", "number": 1, "address": "10.0.130.56"}"#;
    drop_file(directory.path(), "zones/shop.json", instance);
    drop_file(directory.path(), "secret", "e5e973e5a6b2a43f48e7dc849e37bfcf\n");
    let server = Server::start(|port| {
        let mut command = Command::new(SPACEDNS);
        command.current_dir(directory.path()).args(["serve", "zones", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(arguments);
        command
    });
    (server, directory)
}

const NSID: u16 = 3;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;

#[test]
fn a_server_says_of_itself_what_it_is_told_to() {
    let (server, _directory) =
        start(&["--node-id=ns1", "--version-text=something", "--identity=ns1.example", "--limit=idle=25s"]);
    assert_eq!(options(&server, (NSID, Vec::new()), false), [(NSID, b"ns1".to_vec())]);
    assert_eq!(options(&server, (KEEPALIVE, Vec::new()), true), [(KEEPALIVE, vec![0, 250])]);
    assert_eq!(options(&server, (KEEPALIVE, Vec::new()), false), []);
    for (name, text) in [("version.bind", "something"), ("id.server", "ns1.example")] {
        let query = Query { qclass: 3, ..Query::new(name, 16) }.octets();
        let response = server.ask(&query, PATIENCE).unwrap();
        assert_eq!((response[3] & 15, response[7]), (0, 1));
        assert!(response.windows(text.len()).any(|octets| octets == text.as_bytes()), "{response:?}");
    }
}

#[test]
fn a_server_that_is_told_nothing_says_nothing_and_makes_cookies() {
    let (server, _directory) = start(&[]);
    assert_eq!(options(&server, (NSID, Vec::new()), false), []);
    let query = Query { qclass: 3, ..Query::new("version.bind", 16) }.octets();
    assert_eq!(server.ask(&query, PATIENCE).unwrap()[3] & 15, 5);
    let (code, cookie) = options(&server, (COOKIE, vec![7; 8]), false).remove(0);
    assert_eq!((code, cookie.len(), &cookie[..9]), (COOKIE, 24, &[7, 7, 7, 7, 7, 7, 7, 7, 1][..]));
    assert_eq!(options(&server, (COOKIE, cookie.clone()), true), [(COOKIE, cookie)], "it is known again");
}

#[test]
fn servers_with_one_secret_know_each_others_cookies() {
    let (first, _first) = start(&["--cookie-secret=secret"]);
    let (second, _second) = start(&["--cookie-secret=secret"]);
    let (stranger, _third) = start(&[]);
    let (_, cookie) = options(&first, (COOKIE, vec![9; 8]), false).remove(0);
    assert_eq!(options(&second, (COOKIE, cookie.clone()), false), [(COOKIE, cookie.clone())]);
    assert_ne!(options(&stranger, (COOKIE, cookie.clone()), false), [(COOKIE, cookie)]);
}
