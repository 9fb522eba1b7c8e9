//! A client that asks a hundred times a second, and knows what may be answered: everything else is a fault, and so is an answer
//! that does not come.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::message::{Query, Response};
use crate::process::{PATIENCE, Server, ask, poll};

/// What one answer holds.
pub(crate) type Addresses = BTreeSet<String>;

/// Between two queries.
const PACE: Duration = Duration::from_millis(10);
/// How long one answer may take on a machine that has much else to do.
const LOST: Duration = PATIENCE;

/// Asks all the time, by one of a few names that all stand for the same instances.
pub(crate) struct Canary {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<usize, String>>>,
}

struct Shared {
    ended: AtomicBool,
    paused: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// What may be answered: what was seen last, and what is to come, in that order.
    allowed: Vec<Addresses>,
    /// Responses since that was last asked for.
    seen: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canary {
    /// Begins to ask for addresses.
    pub(crate) fn start(server: &Server, names: &[&str], first: Addresses) -> Self {
        let state = Mutex::new(State { allowed: vec![first], seen: 0 });
        let shared = Arc::new(Shared { ended: AtomicBool::new(false), paused: AtomicBool::new(false), state });
        let (address, own) = (server.address, Arc::clone(&shared));
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            let mut asked = 0;
            while !own.ended.load(Ordering::Relaxed) {
                let next = Instant::now() + PACE;
                if !own.paused.load(Ordering::Relaxed) {
                    sing(&socket, asked, &names[asked % names.len()], &own)?;
                    asked += 1;
                }
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(asked)
        });
        Self { shared, thread: Some(thread) }
    }

    /// Allows one more answer; once it is seen none before it may come.
    pub(crate) fn expect(&self, next: Addresses) {
        self.shared.state().allowed.push(next);
    }

    /// Waits until the last of what is allowed is seen; from then on nothing else may be.
    pub(crate) fn reach(&mut self) {
        self.wait(|state| state.allowed.len() == 1);
    }

    /// Makes a change and waits until it is answered; from then on nothing else may be.
    pub(crate) fn change(&mut self, next: Addresses, change: impl FnOnce()) {
        self.expect(next);
        change();
        self.reach();
    }

    /// Waits for so many responses of what is allowed.
    pub(crate) fn hold(&mut self, responses: usize) {
        self.shared.state().seen = 0;
        self.wait(|state| state.seen >= responses);
    }

    /// Asks nothing until told to go on.
    pub(crate) fn pause(&self) {
        self.shared.paused.store(true, Ordering::Relaxed);
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        self.shared.paused.store(false, Ordering::Relaxed);
    }

    fn wait(&mut self, reached: impl Fn(&State) -> bool) {
        let thread = self.thread.as_ref().unwrap();
        let waited = poll(PATIENCE, || (thread.is_finished() || reached(&self.shared.state())).then_some(()));
        if thread.is_finished() {
            panic!("{:?}", self.thread.take().unwrap().join().unwrap());
        }
        let state = self.shared.state();
        assert!(waited.is_some(), "not reached: allowed {:?}, seen {}", state.allowed, state.seen);
    }

    /// Ends it, and fails if anything was wrong; gives how many queries were asked.
    pub(crate) fn end(mut self) -> usize {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

/// Asks once and holds the response to what is allowed.
fn sing(socket: &UdpSocket, turn: usize, name: &str, shared: &Shared) -> Result<(), String> {
    let mut query = Query::new(name, 1);
    query.id = u16::try_from(turn % 65_536).unwrap();
    let response = ask(socket, &query.octets(), LOST).ok_or_else(|| format!("a query for {name} was lost"))?;
    let response = Response::read(&response)?;
    let answer: Addresses = response.answer.iter().map(|record| record.rdata.clone()).collect();
    let mut state = shared.state();
    // One query is in flight at a time: what was seen once is what the next response is held to.
    match state.allowed.iter().rposition(|allowed| *allowed == answer) {
        Some(which) if response.rcode == 0 && response.aa => {
            state.allowed.drain(..which);
            state.seen += 1;
            Ok(())
        }
        _ => Err(format!("not what is allowed, {:?}, but\n{response}", state.allowed)),
    }
}
