//! The status page, `/apps` and `/resolve` of a real server: what they say, that nothing from a file becomes markup, and, where there
//! is a Chromium, what a browser makes of it.

use std::path::Path;
use std::process::Command;

use crate::admin::get;
use crate::process::{PATIENCE, Server, drop_file, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n\
                   instances: [{component: web, number: 1, address: 10.0.0.1, lease: 1h}]\n";

/// Set to anything, a browser is asked as well; it is large, and not everywhere.
const BROWSER_SET: &str = "SPACEDNS_TEST_CHROMIUM";

fn started(files: &[(&str, &str)]) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [("space.yaml", SPACE), ("shop.yaml", APP)].iter().chain(files) {
        drop_file(directory.path(), file, text);
    }
    let server = Server::spacedns(directory.path());
    (directory, server)
}

/// What is written of an attempt to make a page run something.
fn hostile() -> [(&'static str, &'static str); 2] {
    [
        ("<script>alert(1)</script>'\".yaml", "app: \"<script>alert(2)</script>\"\n"),
        ("b&<img src=x onerror=alert(3)>.json", "{\"<svg onload=alert(4)>\": 1}"),
    ]
}

#[test]
fn the_page_shows_what_is_served_and_what_is_wrong() {
    let (directory, server) = started(&[("broken.yaml", "app: shop\nformation: [}\n")]);
    let page = get(server.admin(), "/");
    assert_eq!(page.code, 200);
    let head = page.head.to_ascii_lowercase();
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(
        head.contains("content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'"),
        "{head}"
    );
    for shown in ["web.1", "10.0.0.1", "shop.herokuapp.com", "broken.yaml", "s left", "10.0.0.0/16", "the first look"] {
        assert!(page.body.contains(shown), "{shown}\n{}", page.body);
    }
    assert_eq!(
        page.body.matches("<table").count(),
        page.body.matches("<caption>").count(),
        "every table says what it is"
    );
    assert_eq!((page.body.matches("<main").count(), page.body.matches("<h1").count()), (1, 1));
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let part = get(server.admin(), path);
        assert!(part.code == 200 && part.head.contains(kind), "{part:?}");
    }
    // What changes is told of, with its cause.
    drop_file(
        directory.path(),
        "more.json",
        r#"{"app": "shop", "component": "web", "number": 2, "address": "10.0.0.2"}"#,
    );
    let told = poll(PATIENCE, || {
        let changes = get(server.admin(), "/status").json()["changes"].clone();
        (changes[0]["cause"] == "more.json").then_some(changes)
    });
    assert_eq!(told.expect("a change")[0]["generation"], 2);
}

