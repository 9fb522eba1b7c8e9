//! Takes addresses out of foreign answers that only mean something on the machine or link of whoever reads them.
//!
//! A public name with such an address makes a browser reach what its user alone can (DNS rebinding). Private addresses are not among
//! them: a split zone has them by right. An IPv4 address is looked for wherever IPv6 has a place for it, because a host or a translator on
//! the way may take it out again: mapped, compatible (RFC 4291 §2.5.5), behind NAT64's own prefix (RFC 6052 §2.1) and 6to4 (RFC 3056 §2).
//!
//! HTTPS and SVCB records have addresses too (RFC 9460 §7.3): hints, which browsers connect to before they have asked for any. A hint with
//! such an address is taken out whole; clients do without, but where the record says that they must not, it goes as well. So does a
//! record that does not read: nobody knows what another reader would find in it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::response::{Record, name_length};
use crate::record::Rtype;

/// What is left of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    Whole,
    /// All but hints.
    Part,
    /// Nothing.
    Nothing,
}

/// Takes local addresses out of `record`.
pub(super) fn clean(record: &mut Record) -> Kept {
    let is_taken_out = match record.rtype {
        Rtype::A => record.rdata.first_chunk().is_some_and(|octets| is_local_v4(Ipv4Addr::from(*octets))),
        Rtype::AAAA => record.rdata.first_chunk().is_some_and(|octets| is_local_v6(Ipv6Addr::from(*octets))),
        Rtype::SVCB | Rtype::HTTPS => return clean_hints(record),
        _ => false,
    };
    if is_taken_out { Kept::Nothing } else { Kept::Whole }
}

fn clean_hints(record: &mut Record) -> Kept {
    let Some(parameters) = parameters(&record.rdata) else { return Kept::Nothing };
    let local: Vec<&Parameter<'_>> = parameters.iter().filter(|parameter| parameter.is_local()).collect();
    if local.is_empty() {
        return Kept::Whole;
    }
    // RFC 9460 §8: a list of keys.
    let mandatory = parameters.iter().find(|parameter| parameter.key == MANDATORY);
    let is_needed =
        |key: u16| mandatory.is_some_and(|list| list.value.chunks(2).any(|listed| listed == key.to_be_bytes()));
    if local.iter().any(|parameter| is_needed(parameter.key)) {
        return Kept::Nothing;
    }
    let rest = parameters.iter().filter(|parameter| !parameter.is_local()).map(|parameter| parameter.octets);
    let taken: usize = parameters.iter().map(|parameter| parameter.octets.len()).sum();
    let head = record.rdata.get(..record.rdata.len() - taken).unwrap_or_default();
    record.rdata = [head].into_iter().chain(rest).collect::<Vec<_>>().concat();
    Kept::Part
}

/// A parameter of a service (RFC 9460 §2.2).
struct Parameter<'a> {
    key: u16,
    value: &'a [u8],
    /// All of it.
    octets: &'a [u8],
}

impl Parameter<'_> {
    fn is_local(&self) -> bool {
        match self.key {
            V4_HINT => {
                let (addresses, rest) = self.value.as_chunks::<4>();
                !rest.is_empty() || addresses.iter().any(|octets| is_local_v4(Ipv4Addr::from(*octets)))
            }
            V6_HINT => {
                let (addresses, rest) = self.value.as_chunks::<16>();
                !rest.is_empty() || addresses.iter().any(|octets| is_local_v6(Ipv6Addr::from(*octets)))
            }
            _ => false,
        }
    }
}

/// The parameters behind a priority and a name; `None` when they do not end where the data does.
fn parameters(rdata: &[u8]) -> Option<Vec<Parameter<'_>>> {
    let target = rdata.get(2..)?;
    let mut rest = target.get(name_length(target)?..)?;
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let ([a, b, c, d], after) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let (octets, next) = rest.split_at_checked(4 + length)?;
        parameters.push(Parameter { key: u16::from_be_bytes([*a, *b]), value: after.get(..length)?, octets });
        rest = next;
    }
    Some(parameters)
}

const fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unicast_link_local()
        || embedded(address).is_some_and(is_local_v4)
}

/// The IPv4 address that is in an IPv6 address.
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    #[allow(clippy::cast_possible_truncation, reason = "the low 32 bits are what is meant")]
    let (low, behind_6to4) = (Ipv4Addr::from_bits(bits as u32), Ipv4Addr::from_bits((bits >> 80) as u32));
    match (bits >> 32, bits >> 112) {
        (0 | MAPPED | NAT64, _) => Some(low),
        (_, SIX_TO_FOUR) => Some(behind_6to4),
        _ => None,
    }
}

