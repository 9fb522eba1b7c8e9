//! Files change while queries run: every response is entirely the old or entirely the new, none is lost, and a broken file
//! changes nothing and shows its fault.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::message::{Query, Response};
use crate::process::{PATIENCE, SPACEDNS, Server, ask, drop_file, poll};

/// What one answer holds.
type Addresses = BTreeSet<String>;

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n";
const REGISTRATIONS: &str = "instances/shop.yaml";
/// Between two queries of the canary: 100 a second.
const PACE: Duration = Duration::from_millis(10);
const ROUNDS: u8 = 10;

#[test]
fn every_response_under_reload_is_entirely_old_or_entirely_new() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    drop_file(place, "space.yaml", SPACE);
    drop_file(place, "shop.yaml", APP);
    drop_file(place, REGISTRATIONS, &registrations(0));
    let server = Server::spacedns(place);
    let mut canary = Canary::start(&server, addresses(0));
    for round in 0..ROUNDS {
        let [one, two, three, four] = [1, 2, 3, 4].map(|step| round * 10 + step);
        // Renamed in.
        canary.change(addresses(one), || drop_file(place, REGISTRATIONS, &registrations(one)));
        // Edited in place.
        canary.change(addresses(two), || std::fs::write(place.join(REGISTRATIONS), registrations(two)).unwrap());
        // Broken, by rename and in place: nothing changes, and the fault is shown.
        drop_file(place, REGISTRATIONS, "app: shop\ninstances: [\n");
        assert_shows_fault(&server, place);
        std::fs::write(place.join(REGISTRATIONS), "app: shop\ninstances:\n  - {component: web, number: none}\n")
            .unwrap();
        canary.hold(20);
        // Mended.
        canary.change(addresses(three), || drop_file(place, REGISTRATIONS, &registrations(three)));
        // Removed.
        canary.change(Addresses::new(), || std::fs::remove_file(place.join(REGISTRATIONS)).unwrap());
        canary.change(addresses(four), || drop_file(place, REGISTRATIONS, &registrations(four)));
    }
    let asked = canary.end();
    assert!(asked > 100, "only {asked} queries were asked");
}

/// Two instances that nothing but this version of the file has.
fn registrations(version: u8) -> String {
    let instances: Vec<String> = addresses(version)
        .iter()
        .zip(1..)
        .map(|(address, number)| format!("  - {{component: web, number: {number}, address: {address}}}\n"))
        .collect();
    format!("app: shop\ninstances:\n{}", instances.concat())
}

fn addresses(version: u8) -> Addresses {
    [1, 2].map(|host| format!("10.0.{version}.{host}")).into()
}

/// `check` lists the fault, and the server has logged it.
fn assert_shows_fault(server: &Server, directory: &std::path::Path) {
    let check = Command::new(SPACEDNS).arg("check").arg(directory).output().unwrap();
    let listed = [check.stdout, check.stderr].concat();
    let listed = String::from_utf8_lossy(&listed);
    assert_eq!(check.status.code(), Some(1), "{listed}");
    assert!(listed.contains(REGISTRATIONS), "{listed}");
    let logged = poll(PATIENCE, || server.log().contains(REGISTRATIONS).then_some(()));
    assert!(logged.is_some(), "the fault is not logged:\n{}", server.log());
}

/// Asks all the time, and knows what may be answered.
struct Canary {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<Result<usize, String>>>,
}

struct Shared {
    ended: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// What is served, and while a change is under way what will be.
    allowed: Vec<Addresses>,
    /// Responses of each of the allowed, since the change began.
    seen: Vec<usize>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canary {
    fn start(server: &Server, first: Addresses) -> Self {
        let state = Mutex::new(State { allowed: vec![first], seen: vec![0] });
        let shared = Arc::new(Shared { ended: AtomicBool::new(false), state });
        let (address, own) = (server.address, Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            let mut asked = 0;
            while !own.ended.load(Ordering::Relaxed) {
                let next = Instant::now() + PACE;
                asked += 1;
                sing(&socket, asked, &own)?;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(asked)
        });
        Self { shared, thread: Some(thread) }
    }

    /// Makes a change and waits until it is answered; from then on nothing else may be.
    fn change(&mut self, next: Addresses, change: impl FnOnce()) {
        {
            let mut state = self.shared.state();
            state.allowed.push(next);
            state.seen = vec![0, 0];
        }
        change();
        self.wait(|state| state.seen[1] > 0);
        let mut state = self.shared.state();
        state.allowed.remove(0);
        state.seen = vec![0];
    }

    /// Waits for so many responses of what is served.
    fn hold(&mut self, responses: usize) {
        self.shared.state().seen = vec![0];
        self.wait(|state| state.seen[0] >= responses);
    }

    fn wait(&mut self, reached: impl Fn(&State) -> bool) {
        let thread = self.thread.as_ref().unwrap();
        let waited = poll(PATIENCE, || (thread.is_finished() || reached(&self.shared.state())).then_some(()));
        if thread.is_finished() {
            panic!("{:?}", self.thread.take().unwrap().join().unwrap());
        }
        let state = self.shared.state();
        assert!(waited.is_some(), "not reached: allowed {:?}, seen {:?}", state.allowed, state.seen);
    }

    fn end(mut self) -> usize {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

/// Asks once, by one of three names that all stand for the same instances, and holds the response to what is allowed.
fn sing(socket: &UdpSocket, turn: usize, shared: &Shared) -> Result<(), String> {
    let names = ["shop.herokuapp.com", "web.shop.app.localspace", "WEB.Shop.App.LocalSpace"];
    let mut query = Query::new(names[turn % names.len()], 1);
    query.id = u16::try_from(turn % 65_536).unwrap();
    let response = ask(socket, &query.octets(), Duration::from_secs(2)).ok_or("a query was lost")?;
    let response = Response::read(&response)?;
    let answer: Addresses = response.answer.iter().map(|record| record.rdata.clone()).collect();
    let mut state = shared.state();
    // What was asked before a change was over and is answered after cannot be: one query is in flight at a time, and the
    // change is over when its answer was seen.
    match state.allowed.iter().rposition(|allowed| *allowed == answer) {
        Some(which) if response.rcode == 0 && response.aa => {
            if state.seen.get(1).is_some_and(|seen| *seen > 0) && which == 0 {
                return Err(format!("after the new, the old again: {answer:?}"));
            }
            state.seen[which] += 1;
            Ok(())
        }
        _ => Err(format!("neither the old nor the new: allowed {:?}, but\n{response}", state.allowed)),
    }
}
