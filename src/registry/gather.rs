//! Everything that an app's documents say of it, the first to say each thing (design §2.2 to §2.4).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::addresses::Newness;
use super::state::Standing;
use super::{AppEntry, AppId, Contribution, File, FileFault, Findings, Registry, Source, SpaceState};
use crate::name::{Label, Name};
use crate::spec::{
    AppSpec, At, Audience, ComponentKind, ComponentSpec, Document, DomainSpec, InstanceSpec, Role, State, TopologyApp,
};

/// A value and where it was said.
pub(super) type Said<T> = (T, Source);

/// The first to say each thing, over all documents of an app.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    /// The app spec that declares it, if one does.
    pub(super) in_force: Option<&'a Contribution>,
    pub(super) declared: Option<Source>,
    /// Whether a document declares it that could have said `internal_routing`, as a topology cannot.
    pub(super) is_created: bool,
    pub(super) internal_routing: Option<Said<bool>>,
    pub(super) hostnames: Option<Said<&'a [At<Name>]>>,
    pub(super) domains: Option<Said<&'a [At<DomainSpec>]>>,
    pub(super) web: Option<Said<&'a Label>>,
    pub(super) lan: Option<Said<&'a [At<IpNet>]>>,
    pub(super) discovery: Option<Said<Audience>>,
    pub(super) archive: Option<Said<bool>>,
    pub(super) components: BTreeMap<&'a Label, (ComponentSpec, Source)>,
    pub(super) topology_domains: Vec<(&'a Name, Source)>,
    pub(super) instances: BTreeMap<(&'a Label, u32), Registered<'a>>,
    pub(super) findings: Findings,
}

/// A registration in force.
pub(super) struct Registered<'a> {
    pub(super) spec: &'a InstanceSpec,
    pub(super) source: Source,
    pub(super) newness: Newness,
    pub(super) expired: Option<u64>,
}

/// A document that says something of an app, unpacked.
pub(super) struct Contributed<'a> {
    contribution: &'a Contribution,
    file: &'a File,
    document: Cow<'a, Document>,
}

impl Registry {
    /// Every document that says something of an app.
    pub(super) fn contributed<'a>(&'a self, entry: &'a AppEntry) -> Vec<Contributed<'a>> {
        let contributed = entry.contributions.iter().filter_map(|contribution| {
            let file = self.files.get(&contribution.file)?;
            let document = file.documents.at(usize::try_from(contribution.document).ok()?)?;
            Some(Contributed { contribution, file, document })
        });
        contributed.collect()
    }
}

impl Registry {
    /// The app spec that declares an app: the one that did, else the first by path.
    fn spec_in_force<'a>(entry: &AppEntry, contributed: &'a [Contributed<'_>]) -> Option<&'a Contribution> {
        let mut first = None;
        for Contributed { contribution, document, .. } in contributed {
            let contribution = *contribution;
            if !matches!(&**document, Document::App(app) if app.role == Role::Spec) {
                continue;
            }
            if entry.declared_by() == Some(&contribution.file) {
                return Some(contribution);
            }
            first = first.or(Some(contribution));
        }
        first
    }

    /// Collects what an app's documents say, the spec in force first.
    pub(super) fn gather<'a>(&'a self, entry: &'a AppEntry, contributed: &'a [Contributed<'a>]) -> Gathered<'a> {
        let in_force = Self::spec_in_force(entry, contributed);
        let mut gathered = Gathered { in_force, ..Gathered::default() };
        let is_in_force = |found: &&Contributed<'_>| Some(found.contribution) == in_force;
        let first = contributed.iter().filter(is_in_force);
        let rest = contributed.iter().filter(|found| !is_in_force(found));
        for Contributed { contribution, file, document } in first.chain(rest) {
            let contribution = *contribution;
            match &**document {
                Document::App(app) if app.role == Role::Spec && Some(contribution) != in_force => {
                    let source = Source { file: Arc::clone(&contribution.file), place: app.app.place };
                    let holding = gathered.declared.as_ref().map(ToString::to_string).unwrap_or_default();
                    gathered.findings.faults.push(source.fault(
                        "name",
                        format!("the app {} is declared already ({holding})", entry.label),
                        format!("rename it, or begin this document with `app: {}` if it adds to that app", entry.label),
                    ));
                }
                Document::App(app) => {
                    gathered.declare(contribution, app);
                    for (index, instance) in app.instances.iter().enumerate() {
                        self.register(&mut gathered, entry, (contribution, file), index, instance);
                    }
                }
                Document::Topology(apps) => {
                    let part = usize::try_from(contribution.part).unwrap_or(usize::MAX);
                    let Some(app) = apps.get(part) else { continue };
                    gathered.declare_topology(contribution, app);
                    for (index, instance) in app.instances.iter().enumerate() {
                        self.register(&mut gathered, entry, (contribution, file), index, instance);
                    }
                }
                Document::Space(_) | Document::BrokenSpace | Document::Unread => {}
            }
        }
        gathered
    }

    /// How new each registration in force of an app is.
    pub(super) fn newness_of(&self, app: AppId) -> BTreeMap<(Label, u32), Newness> {
        let Some(entry) = self.apps.get(&app) else { return BTreeMap::new() };
        let contributed = self.contributed(entry);
        let instances = self.gather(entry, &contributed).instances.into_iter();
        instances.map(|((label, number), registered)| ((label.clone(), number), registered.newness)).collect()
    }

    /// Takes a registration if it is allowed to be and newer than what is there.
    fn register<'a>(
        &'a self,
        gathered: &mut Gathered<'a>,
        entry: &AppEntry,
        (contribution, file): (&Contribution, &File),
        index: usize,
        instance: &'a At<InstanceSpec>,
    ) {
        let source = Source { file: Arc::clone(&contribution.file), place: instance.place };
        let spec = &instance.value;
        if let Some(fault) = self.space(entry.space).and_then(|space| misplaced(space, spec, &source)) {
            gathered.findings.faults.push(fault);
            return;
        }
        let newness = Newness {
            batch: file.seen,
            modified: file.modified,
            file: Arc::clone(&contribution.file),
            place: [contribution.document, contribution.part, u32::try_from(index).unwrap_or(u32::MAX)],
        };
        let lapsed = |lease: Duration| file.leases.as_ref()?.lapsed.get(&lease).copied();
        let expired = spec.lease.and_then(lapsed);
        let new = Registered { spec, source, newness, expired };
        let key = (&spec.component, spec.number);
        // The newer replaces the older, but one whose lease ran out replaces nobody.
        let strength = |registered: &Registered<'_>| (registered.expired.is_none(), registered.newness.clone());
        let replaces = gathered.instances.get(&key).is_none_or(|old| strength(&new) > strength(old));
        if replaces {
            gathered.instances.insert(key, new);
        }
    }
}

impl Registered<'_> {
    pub(super) const fn standing(&self) -> Standing {
        match (self.expired, self.spec.state) {
            (Some(at), _) => Standing::Expired(at),
            (None, State::Up) => Standing::Up,
            (None, State::Starting) => Standing::Starting,
            (None, State::Draining) => Standing::Draining,
            (None, State::Down) => Standing::Down,
        }
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
        self.is_created |= declares;
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
    pub(super) fn has_lists(&self) -> bool {
        self.components.values().any(|(component, _)| component.kind != ComponentKind::Process)
    }
}

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

pub(super) fn wanted_lans(gathered: &Gathered<'_>) -> Vec<(IpNet, Source)> {
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

pub(super) fn at<T>(list: &Source, item: &At<T>) -> Source {
    Source { file: Arc::clone(&list.file), place: item.place }
}