/// `::ffff:0:0/96` and `64:ff9b::/96` without their last 32 bits, `2002::/16` without its last 112.
const MAPPED: u128 = 0xffff;
const NAT64: u128 = 0x0064_ff9b << 64;
const SIX_TO_FOUR: u128 = 0x2002;
/// RFC 9460 §14.3.2.
const MANDATORY: u16 = 0;
const V4_HINT: u16 = 4;
const V6_HINT: u16 = 6;

#[cfg(test)]
mod tests {
    use super::super::response::tests::{record, wire};
    use super::*;
    use crate::wire::Section;

    fn kept(rtype: u16, rdata: &[u8]) -> (Kept, Vec<u8>) {
        let mut record = record(Section::Answer, "a.example", rtype, 60, rdata);
        (clean(&mut record), record.rdata)
    }

    fn service(parameters: &[(u16, &[u8])]) -> Vec<u8> {
        let mut rdata = [&[0, 1][..], &wire("svc.example")].concat();
        for (key, value) in parameters {
            let length = u16::try_from(value.len()).unwrap();
            rdata.extend([&key.to_be_bytes()[..], &length.to_be_bytes(), value].concat());
        }
        rdata
    }

    #[test]
    fn an_address_is_local_however_it_is_dressed() {
        for local in [[127, 0, 0, 1], [127, 9, 9, 9], [0, 0, 0, 0], [0, 1, 2, 3], [169, 254, 169, 254]] {
            assert_eq!(kept(1, &local).0, Kept::Nothing, "{local:?}");
        }
        for public in [[10, 0, 0, 1], [192, 168, 1, 1], [128, 0, 0, 1], [169, 253, 0, 1]] {
            assert_eq!(kept(1, &public).0, Kept::Whole, "{public:?}");
        }
        let v6 = |address: &str| kept(28, &address.parse::<Ipv6Addr>().unwrap().octets()).0;
        for local in [
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:169.254.1.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::1",
        ] {
            assert_eq!(v6(local), Kept::Nothing, "{local}");
        }
        for public in
            ["fd00::1", "2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9c::127.0.0.1", "2002:808:808::1"]
        {
            assert_eq!(v6(public), Kept::Whole, "{public}");
        }
    }

    #[test]
    fn hints_with_local_addresses_go_and_the_service_stays() {
        let (alpn, port) = ((1, &b"\x02h2"[..]), (3, &[0x20, 0xfb][..]));
        let local_v6 = [&[0_u8; 15][..], &[1]].concat();
        for rtype in [64, 65] {
            let whole = service(&[alpn, port, (4, &[192, 0, 2, 1]), (6, &[0x20; 16])]);
            assert_eq!(kept(rtype, &whole), (Kept::Whole, whole));
            let hinted = service(&[alpn, (4, &[192, 0, 2, 1, 127, 0, 0, 1]), port, (6, &local_v6)]);
            assert_eq!(kept(rtype, &hinted), (Kept::Part, service(&[alpn, port])));
            let half = service(&[(4, &[192, 0, 2, 1]), (6, &local_v6)]);
            assert_eq!(kept(rtype, &half), (Kept::Part, service(&[(4, &[192, 0, 2, 1])])));
        }
        let alias = service(&[]);
        assert_eq!(kept(65, &alias), (Kept::Whole, alias));
    }

    #[test]
    fn a_service_that_needs_its_hint_or_does_not_read_goes() {
        let needed = service(&[(0, &[0, 1, 0, 4]), (1, b"\x02h2"), (4, &[127, 0, 0, 1])]);
        assert_eq!(kept(65, &needed).0, Kept::Nothing);
        let other = service(&[(0, &[0, 1]), (1, b"\x02h2"), (4, &[127, 0, 0, 1])]);
        assert_eq!(kept(65, &other).0, Kept::Part);
        let whole = service(&[(1, b"\x02h2"), (4, &[192, 0, 2, 1])]);
        for length in 0..whole.len() {
            let (cut, _) = kept(65, &whole[..length]);
            assert_eq!(cut == Kept::Nothing, ![15, 22].contains(&length), "{length} octets");
        }
        assert_eq!(kept(65, &service(&[(4, &[192, 0, 2])])), (Kept::Part, service(&[])), "a hint with half an address");
    }
}
