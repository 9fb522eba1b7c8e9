//! The addresses behind a name, and which of them a response carries when it cannot carry all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many buckets callers are divided into for large sets.
pub const BUCKETS: usize = 64;
/// The most addresses that a picked subset is kept for: 1232 octets hold at most 75 A records behind a shortest name.
const PICK_MAX: usize = 76;
/// From how many addresses on subsets are picked: 512 octets hold 27 A or 15 AAAA records behind an average name.
const PICK_FROM: usize = 15;

/// The addresses behind a name, without duplicates, in order.
///
/// For a large set each bucket of callers has its own order of preference (a rendezvous hash of bucket and address), so the
/// subset that a small response carries is the same for a caller every time, is spread evenly over callers, and changes only
/// where the address that came or went is part of it (design §4.2).
///
/// Nearly every set is of a few IPv4 addresses, and lies in the value itself.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressSet(Form);

/// How a set is kept; which of the two follows from what is in it.
#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// So many IPv4 addresses; behind them are unspecified ones.
    Few(u8, [Ipv4Addr; FEW]),
    Many(Box<Many>),
}

/// As many addresses as fit beside their number in three words.
const FEW: usize = 5;

#[derive(Clone, PartialEq, Eq)]
struct Many {
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
    /// For each bucket the indices of its first choices; empty for a small set.
    picks_v4: Box<[u16]>,
    picks_v6: Box<[u16]>,
}

impl Default for AddressSet {
    fn default() -> Self {
        Self(Form::Few(0, [Ipv4Addr::UNSPECIFIED; FEW]))
    }
}

impl fmt::Debug for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressSet")
            .field("v4", &self.v4())
            .field("v6", &self.v6())
            .field("picks", &self.picks())
            .finish()
    }
}

impl AddressSet {
    /// Sorts, removes duplicates and, for a large set, picks the subsets.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        let picks_v4 = pick(&v4, |address| u64::from(address.to_bits()));
        let picks_v6 = pick(&v6, |address| super::table::hash(0, &address.octets()));
        Self::of(v4, v6, [picks_v4, picks_v6])
    }

    fn of(v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr>, [picks_v4, picks_v6]: [Box<[u16]>; 2]) -> Self {
        if !v6.is_empty() || v4.len() > FEW {
            return Self(Form::Many(Box::new(Many { v4: v4.into(), v6: v6.into(), picks_v4, picks_v6 })));
        }
        let mut few = [Ipv4Addr::UNSPECIFIED; FEW];
        few.iter_mut().zip(&v4).for_each(|(to, from)| *to = *from);
        Self(Form::Few(v4.len().to_le_bytes()[0], few))
    }

    /// Makes a set of the parts of another; `None` when they are not those of one.
    #[must_use]
    pub fn from_parts(v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr>, picks_v4: Vec<u16>, picks_v6: Vec<u16>) -> Option<Self> {
        let fits = |picks: &[u16], count: usize| {
            let each = if count <= PICK_FROM { 0 } else { count.min(PICK_MAX) };
            picks.len() == each * BUCKETS && picks.iter().all(|index| usize::from(*index) < count)
        };
        let whole = v4.is_sorted() && v6.is_sorted() && fits(&picks_v4, v4.len()) && fits(&picks_v6, v6.len());
        whole.then(|| Self::of(v4, v6, [picks_v4.into(), picks_v6.into()]))
    }

    /// The subsets that were picked for callers, of IPv4 and of IPv6: what [`from_parts`](Self::from_parts) takes.
    #[must_use]
    pub fn picks(&self) -> [&[u16]; 2] {
        self.many().map_or([&[], &[]], |many| [&many.picks_v4, &many.picks_v6])
    }

    #[inline(always)]
    fn many(&self) -> Option<&Many> {
        match &self.0 {
            Form::Few(..) => None,
            Form::Many(many) => Some(many),
        }
    }

    /// The IPv4 addresses.
    #[inline(always)]
    #[must_use]
    pub fn v4(&self) -> &[Ipv4Addr] {
        match &self.0 {
            // The lesser of the two is always the first, and then nothing is checked.
            Form::Few(count, few) => few.get(..usize::from(*count).min(FEW)).unwrap_or_default(),
            Form::Many(many) => &many.v4,
        }
    }

    /// The IPv6 addresses.
    #[inline(always)]
    #[must_use]
    pub fn v6(&self) -> &[Ipv6Addr] {
        self.many().map_or(&[], |many| &many.v6)
    }

    /// Whether there is no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Form::Few(0, _))
    }

    /// The indices into [`v4`](Self::v4) that the callers of `bucket` prefer, best first; `None` for a small set.
    #[must_use]
    pub fn preferred_v4(&self, bucket: usize) -> Option<&[u16]> {
        preferred(&self.many()?.picks_v4, bucket)
    }

    /// The same for [`v6`](Self::v6).
    #[must_use]
    pub fn preferred_v6(&self, bucket: usize) -> Option<&[u16]> {
        preferred(&self.many()?.picks_v6, bucket)
    }
}

