//! A space document (design §2.1).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::Name;

use super::network::{any_address, private_address, private_network, without_covered};
use super::reader::{Keys, Refusal, boolean, checked, choice, each, text, whole, whole_number};
use super::report::{Report, Step, quote};
use super::tree::{Content, Node};
use super::{AppDomain, At, NameServer, Own, Peer, Place, SpaceSpec, names};

/// The TTL of answers where a space gives none, seconds.
const TTL_DEFAULT: u32 = 5;
/// The TTL of negative answers where a space gives none, seconds; its `ttl` where that is less.
const NEGATIVE_TTL_DEFAULT: u32 = 2;
/// The longest TTL, seconds: an hour of a wrong address is long enough.
const TTL_MAX: u32 = 3600;
/// The suffix of app hostnames where a space gives none.
const APP_DOMAIN_DEFAULT: &str = "herokuapp.com";
/// The suffix of discovery names where a space gives none.
const DISCOVERY_DOMAIN_DEFAULT: &str = "app.localspace";

/// Reads a space document.
pub(super) fn read<'n>(mut keys: Keys<'n>, report: &mut Report<'n>) -> Option<SpaceSpec> {
    let before = report.fault_count();
    let place = keys.place;
    let name = keys.read("space", report, |node, report| {
        checked(node, report, |written| space_name(written).map(|()| written.to_owned()))
    });
    if !keys.has("space") {
        keys.missing("space", "name the space, as `space: acme`", report);
    }
    let cidrs = networks(&mut keys, "cidr", report);
    if !keys.has("cidr") {
        keys.missing("cidr", "say where the space's instances and callers are, as `cidr: 10.0.0.0/16`", report);
    }
    let instances = networks(&mut keys, "instances", report);
    let router = keys.read("router", report, |node, report| {
        Some(each(node, report, |node, report| checked(node, report, private_address)))
    });
    let router = without_repeats(router.unwrap_or_default(), report);
    check_inside(&cidrs, &instances, &router, report);
    let internal_routing = keys.read("internal_routing", report, boolean).is_some_and(|at| at.value);
    let app_domains = app_domains(&mut keys, place, report);
    let discovery_domains = discovery_domains(&mut keys, place, report);
    check_apart(&app_domains, &discovery_domains, report);
    let peers = keys.read("peers", report, |node, report| Some(each(node, report, peer))).unwrap_or_default();
    warn_of_inner_peers(&cidrs, &peers, report);
    let ttl = keys.read("ttl", report, |node, report| whole(node, 1..=TTL_MAX, report)).map(|at| at.value);
    let ttl = ttl.unwrap_or(TTL_DEFAULT);
    let negative_ttl = keys.read("negative_ttl", report, |node, report| {
        checked(node, report, |written| {
            whole_number(written, 1..=ttl)
                .map_err(|refusal| Refusal::new(refusal.fault, format!("{}, which is `ttl`", refusal.remedy)))
        })
    });
    let negative_ttl = negative_ttl.map_or_else(|| NEGATIVE_TTL_DEFAULT.min(ttl), |at| at.value);
    let ns = keys.read("ns", report, |node, report| Some(each(node, report, name_server))).unwrap_or_default();
    keys.finish("a space", &[], report);
    if report.fault_count() > before {
        return None;
    }
    Some(SpaceSpec {
        name: name?,
        cidrs,
        instances,
        router,
        internal_routing,
        app_domains,
        discovery_domains,
        peers,
        ttl,
        negative_ttl,
        ns,
    })
}

/// The rule `^[a-z0-9](?:[a-z0-9]|-(?!-))+[a-z0-9]$` of Heroku's schema.
fn space_name(written: &str) -> Result<(), Refusal> {
    let is_plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let fits = written.len() >= 3
        && written.bytes().all(|octet| is_plain(octet) || octet == b'-')
        && !written.starts_with('-')
        && !written.ends_with('-')
        && !written.contains("--");
    if fits {
        return Ok(());
    }
    let rule = "a space's name is 3 or more of `a` to `z`, `0` to `9` and single inner `-`, as `acme`";
    Err(Refusal::new(format!("{} cannot be the name of a space", quote(written)), rule))
}

