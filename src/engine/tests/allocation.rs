//! Every outcome is answered without an allocation (rule 9: pay when compiling, not when answering).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::message::{option, query, query_edns, raw, wire, with_opt};
use super::world::{BIG, SHARED, SHOP, SPACE, STRANGER, acme};
use super::*;

/// The system's allocator, which counts what a thread takes from it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe to implement, and only one can count; it exists in unit tests alone"
)]
// SAFETY: every call goes to the system's allocator as it came; the count is a thread's own and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn no_outcome_allocates() {
    let snapshot = acme();
    let starting = Snapshot::starting();
    let subnet = option(8, &[0, 1, 32, 0, 10, 0, 130, 1]);
    let everything =
        [option(10, &[1; 24]), option(3, &[]), option(11, &[]), option(12, &[0; 3]), option(15, &[])].concat();
    let edns = |name, qtype| query_edns(name, qtype, 1232, &[]);
    let mut response = vec![0; 65_535];
    for (snapshot, ask, query) in [
        (&snapshot, from(SPACE), edns("shop.herokuapp.com", A)),
        (&snapshot, from(SPACE), edns("big.herokuapp.com", A)),
        (&snapshot, from(SPACE), edns("big.herokuapp.com", AAAA)),
        (&snapshot, from(BIG), query("web", A)),
        (&snapshot, from(SHOP), edns("web", A)),
        (&snapshot, from(SHARED), edns("web", A)),
        (&snapshot, forwarder(), query_edns("web", A, 1232, &subnet)),
        (&snapshot, from(SPACE), edns("web.big.app.localspace", A)),
        (&snapshot, tcp(SPACE), edns("web.big.app.localspace", A)),
        (&snapshot, tcp(SPACE), edns("_http._tcp.web.big.app.localspace", SRV)),
        (&snapshot, from(SPACE), edns("1.130.0.10.in-addr.arpa", PTR)),
        (&snapshot, from(SPACE), edns("app.localspace", SOA)),
        (&snapshot, from(SPACE), edns("app.localspace", NS)),
        (&snapshot, from(SPACE), edns("shop.app.localspace", A)),
        (&snapshot, from(SPACE), edns("shop.herokuapp.com", MX)),
        (&snapshot, from(SPACE), edns("idle.herokuapp.com", A)),
        (&snapshot, from(SPACE), edns("3.web.shop.app.localspace", A)),
        (&snapshot, from(SPACE), edns("a.b.c.nope.apps.acme.internal", A)),
        (&snapshot, from(SPACE), edns("nobody", A)),
        (&snapshot, from(SPACE), edns("x.wild.example.com", A)),
        (&snapshot, from(SPACE), edns("example.org", A)),
        (&snapshot, from(SPACE), edns("shop.herokuapp.com", 252)),
        (&snapshot, from(STRANGER), edns("shop.herokuapp.com", A)),
        (&snapshot, from(SPACE), with_opt(query("web", A), 1232, 1 << 16, &[])),
        (&snapshot, from(SPACE), edns("shop.herokuapp.com", A)[..40].to_vec()),
        (&snapshot, from(SPACE), edns("shop.herokuapp.com", A)[..20].to_vec()),
        (&snapshot, from(SPACE), edns("a.localhost", AAAA)),
        (&snapshot, from(SPACE), edns("x.test", A)),
        (&snapshot, from(SPACE), edns("4.3.2.10.in-addr.arpa", PTR)),
        (&snapshot, from(SPACE), edns("0.10.in-addr.arpa", SOA)),
        (&snapshot, talkative(Transport::Tls), query_edns("shop.herokuapp.com", A, 1232, &everything)),
        (&snapshot, talkative(Transport::Tls), query_edns("idle.herokuapp.com", A, 1232, &everything)),
        (&snapshot, talkative(Transport::Udp), with_opt(vec![0; 12], 1232, 0, &everything)),
        (&snapshot, talkative(Transport::Udp), raw(7, 0, &wire("id.server"), 16, 3)),
        (&starting, from(SPACE), edns("shop.herokuapp.com", A)),
    ] {
        let count = allocations(|| {
            if respond(snapshot, &ask, &query, &mut response) == Verdict::Forward {
                let _ = refuse_foreign(&ask, &query, &mut response);
            }
        });
        assert_eq!(count, 0, "{query:?}");
    }
}
