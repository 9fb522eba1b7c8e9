//! The app behind a name: what declares it, what its gate looks at, and where each of its instances stands (design §4.2).

use super::{Inquiry, Subject};
use crate::name::Label;
use crate::registry::{
    AppId, AppState, Audience, ComponentKind, ComponentState, Health, InstanceState, Registry, Standing, Timestamp,
};
use crate::zone::{Component, Gate};

/// What of an app a name stands for.
pub(super) enum Part {
    /// Nothing that answers: only the app is worth telling of.
    Nothing,
    /// The app as a whole: its hostnames, DNS targets and custom domains.
    Hostname,
    /// A component.
    Component(Label),
    /// An SRV set of a component: the component and the port's label.
    Port(Label, Label),
    /// One instance.
    Instance(Label, u32),
}

impl Inquiry<'_> {
    /// Tells of the app, then of what gates `part`, then of the instances that count for it.
    pub(super) fn explain_app(&mut self, id: AppId, part: &Part) {
        let Some(state) = self.registry.app(id) else { return };
        self.explain_declared(&state);
        match part {
            Part::Nothing => {}
            Part::Hostname => self.explain_routing(&state),
            Part::Component(label) => self.explain_component(&state, label),
            Part::Port(label, port) => self.explain_port(&state, label, port),
            Part::Instance(label, number) => {
                if let Some(instance) =
                    state.components.get(label).and_then(|component| component.instances.get(number))
                {
                    self.explain_instance(&state, label, *number, instance);
                }
            }
        }
    }

    /// Who sees the discovery names of an app, and why.
    pub(super) fn explain_audience(&mut self, state: &AppState) {
        let seen = match state.audience {
            Audience::Space => "the whole space and its peers",
            Audience::App => "callers on its own LAN only",
        };
        let why = match (&state.audience_source, state.audience) {
            (Some(_), Audience::Space) => "it says `discovery: space`",
            (Some(_), Audience::App) => "it says `discovery: app`",
            (None, Audience::Space) => "the default of an app without listed components",
            (None, Audience::App) => "the default of an app with listed components",
        };
        let source = state.audience_source.clone().or_else(|| state.declared.clone());
        self.say(Subject::App, format!("the discovery names of {} are seen by {seen}: {why}", state.label), source);
    }

    fn explain_declared(&mut self, state: &AppState) {
        match &state.declared {
            Some(source) => self.say(Subject::App, format!("{} is declared", state.label), Some(source.clone())),
            None => {
                let words =
                    format!("nothing declares {}: only registrations name it, so it has no hostname", state.label);
                self.say(Subject::App, words, None);
            }
        }
        if let Some(source) = &state.archived {
            let words = format!("{} is archived: it keeps its names and has no addresses", state.label);
            self.say(Subject::App, words, Some(source.clone()));
        }
    }

    /// Whether the app is internally routed, and why.
    pub(super) fn explain_routed(&mut self, state: &AppState) {
        let is = if state.internal_routing { "is" } else { "is not" };
        let space = self.registry.space(state.space);
        let by_default = space.is_some_and(|space| space.spec.internal_routing == state.internal_routing);
        let (why, source) = match &state.internal_routing_source {
            Some(source) => ("it says so itself", Some(source.clone())),
            None if state.declared.is_none() => ("no app spec and no settings declare it", None),
            None if by_default => ("the default of its space", space.and_then(|space| space.source.clone())),
            None => ("as it was created, which cannot be changed", state.declared.clone()),
        };
        self.say(Subject::App, format!("{} {is} internally routed: {why}", state.label), source);
    }

    fn explain_routing(&mut self, state: &AppState) {
        self.explain_routed(state);
        let Some(served) = self.snapshot.apps.at(state.id) else { return };
        let web = state.web.as_ref().and_then(|label| Some((label, state.components.get(label)?)));
        let source = web.and_then(|(_, component)| component.source.clone());
        let up = web.map(|(label, component)| up_words(label, component)).unwrap_or_default();
        match &served.gate {
            Gate::Closed(reason) => self.say(Subject::Gate, format!("closed: {reason}"), source),
            Gate::Web(_) | Gate::KeptWeb(_) => {
                let words = format!("open: {up}; the space has no router, so their own addresses answer");
                self.say(Subject::Gate, words, source);
            }
            Gate::Router | Gate::KeptRouter(_) => {
                self.say(Subject::Gate, format!("open: {up}; the router of the space answers"), source);
                self.explain_router(state);
            }
        }
        match web {
            Some((label, component)) => self.explain_instances(state, label, component),
            None if state.web.is_none() => {
                let words = "no web component: none is called `web`, `web:` names none, and there is not just one service with an `http_port`";
                self.say(Subject::Gate, words, state.declared.clone());
            }
            None => {}
        }
    }

    fn explain_router(&mut self, state: &AppState) {
        let Some(space) = self.registry.space(state.space) else { return };
        let addresses: Vec<String> = space.spec.router.iter().map(|address| address.value.to_string()).collect();
        let words = format!("the router of the space {} is at {}", space.spec.name.value, addresses.join(", "));
        let source = space.spec.router.first().and_then(|address| space.source_of(address));
        self.say(Subject::Gate, words, source);
    }

    fn explain_component(&mut self, state: &AppState, label: &Label) {
        let Some(component) = state.components.get(label) else { return };
        let Some(served) = self.served(state, label) else { return };
        let words = if served.up.is_empty() {
            format!("closed: {}", served.closed)
        } else {
            format!("open: {}", up_words(label, component))
        };
        self.say(Subject::Gate, words, component.source.clone());
        self.explain_instances(state, label, component);
    }

    fn explain_port(&mut self, state: &AppState, label: &Label, port: &Label) {
        let Some(component) = state.components.get(label) else { return };
        let Some(served) = self.served(state, label) else { return };
        let listening = served.port(port.octets()).map_or(0, |port| port.targets.len());
        let words = if served.up.is_empty() {
            format!("closed: {}", served.closed)
        } else {
            format!("open: {}, {listening} of them listen on {port}", up_words(label, component))
        };
        self.say(Subject::Gate, words, component.source.clone());
        self.explain_instances(state, label, component);
    }

    fn explain_instances(&mut self, state: &AppState, label: &Label, component: &ComponentState) {
        for (number, instance) in &component.instances {
            self.explain_instance(state, label, *number, instance);
        }
    }

    fn explain_instance(&mut self, state: &AppState, label: &Label, number: u32, instance: &InstanceState) {
        let addresses: Vec<String> = instance.addresses.iter().map(ToString::to_string).collect();
        let at = if addresses.is_empty() { String::new() } else { format!(" at {}", addresses.join(", ")) };
        let standing = standing_words(self.registry, state, instance);
        self.say(
            Subject::Instance,
            format!("{} {label}.{number}{at}: {standing}", state.label),
            instance.source.clone(),
        );
    }

    fn served(&self, state: &AppState, label: &Label) -> Option<&Component> {
        Some(self.snapshot.apps.at(state.id)?.component(label.octets())?.1)
    }
}

