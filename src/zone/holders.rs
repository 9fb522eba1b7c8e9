//! Who holds which instance address.
//!
//! Nearly all are IPv4 addresses that one app holds. Those lie apart: a slot of theirs has 16 octets, where an address of any kind with
//! whether it is shared takes 32.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AppIndex, Table};
use crate::name::fold;

/// Where a registered instance address belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// Without room behind the address a slot is 32 octets and not 48.
#[repr(Rust, packed(4))]
pub struct Holder {
    /// The address, as [`key_of`](super::key_of) gives it.
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

/// Registered instance addresses, each with who holds it.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    sole_v4: Table<SoleV4>,
    others: Table<Holder>,
}

/// An IPv4 address that one app holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SoleV4 {
    address: u32,
    app: AppIndex,
    component: u16,
    instance: u16,
}

impl Holders {
    /// Makes room for so many IPv4 addresses, each of one app.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        Self { sole_v4: Table::with_room(count), others: Table::new() }
    }

    /// Who holds an address, which comes as [`key_of`](super::key_of) gives it.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, address: u128) -> Option<Holder> {
        if let Some(v4) = v4_in(address)
            && let Some(found) = self.sole_v4.find(hash_of_v4(v4), |sole| sole.address == v4)
        {
            return Some(found.widened(address));
        }
        // Most servers have none.
        if self.others.is_empty() { None } else { self.others.find(hash_of(address), |other| other.address == address) }
    }

    /// Puts in who holds an address that nobody holds.
    pub fn insert(&mut self, holder: Holder) {
        match SoleV4::of(&holder) {
            Some(sole) => self.sole_v4.insert(hash_of_v4(sole.address), sole),
            None => self.others.insert(hash_of(holder.address), holder),
        }
    }

    /// Takes out who holds an address.
    pub fn remove(&mut self, holder: Holder) {
        match SoleV4::of(&holder) {
            Some(sole) => self.sole_v4.remove(hash_of_v4(sole.address), sole),
            None => self.others.remove(hash_of(holder.address), holder),
        };
    }

    /// Every one, in no order.
    pub fn values(&self) -> impl Iterator<Item = Holder> + '_ {
        let sole = self.sole_v4.values().map(|sole| sole.widened(Ipv4Addr::from(sole.address).to_ipv6_mapped().into()));
        sole.chain(self.others.values())
    }
}

impl SoleV4 {
    fn of(holder: &Holder) -> Option<Self> {
        let Holder { address, app, component, instance, sharing } = *holder;
        let address = v4_in(address).filter(|_| sharing == Sharing::Sole)?;
        Some(Self { address, app, component, instance })
    }

    #[inline(always)]
    const fn widened(self, address: u128) -> Holder {
        let Self { address: _, app, component, instance } = self;
        Holder { address, app, component, instance, sharing: Sharing::Sole }
    }
}

/// The IPv4 address in an address that is mapped.
#[inline(always)]
fn v4_in(address: u128) -> Option<u32> {
    u32::try_from(address ^ MAPPED).ok()
}

/// `::ffff:0.0.0.0`, before all mapped addresses (RFC 4291 §2.5.5.2).
const MAPPED: u128 = 0xffff_0000_0000;

#[inline(always)]
fn hash_of_v4(address: u32) -> u64 {
    fold(u64::from(address) ^ 0x9e37_79b9_7f4a_7c15, 0x94d0_49bb_1331_11eb)
}

const fn hash_of(address: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = address.to_le_bytes();
    let (low, high) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest));
    fold(low ^ 0x9e37_79b9_7f4a_7c15, high ^ 0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::super::key_of;
    use super::*;

    #[test]
    fn each_address_has_its_holder_whatever_its_kind_and_however_many_share_it() {
        let mut holders = Holders::default();
        let addresses = ["10.0.0.1", "::ffff:10.0.0.2", "fd00::1", "::a00:1", "0.0.0.0"];
        let all = addresses.iter().zip(0..).flat_map(|(address, app)| {
            let address = key_of(address.parse().unwrap());
            [(address, Sharing::Sole), (address + 7, Sharing::Shared)].map(|(address, sharing)| Holder {
                address,
                app,
                component: 1,
                instance: 2,
                sharing,
            })
        });
        let all: Vec<Holder> = all.collect();
        all.iter().for_each(|holder| holders.insert(*holder));
        assert!(all.iter().all(|holder| holders.find(holder.address) == Some(*holder)));
        assert_eq!(holders.values().count(), all.len());
        assert!(holders.values().all(|holder| all.contains(&holder)));
        assert_eq!(holders.sole_v4.len(), 3);
        for (gone, holder) in all.iter().enumerate() {
            holders.remove(*holder);
            assert!(all.iter().enumerate().all(|(at, holder)| holders.find(holder.address).is_some() == (at > gone)));
        }
    }

    #[test]
    fn an_address_takes_sixteen_octets_with_its_tag() {
        assert_eq!(size_of::<SoleV4>(), 12);
        assert_eq!(size_of::<Holder>(), 28);
    }
}
