//! What is in an answer (PROTOCOL, "Answers").

use std::collections::BTreeSet;

use super::message::{query, query_edns, raw, wire};
use super::world::{BIG, SECRET, SHARED, SHOP, SPACE, acme};
use super::*;
use crate::zone::{Bare, Gate, InstanceState, OwnerKind};

const SOA_DATA: &str = "ns1.acme.example. nobody.invalid. 2026 3600 600 86400 2";

/// NOERROR without an answer, and the SOA of `apex`.
fn assert_no_data(response: &Response, apex: &str) {
    assert_eq!((response.rcode, &response.flags[..2], response.answer.len()), (NOERROR, "qr", 0));
    assert!(response.flags.contains("aa"));
    assert_eq!(response.authority, [format!("{apex} 2 SOA {SOA_DATA}")]);
}

#[test]
fn a_hostname_answers_with_the_addresses_of_the_router() {
    let response = ask(&acme(), &from(SPACE), &query("shop.herokuapp.com", A));
    assert_eq!((response.rcode, response.id, &*response.flags), (NOERROR, 0x2a5c, "qr aa rd"));
    let mut answer = response.answer.clone();
    answer.sort();
    assert_eq!(answer, ["shop.herokuapp.com. 5 A 10.0.0.10", "shop.herokuapp.com. 5 A 10.0.16.10"]);
    assert_eq!((response.authority.len(), response.additional.len(), response.edns), (0, 0, None));
}

#[test]
fn addresses_rotate_with_the_message_id_and_the_turn() {
    let snapshot = acme();
    let first = |id, turn| {
        let query = raw(id, 0x0100, &wire("web"), A, 1);
        ask(&snapshot, &Ask { turn, ..from(SHOP) }, &query).answer[0].clone()
    };
    assert_eq!(first(0, 0), "web. 5 A 10.0.130.1");
    assert_eq!(first(1, 0), "web. 5 A 10.0.130.2");
    assert_eq!(first(0, 1), "web. 5 A 10.0.130.2");
    assert_eq!(first(65_535, 1), "web. 5 A 10.0.130.1");
}

#[test]
fn the_question_keeps_its_case_octet_for_octet() {
    let query = query("WeB.sHoP.aPp.LoCaLsPaCe", A);
    let octets = octets_of(&acme(), &from(SPACE), &query).unwrap();
    assert_eq!(octets[12..query.len()], query[12..]);
    assert_eq!(octets[query.len()..query.len() + 2], [0xc0, 12]);
    assert_eq!(Response::read(&octets).answer.len(), 2);
}

#[test]
fn a_bare_name_is_its_own_lan_s() {
    let snapshot = acme();
    assert_eq!(ask(&snapshot, &from(SHOP), &query("web", A)).answer.len(), 2);
    assert_eq!(ask(&snapshot, &from(SECRET), &query("web", A)).answer.len(), 2);
    let nobody = ask(&snapshot, &from(SPACE), &query_edns("web", A, 1232, &[]));
    assert_eq!(nobody.rcode, NXDOMAIN);
    assert_eq!(nobody.authority, [format!(". 2 SOA {SOA_DATA}")]);
    assert_eq!(nobody.reason(), Some((0, "the caller is on no app's LAN".into())));
    let worker = ask(&snapshot, &from(SHOP), &query_edns("worker", A, 1232, &[]));
    assert_eq!(worker.reason(), Some((0, "no service of this name on the caller's app".into())));
    let ambiguous = ask(&snapshot, &from(SHARED), &query_edns("web", A, 1232, &[]));
    assert_no_data(&ambiguous, ".");
    assert_eq!(ambiguous.reason().unwrap().1, "ambiguous caller: several apps share this address");
}

#[test]
fn a_missing_type_is_nodata_without_a_reason() {
    let snapshot = acme();
    for qtype in [AAAA, MX, SRV, HTTPS, 1000] {
        let response = ask(&snapshot, &from(SPACE), &query_edns("shop.herokuapp.com", qtype, 1232, &[]));
        assert_no_data(&response, "shop.herokuapp.com.");
        assert_eq!(response.reason(), None);
    }
}

