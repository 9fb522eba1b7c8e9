//! Which address of this machine others reach it by.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// An address and its interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    address: IpAddr,
    interface: String,
}

/// Chooses the private address of `interface`, or else of this machine: its only one, or the one it reaches others from.
///
/// # Errors
///
/// There is none, or it is not clear which is meant.
pub(super) fn choose(interface: Option<&str>) -> Result<IpAddr, String> {
    let listed = getifaddrs().map_err(|error| format!("the addresses of this machine cannot be listed: {error}"))?;
    let up = listed.filter(|listed| {
        listed.flags.contains(InterfaceFlags::IFF_UP) && !listed.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let candidates = up.filter_map(|listed| {
        let address = listed.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let address = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some(Candidate { address, interface: listed.interface_name })
    });
    among(candidates.collect(), interface, towards_others())
}

fn among(
    candidates: BTreeSet<Candidate>,
    interface: Option<&str>,
    towards_others: Option<IpAddr>,
) -> Result<IpAddr, String> {
    let mut private: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| is_private(candidate.address) && interface.is_none_or(|name| name == candidate.interface))
        .collect();
    // Everything reaches an IPv4 address where there is one.
    if private.iter().any(|candidate| candidate.address.is_ipv4()) {
        private.retain(|candidate| candidate.address.is_ipv4());
    }
    match private.as_slice() {
        [] => Err(match interface {
            Some(name) => format!("{name}: has no private address; name another --interface, or the --address"),
            None => "this machine has no private address; name the --address".to_owned(),
        }),
        [only] => Ok(only.address),
        several => several
            .iter()
            .map(|candidate| candidate.address)
            .find(|address| Some(*address) == towards_others)
            .ok_or_else(|| {
                let list: Vec<String> =
                    several.iter().map(|found| format!("{} ({})", found.address, found.interface)).collect();
                format!(
                    "this machine has several private addresses: {}; name one with --address, or --interface",
                    list.join(", ")
                )
            }),
    }
}

/// The address that a datagram to the world would come from. None is sent.
fn towards_others() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((SOMEBODY, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// An address that is nobody's (RFC 5737 §3): it is reached by the default route.
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(candidates: &[(&str, &str)], interface: Option<&str>, towards: &str) -> Result<String, String> {
        let candidate = |(address, interface): &(&str, &str)| Candidate {
            address: address.parse().unwrap(),
            interface: (*interface).to_owned(),
        };
        let candidates = candidates.iter().map(candidate).collect();
        among(candidates, interface, towards.parse().ok()).map(|address| address.to_string())
    }

    #[test]
    fn the_only_private_address_is_taken_and_of_several_the_one_towards_others() {
        let one = [("10.0.0.5", "eth0"), ("fd00::5", "eth0"), ("203.0.113.5", "eth1"), ("fe80::1", "eth0")];
        assert_eq!(chosen(&one, None, ""), Ok("10.0.0.5".to_owned()));
        assert_eq!(chosen(&[("fd00::5", "eth0"), ("203.0.113.5", "eth1")], None, ""), Ok("fd00::5".to_owned()));
        let two = [("10.0.0.5", "eth0"), ("172.17.0.1", "docker0")];
        assert_eq!(chosen(&two, None, "10.0.0.5"), Ok("10.0.0.5".to_owned()));
        assert_eq!(chosen(&two, Some("docker0"), "10.0.0.5"), Ok("172.17.0.1".to_owned()));
        let fault = chosen(&two, None, "203.0.113.5").unwrap_err();
        assert!(fault.contains("10.0.0.5 (eth0), 172.17.0.1 (docker0); name one"), "{fault}");
        assert!(chosen(&two, Some("eth7"), "").unwrap_err().starts_with("eth7: has no private address"));
        assert!(chosen(&[("203.0.113.5", "eth1")], None, "").is_err());
    }
}
