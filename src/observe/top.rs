//! Who and what is most of the traffic: the heaviest names, callers and negative answers, in bounded memory.
//!
//! The space-saving sketch (Metwally, Agrawal and El Abbadi, 2005): so many entries, and whoever is not among them takes the place of
//! the lightest and inherits its count as the error of its own. Whatever is more than one in [`ENTRIES`] of the traffic is sure to be
//! there. Counts are halved from time to time, so that what is told is of the last minutes under load, not of last month.
//!
//! A worker feeds one query in [`SAMPLED`]; one that finds the sketch being read passes its query over.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::Negative;

/// How many queries of a kind (a carrier, a type and an ending) come for each that is looked at closer; a power of two.
pub const SAMPLED: u64 = 64;

/// What one thread has sampled.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<Sketches>);

#[derive(Debug, Default)]
struct Sketches {
    names: Sketch,
    callers: Sketch,
    negatives: Sketch,
}

impl Samples {
    /// Takes in a query for `name` (on the wire, as it was asked) by `caller`, and what came of it.
    pub(super) fn take(&self, name: &[u8], caller: IpAddr, negative: Option<Negative>) {
        let mut sketches = match self.0.try_lock() {
            Ok(sketches) => sketches,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut key = [0; KEY_MAX];
        let Some((first, rest)) = key.split_first_mut() else { return };
        let Some(lower) = rest.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        // Length octets are below `A`, and so stay what they are.
        lower.make_ascii_lowercase();
        sketches.names.count(lower);
        if let Some(negative) = negative {
            *first = negative as u8;
            sketches.negatives.count(key.get(..=name.len()).unwrap_or_default());
        }
        match caller {
            IpAddr::V4(address) => sketches.callers.count(&address.octets()),
            IpAddr::V6(address) => sketches.callers.count(&address.octets()),
        }
    }
}

/// The heaviest of everything, over all threads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Top {
    /// Names that were asked for, in zone-file form.
    pub names: Vec<Heavy<String>>,
    /// Who asked.
    pub callers: Vec<Heavy<IpAddr>>,
    /// Names that got nothing, and why.
    pub negatives: Vec<Heavy<(String, Negative)>>,
}

/// Something heavy.
#[derive(Debug, Clone, PartialEq)]
pub struct Heavy<T> {
    /// What it is.
    pub what: T,
    /// Its part of the sampled queries, from 0 to 1: of all of them, or of those that got nothing.
    pub share: f64,
    /// How much of that may be somebody else's.
    pub error: f64,
}

impl Top {
    /// The heaviest of what `threads` have sampled, at most so many of each.
    pub(super) fn of<'a>(threads: impl Iterator<Item = &'a Samples>, most: usize) -> Self {
        let mut merged: [Merged; 3] = Default::default();
        for Samples(sketches) in threads {
            let sketches = sketches.lock().unwrap_or_else(PoisonError::into_inner);
            let [names, callers, negatives] = &mut merged;
            names.add(&sketches.names);
            callers.add(&sketches.callers);
            negatives.add(&sketches.negatives);
        }
        let [names, callers, negatives] = merged;
        Self {
            names: names.heaviest(most, |key| Some(Wire(key).to_string())),
            callers: callers.heaviest(most, |key| match (<[u8; 4]>::try_from(key), <[u8; 16]>::try_from(key)) {
                (Ok(octets), _) => Some(IpAddr::from(octets)),
                (_, Ok(octets)) => Some(IpAddr::from(octets)),
                _ => None,
            }),
            negatives: negatives.heaviest(most, |key| {
                let (why, name) = key.split_first()?;
                let why = Negative::ALL.into_iter().find(|negative| *negative as u8 == *why)?;
                Some((Wire(name).to_string(), why))
            }),
        }
    }
}

/// A bounded list of what was counted most.
#[derive(Debug, Default)]
struct Sketch {
    entries: Vec<Entry>,
    /// All that was counted, halved with the entries.
    total: u64,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Vec<u8>,
    count: u64,
    error: u64,
}

