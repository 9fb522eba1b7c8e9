//! The documents of a file as they are kept: in few octets.
//!
//! A hundred thousand files are kept and a few are looked at with each change. As values, the document of one registration takes
//! some 600 octets in seven allocations; as octets in a form of our own, fifty in one. Reading it again takes less than
//! a microsecond. Keeping the file's text instead was weighed: reading that takes five times as long, YAML forty times, and it is longer.
//!
//! Only what comes in masses is packed: a few documents, all of apps. Spaces are few; a topology speaks of many apps, each of which
//! would have all of it read again; and so would the apps of a file of many documents.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::{
    AppSpec, At, Audience, ComponentKind, ComponentSpec, Document, DomainSpec, HealthCheck, InstanceSpec, Place, Role,
    Settings, State,
};
use crate::name::Label;
use crate::octets::{Reader, Writer};

/// The documents of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Each with its length before it.
    Packed(Box<[u8]>),
    /// Boxed once more: of two fat pointers one could not be told from the other without a third word, for each file.
    Whole(Box<Whole>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole(Box<[Document]>);

/// What the beginning of a document tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head<'d> {
    /// It speaks of this app.
    App(At<Label>),
    /// It is of another kind, and whole.
    Other(&'d Document),
}

/// The most documents of a file that are packed: finding one of them passes over those before it.
const PACKED_MAX: usize = 16;

impl Default for Documents {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<Document>> for Documents {
    fn from(documents: Vec<Document>) -> Self {
        let is_app = |document: &Document| matches!(document, Document::App(_));
        if documents.is_empty() || documents.len() > PACKED_MAX || !documents.iter().all(is_app) {
            return Self(Form::Whole(Box::new(Whole(documents.into()))));
        }
        let (mut packed, mut one) = (Writer::new(), Writer::new());
        for document in &documents {
            if let Document::App(app) = document {
                write_app(&mut one, app);
                packed.octets(&one.0);
                one.0.clear();
            }
        }
        // A copy has no room behind it; what was grown by doubling keeps it.
        Self(Form::Packed(packed.0.as_slice().into()))
    }
}

impl Documents {
    /// The document at a place in the file.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Cow<'_, Document>> {
        match &self.0 {
            Form::Packed(octets) => {
                let one = packed(octets).nth(index)?;
                Reader::whole(one, read_app).map(|app| Cow::Owned(Document::App(app)))
            }
            Form::Whole(whole) => whole.0.get(index).map(Cow::Borrowed),
        }
    }

    /// Every document.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, Document>> {
        (0..).map_while(|index| self.at(index))
    }

    /// What the beginning of each tells: cheaper than all of it.
    pub fn heads(&self) -> impl Iterator<Item = Head<'_>> {
        let (octets, whole): (&[u8], &[Document]) = match &self.0 {
            Form::Packed(octets) => (octets, &[]),
            Form::Whole(whole) => (&[], &whole.0),
        };
        let whole = whole.iter().map(|document| match document {
            Document::App(app) => Head::App(app.app.clone()),
            other => Head::Other(other),
        });
        packed(octets).filter_map(|one| read_head(&mut Reader(one)).map(Head::App)).chain(whole)
    }

    /// Those among them that are of no app.
    pub fn others(&self) -> impl Iterator<Item = &Document> {
        let whole: &[Document] = match &self.0 {
            Form::Packed(_) => &[],
            Form::Whole(whole) => &whole.0,
        };
        whole.iter().filter(|document| !matches!(document, Document::App(_)))
    }

    /// Whether one of them speaks of an app.
    #[must_use]
    pub fn has_apps(&self) -> bool {
        match &self.0 {
            Form::Packed(_) => true,
            Form::Whole(whole) => {
                whole.0.iter().any(|document| matches!(document, Document::App(_) | Document::Topology(_)))
            }
        }
    }

    /// The leases that are in it, each once.
    #[must_use]
    pub fn leases(&self) -> Vec<Duration> {
        // Nearly none has any: that is told without reading all of them.
        if let Form::Packed(octets) = &self.0
            && !packed(octets).any(|one| is_leased(&mut Reader(one)).unwrap_or(true))
        {
            return Vec::new();
        }
        // A dyno of a topology has no lease: it is there until the file says otherwise.
        let of = |document: &Document| match document {
            Document::App(app) => app.instances.iter().filter_map(|instance| instance.value.lease).collect(),
            _ => Vec::new(),
        };
        let mut leases: Vec<Duration> = self.iter().flat_map(|document| of(&document)).collect();
        leases.sort_unstable();
        leases.dedup();
        leases
    }
}