fn networks<'n>(keys: &mut Keys<'n>, key: &'static str, report: &mut Report<'n>) -> Vec<At<IpNet>> {
    keys.read(key, report, |node, report| {
        let networks = each(node, report, private_network);
        let networks = without_covered(networks, report);
        if networks.is_empty() && matches!(&node.content, Content::List(items) if items.is_empty()) && key == "cidr" {
            report.fault(node.place, "the list is empty", "name at least one network, as 10.0.0.0/16");
        }
        Some(networks)
    })
    .unwrap_or_default()
}

fn without_repeats(addresses: Vec<At<IpAddr>>, report: &mut Report<'_>) -> Vec<At<IpAddr>> {
    let mut kept: Vec<At<IpAddr>> = Vec::new();
    for address in addresses {
        if let Some(first) = kept.iter().find(|kept| kept.value == address.value) {
            let fault = format!("the router address `{}` is given twice, first at {}", address.value, first.place);
            report.warn(address.place, fault, "remove one of the two");
        } else if kept.len() == ROUTERS_MAX {
            report.fault(address.place, format!("there are more than {ROUTERS_MAX} router addresses"), "remove some");
            break;
        } else {
            kept.push(address);
        }
    }
    kept
}

fn check_inside<'n>(cidrs: &[At<IpNet>], instances: &[At<IpNet>], router: &[At<IpAddr>], report: &mut Report<'n>) {
    // Without a readable cidr everything would be outside: that fault has been told.
    if cidrs.is_empty() {
        return;
    }
    report.within(Step::Key("instances"), |report| {
        for network in instances {
            if !cidrs.iter().any(|cidr| cidr.value.contains(&network.value)) {
                let fault = format!("`{}` is outside the space's cidr", network.value);
                report.fault(network.place, fault, "give a part of `cidr`, or widen `cidr`");
            }
        }
    });
    report.within(Step::Key("router"), |report| {
        for address in router {
            if !cidrs.iter().any(|cidr| cidr.value.contains(&address.value)) {
                let fault = format!("`{}` is outside the space's cidr", address.value);
                report.fault(address.place, fault, "give an address inside `cidr`, or widen `cidr`");
            }
            if let Some(network) = instances.iter().find(|network| network.value.contains(&address.value)) {
                let fault = format!("`{}` is inside `{}`, which is for instances", address.value, network.value);
                report.fault(address.place, fault, "give an address outside `instances`");
            }
        }
    });
}

fn app_domains<'n>(keys: &mut Keys<'n>, place: Place, report: &mut Report<'n>) -> Vec<At<AppDomain>> {
    let domains = keys.read("app_domains", report, |node, report| Some(each(node, report, app_domain)));
    let mut kept: Vec<At<AppDomain>> = Vec::new();
    for domain in domains.unwrap_or_default() {
        match kept.iter().find(|kept| kept.value.name == domain.value.name) {
            None if kept.len() == SUFFIXES_MAX => {
                report.fault(domain.place, format!("there are more than {SUFFIXES_MAX} app domains"), "remove some");
                break;
            }
            None => kept.push(domain),
            Some(first) if first.value == domain.value => {
                let fault = format!("the app domain `{}` is given twice, first at {}", domain.value.name, first.place);
                report.warn(domain.place, fault, "remove one of the two");
            }
            Some(first) => {
                let fault =
                    format!("the app domain `{}` is owned in another way at {}", domain.value.name, first.place);
                report.fault(domain.place, fault, "keep one of the two");
            }
        }
    }
    if kept.is_empty() {
        kept.extend(
            known_name(APP_DOMAIN_DEFAULT, place)
                .map(|At { value: name, place }| At { value: AppDomain { name, own: Own::Overlay }, place }),
        );
    }
    kept
}

