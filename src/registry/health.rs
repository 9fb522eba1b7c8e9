//! What readiness checks say of instances: a fact beside their standing, which files never tell.
//!
//! The checks are carried out elsewhere; here is what was found, by instance and addresses, and the two decisions that make it
//! safe. **Who counts as ready before a check has told?** An instance that comes while the server runs waits for its first
//! success, as on DigitalOcean: a deploy sends nobody to a process that is not listening. Whatever was there when the server
//! started, and whatever ran before its component had a check, is presumed ready until its checks have failed as often as
//! its spec says: neither a restart nor an edit of a check takes a name away. **Whom to believe when every instance fails?** The
//! checker, which may be what is cut off, is suspected first: instances that were ready before stay in the answers
//! ([`AllUnhealthy::Keep`]), unless that is turned off.
//!
//! A fact holds for one set of addresses: an instance that moves is another process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::{AppState, ComponentState, InstanceState, Standing};
use super::{AppId, Registry, Touched};
use crate::name::Label;
use crate::spec::{Head, HealthCheck};

/// Why a check failed, in a few words: `GET /health 503`.
pub type Reason = Arc<str>;

/// What is known of an instance's readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nobody checks it, or no check has told otherwise and it was there before: it counts as ready.
    Presumed,
    /// It passed its checks.
    Passing,
    /// It came a while ago and has not passed yet; why the last check failed, if one did.
    Waiting(Option<Reason>),
    /// It was ready before and fails its checks.
    Failing(Reason),
    /// It fails like every other of its component that was ready: it stays in the answers, and the checks are suspected.
    Kept(Reason),
}

impl Health {
    /// Whether it may take traffic.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Presumed | Self::Passing | Self::Kept(_))
    }

    /// The word for it; of a closed set.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Presumed => "presumed",
            Self::Passing => "passing",
            Self::Waiting(_) => "waiting",
            Self::Failing(_) => "failing",
            Self::Kept(_) => "kept",
        }
    }

    /// Why the last check failed, if that is known.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Presumed | Self::Passing => None,
            Self::Waiting(reason) => reason.as_deref(),
            Self::Failing(reason) | Self::Kept(reason) => Some(reason),
        }
    }
}

/// What becomes of a component when every instance that was ready fails its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllUnhealthy {
    /// They stay in the answers: the checker is suspected first.
    Keep,
    /// They leave the answers.
    Remove,
}

/// What was found of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Its app.
    pub app: AppId,
    /// Its component.
    pub component: Label,
    /// Its number.
    pub number: u32,
    /// The addresses that were checked; it concerns nobody else.
    pub addresses: Vec<IpAddr>,
    /// Whether it is ready, or why it is not.
    pub verdict: Verdict,
}

/// An instance that is known not to be ready: what of its health outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadyInstance {
    /// Its component.
    pub component: Label,
    /// Its number.
    pub number: u32,
    /// The addresses that this is known of.
    pub addresses: Vec<IpAddr>,
    /// Why.
    pub health: Health,
}

/// Whether an instance is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed often enough.
    Ready,
    /// It failed often enough, for this reason.
    Unready(Reason),
}

/// A check that is to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The component.
    pub component: Label,
    /// The instance.
    pub number: u32,
    /// Where it is: every one of them must pass.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// What its spec says of it.
    pub terms: HealthCheck,
    /// What is known of the instance.
    pub health: Health,
}

/// The facts, by app. Nothing is kept where nobody checks.
#[derive(Debug, Default)]
pub(super) struct Checks {
    policy: Option<AllUnhealthy>,
    newcomers: Newcomers,
    facts: HashMap<AppId, Box<[Fact]>>,
}

#[derive(Debug)]
struct Fact {
    component: Label,
    number: u32,
    addresses: Box<[IpAddr]>,
    health: Health,
}

/// How an instance that nothing is known of begins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    #[default]
    Presumed,
    Wait,
}

impl Registry {
    /// Has instances be held to their readiness checks from now on, before anything is read.
    pub const fn check_health(&mut self, policy: AllUnhealthy) {
        self.checks.policy = Some(policy);
    }

    /// Says that everything has been read that was there when the server started: instances that come from now on wait for their
    /// first success.
    pub const fn await_newcomers(&mut self) {
        self.checks.newcomers = Newcomers::Wait;
    }

