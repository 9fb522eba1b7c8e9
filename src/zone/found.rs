//! What a name can be to a caller: the words that [`find`](super::find) answers in.
//!
//! All of it borrows from the snapshot and is made of what is there: nothing allocates, and reasons are written when they are printed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{AddressSet, App, AppIndex, Believed, Component, Instance, NameServer, Port};

/// What a name is to a caller.
#[derive(Debug, Clone, Copy)]
pub enum Found<'s> {
    /// It is not ours.
    Foreign,
    /// It is ours, whether it exists or not.
    Owned(Owned<'s>),
}

/// What a name of ours is.
#[derive(Debug, Clone, Copy)]
pub struct Owned<'s> {
    /// The zone it is in, by the label of the name that the zone's name starts at; the label count means the root, which
    /// is the zone of bare names.
    pub apex: usize,
    /// For which types it is ours.
    pub types: Types,
    /// What is there.
    pub node: Node<'s>,
}

/// A name as far as a plain question for addresses needs it, laid out flat.
///
/// [`Found`] is a tree of enums: taking it apart again is a jump for each level, and a fifth of what a query costs. Where the name
/// was found all of that is known, so this is made there.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'s> {
    /// What is there.
    pub kind: PlainKind,
    /// Why nothing is, if so.
    pub missing: Missing,
    /// As in [`Owned`]; nothing when the name is not ours.
    pub types: Option<Types>,
    /// As in [`Owned`].
    pub apex: usize,
    /// Its addresses, if it has any.
    pub addresses: Option<&'s AddressSet>,
    /// Why it has no address of either kind; empty when there is no reason to give.
    pub why: &'s str,
}

/// What is at a name that a plain question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainKind {
    /// The name is not ours.
    Foreign,
    /// It is, and it is there; it may have addresses.
    There,
    /// It does not exist.
    Missing,
    /// There is more to it: ask for all that is [`Found`].
    More,
}

/// Where to look for a name first, as it was found when memory was touched. It may be wrong, or of another snapshot: whoever looks
/// there compares names, and looks everywhere else then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Nowhere.
    None,
    /// At this app, which may be the one in whose part of a discovery domain the name lies.
    App(AppIndex),
    /// At this name that an app holds.
    Owner {
        /// The app.
        app: AppIndex,
        /// Which of its owners.
        owner: u16,
    },
}

/// How what was found is told: all of it, or as much as a plain question needs. The finding is the same.
pub(super) trait Told<'s> {
    /// The name is not ours.
    fn foreign() -> Self;
    /// It is.
    fn owned(owned: Owned<'s>) -> Self;
    /// For which types it is ours.
    fn types(&self) -> Option<Types>;
}

impl<'s> Told<'s> for Found<'s> {
    fn foreign() -> Self {
        Self::Foreign
    }

    fn owned(owned: Owned<'s>) -> Self {
        Self::Owned(owned)
    }

    fn types(&self) -> Option<Types> {
        match self {
            Self::Foreign => None,
            Self::Owned(owned) => Some(owned.types),
        }
    }
}

impl<'s> Told<'s> for Plain<'s> {
    #[inline(always)]
    fn foreign() -> Self {
        let (kind, missing) = (PlainKind::Foreign, Missing::NoName);
        Self { kind, missing, types: None, apex: 0, addresses: None, why: "" }
    }

    #[inline(always)]
    fn owned(owned: Owned<'s>) -> Self {
        let Owned { apex, types, node } = owned;
        let (kind, missing) = (PlainKind::There, Missing::NoName);
        let plain = Self { kind, missing, types: Some(types), apex, addresses: None, why: "" };
        match node {
            Node::Missing(missing) => Self { kind: PlainKind::Missing, missing, ..plain },
            // No addresses, and no reason for that but that they are what they are.
            Node::EmptyNonTerminal | Node::Apex | Node::Pointer(_) => plain,
            Node::Host(Host { hosts, why, .. }) => {
                let addresses = match hosts {
                    Hosts::None => None,
                    Hosts::Set(set) => Some(set),
                    Hosts::Instance(instance) => Some(&instance.addresses),
                    Hosts::NameServer(_) => return Self { kind: PlainKind::More, ..plain },
                };
                let (kind, why) = match why {
                    Why::Nothing => (PlainKind::There, ""),
                    Why::Text(text) => (PlainKind::There, text),
                    // There is a reason only where there are no addresses.
                    Why::Instance(_) if addresses.is_some_and(|set| !set.is_empty()) => (PlainKind::There, ""),
                    Why::Instance(_) | Why::AmbiguousCaller | Why::Kept(..) => (PlainKind::More, ""),
                };
                Self { kind, addresses, why, ..plain }
            }
            Node::Srv(_) | Node::Localhost | Node::LocalhostPointer(_) => Self { kind: PlainKind::More, ..plain },
        }
    }

    #[inline(always)]
    fn types(&self) -> Option<Types> {
        self.types
    }
}