#[test]
fn nothing_from_a_file_or_a_question_becomes_markup() {
    let (_directory, server) = started(&hostile());
    let script = "%3Cscript%3Ealert(5)%3C/script%3E%22";
    let asked =
        format!("/?files=all&search={script}&after=%22%3E%3Cscript%3E&name={script}&type={script}&from=10.0.0.1");
    for target in ["/", "/?files=all", &asked, "/?name=%3Cscript%3E&from=%3Cscript%3E"] {
        let page = get(server.admin(), target);
        assert_eq!(page.code, 200, "{target}");
        // The page's own is the only one.
        assert_eq!(page.body.matches("<script").count(), 1, "{target}\n{}", page.body);
        assert!(!page.body.contains("<img") && !page.body.contains("<svg"), "{target}\n{}", page.body);
    }
    assert!(get(server.admin(), "/").body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot;.yaml"));
}

#[test]
fn a_question_is_explained_as_the_command_does_it() {
    let (_directory, server) = started(&[]);
    let admin = server.admin();
    let page = get(admin, "/resolve?name=shop.herokuapp.com&type=a&from=10.0.200.1");
    assert_eq!(page.code, 200, "{page:?}");
    let told = page.json();
    assert_eq!((told["outcome"].as_str(), told["type"].as_str()), (Some("answer"), Some("A")), "{told}");
    assert_eq!(told["response"]["answer"][0], "shop.herokuapp.com. 5 IN A 10.0.0.1");
    assert!(told["steps"].as_array().unwrap().iter().any(|step| step["source"]["file"] == "shop.yaml"), "{told}");
    let text = get(admin, "/resolve?name=nothing.herokuapp.com&from=10.0.200.1&format=text").body;
    assert!(text.starts_with("caller: 10.0.200.1 is ") && text.contains(";; status: "), "{text}");
    let page = get(admin, "/?name=shop.herokuapp.com&from=10.0.200.1").body;
    assert!(page.contains("Outcome: <b>answer</b>") && page.contains("shop.herokuapp.com. 5 IN A 10.0.0.1"), "{page}");
    for (target, code) in [
        ("/resolve", 400),
        ("/resolve?name=a", 400),
        ("/resolve?name=a&from=here", 400),
        ("/resolve?name=a..b&from=10.0.0.1", 400),
        ("/resolve?name=a&type=NONE&from=10.0.0.1", 400),
        ("/resolve?name=a&from=10.0.0.1&format=xml", 400),
        ("/resolve?nme=a&from=10.0.0.1", 400),
        ("/?files=some", 400),
        ("/?serach=a", 400),
        ("/apps?most=many", 400),
        ("/page.html", 404),
    ] {
        let page = get(admin, target);
        assert_eq!(page.code, code, "{target}: {page:?}");
    }
}

#[test]
fn apps_are_paged_and_searched() {
    let apps: Vec<(String, String)> =
        (0..45).map(|number| (format!("app{number:02}.yaml"), format!("app: app{number:02}\n"))).collect();
    let files: Vec<(&str, &str)> = apps.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let (_directory, server) = started(&files);
    let admin = server.admin();
    let mut seen = Vec::new();
    let mut target = "/apps?most=20".to_owned();
    loop {
        let told = get(admin, &target).json();
        assert_eq!((told["apps_in_all"].as_u64(), told["apps_found"].as_u64()), (Some(46), Some(46)));
        seen.extend(told["apps"].as_array().unwrap().iter().map(|app| app["app"].as_str().unwrap().to_owned()));
        let Some(next) = told["next"].as_str() else { break };
        target = format!("/apps?most=20&after={next}");
    }
    let mut wanted: Vec<String> = (0..45).map(|number| format!("app{number:02}")).collect();
    wanted.push("shop".to_owned());
    assert_eq!(seen, wanted);
    let found = get(admin, "/apps?search=ACME/SHOP").json();
    assert_eq!((found["apps_found"].as_u64(), &found["next"]), (Some(1), &serde_json::Value::Null));
    let instance = &found["apps"][0]["components"][0]["instances"][0];
    assert_eq!((instance["state"].as_str(), instance["health"].as_str()), (Some("up"), Some("presumed")));
    assert!(instance["lease_s"].as_u64().is_some_and(|left| (3000..=3600).contains(&left)), "{instance}");
    let page = get(admin, "/").body;
    assert_eq!(page.matches("<article").count(), 20);
    assert!(page.contains("href=\"/?search=&amp;after=acme%2Fapp19#apps\""), "{page}");
}

#[test]
fn files_are_counted_by_state() {
    let (directory, server) = started(&[("broken.yaml", "app: [")]);
    let count = |state: &str| {
        let metrics = get(server.admin(), "/metrics").body;
        let series = format!("spacedns_files{{state=\"{state}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&*series)?.parse::<u64>().ok())
    };
    let reached = |state: &str, wanted: u64| {
        let found = poll(PATIENCE, || (count(state) == Some(wanted)).then_some(()));
        assert!(found.is_some(), "{state} is {:?}, not {wanted}", count(state));
    };
    reached("ok", 2);
    reached("rejected", 1);
    drop_file(directory.path(), "broken.yaml", "app: mended\n");
    reached("rejected", 0);
    drop_file(directory.path(), "shop.yaml", "app: [");
    reached("stale", 1);
    reached("ok", 2);
    let rates = get(server.admin(), "/rates").json();
    assert_eq!(rates["files"], serde_json::json!([2, 1, 0]));
    assert!(rates["rates"]["queries"].is_number(), "{rates}");
}

/// What Chromium makes of a page.
fn browse(profile: &Path, url: &str) -> String {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args([
        "--virtual-time-budget=6000",
        "--dump-dom",
        url,
    ]);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_browser_shows_it_and_runs_nothing_of_the_files() {
    if std::env::var_os(BROWSER_SET).is_none() {
        return eprintln!("NOT RUN: no browser was asked; set {BROWSER_SET}=1 where there is a chromium");
    }
    let (_directory, server) = started(&hostile());
    let profile = tempfile::tempdir().unwrap();
    let url = format!("http://{}/?files=all&name=shop.herokuapp.com&from=10.0.200.1", server.admin());
    let shown = browse(profile.path(), &url);
    for text in [
        "Outcome: <b>answer</b>",
        "web.1",
        "data-rate=\"queries\"",
        "data-live=\"yes\"",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ] {
        assert!(shown.contains(text), "{text}\n{shown}");
    }
    assert_eq!(shown.matches("<script").count(), 1, "{shown}");
}