    /// Takes in what checks have found. What concerns instances that have gone or moved since is passed over.
    pub fn judge(&mut self, judgements: Vec<Judgement>) -> Touched {
        let mut touched = Touched::default();
        for Judgement { app, component, number, addresses, verdict } in judgements {
            let Some(facts) = self.checks.facts.get_mut(&app) else { continue };
            let fact = position(facts, &component, number).and_then(|index| facts.get_mut(index));
            let Some(fact) = fact.filter(|fact| *fact.addresses == *addresses) else { continue };
            let health = match verdict {
                Verdict::Ready => Health::Passing,
                Verdict::Unready(reason) if matches!(fact.health, Health::Waiting(_)) => Health::Waiting(Some(reason)),
                Verdict::Unready(reason) => Health::Failing(reason),
            };
            if fact.health != health {
                fact.health = health;
                touched.apps.insert(app);
            }
        }
        touched
    }

    /// The apps that have instances which do not pass their checks, in order, and how many instances that are.
    #[must_use]
    pub fn unready(&self) -> (Vec<AppId>, usize) {
        let unready = |facts: &[Fact]| facts.iter().filter(|fact| !fact.health.is_ready()).count();
        let counts = self.checks.facts.iter().map(|(id, facts)| (*id, unready(facts))).filter(|(_, count)| *count > 0);
        let mut apps: Vec<_> = counts.collect();
        apps.sort_unstable();
        let count = apps.iter().map(|(_, count)| count).sum();
        (apps.into_iter().map(|(id, _)| id).collect(), count)
    }

    /// Of the apps that a file speaks of, a topology aside, those that have instances which do not pass their checks.
    #[must_use]
    pub fn unready_of(&self, file: &str) -> Vec<AppId> {
        let Some((entry, space)) = self.files.get(file).zip(self.space_at(file)) else { return Vec::new() };
        if self.checks.facts.is_empty() {
            return Vec::new();
        }
        let named = entry.documents.heads().filter_map(|head| match head {
            Head::App(app) => self.app_named(space, &app.value),
            Head::Other(_) => None,
        });
        let is_unready = |id: &AppId| {
            self.checks.facts.get(id).is_some_and(|facts| facts.iter().any(|fact| !fact.health.is_ready()))
        };
        named.filter(is_unready).collect()
    }

    /// The checks of an app that are to be carried out now.
    #[must_use]
    pub fn checks(&self, id: AppId) -> Vec<Check> {
        if self.checks.policy.is_none() {
            return Vec::new();
        }
        let state = self.app(id).filter(|state| state.archived.is_none());
        let components = state.iter().flat_map(|state| &state.components);
        let checked = components.flat_map(|(label, component)| {
            let instances = component.instances.iter();
            instances.filter_map(move |(number, instance)| {
                let wanted = matches!(instance.standing, Standing::Up | Standing::Starting);
                let (port, terms) = target(component, instance).filter(|_| wanted)?;
                let (component, addresses) = (label.clone(), instance.addresses.clone());
                let (terms, health) = (terms.clone(), instance.health.clone());
                Some(Check { component, number: *number, addresses, port, terms, health })
            })
        });
        checked.collect()
    }
}

impl Checks {
    /// What is known of an instance.
    pub(super) fn health(&self, app: AppId, component: &Label, number: u32, addresses: &[IpAddr]) -> Health {
        self.fact(app, component, number, addresses).map_or(Health::Presumed, |fact| fact.health.clone())
    }

    fn fact(&self, app: AppId, component: &Label, number: u32, addresses: &[IpAddr]) -> Option<&Fact> {
        let facts = self.facts.get(&app)?;
        facts.get(position(facts, component, number)?).filter(|fact| *fact.addresses == *addresses)
    }

