//! The short way of plain questions ends in the very octets of the long one.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Note, Reading, State, answer_noting, lookup, respond_to, touch};
use super::message::{option, query, raw, wire, with_opt};
use super::world::{BIG, SECRET, SHARED, SHOP, SPACE, STRANGER, acme};
use super::*;
use crate::name::Name;
use crate::zone::{Believed, Gate, NameEntry, Readiness, Snapshot, Table, app_hash, name_hash};

const NAMES: [&str; 58] = [
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
    "_http._tcp.web.shop.app.localspace",
    "_8080._TCP.WEB.shop.app.localspace",
    "_http._tcp.web.shop.disco.test",
    "_none._tcp.web.shop.app.localspace",
    "_9100._tcp.worker.shop.app.localspace",
    "_http._tcp.web.big.app.localspace",
    "_http._tcp.web.secret.app.localspace",
    "_http._tcp.web.none.app.localspace",
    "x._http._tcp.web.shop.app.localspace",
    "_http._udp.web.shop.app.localspace",
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

/// The world with its apps in each other's places.
fn reversed() -> Snapshot {
    let world = acme();
    let mut reversed = world.clone();
    for index in 0..4 {
        reversed.apps.set(index, world.apps.at(3 - index).cloned().map(Arc::new));
    }
    let of_no_app = |entry: &NameEntry| !matches!(entry, NameEntry::Owner { .. });
    assert!(world.names.values().filter(of_no_app).count() > 2, "names of no app stay out of it");
    (reversed.app_names, reversed.names) = (Table::new(), Table::new());
    for (index, app) in reversed.apps.iter().collect::<Vec<_>>() {
        reversed.app_names.insert(app_hash(app.space, app.label.octets()), index);
        for (number, owner) in (0..).zip(&app.owners) {
            let entry = NameEntry::Owner { app: index, owner: number };
            reversed.names.insert(name_hash(app.space, owner.name.wire()), entry);
        }
    }
    reversed
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
    let (mut short_ways, mut services) = (0, 0);
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
                short_ways +=
                    usize::from(lookup::decide_plain(snapshot, &ask, (&reading.query, reading.lead)).is_some());
                services +=
                    usize::from(lookup::decide_services(snapshot, &ask, (&reading.query, reading.lead)).is_some());
            }
        }
    }
    assert!(short_ways > 10_000, "{short_ways} went the short way");
    assert!(services > 1_000, "{services} went that of services");
}

/// The size, the TTL and the options of an OPT.
type Opt = (u16, u32, Vec<u8>);

/// What may stand behind a question: an OPT, octets, and how many records more there are said to be than that.
fn behinds() -> impl Strategy<Value = (Option<Opt>, Vec<u8>, u8)> {
    let sizes = prop_oneof![Just(0), Just(512), Just(1232), Just(4096), 0..=1500_u16];
    let ttls =
        prop_oneof![4 => Just(0), 2 => Just(0x8000), 1 => Just(0x0001_0000), 1 => Just(0x0100_0000), 1 => any::<u32>()];
    let options = prop::sample::select(vec![
        vec![],
        vec![],
        option(8, &[0, 1, 32, 0, 10, 0, 130, 1]),
        option(10, &[1; 8]),
        option(11, &[]),
        option(12, &[0; 9]),
        option(15, &[]),
        vec![0, 3],
    ]);
    (
        prop::option::of((sizes, ttls, options)),
        prop::collection::vec(any::<u8>(), 0..14),
        prop_oneof![6 => Just(0), 1 => 0..3_u8],
    )
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let names = (prop::sample::select(NAMES.to_vec()), any::<u64>());
    let types = prop_oneof![4 => Just(A), 4 => Just(AAAA), 2 => Just(SRV), 1 => prop::sample::select(vec![SOA, HTTPS, ANY, 41, 251])];
    let classes = prop_oneof![12 => Just(1), 1 => prop::sample::select(vec![0, 3, 255])];
    // Every flag, the rcode; rarely an opcode or QR.
    let flags =
        (any::<u16>(), prop_oneof![12 => Just(0x07ff), 1 => Just(0xffff)]).prop_map(|(flags, mask)| flags & mask);
    (names, types, classes, any::<u16>(), flags, behinds()).prop_map(
        |((name, upper), qtype, qclass, id, flags, (opt, behind, more))| {
            let mut qname = wire(name);
            for (index, octet) in qname.iter_mut().enumerate() {
                if upper >> (index % 64) & 1 == 1 {
                    octet.make_ascii_uppercase();
                }
            }
            let mut message = raw(id, flags, &qname, qtype, qclass);
            if let Some((size, ttl, options)) = opt {
                message = with_opt(message, size, ttl, &options);
            }
            message[11] += more;
            message.extend(behind);
            message
        },
    )
}

