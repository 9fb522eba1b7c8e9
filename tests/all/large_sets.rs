//! What a response carries of a set of addresses, by its size (DESIGN §4.2): as many as fit, without TC, and always the same for a caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use spacedns::engine::{Transport, Trust};

use crate::message::{Query, Response};
use crate::scenario::Change;
use crate::world::World;

const NAME: &str = "shop.herokuapp.com";

/// A space without a router, and an app whose hostname has these instances.
fn world(instances: impl IntoIterator<Item = u32>) -> World {
    let mut world = World::new();
    let write = |path: &str, content: String| Change::Write { path: path.into(), content };
    world.apply(&[
        write("space.yaml", "space: acme\ncidr: 10.0.0.0/16\n".into()),
        write("shop.yaml", "app: shop\ninternal_routing: true\nformation: {web: {quantity: 1}}\n".into()),
        write("web.yaml", registrations(instances)),
    ]);
    world
}

fn registrations(instances: impl IntoIterator<Item = u32>) -> String {
    instances.into_iter().fold("app: shop\ninstances:\n".to_owned(), |mut text, number| {
        writeln!(text, "  - {{component: web, number: {number}, address: {}}}", address(number)).unwrap();
        text
    })
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_8000 + number)
}

fn caller(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

/// How a caller asks.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By UDP, without EDNS.
    Plain,
    /// By UDP, with EDNS.
    Edns,
    /// By TCP.
    Stream,
}

impl Way {
    /// How many addresses the response has room for: octets, less header, question and OPT, by those of a record.
    const fn room(self) -> usize {
        let head = 12 + NAME.len() + 2 + 4;
        match self {
            Self::Plain => (512 - head) / 16,
            Self::Edns => (1232 - head - 11) / 16,
            Self::Stream => (65_535 - head - 11) / 16,
        }
    }
}

/// The addresses that a caller gets, each once, from a response that fits, is whole and says so.
fn seen(world: &World, from: IpAddr, way: Way, id: u16) -> BTreeSet<String> {
    let mut query = Query { id, ..Query::new(NAME, 1) };
    if matches!(way, Way::Plain) {
        query.edns = None;
    }
    let (transport, limit) = match way {
        Way::Plain => (Transport::Udp, 512),
        Way::Edns => (Transport::Udp, 1232),
        Way::Stream => (Transport::Tcp, 65_535),
    };
    let octets = world.respond(from, Trust::Nobody, transport, &query.octets()).unwrap();
    assert!(octets.len() <= limit);
    let response = Response::read(&octets).unwrap();
    assert_eq!((response.rcode, response.tc, response.aa), (0, false, true));
    let set: BTreeSet<String> = response.answer.iter().map(|record| record.rdata.clone()).collect();
    assert_eq!(set.len(), response.answer.len(), "an address came twice");
    set
}

#[test]
fn a_response_carries_as_many_addresses_as_it_has_room_for() {
    for count in [1, 27, 28, 29, 30, 73, 74, 75, 76, 100, 1000] {
        let world = world(1..=count);
        let all: BTreeSet<String> = (1..=count).map(|number| address(number).to_string()).collect();
        for way in [Way::Plain, Way::Edns, Way::Stream] {
            let set = seen(&world, caller(1), way, 7);
            assert_eq!(set.len(), all.len().min(way.room()), "{count} {way:?}");
            assert!(set.is_subset(&all));
        }
    }
    assert_eq!([Way::Plain.room(), Way::Edns.room()], [29, 74], "the counts above are on both sides of these");
}

#[test]
fn a_caller_gets_the_same_every_time_and_the_smaller_of_two_ways_is_part_of_the_larger() {
    for count in [76, 100, 1000] {
        let world = world(1..=count);
        let mut sets = BTreeSet::new();
        for from in (1..=40).map(caller) {
            let small = seen(&world, from, Way::Plain, 0);
            let large = seen(&world, from, Way::Edns, 0);
            assert!(small.is_subset(&large));
            for id in [1, 2, 28, 1000, 65_535] {
                assert_eq!(small, seen(&world, from, Way::Plain, id));
                assert_eq!(large, seen(&world, from, Way::Edns, id));
            }
            sets.insert(small);
        }
        assert!(sets.len() > 10, "callers are spread: {} of 40 sets differ", sets.len());
    }
}

