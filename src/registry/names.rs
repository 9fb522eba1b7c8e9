//! Which names an app wants (design §4.1), and which nobody can have.

use std::collections::BTreeMap;

use super::gather::{Gathered, at};
use super::state::{OwnerKind, OwnerState};
use super::{AppEntry, FileFault, Source, SpaceState, topology};
use crate::name::{Label, Name};
use crate::spec::DomainSpec;

/// The names of an app that is internally routed, each once and in order.
pub(super) fn names_of(entry: &AppEntry, gathered: &Gathered<'_>, space: Option<&SpaceState>) -> Vec<OwnerState> {
    let Some(space) = space else { return Vec::new() };
    let mut owners = BTreeMap::new();
    for owner in named(entry, gathered, space).filter(|owner| is_placed(&owner.name, space)) {
        owners.entry(owner.name.clone()).or_insert(owner);
    }
    // They are kept, and most apps have one: no room for more. A name that the app wants already is kept as it is: who has it shares it.
    let mut exact = Vec::with_capacity(owners.len());
    exact.extend(owners.into_values().map(|owner| match owner_called(&entry.wanted, &owner.name) {
        Some(wanted) => OwnerState { name: wanted.name.clone(), ..owner },
        None => owner,
    }));
    exact
}

/// Finds a name in what [`names_of`] gave.
pub(super) fn owner_called<'a>(owners: &'a [OwnerState], name: &Name) -> Option<&'a OwnerState> {
    owners.get(owners.binary_search_by(|owner| owner.name.cmp(name)).ok()?)
}

/// Every name that an app's documents give it, be it one that it can have or not.
fn named<'a>(
    entry: &'a AppEntry,
    gathered: &'a Gathered<'_>,
    space: &'a SpaceState,
) -> impl Iterator<Item = OwnerState> + 'a {
    let mut owners = Vec::new();
    let mut give = |name: Name, kind, source: &Source| owners.push(OwnerState { name, kind, source: source.clone() });
    let of_topology =
        |kind| gathered.topology_domains.iter().filter(move |(name, _)| topology::kind_of(name, &space.spec) == kind);
    if let Some((hostnames, source)) = &gathered.hostnames {
        for hostname in *hostnames {
            give(hostname.value.clone(), OwnerKind::Hostname, &at(source, hostname));
        }
    } else if of_topology(OwnerKind::Hostname).next().is_some() {
        of_topology(OwnerKind::Hostname).for_each(|(name, source)| give((*name).clone(), OwnerKind::Hostname, source));
    } else if let Some(declared) = &gathered.declared {
        // `spec` leaves room for an app's name below every app domain.
        for name in space.spec.app_domains.iter().filter_map(|domain| domain.value.name.child(&entry.label).ok()) {
            give(name, OwnerKind::Hostname, declared);
        }
    }
    if let Some((domains, source)) = &gathered.domains {
        for domain in *domains {
            let source = at(source, domain);
            let DomainSpec { domain, wildcard, itself, cname } = &domain.value;
            if *itself {
                give(domain.clone(), OwnerKind::Domain, &source);
            }
            // `spec` leaves room for the `*` too.
            if let Some(name) = wildcard.then(|| star().and_then(|star| domain.child(&star).ok())).flatten() {
                give(name, OwnerKind::Wildcard, &source);
            }
            if let Some(target) = cname {
                give(target.clone(), OwnerKind::Target, &source);
            }
        }
    } else {
        for kind in [OwnerKind::Target, OwnerKind::Domain, OwnerKind::Wildcard] {
            of_topology(kind).for_each(|(name, source)| give((*name).clone(), kind, source));
        }
    }
    owners.into_iter()
}

fn star() -> Option<Label> {
    Label::from_octets(b"*").ok()
}

/// Whether an app may hold a name: not in a discovery domain, not the apex of a zone of ours, not a reverse name.
fn is_placed(name: &Name, space: &SpaceState) -> bool {
    let is_apex = space.spec.app_domains.iter().any(|domain| domain.value.name == *name);
    let is_reverse = REVERSE.iter().any(|tree| is_within(name, tree));
    !is_apex && !is_reverse && !space.is_discovery(name) && name.label_count() > 1
}

/// The trees of reverse names, as they go on the wire.
const REVERSE: [&[u8]; 2] = [b"\x07in-addr\x04arpa\0", b"\x03ip6\x04arpa\0"];

/// Whether a name is the one with these octets, or lies below it.
fn is_within(name: &Name, tree: &[u8]) -> bool {
    let mut left = name.wire().len();
    let is_here = |label: &[u8]| {
        let here = left;
        left -= label.len() + 1;
        here == tree.len()
    };
    name.wire().ends_with(tree) && name.labels().any(is_here)
}

pub(super) fn report_misplaced_names(entry: &AppEntry, gathered: &mut Gathered<'_>, space: &SpaceState) {
    let faults: Vec<FileFault> = named(entry, gathered, space)
        .filter(|owner| !is_placed(&owner.name, space))
        .map(|OwnerState { name, source, .. }| {
            source.fault(
                "",
                format!(
                    "no app can hold {name}: it is a zone of the space {}, or lies in its discovery domain or among reverse names",
                    space.spec.name.value
                ),
                "choose another name".to_owned(),
            )
        })
        .collect();
    gathered.findings.faults.extend(faults);
}