#[test]
fn a_closed_gate_is_nodata_with_its_reason() {
    let snapshot = acme();
    for qtype in [A, AAAA, HTTPS] {
        let response = ask(&snapshot, &from(SPACE), &query_edns("idle.herokuapp.com", qtype, 1232, &[]));
        assert_no_data(&response, "idle.herokuapp.com.");
        let text = "idle: 0 of 2 web instances up; web.1 lease expired 2026-11-20T16:40:12Z";
        assert_eq!(response.reason(), Some((0, text.into())));
    }
    let plain = ask(&snapshot, &from(SPACE), &query("idle.herokuapp.com", A));
    assert_no_data(&plain, "idle.herokuapp.com.");
    assert_eq!(plain.edns, None);
    let instance = ask(&snapshot, &from(SPACE), &query_edns("3.web.shop.app.localspace", A, 1232, &[]));
    assert_no_data(&instance, "app.localspace.");
    assert_eq!(instance.reason(), Some((0, "shop: web.3 lease expired".into())));
}

#[test]
fn what_does_not_exist_is_nxdomain_with_the_soa_of_its_zone() {
    let snapshot = acme();
    for (name, apex, text) in [
        ("web.nope.app.localspace", "app.localspace.", "no such app"),
        ("nope.shop.app.localspace", "app.localspace.", "the app has no such component"),
        ("9.web.shop.app.localspace", "app.localspace.", "the component has no such instance or port"),
        ("web.secret.app.localspace", "app.localspace.", "no such app"),
        ("nope.apps.acme.internal", "apps.acme.internal.", "no app declares this name"),
        ("a.b.nope.apps.acme.internal", "apps.acme.internal.", "no app declares this name"),
        ("gone.herokuapp.com", "gone.herokuapp.com.", "the app that held this name was removed"),
        ("99.0.0.10.in-addr.arpa", "0.10.in-addr.arpa.", "no instance is registered at this address"),
    ] {
        let response = ask(&snapshot, &from(SPACE), &query_edns(name, A, 1232, &[]));
        assert_eq!((response.rcode, &*response.flags), (NXDOMAIN, "qr aa rd"), "{name}");
        assert_eq!(response.authority, [format!("{apex} 2 SOA {SOA_DATA}")]);
        assert_eq!(response.reason(), Some((0, text.into())));
    }
}

#[test]
fn an_empty_non_terminal_is_nodata() {
    let snapshot = acme();
    for (name, apex) in [
        ("shop.app.localspace", "app.localspace."),
        ("_tcp.web.shop.app.localspace", "app.localspace."),
        ("er.apps.acme.internal", "apps.acme.internal."),
        ("localspace", "."),
        ("internal", "."),
        ("130.0.10.in-addr.arpa", "0.10.in-addr.arpa."),
    ] {
        let response = ask(&snapshot, &from(SPACE), &query_edns(name, A, 1232, &[]));
        assert_no_data(&response, apex);
        assert_eq!(response.reason(), None);
    }
}

#[test]
fn an_apex_has_soa_and_name_servers_with_their_addresses() {
    let snapshot = acme();
    for apex in
        ["app.localspace.", "apps.acme.internal.", "shop.herokuapp.com.", "idle.herokuapp.com.", "0.10.in-addr.arpa."]
    {
        let soa = ask(&snapshot, &from(SPACE), &query(apex, SOA));
        assert_eq!(soa.answer, [format!("{apex} 2 SOA {SOA_DATA}")]);
        let ns = ask(&snapshot, &from(SPACE), &query(apex, NS));
        assert_eq!(ns.answer, [format!("{apex} 5 NS ns1.acme.example.")]);
        assert_eq!(ns.additional, ["ns1.acme.example. 5 A 10.0.0.53", "ns1.acme.example. 5 AAAA fd00::53"]);
        assert_no_data(&ask(&snapshot, &from(SPACE), &query(apex, 43)), apex);
    }
    assert_eq!(ask(&snapshot, &from(SPACE), &query("app.localspace", ANY)).answer.len(), 1);
}

