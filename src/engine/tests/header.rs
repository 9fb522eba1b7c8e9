//! Headers, opcodes and formats (PROTOCOL, "Header, opcode, format").

use super::message::{query, query_edns, raw, wire, with_opt};
use super::world::{SPACE, STRANGER, acme};
use super::*;
use crate::zone::Snapshot;

const NAME: &str = "shop.herokuapp.com";

/// The response without a question that a query gets.
fn bare(query: &[u8]) -> Response {
    let response = ask(&acme(), &from(SPACE), query);
    assert_eq!((response.question.clone(), response.edns.clone()), (None, None));
    assert_eq!(response.answer.len() + response.authority.len() + response.additional.len(), 0);
    response
}

#[test]
fn every_flag_of_a_query_is_copied_cleared_or_ours() {
    let snapshot = acme();
    for (flags, expected) in [
        (0x0000, "qr aa"),
        (0x0100, "qr aa rd"),
        (0x0400, "qr aa"),
        (0x0200, "qr aa"),
        (0x0080, "qr aa"),
        (0x0040, "qr aa"),
        (0x0020, "qr aa"),
        (0x0010, "qr aa cd"),
        (0x000f, "qr aa"),
        (0x07ff, "qr aa rd cd"),
    ] {
        let response = ask(&snapshot, &from(SPACE), &raw(9, flags, &wire(NAME), A, 1));
        assert_eq!((response.rcode, &*response.flags, response.answer.len()), (NOERROR, expected, 2), "{flags:04x}");
        let upstream = Ask { recursion: Recursion::Available, ..from(SPACE) };
        assert!(ask(&snapshot, &upstream, &raw(9, flags, &wire(NAME), A, 1)).flags.contains("ra"));
    }
}

#[test]
fn other_opcodes_are_not_implemented_or_refused() {
    for opcode in 1..16 {
        for with_question in [true, false] {
            let mut query = raw(7, opcode << 11 | 0x07ff, &wire(NAME), A, 1);
            if !with_question {
                query.truncate(12);
                query[5] = 0;
            }
            let response = bare(&query);
            let expected = if matches!(opcode, 4 | 5) { REFUSED } else { NOTIMP };
            assert_eq!((response.rcode, response.id, u16::from(response.opcode)), (expected, 7, opcode));
            assert_eq!(response.flags, "qr rd");
        }
    }
}

#[test]
fn a_response_and_a_fragment_of_a_header_get_nothing() {
    let snapshot = acme();
    assert_eq!(verdict(&snapshot, &from(SPACE), &raw(7, 0x8100, &wire(NAME), A, 1)), Verdict::Drop);
    assert_eq!(verdict(&snapshot, &from(SPACE), &query(NAME, A)[..11]), Verdict::Drop);
    assert_eq!(verdict(&snapshot, &from(SPACE), &[]), Verdict::Drop);
}

#[test]
fn a_query_without_one_readable_question_is_a_format_error_without_a_question() {
    for questions in [0, 2, 65_535_u16] {
        let mut query = query(NAME, A);
        query[4..6].copy_from_slice(&questions.to_be_bytes());
        assert_eq!(bare(&query).rcode, FORMERR);
    }
    assert_eq!(bare(&query(NAME, A)[..12]).rcode, FORMERR);
    assert_eq!(bare(&query(NAME, A)[..20]).rcode, FORMERR);
    let whole = query(NAME, A);
    assert_eq!(bare(&whole[..whole.len() - 1]).rcode, FORMERR);
    let long_name = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
    for qname in
        [&b"\x40a\x00"[..], b"\x80a\x00", b"\xc0\x0c", b"\x01a\xc0\x0c", b"\x09a", &[&long_name[..], &[0]].concat()]
    {
        assert_eq!(bare(&raw(7, 0, qname, A, 1)).rcode, FORMERR);
    }
}

#[test]
fn records_in_answer_or_authority_are_a_format_error() {
    let snapshot = acme();
    for place in [7, 9] {
        let mut query = query(NAME, A);
        query[place] = 1;
        let response = ask(&snapshot, &from(SPACE), &query);
        assert_eq!((response.rcode, response.question.is_some()), (FORMERR, true));
    }
}

#[test]
fn octets_after_the_message_are_ignored() {
    let snapshot = acme();
    for query in [query(NAME, A), query_edns(NAME, A, 1232, &[])] {
        let longer = [&query[..], &[0xff; 8]].concat();
        assert_eq!(ask(&snapshot, &from(SPACE), &longer), ask(&snapshot, &from(SPACE), &query));
    }
}

#[test]
fn odd_octets_in_a_name_are_echoed_and_do_not_exist() {
    let snapshot = acme();
    for label in [&b"\x03a.b"[..], b"\x02\x00\x01", b"\x04\xc3\xa9\xff\x80"] {
        let qname = [label, &wire("app.localspace")].concat();
        let query = raw(7, 0, &qname, A, 1);
        let octets = octets_of(&snapshot, &from(SPACE), &query).unwrap();
        assert_eq!(octets[12..query.len()], query[12..]);
        assert_eq!(Response::read(&octets).rcode, NXDOMAIN);
    }
}

#[test]
fn other_classes_are_refused() {
    let snapshot = acme();
    for (name, class) in [("version.bind", 3), (NAME, 3), (NAME, 255), (NAME, 254), (NAME, 0), (NAME, 4)] {
        let response = ask(&snapshot, &from(SPACE), &raw(7, 0x0100, &wire(name), 16, class));
        assert_eq!((response.rcode, &*response.flags), (REFUSED, "qr rd"));
        assert_eq!(response.question.unwrap().2, class);
    }
}

