//! Who asks, and what they are shown (design §3).
//!
//! Rules become one sorted list of disjoint address ranges when they are compiled, so that finding a caller's view is one
//! look-up for instances and one binary search for everybody else, whatever the number of LANs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AppIndex, SpaceIndex};

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
    ranges: Box<[Range<u128>]>,
    /// Those of `ranges` that lie among the IPv4 addresses, by those: numbers of 32 bits are compared in a quarter of the instructions.
    v4: Box<[Range<u32>]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range<T> {
    first: T,
    last: T,
    view: View,
}

/// A rule that [`Ranges`] are made of: the addresses and the view of callers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The addresses.
    pub network: ipnet::IpNet,
    /// Lower ranks go first, whatever their length: LANs 0, CIDRs 1, peers 2, this machine 3.
    pub rank: u8,
    /// The view.
    pub view: View,
}

/// The rules by which callers on this machine have `view`: they rank below everybody else.
#[must_use]
pub fn loopback(view: View) -> [Rule; 2] {
    let v4 = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let v6 = ipnet::Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
    [v4.into(), v6.into()].map(|network| Rule { network, rank: 3, view })
}

impl Ranges {
    /// Flattens rules: at every address the lowest rank holds, and within a rank the longest prefix.
    #[must_use]
    pub fn flatten(rules: &[Rule]) -> Self {
        let mut sorted = rules.to_vec();
        // The strongest rule last: each in turn overwrites what was there.
        sorted.sort_by_key(|rule| (std::cmp::Reverse(rule.rank), rule.network.prefix_len()));
        let mut ranges = std::collections::BTreeMap::<u128, Range<u128>>::new();
        for rule in &sorted {
            overwrite(
                &mut ranges,
                Range { first: first_of(rule.network), last: last_of(rule.network), view: rule.view },
            );
        }
        Self::of(ranges.into_values().collect())
    }

    fn of(ranges: Box<[Range<u128>]>) -> Self {
        // One that reaches beyond the IPv4 addresses on either side is cut: it is none of private addresses, but it is what was said.
        let (lowest, highest) = (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), Ipv4Addr::BROADCAST.to_ipv6_mapped());
        let v4_of = |address: u128| {
            Ipv6Addr::from_bits(address.clamp(lowest.to_bits(), highest.to_bits()))
                .to_ipv4_mapped()
                .map(Ipv4Addr::to_bits)
        };
        let meets = |range: &&Range<u128>| range.first <= highest.to_bits() && range.last >= lowest.to_bits();
        let cut = |range: &Range<u128>| {
            Some(Range { first: v4_of(range.first)?, last: v4_of(range.last)?, view: range.view })
        };
        Self { v4: ranges.iter().filter(meets).filter_map(cut).collect(), ranges }
    }

    /// Makes ranges of what [`iter`](Self::iter) gave; `None` when they overlap or are out of order.
    #[must_use]
    pub fn from_sorted(ranges: Vec<(u128, u128, View)>) -> Option<Self> {
        let follow = ranges.is_sorted_by(|(_, last, _), (first, ..)| last < first);
        let whole = follow && ranges.iter().all(|(first, last, _)| first <= last);
        whole.then(|| Self::of(ranges.into_iter().map(|(first, last, view)| Range { first, last, view }).collect()))
    }

    /// Every range: its first and its last address, and the view of the callers in it.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128, View)> + '_ {
        self.ranges.iter().map(|range| (range.first, range.last, range.view))
    }

    /// The view of callers at `address`; IPv4-mapped IPv6 addresses count as what they hold.
    #[inline(always)]
    #[must_use]
    pub fn view_of(&self, address: IpAddr) -> Option<View> {
        match address {
            IpAddr::V4(address) => look_up(&self.v4, address.to_bits()),
            IpAddr::V6(address) => look_up(&self.ranges, address.to_bits()),
        }
    }
}

#[inline(always)]
fn look_up<T: Copy + Ord>(ranges: &[Range<T>], address: T) -> Option<View> {
    // Most servers have a few ranges, and no call is made for those.
    let first = if ranges.len() <= FEW { 0 } else { ranges.partition_point(|range| range.last < address) };
    for range in ranges.get(first..)? {
        if address <= range.last {
            return (range.first <= address).then_some(range.view);
        }
    }
    None
}

/// How many ranges are looked at one by one.
const FEW: usize = 8;

/// The number that an address is looked up by: IPv4 as IPv4-mapped IPv6.
#[inline(always)]
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
fn overwrite(ranges: &mut std::collections::BTreeMap<u128, Range<u128>>, new: Range<u128>) {
    let touched: Vec<Range<u128>> =
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
        ranges.view_of(address.parse().unwrap()).map(|view| view.space)
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
        assert_eq!(space_of(&ranges, "::ffff:10.1.2.3"), Some(3), "an IPv4 address in IPv6's clothes");
    }

    #[test]
    fn a_range_around_the_ipv4_addresses_holds_for_them_too() {
        let ranges = Ranges::flatten(&[rule("::/0", 2, 1), rule("10.0.0.0/8", 1, 2)]);
        for (address, space) in [("9.255.255.255", 1), ("10.0.0.0", 2), ("11.0.0.0", 1), ("::", 1), ("fd00::1", 1)] {
            assert_eq!(space_of(&ranges, address), Some(space), "{address}");
        }
    }
}
