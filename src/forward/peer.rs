//! A server that is asked, and what is known of it: whether it responds, and how.
//!
//! One that has not responded several times in a row is passed over while others do, and looked at once a second, beside whoever is
//! asked for it. Where none of a route is well, all are asked: no knowledge of ours is a reason to answer nothing. What is thought of
//! it is told in the log when it changes, and shown to whoever asks how upstreams are doing.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tracing::{info, warn};

use super::upstream::Server;
use crate::observe::{Upstream, UpstreamState, Upstreams};

/// A server, and what is known of it.
pub(super) struct Peer {
    pub(super) server: Server,
    /// Where what is known is told.
    upstreams: Arc<Upstreams>,
    /// Its place among these.
    index: usize,
    /// Exchanges in a row that came to nothing.
    failures: Cell<u32>,
    /// When one that is passed over is next looked at.
    probe_at: Cell<Duration>,
    /// Until when it is asked without EDNS.
    plain_until: Cell<Duration>,
    /// Open connections that nobody uses.
    idle: RefCell<Vec<TlsStream<TcpStream>>>,
}

impl Peer {
    pub(super) fn new(server: Server, upstreams: Arc<Upstreams>, index: usize) -> Self {
        Self {
            server,
            upstreams,
            index,
            failures: Cell::default(),
            probe_at: Cell::default(),
            plain_until: Cell::default(),
            idle: RefCell::default(),
        }
    }

    /// Whether it is asked before those that are not.
    pub(super) const fn is_well(&self) -> bool {
        self.failures.get() < FAILURES_MAX
    }

    /// Whether it is time to look at it again; if so, the next time is later.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let is_due = self.probe_at.get() <= now;
        if is_due {
            self.probe_at.set(now + PROBE_EVERY);
        }
        is_due
    }

    /// Counts that it is asked.
    pub(super) fn note_question(&self) {
        self.tell(Upstream::ask);
    }

    /// Notes that it took so long to say something, be it that it will not answer.
    pub(super) fn note_response(&self, took: Duration) {
        self.tell(|upstream| upstream.respond(took));
    }

    /// Notes that it is there.
    pub(super) fn note_success(&self) {
        let was_well = self.is_well();
        self.failures.set(0);
        self.tell(|upstream| {
            upstream.become_state(UpstreamState::Up);
            if !was_well {
                info!("upstream {} ({}, for {}) responds again", upstream.number(), upstream.server(), upstream.zone());
            }
        });
    }

    /// Notes that asking it came to nothing, or to less than asking the next one later.
    pub(super) fn note_failure(&self, now: Duration) {
        self.failures.set(self.failures.get().saturating_add(1));
        let is_turn = self.failures.get() == FAILURES_MAX;
        if is_turn {
            self.probe_at.set(now + PROBE_EVERY);
        }
        self.tell(|upstream| {
            upstream.fail();
            upstream.become_state(if self.is_well() { UpstreamState::Failing } else { UpstreamState::Down });
            if is_turn {
                let (number, server, zone) = (upstream.number(), upstream.server(), upstream.zone());
                warn!(
                    "upstream {number} ({server}, for {zone}) has not responded {FAILURES_MAX} times in a row: it is passed over \
                     while others respond"
                );
            }
        });
    }

    /// Whether it is to be asked without EDNS.
    pub(super) fn is_plain(&self, now: Duration) -> bool {
        now < self.plain_until.get()
    }

    /// Notes that it does not know OPT (RFC 6891 §7).
    pub(super) fn do_without_edns(&self, now: Duration) {
        self.plain_until.set(now + PLAIN_FOR);
    }

    /// A connection that is open and not in use, if there is one.
    pub(super) fn take_idle(&self) -> Option<TlsStream<TcpStream>> {
        self.idle.borrow_mut().pop()
    }

    /// Keeps a connection open for the next question, as long as there is room.
    pub(super) fn keep_idle(&self, stream: TlsStream<TcpStream>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(stream);
        }
    }

    fn tell(&self, tell: impl FnOnce(&Upstream)) {
        if let Some(upstream) = self.upstreams.all().get(self.index) {
            tell(upstream);
        }
    }
}

/// Failures in a row after which a server is passed over, and how often it is looked at then.
const FAILURES_MAX: u32 = 5;
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long a server that does not know OPT is asked without.
const PLAIN_FOR: Duration = Duration::from_secs(15 * 60);
/// Connections that are kept open for a server over TLS.
const IDLE_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::upstream::Channel;
    use super::*;

    #[test]
    fn a_server_is_passed_over_after_five_failures_in_a_row_and_back_with_the_first_response() {
        let upstreams = Arc::new(Upstreams::new([(".".to_owned(), "192.0.2.1:53".to_owned())]));
        let server = Server { address: "192.0.2.1:53".parse().unwrap(), channel: Channel::Plain };
        let peer = Peer::new(server, Arc::clone(&upstreams), 0);
        let state = || upstreams.all()[0].state();
        let second = Duration::from_secs(1);
        for failures in 1..=7 {
            peer.note_failure(second);
            assert_eq!(peer.is_well(), failures < 5, "{failures}");
            assert_eq!(state(), if failures < 5 { UpstreamState::Failing } else { UpstreamState::Down });
        }
        assert!(!peer.is_due(second) && peer.is_due(second * 2) && !peer.is_due(second * 2));
        peer.note_success();
        assert_eq!((peer.is_well(), state(), upstreams.all()[0].failures()), (true, UpstreamState::Up, 7));
    }
}
