//! Documents about one app: an app spec, or what `app:` adds to it (design §2.2, §2.3).

use std::net::IpAddr;

use crate::name::{Label, Name};

use super::network::{private_network, without_covered};
use super::reader::{Keys, Refusal, boolean, checked, choice, each};
use super::registration::{self, Instances};
use super::report::{Report, Step, quote};
use super::tree::{Content, Node};
use super::{AppSpec, At, Audience, DomainSpec, Role, Settings, component, names};

/// The most hostnames, and the most domains, of one app: the vendor's limit is 500.
pub(super) const NAMES_MAX: usize = 1000;
/// What `discovery` may say.
pub(super) const AUDIENCES: [(&str, Audience); 2] = [("space", Audience::Space), ("app", Audience::App)];

/// Reads an app spec: the mapping that has `name:`, be it the document or what stands under `spec:`.
pub(super) fn read_spec<'n>(mut keys: Keys<'n>, stem: &str, report: &mut Report<'n>) -> Option<AppSpec> {
    let before = report.fault_count();
    let app = if keys.has("name") {
        keys.read("name", report, |node, report| checked(node, report, names::app))
    } else {
        name_by_stem(&mut keys, stem, report)
    };
    let components = component::read_all(&mut keys, report).into_list();
    let settings = read_settings(&mut keys, report);
    let mut instances = Instances::default();
    keys.read("instances", report, |node, report| {
        registration::read_list(node, &mut instances, report);
        Some(())
    });
    keys.finish("an app spec", SPEC_KEYS, report);
    if report.fault_count() > before {
        return None;
    }
    Some(AppSpec { app: app?, role: Role::Spec, components, settings, instances: instances.into_list() })
}

/// Reads a document that begins with `app:`.
pub(super) fn read_addition<'n>(mut keys: Keys<'n>, report: &mut Report<'n>) -> Option<AppSpec> {
    let before = report.fault_count();
    let app = keys.read("app", report, |node, report| checked(node, report, names::app));
    if !keys.has("app") {
        keys.missing("app", "name the app, as `app: shop`", report);
    }
    let components = component::read_all(&mut keys, report).into_list();
    let settings = read_settings(&mut keys, report);
    let mut instances = Instances::default();
    if registration::KEYS.iter().any(|key| keys.has(key))
        && let Some(instance) = registration::read(&mut keys, report)
    {
        instances.add(instance, report);
    }
    keys.read("instances", report, |node, report| {
        registration::read_list(node, &mut instances, report);
        Some(())
    });
    let is_silent = keys.entries().iter().all(|entry| entry.key == "app");
    if is_silent {
        report.warn(keys.place, "the document names an app and says nothing of it", "add an instance or a setting");
    }
    keys.finish("a document of an app", &registration::KEYS, report);
    if report.fault_count() > before {
        return None;
    }
    Some(AppSpec { app: app?, role: Role::Addition, components, settings, instances: instances.into_list() })
}

/// A fragment without a name, as the vendor's page shows one, is the app that its file is called.
fn name_by_stem<'n>(keys: &mut Keys<'n>, stem: &str, report: &mut Report<'n>) -> Option<At<Label>> {
    // Asked for, so that a null `name:` is no unknown key.
    keys.find("name");
    let place = keys.place;
    match names::app(stem) {
        Ok(value) => {
            let fault = format!("the app spec has no `name`; the app is called {} after its file", quote(stem));
            report.warn(place, fault, format!("add `name: {value}`"));
            Some(At { value, place })
        }
        Err(refusal) => {
            let fault = format!("`name` is missing, and the file's own name cannot stand for it: {}", refusal.fault);
            report.fault(place, fault, "add `name:`");
            None
        }
    }
}

fn read_settings<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Settings {
    Settings {
        internal_routing: keys.read("internal_routing", report, boolean),
        hostnames: keys.read("hostnames", report, hostnames),
        // No domains and no networks are what silence means; no hostnames is something to say.
        domains: keys.read("domains", report, domains).filter(|domains| !domains.value.is_empty()),
        web: keys.read("web", report, |node, report| checked(node, report, names::process)),
        lan: keys
            .read("lan", report, |node, report| {
                let networks = each(node, report, private_network);
                Some(At { value: without_covered(networks, report), place: node.place })
            })
            .filter(|networks| !networks.value.is_empty()),
        discovery: keys.read("discovery", report, |node, report| choice(node, &AUDIENCES, report)),
        archive: keys.read("maintenance", report, |node, report| {
            let mut keys = Keys::of(node, "`maintenance`", report)?;
            let archive = keys.read("archive", report, boolean);
            keys.finish("`maintenance`", &["enabled", "offline_page_url"], report);
            archive
        }),
    }
}

