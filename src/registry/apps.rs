//! One app, resolved from everything that says something of it (design §2.2 to §2.4).
//!
//! An app may be told of by an app spec, by additions (`app: …`: settings, components, registrations) and by topologies. The
//! spec comes first, then the rest by path; where two say the same setting differently, the first holds and the second is
//! at fault. What is resolved here is what an app *wants*; which contested names and addresses it has is for the claims.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::addresses::{Claim, Newness, Sharing};
use super::claims::Moved;
use super::deadlines::Deadline;
use super::{
    AppEntry, AppId, Concern, Contribution, FileFault, Findings, NUMBERS_MAX, Registry, Source, SpaceId, SpaceState,
    topology,
};
use crate::name::{Label, Name};
use crate::spec::{
    AppSpec, At, Audience, ComponentKind, ComponentSpec, Document, DomainSpec, HealthCheck, InstanceSpec, Role, State,
    TopologyApp,
};

/// The most instances of one component that are taken: what fits in 64 KiB (design §4.1).
const INSTANCES_MAX: usize = 1_000;

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
    /// What says so; `None` when it is the space's default.
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
    /// Its addresses, as registered.
    pub addresses: Vec<IpAddr>,
    /// Its own ports by name.
    pub ports: Vec<(Label, u16)>,
    /// Where it is registered; `None` when nothing does.
    pub source: Option<Source>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes traffic.
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

/// A value and where it was said.
type Said<T> = (T, Source);

/// The first to say each thing, over all documents of an app.
#[derive(Default)]
struct Gathered<'a> {
    declared: Option<Source>,
    internal_routing: Option<Said<bool>>,
    hostnames: Option<Said<&'a [At<Name>]>>,
    domains: Option<Said<&'a [At<DomainSpec>]>>,
    web: Option<Said<&'a Label>>,
    lan: Option<Said<&'a [At<IpNet>]>>,
    discovery: Option<Said<Audience>>,
    archive: Option<Said<bool>>,
    components: BTreeMap<&'a Label, (ComponentSpec, Source)>,
    topology_domains: Vec<(&'a Name, Source)>,
    instances: BTreeMap<(&'a Label, u32), Registered<'a>>,
    findings: Findings,
}

/// A registration in force.
struct Registered<'a> {
    spec: &'a InstanceSpec,
    source: Source,
    newness: Newness,
    expired: Option<u64>,
}

impl Registry {
    /// An app from its documents and claims, and what is wrong with it.
    pub(super) fn resolve(&self, id: AppId, entry: &AppEntry) -> (AppState, Findings) {
        let (gathered, space) = (self.gather(entry), self.space(entry.space));
        self.assemble(id, entry, gathered, space)
    }

    /// Looks at an app again after one of its documents changed, and lets its claims follow.
    pub(super) fn settle_app(&mut self, id: AppId, moved: &mut Moved) {
        let Some(entry) = self.apps.get(&id) else { return };
        let gathered = self.gather(entry);
        let space = self.space(entry.space);
        let lans = wanted_lans(&gathered);
        let declared_by = self.spec_in_force(entry).map(|contribution| Arc::clone(&contribution.file));
        let is_declared = gathered.declared.is_some();
        let created_routed = is_declared.then(|| {
            let said = gathered.internal_routing.as_ref().map(|(value, _)| *value);
            entry.created_routed.or(said).unwrap_or_else(|| space.is_some_and(|space| space.spec.internal_routing))
        });
        let wanted = if created_routed == Some(true) { names_of(entry, &gathered, space) } else { Vec::new() };
        let (state, findings) = self.assemble(id, entry, gathered, space);
        let claims = self.address_claims(entry, &state);
        let (space, old) = (entry.space, entry.wanted.clone());
        let (old_lans, contributions) = (entry.lans.clone(), entry.contributions.is_empty());
        for owner in &old {
            let key = (space, owner.name.clone());
            if !wanted.iter().any(|new| new.name == owner.name) {
                if self.names.holder(&key) == Some(id) {
                    moved.given_up.insert(key.clone(), owner.kind);
                }
                self.names.forgo(&key, id);
                moved.names.insert(key);
            }
        }
        for owner in &wanted {
            self.names.want((space, owner.name.clone()), id);
            moved.names.insert((space, owner.name.clone()));
        }
        for (network, _) in &old_lans {
            self.lans.forgo(network, id);
            moved.lans.insert(*network);
        }
        for (network, _) in &lans {
            self.lans.want(*network, id);
            moved.lans.insert(*network);
        }
        for (label, number) in self.addresses.claim(id, claims, &mut moved.addresses) {
            self.faults.remove(&Concern::Address(id, label, number));
        }
        self.replace_findings(Concern::App(id), findings);
        let Some(entry) = self.apps.get_mut(&id) else { return };
        entry.wanted = wanted;
        entry.lans = lans;
        entry.created_routed = created_routed;
        entry.declared_by = declared_by;
        entry.ever_declared |= is_declared;
        if contributions {
            self.forget_later(id);
        } else {
            entry.remember_numbers(&state);
        }
    }