/// A name as far as a plain question for services needs it.
#[derive(Debug, Clone, Copy)]
pub struct Services<'s> {
    /// As in [`Plain`].
    pub types: Option<Types>,
    /// As in [`Owned`].
    pub apex: usize,
    /// Its SRV set, if that is all there is to say.
    pub set: Option<SrvSet<'s>>,
}

impl<'s> Told<'s> for Services<'s> {
    #[inline(always)]
    fn foreign() -> Self {
        Self { types: None, apex: 0, set: None }
    }

    #[inline(always)]
    fn owned(owned: Owned<'s>) -> Self {
        let set = match owned.node {
            // Where the set is empty, or is kept in spite of checks, there is a reason to be told.
            Node::Srv(set) if !set.port.targets.is_empty() && set.component.believed == Believed::Checks => Some(set),
            _ => None,
        };
        Self { types: Some(owned.types), apex: owned.apex, set }
    }

    #[inline(always)]
    fn types(&self) -> Option<Types> {
        self.types
    }
}

/// For which types a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// For every type.
    All,
    /// For A, AAAA, HTTPS and SVCB; the others are the public zone's.
    Address,
    /// For all but DS, DNSKEY, NS and SOA, which validating stubs need from the root.
    NotDelegation,
}

/// What is at a name of ours.
#[derive(Debug, Clone, Copy)]
pub enum Node<'s> {
    /// Nothing, and nothing below: NXDOMAIN.
    Missing(Missing),
    /// Nothing, and something below (RFC 8499's empty non-terminal): NODATA.
    EmptyNonTerminal,
    /// A zone's apex: SOA and NS.
    Apex,
    /// Addresses, or the reason why there are none.
    Host(Host<'s>),
    /// An SRV set, which may be empty.
    Srv(SrvSet<'s>),
    /// The name of a registered address.
    Pointer(Pointer<'s>),
    /// The host that asks: `localhost` and what is below it.
    Localhost,
    /// The name of the host that asks, at the reverse name of a loopback address.
    LocalhostPointer(Zone),
}

/// A name with addresses.
#[derive(Debug, Clone, Copy)]
pub struct Host<'s> {
    /// The addresses.
    pub hosts: Hosts<'s>,
    /// Why there are none, or what is to be known of them.
    pub why: Why<'s>,
    /// Whether a response that cannot carry all of them carries some, or says that it is truncated.
    pub fit: Fit,
    /// Whether the name is a zone apex too, with SOA and NS: app hostnames and DNS targets are.
    pub zone: Zone,
}

/// Where a name's addresses are.
#[derive(Debug, Clone, Copy)]
pub enum Hosts<'s> {
    /// Nowhere.
    None,
    /// In a set of several instances' or a router's.
    Set(&'s AddressSet),
    /// In one instance.
    Instance(&'s Instance),
    /// In a name server of the space.
    NameServer(&'s NameServer),
}

impl<'s> Hosts<'s> {
    /// The IPv4 addresses.
    #[inline(always)]
    #[must_use]
    pub fn v4(&self) -> &'s [Ipv4Addr] {
        match self {
            Self::None => &[],
            Self::Set(set) => set.v4(),
            Self::Instance(instance) => instance.addresses.v4(),
            Self::NameServer(server) => &server.v4,
        }
    }

    /// The IPv6 addresses.
    #[inline(always)]
    #[must_use]
    pub fn v6(&self) -> &'s [Ipv6Addr] {
        match self {
            Self::None => &[],
            Self::Set(set) => set.v6(),
            Self::Instance(instance) => instance.addresses.v6(),
            Self::NameServer(server) => &server.v6,
        }
    }
}

/// What happens to addresses that do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As many as fit are sent, without TC: hostnames, custom domains, bare names.
    Some,
    /// All or TC: discovery names, because clustering clients need every peer.
    All,
}