#[test]
fn names_in_the_soa_end_in_the_question_where_they_can() {
    let mut snapshot = acme();
    let mut space = snapshot.space(0).unwrap().clone();
    space.ns[0].name = "ns.app.localspace".parse().unwrap();
    snapshot.spaces = std::sync::Arc::from([Some(std::sync::Arc::new(space))]);
    let question = query("Nope.App.LocalSpace", A);
    let octets = octets_of(&snapshot, &from(SPACE), &question).unwrap();
    let response = Response::read(&octets);
    assert_eq!(response.authority, ["app.localspace. 2 SOA ns.app.localspace. nobody.invalid. 2026 3600 600 86400 2"]);
    assert_eq!(octets.len(), question.len() + 12 + 5 + 16 + 20);
    // A suffix by octets that is none by labels.
    space = snapshot.space(0).unwrap().clone();
    space.ns[0].name = "pp.localspace".parse().unwrap();
    snapshot.spaces = std::sync::Arc::from([Some(std::sync::Arc::new(space))]);
    let response = ask(&snapshot, &from(SPACE), &question);
    assert_eq!(response.authority, ["app.localspace. 2 SOA pp.localspace. nobody.invalid. 2026 3600 600 86400 2"]);
}

#[test]
fn srv_lists_each_instance_with_its_addresses() {
    let snapshot = acme();
    for (caller, name) in [
        (SPACE, "_http._tcp.web.shop.app.localspace"),
        (SPACE, "_8080._tcp.web.shop.disco.test"),
        (SHOP, "_http._tcp.web"),
    ] {
        for qtype in [SRV, ANY] {
            let response = ask(&snapshot, &from(caller), &query(name, qtype));
            assert_eq!(
                response.answer,
                [
                    format!("{name}. 5 SRV 0 1 8080 1.web.shop.app.localspace."),
                    format!("{name}. 5 SRV 0 1 8081 2.web.shop.app.localspace."),
                ]
            );
            assert_eq!(
                response.additional,
                [
                    "1.web.shop.app.localspace. 5 A 10.0.130.1",
                    "2.web.shop.app.localspace. 5 A 10.0.130.2",
                    "2.web.shop.app.localspace. 5 AAAA fd00::130:2",
                ]
            );
        }
        assert_eq!(ask(&snapshot, &from(caller), &query(name, A)).answer.len(), 0);
    }
    let empty = ask(&snapshot, &from(SPACE), &query_edns("_9100._tcp.worker.shop.app.localspace", SRV, 1232, &[]));
    assert_no_data(&empty, "app.localspace.");
    assert_eq!(empty.reason(), Some((0, "shop: 0 of 1 worker instances up".into())));
}

#[test]
fn srv_drops_additional_records_before_it_is_truncated() {
    let snapshot = acme();
    let name = "_http._tcp.web.big.app.localspace";
    let whole = ask(&snapshot, &tcp(SPACE), &query(name, SRV));
    assert_eq!((whole.answer.len(), whole.additional.len()), (100, 200));
    assert_eq!(whole.additional[199], "100.web.big.app.localspace. 5 AAAA fd00::140:64");
    let cut = ask(&snapshot, &from(SPACE), &query_edns(name, SRV, 1232, &[]));
    assert_eq!((&*cut.flags, cut.answer.len(), cut.additional.len()), ("qr aa tc rd", 0, 0));
    // Just enough for the answer and a little more.
    let mut response = vec![0; 65_535];
    let answers = query(name, SRV).len() + whole.answer.len() * 18 + 9 * 26 + 90 * 27 + 28;
    for (more, additional) in [(0, 0), (15, 0), (16, 1), (43, 1), (44, 2)] {
        let room = &mut response[..answers + more];
        let Verdict::Send(length) = respond(&snapshot, &tcp(SPACE), &query(name, SRV), room) else { panic!() };
        let response = Response::read(&room[..length]);
        assert_eq!((&*response.flags, response.answer.len()), ("qr aa rd", 100));
        assert_eq!(response.additional.len(), additional);
    }
}