    /// Sets when the numbers of an app that nothing names any more are forgotten.
    ///
    /// Of an app that was only ever registered they stay for as long as a tombstone: between the last registration of one
    /// deploy and the first of the next its names must not be NXDOMAIN, which Java caches for ten seconds.
    fn forget_later(&mut self, id: AppId) {
        let Some(entry) = self.apps.get_mut(&id) else { return };
        if entry.ever_declared || self.tombstone.is_zero() {
            entry.numbers.clear();
        } else if !entry.numbers.is_empty() && entry.forget_at.is_none() {
            let at = self.now.monotonic.saturating_add(self.tombstone);
            entry.forget_at = Some(at);
            self.deadlines.set(at, Deadline::Forget(id));
        }
    }

    /// The app spec that declares an app: the one that did, else the first by path.
    fn spec_in_force<'a>(&self, entry: &'a AppEntry) -> Option<&'a Contribution> {
        let mut specs = entry.contributions.iter().filter(
            |contribution| matches!(self.document(contribution), Some(Document::App(app)) if app.role == Role::Spec),
        );
        let served = specs.clone().find(|contribution| entry.declared_by.as_ref() == Some(&contribution.file));
        served.or_else(|| specs.next())
    }

    fn document(&self, contribution: &Contribution) -> Option<&Document> {
        self.files.get(&contribution.file)?.documents.get(contribution.document)
    }

    /// Collects what an app's documents say, the spec in force first.
    fn gather<'a>(&'a self, entry: &'a AppEntry) -> Gathered<'a> {
        let mut gathered = Gathered::default();
        let in_force = self.spec_in_force(entry);
        let rest = entry.contributions.iter().filter(|contribution| Some(*contribution) != in_force);
        for contribution in in_force.into_iter().chain(rest) {
            match self.document(contribution) {
                Some(Document::App(app)) if app.role == Role::Spec && Some(contribution) != in_force => {
                    let source = Source { file: Arc::clone(&contribution.file), place: app.app.place };
                    let holding = gathered.declared.as_ref().map(ToString::to_string).unwrap_or_default();
                    gathered.findings.faults.push(source.fault(
                        "name",
                        format!("the app {} is declared already ({holding})", entry.label),
                        format!("rename it, or begin this document with `app: {}` if it adds to that app", entry.label),
                    ));
                }
                Some(Document::App(app)) => {
                    gathered.declare(contribution, app);
                    for (index, instance) in app.instances.iter().enumerate() {
                        self.register(&mut gathered, entry, contribution, index, instance);
                    }
                }
                Some(Document::Topology(apps)) => {
                    let Some(app) = apps.get(contribution.part) else { continue };
                    gathered.declare_topology(contribution, app);
                    for (index, instance) in app.instances.iter().enumerate() {
                        self.register(&mut gathered, entry, contribution, index, instance);
                    }
                }
                Some(Document::Space(_)) | None => {}
            }
        }
        gathered
    }

    /// Takes a registration if it is allowed to be and newer than what is there.
    fn register<'a>(
        &'a self,
        gathered: &mut Gathered<'a>,
        entry: &AppEntry,
        contribution: &Contribution,
        index: usize,
        instance: &'a At<InstanceSpec>,
    ) {
        let source = Source { file: Arc::clone(&contribution.file), place: instance.place };
        let spec = &instance.value;
        if let Some(fault) = self.space(entry.space).and_then(|space| misplaced(space, spec, &source)) {
            gathered.findings.faults.push(fault);
            return;
        }
        let Some(file) = self.files.get(&contribution.file) else { return };
        let newness = Newness {
            batch: file.seen,
            modified: file.modified,
            file: Arc::clone(&contribution.file),
            place: (contribution.document, contribution.part, index),
        };
        let expired = spec.lease.and_then(|lease: Duration| file.lapsed.get(&lease)).copied();
        let new = Registered { spec, source, newness, expired };
        let key = (&spec.component, spec.number);
        // The newer replaces the older, but one whose lease ran out replaces nobody.
        let strength = |registered: &Registered<'_>| (registered.expired.is_none(), registered.newness.clone());
        let replaces = gathered.instances.get(&key).is_none_or(|old| strength(&new) > strength(old));
        if replaces {
            gathered.instances.insert(key, new);
        }
    }

    fn assemble(
        &self,
        id: AppId,
        entry: &AppEntry,
        mut gathered: Gathered<'_>,
        space: Option<&SpaceState>,
    ) -> (AppState, Findings) {
        let internal_routing = internal_routing(entry, &mut gathered, space);
        let mut components = components_of(&gathered);
        let has_lists = gathered.has_lists();
        for ((label, number), registered) in &gathered.instances {
            let component = components
                .entry((*label).clone())
                .or_insert_with(|| ComponentState::undeclared(&gathered, label, has_lists));
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
                    addresses: registered.spec.addresses.clone(),
                    ports: registered.spec.ports.clone(),
                    source: Some(registered.source.clone()),
                },
            );
        }
        for (label, numbers) in &entry.numbers {
            let component = components
                .entry(label.clone())
                .or_insert_with(|| ComponentState::undeclared(&gathered, label, has_lists));
            for number in numbers {
                component.instances.entry(*number).or_insert_with(InstanceState::unregistered);
            }
        }
        for component in components.values_mut() {
            let declared = component.quantity.unwrap_or(0).min(u32::try_from(INSTANCES_MAX).unwrap_or(u32::MAX));
            for number in 1..=declared {
                component.instances.entry(number).or_insert_with(InstanceState::unregistered);
            }
        }
        let web = web_component(&mut gathered, &components);
        let audience = match &gathered.discovery {
            Some((audience, _)) => *audience,
            None if has_lists => Audience::App,
            None => Audience::Space,
        };
        let holds = |owner: &&OwnerState| self.names.holder(&(entry.space, owner.name.clone())) == Some(id);
        if let Some(space) = space {
            report_misplaced_names(&mut gathered, space);
        }
        let state = AppState {
            id,
            space: entry.space,
            label: entry.label.clone(),
            declared: gathered.declared.clone(),
            internal_routing,
            internal_routing_source: gathered.internal_routing.as_ref().map(|(_, source)| source.clone()),
            audience,
            audience_source: gathered.discovery.as_ref().map(|(_, source)| source.clone()),
            archived: gathered.archive.as_ref().filter(|(archive, _)| *archive).map(|(_, source)| source.clone()),
            web,
            owners: entry.wanted.iter().filter(holds).cloned().collect(),
            components,
        };
        (state, gathered.findings)
    }

    /// What an app's registrations in force claim.
    fn address_claims(&self, entry: &AppEntry, state: &AppState) -> BTreeMap<(Label, u32), Claim> {
        if state.archived.is_some() {
            return BTreeMap::new();
        }
        let gathered = self.gather(entry);
        let in_force = gathered.instances.into_iter().filter(|(_, registered)| registered.standing().is_there());
        in_force
            .filter(|((label, number), _)| {
                state.components.get(*label).is_some_and(|found| found.instances.contains_key(number))
            })
            .map(|((label, number), registered)| {
                let sharing = if registered.spec.shared_address { Sharing::Shared } else { Sharing::Sole };
                let claim =
                    Claim { addresses: registered.spec.addresses.clone(), newness: registered.newness, sharing };
                ((label.clone(), number), claim)
            })
            .collect()
    }
}

