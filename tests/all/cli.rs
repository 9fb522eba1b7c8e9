//! The command as it is typed: exit codes, what `check` prints, which source of a setting wins.
#![allow(clippy::unwrap_used, reason = "all of this is a test, its functions too")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const SPACEDNS: &str = env!("CARGO_BIN_EXE_spacedns");

/// Runs the command in `directory`, with none of our variables but these.
fn spacedns(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(SPACEDNS);
    command.current_dir(directory).env_clear().envs(variables.iter().copied()).args(arguments);
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

const GOOD: &str = "name: shop\nservices: [{name: web}]\n";
const BROKEN: &str = "name: [shop\n";

#[test]
fn check_of_a_directory_without_faults_exits_0() {
    let directory = directory(&[("zones/shop.yaml", GOOD)]);
    let output = spacedns(directory.path(), &[], &["check"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).ends_with(" 0 faults, 0 warnings\n"), "{}", out(&output));
}

#[test]
fn check_warns_of_a_lan_that_takes_the_callers_of_another_app_for_its_own() {
    let shop = "name: shop\nservices: [{name: web}]\nlan: [172.28.0.0/16]\n";
    let blog = "name: blog\nservices: [{name: web}]\n";
    let instances = "app: blog\ninstances:\n  - {component: web, number: 1, address: 172.28.6.3}\n  \
                     - {component: web, number: 2, address: 172.28.6.4}\n";
    let files = [("zones/blog.yaml", blog), ("zones/i.yaml", instances), ("zones/shop.yaml", shop)];
    let wide = directory(&files);
    let output = spacedns(wide.path(), &[], &["check"]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    assert!(
        text.contains("zones/shop.yaml:3:7: lan: 172.28.0.0/16 holds 172.28.6.3 and 1 more, of blog (i.yaml:3:5): "),
        "{text}"
    );
    assert!(text.ends_with(" 0 faults, 1 warning\n"), "{text}");

    let parted = directory(&files);
    fs::write(parted.path().join("zones/blog.yaml"), format!("{blog}lan: [172.28.6.0/24]\n")).unwrap();
    let text = out(&spacedns(parted.path(), &[], &["check"]));
    assert!(text.ends_with(" 0 faults, 0 warnings\n"), "{text}");
}

#[test]
fn check_lists_every_fault_with_its_place_and_exits_1() {
    let directory = directory(&[("specs/a/shop.yaml", BROKEN), ("specs/b.json", "{"), ("specs/c.yaml", GOOD)]);
    let output = spacedns(directory.path(), &[], &["check", "specs"]);
    assert_eq!(code(&output), 1);
    let text = out(&output);
    for file in ["specs/a/shop.yaml", "specs/b.json"] {
        let line = text.lines().find(|line| line.starts_with(file)).unwrap_or_else(|| panic!("no {file}: {text}"));
        let mut parts = line.strip_prefix(file).unwrap().split(':');
        assert_eq!(parts.next(), Some(""), "{line}");
        assert!(parts.next().is_some_and(|number| number.parse::<u32>().is_ok()), "{line}");
        assert!(parts.next().is_some_and(|number| number.parse::<u32>().is_ok()), "{line}");
        assert!(line.contains("; "), "a remedy: {line}");
    }
    assert!(text.lines().last().unwrap().starts_with("specs: 3 files, "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colors where no terminal is: {text}");
}

#[test]
fn check_with_warnings_only_exits_0_and_lists_them_apart() {
    let directory = directory(&[("zones/shop.yaml", "name: shop\nunknown: 1\n")]);
    let output = spacedns(directory.path(), &[], &["check"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    let text = out(&output);
    assert!(text.starts_with("Warnings\nzones/shop.yaml:"), "{text}");
    assert!(text.ends_with(" 0 faults, 1 warning\n"), "{text}");
}

#[test]
fn check_writes_json() {
    let directory = directory(&[("zones/a.yaml", BROKEN), ("zones/b.yaml", GOOD)]);
    let output = spacedns(directory.path(), &[], &["check", "--json"]);
    assert_eq!(code(&output), 1);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["files"][0]["file"], "a.yaml");
    assert_eq!(json["files"][0]["state"], "rejected");
    assert!(json["files"][0]["faults"][0]["line"].is_u64());
    assert!(json["files"][0]["faults"][0]["remedy"].is_string());
    assert_eq!(json["files"][1]["state"], "ok");
    assert_eq!(json["faults"].as_u64().unwrap(), json["files"][0]["faults"].as_array().unwrap().len() as u64);
}

#[test]
fn a_name_that_would_move_the_cursor_is_escaped() {
    let directory = directory(&[("zones/\u{1b}[2J.yaml", BROKEN)]);
    let output = spacedns(directory.path(), &[], &["check"]);
    assert!(out(&output).contains("zones/\\u{1b}[2J.yaml:"), "{}", out(&output));
}

#[test]
fn a_wrong_flag_exits_2_and_a_missing_directory_exits_1() {
    let directory = directory(&[]);
    assert_eq!(code(&spacedns(directory.path(), &[], &["check", "--colour"])), 2);
    assert_eq!(code(&spacedns(directory.path(), &[], &[])), 2);
    for command in ["check", "serve"] {
        let output = spacedns(directory.path(), &[], &[command]);
        assert_eq!(code(&output), 1);
        assert!(err(&output).starts_with("spacedns: zones: the spec directory cannot be read: "), "{}", err(&output));
    }
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let directory = directory(&[
        ("zones/shop.yaml", GOOD),
        ("in-file/shop.yaml", GOOD),
        ("in-variable/shop.yaml", GOOD),
        ("in-flag/shop.yaml", GOOD),
    ]);
    fs::write(directory.path().join("config.toml"), "dir = \"in-file\"\n").unwrap();
    let dir_of = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = spacedns(directory.path(), variables, arguments);
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output).split(':').next().unwrap().to_owned()
    };
    let variable = ("SPACEDNS_DIR", "in-variable");
    let file = ("SPACEDNS_CONFIG", "config.toml");
    assert_eq!(dir_of(&[], &["check"]), "zones");
    assert_eq!(dir_of(&[], &["check", "--config", "config.toml"]), "in-file");
    assert_eq!(dir_of(&[file], &["check"]), "in-file");
    assert_eq!(dir_of(&[variable, file], &["check"]), "in-variable");
    assert_eq!(dir_of(&[variable, file], &["check", "in-flag"]), "in-flag");
}

#[test]
fn a_mistake_in_the_configuration_file_exits_2_with_its_place() {
    let directory = directory(&[("zones/shop.yaml", GOOD)]);
    for (text, place, fault) in [
        ("log = \"info\"\ntombstne = \"1h\"\n", "2:1", "tombstne"),
        ("tombstone = \"soon\"\n", "1:13", "90s"),
        ("listen = [\"localhost\"]\n", "1:11", "address"),
        ("workers = 0\n", "1:11", ""),
        ("log = \n", "1:7", ""),
    ] {
        fs::write(directory.path().join("c.toml"), text).unwrap();
        let output = spacedns(directory.path(), &[], &["serve", "--config", "c.toml"]);
        assert_eq!(code(&output), 2, "{text}");
        assert!(err(&output).starts_with(&format!("spacedns: c.toml:{place}: ")), "{text}: {}", err(&output));
        assert!(err(&output).contains(fault), "{}", err(&output));
    }
    let output = spacedns(directory.path(), &[], &["check", "--config", "nowhere.toml"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("nowhere.toml: cannot be read"), "{}", err(&output));
}

#[test]
fn a_port_in_use_is_said_so_and_exits_1() {
    let directory = directory(&[("zones/shop.yaml", GOOD)]);
    let taken = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = spacedns(directory.path(), &[], &["serve", "--listen", &address]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&address), "{}", err(&output));
    assert!(err(&output).contains("in use"), "{}", err(&output));
}

#[test]
fn serve_says_where_and_when_it_answers_rescans_on_sighup_and_exits_0_on_sigterm() {
    let directory = directory(&[("zones/shop.yaml", GOOD), ("zones/broken.yaml", BROKEN)]);
    let mut server = Command::new(SPACEDNS)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(directory.path())
        .env_clear()
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("ready: ") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended: {said}");
    }
    assert!(said.contains("answering on 127.0.0.1:"), "{said}");
    assert!(said.contains("broken.yaml:1:"), "{said}");
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string(), "{line}");
    }
    let kill = |signal: &str| {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", server.id())]).status();
        assert!(sent.unwrap().success());
    };
    // None of these may end it or make it say its faults again.
    for _ in 0..20 {
        kill("HUP");
    }
    kill("TERM");
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("stopping"), "{rest}");
    assert!(!rest.contains("broken.yaml"), "a fault is said once: {rest}");
}