/// Whether a host is a zone's apex as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// It is.
    Apex,
    /// It lies in a zone.
    Inside,
}

/// An SRV set.
#[derive(Debug, Clone, Copy)]
pub struct SrvSet<'s> {
    /// The app; targets are `<n>.<component>.<app>.<canonical discovery domain>`.
    pub app: &'s App,
    /// The component.
    pub component: &'s Component,
    /// The port with its targets.
    pub port: &'s Port,
}

impl<'s> SrvSet<'s> {
    /// What there is to say of the component's addresses.
    #[must_use]
    pub fn why(&self) -> Why<'s> {
        Why::of(self.app, self.component)
    }
}

/// The instance that a reverse name points to.
#[derive(Debug, Clone, Copy)]
pub struct Pointer<'s> {
    /// The app; the name is `<n>.<component>.<app>.<canonical discovery domain>`.
    pub app: &'s App,
    /// The component.
    pub component: &'s Component,
    /// The instance.
    pub instance: &'s Instance,
}

/// Why a name of ours has no data, or what is to be known of the data, in words for whoever asked. Made of what is there: no allocation.
#[derive(Debug, Clone, Copy)]
pub enum Why<'s> {
    /// There is no reason to give: it has data, or lacks only the type.
    Nothing,
    /// The reason, written when compiling.
    Text(&'s str),
    /// One instance's state.
    Instance(Pointer<'s>),
    /// Several apps share the caller's address.
    AmbiguousCaller,
    /// There is data, and every instance behind it fails its checks.
    Kept(&'s App, &'s Component),
}

impl<'s> Why<'s> {
    /// What there is to say of a component's addresses: why there are none, or that they are kept.
    #[inline(always)]
    pub(super) fn of(app: &'s App, component: &'s Component) -> Self {
        match component.believed {
            Believed::Checks => Self::Text(&component.closed),
            Believed::Instances => Self::Kept(app, component),
        }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Instance(Pointer { app, component, instance }) => {
                write!(f, "{}: {}.{} {}", app.label, component.label, instance.number, instance.state)
            }
            Self::Kept(app, component) => {
                write!(f, "{}: every {} instance fails its check; kept", app.label, component.label)
            }
            Self::AmbiguousCaller => f.write_str("ambiguous caller: several apps share this address"),
        }
    }
}

/// Why a name of ours does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No service on the caller's LAN has this bare name.
    NoService,
    /// The caller is on no app's LAN, so no bare name exists for it.
    NoLan,
    /// The space has no app of this name that the caller may see.
    NoApp,
    /// The app has no component of this name.
    NoComponent,
    /// The component has no such instance, nor a port of this name.
    NoInstance,
    /// Nothing declares the name.
    NoName,
    /// Nothing registers the address.
    NoAddress,
    /// The app that held the name was removed a short while ago.
    Removed,
    /// The name is for special use, and nobody is asked for it.
    SpecialUse,
}

impl Missing {
    /// The reason, in words for whoever asked.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoService => "no service of this name on the caller's app",
            Self::NoLan => "the caller is on no app's LAN",
            Self::NoApp => "no such app",
            Self::NoComponent => "the app has no such component",
            Self::NoInstance => "the component has no such instance or port",
            Self::NoName => "no app declares this name",
            Self::NoAddress => "no instance is registered at this address",
            Self::Removed => "the app that held this name was removed",
            Self::SpecialUse => "a special-use name, which is never asked for elsewhere",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
