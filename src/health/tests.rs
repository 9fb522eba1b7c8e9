//! The schedule with time as a field, and single checks against backends on loopback.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::probe;
use super::schedule::{Begun, CHECKS_MAX, Ended, Outcome, SHARE_MAX, Schedule};
use crate::control::checks::{Begins, Finding, Target};

const PERIOD: Duration = Duration::from_secs(10);

fn target(app: u32, begins: Begins) -> Target {
    Target {
        app,
        addresses: vec![IpAddr::from([10, 0, 0, 1])],
        port: 8080,
        http_path: Some("/health".to_owned()),
        initial_delay: Duration::ZERO,
        period: PERIOD,
        timeout: Duration::from_secs(1),
        success_threshold: 2,
        failure_threshold: 3,
        begins,
    }
}

/// A schedule and its clock.
struct World {
    schedule: Schedule,
    now: Duration,
}

impl World {
    fn new() -> Self {
        Self { schedule: Schedule::new(7), now: Duration::from_secs(100) }
    }

    fn set(&mut self, id: u64, target: Target) {
        self.schedule.set(id, Arc::new(target), self.now);
    }

    fn begin_all(&mut self) -> Vec<Begun> {
        std::iter::from_fn(|| self.schedule.begin(self.now)).collect()
    }

    fn end(&mut self, check: &Begun, outcome: Outcome) -> Option<Finding> {
        let Begun { id, target, begun } = check;
        self.schedule.end(Ended { id: *id, app: target.app, begun: *begun, outcome }, self.now)
    }

    /// Lets the next check come and end with each outcome in turn; what was said of it.
    fn hear(&mut self, outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Option<Finding>> {
        let mut said = Vec::new();
        for outcome in outcomes {
            self.now = self.schedule.next().expect("it is checked again");
            let [check] = &self.begin_all()[..] else { panic!("one check") };
            said.push(self.end(check, outcome));
        }
        said
    }
}

fn failed(words: &str) -> Outcome {
    Outcome::Failed(words.into())
}

fn unready(words: &str) -> Option<Finding> {
    Some(Finding::Unready(words.into()))
}

#[test]
fn one_that_is_presumed_ready_leaves_after_so_many_failures_and_is_back_after_so_many_successes() {
    use Outcome::{Passed, Unknown};
    let mut world = World::new();
    world.set(1, target(1, Begins::Ready));
    assert_eq!(world.hear([failed("a"), failed("a"), Passed]), [None, None, Some(Finding::Ready)]);
    assert_eq!(world.hear([Passed, failed("a"), failed("a")]), [None, None, None], "two in a row are not three");
    assert_eq!(world.hear([Unknown, failed("b"), failed("b")]), [None, unready("b"), None]);
    assert_eq!(world.hear([failed("c"), Passed, failed("c")]), [unready("c"), None, None]);
    assert_eq!(world.hear([Passed, Passed]), [None, Some(Finding::Ready)]);
}

#[test]
fn one_that_waits_is_ready_after_so_many_successes_and_says_at_once_why_it_is_not() {
    use Outcome::Passed;
    let mut world = World::new();
    world.set(1, target(1, Begins::Unready));
    assert_eq!(world.hear([failed("refused"), failed("refused"), Passed]), [unready("refused"), None, None]);
    assert_eq!(world.hear([Passed]), [Some(Finding::Ready)]);
}

#[test]
fn a_new_one_is_checked_at_once_after_its_delay_and_presumed_ones_spread_over_their_period() {
    let mut world = World::new();
    world.set(1, Target { initial_delay: Duration::from_secs(5), ..target(1, Begins::Unready) });
    assert_eq!(world.schedule.next(), Some(world.now + Duration::from_secs(5)));
    world.schedule.remove(1);
    assert_eq!(world.schedule.next(), None);
    for id in 0..1000 {
        world.set(id, target(1, Begins::Ready));
    }
    let begun = world.now;
    let mut tenths = [0; 10];
    while let Some(at) = world.schedule.next() {
        world.now = at;
        for check in world.begin_all() {
            tenths[usize::try_from((at - begun).as_millis() / 1000).unwrap()] += 1;
            world.schedule.remove(check.id);
            world.end(&check, Outcome::Passed);
        }
    }
    assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
}

#[test]
fn a_check_comes_once_a_period_and_a_little_later() {
    let mut world = World::new();
    world.set(1, target(1, Begins::Unready));
    for _ in 0..50 {
        let at = world.schedule.next().unwrap();
        world.now = at;
        let [check] = &world.begin_all()[..] else { panic!("one check") };
        world.now += Duration::from_millis(700);
        world.end(check, Outcome::Passed);
        let pause = world.schedule.next().unwrap() - at;
        assert!((PERIOD..=PERIOD * 11 / 10).contains(&pause), "{pause:?}");
    }
}

#[test]
fn an_app_that_hangs_holds_up_nobody_else() {
    let mut world = World::new();
    for id in 0..1000 {
        world.set(id, target(1, Begins::Unready));
    }
    assert_eq!(world.begin_all().len(), SHARE_MAX, "an app has its share");
    world.set(1000, target(2, Begins::Unready));
    let [other] = &world.begin_all()[..] else { panic!("the other app is checked at once") };
    assert_eq!(other.id, 1000);
    // With every place taken, the apps take turns.
    for app in 3..200 {
        for number in 0..20 {
            world.set(u64::from(app) * 1000 + number, target(app, Begins::Unready));
        }
    }
    let running = world.begin_all();
    assert_eq!(running.len() + SHARE_MAX + 1, CHECKS_MAX);
    assert_eq!(world.schedule.next(), None, "nothing begins before something ends");
    let mut begun = std::collections::BTreeSet::new();
    for check in &running[..100] {
        world.end(check, Outcome::Passed);
        begun.extend(world.begin_all().iter().map(|check| check.target.app));
    }
    assert!(begun.len() > 90, "{} apps had a turn of 100", begun.len());
}

#[test]
fn what_seems_late_because_this_side_was_stopped_tells_nothing() {
    let mut world = World::new();
    world.set(1, Target { failure_threshold: 1, ..target(1, Begins::Ready) });
    let late = || Outcome::TimedOut("GET /health timed out".into());
    world.now = world.schedule.next().unwrap();
    let [check] = &world.begin_all()[..] else { panic!("one check") };
    world.now += Duration::from_secs(120);
    assert_eq!(world.end(check, late()), None);
    world.now = world.schedule.next().unwrap();
    let [check] = &world.begin_all()[..] else { panic!("one check") };
    world.now += Duration::from_secs(1);
    assert_eq!(world.end(check, late()), unready("GET /health timed out"));
}

#[test]
fn other_terms_of_a_target_leave_what_was_found() {
    let mut world = World::new();
    world.set(1, target(1, Begins::Unready));
    world.hear([Outcome::Passed, Outcome::Passed]);
    world.set(1, Target { failure_threshold: 1, port: 9, ..target(1, Begins::Unready) });
    assert_eq!(world.hear([failed("a")]), [unready("a")]);
}

/// A backend on loopback that gives every connection these octets, and what the first one asked.
fn backend(response: &'static [u8]) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let _ = asked.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ = stream.write_all(response);
        }
    });
    (port, heard)
}

