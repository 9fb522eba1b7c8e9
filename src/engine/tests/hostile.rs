//! Known ways to hurt a name server, one test a way.

use super::message::{option, query_edns, raw, wire, with_opt};
use super::world::{SPACE, acme};
use super::*;
use crate::name::{Name, NameBuffer};

const NAME: &str = "shop.herokuapp.com";

fn rcode(query: &[u8]) -> u16 {
    u16::from(octets_of(&acme(), &talkative(Transport::Udp), query).unwrap()[3] & 15)
}

#[test]
fn compression_loops_are_not_followed() {
    for qname in [&b"\xc0\x0c"[..], b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xff\xff", b"\x03www\xc0\x00"] {
        assert_eq!(rcode(&raw(7, 0x0100, qname, A, 1)), FORMERR, "{qname:?}");
    }
    // In a record's owner a pointer is passed over, wherever it leads.
    let looping = [&[0xc0, 29][..], &[0, 24, 0, 255, 0, 0, 0, 0, 0, 0]].concat();
    let mut query = [raw(7, 0x0100, &wire(NAME), A, 1), looping].concat();
    query[11] = 1;
    assert_eq!(rcode(&query), NOERROR);
}

#[test]
fn names_of_256_octets_and_labels_of_64_and_more_are_format_errors() {
    let label = [&b"\x3f"[..], &[b'a'; 63]].concat();
    let of_octets = |last: u8| [&label.repeat(3)[..], &[last], &vec![b'a'; usize::from(last)], &[0]].concat();
    assert_eq!((of_octets(61).len(), of_octets(62).len()), (255, 256));
    assert_eq!(rcode(&raw(7, 0, &of_octets(61), A, 1)), REFUSED, "255 octets are a name, and it is foreign");
    assert_eq!(rcode(&raw(7, 0, &of_octets(62), A, 1)), FORMERR);
    assert_eq!(rcode(&raw(7, 0, &b"\x01a".repeat(127).into_iter().chain([0]).collect::<Vec<_>>(), A, 1)), REFUSED);
    assert_eq!(rcode(&raw(7, 0, &b"\x01a".repeat(128).into_iter().chain([0]).collect::<Vec<_>>(), A, 1)), FORMERR);
    for length in [0x40, 0x41, 0x80, 0xbf] {
        let qname = [&[length][..], &vec![b'a'; usize::from(length)], &[0]].concat();
        assert_eq!(rcode(&raw(7, 0, &qname, A, 1)), FORMERR, "{length:x}");
    }
}

#[test]
fn counts_that_lie_are_format_errors() {
    for (place, count) in [(4, 2), (4, 65_535), (6, 1), (6, 65_535), (8, 1), (8, 65_535), (10, 2), (10, 65_535)] {
        let mut query = query_edns(NAME, A, 1232, &[]);
        query[place..place + 2].copy_from_slice(&u16::to_be_bytes(count));
        assert_eq!(rcode(&query), FORMERR, "{place} {count}");
    }
    let mut fewer = query_edns(NAME, A, 1232, &[]);
    fewer[11] = 0;
    let response = ask(&acme(), &from(SPACE), &fewer);
    assert_eq!((response.rcode, response.edns), (NOERROR, None), "what is not counted is not there");
}

#[test]
fn two_hundred_options_are_read_and_answered_like_one() {
    let snapshot = acme();
    let one = query_edns(NAME, A, 1232, &option(65_001, &[]));
    for options in [
        option(65_001, &[]).repeat(200),
        (0..200).flat_map(|code| option(20_000 + code, &[7])).collect(),
        [option(3, &[]).repeat(199), option(12, &[])].concat(),
    ] {
        let many = ask(&snapshot, &from(SPACE), &query_edns(NAME, A, 1232, &options));
        assert_eq!(many, ask(&snapshot, &from(SPACE), &one));
    }
    let cookies = option(10, &[1; 8]).repeat(200);
    let response = ask(&snapshot, &talkative(Transport::Udp), &query_edns(NAME, A, 1232, &cookies));
    assert_eq!(response.edns.unwrap().options.len(), 1);
    let subnets = option(8, &[0, 1, 32, 0, 10, 0, 130, 1]).repeat(200);
    assert_eq!(ask(&snapshot, &forwarder(), &query_edns(NAME, A, 1232, &subnets)).rcode, FORMERR);
}

#[test]
fn a_second_opt_is_a_format_error_wherever_it_stands() {
    let twice = with_opt(query_edns(NAME, A, 1232, &[]), 1232, 0, &[]);
    assert_eq!(rcode(&twice), FORMERR);
    let other = [0, 0, 24, 0, 255, 0, 0, 0, 0, 0, 0];
    let mut apart = [&query_edns(NAME, A, 1232, &[])[..], &other].concat();
    apart[11] = 2;
    assert_eq!(rcode(&apart), NOERROR);
    assert_eq!(rcode(&with_opt(apart, 1232, 0, &[])), FORMERR);
}

#[test]
fn no_octet_of_a_name_can_begin_a_line_or_a_terminal_s_command() {
    for octet in 0..=255 {
        let qname = [1, octet, 4, b'a', b'\n', 0x1b, octet, 0];
        let mut buffer = NameBuffer::new();
        buffer.read(&qname, 0).unwrap();
        for text in [buffer.to_string(), format!("{}", buffer.to_name()), format!("{:?}", buffer.to_name())] {
            assert!(text.bytes().all(|printed| (0x21..0x7f).contains(&printed)), "{octet}: {text:?}");
            assert_eq!(text.parse::<Name>().unwrap(), buffer.to_name(), "and nothing is lost");
        }
    }
    // Nor does a reason quote the query: it says the same of every name.
    let reason = |qname: &[u8]| ask(&acme(), &from(SPACE), &with_opt(raw(7, 0, qname, A, 1), 1232, 0, &[])).reason();
    let evil = [&b"\x05a\nb\x1b["[..], &wire("app.localspace")].concat();
    assert_eq!(reason(&evil), reason(&wire("plain.app.localspace")));
}