impl AppEntry {
    /// Remembers every registered number, so that its name stays a node.
    fn remember_numbers(&mut self, state: &AppState) {
        for (label, component) in &state.components {
            let registered =
                component.instances.iter().filter(|(_, instance)| instance.source.is_some()).map(|(number, _)| *number);
            let mut registered = registered.peekable();
            if registered.peek().is_none() {
                continue;
            }
            let numbers = self.numbers.entry(label.clone()).or_default();
            numbers.extend(registered);
            while numbers.len() > NUMBERS_MAX {
                numbers.pop_first();
            }
        }
    }
}

impl Registered<'_> {
    const fn standing(&self) -> Standing {
        match (self.expired, self.spec.state) {
            (Some(at), _) => Standing::Expired(at),
            (None, State::Up) => Standing::Up,
            (None, State::Starting) => Standing::Starting,
            (None, State::Draining) => Standing::Draining,
            (None, State::Down) => Standing::Down,
        }
    }
}

impl InstanceState {
    const fn unregistered() -> Self {
        Self { standing: Standing::Unregistered, addresses: Vec::new(), ports: Vec::new(), source: None }
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

impl<'a> Gathered<'a> {
    /// Takes what a document says of settings and components.
    fn declare(&mut self, contribution: &Contribution, app: &'a AppSpec) {
        let source = |place| Source { file: Arc::clone(&contribution.file), place };
        let settings = &app.settings;
        let findings = &mut self.findings;
        if let Some(At { value, place }) = &settings.internal_routing {
            prefer(&mut self.internal_routing, (*value, source(*place)), |a, b| a == b, "internal_routing", findings);
        }
        if let Some(At { value, place }) = &settings.hostnames {
            prefer(&mut self.hostnames, (value, source(*place)), |a, b| same(a, b), "hostnames", findings);
        }
        if let Some(At { value, place }) = &settings.domains {
            prefer(&mut self.domains, (value, source(*place)), |a, b| same(a, b), "domains", findings);
        }
        if let Some(At { value, place }) = &settings.web {
            prefer(&mut self.web, (value, source(*place)), |a, b| a == b, "web", findings);
        }
        if let Some(At { value, place }) = &settings.lan {
            prefer(&mut self.lan, (value, source(*place)), |a, b| same(a, b), "lan", findings);
        }
        if let Some(At { value, place }) = &settings.discovery {
            prefer(&mut self.discovery, (*value, source(*place)), |a, b| a == b, "discovery", findings);
        }
        if let Some(At { value, place }) = &settings.archive {
            prefer(&mut self.archive, (*value, source(*place)), |a, b| a == b, "maintenance.archive", findings);
        }
        for component in &app.components {
            self.declare_component(component, source(component.name.place));
        }
        let declares = app.role == Role::Spec || !app.components.is_empty() || !is_silent(settings);
        if declares && self.declared.is_none() {
            self.declared = Some(source(app.app.place));
        }
    }

    /// A `formation` adds a quantity to a component of the spec; the spec's kind and ports hold.
    fn declare_component(&mut self, component: &'a ComponentSpec, source: Source) {
        let Some((known, first)) = self.components.get_mut(&component.name.value) else {
            self.components.insert(&component.name.value, (component.clone(), source));
            return;
        };
        match (known.quantity, component.quantity) {
            (Some(one), Some(other)) if one != other => self.findings.faults.push(source.fault(
                "quantity",
                format!("{} has the quantity {one} already ({first})", component.name.value),
                "write it in one place".to_owned(),
            )),
            (None, other) => known.quantity = other,
            _ => {}
        }
        if known.kind == ComponentKind::Process {
            let quantity = known.quantity;
            *known = ComponentSpec { quantity, ..component.clone() };
        }
    }

    fn declare_topology(&mut self, contribution: &Contribution, app: &'a TopologyApp) {
        let source = |place| Source { file: Arc::clone(&contribution.file), place };
        for domain in &app.domains {
            self.topology_domains.push((&domain.value, source(domain.place)));
        }
        for process in &app.processes {
            if !self.components.contains_key(&process.value) {
                let component = ComponentSpec {
                    name: process.clone(),
                    kind: ComponentKind::Process,
                    http_port: None,
                    internal_ports: Vec::new(),
                    quantity: None,
                    health_check: None,
                };
                self.components.insert(&process.value, (component, source(process.place)));
            }
        }
        if self.declared.is_none() {
            self.declared = Some(source(app.place));
        }
    }

    /// Whether a spec lists the app's components, as DigitalOcean's do.
    fn has_lists(&self) -> bool {
        self.components.values().any(|(component, _)| component.kind != ComponentKind::Process)
    }
}

/// The component that is the web component by its name alone.
const WEB: &[u8] = b"web";

fn is_silent(settings: &crate::spec::Settings) -> bool {
    *settings == crate::spec::Settings::default()
}

/// Keeps what was said first; whoever says otherwise is at fault.
fn prefer<T>(
    slot: &mut Option<Said<T>>,
    said: Said<T>,
    same: impl Fn(&T, &T) -> bool,
    field: &str,
    findings: &mut Findings,
) {
    match slot {
        None => *slot = Some(said),
        Some((first, _)) if same(first, &said.0) => {}
        Some((_, source)) => findings.faults.push(said.1.fault(
            field,
            format!("it is set to another value already ({source})"),
            "write it in one place; the first holds".to_owned(),
        )),
    }
}

/// Whether two lists say the same, wherever they say it.
fn same<T: PartialEq>(one: &[At<T>], other: &[At<T>]) -> bool {
    one.iter().map(|at| &at.value).eq(other.iter().map(|at| &at.value))
}

/// Whether the app is internally routed: as it was created, whatever is written since.
fn internal_routing(entry: &AppEntry, gathered: &mut Gathered<'_>, space: Option<&SpaceState>) -> bool {
    if gathered.declared.is_none() {
        return false;
    }
    let said = gathered.internal_routing.as_ref().map(|(value, source)| (*value, source.clone()));
    match (entry.created_routed, said) {
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

fn components_of(gathered: &Gathered<'_>) -> BTreeMap<Label, ComponentState> {
    let state = |(label, (spec, source)): (&&Label, &(ComponentSpec, Source))| {
        let has_bare_name = match spec.kind {
            ComponentKind::Service => true,
            ComponentKind::Process => label.octets() == WEB,
            _ => false,
        };
        ((*label).clone(), ComponentState::declared(spec, source, has_bare_name))
    };
    gathered.components.iter().map(state).collect()
}

/// The component that gates the app's hostnames (design §4.2).
fn web_component(gathered: &mut Gathered<'_>, components: &BTreeMap<Label, ComponentState>) -> Option<Label> {
    let routable = |label: &Label| components.get(label).is_some_and(ComponentState::is_routable);
    if let Some(web) = Label::from_octets(WEB).ok().filter(routable) {
        return Some(web);
    }
    if let Some((named, source)) = &gathered.web {
        if routable(named) {
            return Some((*named).clone());
        }
        if gathered.has_lists() {
            gathered.findings.faults.push(source.fault(
                "web",
                format!("the app has no service called {named}"),
                "name one of its `services`".to_owned(),
            ));
        }
        return None;
    }
    let mut with_http = components
        .iter()
        .filter(|(_, component)| component.kind == Some(ComponentKind::Service) && component.http_port.is_some());
    match (with_http.next(), with_http.next()) {
        (Some((label, _)), None) => Some(label.clone()),
        _ => None,
    }
}

/// The names of an app that is internally routed, each once.
fn names_of(entry: &AppEntry, gathered: &Gathered<'_>, space: Option<&SpaceState>) -> Vec<OwnerState> {
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
    owners
}

fn at<T>(list: &Source, item: &At<T>) -> Source {
    Source { file: Arc::clone(&list.file), place: item.place }
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

fn report_misplaced_names(gathered: &mut Gathered<'_>, space: &SpaceState) {
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

fn wanted_lans(gathered: &Gathered<'_>) -> Vec<(IpNet, Source)> {
    let Some((networks, source)) = &gathered.lan else { return Vec::new() };
    let mut seen = BTreeSet::new();
    networks
        .iter()
        .filter(|network| seen.insert(network.value))
        .map(|network| (network.value, at(source, network)))
        .collect()
}

/// The fault of a registration whose address lies outside its space.
fn misplaced(space: &SpaceState, instance: &InstanceSpec, source: &Source) -> Option<FileFault> {
    let within =
        |networks: &[At<IpNet>], address: &IpAddr| networks.iter().any(|network| network.value.contains(address));
    let allowed = if space.spec.instances.is_empty() { &space.spec.cidrs } else { &space.spec.instances };
    let address = instance.addresses.iter().find(|address| !within(allowed, address))?;
    let field = if space.spec.instances.is_empty() { "cidr" } else { "instances" };
    let networks: Vec<String> = allowed.iter().map(|network| network.value.to_string()).collect();
    Some(source.fault(
        "address",
        format!(
            "{address} lies outside the `{field}` of the space {} ({})",
            space.spec.name.value,
            networks.join(", ")
        ),
        format!("register the address that the instance has in the space, or widen `{field}`"),
    ))
}
