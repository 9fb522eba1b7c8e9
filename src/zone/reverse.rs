//! Reverse names: which instance has an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::find::number_of;
use super::found::{Missing, Node, Owned, Pointer, Types};
use super::{Audience, Lan, Snapshot, Space, View, key_of};
use crate::name::NameBuffer;

impl Snapshot {
    /// Reverse names of the space's addresses.
    ///
    /// Every octet or nibble between a zone's apex and a whole address is an empty non-terminal, whether an address is
    /// registered below it or not: else its existence would tell of instances that the caller may not see.
    pub(super) fn find_reverse<'s>(&'s self, view: View, space: &Space, name: &NameBuffer) -> Option<Owned<'s>> {
        let count = name.label_count();
        let apex = (0..count)
            .find(|index| space.reverse.binary_search_by(|zone| zone.wire().cmp(name.suffix(*index))).is_ok())?;
        let node = if apex == 0 {
            Node::Apex
        } else {
            match reversed(name) {
                Reversed::Address(address) => {
                    self.pointer(view, address).map_or(Node::Missing(Missing::NoAddress), Node::Pointer)
                }
                Reversed::Part => Node::EmptyNonTerminal,
                Reversed::Neither => Node::Missing(Missing::NoAddress),
            }
        };
        Some(Owned { apex, types: Types::All, node })
    }

    fn pointer(&self, view: View, address: IpAddr) -> Option<Pointer<'_>> {
        let holder = self.holder(key_of(address))?;
        let app = self.apps.at(holder.app)?;
        if app.space != view.space || (app.audience == Audience::Lan && view.lan != Lan::App(holder.app)) {
            return None;
        }
        let component = app.components.get(usize::from(holder.component))?;
        let instance = component.instances.get(usize::from(holder.instance))?;
        Some(Pointer { app, component, instance })
    }
}

/// The octet that a label of `in-addr.arpa.` is.
pub(super) fn octet_of(label: &[u8]) -> Option<u8> {
    if label == b"0" { Some(0) } else { number_of(label).and_then(|number| u8::try_from(number).ok()) }
}

/// The nibble that a label of `ip6.arpa.` is; labels are lower-cased.
pub(super) const fn nibble_of(label: &[u8]) -> Option<u8> {
    match label {
        [digit @ b'0'..=b'9'] => Some(*digit - b'0'),
        [digit @ b'a'..=b'f'] => Some(*digit - b'a' + 10),
        _ => None,
    }
}

/// What a name below `arpa.` stands for.
enum Reversed {
    Address(IpAddr),
    Part,
    Neither,
}

fn reversed(name: &NameBuffer) -> Reversed {
    let Some(digits) = name.label_count().checked_sub(2) else { return Reversed::Neither };
    let labels = (0..digits).map(|index| name.label(index));
    match name.label(digits) {
        b"in-addr" => {
            let mut octets = [0_u8; 4];
            for (label, place) in labels.clone().rev().zip(0..) {
                match (octets.get_mut::<usize>(place), octet_of(label)) {
                    (Some(to), Some(octet)) => *to = octet,
                    _ => return Reversed::Neither,
                }
            }
            if digits == octets.len() { Reversed::Address(Ipv4Addr::from(octets).into()) } else { Reversed::Part }
        }
        b"ip6" => {
            let mut address = 0_u128;
            for label in labels.rev() {
                let Some(nibble) = nibble_of(label) else { return Reversed::Neither };
                address = address << 4 | u128::from(nibble);
            }
            match digits {
                0..32 => Reversed::Part,
                32 => Reversed::Address(Ipv6Addr::from_bits(address).into()),
                _ => Reversed::Neither,
            }
        }
        _ => Reversed::Neither,
    }
}
