//! What never leaves though there is an upstream, and what a rule of its own lets go.

use super::message::query;
use super::world::{SHARED, SHOP, SPACE, acme};
use super::{A, DS, MX, NS, PTR, SOA, from};
use crate::engine::{Ask, Opened, Recursion, Settings, Verdict, Withheld, respond};
use crate::name::Name;
use crate::zone::Snapshot;

fn verdict(snapshot: &Snapshot, settings: &Settings, source: &str, name: &str, qtype: u16) -> Verdict {
    let ask = Ask { recursion: Recursion::Available, settings, ..from(source) };
    respond(snapshot, &ask, &query(name, qtype), &mut [0; 1232])
}

fn settings(zones: &[&str]) -> Settings {
    let zones: Vec<Name> = zones.iter().map(|zone| zone.parse().unwrap()).collect();
    Settings { opened: Opened::new(&zones), ..Settings::new() }
}

#[test]
fn what_stays_here_without_data_says_why() {
    use Withheld::{ExclusiveSuffix, OverlayName, PrivateReverse, SingleLabel, SpecialUse};
    let snapshot = acme();
    for (source, name, qtype, why) in [
        (SPACE, "web", A, SingleLabel),
        (SHOP, "nobody", A, SingleLabel),
        (SHOP, "web", MX, SingleLabel),
        (SHARED, "web", A, SingleLabel),
        (SHOP, "_tcp.web", A, SingleLabel),
        (SPACE, "localspace", A, SingleLabel),
        (SPACE, "app.localspace", A, ExclusiveSuffix),
        (SPACE, "nobody.app.localspace", A, ExclusiveSuffix),
        (SPACE, "nobody.disco.test", A, ExclusiveSuffix),
        (SPACE, "nobody.apps.acme.internal", A, ExclusiveSuffix),
        (SPACE, "idle.herokuapp.com", A, OverlayName),
        (SPACE, "shop.herokuapp.com", MX, OverlayName),
        (SPACE, "gone.herokuapp.com", A, OverlayName),
        (SPACE, "gone.example.com", A, OverlayName),
        (SPACE, "sub.host.wild.example.com", 28, OverlayName),
        (SPACE, "local", A, SpecialUse),
        (SPACE, "printer.local", A, SpecialUse),
        (SPACE, "acme.internal", A, SpecialUse),
        (SPACE, "localhost", MX, SpecialUse),
        (SPACE, "x.home.arpa", A, SpecialUse),
        (SPACE, "_dns.resolver.arpa", 64, SpecialUse),
        (SPACE, "9.9.0.10.in-addr.arpa", PTR, PrivateReverse),
        (SPACE, "9.0.10.in-addr.arpa", PTR, PrivateReverse),
        (SPACE, "1.9.168.192.in-addr.arpa", PTR, PrivateReverse),
        (SPACE, "8.e.f.ip6.arpa", A, PrivateReverse),
    ] {
        let found = verdict(&snapshot, &Settings::new(), source, name, qtype);
        assert!(matches!(found, Verdict::Withhold(_, found) if found == why), "{name}: {found:?}");
    }
    for (name, qtype) in [("shop.herokuapp.com", A), ("localhost", A), ("1.130.0.10.in-addr.arpa", PTR)] {
        assert!(matches!(verdict(&snapshot, &Settings::new(), SPACE, name, qtype), Verdict::Send(_)), "{name}");
    }
    let nowhere = respond(&snapshot, &from(SPACE), &query("nobody", A), &mut [0; 1232]);
    assert!(matches!(nowhere, Verdict::Send(_)), "without an upstream nothing would leave");
}