#[test]
fn one_instance_of_a_hundred_replaced_changes_only_the_subsets_that_held_it_or_gain_the_new_one() {
    let mut world = world(1..=100);
    let sets = |world: &World| -> BTreeMap<u32, BTreeSet<String>> {
        (1..=300).map(|number| (number, seen(world, caller(number), Way::Plain, 0))).collect()
    };
    let before = sets(&world);
    let (gone, come) = (address(50).to_string(), address(101).to_string());
    let content = registrations((1..=101).filter(|number| *number != 50));
    world.apply(&[Change::Write { path: "web.yaml".into(), content }]);
    let after = sets(&world);
    let mut kept = 0;
    for (number, old) in &before {
        let new = &after[number];
        assert!(!new.contains(&gone));
        if !old.contains(&gone) && !new.contains(&come) {
            assert_eq!(old, new, "caller {number}");
            kept += 1;
        } else {
            // Whoever held it gets one other for it; whoever gains the new one gives one other up.
            assert!(old.difference(new).count() <= 2, "caller {number}");
        }
    }
    // Each subset holds 29 of 100, so about half hold neither the old nor the new.
    assert!((75..=225).contains(&kept), "{kept} of 300 subsets are what they were");
}

/// A process type of as many octets as there may be: a thousand targets of this length do not fit into 65,535 octets.
const LONG: &str = "a-process-type-as-long-as-a-label-may-be-that-is-63-octets-long";

/// An app with a component of these instances, each with so many addresses.
fn long_world(instances: impl IntoIterator<Item = u32>, addresses: u32) -> World {
    let mut world = World::new();
    let mut text = format!("app: shop\nformation: {{{LONG}: {{quantity: 1}}}}\ninstances:\n");
    for number in instances {
        let first = 0x0a00_8000 + number * addresses;
        let held: Vec<_> = (first..first + addresses).map(|address| Ipv4Addr::from_bits(address).to_string()).collect();
        let held = held.join(", ");
        writeln!(text, "  - {{component: {LONG}, number: {number}, port: 80, addresses: [{held}]}}").unwrap();
    }
    let write = |path: &str, content: String| Change::Write { path: path.into(), content };
    world.apply(&[write("space.yaml", "space: acme\ncidr: 10.0.0.0/16\n".into()), write("shop.yaml", text)]);
    world
}

fn asked(world: &World, from: IpAddr, transport: Transport, name: &str, qtype: u16) -> Response {
    let octets = world.respond(from, Trust::Nobody, transport, &Query::new(name, qtype).octets()).unwrap();
    assert!(octets.len() <= 65_535);
    Response::read(&octets).unwrap()
}

/// RFC 2782 has SRV targets uncompressed and RFC 3597 §4 keeps it so, so a thousand long ones do not fit anywhere. Over UDP that is TC, and
/// over a stream, from where there is nowhere to go, as many as fit: any of them is of more use than TC and none.
#[test]
fn an_srv_set_that_fits_nowhere_is_cut_over_a_stream_and_the_same_for_a_caller() {
    let name = format!("_http._tcp.{LONG}.shop.app.localspace");
    let set = |world: &World, from| -> BTreeSet<String> {
        let response = asked(world, from, Transport::Tcp, &name, 33);
        assert_eq!((response.rcode, response.tc, response.aa), (0, false, true));
        response.answer.iter().map(|record| record.rdata.clone()).collect()
    };
    let world = long_world(1..=1000, 1);
    let cut = asked(&world, caller(1), Transport::Udp, &name, 33);
    assert_eq!((cut.tc, cut.answer.len()), (true, 0));
    // Each record takes 18 octets and its target: the number, 64 octets, and `shop.app.localspace`.
    let each = 18 + 4 + 64 + 21;
    let before: BTreeMap<u32, _> = (1..=60).map(|number| (number, set(&world, caller(number)))).collect();
    let mut union = BTreeSet::new();
    for (number, some) in &before {
        assert!((65_535 / (each + 1) - 2..=65_535 / (each - 3)).contains(&some.len()), "{}", some.len());
        assert_eq!(*some, set(&world, caller(*number)));
        union.extend(some.iter().cloned());
    }
    assert_eq!(union.len(), 1000, "whom one caller does not see, another does");
    // One that is replaced moves what each caller sees by a target at each end at most.
    let after = long_world((2..=1001).collect::<Vec<_>>(), 1);
    for (number, old) in &before {
        let new = set(&after, caller(*number));
        assert!(old.difference(&new).count() <= 2, "caller {number}");
    }
}

#[test]
fn addresses_that_fit_nowhere_are_cut_over_a_stream_and_the_same_for_a_caller() {
    let world = long_world(1..=1000, 8);
    let name = format!("{LONG}.shop.app.localspace");
    let mut sets = BTreeSet::new();
    for from in (1..=6).map(caller) {
        let cut = asked(&world, from, Transport::Udp, &name, 1);
        assert_eq!((cut.tc, cut.answer.len()), (true, 0));
        let some = || {
            let response = asked(&world, from, Transport::Tcp, &name, 1);
            assert_eq!((response.rcode, response.tc, response.aa), (0, false, true));
            let set: BTreeSet<_> = response.answer.iter().map(|record| record.rdata.clone()).collect();
            assert_eq!((set.len(), response.answer.len()), (4088, 4088), "each once, and no more fit");
            set
        };
        assert_eq!(some(), some());
        sets.insert(some());
    }
    assert!(sets.len() > 1, "callers are spread");
}
