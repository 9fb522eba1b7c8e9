//! Who asks, and what they are shown (design §3).
//!
//! Rules become one sorted list of disjoint address ranges when they are compiled, so that finding a caller's view is one
//! look-up for instances and one binary search for everybody else, whatever the number of LANs.

use std::net::{IpAddr, Ipv6Addr};

use super::{AppIndex, SpaceIndex};

/// Where a registered instance address belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// A table holds two for each app: without room behind the address a slot is 32 octets and not 48.
#[repr(Rust, packed(4))]
pub struct Holder {
    /// The address, as [`key_of`] gives it.
    pub address: u128,
    /// The app; of a shared address the first in byte order.
    pub app: AppIndex,
    /// The component, by its place in the app.
    pub component: u16,
    /// The instance, by its place in the component.
    pub instance: u16,
    /// Whether other apps hold the address too.
    pub sharing: Sharing,
}

impl Holder {
    /// The address itself.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        let address = Ipv6Addr::from_bits(self.address);
        match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(address),
        }
    }
}

/// Whether several apps hold an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One app holds it.
    Sole,
    /// Several do: a caller from there is on no app's LAN.
    Shared,
}

/// What is shown to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The space it belongs to or is a peer of.
    pub space: SpaceIndex,
    /// The app whose LAN it is on.
    pub lan: Lan,
}

/// Which app's bare names a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// None.
    None,
    /// This app's.
    App(AppIndex),
    /// It cannot be told: several apps share the caller's address.
    Ambiguous,
}

/// Disjoint address ranges, each with the view of the callers in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    /// By first address.
    ranges: Box<[Range]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u128,
    last: u128,
    view: View,
}

/// A rule that [`Ranges`] are made of: the addresses and the view of callers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The addresses.
    pub network: ipnet::IpNet,
    /// Lower ranks go first, whatever their length: LANs 0, CIDRs 1, peers 2.
    pub rank: u8,
    /// The view.
    pub view: View,
}

impl Ranges {
    /// Flattens rules: at every address the lowest rank holds, and within a rank the longest prefix.
    #[must_use]
    pub fn flatten(rules: &[Rule]) -> Self {
        let mut sorted = rules.to_vec();
        // The strongest rule last: each in turn overwrites what was there.
        sorted.sort_by_key(|rule| (std::cmp::Reverse(rule.rank), rule.network.prefix_len()));
        let mut ranges = std::collections::BTreeMap::<u128, Range>::new();
        for rule in &sorted {
            overwrite(
                &mut ranges,
                Range { first: first_of(rule.network), last: last_of(rule.network), view: rule.view },
            );
        }
        Self { ranges: ranges.into_values().collect() }
    }

    /// Makes ranges of what [`iter`](Self::iter) gave; `None` when they overlap or are out of order.
    #[must_use]
    pub fn from_sorted(ranges: Vec<(u128, u128, View)>) -> Option<Self> {
        let follow = ranges.is_sorted_by(|(_, last, _), (first, ..)| last < first);
        let whole = follow && ranges.iter().all(|(first, last, _)| first <= last);
        whole.then(|| Self {
            ranges: ranges.into_iter().map(|(first, last, view)| Range { first, last, view }).collect(),
        })
    }

    /// Every range: its first and its last address, and the view of the callers in it.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128, View)> + '_ {
        self.ranges.iter().map(|range| (range.first, range.last, range.view))
    }

    /// The view of callers at `address`.
    #[must_use]
    pub fn view_of(&self, address: u128) -> Option<View> {
        let after = self.ranges.partition_point(|range| range.first <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (address <= range.last).then_some(range.view)
    }
}

/// The number that an address is looked up by: IPv4 as IPv4-mapped IPv6.
#[must_use]
pub fn key_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn first_of(network: ipnet::IpNet) -> u128 {
    key_of(network.network())
}

fn last_of(network: ipnet::IpNet) -> u128 {
    key_of(match network {
        ipnet::IpNet::V4(network) => IpAddr::V4(network.broadcast()),
        ipnet::IpNet::V6(network) => IpAddr::V6(network.broadcast()),
    })
}

/// Cuts what lies under `new` out of `ranges` and puts `new` there.
fn overwrite(ranges: &mut std::collections::BTreeMap<u128, Range>, new: Range) {
    let touched: Vec<Range> =
        ranges.range(..=new.last).rev().map(|(_, range)| *range).take_while(|range| range.last >= new.first).collect();
    for old in touched {
        ranges.remove(&old.first);
        if old.first < new.first {
            ranges.insert(old.first, Range { last: new.first - 1, ..old });
        }
        if old.last > new.last {
            ranges.insert(new.last + 1, Range { first: new.last + 1, ..old });
        }
    }
    ranges.insert(new.first, new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(network: &str, rank: u8, space: SpaceIndex) -> Rule {
        Rule { network: network.parse().unwrap(), rank, view: View { space, lan: Lan::None } }
    }

    fn space_of(ranges: &Ranges, address: &str) -> Option<SpaceIndex> {
        ranges.view_of(key_of(address.parse().unwrap())).map(|view| view.space)
    }

    #[test]
    fn the_lowest_rank_holds_and_within_it_the_longest_prefix() {
        let ranges = Ranges::flatten(&[
            rule("10.0.0.0/8", 1, 1),
            rule("10.1.0.0/16", 0, 2),
            rule("10.1.2.0/24", 0, 3),
            rule("10.1.2.3/32", 2, 4),
            rule("fd00::/8", 2, 5),
        ]);
        assert_eq!(space_of(&ranges, "10.0.0.1"), Some(1));
        assert_eq!(space_of(&ranges, "10.1.255.255"), Some(2));
        assert_eq!(space_of(&ranges, "10.1.2.3"), Some(3));
        assert_eq!(space_of(&ranges, "10.1.3.0"), Some(2));
        assert_eq!(space_of(&ranges, "10.255.255.255"), Some(1));
        assert_eq!(space_of(&ranges, "11.0.0.0"), None);
        assert_eq!(space_of(&ranges, "fd00::1"), Some(5));
        assert_eq!(space_of(&ranges, "::"), None);
    }
}