    /// Whether instances are held to their checks.
    pub(super) const fn are_wanted(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether entering an app as it was just resolved leaves its instances as healthy as they are.
    pub(super) fn leave_alone(&self, state: &AppState) -> bool {
        let is_left = |component: &ComponentState, instance: &InstanceState| {
            instance.health == Health::Presumed && (component.health_check.is_none() || instance.source.is_none())
        };
        let mut components = state.components.values();
        !self.are_wanted()
            || components.all(|component| component.instances.values().all(|one| is_left(component, one)))
    }

    /// Enters the instances that an app has now, as it was just resolved, and forgets those that it has no more.
    pub(super) fn settle(&mut self, id: AppId, state: &AppState) {
        if self.policy.is_none() {
            return;
        }
        let mut facts = Vec::new();
        for (label, component) in &state.components {
            for (number, instance) in &component.instances {
                // One that lost its address may have it back at once; one whose lease ran out begins anew.
                if !instance.standing.is_there() && instance.standing != Standing::Displaced {
                    continue;
                }
                let addresses: Box<[IpAddr]> = instance.addresses.as_slice().into();
                let known = self.fact(id, label, *number, &addresses);
                let waits = self.newcomers == Newcomers::Wait && target(component, instance).is_some();
                let health = match known {
                    // Nobody checks it any more.
                    Some(_) if target(component, instance).is_none() => Health::Presumed,
                    Some(known) => known.health.clone(),
                    None if waits => Health::Waiting(None),
                    None => Health::Presumed,
                };
                facts.push(Fact { component: label.clone(), number: *number, addresses, health });
            }
        }
        if facts.is_empty() {
            self.facts.remove(&id);
        } else {
            self.facts.insert(id, facts.into());
        }
    }

    /// Takes over whether and how instances are held to their checks, and nothing that was found.
    pub(super) const fn share_settings(&mut self, other: &Self) {
        self.policy = other.policy;
    }

    /// The instances of an app that are known not to be ready.
    pub(super) fn unready(&self, id: AppId) -> Vec<UnreadyInstance> {
        let facts = self.facts.get(&id).into_iter().flatten().filter(|fact| !fact.health.is_ready());
        let unready = facts.map(|Fact { component, number, addresses, health }| UnreadyInstance {
            component: component.clone(),
            number: *number,
            addresses: addresses.to_vec(),
            health: health.clone(),
        });
        unready.collect()
    }

    /// Takes in which instances of an app were known not to be ready when another process ended.
    pub(super) fn restore(&mut self, id: AppId, mut unready: Vec<UnreadyInstance>) {
        if self.policy.is_none() || unready.is_empty() {
            return;
        }
        unready.sort_by(|a, b| a.component.cmp(&b.component).then(a.number.cmp(&b.number)));
        let facts = unready.into_iter().map(|UnreadyInstance { component, number, addresses, health }| Fact {
            component,
            number,
            addresses: addresses.into(),
            health,
        });
        self.facts.insert(id, facts.collect());
    }

    pub(super) fn forget(&mut self, id: AppId) {
        self.facts.remove(&id);
    }

    /// Keeps the instances of a component in the answers when all that were ready fail.
    pub(super) fn keep_suspected(&self, component: &mut ComponentState) {
        let ups = || component.instances.values().filter(|instance| instance.standing == Standing::Up);
        if self.policy != Some(AllUnhealthy::Keep) || ups().any(|instance| instance.health.is_ready()) {
            return;
        }
        for instance in component.instances.values_mut().filter(|instance| instance.standing == Standing::Up) {
            if let Health::Failing(reason) = &instance.health {
                instance.health = Health::Kept(Arc::clone(reason));
            }
        }
    }
}

/// Where the fact of an instance stands among those of its app, which are in order.
fn position(facts: &[Fact], component: &Label, number: u32) -> Option<usize> {
    facts.binary_search_by(|fact| fact.component.cmp(component).then(fact.number.cmp(&number))).ok()
}

/// Where an instance is to be checked and on which terms; `None` when its component has no check, or no port to check.
fn target<'c>(component: &'c ComponentState, instance: &InstanceState) -> Option<(u16, &'c HealthCheck)> {
    let terms = component.health_check.as_ref()?;
    let registered = || instance.ports.iter().find(|(name, _)| name.octets() == b"http").map(|(_, port)| *port);
    // The vendor's default is the HTTP port; an internal-only service has none, and its first port is the best there is.
    let port = terms.port.or_else(registered).or(component.http_port);
    let port = port.or_else(|| component.internal_ports.first().copied())?;
    Some((port, terms))
}
