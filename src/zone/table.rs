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
//!
//! A shard is probed in line, and its entries lie in the order of their tags (Amble and Knuth, "Ordered hash tables", 1974): a look-up of
//! what is not there ends where a higher tag is, and not at the next free slot. So shards may be nine tenths full, where three quarters
//! were the most before; and with a place that is a product of tag and size, and no mask, they grow by quarters and not by doubling. They
//! shrink too: how many entries fall into a shard goes up and down as they come and go, and each would end as large as it ever had to be.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::name;

/// Shards in a page, and pages in a table; a power of two. 32 × 32 shards are 1,024: a million entries make a thousand
/// a shard, some 30 KiB to copy in a change.
const FAN: usize = 32;
/// Slots of a shard that has any; a power of two, and at least [`STEPS`].
const SHARD_MIN: usize = 8;
/// Sizes of shards to each doubling, as the allocator has: what lies between two of its sizes would be lost.
const STEPS: usize = 4;
/// One of so many slots is no entry's home, but where those go that are pushed past the last home.
const TAIL: usize = 32;
/// A shard shrinks when it would have room for one in so many more, or those that come and go would resize it all the time.
const SPARE: usize = 16;

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
    /// In the order of their tags; those between an entry and its home are taken.
    slots: Box<[Option<Slot<V>>]>,
    /// How many of the slots are homes, of which at most nine tenths are taken.
    homes: u32,
    taken: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot<V> {
    tag: Tag,
    value: V,
}

/// Thirty-one bits of a hash, and one that is set: so a free slot is told without a word of its own.
type Tag = NonZeroU32;

impl<V: Copy + PartialEq> Table<V> {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        let shard = Arc::new(Shard::with_slots(0));
        let page: Page<V> = Arc::new(std::array::from_fn(|_| Arc::clone(&shard)));
        Self { pages: Arc::new(std::array::from_fn(|_| Arc::clone(&page))), length: 0 }
    }

    /// Makes an empty table with room for so many entries.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        // Hashes do not fall evenly: every other shard grows once.
        let share = count.div_ceil(FAN * FAN);
        let mut slots = 0;
        while share > 0 && is_full(homes_in(slots), share - 1) {
            slots = more_than(slots);
        }
        let shard = || Arc::new(Shard::with_slots(slots));
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
        let (slots, homes) = self.shard(place).map_or((&[][..], 0), |shard| (&shard.slots, shard.homes));
        Candidates { slots, index: home(place.tag, homes), tag: place.tag }
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
        if is_full(shard.homes, to_usize(shard.taken)) {
            shard.resize(more_than(slots_for(shard.homes)));
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
        shard.take(place.tag, value);
        shard.give_back();
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
    tag: Tag,
}

