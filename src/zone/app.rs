//! One app as it is served: everything that answering about it needs, in one immutable block.
//!
//! The names below `<app>.<discovery domain>` and the bare names are not stored one by one: they are a function of the
//! app's components, instances and ports, and [`super::find`] reads them off. So a change of an address makes one new block
//! and touches no table of names. A node per name was weighed (design §9) and costs about 40 octets a name and nine shards a
//! change. [`super::records`] enumerates every node there is, for whoever needs the list.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::SpaceIndex;
use super::addresses::AddressSet;
use crate::name::{Label, Name, same_label};

/// One app, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The space it is in.
    pub space: SpaceIndex,
    /// Its name.
    pub label: Label,
    /// Who sees its discovery names.
    pub audience: Audience,
    /// Whether its hostnames and domains answer, and with what.
    pub gate: Gate,
    /// Its hostnames, DNS targets and custom domains, those that it holds; empty unless it is internally routed.
    pub owners: Box<[Owner]>,
    /// Its components, by label.
    pub components: Box<[Component]>,
}

impl App {
    /// The component called `label`.
    #[must_use]
    pub fn component(&self, label: &[u8]) -> Option<(u16, &Component)> {
        let index = self.components.binary_search_by(|component| component.label.octets().cmp(label)).ok()?;
        Some((u16::try_from(index).ok()?, self.components.get(index)?))
    }

    /// How many of its names answer with addresses. SRV and PTR come and go with those, and are not counted.
    #[must_use]
    pub fn answering(&self) -> usize {
        let owners = if matches!(self.gate, Gate::Closed(_)) { 0 } else { self.owners.len() };
        let of_component = |component: &Component| {
            let names = if component.bare == Bare::Named { 2 } else { 1 };
            let there = component.instances.iter().filter(|instance| instance.state.is_there()).count();
            there + if component.up.is_empty() { 0 } else { names }
        };
        owners + self.components.iter().map(of_component).sum::<usize>()
    }
}

/// Who sees an app's discovery names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every caller of the space, and its peers.
    Space,
    /// Callers on the app's LAN.
    Lan,
}

/// Whether an app's hostnames answer (design §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// With the addresses of the space's router.
    Router,
    /// With the addresses of the instances of this component: the space has no router.
    Web(u16),
    /// As by [`Gate::Router`], though every instance of this component fails its checks.
    KeptRouter(u16),
    /// As by [`Gate::Web`], though every instance of the component fails its checks.
    KeptWeb(u16),
    /// With nothing, for this reason.
    Closed(Reason),
}

/// Why there is no address to answer with, in words for whoever asks: text made when compiling, as it may say when a lease ran out.
///
/// One word where there is none, as of nearly all; shared where a gate is closed because its component is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason(Option<Arc<Words>>);

#[derive(Debug, PartialEq, Eq)]
struct Words(Box<str>);

impl Deref for Reason {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0.as_ref().map_or("", |words| &words.0)
    }
}

impl<T: Into<Box<str>>> From<T> for Reason {
    fn from(text: T) -> Self {
        let text = text.into();
        Self((!text.is_empty()).then(|| Arc::new(Words(text))))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Whom to believe of instances and their readiness checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Believed {
    /// What checks say, if there are any.
    Checks,
    /// The instances, which are kept: all of a component fail at once, and the checker is suspected first.
    Instances,
}

/// A name that an app holds outside its own subtree of the discovery domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name.
    pub name: Name,
    /// What it is to the app.
    pub kind: OwnerKind,
}

/// What an owner name is to its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// An app hostname: ours for every type.
    Hostname,
    /// A custom domain's DNS target: ours for every type.
    Target,
    /// A custom domain: ours for A, AAAA, HTTPS and SVCB only.
    Domain,
    /// Every name below a custom domain, for the same types; the owner name is the wildcard itself, `*.<domain>`.
    Wildcard,
}

/// A component, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub label: Label,
    /// Whether it has a bare name on the app's LAN.
    pub bare: Bare,
    /// The addresses of its instances that are up.
    pub up: AddressSet,
    /// Whether those in `up` are there though their checks fail.
    pub believed: Believed,
    /// Why `up` is empty; empty itself when it is not.
    pub closed: Reason,
    /// Its instances: those registered, those once registered, those within the declared quantity; by number.
    pub instances: Box<[Instance]>,
    /// Its SRV sets, by label.
    pub ports: Box<[Port]>,
}