fn packed(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader(octets);
    std::iter::from_fn(move || reader.octets())
}

fn write_place(to: &mut Writer, place: Place) {
    to.number(place.line.into());
    to.number(place.column.into());
}

fn read_place(from: &mut Reader<'_>) -> Option<Place> {
    Some(Place { line: read_u32(from)?, column: read_u32(from)? })
}

fn read_u32(from: &mut Reader<'_>) -> Option<u32> {
    from.number()?.try_into().ok()
}

fn read_u16(from: &mut Reader<'_>) -> Option<u16> {
    from.number()?.try_into().ok()
}

fn write_at<T>(to: &mut Writer, at: &At<T>, write: impl FnOnce(&mut Writer, &T)) {
    write_place(to, at.place);
    write(to, &at.value);
}

fn read_at<'o, T>(from: &mut Reader<'o>, read: impl FnOnce(&mut Reader<'o>) -> Option<T>) -> Option<At<T>> {
    Some(At { place: read_place(from)?, value: read(from)? })
}

fn write_duration(to: &mut Writer, duration: Duration) {
    to.number(duration.as_secs());
    to.number(duration.subsec_nanos().into());
}

fn read_duration(from: &mut Reader<'_>) -> Option<Duration> {
    Duration::from_secs(from.number()?).checked_add(Duration::from_nanos(from.number()?))
}

fn write_app(to: &mut Writer, app: &AppSpec) {
    let AppSpec { app, role, components, settings, instances } = app;
    write_at(to, app, Writer::label);
    let is_silent = *settings == Settings::default();
    let is_leased = instances.iter().any(|instance| instance.value.lease.is_some());
    to.u8(u8::from(*role == Role::Addition) | u8::from(is_silent) << 1 | u8::from(is_leased) << 2);
    if !is_silent {
        write_settings(to, settings);
    }
    to.list(components, write_component);
    to.list(instances, |to, instance| write_at(to, instance, write_instance));
}

fn read_head(from: &mut Reader<'_>) -> Option<At<Label>> {
    read_at(from, Reader::label)
}

fn is_leased(from: &mut Reader<'_>) -> Option<bool> {
    read_head(from)?;
    Some(from.u8()? & 4 != 0)
}

fn read_app(from: &mut Reader<'_>) -> Option<AppSpec> {
    let app = read_head(from)?;
    let flags = from.u8()?;
    Some(AppSpec {
        app,
        role: if flags & 1 == 0 { Role::Spec } else { Role::Addition },
        settings: if flags & 2 == 0 { read_settings(from)? } else { Settings::default() },
        components: from.list(read_component)?,
        instances: from.list(|from| read_at(from, read_instance))?,
    })
}

fn write_settings(to: &mut Writer, settings: &Settings) {
    let Settings { internal_routing, hostnames, domains, web, lan, discovery, archive } = settings;
    let flag = |to: &mut Writer, value: &bool| to.flag(*value);
    to.option(internal_routing.as_ref(), |to, at| write_at(to, at, flag));
    to.option(hostnames.as_ref(), |to, at| {
        write_at(to, at, |to, names| to.list(names, |to, at| write_at(to, at, Writer::name)));
    });
    to.option(domains.as_ref(), |to, at| {
        write_at(to, at, |to, domains| to.list(domains, |to, at| write_at(to, at, write_domain)));
    });
    to.option(web.as_ref(), |to, at| write_at(to, at, Writer::label));
    to.option(lan.as_ref(), |to, at| {
        write_at(to, at, |to, lans| to.list(lans, |to, at| write_at(to, at, |to, lan| to.network(*lan))));
    });
    to.option(discovery.as_ref(), |to, at| write_at(to, at, |to, audience| to.flag(*audience == Audience::App)));
    to.option(archive.as_ref(), |to, at| write_at(to, at, flag));
}