impl Sketch {
    fn count(&mut self, key: &[u8]) {
        self.total += 1;
        if self.total >= AGE {
            self.total /= 2;
            for entry in &mut self.entries {
                (entry.count, entry.error) = (entry.count / 2, entry.error / 2);
            }
        }
        let hash = hash(key);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.hash == hash && entry.key == key) {
            entry.count += 1;
        } else if self.entries.len() < ENTRIES {
            self.entries.push(Entry { hash, key: key.to_vec(), count: 1, error: 0 });
        } else if let Some(lightest) = self.entries.iter_mut().min_by_key(|entry| entry.count) {
            lightest.error = lightest.count;
            lightest.count += 1;
            lightest.hash = hash;
            // Within its capacity, most of the time: nothing is allocated.
            lightest.key.clear();
            lightest.key.extend_from_slice(key);
        }
    }
}

#[derive(Debug, Default)]
struct Merged {
    counts: HashMap<Vec<u8>, (u64, u64)>,
    total: u64,
}

impl Merged {
    fn add(&mut self, sketch: &Sketch) {
        self.total += sketch.total;
        for Entry { key, count, error, .. } in &sketch.entries {
            let sum = self.counts.entry(key.clone()).or_default();
            *sum = (sum.0 + count, sum.1 + error);
        }
    }

    fn heaviest<T>(self, most: usize, read: impl Fn(&[u8]) -> Option<T>) -> Vec<Heavy<T>> {
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort_by(|(a, (one, _)), (b, (other, _))| other.cmp(one).then_with(|| a.cmp(b)));
        #[allow(clippy::cast_precision_loss, reason = "a share for people: it is cut to a few digits anyway")]
        let share = |count: u64| count as f64 / self.total.max(1) as f64;
        let heavy = counts.into_iter().take(most).filter_map(|(key, (count, error))| {
            Some(Heavy { what: read(&key)?, share: share(count), error: share(error) })
        });
        heavy.collect()
    }
}

/// FNV-1a: a first look before keys are compared, nothing more.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

/// A name on the wire, printed as in a zone file (RFC 1035 §5.1): what could move a cursor or end a line is `\DDD`.
pub(super) struct Wire<'w>(pub(super) &'w [u8]);

impl fmt::Display for Wire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut is_root = true;
        while let Some((length, behind)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, next) = behind.split_at_checked(usize::from(*length)).unwrap_or((behind, &[]));
            for octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(*octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
            (rest, is_root) = (next, false);
        }
        if is_root { f.write_str(".") } else { Ok(()) }
    }
}

/// How many entries a sketch has. A query that is sampled looks at all of them: a few hundred octets.
const ENTRIES: usize = 128;

/// After so many samples all counts are halved: about half a million queries of a thread.
const AGE: u64 = 8192;

/// The octets of the longest key: a name, and why it got nothing.
const KEY_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"\x03WeB\x04shop\x00";

    #[test]
    fn the_heaviest_are_found_among_any_number_of_others_in_bounded_memory() {
        let samples = [Samples::default(), Samples::default()];
        for number in 0..100_000_u32 {
            let thread = &samples[usize::try_from(number % 2).unwrap()];
            let noise = [&[10][..], format!("{number:010}").as_bytes(), &[0]].concat();
            thread.take(&noise, IpAddr::from(number.to_be_bytes()), Some(Negative::Unknown));
            if number % 10 == 0 {
                thread.take(NAME, IpAddr::from([10, 0, 0, 1]), None);
            }
        }
        let top = Top::of(samples.iter(), 10);
        assert_eq!(top.names[0].what, "web.shop.");
        assert!((0.05..0.2).contains(&top.names[0].share), "{:?}", top.names[0]);
        assert_eq!(top.callers[0].what, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(top.names.len(), 10);
        assert!(top.negatives.iter().all(|heavy| heavy.what.1 == Negative::Unknown));
        for Samples(sketches) in &samples {
            let sketches = sketches.lock().unwrap();
            for sketch in [&sketches.names, &sketches.callers, &sketches.negatives] {
                assert!(sketch.entries.len() <= ENTRIES && sketch.total <= AGE);
            }
        }
    }

    #[test]
    fn no_octet_of_a_name_is_printed_raw_that_could_do_harm() {
        let every: Vec<u8> = (0..=255).collect();
        for chunk in every.chunks(63) {
            let wire = [&[u8::try_from(chunk.len()).unwrap()][..], chunk, &[0]].concat();
            let printed = Wire(&wire).to_string();
            assert!(printed.bytes().all(|octet| octet.is_ascii_graphic()), "{printed}");
        }
        assert_eq!(Wire(b"\x05a.b\n\xff\x00").to_string(), "a\\.b\\010\\255.");
        assert_eq!(Wire(&[0]).to_string(), ".");
    }
}