/// The bucket of a caller's address.
#[must_use]
pub fn bucket_of(caller: IpAddr) -> usize {
    let hash = match caller {
        IpAddr::V4(address) => super::table::hash(4, &address.octets()),
        IpAddr::V6(address) => super::table::hash(6, &address.octets()),
    };
    usize::try_from(hash >> 32).unwrap_or(0) % BUCKETS
}

fn preferred(picks: &[u16], bucket: usize) -> Option<&[u16]> {
    let each = picks.len() / BUCKETS;
    if each == 0 { None } else { picks.get(bucket * each..(bucket + 1) * each) }
}

fn pick<T: Copy>(addresses: &[T], key: impl Fn(T) -> u64) -> Box<[u16]> {
    if addresses.len() <= PICK_FROM {
        return Box::default();
    }
    let each = addresses.len().min(PICK_MAX);
    let mut picks = Vec::with_capacity(each * BUCKETS);
    let mut ranked: Vec<(u64, u16)> = Vec::with_capacity(addresses.len());
    for bucket in 0..BUCKETS as u64 {
        ranked.clear();
        ranked.extend(
            addresses
                .iter()
                .zip(0..=u16::MAX)
                .map(|(address, index)| (super::table::hash(bucket, &key(*address).to_le_bytes()), index)),
        );
        ranked.sort_unstable();
        picks.extend(ranked.iter().take(each).map(|(_, index)| *index));
    }
    picks.into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn set(range: std::ops::Range<u32>) -> AddressSet {
        AddressSet::new(range.map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n))))
    }

    fn first(set: &AddressSet, bucket: usize, count: usize) -> HashSet<Ipv4Addr> {
        set.preferred_v4(bucket).unwrap().iter().take(count).map(|index| set.v4()[usize::from(*index)]).collect()
    }

    #[test]
    fn addresses_are_sorted_and_kept_once() {
        let set = AddressSet::new(["10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()));
        assert_eq!(set.v4(), [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]);
        assert_eq!(set.v6().len(), 1);
        assert_eq!(set.preferred_v4(0), None);
    }

    #[test]
    fn one_address_replaced_changes_only_the_subsets_that_held_it_or_gain_the_new_one() {
        let (before, after) = (set(0..100), set(1..101));
        let (gone, come) = (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 100));
        for bucket in 0..BUCKETS {
            let (old, new) = (first(&before, bucket, 27), first(&after, bucket, 27));
            assert!(old.difference(&new).count() <= 2);
            if !old.contains(&gone) && !new.contains(&come) {
                assert_eq!(old, new);
            }
        }
    }

    #[test]
    fn subsets_are_even_over_callers() {
        let set = set(0..100);
        let mut counts = [0_u32; 100];
        for bucket in 0..BUCKETS {
            for index in set.preferred_v4(bucket).unwrap().iter().take(27) {
                counts[usize::from(*index)] += 1;
            }
        }
        assert!(counts.iter().all(|count| (4..=34).contains(count)), "{counts:?}");
    }
}
