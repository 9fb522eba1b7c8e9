//! One app, resolved from everything that says something of it (design §2.2 to §2.4).
//!
//! An app may be told of by an app spec, by additions (`app: …`: settings, components, registrations) and by topologies. The
//! spec comes first, then the rest by path; where two say the same setting differently, the first holds and the second is
//! at fault. What is resolved here is what an app *wants*; which contested names and addresses it has is for the claims.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{Claim, Claimed, Sharing};
use super::claims::Moved;
use super::deadlines::Deadline;
use super::gather::{Gathered, Registered, wanted_lans};
use super::health::Health;
use super::names::{names_of, owner_called, report_misplaced_names};
use super::numbers::Numbers;
use super::settle::{Creation, Hands, Wants};
use super::state::{AppState, ComponentState, InstanceState, OwnerState, Standing};
use super::{
    AppEntry, AppId, CREATION, CREATIONS_MAX, Concern, FileFault, Findings, NUMBERS_MAX, Registry, Source, SpaceState,
    Touched,
};
use crate::name::Label;
use crate::spec::{Audience, ComponentKind, ComponentSpec};

/// The most instances of one component that are taken: what fits in 64 KiB (design §4.1).
const INSTANCES_MAX: usize = 1_000;
/// The most components of one app that are taken, and the most whose numbers are remembered: `spec` takes as many of one document.
const COMPONENTS_MAX: usize = 1_000;
/// The most instances of one app that have a node because a quantity declares them; further ones have it once registered.
const DECLARED_MAX: u32 = 10_000;

impl Registry {
    /// An app from its documents and claims, and what is wrong with it.
    pub(super) fn resolve(&self, id: AppId, entry: &AppEntry) -> (AppState, Findings) {
        let contributed = self.contributed(entry);
        let (mut gathered, space) = (self.gather(entry, &contributed), self.space(entry.space));
        let state = self.assemble(id, entry, &mut gathered, space);
        (state, gathered.findings)
    }

    /// Looks at an app again after one of its documents changed: what it wants now. This changes nothing and depends on no other app, so
    /// many may be looked at at once; [`follow`](Self::follow) has its claims follow.
    pub(super) fn look_at<H: Hands>(&self, id: AppId, hands: &H) -> Option<Wants<H::Made>> {
        let entry = self.apps.get(&id)?;
        let contributed = self.contributed(entry);
        let mut gathered = self.gather(entry, &contributed);
        let space = self.space(entry.space);
        let lans = wanted_lans(&gathered).into();
        let declared_by = gathered.in_force.map(|contribution| Arc::clone(&contribution.file));
        let is_declared = gathered.declared.is_some();
        let said = gathered.internal_routing.as_ref().map(|(value, _)| *value);
        let routed = is_declared.then(|| {
            self.chosen(id, entry).or(said).unwrap_or_else(|| space.is_some_and(|space| space.spec.internal_routing))
        });
        // A topology does not say whether its app is routed, and so does not settle it either (design §2.4).
        let created_routed = routed.filter(|_| gathered.is_created || entry.created_routed.is_some());
        let creation = match said {
            Some(_) => Creation::Over,
            None if entry.created_routed.is_none() && created_routed.is_some() => Creation::Begun,
            None => Creation::AsItWas,
        };
        let names: Box<[OwnerState]> =
            if routed == Some(true) { names_of(entry, &gathered, space).into() } else { Box::default() };
        let mut state = self.assemble(id, entry, &mut gathered, space);
        let mut findings = std::mem::take(&mut gathered.findings);
        findings.warnings.extend(doubles(&gathered));
        let claims = address_claims(gathered, &state);
        let is_named = !entry.contributions.is_empty();
        let (numbers, memory) = entry.remember_numbers(&state);
        let stays = is_named && memory == Memory::Whole && self.checks.leave_alone(&state);
        let made = space.filter(|_| stays).map(|space| {
            // As nearly always: what it wants it gets.
            state.owners = names.to_vec();
            hands.make(&state, space)
        });
        let state = self.checks.are_wanted().then_some(state);
        Some(Wants {
            names,
            lans,
            claims,
            numbers,
            created_routed,
            creation,
            declared_by,
            is_declared,
            findings,
            state,
            made,
        })
    }

