//! Questions on their way to an upstream: each flies once, for everyone who asks it.
//!
//! One thread, so there is no lock. A flight ends with a response or a failure, within four seconds; where there is a response that
//! has run out, whoever waits has that after 1.8 s and the flight goes on without them (RFC 8767 §5).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::rustls::ClientConfig;

use super::cache::{Failure, Known};
use super::exchange::Exchange;
use super::stored::Stored;
use super::{Outcome, Question, Shared, Waiting};

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
    /// delivered once, by `deliver`, which must not wait.
    pub async fn run(self, deliver: impl Fn(T, &Outcome) + 'static) {
        let Self { shared, mut receiver, tls } = self;
        let exchange = Rc::new(Exchange::new(&shared.config.routes, tls, Arc::clone(&shared.clock)));
        let tower = Rc::new(Tower { shared, exchange, table: RefCell::default(), landed: Notify::new(), deliver });
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
        match self.board(&waiting.question) {
            Boarding::Answered(outcome) => self.deliver(waiting, &outcome),
            Boarding::Flying => {
                if let Some(flight) = self.table.borrow_mut().flights.get_mut(&waiting.question) {
                    flight.waiting.push(waiting);
                }
            }
            Boarding::Start(stale) => {
                let question = waiting.question.clone();
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
                None if flight.waiting.len() >= WAITERS_MAX => Boarding::Answered(Outcome::Failed(Failure::Busy)),
                None => Boarding::Flying,
            };
        }
        let of_domain = table.domains.get(question.domain()).copied().unwrap_or(0);
        let is_full = of_domain >= DOMAIN_MAX || table.flights.len() >= FLIGHTS_MAX;
        // It may have landed while this one was in the queue.
        match self.shared.cache.look_up(question.key(), (self.shared.clock)()) {
            Known::Fresh(stored, age) => Boarding::Answered(Outcome::Fresh(stored, age)),
            Known::Failed(_, Some(stale)) => Boarding::Answered(Outcome::Stale(stale)),
            Known::Failed(why, None) => Boarding::Answered(Outcome::Failed(why)),
            Known::Expired(stale) if is_full => Boarding::Answered(Outcome::Stale(stale)),
            Known::Nothing if is_full => Boarding::Answered(Outcome::Failed(Failure::Busy)),
            Known::Expired(stale) => Boarding::Start(Some(stale)),
            Known::Nothing => Boarding::Start(None),
        }
    }

    async fn fly(self: Rc<Self>, question: Question, stale: Option<Arc<Stored>>) {
        let exchange = Rc::clone(&self.exchange);
        let resolving = exchange.resolve(&question);
        tokio::pin!(resolving);
        let landed = match &stale {
            None => resolving.await,
            Some(stale) => tokio::select! {
                biased;
                landed = &mut resolving => landed,
                () = sleep(CLIENT_PATIENCE) => {
                    self.give(&question, stale);
                    resolving.await
                }
            },
        };
        let now = (self.shared.clock)();
        let local = self.shared.local(&question);
        let stored = landed.and_then(|reading| Stored::of(reading, &question, local).ok_or(Failure::Declined));
        let outcome = match stored {
            Ok(stored) => {
                let stored = Arc::new(stored);
                self.shared.cache.keep(question.key(), &stored, now);
                Outcome::Fresh(stored, 0)
            }
            Err(why) => {
                self.shared.cache.fail(question.key(), why, now);
                stale.map_or(Outcome::Failed(why), Outcome::Stale)
            }
        };
        for waiting in self.land(&question) {
            self.deliver(waiting, &outcome);
        }
        self.landed.notify_one();
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
        let Waiting { permit, ticket, .. } = waiting;
        (self.deliver)(ticket, outcome);
        drop(permit);
    }
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

/// Who may wait for one question.
const WAITERS_MAX: usize = 64;
/// Questions of one registered domain on their way.
const DOMAIN_MAX: usize = 64;
/// Questions on their way in all; some of them for nobody but the cache.
const FLIGHTS_MAX: usize = 4096;
/// How long a client waits before it is given what has run out (RFC 8767 §5).
const CLIENT_PATIENCE: Duration = Duration::from_millis(1_800);