fn read_settings(from: &mut Reader<'_>) -> Option<Settings> {
    let audience = |from: &mut Reader<'_>| from.flag().map(|lan| if lan { Audience::App } else { Audience::Space });
    Some(Settings {
        internal_routing: from.option(|from| read_at(from, Reader::flag))?,
        hostnames: from.option(|from| read_at(from, |from| from.list(|from| read_at(from, Reader::name))))?,
        domains: from.option(|from| read_at(from, |from| from.list(|from| read_at(from, read_domain))))?,
        web: from.option(|from| read_at(from, Reader::label))?,
        lan: from.option(|from| read_at(from, |from| from.list(|from| read_at(from, Reader::network))))?,
        discovery: from.option(|from| read_at(from, audience))?,
        archive: from.option(|from| read_at(from, Reader::flag))?,
    })
}

fn write_domain(to: &mut Writer, domain: &DomainSpec) {
    let DomainSpec { domain, wildcard, itself, cname } = domain;
    to.name(domain);
    to.flag(*wildcard);
    to.flag(*itself);
    to.option(cname.as_ref(), Writer::name);
}

fn read_domain(from: &mut Reader<'_>) -> Option<DomainSpec> {
    Some(DomainSpec {
        domain: from.name()?,
        wildcard: from.flag()?,
        itself: from.flag()?,
        cname: from.option(Reader::name)?,
    })
}

/// Kinds by the number that stands for each.
const KINDS: [ComponentKind; 7] = [
    ComponentKind::Service,
    ComponentKind::Worker,
    ComponentKind::Job,
    ComponentKind::StaticSite,
    ComponentKind::Function,
    ComponentKind::Database,
    ComponentKind::Process,
];

/// Its place in [`KINDS`]: a kind that is not there yet does not compile, and is not lost.
const fn number_of_kind(kind: ComponentKind) -> usize {
    match kind {
        ComponentKind::Service => 0,
        ComponentKind::Worker => 1,
        ComponentKind::Job => 2,
        ComponentKind::StaticSite => 3,
        ComponentKind::Function => 4,
        ComponentKind::Database => 5,
        ComponentKind::Process => 6,
    }
}

/// States, likewise.
const STATES: [State; 4] = [State::Up, State::Starting, State::Draining, State::Down];

const fn number_of_state(state: State) -> usize {
    match state {
        State::Up => 0,
        State::Starting => 1,
        State::Draining => 2,
        State::Down => 3,
    }
}

fn read_one_of<T: Copy>(from: &mut Reader<'_>, all: &[T]) -> Option<T> {
    all.get(from.count()?).copied()
}

fn write_component(to: &mut Writer, component: &ComponentSpec) {
    let ComponentSpec { name, kind, http_port, internal_ports, quantity, health_check } = component;
    write_at(to, name, Writer::label);
    to.count(number_of_kind(*kind));
    to.option(*http_port, |to, port| to.number(port.into()));
    to.list(internal_ports, |to, port| to.number((*port).into()));
    to.option(*quantity, |to, quantity| to.number(quantity.into()));
    to.option(health_check.as_ref(), write_check);
}

fn read_component(from: &mut Reader<'_>) -> Option<ComponentSpec> {
    Some(ComponentSpec {
        name: read_at(from, Reader::label)?,
        kind: read_one_of(from, &KINDS)?,
        http_port: from.option(read_u16)?,
        internal_ports: from.list(read_u16)?,
        quantity: from.option(read_u32)?,
        health_check: from.option(read_check)?,
    })
}

fn write_check(to: &mut Writer, check: &HealthCheck) {
    let HealthCheck { http_path, port, initial_delay, period, timeout, success_threshold, failure_threshold } = check;
    to.option(http_path.as_ref(), |to, path| to.text(path));
    to.option(*port, |to, port| to.number(port.into()));
    for duration in [initial_delay, period, timeout] {
        write_duration(to, *duration);
    }
    to.number((*success_threshold).into());
    to.number((*failure_threshold).into());
}

fn read_check(from: &mut Reader<'_>) -> Option<HealthCheck> {
    Some(HealthCheck {
        http_path: from.option(|from| from.text().map(str::to_owned))?,
        port: from.option(read_u16)?,
        initial_delay: read_duration(from)?,
        period: read_duration(from)?,
        timeout: read_duration(from)?,
        success_threshold: read_u32(from)?,
        failure_threshold: read_u32(from)?,
    })
}