fn app_domain<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<AppDomain>> {
    if let Content::Scalar(_) = &node.content {
        let At { value: name, place } = checked(node, report, names::app_domain)?;
        return Some(At { value: AppDomain { name, own: Own::Overlay }, place });
    }
    let mut keys = Keys::of(node, "an app domain", report)?;
    let name = keys.read("name", report, |node, report| checked(node, report, names::app_domain));
    if !keys.has("name") {
        keys.missing("name", "give the suffix, as `name: apps.acme.internal`", report);
    }
    let own = keys.read("own", report, |node, report| {
        choice(node, &[("overlay", Own::Overlay), ("exclusive", Own::Exclusive)], report)
    });
    keys.finish("an app domain", &[], report);
    let own = own.map_or(Own::Overlay, |at| at.value);
    Some(At { value: AppDomain { name: name?.value, own }, place: node.place })
}

fn discovery_domains<'n>(keys: &mut Keys<'n>, place: Place, report: &mut Report<'n>) -> Vec<At<Name>> {
    let domains = keys.read("discovery_domain", report, |node, report| {
        Some(each(node, report, |node, report| checked(node, report, names::discovery_domain)))
    });
    let mut kept: Vec<At<Name>> = Vec::new();
    for domain in domains.unwrap_or_default() {
        if let Some(first) = kept.iter().find(|kept| kept.value == domain.value) {
            let fault = format!("the discovery domain `{}` is given twice, first at {}", domain.value, first.place);
            report.warn(domain.place, fault, "remove one of the two");
        } else if kept.len() == SUFFIXES_MAX {
            report.fault(domain.place, format!("there are more than {SUFFIXES_MAX} discovery domains"), "remove some");
            break;
        } else {
            kept.push(domain);
        }
    }
    if kept.is_empty() {
        kept.extend(known_name(DISCOVERY_DOMAIN_DEFAULT, place));
    }
    kept
}

/// In a discovery domain every name is a discovery name: an app domain there would have no hostname.
fn check_apart(app_domains: &[At<AppDomain>], discovery_domains: &[At<Name>], report: &mut Report<'_>) {
    report.within(Step::Key("app_domains"), |report| {
        for domain in app_domains {
            let name = &domain.value.name;
            if let Some(discovery) = discovery_domains.iter().find(|discovery| name.is_within(&discovery.value)) {
                let fault = format!("`{name}` lies in the discovery domain `{}`", discovery.value);
                report.fault(domain.place, fault, "give app hostnames a suffix of their own");
            }
        }
    });
}

fn peer<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<Peer>> {
    if let Content::Scalar(_) = &node.content {
        let At { value: cidr, place } = private_network(node, report)?;
        return Some(At { value: Peer { name: cidr.to_string(), cidr }, place });
    }
    let mut keys = Keys::of(node, "a peer", report)?;
    let name = keys.read("name", report, |node, report| {
        let written = text(node, report)?;
        if written.chars().count() <= PEER_NAME_MAX && !written.chars().any(char::is_control) {
            return Some(written.to_owned());
        }
        report.fault(
            node.place,
            format!("a peer's name is over {PEER_NAME_MAX} characters or not printable"),
            "shorten it",
        );
        None
    });
    let cidr = keys.read("cidr", report, private_network);
    if !keys.has("cidr") {
        keys.missing("cidr", "give the peer's network, as `cidr: 192.168.40.0/24`", report);
    }
    keys.finish("a peer", &[], report);
    let cidr = cidr?.value;
    Some(At { value: Peer { name: name.unwrap_or_else(|| cidr.to_string()), cidr }, place: node.place })
}

fn warn_of_inner_peers(cidrs: &[At<IpNet>], peers: &[At<Peer>], report: &mut Report<'_>) {
    for peer in peers {
        let cidr = peer.value.cidr;
        if let Some(own) = cidrs.iter().find(|own| own.value.contains(&cidr) || cidr.contains(&own.value)) {
            let fault = format!("the peer `{cidr}` overlaps the space's own `{}`, which comes first", own.value);
            report.warn(peer.place, fault, "remove the peer, or correct one of the two");
        }
    }
}