impl Component {
    /// The instance with this number.
    #[must_use]
    pub fn instance(&self, number: u32) -> Option<(u16, &Instance)> {
        let index = self.instances.binary_search_by_key(&number, |instance| instance.number).ok()?;
        Some((u16::try_from(index).ok()?, self.instances.get(index)?))
    }

    /// The SRV set of `_<label>._tcp`; `label` comes without the underscore.
    #[inline(always)]
    #[must_use]
    pub fn port(&self, label: &[u8]) -> Option<&Port> {
        // Mostly there are two or three, and those are compared faster than a place among them is searched.
        if self.ports.len() <= FEW_PORTS {
            for port in &self.ports {
                if same_label(port.label.octets(), label) {
                    return Some(port);
                }
            }
            return None;
        }
        let index = self.ports.binary_search_by(|port| port.label.octets().cmp(label)).ok()?;
        self.ports.get(index)
    }
}

/// How many ports are looked at one by one.
const FEW_PORTS: usize = 4;

/// Whether a component has a bare name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// `http://<component>` works on the app's LAN.
    Named,
    /// It cannot receive: workers, jobs, static sites, functions, databases.
    Nameless,
}

/// One instance, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its number, from 1.
    pub number: u32,
    /// What is known of it; only [`InstanceState::is_there`] has addresses.
    pub state: InstanceState,
    /// Its addresses.
    pub addresses: AddressSet,
}

impl Instance {
    /// Its addresses, IPv4 first.
    pub fn held(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.addresses.v4().iter().copied().map(IpAddr::V4);
        v4.chain(self.addresses.v6().iter().copied().map(IpAddr::V6))
    }
}

/// What is known of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It takes traffic.
    Up,
    /// It says that it is ready, and has not passed a check of that yet.
    Waiting,
    /// It says that it is ready, and fails the checks of that.
    Unhealthy,
    /// It is there, not ready.
    Starting,
    /// It is there, to be left alone.
    Draining,
    /// It says that it is not there.
    Down,
    /// Its lease ran out.
    Expired,
    /// Another app registered its address since.
    Displaced,
    /// Nothing registers it.
    Unregistered,
}

impl InstanceState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Up,
        Self::Waiting,
        Self::Unhealthy,
        Self::Starting,
        Self::Draining,
        Self::Down,
        Self::Expired,
        Self::Displaced,
        Self::Unregistered,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Unhealthy => "unhealthy",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Expired => "expired",
            Self::Displaced => "displaced",
            Self::Unregistered => "unregistered",
        }
    }

    /// Whether the instance's own name answers: peers of a cluster must find each other before they are ready.
    #[must_use]
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Up | Self::Waiting | Self::Unhealthy | Self::Starting | Self::Draining)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "is up",
            Self::Waiting => "is not checked yet",
            Self::Unhealthy => "is unhealthy",
            Self::Starting => "is starting",
            Self::Draining => "is draining",
            Self::Down => "is down",
            Self::Expired => "lease expired",
            Self::Displaced => "is displaced: its address was registered anew",
            Self::Unregistered => "is not registered",
        })
    }
}

/// The SRV set of one port of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `http`, a port's number in decimal, or a registered name; the underscore is not kept.
    pub label: Label,
    /// One for each instance that is up and listens there.
    pub targets: Box<[Target]>,
}

/// One SRV record: priority 0 and weight 1 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which of the component's instances, by its place in `instances`.
    pub instance: u16,
    /// The port it listens on.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a hundred thousand of each. An app has a count beside it where it is shared, and mimalloc no size between 96 and 112.
    #[test]
    fn of_an_app_its_component_and_its_instances_no_word_is_kept_that_few_need() {
        assert_eq!(size_of::<App>() + 2 * size_of::<usize>(), 96);
        assert_eq!(size_of::<Component>(), 96);
        assert_eq!(size_of::<Instance>(), 32);
    }

    #[test]
    fn no_words_are_no_reason() {
        assert_eq!(Reason::from(""), Reason::default());
        assert_eq!(&*Reason::from("closed".to_owned()), "closed");
        assert_eq!(&*Reason::default(), "");
    }
}
