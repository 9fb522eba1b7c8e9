//! What is shipped beside the binary is held to the binary, and to the programs that read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::admin::get;
use crate::examples::repository;
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, is_installed, poll};

fn deploy(path: &str) -> PathBuf {
    repository().join("deploy").join(path)
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn the_configuration_that_is_shipped_is_one_and_so_is_what_it_leaves_out() {
    let text = fs::read_to_string(deploy("spacedns.toml")).unwrap();
    let every = text.replace("\n# ", "\n").replace("# Every", "## Every");
    assert_ne!(text, every, "some settings are left out");
    for text in [text, every] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        let mut command = Command::new(SPACEDNS);
        command.arg("check").arg(repository().join("zones")).arg("--config").arg(file.path());
        succeeds(&mut command);
    }
}

#[test]
fn every_variable_of_the_manifests_is_one_of_the_command() {
    let help = succeeds(Command::new(SPACEDNS).args(["serve", "--help"]));
    let manifest = fs::read_to_string(deploy("kubernetes/spacedns.yaml")).unwrap();
    let named: Vec<&str> = manifest
        .split(|character: char| !(character.is_ascii_uppercase() || character == '_'))
        .filter(|word| word.starts_with("SPACEDNS_"))
        .collect();
    assert!(named.len() >= 2, "{named:?}");
    for name in named {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn the_units_are_taken_by_systemd() {
    if !is_installed("systemd-analyze") {
        println!("systemd-analyze is not here: the units were not verified");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for name in ["spacedns.service", "spacedns.socket"] {
        let unit = fs::read_to_string(deploy("systemd").join(name)).unwrap();
        // The manual is not installed, and the binary is elsewhere.
        let unit = unit.replace("/usr/bin/spacedns", SPACEDNS).replace("Documentation=", "#");
        fs::write(home.path().join(name), unit).unwrap();
    }
    let service = home.path().join("spacedns.service");
    let said = succeeds(Command::new("systemd-analyze").arg("verify").arg(&service));
    assert!(!said.contains("spacedns"), "{said}");
    let mut score = Command::new("systemd-analyze");
    // In tenths.
    score.args(["security", "--offline=yes", "--threshold=25"]).arg(&service);
    succeeds(&mut score);
}

#[test]
fn the_rules_are_taken_by_prometheus_and_each_fires_for_what_it_is_about() {
    if !is_installed("promtool") {
        println!("promtool is not here: the alert rules were not tried");
        return;
    }
    let promtool = |arguments: &[&str]| {
        succeeds(Command::new("promtool").args(arguments).current_dir(deploy("prometheus")));
    };
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["check", "config", "scrape.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
    let rules = fs::read_to_string(deploy("prometheus/alerts.yaml")).unwrap();
    let tests = fs::read_to_string(deploy("prometheus/alerts_test.yaml")).unwrap();
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
}

#[test]
fn every_metric_of_the_rules_and_the_dashboard_is_one_of_the_server_and_a_broken_file_is_counted() {
    let home = tempfile::tempdir().unwrap();
    drop_file(home.path(), "good.yaml", "app: shop\n");
    drop_file(home.path(), "broken.yaml", "app: [\n");
    let server = Server::start(|port| {
        let mut command = Command::new(SPACEDNS);
        command.arg("serve").arg(home.path());
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin", "127.0.0.1:0", "--upstream", "127.0.0.1:1"]);
        command
    });
    let scrape = || get(server.admin(), "/metrics").body;
    let counted = poll(PATIENCE, || scrape().contains("spacedns_files{state=\"rejected\"} 1\n").then_some(()));
    let metrics = scrape();
    assert!(counted.is_some() && metrics.contains("spacedns_files{state=\"ok\"} 1\n"), "{metrics}");
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        words.filter(|word| word.starts_with("spacedns_")).map(ToOwned::to_owned).collect()
    };
    let there = words(&metrics);
    for path in ["prometheus/alerts.yaml", "grafana/spacedns.json"] {
        let missing: Vec<String> =
            words(&fs::read_to_string(deploy(path)).unwrap()).difference(&there).cloned().collect();
        assert!(missing.is_empty(), "{path}: {missing:?}");
    }
}

#[test]
fn the_dashboard_is_one_and_no_panels_overlap() {
    let text = fs::read_to_string(deploy("grafana/spacedns.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{panel}");
            }
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(targets.iter().all(|target| target["expr"].as_str().unwrap().contains("spacedns_")), "{panel}");
    }
}