/// Where an instance stands, in words.
pub(super) fn standing_words(registry: &Registry, app: &AppState, instance: &InstanceState) -> String {
    match instance.standing {
        Standing::Up => health_words(&instance.health),
        Standing::Starting => "it is starting; only its own name answers".to_owned(),
        Standing::Draining => "it is draining; only its own name answers".to_owned(),
        Standing::Down => "its registration says that it is down".to_owned(),
        Standing::Expired(at) => format!("its lease ran out at {}", Timestamp(at)),
        Standing::Unregistered => "nothing registers it".to_owned(),
        Standing::Displaced => displaced_words(registry, app, instance)
            .unwrap_or_else(|| "its address was registered by another app since".to_owned()),
    }
}

/// What readiness checks say of an instance that says that it is up.
fn health_words(health: &Health) -> String {
    match health {
        Health::Presumed => "it is up".to_owned(),
        Health::Passing => "it is up and passes its checks".to_owned(),
        Health::Waiting(None) => "it is up, not checked yet; only its own name answers until it passes".to_owned(),
        Health::Waiting(Some(reason)) => {
            format!("it is up and has not passed a check yet ({reason}); only its own name answers until it does")
        }
        Health::Failing(reason) => format!("it is up and fails its checks ({reason}); only its own name answers"),
        Health::Kept(reason) => {
            format!("it is up and fails its checks ({reason}), as every other does: kept, the checks are suspected")
        }
    }
}

/// Who took which address.
fn displaced_words(registry: &Registry, app: &AppState, instance: &InstanceState) -> Option<String> {
    instance.addresses.iter().find_map(|address| {
        let holders = registry.address_holders(*address);
        let (winner, component, number) = holders.iter().find(|(holder, ..)| *holder != app.id)?;
        let winner = registry.app(*winner)?;
        let source = winner.components.get(component)?.instances.get(number)?.source.as_ref()?;
        Some(format!(
            "{address} was registered since by {} {component}.{number} ({source}), and is its now",
            winner.label
        ))
    })
}

/// What a component is, in words.
pub(super) const fn kind_words(kind: Option<ComponentKind>) -> &'static str {
    match kind {
        Some(ComponentKind::Service) => "a service",
        Some(ComponentKind::Worker) => "a worker",
        Some(ComponentKind::Job) => "a job",
        Some(ComponentKind::StaticSite) => "a static site",
        Some(ComponentKind::Function) => "a function",
        Some(ComponentKind::Database) => "a database",
        Some(ComponentKind::Process) => "a process type",
        None => "not in the app's spec",
    }
}

fn up_words(label: &Label, component: &ComponentState) -> String {
    let up = component.instances.values().filter(|instance| instance.is_up()).count();
    let declared = component.quantity.and_then(|quantity| usize::try_from(quantity).ok());
    format!("{up} of {} {label} instances up", declared.unwrap_or(component.instances.len()).max(up))
}
