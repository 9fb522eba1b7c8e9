//! The closed sets that counters are kept by. No name and no address is in any of them, so that no query can make a counter.

use super::Class;

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
    #[inline(always)]
    #[must_use]
    pub fn of(number: Option<u16>) -> Self {
        // A table: a match would be a jump that cannot be foreseen.
        number.map_or(Self::Unread, |number| NUMBERED.get(usize::from(number)).copied().unwrap_or(Self::Other))
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

/// The types by number, up to the last of those that are told apart.
const NUMBERED: [QueryType; 256] = {
    let mut numbered = [QueryType::Other; 256];
    numbered[1] = QueryType::A;
    numbered[2] = QueryType::Ns;
    numbered[5] = QueryType::Cname;
    numbered[6] = QueryType::Soa;
    numbered[12] = QueryType::Ptr;
    numbered[15] = QueryType::Mx;
    numbered[16] = QueryType::Txt;
    numbered[28] = QueryType::Aaaa;
    numbered[33] = QueryType::Srv;
    numbered[43] = QueryType::Ds;
    numbered[48] = QueryType::Dnskey;
    numbered[64] = QueryType::Svcb;
    numbered[65] = QueryType::Https;
    numbered[255] = QueryType::Any;
    numbered
};

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

/// What a query came to. The first of them say all that there is to count of a query and of its response, so that both are counted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Records: NOERROR.
    Answer,
    /// NXDOMAIN, as [`Negative::Unknown`].
    Unknown,
    /// NOERROR, as [`Negative::Type`].
    Type,
    /// NOERROR, as [`Negative::GateClosed`].
    GateClosed,
    /// NXDOMAIN, as [`Negative::View`].
    Hidden,
    /// NOERROR, as [`Negative::View`].
    Ambiguous,
    /// NXDOMAIN, as [`Negative::Removed`].
    Removed,
    /// REFUSED, as [`Negative::View`].
    Stranger,
    /// REFUSED.
    Refusal,
    /// SERVFAIL, as [`Negative::NotReady`].
    NotReady,
    /// Whatever else; the response, if there is one, is counted by itself.
    Other,
}

impl Ending {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Answer,
        Self::Unknown,
        Self::Type,
        Self::GateClosed,
        Self::Hidden,
        Self::Ambiguous,
        Self::Removed,
        Self::Stranger,
        Self::Refusal,
        Self::NotReady,
        Self::Other,
    ];

    /// The response that it says all of.
    pub(super) const fn response(self) -> Option<(Source, Class)> {
        match self {
            Self::Answer | Self::Type | Self::GateClosed | Self::Ambiguous => Some((Source::Own, Class::NoError)),
            Self::Unknown | Self::Hidden | Self::Removed => Some((Source::Own, Class::NxDomain)),
            Self::Stranger | Self::Refusal => Some((Source::Refused, Class::Refused)),
            Self::NotReady => Some((Source::Error, Class::ServFail)),
            Self::Other => None,
        }
    }

    /// Why there was nothing, if that is what it says.
    #[must_use]
    pub const fn negative(self) -> Option<Negative> {
        match self {
            Self::Unknown => Some(Negative::Unknown),
            Self::Type => Some(Negative::Type),
            Self::GateClosed => Some(Negative::GateClosed),
            Self::Hidden | Self::Ambiguous | Self::Stranger => Some(Negative::View),
            Self::Removed => Some(Negative::Removed),
            Self::NotReady => Some(Negative::NotReady),
            Self::Answer | Self::Refusal | Self::Other => None,
        }
    }
}

pub(super) const TYPES: usize = QueryType::ALL.len();
pub(super) const SOURCES: usize = Source::ALL.len();
pub(super) const NEGATIVES: usize = Negative::ALL.len();
pub(super) const ENDINGS: usize = Ending::ALL.len();