    /// Lets the claims of an app follow what it wants. What was made of it is yielded where nothing speaks against it yet: it holds if the app
    /// has all that it wants in the end.
    pub(super) fn follow<M>(&mut self, id: AppId, wants: Wants<M>, moved: &mut Moved) -> Option<M> {
        if let Some(state) = &wants.state {
            self.checks.settle(id, state);
        }
        let entry = self.apps.get_mut(&id)?;
        let (space, is_named) = (entry.space, !entry.contributions.is_empty());
        let old = std::mem::take(&mut entry.wanted);
        // Names that are given up by a choice that was open were never the app's.
        let is_open = self.creations.contains_key(&id) && wants.created_routed == Some(false);
        entry.created_routed = wants.created_routed;
        entry.ever_declared |= wants.is_declared;
        if is_named {
            entry.numbers = wants.numbers;
        }
        for (network, _) in entry.lans() {
            self.lans.forgo(network, id);
            moved.lans.insert(*network);
        }
        for (network, _) in &wants.lans {
            self.lans.want(*network, id);
            moved.lans.insert(*network);
        }
        entry.change_rare(|rare| {
            rare.declared_by = wants.declared_by;
            rare.lans = wants.lans;
        });
        for owner in &old {
            let key = (space, owner.name.clone());
            if owner_called(&wants.names, &owner.name).is_none() {
                if self.names.holder(&key) == Some(id) && !is_open {
                    moved.given_up.insert(key.clone(), owner.kind);
                }
                self.names.forgo(&key, id);
                moved.names.push(key);
            }
        }
        for owner in &wants.names {
            self.names.want((space, owner.name.clone()), id);
            moved.names.push((space, owner.name.clone()));
        }
        entry.wanted = wants.names;
        let over = self.addresses.claim(id, wants.claims, &mut moved.addresses);
        let is_over = !over.is_empty();
        for (label, number) in over {
            self.forget_findings(&Concern::Address(id, label, number));
        }
        self.replace_findings(Concern::App(id), wants.findings);
        match wants.creation {
            Creation::Begun if self.creations.len() < CREATIONS_MAX => {
                let now = self.now.monotonic;
                self.creations.insert(id, now);
                self.deadlines.set(now.saturating_add(CREATION), Deadline::Creation(id));
            }
            Creation::Over => self.end_creation(id),
            Creation::Begun | Creation::AsItWas => {}
        }
        if !is_named {
            self.forget_later(id);
        }
        wants.made.filter(|_| !is_over)
    }

    /// Whether an app was created internally routed. Nothing says so yet where nothing was said when it was created and that was a moment ago: a
    /// spec, the settings beside it and its space are files of their own, and become whole one after the other.
    pub(super) fn chosen(&self, id: AppId, entry: &AppEntry) -> Option<bool> {
        entry.created_routed.filter(|_| !self.creations.contains_key(&id))
    }

    /// Ends the creations that were not a moment ago: what was chosen holds from now on. Their apps are touched, so that it is saved.
    pub(super) fn end_creations(&mut self, touched: &mut Touched) {
        let now = self.now.monotonic;
        let is_over = |at: &Duration| now.saturating_sub(*at) >= CREATION;
        let over: Vec<AppId> = self.creations.iter().filter(|(_, at)| is_over(at)).map(|(id, _)| *id).collect();
        for id in over {
            self.end_creation(id);
            touched.apps.insert(id);
        }
    }

    pub(super) fn end_creation(&mut self, id: AppId) {
        if let Some(at) = self.creations.remove(&id) {
            self.deadlines.withdraw(Some(at.saturating_add(CREATION)), Deadline::Creation(id));
        }
    }

