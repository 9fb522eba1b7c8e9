//! The thread that asks upstreams and sends what they say to whoever waits for it.
//!
//! It shares nothing with the workers but the queue and the cache: a slow upstream, or a thousand, keeps no name of ours waiting. What it
//! sends is made from the snapshot of that moment: a name that has become ours under way is answered as ours.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::answer::{Desk, Reply, Said, Ticket};
use super::batch;
use super::phase::Phase;
use super::streams::TICK;
use crate::forward::{Outcome, Queue};
use crate::observe::{Counters, Event, Limit};
use crate::publish::Reader;

/// The runtime of the thread; made before it, so that what fails is reported.
pub(super) struct Runtime {
    runtime: tokio::runtime::Runtime,
    queue: Queue<Ticket>,
}

impl Runtime {
    pub(super) fn new(queue: Queue<Ticket>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { runtime, queue })
    }

    /// Asks until every worker is gone and has what it asked for, or until `drain` after a stop.
    pub(super) fn run(
        self,
        desk: Desk,
        reader: Reader,
        counters: Arc<Counters>,
        drain: Duration,
        mut stop: watch::Receiver<Phase>,
    ) {
        let Self { runtime, queue } = self;
        let worker = Rc::new(RefCell::new(Worker { reader, response: vec![0; usize::from(u16::MAX)].into() }));
        let resting = Rc::clone(&worker);
        let cache = Arc::clone(&counters);
        let made_room = move |gone| cache.limit(Limit::ForwardCache, gone);
        let deliver = move |ticket: Ticket, outcome: &Outcome| {
            worker.borrow_mut().deliver(&desk, &counters, ticket, outcome);
        };
        let keep_up = async {
            loop {
                sleep(TICK).await;
                resting.borrow_mut().reader.keep_up();
            }
        };
        LocalSet::new().block_on(&runtime, async {
            let stopped = async {
                let _ = stop.wait_for(Phase::is_over).await;
            };
            let running = queue.run(deliver, made_room);
            tokio::pin!(running);
            tokio::select! {
                () = &mut running => {}
                () = stopped => {
                    let _ = timeout(drain, running).await;
                }
                () = keep_up => {}
            }
        });
    }
}

/// What writing a response needs.
struct Worker {
    reader: Reader,
    response: Box<[u8]>,
}

impl Worker {
    fn deliver(&mut self, desk: &Desk, counters: &Counters, ticket: Ticket, outcome: &Outcome) {
        let Self { reader, response } = self;
        // Nobody else looks at the clock for this desk.
        desk.tick();
        let said = desk.finish(reader.current(), counters, &ticket, outcome, response);
        reader.rest();
        let Said::Response(length) = said else { return };
        let response = response.get_mut(..length).unwrap_or_default();
        let sent = match ticket.reply {
            Reply::Datagram(socket, mut origin) => batch::send_later(&socket, &mut origin, response).is_ok(),
            // The client may be gone.
            Reply::Stream(sender) => sender.try_send((&*response).into()).is_ok(),
        };
        counters.event(Event::SendFailed, u64::from(!sent));
    }
}
