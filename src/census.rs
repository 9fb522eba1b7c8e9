//! Tells when the views of many have collapsed into one: a NAT, a proxy or a published port hands us everybody's queries from one
//! address, and by their address we know callers.
//!
//! What is seen is a sample of queries ([`Census::see`]); what comes of it is a [`Finding`], a line for the log. No clock and no log here. Two things are signs, and
//! both only from an address that is no registered instance, because such a one is a single container and may ask what it likes:
//!
//! - it asks for a bare name that its LAN does not have, or has no LAN, and other apps of its space do have such a service: it speaks
//!   for one of theirs;
//! - it asks for the names of [`MANY`] apps or more.
//!
//! Counting names that do not exist was rejected (browsers probe with random labels), and so were queries of forwarders that are
//! trusted with Client Subnet (whoever passes here is a caller already). A host of the space that is no instance and looks at every app,
//! as monitoring does, is told of once a [`WINDOW`]: registering it, for an app of its own, ends that.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::name::{Label, NameBuffer};
use crate::zone::{App, AppIndex, Bare, Lan, NameEntry, Snapshot, SpaceIndex, View, key_of};

/// Names of so many apps from one address are a sign. A container calls a few others; what stands before a machine room calls them all.
pub const MANY: usize = 8;

/// How long apps are counted together, and how long an address is not told of again.
pub const WINDOW: Duration = Duration::from_secs(600);

/// Addresses that are followed at once; who comes later is not counted before the next window. About 100 octets each.
pub const SOURCES_MAX: usize = 4096;

/// Bare names whose apps are remembered in a window; finding them walks every app, so what is more is passed over.
pub const LABELS_MAX: usize = 64;

/// A bare name counts once it was asked for longer than this: a container that asks before it is registered is no sign.
pub const GRACE: Duration = Duration::from_secs(2);

/// A question, and who asked it.
#[derive(Debug)]
pub struct Question {
    source: IpAddr,
    qname: NameBuffer,
}

impl Question {
    /// Reads the first question's name out of a query; `None` where there is none. Allocates nothing.
    #[must_use]
    pub fn read(source: IpAddr, query: &[u8]) -> Option<Self> {
        let mut qname = NameBuffer::new();
        qname.read(query, HEADER).ok()?;
        Some(Self { source: source.to_canonical(), qname })
    }
}

/// Octets of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// What has been seen in a window.
#[derive(Debug, Default)]
pub struct Census {
    begun: Duration,
    sources: HashMap<IpAddr, Seen>,
    /// The apps of a space that have a service of this name: how many, and the first; as it was when it was first asked for.
    services: HashMap<(SpaceIndex, Label), (usize, AppIndex)>,
}

/// What an address has asked for.
#[derive(Debug, Default)]
struct Seen {
    /// At most [`MANY`].
    apps: Vec<AppIndex>,
    /// Since when it asks for bare names that only others have.
    others_since: Option<Duration>,
    told: bool,
}

/// A sign that an address stands for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The address.
    pub source: IpAddr,
    /// What it did.
    pub sign: Sign,
}

/// What an address did that one container would not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It asked for a bare name that only other apps have.
    OthersService {
        /// The name.
        service: Label,
        /// The app whose LAN it is on.
        lan: Option<Label>,
        /// An app that has it.
        app: Label,
        /// How many others have.
        others: usize,
    },
    /// It asked for names of so many apps, these among them.
    ManyApps(Vec<Label>),
}

impl Census {
    /// Sees a question, at a time on a clock that never goes back.
    pub fn see(&mut self, snapshot: &Snapshot, question: &Question, now: Duration) -> Option<Finding> {
        if now.saturating_sub(self.begun) >= WINDOW {
            *self = Self { begun: now, ..Self::default() };
        }
        let Question { source, qname } = question;
        let is_instance = snapshot.holder(key_of(*source)).is_some();
        if source.is_loopback() || is_instance || self.sources.get(source).is_some_and(|seen| seen.told) {
            return None;
        }
        let view = snapshot.view(*source)?;
        let sign = match asked_for(snapshot, view, qname) {
            Asked::App(app) => self.count(snapshot, *source, app)?,
            Asked::Service(label) => {
                let sign = self.others_service(snapshot, view, label)?;
                let since = *self.seen(*source)?.others_since.get_or_insert(now);
                (now.saturating_sub(since) >= GRACE).then_some(sign)?
            }
            Asked::Nothing => return None,
        };
        self.seen(*source)?.told = true;
        Some(Finding { source: *source, sign })
    }

