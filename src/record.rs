//! Resource records as values: types, TTLs, rdata, RRsets, and their zone-file form.
//!
//! Answers are not built of these: the engine writes octets straight from the snapshot. They are what a snapshot
//! enumerates itself as (for `export`, for comparing two snapshots, for explaining one), where clarity beats speed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::Name;

/// A resource record type or query type (RFC 1035 §3.2.2, IANA's registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtype(pub u16);

impl Rtype {
    /// An IPv4 address (RFC 1035).
    pub const A: Self = Self(1);
    /// A name server (RFC 1035).
    pub const NS: Self = Self(2);
    /// The start of a zone of authority (RFC 1035).
    pub const SOA: Self = Self(6);
    /// A pointer to a name (RFC 1035).
    pub const PTR: Self = Self(12);
    /// Text (RFC 1035).
    pub const TXT: Self = Self(16);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// Where a service is (RFC 2782).
    pub const SRV: Self = Self(33);
    /// The EDNS pseudo-record (RFC 6891).
    pub const OPT: Self = Self(41);
    /// A delegation signer (RFC 4034).
    pub const DS: Self = Self(43);
    /// A zone's key (RFC 4034).
    pub const DNSKEY: Self = Self(48);
    /// Service binding (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// Service binding for HTTP (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// An incremental zone transfer (RFC 1995).
    pub const IXFR: Self = Self(251);
    /// A zone transfer (RFC 5936).
    pub const AXFR: Self = Self(252);
    /// Any type at all (RFC 8482).
    pub const ANY: Self = Self(255);
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(_, rtype)| rtype == self) {
            Some((mnemonic, _)) => f.write_str(mnemonic),
            // RFC 3597 §5: a type without a mnemonic is printed by number.
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl std::str::FromStr for Rtype {
    type Err = UnknownRtype;

    fn from_str(text: &str) -> Result<Self, UnknownRtype> {
        let upper = text.to_ascii_uppercase();
        if let Some((_, rtype)) = MNEMONICS.iter().find(|(mnemonic, _)| *mnemonic == upper) {
            return Ok(*rtype);
        }
        upper.strip_prefix("TYPE").and_then(|number| number.parse().ok()).map(Self).ok_or(UnknownRtype)
    }
}

/// Text that names no record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record type: write a mnemonic such as A, or TYPE and a number")]
pub struct UnknownRtype;

const MNEMONICS: [(&str, Rtype); 22] = [
    ("A", Rtype::A),
    ("NS", Rtype::NS),
    ("CNAME", Rtype(5)),
    ("SOA", Rtype::SOA),
    ("PTR", Rtype::PTR),
    ("HINFO", Rtype(13)),
    ("MX", Rtype(15)),
    ("TXT", Rtype::TXT),
    ("AAAA", Rtype::AAAA),
    ("SRV", Rtype::SRV),
    ("NAPTR", Rtype(35)),
    ("DNAME", Rtype(39)),
    ("OPT", Rtype::OPT),
    ("DS", Rtype::DS),
    ("RRSIG", Rtype(46)),
    ("NSEC", Rtype(47)),
    ("DNSKEY", Rtype::DNSKEY),
    ("SVCB", Rtype::SVCB),
    ("HTTPS", Rtype::HTTPS),
    ("IXFR", Rtype::IXFR),
    ("AXFR", Rtype::AXFR),
    ("ANY", Rtype::ANY),
];

/// A time to live in seconds; at most 2³¹−1 (RFC 2181 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

impl Ttl {
    /// Makes a TTL; a value with the high bit set is 0, as RFC 2181 §8 reads it.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(if seconds > 0x7fff_ffff { 0 } else { seconds })
    }

    /// The seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

/// The start of a zone of authority (RFC 1035 §3.3.13).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Soa {
    /// The primary name server.
    pub mname: Name,
    /// The mailbox of whoever is responsible, as a name.
    pub rname: Name,
    /// The serial number.
    pub serial: u32,
    /// Seconds between a secondary's checks.
    pub refresh: u32,
    /// Seconds between a secondary's attempts.
    pub retry: u32,
    /// Seconds after which a secondary gives up.
    pub expire: u32,
    /// The TTL of negative answers (RFC 2308 §4).
    pub minimum: u32,
}

/// The data of one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rdata {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name server.
    Ns(Name),
    /// A pointer to a name.
    Ptr(Name),
    /// The start of a zone of authority.
    Soa(Soa),
    /// Where a service is (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// The share among equal priorities.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
}

impl Rdata {
    /// The type that this data is of.
    #[must_use]
    pub const fn rtype(&self) -> Rtype {
        match self {
            Self::A(_) => Rtype::A,
            Self::Aaaa(_) => Rtype::AAAA,
            Self::Ns(_) => Rtype::NS,
            Self::Ptr(_) => Rtype::PTR,
            Self::Soa(_) => Rtype::SOA,
            Self::Srv { .. } => Rtype::SRV,
        }
    }
}

impl fmt::Display for Rdata {
    /// Writes the zone-file form (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "{address}"),
            Self::Aaaa(address) => write!(f, "{address}"),
            Self::Ns(name) | Self::Ptr(name) => write!(f, "{name}"),
            Self::Soa(soa) => {
                let Soa { mname, rname, serial, refresh, retry, expire, minimum } = soa;
                write!(f, "{mname} {rname} {serial} {refresh} {retry} {expire} {minimum}")
            }
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
        }
    }
}

/// The records of one owner and type, with one TTL (RFC 2181 §5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rrset {
    /// The owner.
    pub owner: Name,
    /// The type of every element of `rdata`.
    pub rtype: Rtype,
    /// The TTL of each record.
    pub ttl: Ttl,
    /// The data, without duplicates.
    pub rdata: Vec<Rdata>,
}

impl fmt::Display for Rrset {
    /// Writes one zone-file line a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rdata in &self.rdata {
            writeln!(f, "{} {} IN {} {rdata}", self.owner, self.ttl.seconds(), self.rtype)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_printed_as_it_is_parsed() {
        for (mnemonic, rtype) in MNEMONICS {
            assert_eq!(rtype.to_string(), mnemonic);
            assert_eq!(mnemonic.to_ascii_lowercase().parse(), Ok(rtype));
        }
        assert_eq!(Rtype(1000).to_string(), "TYPE1000");
        assert_eq!("type1000".parse(), Ok(Rtype(1000)));
        assert_eq!("TYPE65536".parse::<Rtype>(), Err(UnknownRtype));
        assert_eq!("WEB".parse::<Rtype>(), Err(UnknownRtype));
    }

    #[test]
    fn a_ttl_with_the_high_bit_is_zero() {
        assert_eq!(Ttl::from_seconds(0xffff_ffff).seconds(), 0);
        assert_eq!(Ttl::from_seconds(0x7fff_ffff).seconds(), 0x7fff_ffff);
    }

    #[test]
    fn a_set_prints_as_zone_file_lines() {
        let set = Rrset {
            owner: "_http._tcp.web.shop.app.localspace".parse().unwrap(),
            rtype: Rtype::SRV,
            ttl: Ttl::from_seconds(5),
            rdata: vec![Rdata::Srv {
                priority: 0,
                weight: 1,
                port: 8080,
                target: "1.web.shop.app.localspace".parse().unwrap(),
            }],
        };
        assert_eq!(
            set.to_string(),
            "_http._tcp.web.shop.app.localspace. 5 IN SRV 0 1 8080 1.web.shop.app.localspace.\n"
        );
    }
}
