//! What a UDP worker takes for a query in all, outside the kernel: reading, deciding, writing, counting, and the batch around it.
//!
//! A real worker is started on a socket that is full of queries, and told to stop: it answers what is queued first, in whole batches, one
//! batch like the other. valgrind counts within the function that is called once a batch.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;

use spacedns::publish::{Publisher, Snapshot};
use spacedns::serve::{Config, Inherited, bind, start};

use super::Case;
use super::world::CALLER;

/// What a worker is asked, by whom and where; the names are those of the engine's cases.
pub(crate) struct Queued {
    pub(crate) outcome: &'static str,
    /// The engine's case whose queries these are.
    case: &'static str,
    caller: Ipv4Addr,
    listen: Ipv4Addr,
}

pub(crate) const QUEUED: [Queued; 8] = [
    Queued::new("worker: hostname A", "hostname A"),
    Queued::new("worker: AAAA (NODATA)", "hostname AAAA (NODATA)"),
    Queued::new("worker: no such app (NXDOMAIN)", "no such app (NXDOMAIN)"),
    Queued { caller: CALLER, ..Queued::new("worker: bare A", "bare A") },
    Queued::new("worker: discovery A", "discovery A"),
    Queued::new("worker: SRV", "SRV"),
    Queued { listen: Ipv4Addr::UNSPECIFIED, ..Queued::new("worker: wildcard bind", "hostname A") },
    Queued::new("worker: foreign (REFUSED)", "foreign"),
];

impl Queued {
    const fn new(outcome: &'static str, case: &'static str) -> Self {
        Self { outcome, case, caller: Ipv4Addr::LOCALHOST, listen: Ipv4Addr::LOCALHOST }
    }

    /// Has a worker answer [`BATCHES`] full batches.
    pub(crate) fn answer(&self, cases: &[Case], snapshot: &Snapshot) {
        let sockets = bind(&[(self.listen, 0).into()], NonZeroUsize::MIN, &mut Inherited::none()).expect("a free port");
        let port = sockets.addresses().first().map_or(0, SocketAddr::port);
        let client = UdpSocket::bind((self.caller, 0)).expect("a free port");
        client.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback is there");
        let case = cases.iter().find(|case| case.outcome == self.case).expect("a case of the engine");
        for (n, _) in (0_u32..).zip(0..BATCHES * BATCH) {
            client.send(&case.query(n)).expect("the socket's buffer has room");
        }
        let publisher = Publisher::new(snapshot.clone());
        let running = start(sockets, Config::default(), publisher.subscribe()).expect("threads can be had");
        let answered = running.stop().all_queries();
        assert_eq!(answered, (BATCHES * BATCH) as u64, "{}: not every query was answered", self.outcome);
    }

    /// What one query takes, of the counts of all batches: the first of them are looked at closer, as samples of what is asked. The
    /// median, as one of the others may be as well, where a second has gone by.
    pub(crate) fn each(counts: &[u64]) -> u64 {
        let mut steady: Vec<u64> = counts.iter().skip(BATCHES / 2).copied().collect();
        steady.sort_unstable();
        steady.get(steady.len() / 2).map_or(0, |batch| batch / BATCH as u64)
    }
}

/// Queries in a batch: what a worker takes at once by default.
const BATCH: usize = 32;

/// Batches for each outcome. The socket holds all of their queries; as many as the sampler takes are in the first half.
pub(crate) const BATCHES: usize = 16;