    /// Sets when the numbers of an app that nothing names any more are forgotten.
    ///
    /// Of an app that was only ever registered they stay for as long as a tombstone: between the last registration of one
    /// deploy and the first of the next its names must not be NXDOMAIN, which Java caches for ten seconds.
    fn forget_later(&mut self, id: AppId) {
        let Some(entry) = self.apps.get_mut(&id) else { return };
        // The number of a space that is gone is given to another one day.
        let is_homeless = self.spaces.at(entry.space).is_none();
        if entry.ever_declared || self.tombstone.is_zero() || is_homeless {
            entry.numbers = Box::default();
            self.deadlines.withdraw(entry.forget_at(), Deadline::Forget(id));
            entry.change_rare(|rare| rare.forget_at = None);
        } else if !entry.numbers.is_empty() && entry.forget_at().is_none() {
            let at = self.now.monotonic.saturating_add(self.tombstone);
            entry.change_rare(|rare| rare.forget_at = Some(at));
            self.deadlines.set(at, Deadline::Forget(id));
        }
    }

    fn assemble(
        &self,
        id: AppId,
        entry: &AppEntry,
        gathered: &mut Gathered<'_>,
        space: Option<&SpaceState>,
    ) -> AppState {
        let internal_routing = internal_routing(self.chosen(id, entry), gathered, space);
        let mut components = components_of(gathered);
        let has_lists = gathered.has_lists();
        let mut untaken = Vec::new();
        for ((label, number), registered) in &gathered.instances {
            if components.len() >= COMPONENTS_MAX && !components.contains_key(*label) {
                untaken.push((*label, &registered.source));
                continue;
            }
            let component = components
                .entry((*label).clone())
                .or_insert_with(|| ComponentState::undeclared(gathered, label, has_lists));
            if component.instances.len() >= INSTANCES_MAX {
                gathered.findings.faults.push(registered.source.fault(
                    "number",
                    format!("{label} has more than {INSTANCES_MAX} instances, and a response holds no more"),
                    "divide it into several components".to_owned(),
                ));
                continue;
            }
            let identity = (id, (*label).clone(), *number);
            let standing =
                if self.addresses.displaced(&identity).is_some() { Standing::Displaced } else { registered.standing() };
            component.instances.insert(
                *number,
                InstanceState {
                    standing,
                    health: self.checks.health(id, label, *number, &registered.spec.addresses),
                    addresses: registered.spec.addresses.clone(),
                    ports: registered.spec.ports.clone(),
                    source: Some(registered.source.clone()),
                },
            );
        }
        if let Some((label, source)) = untaken.first() {
            gathered.findings.faults.push(source.fault(
                "component",
                format!(
                    "the app has more than {COMPONENTS_MAX} components; {} registrations, as that of {label}, are not taken",
                    untaken.len()
                ),
                "remove the registrations of components that are no more, or divide the app".to_owned(),
            ));
        }
        for (label, numbers) in &entry.numbers {
            let component = components
                .entry(label.clone())
                .or_insert_with(|| ComponentState::undeclared(gathered, label, has_lists));
            for number in numbers.iter() {
                component.instances.entry(number).or_insert_with(InstanceState::unregistered);
            }
        }
        let mut left = DECLARED_MAX;
        for component in components.values_mut() {
            self.checks.keep_suspected(component);
            let declared = component.quantity.unwrap_or(0).min(left);
            left -= declared;
            for number in 1..=declared {
                component.instances.entry(number).or_insert_with(InstanceState::unregistered);
            }
        }
        let web = web_component(gathered, &components);
        let audience = match &gathered.discovery {
            Some((audience, _)) => *audience,
            None if has_lists => Audience::App,
            None => Audience::Space,
        };
        let holds = |owner: &&OwnerState| self.names.holder(&(entry.space, owner.name.clone())) == Some(id);
        if let Some(space) = space.filter(|_| internal_routing) {
            report_misplaced_names(entry, gathered, space);
        }
        AppState {
            id,
            space: entry.space,
            label: entry.label.clone(),
            declared: gathered.declared.clone(),
            internal_routing,
            internal_routing_source: gathered
                .internal_routing
                .as_ref()
                .filter(|(said, _)| *said == internal_routing)
                .map(|(_, source)| source.clone()),
            audience,
            audience_source: gathered.discovery.as_ref().map(|(_, source)| source.clone()),
            archived: gathered.archive.as_ref().filter(|(archive, _)| *archive).map(|(_, source)| source.clone()),
            web,
            owners: entry.wanted.iter().filter(holds).cloned().collect(),
            components,
        }
    }
}