/// There is nowhere to go from a stream for what does not fit, so TC would be an answer to nobody.
#[test]
fn over_a_stream_an_srv_set_that_does_not_fit_is_as_much_of_it_as_does() {
    let snapshot = acme();
    let name = "_http._tcp.web.big.app.localspace";
    let whole: BTreeSet<_> = ask(&snapshot, &tcp(SPACE), &query(name, SRV)).answer.into_iter().collect();
    let mut response = vec![0; 65_535];
    let mut seen = BTreeSet::new();
    for caller in ["10.0.200.1", "10.0.200.2", "10.0.200.3", "10.0.200.4", "10.0.200.5", "10.0.200.6", "10.0.200.7"] {
        for room in [1000, 2000, 4000, 4400] {
            let mut respond = |id| {
                let mut query = query(name, SRV);
                query[1] = id;
                let verdict = respond(&snapshot, &tcp(caller), &query, &mut response[..room]);
                let Verdict::Send(length) = verdict else { panic!("a valid query gets a response") };
                (length, Response::read(&response[..length]))
            };
            let (length, some) = respond(7);
            assert_eq!(&*some.flags, "qr aa rd");
            assert!(
                some.answer.len() < 100 && some.additional.len() <= 1 && room - length < 18 + 28,
                "{room} {length}"
            );
            assert_eq!(some.answer, respond(8).1.answer, "the same every time");
            let distinct: BTreeSet<_> = some.answer.iter().cloned().collect();
            assert!(distinct.len() == some.answer.len() && distinct.is_subset(&whole));
            seen.extend(distinct);
        }
    }
    assert!(seen.len() > 95, "callers are spread");
}

#[test]
fn targets_past_the_reach_of_pointers_own_their_addresses_too() {
    let mut snapshot = acme();
    // 63 octets, so that two hundred targets are past 16,384.
    let label = "a-process-type-as-long-as-a-label-may-be-that-is-63-octets-long";
    let mut component = world::component(label, Bare::Named);
    for number in 1..=400 {
        let address = format!("10.0.{}.{}", 170 + number / 200, number % 200 + 1);
        component = component.instance(number, InstanceState::Up, &[&address]);
    }
    let targets: Vec<_> = (0..400).map(|instance| (instance, 8080)).collect();
    let component = component.port("http", &targets);
    world::add_app(&mut snapshot, 4, world::app("huge", Gate::Web(0), [component.done()], &[]));
    let response = ask(&snapshot, &tcp(SPACE), &query(&format!("_http._tcp.{label}.huge.app.localspace"), SRV));
    assert_eq!((response.answer.len(), response.additional.len()), (400, 256), "the addresses of the first 256");
    for (number, record) in (1..).zip(&response.additional) {
        let address = format!("10.0.{}.{}", 170 + number / 200, number % 200 + 1);
        assert_eq!(*record, format!("{number}.{label}.huge.app.localspace. 5 A {address}"));
    }
}

#[test]
fn a_reverse_name_has_the_one_canonical_name() {
    let snapshot = acme();
    let v6 = "2.0.0.0.0.3.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    for (name, target) in [
        ("1.130.0.10.in-addr.arpa", "1.web.shop.app.localspace."),
        ("1.131.0.10.IN-ADDR.arpa", "1.worker.shop.app.localspace."),
        (v6, "2.web.shop.app.localspace."),
    ] {
        for qtype in [PTR, ANY] {
            let response = ask(&snapshot, &from(SPACE), &query(name, qtype));
            assert_eq!(response.answer, [format!("{}. 5 PTR {target}", name.to_lowercase())]);
        }
    }
    assert_no_data(&ask(&snapshot, &from(SPACE), &query("1.130.0.10.in-addr.arpa", A)), "0.10.in-addr.arpa.");
}

