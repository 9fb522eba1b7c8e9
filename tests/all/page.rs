//! The status page, `/apps` and `/resolve` of a real server: what they say, that nothing from a file becomes markup, and
//! what a browser makes of it.

use std::process::Command;

use crate::admin::get;
use crate::browser::Browser;
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n\
                   instances: [{component: web, number: 1, address: 10.0.0.1, lease: 1h}]\n";

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
    for shown in ["web.1", "10.0.0.1", "shop.herokuapp.com", "broken.yaml", "min left", "10.0.0.0/16", "the first look"]
    {
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
fn the_command_asks_a_server_and_says_what_it_would_have_said_of_the_directory() {
    let (directory, server) = started(&[]);
    let resolve = |arguments: &[&str]| {
        let output = Command::new(SPACEDNS).arg("resolve").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (admin, dir) = (server.admin().to_string(), directory.path().to_str().unwrap());
    let url = format!("http://{admin}/");
    for (name, qtype, from, code) in [
        ("shop.herokuapp.com", "A", "10.0.200.1", 0),
        ("shop.herokuapp.com", "AAAA", "10.0.200.1", 1),
        ("web", "A", "10.0.0.1", 0),
        ("gone.app.localspace", "SRV", "10.0.200.1", 1),
        ("shop.herokuapp.com", "A", "192.0.2.1", 1),
        ("www.example.com", "TXT", "10.0.200.1", 1),
    ] {
        for more in [&[][..], &["--json"]] {
            let offline = resolve(&[&[name, qtype, dir, "--from", from], more].concat());
            let online = resolve(&[&[name, qtype, "--server", &url, "--from", from], more].concat());
            // The serial of a generation is the server's own.
            let steady = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.contains(" SOA ")).map(ToOwned::to_owned).collect()
            };
            assert_eq!((online.0, steady(&online.1)), (Some(code), steady(&offline.1)), "{}", online.2);
            assert_eq!(offline.0, Some(code));
        }
    }
    let (code, said, complaint) = resolve(&["web", "--from", "10.0.0.1", "--server", "127.0.0.1:1"]);
    assert_eq!((code, &*said), (Some(1), ""));
    assert!(complaint.contains("no server answers at http://127.0.0.1:1: Connection refused"), "{complaint}");
    let dns = server.address.to_string();
    let (code, _, complaint) = resolve(&["web", "--from", "10.0.0.1", "--server", &dns]);
    assert!(code == Some(1) && complaint.contains("no server answers at"), "{complaint}");
    assert_eq!(resolve(&["web", "--from", "10.0.0.1", "--server", "nowhere"]).0, Some(2));
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
    assert!(page.contains("href=\"/?after=acme%2Fapp19#apps\""), "{page}");
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

/// More apps and more faulty files than one page tells of.
fn crowded() -> (tempfile::TempDir, Server) {
    let apps = (0..25)
        .map(|number| (format!("app{number:02}.yaml"), format!("app: app{number:02}\ninternal_routing: true\n")));
    let broken = (0..55).map(|number| (format!("broken{number:02}.yaml"), "app: [\n".to_owned()));
    let files: Vec<(String, String)> = apps.chain(broken).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    started(&[&files, &hostile()[..]].concat())
}

/// What is typed into the box, and where the button is.
fn resolve(browser: &Browser) {
    browser.fill("#why input[name=name]", "shop.herokuapp.com");
    browser.fill("#why input[name=from]", "10.0.200.1");
    browser.click("#why button");
    browser.expect("document.querySelector('.result').textContent.includes('Outcome: answer')");
    browser.expect("document.querySelector('.result pre').textContent.includes('shop.herokuapp.com. 5 IN A 10.0.0.1')");
}

/// Goes through the lists, which keep what the others were asked.
fn page_through(browser: &Browser) {
    browser.click("#apps a[rel=next]");
    browser.expect("document.querySelector('#apps h3').textContent.includes('app20')");
    browser.click("#files a[rel=next]");
    browser.expect("document.querySelector('#files tbody th').textContent == 'broken48.yaml'");
    for still in ["document.querySelector('#apps h3').textContent.includes('app20')", "location.hash == '#files'"] {
        browser.expect(still);
    }
    browser.expect("document.querySelector('.result').textContent.includes('Outcome: answer')");
    browser.click("#apps a[rel=first]");
    browser.expect("document.querySelector('#apps h3').textContent.includes('app00')");
    browser.expect("document.querySelector('#files tbody th').textContent == 'broken48.yaml'");
    browser.fill("#apps input[name=search]", "SHOP");
    browser.click("#apps button");
    browser.expect("document.querySelectorAll('#apps article').length == 1");
    browser.expect("document.querySelector('.result').textContent.includes('Outcome: answer')");
    browser.click("#files option[value=rejected]");
    browser.click("#files button");
    browser.expect("document.querySelectorAll('#files tbody tr').length == 50");
    browser.expect("document.querySelector('#apps input[name=search]').value == 'SHOP'");
}

#[test]
fn a_browser_clicks_through_the_page_with_scripts_and_without() {
    let Some(browser) = Browser::start() else { return };
    let (directory, server) = crowded();
    let home = format!("http://{}/", server.admin());
    browser.open(&home);
    browser.expect("document.documentElement.dataset.live == 'yes'");
    // With a script the page is not loaded again for a question.
    browser.run("window.same = true");
    resolve(&browser);
    browser.expect("window.same && location.search.includes('name=shop.herokuapp.com')");
    page_through(&browser);
    // What changes shows by itself.
    drop_file(directory.path(), "shop.yaml", &APP.replace("10.0.0.1", "10.0.0.77"));
    browser.expect("document.querySelector('#apps').textContent.includes('10.0.0.77')");
    assert_eq!(browser.run("return document.querySelectorAll('script').length"), 1);
    let asked = browser.requests();
    assert!(asked.iter().filter(|url| url.starts_with(&home)).count() > 10, "{asked:?}");
    // The page that Chromium begins with is in Chromium itself.
    let is_here = |url: &&String| url.starts_with(&home) || url.starts_with("data:") || url.starts_with("chrome:");
    let elsewhere: Vec<&String> = asked.iter().filter(|url| !is_here(url)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");

    drop_file(directory.path(), "shop.yaml", APP);
    browser.without_scripts();
    browser.open(&home);
    browser.expect("!document.documentElement.dataset.live");
    resolve(&browser);
    page_through(&browser);
    browser.expect("!document.documentElement.dataset.live");
}

#[test]
fn the_page_is_read_at_any_width_in_the_dark_and_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let (_directory, server) = crowded();
    let url = format!("http://{}/?name=shop.herokuapp.com&from=10.0.200.1&files=all", server.admin());
    let mut grounds = Vec::new();
    for (width, scheme) in [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")] {
        browser.dress(width, scheme);
        browser.open(&url);
        let place = format!("{width} {scheme}");
        assert_eq!(browser.run("return innerWidth"), width, "{place}");
        assert_eq!(
            browser.run("return document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{place}: it is wider"
        );
        let faint = browser.run(FAINT);
        assert_eq!(faint, serde_json::json!([]), "{place}: text that is hard to read");
        grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        let picture = browser.picture();
        let file = format!("{}/page-{width}-{scheme}.png", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(file, &picture).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture[16..20] == width.to_be_bytes(), "{place}");
        assert!(picture.len() > 20_000, "{place}: an empty picture");
    }
    assert!(grounds[0] == grounds[2] && grounds[1] == grounds[3] && grounds[0] != grounds[1], "{grounds:?}");
    // From the top, everything that can be used comes in the order in which it is read, and shows that it is meant.
    browser.open(&url);
    let mut reached = Vec::new();
    for _ in 0..16 {
        browser.press(TAB);
        reached.push(browser.run(FOCUSED).as_str().unwrap().to_owned());
    }
    assert_eq!(
        reached,
        [
            "To the content",
            "Why",
            "Files",
            "Apps",
            "Changes",
            "Rates",
            "Upstreams",
            "Spaces",
            "name",
            "type",
            "from",
            "Resolve",
            "The response",
            "pre",
            "files",
            "Show"
        ]
    );
    browser.open(&url);
    browser.press(TAB);
    browser.press(ENTER);
    browser.expect("location.hash == '#main'");
    browser.press(TAB);
    assert_eq!(browser.run(FOCUSED), "name", "the link leads past the navigation");
}

/// What has the focus: its name, its text or what it is; a fault where that does not show.
const FOCUSED: &str = "const it = document.activeElement;
    if (getComputedStyle(it).outlineStyle == 'none') return 'nothing shows on ' + it.outerHTML;
    return it.name || (it.tagName == 'PRE' ? 'pre' : it.textContent);";

/// Text whose contrast with its ground is below 4.5, which WCAG 2 asks for (§1.4.3).
const FAINT: &str = "const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (text) => parse(text).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (it) => {
        for (; it; it = it.parentElement) {
            const found = getComputedStyle(it).backgroundColor;
            if ((parse(found)[3] ?? 1) == 1) return found;
        }
        return 'rgb(255, 255, 255)';
    };
    const faint = (it) => {
        const [one, other] = [getComputedStyle(it).color, ground(it)].map(light);
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
    };
    const has = (it) => [...it.childNodes].some((node) => node.nodeType == 3 && node.data.trim());
    return [...document.body.querySelectorAll('*')].filter((it) => has(it) && faint(it)).map((it) => it.outerHTML).slice(0, 5);";

/// As WebDriver has them.
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
