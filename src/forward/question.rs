//! A question as it is kept, asked and answered once for everyone: the name without case, the type, DO, CD, and the route.

use std::sync::Arc;

use crate::record::Rtype;
use crate::wire::{Flags, Query};

/// A question; cheap to clone. Two that are equal have the same answer, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, lower-cased; two octets of type; one of flags; two of route.
    octets: Arc<[u8]>,
}

/// The octets of a [`Question`] on the stack, for looking one up.
#[derive(Debug)]
pub(super) struct Lookup {
    octets: [u8; KEY_MAX],
    length: usize,
}

impl Lookup {
    /// The question of `query` on this route.
    pub(super) fn of(query: &Query, route: usize) -> Self {
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        let checking_disabled = query.header.flags.has(Flags::CD);
        Self::new(query.qname.wire(), query.qtype, dnssec_ok, checking_disabled, route)
    }

    fn new(qname: &[u8], qtype: Rtype, dnssec_ok: bool, checking_disabled: bool, route: usize) -> Self {
        let mut octets = [0; KEY_MAX];
        let [type_high, type_low] = qtype.0.to_be_bytes();
        let flags = if dnssec_ok { DO } else { 0 } | if checking_disabled { CD } else { 0 };
        let [route_low, route_high, ..] = route.to_le_bytes();
        let length = qname.len() + TAIL;
        if let Some((name, tail)) = octets.get_mut(..length).and_then(|key| key.split_at_mut_checked(qname.len()))
            && let Some(tail) = tail.first_chunk_mut::<TAIL>()
        {
            name.copy_from_slice(qname);
            *tail = [type_high, type_low, flags, route_high, route_low];
        }
        Self { octets, length }
    }

    /// The octets by which it is looked up.
    pub(super) fn key(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    pub(super) fn to_question(&self) -> Question {
        Question { octets: self.key().into() }
    }
}

impl Question {
    #[cfg(test)]
    pub(super) fn new(qname: &[u8], qtype: Rtype, dnssec_ok: bool, checking_disabled: bool, route: usize) -> Self {
        Lookup::new(qname, qtype, dnssec_ok, checking_disabled, route).to_question()
    }

    /// The octets by which it is looked up.
    pub(super) fn key(&self) -> &[u8] {
        &self.octets
    }

    /// The name, lower-cased.
    pub(super) fn qname(&self) -> &[u8] {
        self.octets.split_last_chunk::<TAIL>().map_or(&[0], |(name, _)| name)
    }

    fn tail(&self) -> [u8; TAIL] {
        self.octets.last_chunk::<TAIL>().copied().unwrap_or_default()
    }

    pub(super) fn qtype(&self) -> Rtype {
        let [high, low, ..] = self.tail();
        Rtype(u16::from_be_bytes([high, low]))
    }

    pub(super) fn dnssec_ok(&self) -> bool {
        self.tail()[2] & DO != 0
    }

    pub(super) fn checking_disabled(&self) -> bool {
        self.tail()[2] & CD != 0
    }

    /// The number of its route.
    pub(super) fn route(&self) -> usize {
        let [.., high, low] = self.tail();
        usize::from(u16::from_be_bytes([high, low]))
    }

    /// The domain that someone registered: the last two labels. Lists of public suffixes know better (`co.uk`), and change by the week;
    /// a limit need not.
    pub(super) fn domain(&self) -> &[u8] {
        let name = self.qname();
        let (mut last, mut before) = (name, name);
        let mut rest = name;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length != 0) {
            (before, last) = (last, rest);
            rest = after.get(usize::from(*length)..).unwrap_or_default();
        }
        if last.len() == name.len() { name } else { before }
    }
}

/// Octets behind the name.
const TAIL: usize = 5;
const KEY_MAX: usize = crate::name::NAME_MAX + TAIL;
const DO: u8 = 1;
const CD: u8 = 2;

#[cfg(test)]
mod tests {
    use super::super::response::tests::wire;
    use super::*;

    #[test]
    fn a_question_has_what_it_was_made_of() {
        let question = Question::new(&wire("www.example"), Rtype(15), true, false, 259);
        assert_eq!(question.qname(), wire("www.example"));
        assert_eq!((question.qtype(), question.route()), (Rtype(15), 259));
        assert!(question.dnssec_ok() && !question.checking_disabled());
    }

    #[test]
    fn a_domain_is_the_last_two_labels() {
        let domain = |name: &str| Question::new(&wire(name), Rtype::A, false, false, 0).domain().to_vec();
        for (name, expected) in
            [("a.b.example.org", "example.org"), ("example.org", "example.org"), ("org", "org"), (".", ".")]
        {
            assert_eq!(domain(name), wire(expected), "{name}");
        }
    }
}
