//! One app's block: what answering needs, worked out once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::name::Label;
use crate::registry::{
    AppState, Audience, ComponentKind, ComponentState, Health, InstanceState, OwnerKind, SpaceState, Standing,
    Timestamp,
};
use crate::zone::{self, AddressSet, App, Bare, Believed, Component, Gate, Instance, Owner, Port, Reason, Target};

/// The most octets of a reason: what every response has room for beside its sections.
const REASON_MAX: usize = 200;

/// Compiles one app.
pub(super) fn compile(state: &AppState, space: &SpaceState) -> App {
    let components =
        exact(state.components.iter().map(|(label, component)| compile_component(state, label, component)));
    let owners = state.owners.iter().map(|owner| Owner {
        name: owner.name.clone(),
        kind: match owner.kind {
            OwnerKind::Hostname => zone::OwnerKind::Hostname,
            OwnerKind::Target => zone::OwnerKind::Target,
            OwnerKind::Domain => zone::OwnerKind::Domain,
            OwnerKind::Wildcard => zone::OwnerKind::Wildcard,
        },
    });
    App {
        space: state.space,
        label: state.label.clone(),
        audience: match state.audience {
            Audience::Space => zone::Audience::Space,
            Audience::App => zone::Audience::Lan,
        },
        gate: gate(state, space, &components),
        owners: owners.collect(),
        components,
    }
}

/// Whether the app's hostnames answer, and with what (design §4.2).
fn gate(state: &AppState, space: &SpaceState, components: &[Component]) -> Gate {
    let closed = |reason: String| Gate::Closed(cut(reason).into());
    let Some(web) = &state.web else {
        return closed(format!("{}: it has no web component", state.label));
    };
    let found = components.iter().zip(0..).find(|(component, _)| component.label == *web);
    let Some((component, index)) = found else {
        return closed(format!("{}: no {web} instance is registered", state.label));
    };
    if component.up.is_empty() {
        Gate::Closed(component.closed.clone())
    } else {
        match (space.spec.router.is_empty(), component.believed) {
            (false, Believed::Checks) => Gate::Router,
            (true, Believed::Checks) => Gate::Web(index),
            (false, Believed::Instances) => Gate::KeptRouter(index),
            (true, Believed::Instances) => Gate::KeptWeb(index),
        }
    }
}

fn compile_component(app: &AppState, label: &Label, state: &ComponentState) -> Component {
    let is_up = |instance: &InstanceState| app.archived.is_none() && instance.is_up();
    let up = AddressSet::new(
        state
            .instances
            .values()
            .filter(|instance| is_up(instance))
            .flat_map(|instance| instance.addresses.iter().copied()),
    );
    let closed = if up.is_empty() { reason(app, label, state).into() } else { Reason::default() };
    let instances = exact(state.instances.iter().map(|(number, instance)| compile_instance(app, *number, instance)));
    let bare = if state.has_bare_name { Bare::Named } else { Bare::Nameless };
    // One is kept where all are: see `Checks::keep_suspected`.
    let is_kept = |instance: &InstanceState| is_up(instance) && matches!(instance.health, Health::Kept(_));
    let believed = if state.instances.values().any(is_kept) { Believed::Instances } else { Believed::Checks };
    Component { label: label.clone(), bare, up, believed, closed, instances, ports: ports(app, state) }
}

fn compile_instance(app: &AppState, number: u32, state: &InstanceState) -> Instance {
    let standing =
        if app.archived.is_some() && state.standing.is_there() { zone::InstanceState::Down } else { standing(state) };
    let addresses = state.addresses.iter().copied().filter(|_| standing.is_there());
    Instance { number, state: standing, addresses: AddressSet::new(addresses) }
}

const fn standing(instance: &InstanceState) -> zone::InstanceState {
    match instance.standing {
        Standing::Up => match instance.health {
            Health::Presumed | Health::Passing | Health::Kept(_) => zone::InstanceState::Up,
            Health::Waiting(_) => zone::InstanceState::Waiting,
            Health::Failing(_) => zone::InstanceState::Unhealthy,
        },
        Standing::Starting => zone::InstanceState::Starting,
        Standing::Draining => zone::InstanceState::Draining,
        Standing::Down => zone::InstanceState::Down,
        Standing::Expired(_) => zone::InstanceState::Expired,
        Standing::Displaced => zone::InstanceState::Displaced,
        Standing::Unregistered => zone::InstanceState::Unregistered,
    }
}

