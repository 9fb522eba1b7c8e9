//! A hash table that is cheap to change while the one before it is being read.
//!
//! A snapshot is immutable, and the next one differs from it in a few entries. So the table is cut into shards that
//! snapshots share until one of them changes, and the shards into pages, so that the list of shards is not copied
//! whole either: a change copies one page of pointers and one shard. The number of shards is fixed and each grows by
//! itself, so no change ever rehashes everything. A persistent trie (`imbl::HashMap`) was measured by others at three
//! to four dependent loads a look-up; this has three, two of which stay in cache.
//!
//! The table knows hashes, not keys: a look-up yields the few values whose tag fits, and the caller holds each against
//! the key. That is what keeps a slot at the size of a tag and a value.

use std::sync::Arc;

use crate::name;

/// Shards in a page, and pages in a table; a power of two. 32 × 32 shards are 1,024: a million entries make a thousand
/// a shard, some 30 KiB to copy in a change.
const FAN: usize = 32;
/// Slots of a shard that has any; a power of two.
const SHARD_MIN: usize = 8;

/// A table of small values found by hash.
#[derive(Debug, Clone)]
pub struct Table<V> {
    /// Arrays and no slices: a place in them is a few bits of a hash, and need not be held against a length.
    pages: Arc<[Page<V>; FAN]>,
    length: usize,
}

type Page<V> = Arc<[Arc<Shard<V>>; FAN]>;

#[derive(Debug, Clone)]
struct Shard<V> {
    /// Empty, or a power of two of slots of which at most three quarters are taken.
    slots: Box<[Option<Slot<V>>]>,
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot<V> {
    tag: u32,
    value: V,
}

impl<V: Copy + PartialEq> Table<V> {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        let shard = Arc::new(Shard { slots: Box::default(), taken: 0 });
        let page: Page<V> = Arc::new(std::array::from_fn(|_| Arc::clone(&shard)));
        Self { pages: Arc::new(std::array::from_fn(|_| Arc::clone(&page))), length: 0 }
    }

    /// Makes an empty table with room for so many entries.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        // An eighth more than a shard's share: hashes do not fall evenly.
        let share = count / (FAN * FAN);
        let slots = (share + share / 8 + 1) * 4 / 3;
        let slots = if count == 0 { 0 } else { slots.next_power_of_two().max(SHARD_MIN) };
        let shard = || Arc::new(Shard { slots: vec![None; slots].into(), taken: 0 });
        let page = || Page::<V>::new(std::array::from_fn(|_| shard()));
        Self { pages: Arc::new(std::array::from_fn(|_| page())), length: 0 }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Yields the value under `hash` that is the one: several may look alike, and the caller compares keys.
    #[allow(clippy::manual_find, reason = "the iterator's own loop is a function that is called, at 45 instructions")]
    #[inline(always)]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(V) -> bool) -> Option<V> {
        for value in self.candidates(hash) {
            if is_it(value) {
                return Some(value);
            }
        }
        None
    }

    /// The values under `hash`: the one, if it is there, and perhaps others that look like it.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> Candidates<'_, V> {
        let place = Place::of(hash);
        let slots = self.shard(place).map_or(&[][..], |shard| &shard.slots);
        Candidates { slots, index: place.start, tag: place.tag }
    }

    /// Every value, in no order.
    pub fn values(&self) -> impl Iterator<Item = V> + '_ {
        self.pages
            .iter()
            .flat_map(|page| page.iter())
            .flat_map(|shard| shard.slots.iter())
            .flatten()
            .map(|slot| slot.value)
    }

    /// Puts `value` under `hash`. Equal values may be put twice; it is the caller who keeps keys apart.
    pub fn insert(&mut self, hash: u64, value: V) {
        let place = Place::of(hash);
        let Some(shard) = self.shard_mut(place) else { return };
        if (shard.taken + 1) * 4 > shard.slots.len() * 3 {
            shard.grow();
        }
        shard.put(Slot { tag: place.tag, value });
        self.length += 1;
    }

    /// Takes `value` from under `hash`, and says whether it was there.
    pub fn remove(&mut self, hash: u64, value: V) -> bool {
        if self.find(hash, |candidate| candidate == value).is_none() {
            return false;
        }
        let place = Place::of(hash);
        let Some(shard) = self.shard_mut(place) else { return false };
        shard.take(place, value);
        self.length -= 1;
        true
    }

    #[inline(always)]
    fn shard(&self, place: Place) -> Option<&Shard<V>> {
        self.pages.get(place.page)?.get(place.shard).map(AsRef::as_ref)
    }

    fn shard_mut(&mut self, place: Place) -> Option<&mut Shard<V>> {
        let page = Arc::make_mut(&mut self.pages).get_mut(place.page)?;
        Arc::make_mut(page).get_mut(place.shard).map(Arc::make_mut)
    }
}