#[test]
fn meta_types_are_format_errors_and_transfers_are_refused() {
    let snapshot = acme();
    for name in [NAME, "example.org", "nobody"] {
        for qtype in [41, 249, 250, 253, 254] {
            assert_eq!(ask(&snapshot, &from(SPACE), &query(name, qtype)).rcode, FORMERR, "{qtype}");
        }
        for qtype in [251, 252] {
            assert_eq!(ask(&snapshot, &from(SPACE), &query(name, qtype)).rcode, REFUSED);
            assert_eq!(ask(&snapshot, &tcp(SPACE), &query(name, qtype)).rcode, REFUSED);
        }
    }
}

#[test]
fn an_incremental_transfer_with_its_soa_is_refused_not_malformed() {
    let snapshot = acme();
    let soa = [&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0][..], &[0; 20]].concat();
    let mut ixfr = [query("app.localspace", 251), soa.clone()].concat();
    ixfr[9] = 1;
    assert_eq!(ask(&snapshot, &from(SPACE), &ixfr).rcode, REFUSED);
    ixfr[9] = 2;
    assert_eq!(ask(&snapshot, &from(SPACE), &[&ixfr[..], &soa].concat()).rcode, FORMERR);
    let mut opt = with_opt(query("app.localspace", 251), 1232, 0, &[]);
    (opt[9], opt[11]) = (1, 0);
    assert_eq!(ask(&snapshot, &from(SPACE), &opt).rcode, FORMERR);
}

#[test]
fn a_stranger_is_refused_with_its_question_and_no_recursion() {
    let stranger = Ask { recursion: Recursion::Available, ..from(STRANGER) };
    let response = ask(&acme(), &stranger, &query_edns(NAME, A, 1232, &[]));
    assert_eq!((response.rcode, &*response.flags), (REFUSED, "qr rd"));
    assert_eq!(response.question.clone().unwrap().0.to_string(), "shop.herokuapp.com.");
    assert_eq!(response.reason().unwrap().0, 18);
    assert_eq!(ask(&acme(), &stranger, &query("example.org", A)).rcode, REFUSED);
}

#[test]
fn a_foreign_name_is_forwarded_only_when_recursion_is_desired() {
    let snapshot = acme();
    assert_eq!(verdict(&snapshot, &from(SPACE), &query("example.org", A)), Verdict::Forward);
    assert_eq!(verdict(&snapshot, &from(SPACE), &query(".", NS)), Verdict::Forward);
    let upstream = Ask { recursion: Recursion::Available, ..from(SPACE) };
    let undesired = with_opt(raw(7, 0, &wire("example.org"), A, 1), 1232, 0, &[]);
    let response = ask(&snapshot, &upstream, &undesired);
    assert_eq!((response.rcode, &*response.flags), (REFUSED, "qr ra"));
    assert_eq!(response.reason().unwrap().0, 20);
    // Desired, and nobody to ask.
    let response = ask(&snapshot, &from(SPACE), &query_edns("example.org", A, 1232, &[]));
    assert_eq!((response.rcode, &*response.flags, response.reason().unwrap().0), (REFUSED, "qr rd", 20));
    assert_eq!(ask(&snapshot, &from(SPACE), &query("example.org", A)).edns, None);
}

#[test]
fn before_the_first_scan_everybody_gets_a_server_failure() {
    let snapshot = Snapshot::starting();
    for (source, name) in [(SPACE, NAME), (STRANGER, NAME), (SPACE, "example.org"), (SPACE, "version.bind")] {
        let response = ask(&snapshot, &from(source), &query_edns(name, A, 1232, &[]));
        assert_eq!((response.rcode, &*response.flags), (SERVFAIL, "qr rd"));
        assert_eq!(response.reason().unwrap().0, 14);
    }
}

#[test]
fn a_signed_query_is_not_authenticated_and_one_signed_in_the_middle_is_malformed() {
    let snapshot = acme();
    let tsig = [&b"\x03key\x00"[..], &[0, 250, 0, 255, 0, 0, 0, 0, 0, 3, 1, 2, 3]].concat();
    let mut signed = [query(NAME, A), tsig.clone()].concat();
    signed[11] = 1;
    let response = ask(&snapshot, &from(SPACE), &signed);
    assert_eq!((response.rcode, response.question.is_some(), response.answer.len()), (NOTAUTH, true, 0));
    let mut last = [query_edns(NAME, A, 1232, &[]), tsig].concat();
    last[11] = 2;
    assert_eq!(ask(&snapshot, &from(SPACE), &last).rcode, NOTAUTH);
    let middle = with_opt(signed, 1232, 0, &[]);
    assert_eq!(ask(&snapshot, &from(SPACE), &middle).rcode, FORMERR);
}

#[test]
fn other_additional_records_are_passed_over_and_must_be_whole() {
    let snapshot = acme();
    let record = [0xc0, 12, 0, 24, 0, 255, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let mut query = [&query(NAME, A)[..], &record].concat();
    query[11] = 1;
    assert_eq!(ask(&snapshot, &from(SPACE), &query).answer.len(), 2);
    assert_eq!(ask(&snapshot, &from(SPACE), &query[..query.len() - 1]).rcode, FORMERR);
    query[11] = 2;
    assert_eq!(ask(&snapshot, &from(SPACE), &query).rcode, FORMERR);
    query[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(ask(&snapshot, &from(SPACE), &query).rcode, FORMERR);
}
