//! Names that nothing declares and that never leave the machine all the same: special-use domain names (RFC 6761) and the
//! locally served zones of addresses that mean something else everywhere (RFC 6303).
//!
//! An upstream could only answer them wrongly, and would learn of them. What is declared goes first: an owned name below one of these
//! answers as it does elsewhere, and what lies between the two is an empty non-terminal. `example.` (RFC 6761 §6.5) and
//! `ipv4only.arpa.` (RFC 8880 §7) are no part of this: resolvers look them up like any other name.
//!
//! The zones are a table of digits, not of names: 100.64.0.0/10 alone would be sixty-four names to compare with.

use std::ops::RangeInclusive;

use super::find::is_at_or_above;
use super::found::{Missing, Node, Owned, Types, Zone};
use super::reverse::{nibble_of, octet_of};
use super::{NameEntry, Snapshot, View};
use crate::name::{Name, NameBuffer};

/// What keeps a name on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserved {
    /// It is `localhost` or below it (RFC 6761 §6.3).
    Localhost,
    /// It is in a top-level domain that the root does not have.
    TopLevel,
    /// It is in a zone that everybody serves for themselves; the zone's name starts at this label.
    Zone(usize),
}

impl Reserved {
    /// What keeps `name` here, if anything does.
    pub(super) fn of(name: &NameBuffer) -> Option<Self> {
        let last = name.label_count().checked_sub(1)?;
        match name.label(last) {
            b"localhost" => Some(Self::Localhost),
            // RFC 9476, ICANN (2024), RFC 6761 §6.4, RFC 6762 §22.1, RFC 7686, RFC 6761 §6.2.
            b"alt" | b"internal" | b"invalid" | b"local" | b"onion" | b"test" => Some(Self::TopLevel),
            b"arpa" => Self::of_arpa(name, last.checked_sub(1)?),
            _ => None,
        }
    }

    fn of_arpa(name: &NameBuffer, second: usize) -> Option<Self> {
        match name.label(second) {
            // RFC 8375 §4, RFC 9462 §6.4.
            b"home" | b"resolver" => Some(Self::Zone(second)),
            b"in-addr" => empty_zone(name, second, &EMPTY_V4, octet_of).map(Self::Zone),
            b"ip6" => empty_zone(name, second, &EMPTY_V6, nibble_of).map(Self::Zone),
            _ => None,
        }
    }
}

/// Whether every name in `zone` stays here though nothing declares it.
#[must_use]
pub fn is_reserved(zone: &Name) -> bool {
    Reserved::of(&NameBuffer::from(zone)).is_some()
}

impl Snapshot {
    /// What a reserved name is that nothing declares.
    pub(super) fn find_reserved(&self, view: View, name: &NameBuffer, reserved: Reserved) -> Owned<'_> {
        let (apex, node) = match reserved {
            Reserved::Localhost => (name.label_count(), Node::Localhost),
            Reserved::TopLevel if self.is_above_ours(view, name) => (name.label_count(), Node::EmptyNonTerminal),
            // The root says that the top-level domain is not there, so the SOA is the root's as well.
            Reserved::TopLevel => (name.label_count(), Node::Missing(Missing::SpecialUse)),
            Reserved::Zone(apex) => (apex, self.find_in_zone(view, name, apex)),
        };
        Owned { apex, types: Types::All, node }
    }

    fn find_in_zone(&self, view: View, name: &NameBuffer, apex: usize) -> Node<'static> {
        let is_ip6 = name.label(name.label_count().saturating_sub(2)) == b"ip6";
        match apex {
            // The only zone of IPv6 whose name ends in 1 as a whole is that of `::1`.
            0 if is_ip6 && name.label(0) == b"1" => Node::LocalhostPointer(Zone::Apex),
            0 => Node::Apex,
            _ if name.wire() == LOOPBACK => Node::LocalhostPointer(Zone::Inside),
            // An end by octets is one by labels here: taken for a length, a digit or a letter (48 and more) is too long.
            _ if LOOPBACK.ends_with(name.wire()) || name.wire() == DISCOVERY || self.is_above_ours(view, name) => {
                Node::EmptyNonTerminal
            }
            _ if matches!(name.label(name.label_count().saturating_sub(2)), b"home" | b"resolver") => {
                Node::Missing(Missing::SpecialUse)
            }
            _ => Node::Missing(Missing::NoAddress),
        }
    }

    /// Whether something that is declared lies at `name` or below it.
    fn is_above_ours(&self, view: View, name: &NameBuffer) -> bool {
        self.is_zone_or_above(view, name)
            || self.space(view.space).is_some_and(|space| space.reverse.iter().any(|zone| is_at_or_above(name, zone)))
            || matches!(
                self.name_entry(view.space, name.wire()),
                Some(NameEntry::Owner { .. } | NameEntry::EmptyNonTerminal(_))
            )
    }
}

