//! A space as it is served: its zones, its TTLs, its router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::addresses::AddressSet;
use crate::name::Name;
use crate::record::Ttl;

/// A space's place in [`super::Snapshot::spaces`]; stable while the space exists.
pub type SpaceIndex = u16;

/// A space, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its name.
    pub name: Box<str>,
    /// The TTL of answers.
    pub ttl: Ttl,
    /// The TTL and MINIMUM of the SOA of negative answers.
    pub negative_ttl: Ttl,
    /// What app hostnames resolve to; empty means the web instances themselves.
    pub router: AddressSet,
    /// Every zone that is all ours, the one with the most labels first. Reverse zones are in `reverse`.
    pub apexes: Box<[Apex]>,
    /// The reverse zones of the space's CIDRs, by name.
    pub reverse: Box<[Name]>,
    /// The discovery domains, the canonical one first. Each is among `apexes` too.
    pub discovery: Box<[Name]>,
    /// The name servers of every zone, at least one; the first is the SOA's MNAME.
    pub ns: Box<[NameServer]>,
}

/// A zone that is all ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apex {
    /// Its name.
    pub name: Name,
    /// How many labels the name has.
    pub labels: usize,
    /// What lies below it.
    pub kind: ApexKind,
}

/// What lies below an apex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApexKind {
    /// Discovery names.
    Discovery,
    /// App hostnames.
    Hostnames,
}

/// A name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: Name,
    /// Its IPv4 addresses.
    pub v4: Box<[Ipv4Addr]>,
    /// Its IPv6 addresses.
    pub v6: Box<[Ipv6Addr]>,
}

/// The zones that the reverse names of `network` make up, at the octet or nibble boundary below its prefix length
/// (RFC 1035 §3.5, RFC 3596 §2.5): 172.16.0.0/12 is sixteen zones, `16.172.in-addr.arpa.` to `31.172.in-addr.arpa.`.
#[must_use]
pub fn reverse_zones(network: IpNet) -> Vec<Name> {
    let step = if network.addr().is_ipv4() { 8 } else { 4 };
    // The root of the reverse tree itself is never a zone of ours.
    let length = network.prefix_len().max(1).div_ceil(step) * step;
    let Ok(subnets) = network.subnets(length) else { return Vec::new() };
    subnets.filter_map(|subnet| reverse_name(subnet.addr(), usize::from(length / step))).collect()
}

/// The reverse name of the first `labels` octets or nibbles of an address; the whole of it makes the name of its PTR.
#[must_use]
pub fn reverse_name(address: IpAddr, labels: usize) -> Option<Name> {
    let text = match address {
        IpAddr::V4(address) => {
            let octets = address.octets();
            octets.iter().take(labels).rev().map(|octet| format!("{octet}.")).collect::<String>() + "in-addr.arpa"
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]).take(labels).collect::<Vec<_>>();
            nibbles.iter().rev().map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(network: &str) -> Vec<String> {
        reverse_zones(network.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reverse_zones_end_at_octets_and_nibbles() {
        assert_eq!(zones("10.0.0.0/8"), ["10.in-addr.arpa."]);
        assert_eq!(zones("10.4.0.0/16"), ["4.10.in-addr.arpa."]);
        assert_eq!(zones("172.16.0.0/12").len(), 16);
        assert_eq!(zones("172.16.0.0/12")[15], "31.172.in-addr.arpa.");
        assert_eq!(zones("10.0.0.0/30").len(), 4);
        assert_eq!(zones("fc00::/7"), ["c.f.ip6.arpa.", "d.f.ip6.arpa."]);
    }
}
