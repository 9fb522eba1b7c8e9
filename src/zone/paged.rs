//! A list of shared values that is cheap to change while the one before it is being read.
//!
//! Like [`super::table`], by place instead of by hash, and three deep: a change copies one page of pointers, one sheaf of pages and the
//! list of sheaves. To copy a pointer is to count it at what it points to, which is in nobody's cache: in two levels a change among a
//! hundred thousand values counted 1,600, and as many again when the list before was freed; it is 150 now, and 370 among a million.

use std::sync::Arc;

/// Values in a page: 64 pointers are eight cache lines. A power of two.
const PAGE: usize = 64;
/// Pages in a sheaf. A power of two.
const SHEAF: usize = 64;

/// A list of shared values, some places of which may be empty.
#[derive(Debug)]
pub struct Paged<T> {
    sheaves: Arc<[Sheaf<T>]>,
}

/// Arrays and no slices: a place in them is a few bits of an index, and need not be held against a length.
type Sheaf<T> = Arc<[Page<T>; SHEAF]>;
type Page<T> = Arc<[Option<Arc<T>>; PAGE]>;

impl<T> Clone for Paged<T> {
    fn clone(&self) -> Self {
        Self { sheaves: Arc::clone(&self.sheaves) }
    }
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { sheaves: Arc::from([]) }
    }
}

impl<T> Paged<T> {
    /// Makes the list of these values, each at its place.
    #[must_use]
    pub fn of(mut values: Vec<(u32, Arc<T>)>) -> Self {
        values.sort_by_key(|(index, _)| *index);
        let mut list = Self::default();
        if let Some((last, _)) = values.last() {
            list.grow(Place::of(*last).sheaf + 1);
        }
        // Nobody else has any of it, so nothing is copied but a page that is still empty.
        for (index, value) in values {
            list.set(index, Some(value));
        }
        list
    }

    /// What is at each place where `before` has another value: the two share what they have in common.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<(u32, Option<&T>)> {
        let mut changes = Vec::new();
        let sheaves = self.sheaves.len().max(before.sheaves.len());
        for (sheaf, first) in (0..sheaves).zip((0_u32..).step_by(SHEAF * PAGE)) {
            let (new, old) = (self.sheaves.get(sheaf), before.sheaves.get(sheaf));
            if new.map(Arc::as_ptr) == old.map(Arc::as_ptr) {
                continue;
            }
            for (page, first) in (0..SHEAF).zip((first..).step_by(PAGE)) {
                let at = |sheaf: Option<&Sheaf<T>>| sheaf.and_then(|sheaf| sheaf.get(page)).map(Arc::as_ptr);
                if at(new) == at(old) {
                    continue;
                }
                for (_, index) in (0..PAGE).zip(first..) {
                    let value = self.at(index);
                    if value.map(std::ptr::from_ref) != before.at(index).map(std::ptr::from_ref) {
                        changes.push((index, value));
                    }
                }
            }
        }
        changes
    }

    /// The value at `index`.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&T> {
        let Place { sheaf, page, place } = Place::of(index);
        self.sheaves.get(sheaf)?.get(page)?.get(place)?.as_deref()
    }

    /// Every value with its place, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let pages = self.sheaves.iter().flat_map(|sheaf| sheaf.iter());
        let values = pages.flat_map(|page| page.iter()).zip(0..);
        values.filter_map(|(value, index)| Some((index, value.as_deref()?)))
    }

    /// Puts a value, or nothing, at `index`; the list grows to hold it.
    pub fn set(&mut self, index: u32, value: Option<Arc<T>>) {
        let Place { sheaf, page, place } = Place::of(index);
        if sheaf >= self.sheaves.len() {
            self.grow(sheaf + 1);
        }
        let pages = Arc::make_mut(&mut self.sheaves).get_mut(sheaf).map(Arc::make_mut);
        let slot = pages.and_then(|pages| Arc::make_mut(pages.get_mut(page)?).get_mut(place));
        if let Some(slot) = slot {
            *slot = value;
        }
    }

    /// Adds empty sheaves up to so many; they share one page.
    fn grow(&mut self, count: usize) {
        let page: Page<T> = Arc::new(std::array::from_fn(|_| None));
        let sheaf: Sheaf<T> = Arc::new(std::array::from_fn(|_| Arc::clone(&page)));
        self.sheaves = self.sheaves.iter().cloned().chain(std::iter::repeat(sheaf)).take(count).collect();
    }
}

/// Where an index belongs.
struct Place {
    sheaf: usize,
    page: usize,
    place: usize,
}

impl Place {
    #[inline(always)]
    fn of(index: u32) -> Self {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        Self { sheaf: index / (SHEAF * PAGE), page: index / PAGE % SHEAF, place: index % PAGE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_and_older_lists_are_not_touched() {
        let mut list = Paged::default();
        for index in [0, 63, 64, 1_000, 4_095, 4_096, 70_000] {
            list.set(index, Some(Arc::new(index)));
        }
        let before = list.clone();
        list.set(64, None);
        assert_eq!(list.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0, 63, 1_000, 4_095, 4_096, 70_000]);
        assert_eq!(before.at(64), Some(&64));
        assert_eq!(before.at(999), None);
        assert_eq!(before.at(u32::MAX), None);
    }

    #[test]
    fn changes_are_the_places_that_two_lists_do_not_share() {
        let before = Paged::of([0, 63, 64, 1_000].map(|index| (index, Arc::new(index))).into());
        assert_eq!(before.iter().map(|(index, _)| index).collect::<Vec<_>>(), [0, 63, 64, 1_000]);
        let mut after = before.clone();
        assert_eq!(after.changes(&before), []);
        after.set(64, None);
        after.set(63, Some(Arc::new(7)));
        after.set(5_000, Some(Arc::new(8)));
        assert_eq!(after.changes(&before), [(63, Some(&7)), (64, None), (5_000, Some(&8))]);
        assert_eq!(before.changes(&after), [(63, Some(&63)), (64, Some(&64)), (5_000, None)]);
    }
}
