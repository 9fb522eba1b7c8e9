//! EDNS (PROTOCOL, "EDNS").

use super::message::{option, query, query_edns, raw, wire, with_opt};
use super::world::{SHOP, SPACE, acme};
use super::*;

const NAME: &str = "shop.herokuapp.com";
const SUBNET: u16 = 8;
const COOKIE: u16 = 10;

fn rcode(query: &[u8]) -> u16 {
    ask(&acme(), &from(SPACE), query).rcode
}

/// A Client Subnet option's data.
fn subnet(family: u8, source: u8, scope: u8, address: &[u8]) -> Vec<u8> {
    [&[0, family, source, scope], address].concat()
}

#[test]
fn opt_comes_back_to_those_who_sent_one() {
    let snapshot = acme();
    assert_eq!(ask(&snapshot, &from(SPACE), &query(NAME, A)).edns, None);
    for (ttl, dnssec_ok) in [(0, false), (0x8000, true), (0x0080, false), (0x7fff, false), (0xff00_0000, false)] {
        let response = ask(&snapshot, &from(SPACE), &with_opt(query(NAME, A), 4096, ttl, &[]));
        let edns = response.edns.unwrap();
        assert_eq!((edns.size, edns.version, edns.dnssec_ok, edns.z, edns.options.len()), (1232, 0, dnssec_ok, 0, 0));
        assert_eq!((response.rcode, response.answer.len(), &*response.flags), (NOERROR, 2, "qr aa rd"));
    }
}

#[test]
fn another_version_is_bad_and_nothing_of_it_is_echoed() {
    let snapshot = acme();
    for (version, flags) in [(1, 0), (1, 0x8000), (255, 0x80)] {
        let options = [option(100, &[1, 2]), option(COOKIE, &[0; 8]), vec![0, 8, 0xff]].concat();
        let query = with_opt(query(NAME, A), 1232, version << 16 | flags, &options);
        let response = ask(&snapshot, &forwarder(), &query);
        let edns = response.edns.unwrap();
        assert_eq!((response.rcode, response.answer.len()), (BADVERS, 0));
        assert_eq!((edns.version, edns.options.len()), (0, 0));
    }
}

#[test]
fn unknown_options_are_ignored_and_not_echoed() {
    for code in [0, 3, 5, 9, 11, 12, 15, 18, 100, 65001, 65535] {
        let response = ask(&acme(), &from(SPACE), &query_edns(NAME, A, 1232, &option(code, &[1, 2, 3])));
        assert_eq!((response.rcode, response.answer.len()), (NOERROR, 2));
        assert!(response.edns.unwrap().options.is_empty());
    }
}

#[test]
fn a_malformed_opt_is_a_format_error() {
    let two = with_opt(query_edns(NAME, A, 1232, &[]), 1232, 0, &[]);
    assert_eq!(rcode(&two), FORMERR);
    for options in [&[0, 10, 0][..], &[0, 100, 0, 9, 1], &[0, 100, 0, 0, 1], &[0, 100, 0xff, 0xff]] {
        let response = ask(&acme(), &from(SPACE), &query_edns(NAME, A, 1232, options));
        assert_eq!((response.rcode, response.question.is_some()), (FORMERR, true));
    }
    let whole = query_edns(NAME, A, 1232, &option(100, &[1, 2, 3]));
    for cut in 1..15 {
        assert_eq!(rcode(&whole[..whole.len() - cut]), FORMERR, "{cut}");
    }
    for owner in [&b"\x01a\x00"[..], b"\xc0\x0c"] {
        let mut owned = query(NAME, A);
        owned.extend([owner, &[0, 41, 4, 0, 0, 0, 0, 0, 0, 0]].concat());
        owned[11] = 1;
        assert_eq!(rcode(&owned), FORMERR);
    }
    let mut in_answer = query_edns(NAME, A, 1232, &[]);
    (in_answer[7], in_answer[11]) = (1, 0);
    assert_eq!(rcode(&in_answer), FORMERR);
}

#[test]
fn a_cookie_has_8_or_16_to_40_octets() {
    for length in 0..=64 {
        let expected = if length == 8 || (16..=40).contains(&length) { NOERROR } else { FORMERR };
        assert_eq!(rcode(&query_edns(NAME, A, 1232, &option(COOKIE, &vec![7; length]))), expected, "{length}");
    }
}

#[test]
fn the_size_that_a_client_offers_counts_between_512_and_1232() {
    let snapshot = acme();
    let length =
        |size| octets_of(&snapshot, &from(SPACE), &query_edns("big.herokuapp.com", A, size, &[])).unwrap().len();
    for small in [0, 100, 511, 512] {
        assert!((497..=512).contains(&length(small)), "{small}");
    }
    for large in [1232, 4096, 65_535] {
        assert!((1217..=1232).contains(&length(large)), "{large}");
    }
    assert!((785..=800).contains(&length(800)));
    let plain = octets_of(&snapshot, &from(SPACE), &query("big.herokuapp.com", A)).unwrap();
    assert!((497..=512).contains(&plain.len()));
}

#[test]
fn a_buffer_is_a_limit_too() {
    let snapshot = acme();
    let mut response = [0; 600];
    let query = query_edns("big.herokuapp.com", A, 1232, &[]);
    let Verdict::Send(length) = respond(&snapshot, &tcp(SPACE), &query, &mut response) else { panic!() };
    assert!((585..=600).contains(&length));
}