fn hostnames<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<Vec<At<Name>>>> {
    let written = each(node, report, |node, report| checked(node, report, names::host));
    let mut kept: Vec<At<Name>> = Vec::with_capacity(written.len().min(NAMES_MAX));
    for name in written {
        if let Some(first) = kept.iter().find(|kept| kept.value == name.value) {
            let fault = format!("the hostname `{}` is given twice, first at {}", name.value, first.place);
            report.warn(name.place, fault, "remove one of the two");
        } else if kept.len() == NAMES_MAX {
            report.fault(name.place, format!("the app has more than {NAMES_MAX} hostnames"), "remove some");
            break;
        } else {
            kept.push(name);
        }
    }
    Some(At { value: kept, place: node.place })
}

fn domains<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<Vec<At<DomainSpec>>>> {
    let written = each(node, report, domain);
    let mut kept: Vec<At<DomainSpec>> = Vec::with_capacity(written.len().min(NAMES_MAX));
    for domain in written {
        // `example.com` and `*.example.com` are two domains; the same one twice must at least agree.
        let known = kept.iter().find(|kept| {
            let (kept, domain) = (&kept.value, &domain.value);
            kept.domain == domain.domain && (kept.itself && domain.itself || kept.wildcard && domain.wildcard)
        });
        match known {
            None if kept.len() == NAMES_MAX => {
                report.fault(domain.place, format!("the app has more than {NAMES_MAX} domains"), "remove some");
                break;
            }
            None => kept.push(domain),
            Some(first) if first.value == domain.value => {
                let fault = format!("the domain `{}` is given twice, first at {}", domain.value.domain, first.place);
                report.warn(domain.place, fault, "remove one of the two");
            }
            Some(first) => {
                let fault = format!("the domain `{}` is given otherwise at {}", domain.value.domain, first.place);
                report.fault(domain.place, fault, "keep one of the two");
            }
        }
    }
    Some(At { value: kept, place: node.place })
}

fn domain<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<DomainSpec>> {
    if let Content::Scalar(_) = &node.content {
        let At { value: (domain, is_starred), place } = checked(node, report, domain_name)?;
        return Some(At {
            value: DomainSpec { domain, wildcard: is_starred, itself: !is_starred, cname: None },
            place,
        });
    }
    let mut keys = Keys::of(node, "a domain", report)?;
    let before = report.fault_count();
    let named = keys.read_one_of(&["domain", "name"], report, |node, report| checked(node, report, domain_name));
    if !keys.has("domain") && !keys.has("name") {
        keys.missing("domain", "give the domain, as `domain: api.example.com`", report);
    }
    let wildcard = keys.read("wildcard", report, boolean);
    let cname = keys.read("cname", report, |node, report| checked(node, report, names::host));
    keys.finish("a domain", DOMAIN_KEYS, report);
    if report.fault_count() > before {
        return None;
    }
    let At { value: (domain, is_starred), .. } = named?;
    if is_starred && wildcard.as_ref().is_some_and(|wildcard| !wildcard.value) {
        let place = wildcard.map_or(node.place, |at| at.place);
        let remedy = "remove `wildcard`, or the `*.`";
        report.within(Step::Key("wildcard"), |report| {
            report.fault(place, "`*.` makes the domain a wildcard, and this denies it", remedy);
        });
        return None;
    }
    let wildcard = is_starred || wildcard.is_some_and(|at| at.value);
    if wildcard && let Err(Refusal { fault, remedy }) = names::wildcard_parent(&domain.to_string()) {
        report.fault(node.place, fault, remedy);
        return None;
    }
    let value = DomainSpec { domain, wildcard, itself: !is_starred, cname: cname.map(|at| at.value) };
    Some(At { value, place: node.place })
}

/// A domain without its `*.`, and whether it had one.
fn domain_name(written: &str) -> Result<(Name, bool), Refusal> {
    let bare = written.strip_prefix("*.");
    let name = if let Some(parent) = bare { names::wildcard_parent(parent)? } else { names::host(written)? };
    if bare.unwrap_or(written).trim_end_matches('.').parse::<IpAddr>().is_ok() {
        return Err(Refusal::new(format!("{} is an address", quote(written)), "give a name, as `api.example.com`"));
    }
    Ok((name, bare.is_some()))
}

