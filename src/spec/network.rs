//! Addresses and networks as they may be written: private ones.
//!
//! Private is RFC 1918, 100.64.0.0/10 (RFC 6598, what carriers and overlay networks use) and fc00::/7 (RFC 4193).
//! Anything else in a file is a slip that would hand out, or trust, an address of somebody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::At;
use super::reader::{Refusal, checked};
use super::report::{Report, quote};
use super::tree::Node;

/// Reads the address of an instance or a router.
///
/// # Errors
/// When it is not an address, or not a private one.
pub(super) fn private_address(written: &str) -> Result<IpAddr, Refusal> {
    let address = any_address(written)?;
    if is_private(IpNet::from(address)) {
        return Ok(address);
    }
    let why = if address.is_loopback() {
        "a loopback address, which means another machine to every caller"
    } else if address.is_unspecified() {
        "the unspecified address, which nothing has"
    } else if address.is_multicast() {
        "a multicast address, which is no single machine's"
    } else if is_link_local(address) {
        "a link-local address, which other networks cannot reach"
    } else {
        "a public address"
    };
    Err(Refusal::new(format!("{} is {why}", quote(written)), format!("write an address in {PRIVATE_WORDS}")))
}

/// Reads any address; an IPv4 address in IPv6 form is taken as IPv4.
///
/// # Errors
/// When it is not an address.
pub(super) fn any_address(written: &str) -> Result<IpAddr, Refusal> {
    written.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| {
        let remedy = if written.contains('/') {
            "write one address, without a prefix length"
        } else if written.contains('%') {
            "write it without a zone"
        } else {
            "write it as 10.0.130.56 or fd00::56, without a port"
        };
        Refusal::new(format!("{} is not an IP address", quote(written)), remedy)
    })
}

/// Reads a private network; host bits are masked with a warning, a bare address is a network of one.
pub(super) fn private_network<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<IpNet>> {
    let At { value: (written, network), place } = checked(node, report, |text| {
        let written = any_network(text)?;
        let network = written.trunc();
        if !is_private(network) {
            let fault = format!("{} is not a private network", quote(text));
            return Err(Refusal::new(fault, format!("write one inside {PRIVATE_WORDS}")));
        }
        Ok((written, network))
    })?;
    if written != network {
        report.warn(place, format!("`{written}` has host bits; `{network}` is taken"), format!("write `{network}`"));
    }
    Some(At { value: network, place })
}

/// Drops the networks that lie inside an earlier or larger one, with a warning each.
pub(super) fn without_covered(networks: Vec<At<IpNet>>, report: &mut Report<'_>) -> Vec<At<IpNet>> {
    let mut kept: Vec<At<IpNet>> = Vec::with_capacity(networks.len().min(NETWORKS_MAX));
    for (index, network) in networks.iter().enumerate() {
        if index == NETWORKS_MAX {
            report.fault(network.place, format!("there are more than {NETWORKS_MAX} networks"), "join adjacent ones");
            break;
        }
        let cover = networks.iter().take(NETWORKS_MAX).enumerate().find(|(other, cover)| {
            // Of two that are equal the first stays.
            *other != index && cover.value.contains(&network.value) && (cover.value != network.value || *other < index)
        });
        match cover {
            None => kept.push(network.clone()),
            Some((_, cover)) => {
                let fault = format!("`{}` is inside `{}` at {}", network.value, cover.value, cover.place);
                report.warn(network.place, fault, "remove it");
            }
        }
    }
    kept
}

fn any_network(written: &str) -> Result<IpNet, Refusal> {
    let network = written.parse::<IpNet>().ok().or_else(|| written.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| {
        Refusal::new(format!("{} is not a network", quote(written)), "write it as 10.0.0.0/16 or fd00::/64")
    })
}

fn is_private(network: IpNet) -> bool {
    match network {
        IpNet::V4(network) => PRIVATE_V4.iter().any(|private| private.contains(&network)),
        IpNet::V6(network) => PRIVATE_V6.contains(&network),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The most networks of one list: a list is searched for covered ones, pair by pair.
const NETWORKS_MAX: usize = 256;
const PRIVATE_V4: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
];
const PRIVATE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
const PRIVATE_WORDS: &str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_taken() {
        for good in
            ["10.0.130.56", "172.31.255.255", "192.168.0.1", "100.64.0.1", "fd00::56", "fc00::1", "::ffff:10.0.0.1"]
        {
            assert!(private_address(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
            ("8.8.8.8", "public"),
            ("2001:db8::1", "public"),
            ("172.32.0.1", "public"),
            ("10.0.0.1/32", "not an IP address"),
            ("10.0.0.1:8080", "not an IP address"),
            ("010.0.0.1", "not an IP address"),
            ("fd00::1%eth0", "not an IP address"),
            ("web", "not an IP address"),
        ] {
            let refusal = private_address(bad).unwrap_err();
            assert!(refusal.fault.contains(why), "{bad}: {}", refusal.fault);
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_ipv4() {
        assert_eq!(private_address("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1");
    }
}
