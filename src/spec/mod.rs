//! Text → what may be *written* in the spec directory, typed; all faults of a file at once, each with place and remedy.
//!
//! Opens no file and knows no path: the caller hands over octets. What a document says is checked here as far as the
//! document alone can tell; whether it fits with the other documents is the registry's to say.
//!
//! The shapes are looser than the vendors' schemas because real files are (design §2.2): a list may be one mapping, or
//! null; enums come in any case; unknown keys are warnings. The types below are what is left after that: strict.

mod app;
mod block;
mod component;
mod document;
mod documents;
mod names;
mod network;
mod quick;
mod reader;
mod registration;
mod report;
mod space;
#[cfg(test)]
mod tests;
mod text;
mod topology;
mod tree;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

pub use self::documents::{Documents, Head};
use crate::name::{Label, Name};

/// The most octets of a file that holds an app spec or a space: a hundred times a large one.
pub const SPEC_MAX: usize = 256 * 1024;
/// The most octets of any file: some forty thousand registrations.
pub const REGISTRATION_MAX: usize = 4 * 1024 * 1024;

/// Reads a file.
///
/// `stem` is the file's name without its extension: what an app spec without a `name` is called. Never panics, and
/// takes bounded time and memory, whatever the octets. A plain registration in JSON is read straight into its type;
/// everything else goes through a located tree, which plain YAML has a fast path to.
#[must_use]
pub fn read(octets: &[u8], format: Format, stem: &str) -> Reading {
    document::read(octets, format, stem)
}

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a file: the place of what concerns the file as a whole.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// What is wrong at a place of a file, and what to do about it. A warning has the same shape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The path of keys to it, as `services[0].name`; empty for the document as a whole.
    pub field: String,
    /// What is wrong, a sentence without capital or full stop.
    pub fault: String,
    /// What to do, in the same form.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.fault, self.remedy)
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.yaml` or `.yml`.
    Yaml,
    /// `.json`.
    Json,
}

/// All that reading one file gives. With any fault the documents are not to be used as they are (design §2: the file is the
/// unit of acceptance): see [`remains`](Self::remains).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The documents, in the order of the file.
    pub documents: Vec<Document>,
    /// Every fault, by place.
    pub faults: Vec<Fault>,
    /// What is accepted but worth a look, by place.
    pub warnings: Vec<Fault>,
}

impl Reading {
    /// What there is to know of a file at fault of which no version was ever good: whether it is to be a space.
    ///
    /// The default space exists only when there is no space document at all (design §2.1), not even a broken one: otherwise one
    /// mistake at a cold start would serve every app with the addresses of no router, to callers of no `cidr`.
    #[must_use]
    pub fn remains(&self) -> Vec<Document> {
        let is_space = |document: &Document| matches!(document, Document::Space(_) | Document::BrokenSpace);
        if self.documents.iter().any(is_space) { vec![Document::BrokenSpace] } else { Vec::new() }
    }
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A space (design §2.1).
    Space(SpaceSpec),
    /// A space document with faults, in a file that has them: its directory is a space, and nothing else is known of it.
    BrokenSpace,
    /// What stands in a file that could never be read: anything, perhaps a space.
    Unread,
    /// An app spec, settings of an app, or registrations (design §2.2, §2.3).
    App(AppSpec),
    /// What `heroku spaces:topology --json` prints (design §2.4).
    Topology(Vec<TopologyApp>),
}

/// A space (design §2.1), defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceSpec {
    /// Its name.
    pub name: At<String>,
    /// Where its callers and instances are; masked, private, at least one.
    pub cidrs: Vec<At<IpNet>>,
    /// Where instance addresses must lie, inside `cidrs`; empty means anywhere in `cidrs`.
    pub instances: Vec<At<IpNet>>,
    /// What app hostnames resolve to; empty means the web instances themselves.
    pub router: Vec<At<IpAddr>>,
    /// Whether its apps are internally routed unless they say otherwise.
    pub internal_routing: bool,
    /// The suffixes of app hostnames, at least one.
    pub app_domains: Vec<At<AppDomain>>,
    /// The suffixes of discovery names, the canonical one first; at least one.
    pub discovery_domains: Vec<At<Name>>,
    /// Networks that may ask, besides the space itself.
    pub peers: Vec<At<Peer>>,
    /// The TTL of answers, seconds, 1 to 3600.
    pub ttl: u32,
    /// The TTL of negative answers, seconds, 1 to `ttl`.
    pub negative_ttl: u32,
    /// The name servers; empty means `localhost.`.
    pub ns: Vec<At<NameServer>>,
}

/// A suffix of app hostnames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDomain {
    /// The suffix.
    pub name: Name,
    /// How much of it is ours.
    pub own: Own,
}

/// How much of a suffix is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Only the names declared; the rest is foreign.
    Overlay,
    /// All of it.
    Exclusive,
}

/// A network that may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in messages.
    pub name: String,
    /// Its addresses, masked.
    pub cidr: IpNet,
}

/// A name server of a space's zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: Name,
    /// Its addresses; may be empty.
    pub addresses: Vec<IpAddr>,
}

/// What one document says of one app: an app spec, settings, registrations, or these together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// Which app.
    pub app: At<Label>,
    /// Whether the document is an app spec, or adds to an app by `app:`.
    pub role: Role,
    /// Its components: of an app spec's lists, and of `formation`.
    pub components: Vec<ComponentSpec>,
    /// Its settings.
    pub settings: Settings,
    /// Its registrations.
    pub instances: Vec<At<InstanceSpec>>,
}

/// What a document is to its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It begins with `name:` and declares the app; two of these for one app are in conflict.
    Spec,
    /// It begins with `app:`; it declares the app when it has any setting or component.
    Addition,
}

/// The settings of an app, each absent where the document is silent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whether its hostnames and domains are ours.
    pub internal_routing: Option<At<bool>>,
    /// Its hostnames; absent means `<app>.<app_domain>` for every app domain.
    pub hostnames: Option<At<Vec<At<Name>>>>,
    /// Its custom domains.
    pub domains: Option<At<Vec<At<DomainSpec>>>>,
    /// The web component, where none is named `web`.
    pub web: Option<At<Label>>,
    /// Whose callers are on the app's LAN besides its instances.
    pub lan: Option<At<Vec<At<IpNet>>>>,
    /// Who sees its discovery names.
    pub discovery: Option<At<Audience>>,
    /// Whether the app is archived: it keeps its names and has no addresses.
    pub archive: Option<At<bool>>,
}

/// A custom domain of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// The domain, without `*.`.
    pub domain: Name,
    /// Whether every name below it is meant as well.
    pub wildcard: bool,
    /// Whether the domain itself is meant; false where only `*.domain` was written.
    pub itself: bool,
    /// Its DNS target.
    pub cname: Option<Name>,
}

/// Who sees an app's discovery names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every caller of the space, and its peers.
    Space,
    /// Callers on the app's LAN only.
    App,
}

/// A component as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSpec {
    /// Its name.
    pub name: At<Label>,
    /// What it is.
    pub kind: ComponentKind,
    /// The port of its public HTTP, the vendor's default (8080) filled in; absent for an internal-only service and for
    /// everything that is not a service.
    pub http_port: Option<u16>,
    /// Its further ports, without duplicates.
    pub internal_ports: Vec<u16>,
    /// How many instances are declared; absent where the document is silent.
    pub quantity: Option<u32>,
    /// Its readiness check.
    pub health_check: Option<HealthCheck>,
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComponentKind {
    /// DigitalOcean: the only kind with a bare name.
    Service,
    /// DigitalOcean.
    Worker,
    /// DigitalOcean.
    Job,
    /// DigitalOcean.
    StaticSite,
    /// DigitalOcean.
    Function,
    /// DigitalOcean.
    Database,
    /// A Heroku process type; the one called `web` has a bare name.
    Process,
}

/// A readiness check (DigitalOcean's `health_check`), the vendor's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for; absent means a TCP connect.
    pub http_path: Option<String>,
    /// The port; absent means the component's first.
    pub port: Option<u16>,
    /// Before the first check.
    pub initial_delay: Duration,
    /// Between checks.
    pub period: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Successes in a row that make an instance ready.
    pub success_threshold: u32,
    /// Failures in a row that make it unready.
    pub failure_threshold: u32,
}

/// One running instance, as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Which component.
    pub component: Label,
    /// Which of them, from 1.
    pub number: u32,
    /// Its addresses, without duplicates, at least one.
    pub addresses: Vec<IpAddr>,
    /// Its ports by name; `port: 8080` is `http`.
    pub ports: Vec<(Label, u16)>,
    /// Whether it takes traffic.
    pub state: State,
    /// How long the registration holds without renewal; absent means until the file goes. At least 5 s.
    pub lease: Option<Duration>,
    /// Whether other apps may register the same addresses.
    pub shared_address: bool,
}

/// What a registration says of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It takes traffic.
    Up,
    /// It is there, and not ready.
    Starting,
    /// It is there, and to be left alone.
    Draining,
    /// It is not there.
    Down,
}

/// One app of a Heroku space topology. Its name is for the registry to find: it depends on the space's suffixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyApp {
    /// Where it stands.
    pub place: Place,
    /// Its domains of every kind, a leading `*` label kept.
    pub domains: Vec<At<Name>>,
    /// The hostnames of its dynos, in whichever form they came.
    pub hostnames: Vec<At<Name>>,
    /// Its process types.
    pub processes: Vec<At<Label>>,
    /// Its dynos; `shared_address` is set.
    pub instances: Vec<At<InstanceSpec>>,
}