    fn seen(&mut self, source: IpAddr) -> Option<&mut Seen> {
        let is_full = self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source);
        (!is_full).then(|| self.sources.entry(source).or_default())
    }

    fn count(&mut self, snapshot: &Snapshot, source: IpAddr, app: AppIndex) -> Option<Sign> {
        let seen = self.seen(source)?;
        if !seen.apps.contains(&app) {
            seen.apps.push(app);
        }
        if seen.apps.len() < MANY {
            return None;
        }
        let labels = seen.apps.iter().filter_map(|app| Some(snapshot.apps.at(*app)?.label.clone()));
        Some(Sign::ManyApps(labels.collect()))
    }

    fn others_service(&mut self, snapshot: &Snapshot, view: View, service: Label) -> Option<Sign> {
        let key = (view.space, service);
        if !self.services.contains_key(&key) {
            if self.services.len() >= LABELS_MAX {
                return None;
            }
            let with = apps_with(snapshot, view, &key.1);
            self.services.insert(key.clone(), with);
        }
        let (count, first) = *self.services.get(&key)?;
        let app = snapshot.apps.at(first).filter(|_| count > 0)?.label.clone();
        let lan = match view.lan {
            Lan::App(lan) => snapshot.apps.at(lan).map(|app| app.label.clone()),
            Lan::None | Lan::Ambiguous => None,
        };
        Some(Sign::OthersService { service: key.1, lan, app, others: count - 1 })
    }
}

/// What a name is of.
enum Asked {
    /// Of an app.
    App(AppIndex),
    /// A bare name that the caller's LAN does not have.
    Service(Label),
    /// None of these.
    Nothing,
}

fn asked_for(snapshot: &Snapshot, view: View, qname: &NameBuffer) -> Asked {
    let count = qname.label_count();
    if count == 1 {
        let own = match view.lan {
            Lan::App(app) => snapshot.apps.at(app).filter(|app| has_service(app, qname.label(0))).map(|_| app),
            Lan::None | Lan::Ambiguous => None,
        };
        return match (own, Label::from_octets(qname.label(0))) {
            (Some(app), _) => Asked::App(app),
            (None, Ok(label)) => Asked::Service(label),
            (None, Err(_)) => Asked::Nothing,
        };
    }
    if let Some(NameEntry::Owner { app, .. }) = snapshot.name_entry(view.space, qname.wire()) {
        return Asked::App(app);
    }
    let Some(space) = snapshot.space(view.space) else { return Asked::Nothing };
    let app = space.discovery.iter().find_map(|domain| {
        let label = qname.position_of(domain)?.checked_sub(1)?;
        Some(snapshot.app_named(view.space, qname.label(label))?.0)
    });
    app.map_or(Asked::Nothing, Asked::App)
}

fn has_service(app: &App, label: &[u8]) -> bool {
    app.component(label).is_some_and(|(_, component)| component.bare == Bare::Named)
}

/// How many apps of a space have a service of this name, and the first of them.
fn apps_with(snapshot: &Snapshot, view: View, label: &Label) -> (usize, AppIndex) {
    let mut with = snapshot.apps.iter().filter(|(_, app)| app.space == view.space && has_service(app, label.octets()));
    with.next().map_or((0, 0), |(first, _)| (1 + with.count(), first))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source;
        match &self.sign {
            Sign::OthersService { service, lan, app, others } => {
                write!(f, "{source} asks for `{service}`, ")?;
                match lan {
                    Some(lan) => write!(f, "which {lan}, whose LAN it is on, does not have, and {app}")?,
                    None => write!(f, "and is on no app's LAN; {app}")?,
                }
                match others {
                    0 => write!(f, " has")?,
                    1 => write!(f, " and another app have")?,
                    _ => write!(f, " and {others} other apps have")?,
                }
            }
            Sign::ManyApps(apps) => {
                write!(f, "{source}, which is no instance, asks for the names of many apps:")?;
                for (index, app) in apps.iter().enumerate() {
                    write!(f, "{} {app}", if index == 0 { "" } else { "," })?;
                }
            }
        }
        write!(
            f,
            "; if a NAT, a proxy or a published port stands before its callers, we see them all as one: have each ask us from its own \
             address, else register it or give its network to an app as `lan`"
        )
    }
}