/// The warnings of instances that have an address of another instance of the app: one of the two is most likely not there.
fn doubles(gathered: &Gathered<'_>) -> Vec<FileFault> {
    let is_sole = |registered: &Registered<'_>| registered.standing().is_there() && !registered.spec.shared_address;
    let sole = gathered.instances.iter().filter(|(_, registered)| is_sole(registered));
    let mut all: Vec<(IpAddr, (&Label, u32), &Source)> = sole
        .flat_map(|(name, registered)| {
            registered.spec.addresses.iter().map(|address| (*address, *name, &registered.source))
        })
        .collect();
    all.sort_by_key(|(address, name, _)| (*address, *name));
    let pairs = all.iter().zip(all.iter().skip(1)).filter(|((one, ..), (other, ..))| one == other);
    let warning =
        |((address, (label, number), first), (_, (other, second), source)): (&(_, _, &Source), &(_, _, &Source))| {
            source.fault(
                "address",
                format!("{other}.{second} has {address}, and so has {label}.{number} ({first})"),
                "remove the one that is not there, or say `shared_address: true` in both".to_owned(),
            )
        };
    pairs.map(warning).collect()
}

/// What an app's registrations in force claim.
fn address_claims(gathered: Gathered<'_>, state: &AppState) -> Box<[Claim]> {
    if state.archived.is_some() {
        return Box::default();
    }
    // Exactly as much room as nearly always is needed: of more, half would stay behind each list (`compile::app` says why).
    let mut claims = Vec::with_capacity(gathered.instances.len());
    let in_force = gathered.instances.into_iter().filter(|(_, registered)| registered.standing().is_there());
    let in_force = in_force
        .filter(|((label, number), _)| {
            state.components.get(*label).is_some_and(|found| found.instances.contains_key(number))
        })
        .map(|((label, number), registered)| Claim {
            component: label.clone(),
            addresses: Claimed::new(&registered.spec.addresses),
            newness: registered.newness.mark(),
            number,
            sharing: if registered.spec.shared_address { Sharing::Shared } else { Sharing::Sole },
        });
    claims.extend(in_force);
    claims.into()
}

impl AppEntry {
    /// The numbers that are remembered of an app as it is now: every registered one, so that its name stays a node.
    fn remember_numbers(&self, state: &AppState) -> (Box<[(Label, Numbers)]>, Memory) {
        let mut all = self.numbers.to_vec();
        let mut memory = Memory::Whole;
        for (label, component) in &state.components {
            let registered =
                component.instances.iter().filter(|(_, instance)| instance.source.is_some()).map(|(number, _)| *number);
            let mut registered = registered.peekable();
            if registered.peek().is_none() {
                continue;
            }
            let place = all.binary_search_by(|(known, _)| known.cmp(label)).unwrap_or_else(|place| {
                all.reserve_exact(1);
                all.insert(place, (label.clone(), Numbers::default()));
                place
            });
            if let Some((_, numbers)) = all.get_mut(place) {
                registered.for_each(|number| numbers.insert(number));
                if numbers.keep_last(NUMBERS_MAX) > 0 {
                    memory = Memory::Cut;
                }
            }
        }
        // Of components that come under ever new names, those that are gone are forgotten again.
        let is_gone = |(label, _): &(Label, Numbers)| {
            let component = state.components.get(label);
            component.is_none_or(|component| component.instances.values().all(|instance| instance.source.is_none()))
        };
        while all.len() > COMPONENTS_MAX
            && let Some(gone) = all.iter().position(is_gone)
        {
            all.remove(gone);
            memory = Memory::Cut;
        }
        (all.into(), memory)
    }
}

/// Whether everything is remembered that there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Whole,
    Cut,
}

impl InstanceState {
    const fn unregistered() -> Self {
        Self {
            standing: Standing::Unregistered,
            health: Health::Presumed,
            addresses: Vec::new(),
            ports: Vec::new(),
            source: None,
        }
    }
}

