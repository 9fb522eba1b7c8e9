//! What there is to say of spaces, apps and instances: a part at a time, for where there are many nobody reads them all.
//!
//! Only the apps that are told of are resolved; of the others, names alone are looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::control::{AppSelection, AppStatus, ComponentStatus, InstanceStatus, Overview, SpaceStatus};
use crate::registry::{
    AppId, AppState, ComponentState, InstanceState, Registry, Source, SpaceId, SpaceState, Standing,
};

/// Tells of the spaces, and of the apps that were selected.
pub(crate) fn overview(registry: &Registry, selection: &AppSelection, now: Duration) -> Overview {
    let names: BTreeMap<SpaceId, String> =
        registry.spaces().map(|(id, space)| (id, space.spec.name.value.to_string())).collect();
    let search = selection.search.to_ascii_lowercase();
    let most = selection.most.clamp(1, APPS_MAX);
    let (mut apps_in_all, mut apps_found) = (0, 0);
    // One more than is told of says whether there are more.
    let mut found = BTreeMap::<String, AppId>::new();
    for (id, space, label) in registry.app_names() {
        apps_in_all += 1;
        let key = format!("{}/{label}", names.get(&space).map_or("", String::as_str));
        if !key.to_ascii_lowercase().contains(&search) {
            continue;
        }
        apps_found += 1;
        if key > selection.after {
            found.insert(key, id);
            if found.len() > most + 1 {
                found.pop_last();
            }
        }
    }
    let has_more = found.len() > most;
    if has_more {
        found.pop_last();
    }
    let next = found.keys().next_back().filter(|_| has_more).cloned();
    Overview { next, ..of(registry, &names, found, (apps_in_all, apps_found), now) }
}

fn of(
    registry: &Registry,
    names: &BTreeMap<SpaceId, String>,
    found: BTreeMap<String, AppId>,
    (apps_in_all, apps_found): (u64, u64),
    now: Duration,
) -> Overview {
    let mut spaces: Vec<SpaceStatus> = registry.spaces().take(SPACES_MAX).map(|(_, space)| of_space(space)).collect();
    spaces.sort_by(|one, other| one.space.cmp(&other.space));
    let apps = found.values().filter_map(|id| registry.app(*id));
    let apps = apps.map(|app| of_app(registry, names.get(&app.space).map_or("", String::as_str), &app, now));
    Overview { spaces, spaces_in_all: count(names.len()), apps: apps.collect(), apps_in_all, apps_found, next: None }
}

fn of_space(space: &SpaceState) -> SpaceStatus {
    let spec = &space.spec;
    SpaceStatus {
        space: spec.name.value.to_string(),
        written: written(space.source.as_ref()),
        directory: space.directory.to_string(),
        cidrs: spec.cidrs.iter().map(|cidr| cidr.value.to_string()).collect(),
        app_domains: spec.app_domains.iter().map(|domain| domain.value.name.to_string()).collect(),
        discovery_domains: spec.discovery_domains.iter().map(|domain| domain.value.to_string()).collect(),
    }
}

fn of_app(registry: &Registry, space: &str, app: &AppState, now: Duration) -> AppStatus {
    let mut room = INSTANCES_MAX;
    let components = app.components.iter().map(|(label, component)| {
        let instances: Vec<InstanceStatus> = component
            .instances
            .iter()
            .take(room)
            .map(|(number, found)| of_instance(registry, *number, found, now))
            .collect();
        room = room.saturating_sub(instances.len());
        of_component(label.to_string(), component, instances)
    });
    AppStatus {
        space: space.to_owned(),
        app: app.label.to_string(),
        written: written(app.declared.as_ref()),
        internal_routing: app.internal_routing,
        archived: written(app.archived.as_ref()),
        web: app.web.as_ref().map(ToString::to_string),
        names: app.owners.iter().take(NAMES_MAX).map(|owner| owner.name.to_string()).collect(),
        names_in_all: count(app.owners.len()),
        components: components.collect(),
    }
}

fn of_component(component: String, state: &ComponentState, instances: Vec<InstanceStatus>) -> ComponentStatus {
    ComponentStatus {
        component,
        written: written(state.source.as_ref()),
        quantity: state.quantity,
        up: count(state.instances.values().filter(|instance| instance.is_up()).count()),
        instances_in_all: count(state.instances.len()),
        instances,
    }
}

fn of_instance(registry: &Registry, number: u32, instance: &InstanceState, now: Duration) -> InstanceStatus {
    let lease = instance.source.as_ref().and_then(|source| registry.lease_end(&source.file));
    InstanceStatus {
        number,
        state: word(instance.standing).to_owned(),
        health: instance.health.word().to_owned(),
        reason: instance.health.reason().map(ToOwned::to_owned),
        addresses: instance.addresses.iter().map(ToString::to_string).collect(),
        lease_s: lease.map(|end| end.saturating_sub(now).as_secs()),
        written: written(instance.source.as_ref()),
    }
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "up",
        Standing::Starting => "starting",
        Standing::Draining => "draining",
        Standing::Down => "down",
        Standing::Expired(_) => "expired",
        Standing::Displaced => "displaced",
        Standing::Unregistered => "unregistered",
    }
}

fn written(source: Option<&Source>) -> Option<String> {
    source.map(ToString::to_string)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// How many spaces are told of at once.
const SPACES_MAX: usize = 100;

/// How many apps are told of at once: with all their instances, some megabytes.
const APPS_MAX: usize = 200;

/// How many instances of an app are told of.
const INSTANCES_MAX: usize = 100;

/// How many names of an app are told of.
const NAMES_MAX: usize = 20;