#[test]
fn a_zone_with_a_rule_of_its_own_is_asked_for_elsewhere_and_its_neighbours_are_not() {
    let snapshot = acme();
    for (rule, name, qtype, neighbour) in [
        ("internal", "host.internal", A, "host.local"),
        ("internal", "internal", SOA, "local"),
        ("corp.internal", "host.corp.internal", A, "host.dorp.internal"),
        ("local", "local", A, "alt"),
        ("home.arpa", "x.home.arpa", A, "_dns.resolver.arpa"),
        ("home.arpa", "home.arpa", NS, "resolver.arpa"),
        ("168.192.in-addr.arpa", "1.9.168.192.in-addr.arpa", PTR, "1.9.16.172.in-addr.arpa"),
        ("168.192.in-addr.arpa", "168.192.in-addr.arpa", SOA, "16.172.in-addr.arpa"),
        ("9.168.192.in-addr.arpa", "1.9.168.192.in-addr.arpa", PTR, "1.8.168.192.in-addr.arpa"),
        ("127.in-addr.arpa", "1.0.0.127.in-addr.arpa", PTR, "1.0.0.10.in-addr.arpa"),
        ("d.f.ip6.arpa", "1.d.f.ip6.arpa", PTR, "1.8.e.f.ip6.arpa"),
        ("corp", "corp", A, "dorp"),
    ] {
        assert!(!matches!(verdict(&snapshot, &Settings::new(), SPACE, name, qtype), Verdict::Forward), "{name}");
        assert_eq!(verdict(&snapshot, &settings(&[rule]), SPACE, name, qtype), Verdict::Forward, "{rule}: {name}");
        let neighbour = verdict(&snapshot, &settings(&[rule]), SPACE, neighbour, qtype);
        assert!(matches!(neighbour, Verdict::Withhold(..) | Verdict::Send(_)), "{rule}: {neighbour:?}");
    }
}

#[test]
fn a_rule_for_what_lies_above_opens_nothing() {
    let snapshot = acme();
    let wide = settings(&[".", "arpa", "in-addr.arpa", "172.in-addr.arpa", "ip6.arpa", "example"]);
    for name in ["1.9.168.192.in-addr.arpa", "1.9.16.172.in-addr.arpa", "host.internal", "nobody", "8.e.f.ip6.arpa"] {
        assert!(matches!(verdict(&snapshot, &wide, SPACE, name, PTR), Verdict::Withhold(..)), "{name}");
    }
}

#[test]
fn what_is_ours_in_an_opened_zone_stays_ours() {
    let snapshot = acme();
    let opened = settings(&["internal", "test", "localspace", "arpa", "10.in-addr.arpa", "d.f.ip6.arpa", "web"]);
    for (source, name, qtype) in [
        (SPACE, "shop.apps.acme.internal", A),
        (SPACE, "1.web.shop.disco.test", A),
        (SPACE, "web.shop.app.localspace", A),
        (SPACE, "1.130.0.10.in-addr.arpa", PTR),
        (SPACE, "0.10.in-addr.arpa", SOA),
        (SHOP, "web", A),
    ] {
        let Verdict::Send(length) = verdict(&snapshot, &opened, source, name, qtype) else { panic!("{name}") };
        assert!(length > 12 + name.len() + 2 + 4 + 12, "{name} has an answer");
    }
    for (name, why) in [
        ("nobody.apps.acme.internal", Withheld::ExclusiveSuffix),
        ("nobody.disco.test", Withheld::ExclusiveSuffix),
        // What lies above an address of the space is there, registered or not: a denial would take those below along (RFC 8020).
        ("130.0.10.in-addr.arpa", Withheld::PrivateReverse),
        ("77.0.10.in-addr.arpa", Withheld::PrivateReverse),
        ("localspace", Withheld::SingleLabel),
    ] {
        let found = verdict(&snapshot, &opened, SPACE, name, A);
        assert!(matches!(found, Verdict::Withhold(_, found) if found == why), "{name}: {found:?}");
    }
    for name in
        ["9.9.0.10.in-addr.arpa", "9.9.9.10.in-addr.arpa", "9.10.in-addr.arpa", "10.in-addr.arpa", "web", "x.test"]
    {
        assert_eq!(verdict(&snapshot, &opened, SPACE, name, A), Verdict::Forward, "{name}");
    }
    assert_eq!(verdict(&snapshot, &Settings::new(), SPACE, "nobody", DS), Verdict::Forward, "validating stubs need it");
}
