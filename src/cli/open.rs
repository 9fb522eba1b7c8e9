//! Refuses to start as an open resolver: one that strangers can have ask others, or can be told private names by.
//!
//! Spaces and peers are private networks, and everyone else is refused, so a stranger gets an answer in one way alone: through a
//! forwarder whose word is taken for who asks (`--trust-subnet-from`). Where that network takes in much of the public address space,
//! and packets from there can arrive, anyone may say to be an instance of ours. A few public forwarders are somebody's resolvers;
//! a wide network is a mistake.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Says why the server would be open to strangers, if it would.
///
/// # Errors
/// When it would be.
pub(crate) fn refuse(listen: &[SocketAddr], trusted: &[IpNet]) -> Result<(), String> {
    let Some(open) = listen.iter().find(|address| is_reachable(address.ip())) else { return Ok(()) };
    let Some(wide) = trusted.iter().find(|network| is_wide(**network)) else { return Ok(()) };
    Err(format!(
        "whoever is in {wide} could say to be a caller of ours, and {open} may be reached from there: that is an open resolver; \
         name the forwarders that --trust-subnet-from is about, or listen on private addresses alone"
    ))
}

/// Whether a packet from a public address may arrive: not at loopback or a private address, short of routers that send it there.
fn is_reachable(address: IpAddr) -> bool {
    let network = IpNet::from(address.to_canonical());
    address.is_unspecified() || !PRIVATE.iter().any(|private| private.contains(&network))
}

fn is_wide(network: IpNet) -> bool {
    let most = match network {
        IpNet::V4(_) => FORWARDERS_V4,
        IpNet::V6(_) => FORWARDERS_V6,
    };
    network.prefix_len() < most && !PRIVATE.iter().any(|private| private.contains(&network))
}

/// Networks that strangers have no address in: RFC 1918, 6598, 4193, loopback, link-local.
const PRIVATE: [IpNet; 9] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// The widest public network that is taken for forwarders: one that a site has to itself.
const FORWARDERS_V4: u8 = 24;
const FORWARDERS_V6: u8 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(listen: &str, trusted: &str) -> bool {
        refuse(&[listen.parse().unwrap()], &[trusted.parse().unwrap()]).is_err()
    }

    #[test]
    fn trust_in_everyone_is_refused_where_everyone_can_come() {
        for listen in ["0.0.0.0:53", "[::]:53", "203.0.113.5:53", "[2001:db8::1]:53"] {
            for trusted in ["0.0.0.0/0", "::/0", "203.0.113.0/23", "8.0.0.0/8", "2001:db8::/32", "10.0.0.0/7"] {
                assert!(is_open(listen, trusted), "{listen} {trusted}");
            }
            for trusted in ["10.0.0.0/8", "127.0.0.0/8", "203.0.113.5/32", "2001:db8::/64", "fd00::/8"] {
                assert!(!is_open(listen, trusted), "{listen} {trusted}");
            }
        }
    }

    #[test]
    fn who_listens_in_private_may_trust_as_they_like() {
        for listen in ["127.0.0.1:5300", "10.0.0.53:53", "[fd00::53]:53", "[::1]:53", "[::ffff:10.0.0.1]:53"] {
            assert!(!is_open(listen, "0.0.0.0/0"), "{listen}");
        }
    }

    #[test]
    fn the_message_names_both_and_says_what_to_do() {
        let error = refuse(&["0.0.0.0:53".parse().unwrap()], &["0.0.0.0/0".parse().unwrap()]).unwrap_err();
        assert!(error.contains("0.0.0.0/0") && error.contains("0.0.0.0:53") && error.contains("--trust-subnet-from"));
    }
}
