//! The closed sets that counters are kept by. No name and no address is in any of them, so that no query can make a counter.

/// The type that a query asks for, as far as it is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Any.
    Any,
    /// An alias.
    Cname,
    /// A delegation's signer.
    Ds,
    /// A zone's key.
    Dnskey,
    /// Service binding for HTTP.
    Https,
    /// Mail.
    Mx,
    /// Name servers.
    Ns,
    /// The name of an address.
    Ptr,
    /// The start of a zone.
    Soa,
    /// Where a service is.
    Srv,
    /// Service binding.
    Svcb,
    /// Text.
    Txt,
    /// Every other.
    Other,
    /// The question could not be read.
    Unread,
}

impl QueryType {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::A,
        Self::Aaaa,
        Self::Any,
        Self::Cname,
        Self::Ds,
        Self::Dnskey,
        Self::Https,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Svcb,
        Self::Txt,
        Self::Other,
        Self::Unread,
    ];

    /// The one that a type's number (IANA's registry) falls under.
    #[must_use]
    pub const fn of(number: Option<u16>) -> Self {
        match number {
            Some(1) => Self::A,
            Some(28) => Self::Aaaa,
            Some(255) => Self::Any,
            Some(5) => Self::Cname,
            Some(43) => Self::Ds,
            Some(48) => Self::Dnskey,
            Some(65) => Self::Https,
            Some(15) => Self::Mx,
            Some(2) => Self::Ns,
            Some(12) => Self::Ptr,
            Some(6) => Self::Soa,
            Some(33) => Self::Srv,
            Some(64) => Self::Svcb,
            Some(16) => Self::Txt,
            Some(_) => Self::Other,
            None => Self::Unread,
        }
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Any => "ANY",
            Self::Cname => "CNAME",
            Self::Ds => "DS",
            Self::Dnskey => "DNSKEY",
            Self::Https => "HTTPS",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Svcb => "SVCB",
            Self::Txt => "TXT",
            Self::Other => "other",
            Self::Unread => "unread",
        }
    }
}

/// Whose word a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Ours: the name is.
    Own,
    /// An upstream's, or that there was none to be had.
    Forward,
    /// REFUSED.
    Refused,
    /// That the query is at fault, or that we are.
    Error,
}

impl Source {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Own, Self::Forward, Self::Refused, Self::Error];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Forward => "forward",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }
}

/// Why a query of somebody who asked for a name of ours got no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negative {
    /// There is no such name.
    Unknown,
    /// Nothing is up that the name could lead to.
    GateClosed,
    /// It has none of the type.
    Type,
    /// The caller may not see it, is on no LAN or on several, or is nobody's.
    View,
    /// The app that held it was removed a short while ago.
    Removed,
    /// The first scan is not complete.
    NotReady,
}

impl Negative {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Unknown, Self::GateClosed, Self::Type, Self::View, Self::Removed, Self::NotReady];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::GateClosed => "gate-closed",
            Self::Type => "type",
            Self::View => "view",
            Self::Removed => "removed",
            Self::NotReady => "not-ready",
        }
    }
}

pub(super) const TYPES: usize = QueryType::ALL.len();
pub(super) const SOURCES: usize = Source::ALL.len();
pub(super) const NEGATIVES: usize = Negative::ALL.len();
