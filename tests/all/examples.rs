//! Keeps `zones/` and the README true: the examples are taken without a fault, and the transcript runs as it is typed.

use std::path::{Path, PathBuf};
use std::process::Command;

use spacedns::engine::{Transport, Trust};

use crate::message::{Query, Response};
use crate::process::{PATIENCE, Server, is_installed, poll};
use crate::scenario::Change;
use crate::world::World;

#[test]
fn every_example_is_taken_without_a_fault() {
    let world = examples();
    assert_eq!(world.faults(), []);
    let warnings: Vec<String> = world.warnings().iter().map(ToString::to_string).collect();
    // The vendor's fragment has no name, which is worth a word.
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].starts_with("gallery.yaml:"), "{warnings:#?}");
}

#[test]
fn the_examples_answer() {
    let world = examples();
    let cases: [(&str, &str, &[&str]); 13] = [
        ("10.1.0.1", "frozen-oasis-70544.herokuapp.com", &["10.0.0.10", "10.0.16.10"]),
        ("192.168.40.1", "api.example.com", &["10.0.0.10", "10.0.16.10"]),
        ("10.0.140.9", "whispering-willow-5678.herokudns.com", &["10.0.0.10", "10.0.16.10"]),
        ("10.0.140.9", "pr-7.preview.example.com", &["10.0.0.10", "10.0.16.10"]),
        ("10.0.140.9", "web.frozen-oasis-70544.app.localspace", &["10.0.130.56", "10.0.151.21"]),
        ("127.0.0.1", "1.sideprocess.spring-cloud-registry.app.localspace", &["10.0.152.218"]),
        ("10.0.129.3", "web", &["10.0.129.1", "10.0.145.1"]),
        ("10.0.129.4", "api", &["10.0.129.2"]),
        ("172.28.5.9", "web", &["10.0.129.1", "10.0.145.1"]),
        ("172.28.6.9", "web", &["10.0.133.1"]),
        ("10.0.136.1", "web", &["10.0.136.1"]),
        ("10.0.140.9", "quiet-meadow-12345.herokuapp.com", &[]),
        ("10.0.140.9", "web.quiet-meadow-12345.app.localspace", &[]),
    ];
    for (caller, qname, addresses) in cases {
        let query = Query::new(qname, 1).octets();
        let response = world.respond(caller.parse().unwrap(), Trust::Nobody, Transport::Udp, &query).unwrap();
        let response = Response::read(&response).unwrap();
        let mut found: Vec<&str> = response.answer.iter().map(|record| record.rdata.as_str()).collect();
        found.sort_unstable();
        assert_eq!((response.rcode, found), (0, addresses.to_vec()), "{qname} from {caller}");
    }
}

#[test]
fn the_example_for_compose_registers_its_containers_and_each_has_its_own_web() {
    let world = read("deploy/zones");
    assert_eq!((world.faults(), world.warnings()), (Vec::new(), Vec::new()));
    let compose = std::fs::read_to_string(repository().join("deploy/compose.yaml")).unwrap();
    for (caller, qname, address) in [
        ("172.28.5.10", "web", "172.28.5.10"),
        ("172.28.5.77", "web", "172.28.5.10"),
        ("172.28.5.77", "api", "172.28.5.20"),
        ("172.28.6.77", "web", "172.28.6.10"),
        ("172.28.5.77", "blog.herokuapp.com", "172.28.6.10"),
    ] {
        assert!(compose.contains(&format!("ipv4_address: {address}}}")), "{address}");
        let query = Query::new(qname, 1).octets();
        let response = world.respond(caller.parse().unwrap(), Trust::Nobody, Transport::Udp, &query).unwrap();
        let response = Response::read(&response).unwrap();
        let found: Vec<&str> = response.answer.iter().map(|record| record.rdata.as_str()).collect();
        assert_eq!(found, [address], "{qname} from {caller}");
    }
    let lans: Vec<String> = world.registry.lans().map(|(network, _)| format!("{{subnet: {network}}}")).collect();
    assert!(lans.len() == 2 && lans.iter().all(|lan| compose.contains(lan)), "{lans:?}");
}

#[test]
fn the_transcript_of_the_readme_runs_as_typed() {
    if !is_installed("dig") {
        println!("dig is not here: the transcript was not run");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    copy(&repository().join("zones"), &home.path().join("zones"));
    let server = Server::spacedns(&home.path().join("zones"));
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let commands = transcript(&readme);
    assert!(commands.len() >= 10, "the transcript has {} commands", commands.len());
    for (command, expected) in commands {
        let typed = command.replace("-p 5300", &format!("-p {}", server.address.port()));
        let mut last = String::new();
        // A change of a file is seen milliseconds later: what is asked right after it may be asked again.
        let held = poll(PATIENCE, || {
            let run = Command::new("sh").arg("-c").arg(&typed).current_dir(home.path()).output().unwrap();
            last = String::from_utf8_lossy(&run.stdout).into_owned();
            (in_order(&last) == in_order(&expected)).then_some(())
        });
        assert!(held.is_some(), "$ {command}\n{last}\nbut the README has\n{expected}");
    }
}

/// The commands of the `console` blocks of the README's transcript, each with the lines below it.
fn transcript(readme: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let section = readme.split("\n## A transcript\n").nth(1).expect("the README has a transcript");
    let section = section.split("\n## ").next().unwrap_or_default();
    for block in section.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => panic!("a console block begins with a command: {line:?}"),
            }
        }
    }
    commands
}

/// Lines in order: addresses rotate. Columns are as wide as they come.
fn in_order(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort();
    lines
}

/// The examples, as one batch.
pub(crate) fn examples() -> World {
    let world = read("zones");
    assert!(files(&repository().join("zones")).len() >= 10, "the examples were not found");
    world
}

/// A directory of the repository, as one batch.
fn read(directory: &str) -> World {
    let mut world = World::new();
    let mut changes = Vec::new();
    let root = repository().join(directory);
    for path in files(&root) {
        let content = std::fs::read_to_string(&path).unwrap();
        changes.push(Change::Write { path: path.strip_prefix(&root).unwrap().to_str().unwrap().into(), content });
    }
    world.apply(&changes);
    world
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&path, place).unwrap();
    }
}
