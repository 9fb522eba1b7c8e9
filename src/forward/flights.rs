//! Questions on their way to an upstream: each flies once, for everyone who asks it.
//!
//! One thread, so there is no lock. A flight ends with a response or a failure, within four seconds; where there is a response that
//! has run out, whoever waits has that after 1.8 s and the flight goes on without them (RFC 8767 §5).

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::rustls::ClientConfig;

use super::cache::{Failure, Known};
use super::exchange::Exchange;
use super::stored::Stored;
use super::{Config, Outcome, Question, Shared, Waiting};
use crate::observe::Limit;

/// The other end: what asks upstreams.
pub struct Queue<T> {
    shared: Arc<Shared>,
    receiver: mpsc::Receiver<Waiting<T>>,
    tls: Arc<ClientConfig>,
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T: 'static> Queue<T> {
    pub(super) fn new(shared: Arc<Shared>, receiver: mpsc::Receiver<Waiting<T>>, tls: Arc<ClientConfig>) -> Self {
        Self { shared, receiver, tls }
    }

    /// Asks upstreams until every [`Forwarder`](super::Forwarder) is gone; within a [`tokio::task::LocalSet`]. Each ticket is
    /// delivered once, by `deliver`, which must not wait. `made_room` is told how many responses had to go for a newer one.
    pub async fn run(self, deliver: impl Fn(T, &Outcome) + 'static, made_room: impl Fn(u64) + 'static) {
        let Self { shared, mut receiver, tls } = self;
        let Config { routes, upstreams, .. } = &shared.config;
        let exchange = Rc::new(Exchange::new(routes, upstreams, tls, Arc::clone(&shared.clock)));
        let (table, landed) = (RefCell::default(), Notify::new());
        let tower = Rc::new(Tower { shared, exchange, table, landed, deliver, made_room: Box::new(made_room) });
        while let Some(waiting) = receiver.recv().await {
            tower.take(waiting);
        }
        while !tower.table.borrow().flights.is_empty() {
            tower.landed.notified().await;
        }
    }
}

/// Sees to it that flights end.
struct Tower<T, D> {
    shared: Arc<Shared>,
    exchange: Rc<Exchange>,
    table: RefCell<Table<T>>,
    landed: Notify,
    deliver: D,
    made_room: Box<dyn Fn(u64)>,
}

struct Table<T> {
    flights: HashMap<Question, Flight<T>>,
    /// How many flights each domain has.
    domains: HashMap<Box<[u8]>, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { flights: HashMap::new(), domains: HashMap::new() }
    }
}

struct Flight<T> {
    waiting: Vec<Waiting<T>>,
    /// What whoever comes late has at once: the others were given it already.
    given: Option<Arc<Stored>>,
}

impl<T: 'static, D: Fn(T, &Outcome) + 'static> Tower<T, D> {
    fn take(self: &Rc<Self>, waiting: Waiting<T>) {
        let question = waiting.permit.question();
        let boarding = catch_unwind(AssertUnwindSafe(|| self.board(question)));
        match boarding.unwrap_or(Boarding::Answered(Outcome::Failed(Failure::Broken))) {
            Boarding::Answered(outcome) => self.deliver(waiting, &outcome),
            Boarding::Flying => {
                if let Some(flight) = self.table.borrow_mut().flights.get_mut(question) {
                    flight.waiting.push(waiting);
                }
            }
            Boarding::Start(stale) => {
                let question = question.clone();
                let mut table = self.table.borrow_mut();
                *table.domains.entry(question.domain().into()).or_default() += 1;
                table.flights.insert(question.clone(), Flight { waiting: vec![waiting], given: None });
                drop(table);
                spawn_local(Rc::clone(self).fly(question, stale));
            }
        }
    }

    fn board(&self, question: &Question) -> Boarding {
        let table = self.table.borrow();
        if let Some(flight) = table.flights.get(question) {
            return match &flight.given {
                Some(stale) => Boarding::Answered(Outcome::Stale(Arc::clone(stale))),
                None => Boarding::Flying,
            };
        }
        let of_domain = table.domains.get(question.domain()).copied().unwrap_or(0);
        let limits = &self.shared.config.limits;
        let full = match () {
            () if of_domain >= limits.per_domain => Some(Limit::ForwardsPerDomain),
            () if table.flights.len() >= limits.queries => Some(Limit::Forwards),
            () => None,
        };
        // It may have landed while this one was in the queue.
        match self.shared.cache.look_up(question.key(), (self.shared.clock)()) {
            Known::Fresh(stored, age) => Boarding::Answered(Outcome::Fresh(stored, age)),
            Known::Failed(_, Some(stale)) => Boarding::Answered(Outcome::Stale(stale)),
            Known::Failed(why, None) => Boarding::Answered(Outcome::Failed(why)),
            Known::Expired(stale) if full.is_some() => Boarding::Answered(Outcome::Stale(stale)),
            Known::Expired(stale) => Boarding::Start(Some(stale)),
            Known::Nothing => match full {
                Some(limit) => Boarding::Answered(Outcome::Failed(Failure::Busy(limit))),
                None => Boarding::Start(None),
            },
        }
    }

    /// Sees a question through to its end: whoever waits is answered, even if something of ours breaks on what an upstream sent.
    async fn fly(self: Rc<Self>, question: Question, stale: Option<Arc<Stored>>) {
        let resolved = unwinding(self.resolve(&question, stale)).await;
        let outcome = resolved.unwrap_or(Outcome::Failed(Failure::Broken));
        for waiting in self.land(&question) {
            self.deliver(waiting, &outcome);
        }
        self.landed.notify_one();
    }

