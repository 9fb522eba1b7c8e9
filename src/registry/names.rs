//! Which names an app wants (design §4.1), and which nobody can have.

use super::gather::{Gathered, at};
use super::state::{OwnerKind, OwnerState};
use super::{AppEntry, FileFault, Source, SpaceState, topology};
use crate::name::{Label, Name};
use crate::spec::DomainSpec;

/// The names of an app that is internally routed, each once.
pub(super) fn names_of(entry: &AppEntry, gathered: &Gathered<'_>, space: Option<&SpaceState>) -> Vec<OwnerState> {
    let (Some(space), Some(declared)) = (space, &gathered.declared) else { return Vec::new() };
    let mut owners = Vec::new();
    let mut want = |name: Name, kind, source: &Source| {
        if is_placed(&name, space) && !owners.iter().any(|owner: &OwnerState| owner.name == name) {
            owners.push(OwnerState { name, kind, source: source.clone() });
        }
    };
    let of_topology =
        |kind| gathered.topology_domains.iter().filter(move |(name, _)| topology::kind_of(name, &space.spec) == kind);
    if let Some((hostnames, source)) = &gathered.hostnames {
        for hostname in *hostnames {
            want(hostname.value.clone(), OwnerKind::Hostname, &at(source, hostname));
        }
    } else if of_topology(OwnerKind::Hostname).next().is_some() {
        of_topology(OwnerKind::Hostname).for_each(|(name, source)| want((*name).clone(), OwnerKind::Hostname, source));
    } else {
        for domain in &space.spec.app_domains {
            if let Ok(name) = domain.value.name.child(&entry.label) {
                want(name, OwnerKind::Hostname, declared);
            }
        }
    }
    if let Some((domains, source)) = &gathered.domains {
        for domain in *domains {
            let source = at(source, domain);
            let DomainSpec { domain, wildcard, itself, cname } = &domain.value;
            if *itself {
                want(domain.clone(), OwnerKind::Domain, &source);
            }
            if let Some(name) = wildcard.then(|| star().and_then(|star| domain.child(&star).ok())).flatten() {
                want(name, OwnerKind::Wildcard, &source);
            }
            if let Some(target) = cname {
                want(target.clone(), OwnerKind::Target, &source);
            }
        }
    } else {
        for kind in [OwnerKind::Target, OwnerKind::Domain, OwnerKind::Wildcard] {
            of_topology(kind).for_each(|(name, source)| want((*name).clone(), kind, source));
        }
    }
    // They are kept, and most apps have one.
    owners.shrink_to_fit();
    owners
}

fn star() -> Option<Label> {
    Label::from_octets(b"*").ok()
}

/// Whether an app may hold a name: not in a discovery domain, not the apex of a zone of ours, not a reverse name.
fn is_placed(name: &Name, space: &SpaceState) -> bool {
    let is_apex = space.spec.app_domains.iter().any(|domain| domain.value.name == *name);
    let is_reverse = name.labels().last() == Some(b"arpa");
    !is_apex && !is_reverse && !space.is_discovery(name) && name.label_count() > 1
}

pub(super) fn report_misplaced_names(gathered: &mut Gathered<'_>, space: &SpaceState) {
    let hostnames =
        gathered.hostnames.iter().flat_map(|(list, source)| list.iter().map(|item| (&item.value, at(source, item))));
    let domains = gathered.domains.iter().flat_map(|(list, source)| {
        list.iter().flat_map(|item| {
            let source = at(source, item);
            std::iter::once(&item.value.domain).chain(&item.value.cname).map(move |name| (name, source.clone()))
        })
    });
    let faults: Vec<FileFault> = hostnames
        .chain(domains)
        .filter(|(name, _)| !is_placed(name, space))
        .map(|(name, source)| {
            source.fault(
                "",
                format!(
                    "no app can hold {name}: it is a zone of the space {}, or lies in its discovery domain",
                    space.spec.name.value
                ),
                "choose another name".to_owned(),
            )
        })
        .collect();
    gathered.findings.faults.extend(faults);
}
