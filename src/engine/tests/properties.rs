//! What holds for any octets whatever.

use proptest::prelude::*;

use super::message::{option, query_edns};
use super::world::{BIG, SHARED, SHOP, SPACE, STRANGER, acme};
use super::*;

const NAMES: [&str; 15] = [
    "localhost",
    "1.0.0.127.in-addr.arpa",
    "x.test",
    "web",
    "nobody",
    "_http._tcp.web",
    "shop.herokuapp.com",
    "idle.herokuapp.com",
    "big.herokuapp.com",
    "web.big.app.localspace",
    "_http._tcp.web.big.app.localspace",
    "1.130.0.10.in-addr.arpa",
    "app.localspace",
    "x.y.wild.example.com",
    "example.org",
];

fn asks() -> impl Strategy<Value = Ask<'static>> {
    (
        prop::sample::select(vec![SHOP, BIG, SHARED, SPACE, STRANGER]),
        any::<bool>(),
        prop::sample::select(vec![Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic]),
        any::<bool>(),
        any::<u16>(),
    )
        .prop_map(|(source, trusted, transport, upstream, turn)| Ask {
            source: source.parse().unwrap(),
            trust: if trusted { Trust::Forwarder } else { Trust::Nobody },
            transport,
            turn,
            recursion: if upstream { Recursion::Available } else { Recursion::Unavailable },
            settings: &TALKATIVE,
            secrets: Some(&SECRETS),
            now: 1_800_000_000,
        })
}

fn queries() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::sample::select(NAMES.to_vec()),
        prop::sample::select(vec![A, NS, SOA, PTR, MX, AAAA, SRV, HTTPS, ANY]),
        any::<u16>(),
        prop::sample::select(vec![
            vec![],
            option(10, &[1; 8]),
            option(8, &[0, 1, 32, 0, 10, 0, 130, 1]),
            option(8, &[0, 2, 0, 0]),
            option(12, &[0; 9]),
            [option(10, &[1; 24]), option(3, &[]), option(11, &[]), option(12, &[0; 3])].concat(),
        ]),
    )
        .prop_map(|(name, qtype, size, options)| query_edns(name, qtype, size, &options))
}

/// Whether it has octets that may be an edns-tcp-keepalive option: nothing is said to those over QUIC (RFC 9250 §4.3.3).
fn may_ask_for_the_idle_time(query: &[u8]) -> bool {
    query.windows(2).any(|window| window == [0, 11])
}

fn limit_of(ask: &Ask<'_>) -> usize {
    if ask.transport == Transport::Udp { 1232 } else { 65_535 }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn any_octets_get_a_verdict(ask in asks(), octets in prop::collection::vec(any::<u8>(), 0..600), room in 0_usize..1300) {
        let mut response = vec![0; room];
        if let Some(length) = respond(&acme(), &ask, &octets, &mut response).length() {
            prop_assert!(length <= room);
        }
    }

    #[test]
    fn a_query_with_some_octets_changed_gets_a_readable_response(
        ask in asks(),
        query in queries(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut query = query;
        for (place, octet) in changes {
            let place = place.index(query.len());
            query[place] = octet;
        }
        if let Some(cut) = cut {
            query.truncate(cut.index(query.len()));
        }
        if let Some(octets) = octets_of(&acme(), &ask, &query) {
            prop_assert!(octets.len() <= limit_of(&ask));
            prop_assert_eq!(&octets[..2], &query[..2]);
            prop_assert!(octets[2] & 0x80 != 0);
            // Family 0 is the one thing of ours that hickory-proto does not read.
            if !octets.windows(8).any(|window| window == [0, 8, 0, 4, 0, 0, 0, 0]) {
                prop_assert_eq!(Response::read(&octets).id, u16::from_be_bytes([query[0], query[1]]));
            }
        } else {
            let is_wrong_over_quic = ask.transport == Transport::Quic && may_ask_for_the_idle_time(&query);
            prop_assert!(query.len() < 12 || query[2] & 0x80 != 0 || is_wrong_over_quic);
        }
    }

    #[test]
    fn a_response_keeps_to_any_room(ask in asks(), query in queries(), room in 512_usize..3000) {
        let mut response = vec![0; room];
        let verdict = match respond(&acme(), &ask, &query, &mut response) {
            Verdict::Forward => refuse_foreign(&ask, &query, &mut response),
            verdict => verdict,
        };
        if verdict == Verdict::Drop && ask.transport == Transport::Quic && may_ask_for_the_idle_time(&query) {
            return Ok(());
        }
        let Some(length) = verdict.length() else { panic!("a valid query gets a response") };
        prop_assert!(length <= room);
        Response::read(&response[..length]);
    }
}