/// See [`Table::candidates`]. An iterator, so that what is done about each stands in the loop of whoever asks: a closure would be called.
pub(super) struct Candidates<'t, V> {
    slots: &'t [Option<Slot<V>>],
    index: usize,
    tag: u32,
}

impl<V: Copy> Iterator for Candidates<'_, V> {
    type Item = V;

    #[inline(always)]
    fn next(&mut self) -> Option<V> {
        let mask = self.slots.len().wrapping_sub(1);
        loop {
            let slot = self.slots.get(self.index & mask)?.as_ref()?;
            self.index = self.index.wrapping_add(1);
            if slot.tag == self.tag {
                return Some(slot.value);
            }
        }
    }
}

impl<V: Copy + PartialEq> Default for Table<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Copy + PartialEq> Shard<V> {
    fn put(&mut self, slot: Slot<V>) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut index = start_of(slot.tag);
        while let Some(place) = self.slots.get_mut(index & mask) {
            if place.is_none() {
                *place = Some(slot);
                self.taken += 1;
                return;
            }
            index += 1;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(SHARD_MIN);
        let old = std::mem::replace(&mut self.slots, vec![None; size].into());
        self.taken = 0;
        for slot in old.into_iter().flatten() {
            self.put(slot);
        }
    }

    /// Empties the slot and closes the gap, so that a look-up may stop at the first empty slot.
    fn take(&mut self, place: Place, value: V) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut index = place.start;
        while let Some(Some(slot)) = self.slots.get(index & mask) {
            if slot.tag == place.tag && slot.value == value {
                break;
            }
            index += 1;
        }
        let Some(gap) = self.slots.get_mut(index & mask) else { return };
        *gap = None;
        self.taken -= 1;
        // Everything up to the next empty slot may have been pushed past this one: put it again.
        loop {
            index += 1;
            let Some(slot) = self.slots.get_mut(index & mask).and_then(Option::take) else { return };
            self.taken -= 1;
            self.put(slot);
        }
    }
}

/// Where a hash belongs. Page, shard and tag come from different bits of it.
#[derive(Clone, Copy)]
struct Place {
    page: usize,
    shard: usize,
    tag: u32,
    start: usize,
}

impl Place {
    #[inline(always)]
    fn of(hash: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = hash.to_le_bytes();
        let tag = u32::from_le_bytes([a, b, c, d]);
        Self { page: usize::from(e) & (FAN - 1), shard: usize::from(f) & (FAN - 1), tag, start: start_of(tag) }
    }
}

#[inline(always)]
fn start_of(tag: u32) -> usize {
    usize::try_from(tag).unwrap_or(usize::MAX >> 1)
}

/// The hash of octets under a scope.
#[must_use]
pub fn hash(scope: u64, octets: &[u8]) -> u64 {
    scoped(scope, name::hash(octets))
}

/// Puts a scope into a hash that [`name::hash`] made.
#[inline(always)]
pub(super) fn scoped(scope: u64, hash: u64) -> u64 {
    name::fold(hash ^ scope, 0xbf58_476d_1ce4_e5b9)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_put_is_found_and_what_is_taken_is_not() {
        let mut table = Table::new();
        let key = |n: u32| hash(7, &n.to_le_bytes());
        for n in 0..20_000 {
            table.insert(key(n), n);
        }
        let before = table.clone();
        for n in (0..20_000).step_by(3) {
            assert!(table.remove(key(n), n));
            assert!(!table.remove(key(n), n));
        }
        for n in 0..20_000 {
            assert_eq!(table.find(key(n), |value| value == n).is_some(), n % 3 != 0, "{n}");
            assert!(before.find(key(n), |value| value == n).is_some(), "a snapshot taken before is not touched");
        }
        assert_eq!(table.len(), table.values().collect::<HashSet<_>>().len());
    }

    #[test]
    fn entries_with_one_hash_live_beside_each_other() {
        let mut table = Table::new();
        for n in 0..100_u32 {
            table.insert(42, n);
        }
        assert!(table.remove(42, 50));
        for n in 0..100 {
            assert_eq!(table.find(42, |value| value == n).is_some(), n != 50, "{n}");
        }
    }

    #[test]
    fn scope_and_length_are_part_of_the_hash() {
        assert_ne!(hash(1, b"web"), hash(2, b"web"));
        assert_ne!(hash(1, b"web"), hash(1, b"web\0"));
        assert_ne!(hash(1, b""), hash(1, b"\0\0\0\0\0\0\0\0"));
    }
}