impl ComponentState {
    fn declared(spec: &ComponentSpec, source: &Source, has_bare_name: bool) -> Self {
        Self {
            kind: Some(spec.kind),
            has_bare_name,
            http_port: spec.http_port,
            internal_ports: spec.internal_ports.clone(),
            quantity: spec.quantity,
            health_check: spec.health_check.clone(),
            source: Some(source.clone()),
            instances: BTreeMap::new(),
        }
    }

    /// A component that only registrations name: a process type, unless a spec lists the app's components without it.
    fn undeclared(gathered: &Gathered<'_>, label: &Label, has_lists: bool) -> Self {
        Self {
            kind: (!has_lists).then_some(ComponentKind::Process),
            has_bare_name: !has_lists && gathered.declared.is_some() && label.octets() == WEB,
            http_port: None,
            internal_ports: Vec::new(),
            quantity: None,
            health_check: None,
            source: None,
            instances: BTreeMap::new(),
        }
    }

    const fn is_routable(&self) -> bool {
        matches!(self.kind, Some(ComponentKind::Service | ComponentKind::Process))
    }
}

/// The component that is the web component by its name alone.
const WEB: &[u8] = b"web";

/// Whether the app is internally routed: as it was created, whatever is written since.
fn internal_routing(chosen: Option<bool>, gathered: &mut Gathered<'_>, space: Option<&SpaceState>) -> bool {
    if gathered.declared.is_none() {
        return false;
    }
    let said = gathered.internal_routing.as_ref().map(|(value, source)| (*value, source.clone()));
    match (chosen, said) {
        (Some(created), Some((value, source))) if created != value => {
            gathered.findings.faults.push(source.fault(
                "internal_routing",
                format!("the app was created with `internal_routing: {created}`, and that cannot be changed"),
                "remove the app and create it anew, or set it back; what is served stays".to_owned(),
            ));
            created
        }
        (Some(created), _) => created,
        (None, Some((value, _))) => value,
        (None, None) => space.is_some_and(|space| space.spec.internal_routing),
    }
}

fn components_of(gathered: &mut Gathered<'_>) -> BTreeMap<Label, ComponentState> {
    let state = |(label, (spec, source)): (&&Label, &(ComponentSpec, Source))| {
        let has_bare_name = match spec.kind {
            ComponentKind::Service => true,
            ComponentKind::Process => label.octets() == WEB,
            _ => false,
        };
        ((*label).clone(), ComponentState::declared(spec, source, has_bare_name))
    };
    if let Some((label, (_, source))) = gathered.components.iter().nth(COMPONENTS_MAX) {
        gathered.findings.faults.push(source.fault(
            "",
            format!("the app has more than {COMPONENTS_MAX} components; {label} and those after it are not taken"),
            "divide the app".to_owned(),
        ));
    }
    gathered.components.iter().take(COMPONENTS_MAX).map(state).collect()
}

/// The component that gates the app's hostnames (design §4.2).
fn web_component(gathered: &mut Gathered<'_>, components: &BTreeMap<Label, ComponentState>) -> Option<Label> {
    let routable = |label: &Label| components.get(label).is_some_and(ComponentState::is_routable);
    if let Some(web) = Label::from_octets(WEB).ok().filter(routable) {
        return Some(web);
    }
    // Without lists every component is a process type, and one that is not there yet may be registered at any time.
    let may_come = gathered.declared.is_some() && !gathered.has_lists();
    if let Some((named, source)) = &gathered.web {
        if routable(named) || may_come {
            return Some((*named).clone());
        }
        gathered.findings.faults.push(source.fault(
            "web",
            format!("the app has no service called {named}"),
            "name one of its `services`".to_owned(),
        ));
        return None;
    }
    if may_come {
        return Label::from_octets(WEB).ok();
    }
    let mut with_http = components
        .iter()
        .filter(|(_, component)| component.kind == Some(ComponentKind::Service) && component.http_port.is_some());
    match (with_http.next(), with_http.next()) {
        (Some((label, _)), None) => Some(label.clone()),
        _ => None,
    }
}
