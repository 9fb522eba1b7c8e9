//! The short way of plain questions ends in the very octets of the long one.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::{Note, Reading, answer_noting, lookup, respond_to};
use super::message::{query, with_opt};
use super::world::{BIG, SECRET, SHARED, SHOP, SPACE, STRANGER, acme};
use super::*;
use crate::name::Name;
use crate::zone::{Believed, Gate, Snapshot};

const NAMES: [&str; 48] = [
    ".",
    "com",
    "web",
    "WEB",
    "nobody",
    "worker",
    "localhost",
    "x.localhost",
    "test",
    "x.test",
    "internal",
    "acme.internal",
    "apps.acme.internal",
    "shop.apps.acme.internal",
    "ns1.apps.acme.internal",
    "none.apps.acme.internal",
    "er.apps.acme.internal",
    "deep.er.apps.acme.internal",
    "herokuapp.com",
    "shop.herokuapp.com",
    "sHoP.HerokuApp.com",
    "idle.herokuapp.com",
    "big.herokuapp.com",
    "gone.herokuapp.com",
    "none.herokuapp.com",
    "x.shop.herokuapp.com",
    "willow.herokudns.com",
    "api.example.com",
    "gone.example.com",
    "wild.example.com",
    "x.y.wild.example.com",
    "_x.wild.example.com",
    "example.com",
    "app.localspace",
    "localspace",
    "shop.app.localspace",
    "web.shop.app.localspace",
    "web.big.app.localspace",
    "web.secret.app.localspace",
    "web.idle.app.localspace",
    "none.shop.app.localspace",
    "1.web.shop.app.localspace",
    "3.web.shop.app.localspace",
    "4.web.shop.app.localspace",
    "_tcp.web.shop.app.localspace",
    "_tcp.web",
    "_http._tcp.web",
    "1.130.0.10.in-addr.arpa",
];

/// The snapshots of the world as it is, with every instance of `shop` kept in spite of its checks, and with a name server in a zone of ours.
fn worlds() -> [Snapshot; 3] {
    let mut kept = acme();
    let mut shop = kept.apps.at(0).unwrap().clone();
    shop.gate = Gate::KeptRouter(0);
    shop.components.iter_mut().for_each(|component| component.believed = Believed::Instances);
    kept.apps.set(0, Some(Arc::new(shop)));
    let mut served = acme();
    let mut space = served.space(0).unwrap().clone();
    space.ns[0].name = "ns1.apps.acme.internal".parse::<Name>().unwrap();
    served.spaces = Arc::from([Some(Arc::new(space))]);
    [acme(), kept, served]
}

fn queries() -> Vec<Vec<u8>> {
    let mut queries = Vec::new();
    for name in NAMES {
        for qtype in [A, AAAA, SRV, ANY] {
            let plain = query(name, qtype);
            let mut without_rd = plain.clone();
            without_rd[2] &= !1;
            for size in [0, 512, 700, 1232, 4096] {
                queries.push(with_opt(plain.clone(), size, 0, &[]));
            }
            queries.push(with_opt(plain.clone(), 1232, 0x8000, &[]));
            queries.push(with_opt(without_rd.clone(), 1232, 0, &[]));
            queries.extend([plain, without_rd]);
        }
    }
    queries
}

#[test]
fn the_short_way_of_plain_questions_ends_in_the_octets_of_the_long_one() {
    let mut short_ways = 0;
    for (snapshot, query) in worlds().iter().flat_map(|world| queries().into_iter().map(move |query| (world, query))) {
        let mut reading = Reading::new();
        reading.read(&query);
        for source in [SHOP, BIG, SECRET, SHARED, SPACE, STRANGER, "127.0.0.1", "::ffff:10.0.130.1", "fd00::130:2"] {
            for (transport, recursion) in [
                (Transport::Udp, Recursion::Unavailable),
                (Transport::Udp, Recursion::Available),
                (Transport::Tcp, Recursion::Available),
            ] {
                let source: IpAddr = source.parse().unwrap();
                let ask = Ask { source, transport, recursion, turn: 3, ..from("10.0.200.1") };
                let (mut short, mut long) = ([0xaa; 4096], [0x55; 4096]);
                let (mut note, mut long_note) = (Note::default(), Note::default());
                let verdict = respond_to(snapshot, &ask, &query, &reading, &mut short, &mut note);
                let expected = answer_noting(snapshot, &ask, &query, &reading.query, &mut long, &mut long_note);
                assert_eq!((verdict, note), (expected, long_note), "{} from {source}", reading.query.qname);
                let length = verdict.length().unwrap_or_default();
                assert_eq!(short[..length], long[..length], "{} from {source}", reading.query.qname);
                short_ways += usize::from(lookup::decide_plain(snapshot, &ask, &reading.query).is_some());
            }
        }
    }
    assert!(short_ways > 10_000, "{short_ways} went the short way");
}
