//! An app as it is at a moment: what the registry resolves to, with the place of everything that was said.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{AppId, Health, Source, SpaceId};
use crate::name::{Label, Name};
use crate::spec::{Audience, ComponentKind, HealthCheck};

/// An app as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppState {
    /// Its number.
    pub id: AppId,
    /// The space it is in.
    pub space: SpaceId,
    /// Its name.
    pub label: Label,
    /// What declares it; `None` when only registrations name it: then it has discovery names and no hostname.
    pub declared: Option<Source>,
    /// Whether its hostnames and domains are ours.
    pub internal_routing: bool,
    /// What says so; `None` when it is the space's default, or was when the app was created.
    pub internal_routing_source: Option<Source>,
    /// Who sees its discovery names.
    pub audience: Audience,
    /// What says so; `None` when it follows from the kinds of its components.
    pub audience_source: Option<Source>,
    /// What archives it, if anything does.
    pub archived: Option<Source>,
    /// The component that gates its hostnames.
    pub web: Option<Label>,
    /// The hostnames, DNS targets and custom domains that it holds.
    pub owners: Vec<OwnerState>,
    /// Its components.
    pub components: BTreeMap<Label, ComponentState>,
}

/// A name that an app holds or wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerState {
    /// The name; of a wildcard with its `*` label.
    pub name: Name,
    /// What it is to the app.
    pub kind: OwnerKind,
    /// Where it is written; for a hostname that follows from the app's name, where the app is declared.
    pub source: Source,
}

/// What a name is to its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// An app hostname.
    Hostname,
    /// A custom domain's DNS target.
    Target,
    /// A custom domain.
    Domain,
    /// Everything below a custom domain.
    Wildcard,
}

/// A component as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentState {
    /// What it is; `None` when only registrations name it beside a spec that has others: it is never routed to.
    pub kind: Option<ComponentKind>,
    /// Whether it has a bare name: services do, and of Heroku's process types the one called `web`.
    pub has_bare_name: bool,
    /// The port of its public HTTP.
    pub http_port: Option<u16>,
    /// Its further ports.
    pub internal_ports: Vec<u16>,
    /// How many instances are declared.
    pub quantity: Option<u32>,
    /// Its readiness check.
    pub health_check: Option<HealthCheck>,
    /// Where it is declared.
    pub source: Option<Source>,
    /// Its instances: registered, once registered, or within the declared quantity.
    pub instances: BTreeMap<u32, InstanceState>,
}

/// An instance as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// Where it stands.
    pub standing: Standing,
    /// What readiness checks say of it.
    pub health: Health,
    /// Its addresses, as registered.
    pub addresses: Vec<IpAddr>,
    /// Its own ports by name.
    pub ports: Vec<(Label, u16)>,
    /// Where it is registered; `None` when nothing does.
    pub source: Option<Source>,
}

impl InstanceState {
    /// Whether it takes traffic: it says so, and its checks do not say otherwise.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.standing, Standing::Up) && self.health.is_ready()
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes traffic, as far as it says itself.
    Up,
    /// It is there, not ready.
    Starting,
    /// It is there, to be left alone.
    Draining,
    /// Its registration says that it is not there.
    Down,
    /// Its lease ran out, at this second since 1970.
    Expired(u64),
    /// Another app registered its address since.
    Displaced,
    /// Nothing registers it.
    Unregistered,
}

impl Standing {
    /// Whether its own name answers.
    #[must_use]
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Up | Self::Starting | Self::Draining)
    }
}
