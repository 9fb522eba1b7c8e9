//! `/metrics`, `/top` and the query log of a real server: what is asked makes no series, and no raw control octet reaches anybody.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;

use crate::admin::get;
use crate::message::Query;
use crate::process::{PATIENCE, SPACEDNS, Server, ask, drop_file, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n\
                   instances: [{component: web, number: 1, address: 10.0.0.1}]\n";

/// Queries in the suite; set the variable to a million for the whole of it (minutes in a debug build).
const RANDOM: u32 = 10_000;
const RANDOM_SET: &str = "SPACEDNS_TEST_RANDOM_QUERIES";

struct World {
    server: Server,
    directory: tempfile::TempDir,
}

impl World {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop_file(directory.path(), "space.yaml", SPACE);
        drop_file(directory.path(), "shop.yaml", APP);
        let server = Server::start(|port| {
            let mut command = Command::new(SPACEDNS);
            command.arg("serve").arg(directory.path()).args(arguments);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin", "127.0.0.1:0"]);
            command
        });
        Self { server, directory }
    }

    fn metrics(&self) -> String {
        let page = get(self.server.admin(), "/metrics");
        assert_eq!(page.code, 200);
        assert!(page.head.contains("application/openmetrics-text; version=1.0.0"), "{}", page.head);
        assert!(page.body.ends_with("# EOF\n"));
        page.body
    }

    /// The value of a series.
    fn number(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    fn expect(&self, series: &str, wanted: u64) {
        let reached = poll(PATIENCE, || (self.number(series) == Some(wanted)).then_some(()));
        assert!(reached.is_some(), "{series} is {:?}, not {wanted}", self.number(series));
    }
}

/// The names and labels of every series, without their values.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn random_names_and_types_make_no_series_and_no_raw_octet_is_logged() {
    let world = World::start(&["--query-log", "1", "--log", "debug"]);
    let before = series(&world.metrics());
    let queries = std::env::var_os(RANDOM_SET).map_or(RANDOM, |set| set.to_str().unwrap().parse().unwrap());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.server.address).unwrap();
    // A generator of our own (SplitMix64), so that a run can be run again.
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let suffixes = [&b"\x00"[..], b"\x0aherokuapp\x03com\x00", b"\x03app\x0alocalspace\x00", b"\x07example\x00"];
    for number in 0..queries {
        let octets = [random().to_be_bytes(), random().to_be_bytes()].concat();
        let label = &octets[..1 + usize::try_from(random() % 15).unwrap()];
        let suffix = suffixes[usize::try_from(random() % 4).unwrap()];
        let mut query = Query::new(".", u16::try_from(random() & 0xffff).unwrap());
        query.id = u16::try_from(number & 0xffff).unwrap();
        query.qname = [&[u8::try_from(label.len()).unwrap()][..], label, suffix].concat();
        // Types that get no response would only be waited for.
        let _ = socket.send(&query.octets());
        if number % 50 == 49 {
            // Lets the server keep up, without a sleep.
            let marker = Query { id: 0x7abc, ..Query::new("shop.herokuapp.com", 1) };
            let _ = ask(&socket, &marker.octets(), PATIENCE).expect("it answers all the while");
        }
    }
    assert_eq!(series(&world.metrics()), before);
    for page in ["/top", "/top?format=text&most=1000"] {
        let page = get(world.server.admin(), page);
        assert_eq!(page.code, 200);
        assert!(is_clean(&page.body), "{}", page.body);
    }
    let log = world.server.log();
    assert!(log.lines().count() > usize::try_from(queries / 4).unwrap(), "the query log has what was asked");
    assert!(is_clean(&log), "a raw control octet");
}

fn is_clean(text: &str) -> bool {
    text.chars().all(|character| character == '\n' || !character.is_control())
}

#[test]
fn what_is_served_and_what_is_asked_is_counted() {
    let world = World::start(&[]);
    world.expect("spacedns_ready", 1);
    world.expect("spacedns_instances{state=\"up\"}", 1);
    world.expect("spacedns_instances{state=\"unregistered\"}", 1);
    world.expect("spacedns_apps{gate=\"open\"}", 1);
    let queries = "spacedns_queries_total{transport=\"udp\",family=\"ipv4\",type=\"AAAA\"}";
    let before = world.number(queries).unwrap();
    for _ in 0..640 {
        world.server.ask(&Query::new("shop.herokuapp.com", 28).octets(), PATIENCE).unwrap();
    }
    world.expect(queries, before + 640);
    let types = world.number("spacedns_negative_answers_total{reason=\"type\"}").unwrap();
    assert!(types >= 640, "{types}");
    world.server.ask(&Query::new("nobody.app.localspace", 1).octets(), PATIENCE).unwrap();
    world.expect("spacedns_negative_answers_total{reason=\"unknown\"}", 1);
    world.server.ask(&Query::new("www.example.com", 1).octets(), PATIENCE).unwrap();
    world.expect("spacedns_responses_total{transport=\"udp\",family=\"ipv4\",rcode=\"REFUSED\",source=\"refused\"}", 1);
    let top = get(world.server.admin(), "/top").json();
    assert_eq!(
        (top["names"][0]["name"].as_str(), top["callers"][0]["caller"].as_str()),
        (Some("shop.herokuapp.com."), Some("127.0.0.1")),
        "{top}"
    );
    assert_eq!(top["negatives"][0]["reason"], "type");
    let text = get(world.server.admin(), "/top?format=text").body;
    assert!(text.contains("shop.herokuapp.com. (type)"), "{text}");
    for wrong in ["/top?most=x", "/top?format=xml", "/top?mots=3"] {
        assert_eq!(get(world.server.admin(), wrong).code, 400, "{wrong}");
    }
    // A change is seen in what is served, and timed.
    drop_file(
        world.directory.path(),
        "web.2.json",
        r#"{"app": "shop", "component": "web", "number": 2, "address": "10.0.0.2"}"#,
    );
    world.expect("spacedns_instances{state=\"up\"}", 2);
    world.expect("spacedns_change_duration_seconds_count", 1);
    assert!(world.number("spacedns_reload_duration_seconds_count").is_some_and(|count| count >= 1));
}

#[test]
fn the_query_log_has_those_that_were_asked_for() {
    let world = World::start(&["--query-log-name", "herokuapp.com"]);
    world.server.ask(&Query::new("nobody.app.localspace", 1).octets(), PATIENCE).unwrap();
    world.server.ask(&Query::new("SHOP.herokuapp.com", 1).octets(), PATIENCE).unwrap();
    let line = "127.0.0.1 udp SHOP.herokuapp.com. A NOERROR own";
    let logged = poll(PATIENCE, || world.server.log().contains(line).then_some(()));
    assert!(logged.is_some(), "{}", world.server.log());
    assert!(!world.server.log().contains("nobody"), "{}", world.server.log());
}
