//! The readiness checks that follow from what is registered, told to the checker by difference; and what it found, told to the
//! registry.

use std::collections::{BTreeMap, HashMap};

use tracing::{info, warn};

use crate::control::checks::{Begins, Checklist, Finding, Target, TargetId};
use crate::control::{self, Unready, UnreadyInstance};
use crate::registry::{AppId, AppState, Check, Health, InstanceState, Judgement, Registry, Standing, Touched, Verdict};

/// What is being checked.
pub(super) struct Checks {
    checklist: Checklist,
    /// The number that the next target gets.
    next: TargetId,
    targets: HashMap<AppId, Vec<(TargetId, Check)>>,
    apps: HashMap<TargetId, AppId>,
}

impl Checks {
    pub(super) fn new(checklist: Checklist) -> Self {
        Self { checklist, next: 0, targets: HashMap::new(), apps: HashMap::new() }
    }

    /// Tells the checker what changed with the apps that were touched.
    pub(super) fn follow(&mut self, registry: &Registry, touched: &Touched) {
        for app in &touched.apps {
            self.follow_app(registry, *app);
        }
    }

    fn follow_app(&mut self, registry: &Registry, app: AppId) {
        let mut old = self.targets.remove(&app).unwrap_or_default();
        let mut new = Vec::new();
        for check in registry.checks(app) {
            // The same instance at the same place keeps its target, whatever the terms: what was found of it holds.
            let known = old.iter().position(|(_, known)| is_same(known, &check));
            let (id, was) = match known.map(|index| old.swap_remove(index)) {
                Some((id, was)) => (id, Some(was)),
                None => {
                    self.next += 1;
                    self.apps.insert(self.next, app);
                    (self.next, None)
                }
            };
            if was.is_none_or(|was| (was.port, &was.terms) != (check.port, &check.terms)) {
                self.checklist.set(id, target(app, &check));
            }
            new.push((id, check));
        }
        for (id, _) in old {
            self.apps.remove(&id);
            self.checklist.remove(id);
        }
        if !new.is_empty() {
            self.targets.insert(app, new);
        }
    }

    /// What was found, in the registry's words.
    pub(super) fn judgements(&self, findings: BTreeMap<TargetId, Finding>) -> Vec<Judgement> {
        let judged = findings.into_iter().filter_map(|(id, finding)| {
            let app = *self.apps.get(&id)?;
            let (_, check) = self.targets.get(&app)?.iter().find(|(other, _)| *other == id)?;
            Some(Judgement {
                app,
                component: check.component.clone(),
                number: check.number,
                addresses: check.addresses.clone(),
                verdict: match finding {
                    Finding::Ready => Verdict::Ready,
                    Finding::Unready(reason) => Verdict::Unready(reason),
                },
            })
        });
        judged.collect()
    }
}

/// Says in the log what became of the instances that were judged: each of a few, and how many more there are.
pub(super) fn tell(registry: &Registry, judgements: &[Judgement]) {
    for Judgement { app, component, number, .. } in judgements.iter().take(TOLD_MAX) {
        let Some(state) = registry.app(*app) else { continue };
        let instance = state.components.get(component).and_then(|component| component.instances.get(number));
        let name = format_args!("{} {component}.{number}", state.label);
        match instance.map(|instance| &instance.health) {
            Some(Health::Passing) => info!("{name} passes its checks"),
            Some(Health::Waiting(Some(reason))) => info!("{name} has not passed a check yet: {reason}"),
            Some(Health::Failing(reason)) => warn!("{name} is unhealthy, and left the answers: {reason}"),
            Some(Health::Kept(reason)) => warn!(
                "{name} is unhealthy, and so is every other {component} instance: {reason}; they stay in the answers, because the \
                 checks are suspected first (--all-unhealthy keep)"
            ),
            Some(Health::Presumed | Health::Waiting(None)) | None => {}
        }
    }
    if let Some(more) = judgements.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        info!("{more} more instances changed what their checks say, at the same time");
    }
}

/// What there is to say of the instances that do not pass their checks.
pub(super) fn unready(registry: &Registry) -> Unready {
    let (apps, count) = registry.unready();
    let mut instances = Vec::new();
    for state in apps.into_iter().filter_map(|app| registry.app(app)) {
        let space = registry.space(state.space).map(|space| space.spec.name.value.to_string()).unwrap_or_default();
        for (name, instance) in named(&state) {
            instances.extend(said(&space, &state, name, instance));
            if instances.len() == LISTED_MAX {
                return Unready { count: count as u64, instances };
            }
        }
    }
    Unready { count: count as u64, instances }
}

/// The instances that a file registers as up and that are not in the answers, because of their checks.
pub(super) fn unready_in(registry: &Registry, file: &str) -> Vec<UnreadyInstance> {
    let mut instances = Vec::new();
    for state in registry.unready_of(file).into_iter().filter_map(|app| registry.app(app)) {
        let space = registry.space(state.space).map(|space| space.spec.name.value.to_string()).unwrap_or_default();
        let held = named(&state).filter(|(_, instance)| {
            let is_of_file = instance.source.as_ref().is_some_and(|source| *source.file == *file);
            is_of_file && instance.standing == Standing::Up && !instance.health.is_ready()
        });
        instances.extend(held.filter_map(|(name, instance)| said(&space, &state, name, instance)));
    }
    instances
}

/// Every instance of an app, and what it is called in it.
fn named(state: &AppState) -> impl Iterator<Item = (String, &InstanceState)> {
    let components = state.components.iter();
    components.flat_map(|(label, component)| {
        component.instances.iter().map(move |(number, instance)| (format!("{label}.{number}"), instance))
    })
}

/// What there is to say of an instance; nothing where it passes.
fn said(space: &str, state: &AppState, name: String, instance: &InstanceState) -> Option<UnreadyInstance> {
    let health = match &instance.health {
        Health::Waiting(_) => control::Health::Waiting,
        Health::Failing(_) => control::Health::Failing,
        Health::Kept(_) => control::Health::Kept,
        Health::Presumed | Health::Passing => return None,
    };
    Some(UnreadyInstance {
        space: space.to_owned(),
        app: state.label.to_string(),
        instance: name,
        health,
        reason: instance.health.reason().map(str::to_owned),
    })
}

fn is_same(one: &Check, other: &Check) -> bool {
    one.component == other.component && one.number == other.number && one.addresses == other.addresses
}

fn target(app: AppId, check: &Check) -> Target {
    let terms = &check.terms;
    Target {
        app,
        addresses: check.addresses.clone(),
        port: check.port,
        http_path: terms.http_path.as_deref().map(str::to_owned),
        initial_delay: terms.initial_delay,
        period: terms.period,
        timeout: terms.timeout,
        success_threshold: terms.success_threshold,
        failure_threshold: terms.failure_threshold,
        begins: if check.health.is_ready() { Begins::Ready } else { Begins::Unready },
    }
}

/// How many instances the status tells of one by one.
const LISTED_MAX: usize = 100;

/// How many changes of one moment the log tells of one by one.
const TOLD_MAX: usize = 10;