fn name_server<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<NameServer>> {
    if let Content::Scalar(_) = &node.content {
        let At { value: name, place } = checked(node, report, names::host)?;
        return Some(At { value: NameServer { name, addresses: Vec::new() }, place });
    }
    let mut keys = Keys::of(node, "a name server", report)?;
    let name = keys.read("name", report, |node, report| checked(node, report, names::host));
    if !keys.has("name") {
        keys.missing("name", "give its name, as `name: ns1.acme.example`", report);
    }
    let addresses = keys.read("addresses", report, |node, report| {
        Some(each(node, report, |node, report| checked(node, report, name_server_address)))
    });
    keys.finish("a name server", &[], report);
    let mut unique = Vec::new();
    for address in addresses.unwrap_or_default() {
        if !unique.contains(&address.value) && unique.len() < ROUTERS_MAX {
            unique.push(address.value);
        }
    }
    Some(At { value: NameServer { name: name?.value, addresses: unique }, place: node.place })
}

/// A name server may have a public address: it is told to whoever may ask, and nothing is routed to it.
fn name_server_address(written: &str) -> Result<IpAddr, Refusal> {
    let address = any_address(written)?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        let fault = format!("{} is no address that a caller can ask", quote(written));
        return Err(Refusal::new(fault, "give the address of the name server"));
    }
    Ok(address)
}

/// One of the defaults above as a name, at the place of the space.
fn known_name(written: &str, place: Place) -> Option<At<Name>> {
    names::suffix(written).ok().map(|value| At { value, place })
}

