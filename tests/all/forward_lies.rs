//! What an upstream says in passing, or in part: no word of it makes a name of ours public or deny it, and no part passes for the whole.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use crate::message::{Response, wire_name};
use crate::process::{PATIENCE, Server, drop_file, poll};
use crate::upstream::{APP, Upstream, address, alias, asked, behind, errors, lines, record, soa};

/// An address that no name of ours has.
const PUBLIC: [u8; 4] = [203, 0, 113, 66];

/// A server before `upstream` whose app has a domain with a public zone of its own.
fn with_domain(upstream: &Upstream) -> (Server, tempfile::TempDir) {
    let (server, directory) = behind(upstream);
    let domain = format!("{APP}domains: [{{domain: api.example.com, cname: target.example.net}}]\n");
    drop_file(directory.path(), "shop.yaml", &domain);
    let ours = poll(PATIENCE, || asked(&server, "api.example.com", 1).aa.then_some(()));
    assert!(ours.is_some(), "{}", server.log());
    (server, directory)
}

/// Twice: what is said anew, and what is kept.
fn twice(server: &Server, name: &str, qtype: u16) -> [Response; 2] {
    [asked(server, name, qtype), asked(server, name, qtype)]
}

#[test]
fn a_foreign_alias_to_localhost_brings_nobody_to_their_own_machine() {
    let upstream = Upstream::start(|asked| vec![asked.response(0, &[alias("rebind.example", "localhost")])]);
    let (server, _directory) = behind(&upstream);
    for qtype in [1, 28] {
        for response in twice(&server, "rebind.example", qtype) {
            assert_eq!(lines(&response), ["rebind.example. 60 CNAME localhost."]);
            assert_eq!((response.rcode, errors(&response)), (0, vec![15]));
        }
    }
    assert_eq!(lines(&asked(&server, "localhost", 1)), ["localhost. 5 A 127.0.0.1"], "who asks for it has it");
}

#[test]
fn addresses_beside_another_type_of_a_domain_are_not_taken() {
    let upstream = Upstream::start(|asked| {
        let exchange = [&[0, 1][..], &wire_name("api.example.com")].concat();
        let mail = (0, record(&wire_name("api.example.com"), 15, 60, &exchange));
        let (_, public) = address("api.example.com", PUBLIC);
        vec![asked.response(0, &[mail, (2, public)])]
    });
    let (server, _directory) = with_domain(&upstream);
    for response in twice(&server, "api.example.com", 15) {
        assert_eq!(lines(&response), ["api.example.com. 60 MX 1 api.example.com."]);
        assert_eq!(response.additional.len(), 0, "{response:?}");
    }
}

#[test]
fn nobody_else_can_say_that_a_domain_of_ours_does_not_exist() {
    let upstream = Upstream::start(|asked| vec![asked.response(3, &[soa("example.com")])]);
    let (server, _directory) = with_domain(&upstream);
    for response in twice(&server, "api.example.com", 16) {
        assert_eq!((response.rcode, response.answer.len(), response.authority.len()), (0, 0, 1), "{response:?}");
    }
    for response in twice(&server, "other.example.com", 16) {
        assert_eq!(response.rcode, 3, "what is not ours may well not exist");
    }
}

#[test]
fn an_alias_that_is_asked_for_is_not_followed() {
    let upstream = Upstream::start(|asked| {
        let more = address("target.example.net", PUBLIC);
        vec![asked.response(0, &[alias("api.example.com", "target.example.net"), more])]
    });
    let (server, _directory) = with_domain(&upstream);
    for response in twice(&server, "api.example.com", 5) {
        assert_eq!(lines(&response), ["api.example.com. 60 CNAME target.example.net."]);
        assert_eq!((response.rcode, response.authority.len()), (0, 0), "{response:?}");
    }
}

#[test]
fn a_part_that_was_cut_in_the_middle_of_a_record_has_the_whole_fetched() {
    let upstream = Upstream::start(|asked| {
        let mut response = asked.answer(PUBLIC, 600);
        if !asked.tcp {
            response[2] |= 2;
            response.truncate(response.len() - 3);
        }
        vec![response]
    });
    let (server, _directory) = behind(&upstream);
    assert_eq!(lines(&asked(&server, "www.example", 1)), ["www.example. 600 A 203.0.113.66"]);
}

#[test]
fn a_part_does_not_pass_for_the_whole_over_a_stream_either() {
    let upstream = Upstream::start(|asked| {
        let mut cut = asked.answer(PUBLIC, 600);
        cut[2] |= 2;
        vec![cut]
    });
    let (server, _directory) = behind(&upstream);
    let response = asked(&server, "www.example", 1);
    assert_eq!((response.rcode, response.answer.len(), errors(&response)), (2, 0, vec![22]));
}

#[test]
fn an_alias_to_a_large_set_brings_what_fits() {
    let upstream = Upstream::start(|asked| vec![asked.response(0, &[alias("cdn.example", "shop.herokuapp.com")])]);
    let (server, directory) = behind(&upstream);
    let instances: String =
        (1..=60).map(|n| format!("- {{component: web, number: {n}, address: 10.0.130.{n}}}\n")).collect();
    let many =
        format!("app: shop\nformation: {{web: {{quantity: 60}}}}\ninternal_routing: true\ninstances:\n{instances}");
    drop_file(directory.path(), "shop.yaml", &many);
    // Without EDNS: 512 octets, where the whole set does not fit, and musl before 1.2.4 could not ask again over TCP.
    let response =
        poll(PATIENCE, || Some(asked(&server, "cdn.example", 1)).filter(|response| response.answer.len() > 2));
    let response = response.unwrap_or_else(|| panic!("{:?}\n{}", asked(&server, "cdn.example", 1), server.log()));
    assert!(!response.tc && response.answer.len() >= 20, "{response:?}");
    assert_eq!(lines(&response)[0], "cdn.example. 60 CNAME shop.herokuapp.com.");
}
