//! Names that differ in their first label alone, which is a number: the instances of a component.
//!
//! An SRV set has a thousand of them. So what they share is laid out once, with room before it for the longest number, and each name is
//! the digits put there and then one run of octets.

use crate::name::NAME_MAX;

/// The names below one name whose first label is a number.
#[derive(Debug)]
pub struct Numbered {
    /// The number's label ends at [`LABEL_END`], and what is below it follows.
    octets: [u8; LABEL_END + NAME_MAX],
    end: usize,
    /// The number that is laid out, and where its digits begin; 0 before there is one.
    number: u32,
    first: usize,
}

impl Numbered {
    /// Lays out `<labels>.<domain>`; `None` when that is longer than a name may be. `domain` is in wire form.
    #[must_use]
    pub fn below(labels: [&[u8]; 2], domain: &[u8]) -> Option<Self> {
        let mut names = Self { octets: [0; LABEL_END + NAME_MAX], end: LABEL_END, number: 0, first: LABEL_END };
        for label in labels {
            // A label has 63 octets at most.
            names.push(&label.len().to_le_bytes()[..1])?;
            names.push(label)?;
        }
        names.push(domain)?;
        Some(names)
    }

    fn push(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.end + octets.len();
        self.octets.get_mut(self.end..end)?.copy_from_slice(octets);
        self.end = end;
        Some(())
    }

    /// The name of this number, in wire form.
    #[inline(always)]
    pub fn name(&mut self, number: u32) -> &[u8] {
        match self.octets.get_mut(LABEL_END - 1) {
            // Instances are mostly numbered in a row: then it is the last digit that counts up, nine times of ten.
            Some(last) if self.number.checked_add(1) == Some(number) && *last < b'9' && self.number > 0 => *last += 1,
            _ => self.lay_out(number),
        }
        self.number = number;
        self.octets.get(self.first - 1..self.end).unwrap_or_default()
    }

    fn lay_out(&mut self, number: u32) {
        self.first = LABEL_END;
        let mut rest = number;
        // Ten digits at most, so the first place is left for the length.
        for digit in self.octets.first_chunk_mut::<LABEL_END>().into_iter().flatten().rev() {
            *digit = b'0' + (rest % 10).to_le_bytes()[0];
            self.first -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if let Some(length) = self.octets.get_mut(self.first - 1) {
            *length = (LABEL_END - self.first).to_le_bytes()[0];
        }
    }

    /// Octets of what the names share.
    #[must_use]
    pub const fn shared(&self) -> usize {
        self.end - LABEL_END
    }
}

/// How many digits a number has.
#[inline(always)]
pub(super) const fn digits(number: u32) -> usize {
    match number {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        _ => number.ilog10() as usize + 1,
    }
}

/// Writes a number into a place for as many digits as it has.
#[inline(always)]
pub(super) fn put_digits(number: u32, place: &mut [u8]) {
    // Almost every component has fewer than ten instances.
    if let [digit] = place {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        return;
    }
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
    }
}

/// Ten digits at most, and the length octet before them.
const LABEL_END: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_name() {
        let mut names = Numbered::below([b"web", b"shop"], b"\x03app\x00").unwrap();
        for (number, label) in [
            (7, &b"\x017"[..]),
            (u32::MAX, b"\x0a4294967295"),
            (10, b"\x0210"),
            (0, b"\x010"),
            (998, b"\x03998"),
            (999, b"\x03999"),
            (1000, b"\x041000"),
            (1001, b"\x041001"),
            (0, b"\x010"),
            (1, b"\x011"),
            (2, b"\x012"),
            (u32::MAX - 1, b"\x0a4294967294"),
            (u32::MAX, b"\x0a4294967295"),
            (0, b"\x010"),
        ] {
            assert_eq!(names.name(number), [label, b"\x03web\x04shop\x03app\x00"].concat());
        }
        assert_eq!(names.shared(), b"\x03web\x04shop\x03app\x00".len());
    }

    #[test]
    fn what_is_longer_than_a_name_is_none() {
        let domain = b"\x3faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(3);
        let labels = [&[b'b'; 31][..], &[b'c'; 29]];
        assert!(Numbered::below(labels, &[&domain, &[0][..]].concat()).is_some_and(|names| names.shared() == 255));
        assert!(Numbered::below(labels, &[&domain, &[1, b'd', 0][..]].concat()).is_none());
    }
}