    async fn resolve(&self, question: &Question, stale: Option<Arc<Stored>>) -> Outcome {
        let exchange = Rc::clone(&self.exchange);
        let resolving = exchange.resolve(question);
        tokio::pin!(resolving);
        let landed = match &stale {
            None => resolving.await,
            Some(stale) => tokio::select! {
                biased;
                landed = &mut resolving => landed,
                () = sleep(CLIENT_PATIENCE) => {
                    self.give(question, stale);
                    resolving.await
                }
            },
        };
        let now = (self.shared.clock)();
        let local = self.shared.local(question);
        let stored = landed.and_then(|reading| Stored::of(reading, question, local).ok_or(Failure::Declined));
        let (gone, outcome) = match stored {
            Ok(stored) => {
                let stored = Arc::new(stored);
                (self.shared.cache.keep(question.key(), &stored, now), Outcome::Fresh(stored, 0))
            }
            Err(why) => {
                let gone = self.shared.cache.fail(question.key(), why, now);
                (gone, stale.map_or(Outcome::Failed(why), Outcome::Stale))
            }
        };
        (self.made_room)(gone);
        outcome
    }

    /// Gives whoever waits what has run out.
    fn give(&self, question: &Question, stale: &Arc<Stored>) {
        let mut table = self.table.borrow_mut();
        let Some(flight) = table.flights.get_mut(question) else { return };
        flight.given = Some(Arc::clone(stale));
        let waiting = std::mem::take(&mut flight.waiting);
        drop(table);
        let outcome = Outcome::Stale(Arc::clone(stale));
        waiting.into_iter().for_each(|waiting| self.deliver(waiting, &outcome));
    }

    fn land(&self, question: &Question) -> Vec<Waiting<T>> {
        let mut table = self.table.borrow_mut();
        if let Some(count) = table.domains.get_mut(question.domain()) {
            *count -= 1;
            if *count == 0 {
                table.domains.remove(question.domain());
            }
        }
        table.flights.remove(question).map(|flight| flight.waiting).unwrap_or_default()
    }

    fn deliver(&self, waiting: Waiting<T>, outcome: &Outcome) {
        let Waiting { permit, ticket } = waiting;
        // Whoever waits behind this one is answered all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.deliver)(ticket, outcome)));
        drop(permit);
    }
}

/// What comes of `future`; `None` when it panics. It is not looked at again then.
async fn unwinding<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// What becomes of a question that comes in.
enum Boarding {
    /// It has its outcome.
    Answered(Outcome),
    /// It is on its way already.
    Flying,
    /// It has to be sent, with a response at hand that has run out.
    Start(Option<Arc<Stored>>),
}

/// How long a client waits before it is given what has run out (RFC 8767 §5).
const CLIENT_PATIENCE: Duration = Duration::from_millis(1_800);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::task::LocalSet;

    use super::super::response::tests::message;
    use super::super::upstream::{Routes, Setting};
    use super::super::{Answered, Foreign, new};
    use super::*;
    use crate::engine::{Ask, Recursion, Settings, Transport, Trust};
    use crate::zone::Snapshot;

    #[test]
    fn a_panic_in_flight_leaves_nobody_waiting_and_the_next_question_flies() {
        // Nobody is there, which is known at once.
        let setting: Setting = "127.0.0.1:1".parse().unwrap();
        let routes = Routes::new(&[setting], |_| unreachable!(), |_| false).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut broken, mut whole) = (0, 0);
        // The clock is looked at before, in and after the flight; each time is one to break at.
        for breaks_at in 0..12_u32 {
            let looked = Arc::new(std::sync::atomic::AtomicU32::new(0));
            let clock = move || {
                let before = looked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert!(before != breaks_at + 3, "as asked");
                Duration::ZERO
            };
            let (forwarder, queue) = new::<u16>(Config::new(routes.clone()), Arc::new(clock)).unwrap();
            let settings = Settings::new();
            let ask = Ask {
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                trust: Trust::Nobody,
                transport: Transport::Udp,
                turn: 0,
                recursion: Recursion::Available,
                settings: &settings,
                secrets: None,
                now: 0,
            };
            let snapshot = Snapshot::starting();
            for ticket in 0..3 {
                let mut query = message("www.example", 1, 0, &[]);
                query[2] = 1;
                let foreign = Foreign { snapshot: &snapshot, ask: &ask, message: &query };
                let Answered::Wanted(wanted) = forwarder.answer(&foreign, &mut [0; 512]) else { panic!() };
                forwarder.ask(wanted, ticket).unwrap();
            }
            let delivered = Rc::new(RefCell::new(Vec::new()));
            let outcomes = Rc::clone(&delivered);
            let first = Cell::new(true);
            let deliver = move |ticket: u16, outcome: &Outcome| {
                outcomes.borrow_mut().push((ticket, outcome.clone()));
                assert!(!first.replace(false), "whoever takes the first breaks as well");
            };
            drop(forwarder);
            LocalSet::new().block_on(&runtime, queue.run(deliver, |_| ()));
            let tickets: Vec<u16> = delivered.borrow().iter().map(|(ticket, _)| *ticket).collect();
            assert_eq!(tickets, [0, 1, 2], "each once, broken at {breaks_at}");
            let is_broken = delivered.borrow().iter().any(|(_, outcome)| *outcome == Outcome::Failed(Failure::Broken));
            if is_broken { broken += 1 } else { whole += 1 }
        }
        assert!(broken > 1 && whole > 1, "{broken} broke and {whole} did not");
    }
}