impl<V: Copy> Iterator for Candidates<'_, V> {
    type Item = V;

    #[inline(always)]
    fn next(&mut self) -> Option<V> {
        loop {
            let slot = self.slots.get(self.index)?.as_ref()?;
            // It is a place in a list: it does not run over.
            self.index = self.index.wrapping_add(1);
            if slot.tag == self.tag {
                return Some(slot.value);
            }
            if slot.tag > self.tag {
                return None;
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
    fn with_slots(slots: usize) -> Self {
        Self { slots: vec![None; slots].into(), homes: homes_in(slots), taken: 0 }
    }

    /// Puts an entry behind those of lower and equal tags; each that is in the way goes one slot on.
    fn put(&mut self, slot: Slot<V>) {
        let (mut index, mut slot) = (home(slot.tag, self.homes), slot);
        loop {
            match self.slots.get_mut(index) {
                Some(Some(other)) => {
                    if other.tag > slot.tag {
                        std::mem::swap(other, &mut slot);
                    }
                    index += 1;
                }
                Some(free) => {
                    *free = Some(slot);
                    self.taken += 1;
                    return;
                }
                None => self.lengthen(),
            }
        }
    }

    fn resize(&mut self, slots: usize) {
        for slot in std::mem::replace(self, Self::with_slots(slots)).slots.into_iter().flatten() {
            self.put(slot);
        }
    }

    /// Makes room behind the last home for those that are pushed past it. To grow would not do: entries of one hash have one home
    /// however many there are.
    fn lengthen(&mut self) {
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        let more = more_than(slots.len());
        slots.reserve_exact(more - slots.len());
        slots.resize(more, None);
        self.slots = slots.into();
    }

    /// Gives back room that is not missed soon: a size, where the one below has some to spare; else what stands behind a tail that is
    /// half empty.
    fn give_back(&mut self) {
        let usual = slots_for(self.homes);
        let taken = to_usize(self.taken);
        if usual > SHARD_MIN && !is_full(homes_in(less_than(usual)), taken + taken / SPARE) {
            self.resize(less_than(usual));
        } else if self.slots.len() > usual && is_free(&self.slots, to_usize(self.homes).midpoint(usual)) {
            let mut slots = std::mem::take(&mut self.slots).into_vec();
            slots.truncate(usual);
            self.slots = slots.into();
        }
    }

    /// Empties the slot and closes the gap, so that a look-up may stop at the first free slot.
    fn take(&mut self, tag: Tag, value: V) {
        let mut index = home(tag, self.homes);
        while let Some(Some(slot)) = self.slots.get(index) {
            if slot.tag == tag && slot.value == value {
                break;
            }
            index += 1;
        }
        self.taken -= 1;
        // Everything up to the next free slot, or to the next that is at home, was pushed by one.
        while let Some(Some(next)) = self.slots.get(index + 1).copied()
            && home(next.tag, self.homes) <= index
            && let Some(gap) = self.slots.get_mut(index)
        {
            *gap = Some(next);
            index += 1;
        }
        if let Some(gap) = self.slots.get_mut(index) {
            *gap = None;
        }
    }
}

/// Where a hash belongs. Page, shard and tag come from different bits of it.
#[derive(Clone, Copy)]
struct Place {
    page: usize,
    shard: usize,
    tag: Tag,
}

impl Place {
    #[inline(always)]
    fn of(hash: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = hash.to_le_bytes();
        let tag = Tag::MIN | u32::from_le_bytes([a, b, c, d]);
        Self { page: usize::from(e) & (FAN - 1), shard: usize::from(f) & (FAN - 1), tag }
    }
}

/// Where an entry is to be, of so many homes: higher tags are never before lower ones.
#[inline(always)]
fn home(tag: Tag, homes: u32) -> usize {
    let [.., a, b, c, d] = (u64::from(tag.get()) * u64::from(homes)).to_le_bytes();
    to_usize(u32::from_le_bytes([a, b, c, d]))
}

/// How many of so many slots are homes.
fn homes_in(slots: usize) -> u32 {
    u32::try_from(slots - slots / TAIL).unwrap_or(u32::MAX)
}

/// The reverse of it: of the slots of a shard some may be more tail than usual.
fn slots_for(homes: u32) -> usize {
    to_usize(homes) + to_usize(homes) / (TAIL - 1)
}

/// Whether one more than `taken` is too many for so many homes: at nine tenths a look-up meets five others, on two lines.
fn is_full(homes: u32, taken: usize) -> bool {
    (taken + 1) * 10 > to_usize(homes) * 9
}

/// Whether a slot behind the last home is free: then all after it are.
fn is_free<V>(slots: &[Option<Slot<V>>], index: usize) -> bool {
    slots.get(index).is_none_or(Option::is_none)
}

/// The next size after so many slots.
fn more_than(slots: usize) -> usize {
    if slots < SHARD_MIN {
        return SHARD_MIN;
    }
    let step = (slots + 1).next_power_of_two() / 2 / STEPS;
    (slots / step + 1) * step
}

/// The size before so many slots, which are more than [`SHARD_MIN`].
fn less_than(slots: usize) -> usize {
    slots - slots.next_power_of_two() / 2 / STEPS
}

#[inline(always)]
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
    fn however_many_are_pushed_past_the_last_home_all_are_found_and_no_room_is_wasted_on_them() {
        let mut table = Table::new();
        for n in 0..1_000_u32 {
            table.insert(u64::from(u32::MAX), n);
            table.insert(u64::from(n) << 22, n);
        }
        let found: Vec<u32> = table.candidates(u64::from(u32::MAX)).collect();
        assert_eq!(found.len(), 1_000);
        for n in (0..1_000).filter(|n| n % 7 != 0) {
            assert!(table.remove(u64::from(u32::MAX), n));
        }
        assert_eq!(table.candidates(u64::from(u32::MAX)).count(), 143);
        assert!((0..1_000).all(|n| table.find(u64::from(n) << 22, |value| value == n).is_some()));
        let slots: usize = table.pages.iter().flat_map(|page| page.iter()).map(|shard| shard.slots.len()).sum();
        assert!(slots < 4_000, "{slots}");
    }

    #[test]
    fn shards_are_filled_to_nine_tenths_and_as_large_as_they_must_be() {
        let sizes: Vec<usize> = std::iter::successors(Some(0), |slots| Some(more_than(*slots))).take(12).collect();
        assert_eq!(sizes, [0, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48]);
        assert!(sizes.iter().all(|slots| slots_for(homes_in(*slots)) == *slots));
        assert!(sizes.windows(2).skip(1).all(|pair| less_than(pair[1]) == pair[0]));
        for count in [0, 1, 1_000, 10_000, 200_000] {
            let (mut grown, mut made) = (Table::new(), Table::with_room(count));
            for n in 0..u32::try_from(count).unwrap() {
                grown.insert(hash(7, &n.to_le_bytes()), n);
                made.insert(hash(7, &n.to_le_bytes()), n);
            }
            for table in [grown, made] {
                let slots: usize = table.pages.iter().flat_map(|page| page.iter()).map(|shard| shard.slots.len()).sum();
                // Four sizes to each doubling, of which the smallest has eight.
                assert!(slots <= count * 3 / 2 + FAN * FAN * SHARD_MIN, "{count}: {slots}");
            }
        }
    }

    #[test]
    fn a_table_whose_entries_come_and_go_stays_as_large_as_it_was() {
        let key = |n: u32| hash(7, &n.to_le_bytes());
        let room = |table: &Table<u32>| -> usize {
            table.pages.iter().flat_map(|page| page.iter()).map(|shard| shard.slots.len()).sum()
        };
        let count = 200_000;
        let mut table = Table::with_room(usize::try_from(count).unwrap());
        for n in 0..count {
            table.insert(key(n), n);
        }
        let before = room(&table);
        let turns = 3 * count;
        for n in count..count + turns {
            assert!(table.remove(key(n - count), n - count));
            table.insert(key(n), n);
        }
        assert!(room(&table) <= before + before / 20, "{} of {before}", room(&table));
        assert!((turns..count + turns).all(|n| table.remove(key(n), n)), "they are there");
        assert_eq!(room(&table), FAN * FAN * SHARD_MIN, "nothing is left");
    }

    #[test]
    fn a_free_slot_needs_no_word_of_its_own() {
        assert_eq!(size_of::<Option<Slot<u32>>>(), 8);
        assert_eq!(size_of::<Option<Slot<[u32; 3]>>>(), 16);
    }

    #[test]
    fn scope_and_length_are_part_of_the_hash() {
        assert_ne!(hash(1, b"web"), hash(2, b"web"));
        assert_ne!(hash(1, b"web"), hash(1, b"web\0"));
        assert_ne!(hash(1, b""), hash(1, b"\0\0\0\0\0\0\0\0"));
    }
}