#[test]
fn any_is_one_set() {
    let snapshot = acme();
    let response = ask(&snapshot, &from(SPACE), &query("2.web.shop.app.localspace", ANY));
    assert_eq!(response.answer, ["2.web.shop.app.localspace. 5 A 10.0.130.2"]);
    let closed = ask(&snapshot, &from(SPACE), &query("web.idle.app.localspace", ANY));
    assert_no_data(&closed, "app.localspace.");
    assert_eq!(ask(&snapshot, &from(SPACE), &query("idle.herokuapp.com", ANY)).answer.len(), 1);
}

#[test]
fn a_custom_domain_is_ours_for_addresses_only() {
    let snapshot = acme();
    for name in ["api.example.com", "any.wild.example.com"] {
        assert_eq!(ask(&snapshot, &from(SPACE), &query(name, A)).answer.len(), 2);
        assert_eq!(ask(&snapshot, &from(SPACE), &query(name, ANY)).answer.len(), 2);
        for qtype in [AAAA, HTTPS, 64] {
            let response = ask(&snapshot, &from(SPACE), &query(name, qtype));
            assert_eq!((response.rcode, response.authority.len()), (NOERROR, 1), "{name} {qtype}");
        }
        for qtype in [MX, SOA, NS, 16, 43] {
            assert_eq!(verdict(&snapshot, &from(SPACE), &query(name, qtype)), Verdict::Forward);
        }
    }
    assert_eq!(verdict(&snapshot, &from(SPACE), &query("gone.example.com", MX)), Verdict::Forward);
    assert_eq!(ask(&snapshot, &from(SPACE), &query("gone.example.com", AAAA)).rcode, NXDOMAIN);
}

#[test]
fn a_single_label_that_is_nobody_s_is_forwarded_for_delegation_types_only() {
    let snapshot = acme();
    for qtype in [43, 48, NS, SOA] {
        assert_eq!(verdict(&snapshot, &from(SHOP), &query("nobody", qtype)), Verdict::Forward);
    }
    for qtype in [A, MX, ANY, 16] {
        assert_eq!(ask(&snapshot, &from(SHOP), &query("nobody", qtype)).rcode, NXDOMAIN);
    }
}

#[test]
fn hostnames_carry_what_fits_and_the_same_to_the_same_caller() {
    let snapshot = acme();
    let seen = |id, source: &str, query: Vec<u8>| {
        let mut query = query;
        query[..2].copy_from_slice(&u16::to_be_bytes(id));
        let response = ask(&snapshot, &from(source), &query);
        assert_eq!((&*response.flags, response.rcode), ("qr aa rd", NOERROR));
        let mut answer = response.answer;
        answer.sort();
        answer.dedup();
        answer
    };
    for (name, caller) in [("big.herokuapp.com", SPACE), ("web", BIG)] {
        let plain = seen(1, caller, query(name, A));
        assert!((27..=31).contains(&plain.len()), "{}", plain.len());
        assert_eq!(plain, seen(77, caller, query(name, A)), "an ID changes the order, not the choice");
        assert_eq!(seen(1, caller, query_edns(name, A, 65_535, &[])).len(), if name == "web" { 75 } else { 74 });
        assert!((15..=17).contains(&seen(1, caller, query(name, AAAA)).len()));
    }
    let others: Vec<_> = (1..20).map(|n| seen(1, &format!("10.0.201.{n}"), query("big.herokuapp.com", A))).collect();
    assert!(others.iter().any(|other| *other != others[0]), "callers are spread");
    assert_eq!(ask(&snapshot, &tcp(SPACE), &query("big.herokuapp.com", A)).answer.len(), 100);
}