fn askers() -> impl Strategy<Value = Ask<'static>> {
    let sources = [SHOP, BIG, SECRET, SHARED, SPACE, STRANGER, "127.0.0.1", "::1", "::ffff:10.0.130.1", "192.168.40.9"];
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic];
    (
        prop::sample::select(sources.to_vec()),
        prop::sample::select(transports.to_vec()),
        prop::sample::select(vec![Trust::Nobody, Trust::Forwarder]),
        prop::sample::select(vec![Recursion::Available, Recursion::Unavailable]),
        prop::sample::select(vec![&SILENT, &*TALKATIVE, &*OPENED]),
        any::<u16>(),
    )
        .prop_map(|(source, transport, trust, recursion, settings, turn)| Ask {
            transport,
            trust,
            recursion,
            settings,
            turn,
            secrets: Some(&SECRETS),
            ..from(source)
        })
}

/// Other queries of a batch, which is more than are touched together.
fn others() -> Vec<Reading> {
    let read = |(number, name): (usize, &&str)| {
        let mut reading = Reading::new();
        reading.read(&query(name, [A, SRV, AAAA][number % 3]));
        reading
    };
    NAMES.iter().enumerate().skip(8).take(OTHERS).map(read).collect()
}

const OTHERS: usize = 40;

/// A rule sends what would stay here elsewhere.
static OPENED: LazyLock<Settings> = LazyLock::new(|| Settings {
    opened: Opened::new(&["internal", "web"].map(|name| name.parse::<Name>().unwrap())),
    ..Settings::new()
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn whatever_stands_around_a_question_and_whoever_asks_the_two_ways_are_one(
        message in messages(),
        ask in askers(),
        world in 0..4_usize,
        touched in 0..6_usize,
        place in 0..=OTHERS,
        room in prop_oneof![Just(1232_usize), Just(4096), 0..1300_usize],
    ) {
        static WORLDS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
            worlds().into_iter().chain([Snapshot { readiness: Readiness::Starting, ..acme() }, reversed()]).collect()
        });
        // What was read before must not show.
        let mut reading = Reading::new();
        reading.read(&with_opt(query("x.y.wild.example.com", ANY), 4096, 0x8000, &option(10, &[1; 8])));
        reading.read(&message);
        // A lead is found among others, and in any of the worlds, not only in the one that is answered from: it may be wrong.
        if let Some(world) = WORLDS.get(touched) {
            let mut batch = others();
            batch.insert(place, reading);
            touch(&mut batch, world);
            reading = batch.swap_remove(place);
        }
        if !matches!(reading.state, State::Read) {
            return Ok(());
        }
        let (mut short, mut long) = (vec![0xaa; room], vec![0x55; room]);
        let (mut note, mut long_note) = (Note::default(), Note::default());
        let verdict = respond_to(&WORLDS[world], &ask, &message, &reading, &mut short, &mut note);
        let expected = answer_noting(&WORLDS[world], &ask, &message, &reading.query, &mut long, &mut long_note);
        prop_assert_eq!((verdict, note), (expected, long_note));
        let length = verdict.length().unwrap_or_default();
        prop_assert_eq!(&short[..length], &long[..length]);
    }
}