#[test]
fn a_trusted_forwarder_asks_for_the_caller_it_names() {
    let snapshot = acme();
    let shop = subnet(1, 32, 0, &[10, 0, 130, 1]);
    let asked = query_edns("web", A, 1232, &option(SUBNET, &shop));
    let response = ask(&snapshot, &forwarder(), &asked);
    assert_eq!(response.answer.len(), 2);
    assert_eq!(response.option(SUBNET).unwrap(), subnet(1, 32, 32, &[10, 0, 130, 1]));
    let v6 = "fd00::130:2".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let response = ask(&snapshot, &forwarder(), &query_edns("web", A, 1232, &option(SUBNET, &subnet(2, 128, 0, &v6))));
    assert_eq!(response.answer.len(), 2);
    assert_eq!(response.option(SUBNET).unwrap(), subnet(2, 128, 128, &v6));
    // Nobody else is believed.
    let response = ask(&snapshot, &from(SPACE), &asked);
    assert_eq!((response.rcode, response.option(SUBNET)), (NXDOMAIN, None));
    // And a stranger's address is a stranger, whoever names it.
    let stranger = query_edns("web", A, 1232, &option(SUBNET, &subnet(1, 32, 0, &[8, 8, 8, 8])));
    let response = ask(&snapshot, &forwarder(), &stranger);
    assert_eq!((response.rcode, response.reason().unwrap().0), (REFUSED, 18));
    assert_eq!(response.option(SUBNET).unwrap(), subnet(1, 32, 32, &[8, 8, 8, 8]));
}

#[test]
fn a_forwarder_that_hides_its_caller_gets_no_view() {
    let snapshot = acme();
    for family in [0, 1, 2] {
        let query = query_edns(NAME, A, 1232, &option(SUBNET, &subnet(family, 0, 0, &[])));
        let octets = octets_of(&snapshot, &forwarder(), &query).unwrap();
        assert_eq!(octets[3] & 15, 5);
        // By octets: hickory-proto reads no family 0.
        let echo = option(SUBNET, &subnet(family, 0, 0, &[]));
        assert!(octets.windows(echo.len()).any(|window| window == echo));
        if family > 0 {
            assert_eq!(Response::read(&octets).reason().unwrap().0, 18);
        }
    }
}

#[test]
fn part_of_an_address_is_ignored() {
    let snapshot = acme();
    for data in [
        subnet(1, 24, 0, &[10, 0, 130]),
        subnet(1, 31, 0, &[10, 0, 130, 0]),
        subnet(2, 56, 0, &[0xfd, 0, 0, 0, 0, 0, 0]),
        subnet(3, 32, 0, &[10, 0, 130, 1]),
    ] {
        let ask_as = Ask { trust: Trust::Forwarder, ..from(SHOP) };
        let response = ask(&snapshot, &ask_as, &query_edns("web", A, 1232, &option(SUBNET, &data)));
        assert_eq!((response.answer.len(), response.option(SUBNET)), (2, None));
    }
}

#[test]
fn a_malformed_subnet_is_a_format_error_from_those_who_are_believed() {
    let snapshot = acme();
    let good = option(SUBNET, &subnet(1, 32, 0, &[10, 0, 130, 1]));
    for options in [
        option(SUBNET, &[0, 1, 32]),
        option(SUBNET, &subnet(1, 32, 0, &[10, 0, 130])),
        option(SUBNET, &subnet(1, 24, 0, &[10, 0, 130, 1])),
        option(SUBNET, &subnet(1, 31, 0, &[10, 0, 130, 1])),
        option(SUBNET, &subnet(1, 33, 0, &[10, 0, 130, 1, 0])),
        option(SUBNET, &subnet(1, 32, 32, &[10, 0, 130, 1])),
        option(SUBNET, &subnet(2, 129, 0, &[0; 17])),
        option(SUBNET, &subnet(0, 8, 0, &[0])),
        [&good[..], &good].concat(),
    ] {
        let query = query_edns(NAME, A, 1232, &options);
        let response = ask(&snapshot, &forwarder(), &query);
        assert_eq!((response.rcode, response.option(SUBNET)), (FORMERR, None));
        assert_eq!(ask(&snapshot, &from(SPACE), &query).rcode, NOERROR);
    }
}

#[test]
fn a_reason_is_cut_at_a_whole_character() {
    let mut snapshot = acme();
    let reason = format!("x{}", "é".repeat(150));
    let app = world::app(
        "wordy",
        crate::zone::Gate::Closed(reason.clone().into()),
        [],
        &[("wordy.herokuapp.com", crate::zone::OwnerKind::Hostname)],
    );
    world::add_app(&mut snapshot, 9, app);
    let response = ask(&snapshot, &from(SPACE), &query_edns("wordy.herokuapp.com", A, 1232, &[]));
    assert_eq!(response.reason(), Some((0, format!("x{}", "é".repeat(99)))));
    // A name of 255 octets leaves less room than the reason wants: the SOA goes first.
    let label = [&b"\x3f"[..], &[b'a'; 63]].concat();
    let qname = [&label.repeat(3)[..], b"\x2da", &[b'a'; 44], &wire("app.localspace")].concat();
    let query = with_opt(raw(7, 0, &qname, A, 1), 512, 0, &[]);
    let mut room = [0; 360];
    let Verdict::Send(length) = respond(&snapshot, &from(SPACE), &query, &mut room) else { panic!() };
    let response = Response::read(&room[..length]);
    assert_eq!((response.authority.len(), response.rcode, length), (1, NXDOMAIN, 360));
    assert_eq!(response.reason(), Some((0, "no such".into())));
}