/// The label at which the empty zone starts that `name` is in; the digits are those of the labels before `tree`.
fn empty_zone(
    name: &NameBuffer,
    tree: usize,
    zones: &[Empty],
    digit_of: impl Fn(&[u8]) -> Option<u8>,
) -> Option<usize> {
    zones.iter().find_map(|(above, last)| {
        let apex = tree.checked_sub(above.len() + 1)?;
        let digit = |place: usize| digit_of(name.label(tree - 1 - place));
        let fits = above.iter().zip(0..).all(|(wanted, place)| digit(place) == Some(*wanted));
        (fits && digit(above.len()).is_some_and(|digit| last.contains(&digit))).then_some(apex)
    })
}

/// Zones by their digits, the most significant first: all but the last, and what the last may be.
type Empty = (&'static [u8], RangeInclusive<u8>);

/// RFC 6303 §4.1 to §4.2, RFC 7793.
const EMPTY_V4: [Empty; 11] = [
    (&[], 0..=0),
    (&[], 10..=10),
    (&[100], 64..=127),
    (&[], 127..=127),
    (&[169], 254..=254),
    (&[172], 16..=31),
    (&[192, 0], 2..=2),
    (&[192], 168..=168),
    (&[198, 51], 100..=100),
    (&[203, 0], 113..=113),
    (&[255, 255, 255], 255..=255),
];

/// RFC 6303 §4.3 to §4.6: `::` and `::1`, fc00::/7 (the RFC has only the half that is in use), fe80::/10, 2001:db8::/32.
const EMPTY_V6: [Empty; 4] =
    [(&[0; 31], 0..=1), (&[0xf], 0xc..=0xd), (&[0xf, 0xe], 0x8..=0xb), (&[2, 0, 0, 1, 0, 0xd, 0xb], 8..=8)];

/// `1.0.0.127.in-addr.arpa.`
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\x00";
/// `_dns.resolver.arpa.`, where clients look for an encrypted way to the resolver that they have (RFC 9462 §4): forwarded, it would
/// lead them past us. There is none to offer, but the name is one that they may ask for.
const DISCOVERY: &[u8] = b"\x04_dns\x08resolver\x04arpa\x00";

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(name: &str) -> Option<Reserved> {
        Reserved::of(&NameBuffer::from(&name.parse::<Name>().unwrap()))
    }

    #[test]
    fn a_zone_begins_at_its_last_digit() {
        for (name, apex) in [
            ("10.in-addr.arpa", 0),
            ("1.2.10.in-addr.arpa", 2),
            ("b._dns-sd._udp.0.10.in-addr.arpa", 4),
            ("31.172.in-addr.arpa", 0),
            ("9.127.100.in-addr.arpa", 1),
            ("255.255.255.255.in-addr.arpa", 0),
            ("a.8.e.f.ip6.arpa", 1),
            ("8.b.d.0.1.0.0.2.ip6.arpa", 0),
            ("x.home.arpa", 1),
        ] {
            assert_eq!(reserved(name), Some(Reserved::Zone(apex)), "{name}");
        }
    }

    #[test]
    fn what_lies_beside_a_zone_is_foreign() {
        for name in [
            ".",
            "arpa",
            "in-addr.arpa",
            "11.in-addr.arpa",
            "010.in-addr.arpa",
            "15.172.in-addr.arpa",
            "172.in-addr.arpa",
            "128.100.in-addr.arpa",
            "1.0.192.in-addr.arpa",
            "255.255.255.in-addr.arpa",
            "f.ip6.arpa",
            "c.e.f.ip6.arpa",
            "9.b.d.0.1.0.0.2.ip6.arpa",
            "0.0.0.ip6.arpa",
            "ipv4only.arpa",
            "example",
            "local.example",
        ] {
            assert_eq!(reserved(name), None, "{name}");
        }
    }
}