fn probe(target: &Target) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe::check(target))
}

fn at(port: u16, path: Option<&str>) -> Target {
    Target {
        addresses: vec![IpAddr::from([127, 0, 0, 1])],
        port,
        http_path: path.map(str::to_owned),
        timeout: Duration::from_secs(20),
        ..target(1, Begins::Ready)
    }
}

#[test]
fn a_status_from_200_to_399_passes_and_no_other() {
    for (response, expected) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], Outcome::Passed),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Outcome::Passed),
        // Where it points is none of ours: nobody goes there.
        (b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\n\r\n", Outcome::Passed),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", failed("GET /health 503")),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 1000000000\r\n\r\nx", failed("GET /health 404")),
        (b"220 mail.example ESMTP\r\n", failed("GET /health no HTTP response")),
        (b"", failed("GET /health closed without response")),
    ] {
        let (port, heard) = backend(response);
        assert_eq!(probe(&at(port, Some("/health?token=secret"))), expected);
        let asked = heard.recv().unwrap();
        assert!(asked.starts_with("GET /health?token=secret HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
    }
}

#[test]
fn a_head_without_end_is_cut() {
    let endless = Box::leak(format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(1_000_000)).into_boxed_str());
    let (port, _heard) = backend(endless.as_bytes());
    assert!(matches!(probe(&at(port, Some("/"))), Outcome::Failed(_)));
}

#[test]
fn a_path_cannot_lead_elsewhere() {
    let (port, heard) = backend(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(probe(&at(port, Some("//192.0.2.1/x"))), Outcome::Passed);
    let asked = heard.recv().unwrap();
    assert!(asked.to_lowercase().contains("host: 127.0.0.1"), "{asked}");
}

#[test]
fn without_a_path_connecting_is_all() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(probe(&at(port, None)), Outcome::Passed);
    drop(listener);
    assert_eq!(probe(&at(port, None)), failed(&format!("TCP {port} connection refused")));
}

#[test]
fn every_address_must_pass_and_the_one_that_does_not_is_named() {
    let (port, _heard) = backend(b"HTTP/1.1 200 OK\r\n\r\n");
    let two = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
    let target = Target { addresses: two.to_vec(), ..at(port, Some("/health")) };
    assert_eq!(probe(&target), failed("GET /health at 127.0.0.2 connection refused"));
}

#[test]
fn one_that_accepts_and_says_nothing_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target { timeout: Duration::from_millis(50), ..at(port, Some(&format!("/{}", "a".repeat(60)))) };
    let expected = format!("GET /{}... timed out", "a".repeat(47));
    assert_eq!(probe(&target), Outcome::TimedOut(expected.into()));
}
