//! What the owner task says of spaces, apps and instances, what changed last, and why a caller gets what it gets.
//!
//! Words and numbers only, as everything that leaves the owner task.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which apps to say something of: so many in the order of `space/app`, after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSelection {
    /// Only those whose `space/app` has this in it, whatever the case; all of them for the empty text.
    pub search: String,
    /// Those after this `space/app`; all of them after the empty one.
    pub after: String,
    /// At most so many.
    pub most: usize,
}

/// Spaces, and a part of the apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The spaces, by name; not more than some hundred.
    pub spaces: Vec<SpaceStatus>,
    /// How many spaces there are in all.
    pub spaces_in_all: u64,
    /// The apps that were asked for, by `space/app`.
    pub apps: Vec<AppStatus>,
    /// How many apps there are in all.
    pub apps_in_all: u64,
    /// How many of these were searched for.
    pub apps_found: u64,
    /// Where there are more: the `space/app` to ask for those after.
    pub next: Option<String>,
}

/// What there is to say of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// Its name.
    pub space: String,
    /// Where it is written; none for the default space.
    pub written: Option<String>,
    /// The directory that it covers; empty for all of the spec directory.
    pub directory: String,
    /// The networks whose callers are its own.
    pub cidrs: Vec<String>,
    /// The domains of app hostnames.
    pub app_domains: Vec<String>,
    /// The domains of discovery names.
    pub discovery_domains: Vec<String>,
}

/// What there is to say of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The space it is in.
    pub space: String,
    /// Its name.
    pub app: String,
    /// Where it is declared; none when only registrations name it.
    pub written: Option<String>,
    /// Whether its hostnames and domains are ours.
    pub internal_routing: bool,
    /// Where it is archived, if it is.
    pub archived: Option<String>,
    /// The component that gates its hostnames.
    pub web: Option<String>,
    /// The hostnames, DNS targets and custom domains that it holds; not more than some ten.
    pub names: Vec<String>,
    /// How many of those there are in all.
    pub names_in_all: u64,
    /// Its components, by name.
    pub components: Vec<ComponentStatus>,
}

/// What there is to say of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub component: String,
    /// Where it is declared, if it is.
    pub written: Option<String>,
    /// How many instances are declared.
    pub quantity: Option<u32>,
    /// How many take traffic.
    pub up: u64,
    /// How many are known.
    pub instances_in_all: u64,
    /// The first of them by number; not more than some hundred of one app.
    pub instances: Vec<InstanceStatus>,
}

/// What there is to say of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its number.
    pub number: u32,
    /// Where it stands: up, starting, draining, down, expired, displaced or unregistered.
    pub state: String,
    /// What readiness checks say: presumed, passing, waiting, failing or kept.
    pub health: String,
    /// Why the last check failed, if that is known.
    pub reason: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// In how many seconds the next lease of its file runs out, if one does.
    pub lease_s: Option<u64>,
    /// Where it is registered, if it is.
    pub written: Option<String>,
}

/// A generation that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub generation: u64,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The same moment in RFC 3339's form.
    pub time: String,
    /// What made it: a file and how many more, readiness checks, time.
    pub cause: String,
}

/// What a caller is to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, as it was typed.
    pub name: String,
    /// The record type, as it was typed.
    pub qtype: String,
    /// Who asks.
    pub caller: IpAddr,
}

/// Why a caller gets what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What comes of it: answer, nodata, nxdomain, foreign, refused, error or silence.
    pub outcome: String,
    /// The steps, from the caller to the answer.
    pub steps: Vec<ExplainedStep>,
    /// The response, as `dig` prints one.
    pub response: String,
    /// All of it as JSON.
    pub json: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    /// What it is about: caller, view, name, app, gate, instance or answer.
    pub subject: String,
    /// What is so.
    pub words: String,
    /// Where it was written, if it was: `file:line:column`.
    pub written: Option<String>,
}