/// The documented keys of an app spec that we have no use for.
const SPEC_KEYS: &[&str] = &[
    "alerts",
    "disable_edge_cache",
    "disable_email_obfuscation",
    "egress",
    "enhanced_threat_control_enabled",
    "envs",
    "features",
    "ingress",
    "region",
    "vpc",
];
/// The documented keys of a domain that we have no use for.
const DOMAIN_KEYS: &[&str] = &["certificate", "minimum_tls_version", "type", "zone"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::{app, faults, read_text};

    #[test]
    fn the_settings_stand_in_either_document() {
        let settings = "internal_routing: TRUE\nhostnames: [Frozen-Oasis-70544-1a2b3c4d5e6f.herokuapp.com.]\n\
                        domains: [{domain: api.example.com, wildcard: false, cname: whispering-willow-5678.herokudns.com}]\n\
                        web: api\nlan: [172.28.5.1/24]\ndiscovery: Space\nmaintenance: {archive: true}\n";
        for (head, role) in [("name", Role::Spec), ("app", Role::Addition)] {
            let app = app(&format!("{head}: shop\n{settings}"));
            assert_eq!(app.role, role);
            let settings = app.settings;
            assert!(settings.internal_routing.unwrap().value);
            let hostnames = settings.hostnames.unwrap().value;
            assert_eq!(hostnames[0].value.to_string(), "frozen-oasis-70544-1a2b3c4d5e6f.herokuapp.com.");
            let domain = &settings.domains.unwrap().value[0].value;
            assert_eq!(domain.cname.as_ref().unwrap().to_string(), "whispering-willow-5678.herokudns.com.");
            assert!(domain.itself && !domain.wildcard);
            assert_eq!(settings.web.unwrap().value.octets(), b"api");
            assert_eq!(settings.lan.unwrap().value[0].value.to_string(), "172.28.5.0/24");
            assert_eq!(settings.discovery.unwrap().value, Audience::Space);
            assert!(settings.archive.unwrap().value);
        }
    }

    #[test]
    fn a_silent_document_has_no_settings() {
        assert_eq!(app("name: shop\ndomains:\nweb: ~\nlan: []\n").settings, Settings::default());
        assert_eq!(app("name: shop\ndomains: []\n").settings, Settings::default());
        assert_eq!(app("name: shop\nhostnames: []\n").settings.hostnames.unwrap().value, []);
        assert!(read_text("app: shop\n").warnings[0].to_string().contains("says nothing of it"));
    }

    #[test]
    fn domains_come_in_the_forms_of_both_vendors() {
        let app = app(
            "name: shop\ndomains:\n- domain: Example.com.\n  type: primary\n  zone: example.com\n  wildcard: true\n  \
             minimum_tls_version: 1.2\n- name: b.example.net\n- \"*.example.org\"\n- domain: example.org\n  cname: ~\n",
        );
        let domains: Vec<_> = app.settings.domains.unwrap().value.into_iter().map(|at| at.value).collect();
        let brief: Vec<_> = domains.iter().map(|d| (d.domain.to_string(), d.itself, d.wildcard)).collect();
        assert_eq!(
            brief,
            [
                ("example.com.".to_owned(), true, true),
                ("b.example.net.".to_owned(), true, false),
                ("example.org.".to_owned(), false, true),
                ("example.org.".to_owned(), true, false),
            ]
        );
    }

    #[test]
    fn domains_that_repeat_must_agree() {
        assert_eq!(read_text("app: shop\ndomains: [a.example.com, A.example.com]\n").warnings.len(), 1);
        let faults = faults("app: shop\ndomains: [a.example.com, {domain: a.example.com, wildcard: true}]\n");
        assert!(
            faults[0].starts_with("2:26: domains: the domain `a.example.com.` is given otherwise at 2:11"),
            "{faults:?}"
        );
    }

    #[test]
    fn names_that_cannot_be_names_are_faults() {
        for (text, expected) in [
            ("app: shop\nhostnames: [shop]\n", "2:13: hostnames[0]: `shop` is a single label"),
            ("app: shop\nhostnames: [_x.example.com]\n", "2:13: hostnames[0]: `_x.example.com` is not a host name"),
            ("app: shop\nhostnames: [\"*.example.com\"]\n", "2:13: hostnames[0]: `*.example.com` is not a host name"),
            ("app: shop\ndomains: [10.0.0.1]\n", "2:11: domains[0]: `10.0.0.1` is an address"),
            ("app: shop\ndomains: [{wildcard: true}]\n", "2:11: domains[0]: `domain` is missing"),
            (
                "app: shop\ndomains: [{domain: \"*.example.com\", wildcard: false}]\n",
                "2:47: domains[0].wildcard: `*.` makes the domain a wildcard",
            ),
            (
                "app: shop\ndiscovery: everyone\n",
                "2:12: discovery: `everyone` is not one of the values; write one of `space`, `app`",
            ),
            ("app: shop\nlan: [8.8.8.0/24]\n", "2:7: lan[0]: `8.8.8.0/24` is not a private network"),
            (
                "app: Shop\nweb: api\n",
                "1:6: app: `Shop` cannot be the name of an app: it has upper-case letters; call it `shop`",
            ),
            ("name: wpad\n", "1:7: name: `wpad` cannot be the name of an app: every resolver"),
            ("name: [shop]\n", "1:7: name: a list stands where one value is due"),
        ] {
            let faults = faults(text);
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{text}: {faults:?}");
        }
    }
}