/// The most router addresses: what one UDP response carries without truncation.
const ROUTERS_MAX: usize = 64;
/// The most suffixes of a kind: every app has a name under each.
const SUFFIXES_MAX: usize = 16;
/// The longest name of a peer, which is for messages only.
const PEER_NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Document, Format, Reading};

    fn read(text: &str) -> Reading {
        crate::spec::read(text.as_bytes(), Format::Yaml, "stem")
    }

    fn space(text: &str) -> SpaceSpec {
        let reading = read(text);
        assert_eq!(reading.faults, []);
        let Some(Document::Space(space)) = reading.documents.into_iter().next() else { panic!("not a space") };
        space
    }

    fn faults(text: &str) -> Vec<String> {
        read(text).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_designs_own_example_is_read() {
        let space = space(
            "space: acme\ncidr: 10.0.0.0/16\ninstances: [10.0.128.0/20, 10.0.144.0/20]\nrouter: [10.0.0.10, 10.0.16.10]\n\
             internal_routing: false\napp_domains:\n  - herokuapp.com\n  - {name: apps.acme.internal, own: Exclusive}\n\
             discovery_domain: app.localspace\npeers:\n  - {name: on-prem, cidr: 192.168.40.0/24}\nttl: 5\n\
             negative_ttl: 2\nns: [{name: ns1.acme.example, addresses: [10.0.0.53]}]\n",
        );
        assert_eq!(space.name.value, "acme");
        assert_eq!(space.instances.len(), 2);
        assert_eq!(space.router[1].value.to_string(), "10.0.16.10");
        assert_eq!(space.app_domains[1].value.own, Own::Exclusive);
        assert_eq!(space.peers[0].value.name, "on-prem");
        assert_eq!(space.ns[0].value.addresses.len(), 1);
    }

    #[test]
    fn what_a_space_leaves_out_has_a_default() {
        let space = space("space: acme\ncidr: 10.0.0.0/8\n");
        assert_eq!(space.app_domains[0].value.name.to_string(), "herokuapp.com.");
        assert_eq!(space.app_domains[0].value.own, Own::Overlay);
        assert_eq!(space.discovery_domains[0].value.to_string(), "app.localspace.");
        assert_eq!((space.ttl, space.negative_ttl), (5, 2));
        assert!(!space.internal_routing && space.router.is_empty() && space.ns.is_empty());
    }

    #[test]
    fn a_short_ttl_shortens_the_negative_one() {
        let space = space("space: acme\ncidr: 10.0.0.0/8\nttl: 1\n");
        assert_eq!((space.ttl, space.negative_ttl), (1, 1));
    }

    #[test]
    fn host_bits_are_masked_with_a_warning() {
        let text = "space: acme\ncidr: 172.20.20.30/16\n";
        assert_eq!(space(text).cidrs[0].value.to_string(), "172.20.0.0/16");
        assert_eq!(
            read(text).warnings[0].to_string(),
            "2:7: cidr: `172.20.20.30/16` has host bits; `172.20.0.0/16` is taken; write `172.20.0.0/16`"
        );
    }

    #[test]
    fn networks_are_private_and_parts_are_inside() {
        assert_eq!(
            faults(
                "space: acme\ncidr: [10.0.0.0/16, 8.8.0.0/16, 10.0.0.0/7, 0.0.0.0/0]\ninstances: 10.1.0.0/20\nrouter: [10.2.0.1, 10.0.0.1]\n"
            )
            .iter()
            .map(|fault| fault.split(';').next().unwrap().to_owned())
            .collect::<Vec<_>>(),
            [
                "2:21: cidr[1]: `8.8.0.0/16` is not a private network",
                "2:33: cidr[2]: `10.0.0.0/7` is not a private network",
                "2:45: cidr[3]: `0.0.0.0/0` is not a private network",
                "3:12: instances: `10.1.0.0/20` is outside the space's cidr",
                "4:10: router: `10.2.0.1` is outside the space's cidr",
            ]
        );
        let inside = faults("space: acme\ncidr: 10.0.0.0/16\ninstances: 10.0.128.0/20\nrouter: 10.0.130.1\n");
        assert!(inside[0].contains("`10.0.130.1` is inside `10.0.128.0/20`, which is for instances"), "{inside:?}");
    }

    #[test]
    fn a_space_has_a_name_and_a_network() {
        for name in ["ab", "a--b", "-abc", "abc-", "Acme", "a_b_c"] {
            let faults = faults(&format!("space: {name}\ncidr: 10.0.0.0/8\n"));
            assert!(faults[0].contains("cannot be the name of a space"), "{name}: {faults:?}");
        }
        assert!(faults("space: acme\n")[0].starts_with("1:1: `cidr` is missing; "));
        assert!(faults("space: acme\ncidr: []\n")[0].starts_with("2:7: cidr: the list is empty"));
    }

    #[test]
    fn ttls_have_bounds() {
        for (keys, column) in [("ttl: 0", "3:6"), ("ttl: 3601", "3:6"), ("ttl: 5s", "3:6"), ("negative_ttl: 6", "3:15")]
        {
            let faults = faults(&format!("space: acme\ncidr: 10.0.0.0/8\n{keys}\n"));
            assert!(faults.len() == 1 && faults[0].starts_with(column), "{keys}: {faults:?}");
        }
    }

    #[test]
    fn what_is_said_twice_is_a_warning_and_what_contradicts_a_fault() {
        let text = "space: acme\ncidr: [10.0.0.0/8, 10.1.0.0/16]\nrouter: [10.0.0.1, 10.0.0.1]\n\
                    discovery_domain: [app.localspace, APP.localspace.]\npeers: 10.9.0.0/16\n";
        assert_eq!(space(text).cidrs.len(), 1);
        assert_eq!(space(text).router.len(), 1);
        assert_eq!(space(text).discovery_domains.len(), 1);
        assert_eq!(read(text).warnings.len(), 4);
        let faults = faults("space: acme\ncidr: 10.0.0.0/8\napp_domains: [a.b, {name: a.b, own: exclusive}]\n");
        assert!(faults[0].contains("owned in another way"), "{faults:?}");
    }
}