#[test]
fn discovery_names_carry_everything_or_say_that_they_are_truncated() {
    let snapshot = acme();
    let name = "web.big.app.localspace";
    let cut = ask(&snapshot, &from(SPACE), &query_edns(name, A, 1232, &[]));
    assert_eq!((&*cut.flags, cut.answer.len(), cut.rcode), ("qr aa tc rd", 0, NOERROR));
    assert!(cut.edns.is_some() && cut.question.is_some());
    let whole = ask(&snapshot, &tcp(SPACE), &query_edns(name, A, 1232, &[]));
    assert_eq!((&*whole.flags, whole.answer.len()), ("qr aa rd", 100));
}

#[test]
fn every_type_that_a_name_lacks_is_nodata() {
    let snapshot = acme();
    for name in ["web.shop.app.localspace", "shop.herokuapp.com"] {
        for qtype in (0..=u16::MAX).filter(|qtype| !matches!(qtype, 41 | 249..=255)) {
            let mut octets = [0; 512];
            assert!(matches!(respond(&snapshot, &from(SPACE), &query(name, qtype), &mut octets), Verdict::Send(_)));
            let (rcode, answers, authorities) = (octets[3] & 15, octets[7], octets[9]);
            assert_eq!(rcode, 0, "{name} {qtype}");
            let has = answers > 0;
            assert!(has || authorities == 1, "{name} {qtype}");
            assert_eq!(octets[2] & 4, 4, "{name} {qtype}");
            let expected = match name {
                "web.shop.app.localspace" => matches!(qtype, A | AAAA),
                _ => matches!(qtype, A | SOA | NS),
            };
            assert_eq!(has, expected, "{name} {qtype}");
        }
    }
}

#[test]
fn a_peer_sees_the_names_of_the_space() {
    let snapshot = acme();
    assert_eq!(ask(&snapshot, &from("192.168.40.7"), &query("shop.herokuapp.com", A)).answer.len(), 2);
    assert_eq!(ask(&snapshot, &from("::ffff:10.0.130.1"), &query("web", A)).answer.len(), 2);
    assert_eq!(ask(&snapshot, &from("192.168.41.7"), &query("shop.herokuapp.com", A)).rcode, REFUSED);
}

#[test]
fn an_answer_of_instances_that_are_kept_says_so() {
    let mut snapshot = acme();
    let names = [("kept.herokuapp.com", OwnerKind::Hostname)];
    for gate in [Gate::KeptWeb(0), Gate::KeptRouter(0)] {
        let web = world::component("web", Bare::Named).instance(1, InstanceState::Up, &["10.0.150.1"]);
        let web = web.port("http", &[(0, 8080)]).kept();
        world::add_app(&mut snapshot, 4, world::app("kept", gate, [web.done()], &names));
        for (name, qtype) in
            [("kept.herokuapp.com", A), ("web.kept.app.localspace", A), ("_http._tcp.web.kept.app.localspace", SRV)]
        {
            let response = ask(&snapshot, &from(SPACE), &query_edns(name, qtype, 1232, &[]));
            assert!(!response.answer.is_empty(), "{name}");
            let reason = (0, "kept: every web instance fails its check; kept".into());
            assert_eq!(response.reason(), Some(reason), "{name}");
            // Nobody is told who did not ask with an OPT, and a type that is not there has no reason.
            let plain = ask(&snapshot, &from(SPACE), &query(name, qtype));
            assert_eq!((plain.answer.len(), plain.edns), (response.answer.len(), None), "{name}");
            assert_eq!(ask(&snapshot, &from(SPACE), &query_edns(name, AAAA, 1232, &[])).reason(), None, "{name}");
        }
        // Its own name is nobody's word for another.
        assert_eq!(ask(&snapshot, &from(SPACE), &query_edns("1.web.kept.app.localspace", A, 1232, &[])).reason(), None);
    }
}
