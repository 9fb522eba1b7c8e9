//! Cookies, NSID, keepalive, padding (PROTOCOL, "EDNS"), and what the server says of itself in class CH.

use super::message::{option, query, query_edns, raw, wire, with_opt};
use super::world::{SHOP, SPACE, STRANGER, acme};
use super::*;

const NAME: &str = "shop.herokuapp.com";
const NODE_ID: u16 = 3;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
const TRANSPORTS: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Quic];

/// The cookie that comes back when this one is sent.
fn cookie_for(ask_as: &Ask<'_>, sent: &[u8]) -> Vec<u8> {
    let response = ask(&acme(), ask_as, &query_edns(NAME, A, 1232, &option(COOKIE, sent)));
    assert_eq!((response.rcode, response.answer.len()), (NOERROR, 2), "a cookie changes no answer");
    response.option(COOKIE).unwrap().to_vec()
}

/// A query of a header and OPT with this cookie.
fn without_question(cookie: &[u8]) -> Vec<u8> {
    let header = [0x12, 0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    with_opt(header, 1232, 0, &option(COOKIE, cookie))
}

#[test]
fn a_client_that_sends_its_cookie_gets_one_of_ours() {
    let udp = talkative(Transport::Udp);
    let made = cookie_for(&udp, &[1; 8]);
    assert_eq!((made.len(), &made[..8], &made[8..12]), (24, &[1; 8][..], &[1, 0, 0, 0][..]));
    assert_eq!(made[12..16], 1_800_000_000_u32.to_be_bytes());
    assert_eq!(
        cookie_for(&Ask { now: udp.now + 1800, ..udp }, &made),
        made,
        "for half an hour it goes back as it came"
    );
    let renewed = cookie_for(&Ask { now: udp.now + 1801, ..udp }, &made);
    assert_ne!(renewed[8..], made[8..]);
    assert_eq!(renewed[12..16], 1_800_001_801_u32.to_be_bytes());
    assert_ne!(cookie_for(&Ask { source: SHOP.parse().unwrap(), ..udp }, &made), made, "it is for one address");
}

#[test]
fn a_cookie_that_is_none_of_ours_is_replaced_and_the_query_answered() {
    let udp = talkative(Transport::Udp);
    let fresh = cookie_for(&udp, &[1; 8]);
    for server in [8, 9, 15, 16, 31, 32] {
        assert_eq!(cookie_for(&udp, &[&[1; 8][..], &vec![9; server]].concat()), fresh);
    }
    let mut forged = fresh.clone();
    forged[23] ^= 1;
    assert_eq!(cookie_for(&udp, &forged), fresh);
}

#[test]
fn every_response_of_a_readable_query_has_the_cookie() {
    let starting = Snapshot::starting();
    let snapshot = acme();
    let udp = talkative(Transport::Udp);
    for (snapshot, source, name, rcode) in [
        (&snapshot, SPACE, "nobody", NXDOMAIN),
        (&snapshot, SPACE, "idle.herokuapp.com", NOERROR),
        (&snapshot, STRANGER, NAME, REFUSED),
        (&snapshot, SPACE, "example.org", REFUSED),
        (&starting, SPACE, NAME, SERVFAIL),
    ] {
        let ask_as = Ask { source: source.parse().unwrap(), ..udp };
        let response = ask(snapshot, &ask_as, &query_edns(name, A, 1232, &option(COOKIE, &[1; 8])));
        assert_eq!((response.rcode, response.option(COOKIE).unwrap().len()), (rcode, 24), "{name}");
    }
    let cut = ask(&snapshot, &udp, &query_edns("web.big.app.localspace", A, 1232, &option(COOKIE, &[1; 8])));
    assert!(cut.flags.contains("tc") && cut.option(COOKIE).is_some());
}

#[test]
fn only_the_first_of_several_cookies_counts() {
    let udp = talkative(Transport::Udp);
    let options = [option(COOKIE, &[1; 8]), option(COOKIE, &[2; 3])].concat();
    let response = ask(&acme(), &udp, &query_edns(NAME, A, 1232, &options));
    assert_eq!((response.rcode, &response.option(COOKIE).unwrap()[..8]), (NOERROR, &[1; 8][..]));
}

#[test]
fn a_server_without_secrets_has_no_cookies() {
    let response = ask(&acme(), &from(SPACE), &query_edns(NAME, A, 1232, &option(COOKIE, &[1; 8])));
    assert_eq!((response.rcode, response.option(COOKIE)), (NOERROR, None));
    assert_eq!(ask(&acme(), &from(SPACE), &without_question(&[1; 8])).rcode, FORMERR);
}

#[test]
fn a_cookie_may_be_asked_for_without_a_question() {
    let snapshot = acme();
    let udp = talkative(Transport::Udp);
    let response = ask(&snapshot, &udp, &without_question(&[1; 8]));
    assert_eq!(
        (response.rcode, response.id, &*response.flags, response.question.clone()),
        (NOERROR, 0x1234, "qr rd", None)
    );
    let made = response.option(COOKIE).unwrap().to_vec();
    assert_eq!(made, cookie_for(&udp, &[1; 8]));
    let again = ask(&snapshot, &udp, &without_question(&made));
    assert_eq!((again.rcode, again.option(COOKIE)), (NOERROR, Some(&made[..])));
    let forged = ask(&snapshot, &udp, &without_question(&[&made[..23], &[made[23] ^ 1]].concat()));
    assert_eq!((forged.rcode, forged.option(COOKIE)), (BADCOOKIE, Some(&made[..])));
    for length in [0, 7, 9, 15, 41] {
        let response = ask(&snapshot, &udp, &without_question(&vec![1; length]));
        assert_eq!((response.rcode, response.edns.is_none()), (FORMERR, true), "{length}");
    }
    let no_cookie = with_opt(without_question(&[])[..12].to_vec(), 1232, 0, &[]);
    for octets in [&no_cookie[..10], &[]] {
        assert_eq!(octets_of(&snapshot, &udp, octets), None);
    }
}

#[test]
fn the_node_id_goes_to_those_who_ask() {
    let snapshot = acme();
    for transport in TRANSPORTS {
        for data in [&[][..], b"ignored"] {
            let asked = query_edns(NAME, A, 1232, &option(NODE_ID, data));
            let response = ask(&snapshot, &talkative(transport), &asked);
            assert_eq!(response.option(NODE_ID), Some(&b"node-7"[..]));
            assert_eq!(ask(&snapshot, &from(SPACE), &asked).option(NODE_ID), None, "unless there is none");
        }
        let response = ask(&snapshot, &talkative(transport), &query_edns(NAME, A, 1232, &[]));
        assert_eq!(response.edns.unwrap().options, []);
    }
}

#[test]
fn the_idle_time_goes_to_those_who_ask_over_tcp_or_tls() {
    let snapshot = acme();
    for (transport, idle) in [(Transport::Udp, None), (Transport::Tcp, Some(100)), (Transport::Tls, Some(100))] {
        let response = ask(&snapshot, &talkative(transport), &query_edns(NAME, A, 1232, &option(KEEPALIVE, &[])));
        assert_eq!(response.option(KEEPALIVE), idle.map(u16::to_be_bytes).as_ref().map(<[_; 2]>::as_slice));
        let unasked = ask(&snapshot, &talkative(transport), &query_edns(NAME, A, 1232, &[]));
        assert_eq!(unasked.option(KEEPALIVE), None);
        for options in [option(KEEPALIVE, &[0, 100]), option(KEEPALIVE, &[0]), option(KEEPALIVE, &[]).repeat(2)] {
            let response = ask(&snapshot, &talkative(transport), &query_edns(NAME, A, 1232, &options));
            let expected = if idle.is_some() { FORMERR } else { NOERROR };
            assert_eq!((response.rcode, response.option(KEEPALIVE)), (expected, None), "{transport:?} {options:?}");
        }
    }
}

/// RFC 9250 §4.3.3: it is an error of the connection, whatever else the query says.
#[test]
fn nothing_is_said_to_a_query_over_quic_that_asks_for_the_idle_time() {
    let snapshot = acme();
    let quic = talkative(Transport::Quic);
    for options in [
        option(KEEPALIVE, &[]),
        option(KEEPALIVE, &[0, 100]),
        [option(COOKIE, &[1; 8]), option(KEEPALIVE, &[]), option(PADDING, &[0; 9])].concat(),
        // It comes before what cannot be read.
        [option(KEEPALIVE, &[]), vec![0]].concat(),
    ] {
        assert_eq!(octets_of(&snapshot, &quic, &query_edns(NAME, A, 1232, &options)), None, "{options:?}");
    }
    let mut cookie = with_opt(without_question(&[])[..12].to_vec(), 1232, 0, &[]);
    assert!(octets_of(&snapshot, &quic, &cookie).is_some());
    let options = [option(COOKIE, &[1; 8]), option(KEEPALIVE, &[])].concat();
    cookie = with_opt(cookie[..12].to_vec(), 1232, 0, &options);
    cookie[11] = 1;
    assert_eq!(octets_of(&snapshot, &quic, &cookie), None);
    assert!(octets_of(&snapshot, &quic, &query_edns(NAME, A, 1232, &option(PADDING, &[0; 9]))).is_some());
}

#[test]
fn responses_are_padded_for_those_who_pad_where_it_hides_anything() {
    let snapshot = acme();
    let all = [option(COOKIE, &[1; 8]), option(NODE_ID, &[]), option(PADDING, &[0; 31])].concat();
    for transport in TRANSPORTS {
        let is_encrypted = matches!(transport, Transport::Tls | Transport::Quic);
        for (name, qtype) in
            [(NAME, A), ("idle.herokuapp.com", A), ("nobody", A), ("big.herokuapp.com", A), (NAME, 252)]
        {
            for options in [option(PADDING, &[]), all.clone()] {
                let octets =
                    octets_of(&snapshot, &talkative(transport), &query_edns(name, qtype, 1232, &options)).unwrap();
                let response = Response::read(&octets);
                assert_eq!(octets.len().is_multiple_of(468), is_encrypted, "{name} {transport:?} {}", octets.len());
                assert_eq!(response.option(PADDING).is_some(), is_encrypted);
                assert!(response.option(PADDING).unwrap_or_default().iter().all(|octet| *octet == 0));
            }
            let unpadded = octets_of(&snapshot, &talkative(transport), &query_edns(name, qtype, 1232, &[])).unwrap();
            assert_eq!(Response::read(&unpadded).option(PADDING), None);
        }
    }
}

#[test]
fn padding_ends_where_the_response_must() {
    let query = query_edns(NAME, A, 1232, &option(PADDING, &[]));
    for room in [400, 467, 469, 600] {
        let mut response = vec![0xaa; room];
        let Verdict::Send(length) = respond(&acme(), &talkative(Transport::Tls), &query, &mut response) else {
            panic!()
        };
        assert_eq!(length, room.min(468));
        assert_eq!(Response::read(&response[..length]).answer.len(), 2);
    }
}

#[test]
fn every_option_beside_the_longest_question_fits_into_512_octets() {
    let settings = Settings { node_id: Some(Text::new(&[b'n'; 128]).unwrap()), ..Settings::new() };
    let label = [&b"\x3f"[..], &[b'a'; 63]].concat();
    let qname = [&label.repeat(3)[..], b"\x2e", &[b'a'; 46], &wire("app.localspace")].concat();
    assert_eq!(qname.len(), 255);
    let address = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let subnet = [&[0, 2, 128, 0][..], &address].concat();
    let options = [option(COOKIE, &[1; 8]), option(NODE_ID, &[]), option(8, &subnet)].concat();
    let query = with_opt(raw(7, 0, &qname, A, 1), 512, 0, &options);
    let response = ask(&acme(), &Ask { settings: &settings, secrets: Some(&SECRETS), ..forwarder() }, &query);
    assert_eq!((response.rcode, response.edns.clone().unwrap().options.len()), (NXDOMAIN, 4));
    assert_eq!(response.option(NODE_ID).unwrap().len(), 128);
}

#[test]
fn what_the_server_is_told_to_say_of_itself_is_text_in_class_ch() {
    let snapshot = acme();
    let chaos = |ask_as: &Ask<'_>, name: &str, qtype| ask(&snapshot, ask_as, &raw(7, 0x0100, &wire(name), qtype, 3));
    let told = talkative(Transport::Udp);
    for (name, said) in [
        ("version.bind", "spacedns"),
        ("VERSION.server", "spacedns"),
        ("id.server", "\u{e9}ast"),
        ("hostname.bind", "\u{e9}ast"),
    ] {
        for qtype in [16, ANY] {
            let response = chaos(&told, name, qtype);
            assert_eq!((response.rcode, &*response.flags), (NOERROR, "qr aa rd"));
            assert_eq!(response.answer, [format!("{}. 0 TXT {said}", name.to_lowercase())]);
        }
        assert_eq!(chaos(&told, name, A).rcode, REFUSED);
        assert_eq!(chaos(&from(SPACE), name, 16).rcode, REFUSED, "unless it is told nothing");
        assert_eq!(chaos(&Ask { source: STRANGER.parse().unwrap(), ..told }, name, 16).rcode, REFUSED);
    }
    assert_eq!(chaos(&told, "authors.bind", 16).rcode, REFUSED);
    assert_eq!(ask(&snapshot, &told, &query("version.bind", 16)).rcode, REFUSED, "in class IN the name is foreign");
}