/// The SRV sets of a component: its HTTP port, its declared ports, and those that instances registered by name.
///
/// The set of `_<number>._tcp` has that number as its port, always: who asks for a port gets those that listen there. A registered
/// `http` stands in for the spec's `http_port`, which then does not hold for that instance (design §2.3).
fn ports(app: &AppState, state: &ComponentState) -> Box<[Port]> {
    let mut ports: BTreeMap<Label, Vec<Target>> = BTreeMap::new();
    for label in state.http_port.iter().chain(&state.internal_ports).filter_map(|port| number_label(*port)) {
        ports.insert(label, Vec::new());
    }
    if state.http_port.is_some() {
        ports.extend(label_of(HTTP).map(|label| (label, Vec::new())));
    }
    for (instance, index) in state.instances.values().zip(0..) {
        let is_up = app.archived.is_none() && instance.is_up();
        let mut listen = |label: Option<Label>, port| {
            let Some(label) = label else { return };
            let targets = ports.entry(label).or_default();
            let target = Target { instance: index, port };
            if is_up && !targets.contains(&target) {
                targets.push(target);
            }
        };
        if instance.source.is_none() {
            continue;
        }
        let registered_http = instance.ports.iter().any(|(name, _)| name.octets() == HTTP);
        if let Some(http) = state.http_port.filter(|_| !registered_http) {
            listen(label_of(HTTP), http);
            listen(number_label(http), http);
        }
        for port in &state.internal_ports {
            listen(number_label(*port), *port);
        }
        for (name, port) in &instance.ports {
            listen(Some(name.clone()), *port);
            listen(number_label(*port), *port);
        }
    }
    exact(ports.into_iter().map(|(label, targets)| Port { label, targets: targets.into() }))
}

/// Collects into as much room as it takes. `collect` makes room for four of what it does not know the number of, and mimalloc leaves a list
/// where it is that is cut by half or less: that was 64 octets for each app of two instances.
fn exact<T>(values: impl ExactSizeIterator<Item = T>) -> Box<[T]> {
    let mut list = Vec::with_capacity(values.len());
    list.extend(values);
    list.into()
}

/// The label of the HTTP port's SRV set, without its underscore.
const HTTP: &[u8] = b"http";

fn label_of(octets: &[u8]) -> Option<Label> {
    Label::from_octets(octets).ok()
}

fn number_label(port: u16) -> Option<Label> {
    label_of(port.to_string().as_bytes())
}

/// Why a component has no address to answer with, in words for whoever asks.
fn reason(app: &AppState, label: &Label, state: &ComponentState) -> Box<str> {
    if app.archived.is_some() {
        return cut(format!("{}: the app is archived", app.label));
    }
    // A service has one instance unless its spec says otherwise; a process type has as many as are registered.
    let of = match (state.quantity, state.kind) {
        (Some(quantity), _) => usize::try_from(quantity).unwrap_or(usize::MAX),
        (None, Some(ComponentKind::Service)) => state.instances.len().max(1),
        (None, _) => state.instances.len(),
    };
    let mut text = match of {
        0 => format!("{}: no {label} instance is registered", app.label),
        of => format!("{}: 0 of {of} {label} instances up", app.label),
    };
    for (number, instance) in &state.instances {
        // Writing into a string cannot fail.
        let _ = match instance.standing {
            Standing::Unregistered => Ok(()),
            Standing::Expired(at) => write!(text, "; {label}.{number} lease expired {}", Timestamp(at)),
            Standing::Up => match &instance.health {
                Health::Waiting(None) => write!(text, "; {label}.{number} not checked yet"),
                Health::Waiting(Some(reason)) => write!(text, "; {label}.{number} not ready yet: {reason}"),
                Health::Failing(reason) => write!(text, "; {label}.{number} unhealthy: {reason}"),
                Health::Presumed | Health::Passing | Health::Kept(_) => Ok(()),
            },
            _ => write!(text, "; {label}.{number} {}", standing(instance)),
        };
        if text.len() > REASON_MAX {
            break;
        }
    }
    cut(text)
}

fn cut(mut text: String) -> Box<str> {
    if text.len() > REASON_MAX {
        let end = (0..=REASON_MAX - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text.as_str().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let text = cut("é".repeat(150));
        assert!(text.len() <= REASON_MAX && text.ends_with("..."));
    }
}