fn write_instance(to: &mut Writer, instance: &InstanceSpec) {
    let InstanceSpec { component, number, addresses, ports, state, lease, shared_address } = instance;
    to.label(component);
    to.number((*number).into());
    to.list(addresses, |to, address: &IpAddr| to.ip(*address));
    to.list(ports, |to, (label, port)| {
        to.label(label);
        to.number((*port).into());
    });
    to.count(number_of_state(*state));
    to.option(*lease, write_duration);
    to.flag(*shared_address);
}

fn read_instance(from: &mut Reader<'_>) -> Option<InstanceSpec> {
    Some(InstanceSpec {
        component: from.label()?,
        number: read_u32(from)?,
        addresses: from.list(Reader::ip)?,
        ports: from.list(|from| Some((from.label()?, read_u16(from)?)))?,
        state: read_one_of(from, &STATES)?,
        lease: from.option(read_duration)?,
        shared_address: from.flag()?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt;

    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::name::Name;
    use crate::spec::{Format, read};

    const ALL: &str = "name: shop\ninternal_routing: true\nweb: api\ndiscovery: app\nlan: [172.28.5.0/24, fd00::/64]\n\
        hostnames: [shop.herokuapp.com]\nmaintenance: {archive: true}\n\
        domains: [{domain: api.example.com, wildcard: true, cname: whispering-willow-5678.herokudns.com}, \
        {domain: '*.example.org'}]\n\
        services:\n- name: api\n  http_port: 3000\n  internal_ports: [9090, 9091]\n  instance_count: 300\n  \
        health_check: {http_path: /healthz, port: 8081, period_seconds: 17, failure_threshold: 9}\n\
        - name: a-component-of-quite-a-length\n\
        workers: [{name: jobs}]\njobs: [{name: once}]\nstatic_sites: [{name: site}]\nfunctions: [{name: fn}]\n\
        databases: [{name: db}]\nformation: {web: {quantity: 2}, clock: {}}\n\
        ---\napp: shop\ninstances:\n- {component: api, number: 70000, addresses: [10.0.0.1, 'fd00::1'], \
        ports: {http: 8080, metrics: 65535}, state: draining, lease: 90s, shared_address: true}\n\
        - {component: jobs, number: 1, address: 10.0.0.2}\n";

    #[test]
    fn documents_are_two_words() {
        assert_eq!(size_of::<Documents>(), 16);
    }

    #[test]
    fn what_is_packed_is_what_was_written() {
        let reading = read(ALL.as_bytes(), Format::Yaml, "stem");
        assert_eq!(reading.faults, []);
        let kept = Documents::from(reading.documents.clone());
        assert!(matches!(&kept.0, Form::Packed(octets) if octets.len() < ALL.len()), "{kept:?}");
        assert_eq!(kept.iter().map(Cow::into_owned).collect::<Vec<_>>(), reading.documents);
        assert_eq!(kept.at(2), None);
        assert_eq!(kept.leases(), [Duration::from_secs(90)]);
        let heads: Vec<_> = kept.heads().collect();
        assert!(
            matches!(&*heads, [Head::App(one), Head::App(other)] if one.value == other.value && one.place != other.place)
        );
        assert_eq!(kept, Documents::from(reading.documents));
    }

    fn at<T: fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = At<T>> {
        (any::<u32>(), any::<u32>(), value)
            .prop_map(|(line, column, value)| At { place: Place { line, column }, value })
    }

    fn labels() -> impl Strategy<Value = Label> {
        prop::collection::vec(any::<u8>(), 1..=63).prop_map(|octets| Label::from_octets(&octets).unwrap())
    }

    fn names() -> impl Strategy<Value = Name> {
        prop_oneof![
            prop::collection::vec(labels(), 0..4).prop_filter_map("too long", |labels| Name::join(
                &labels,
                &Name::root()
            )
            .ok()),
            Just(Name::from_wire(&[&b"\x01a".repeat(127)[..], b"\0"].concat()).unwrap()),
        ]
    }

    fn list<T: fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(value, 0..3)
    }

    fn perhaps<T: fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
        prop::option::of(value)
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::MAX),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
        ]
    }

    fn networks() -> impl Strategy<Value = IpNet> {
        (any::<IpAddr>(), any::<u8>()).prop_map(|(address, length)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length % (most + 1)).unwrap()
        })
    }

    fn settings() -> impl Strategy<Value = Settings> {
        let domain = (names(), any::<bool>(), any::<bool>(), perhaps(names()))
            .prop_map(|(domain, wildcard, itself, cname)| DomainSpec { domain, wildcard, itself, cname });
        let audience = prop::sample::select(vec![Audience::Space, Audience::App]);
        (
            perhaps(at(any::<bool>())),
            perhaps(at(list(at(names())))),
            perhaps(at(list(at(domain)))),
            perhaps(at(labels())),
            perhaps(at(list(at(networks())))),
            perhaps(at(audience)),
            perhaps(at(any::<bool>())),
        )
            .prop_map(|(internal_routing, hostnames, domains, web, lan, discovery, archive)| Settings {
                internal_routing,
                hostnames,
                domains,
                web,
                lan,
                discovery,
                archive,
            })
    }

    fn components() -> impl Strategy<Value = ComponentSpec> {
        let numbers = (any::<u32>(), any::<u32>());
        let check = (perhaps(any::<String>()), perhaps(any::<u16>()), [durations(), durations(), durations()], numbers)
            .prop_map(|(http_path, port, [initial_delay, period, timeout], (success_threshold, failure_threshold))| {
                HealthCheck { http_path, port, initial_delay, period, timeout, success_threshold, failure_threshold }
            });
        let kind = prop::sample::select(KINDS.to_vec());
        (at(labels()), kind, perhaps(any::<u16>()), list(any::<u16>()), perhaps(any::<u32>()), perhaps(check)).prop_map(
            |(name, kind, http_port, internal_ports, quantity, health_check)| ComponentSpec {
                name,
                kind,
                http_port,
                internal_ports,
                quantity,
                health_check,
            },
        )
    }

    fn instances() -> impl Strategy<Value = InstanceSpec> {
        let state = prop::sample::select(STATES.to_vec());
        let (ports, flag) = (list((labels(), any::<u16>())), any::<bool>());
        (labels(), any::<u32>(), list(any::<IpAddr>()), ports, state, perhaps(durations()), flag).prop_map(
            |(component, number, addresses, ports, state, lease, shared_address)| InstanceSpec {
                component,
                number,
                addresses,
                ports,
                state,
                lease,
                shared_address,
            },
        )
    }

    fn apps() -> impl Strategy<Value = Document> {
        let role = prop::sample::select(vec![Role::Spec, Role::Addition]);
        let settings = prop_oneof![Just(Settings::default()), settings()];
        (at(labels()), role, list(components()), settings, list(at(instances()))).prop_map(
            |(app, role, components, settings, instances)| {
                Document::App(AppSpec { app, role, components, settings, instances })
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn any_documents_are_what_they_were_before_they_were_packed(documents in prop::collection::vec(apps(), 0..4)) {
            let kept = Documents::from(documents.clone());
            prop_assert_eq!(matches!(kept.0, Form::Packed(_)), !documents.is_empty());
            let heads: Vec<_> = documents
                .iter()
                .filter_map(|document| if let Document::App(app) = document { Some(Head::App(app.app.clone())) } else { None })
                .collect();
            prop_assert_eq!(kept.heads().collect::<Vec<_>>(), heads);
            let instances = documents.iter().filter_map(|document| {
                if let Document::App(app) = document { Some(&app.instances) } else { None }
            });
            let leases: BTreeSet<Duration> = instances.flatten().filter_map(|instance| instance.value.lease).collect();
            prop_assert_eq!(kept.leases(), Vec::from_iter(leases));
            prop_assert_eq!(kept.iter().map(Cow::into_owned).collect::<Vec<_>>(), documents);
        }
    }

    #[test]
    fn spaces_and_topologies_are_kept_whole_and_so_is_a_file_of_many() {
        let many = "app: shop\nweb: api\n---\n".repeat(PACKED_MAX + 1);
        for text in ["space: acme\ncidr: 10.0.0.0/8\n---\nname: shop\n", "apps: []\n", &many] {
            let reading = read(text.as_bytes(), Format::Yaml, "stem");
            let kept = Documents::from(reading.documents.clone());
            assert!(matches!(kept.0, Form::Whole(_)), "{text}");
            assert_eq!(kept.iter().map(Cow::into_owned).collect::<Vec<_>>(), reading.documents);
            assert_eq!(kept.heads().count(), reading.documents.len());
        }
    }
}
