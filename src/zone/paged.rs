//! A list of shared values that is cheap to change while the one before it is being read.
//!
//! Like [`super::table`], by place instead of by hash: a change copies one page of pointers and the list of pages.

use std::sync::Arc;

/// Values in a page: 64 pointers are eight cache lines.
const PAGE: usize = 64;

/// A list of shared values, some places of which may be empty.
#[derive(Debug)]
pub struct Paged<T> {
    pages: Arc<[Page<T>]>,
}

type Page<T> = Arc<[Option<Arc<T>>]>;

impl<T> Clone for Paged<T> {
    fn clone(&self) -> Self {
        Self { pages: Arc::clone(&self.pages) }
    }
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Arc::from([]) }
    }
}

impl<T> Paged<T> {
    /// Makes the list of these values, each at its place.
    #[must_use]
    pub fn of(mut values: Vec<(u32, Arc<T>)>) -> Self {
        values.sort_by_key(|(index, _)| *index);
        let mut pages: Vec<Vec<Option<Arc<T>>>> = Vec::new();
        for (index, value) in values {
            let (page, place) = split(index);
            if page >= pages.len() {
                pages.resize_with(page + 1, || (0..PAGE).map(|_| None).collect());
            }
            if let Some(slot) = pages.get_mut(page).and_then(|page| page.get_mut(place)) {
                *slot = Some(value);
            }
        }
        Self { pages: pages.into_iter().map(Arc::from).collect() }
    }

    /// What is at each place where `before` has another value: the two share what they have in common.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<(u32, Option<&T>)> {
        let mut changes = Vec::new();
        let pages = self.pages.len().max(before.pages.len());
        for (page, first) in (0..pages).zip((0_u32..).step_by(PAGE)) {
            let (new, old) = (self.pages.get(page), before.pages.get(page));
            if new.map(|page| page.as_ptr()) == old.map(|page| page.as_ptr()) {
                continue;
            }
            for (place, index) in (0..PAGE).zip(first..) {
                let at = |page: Option<&Page<T>>| page.and_then(|page| page.get(place)?.as_ref().map(Arc::as_ptr));
                if at(new) != at(old) {
                    changes.push((index, self.at(index)));
                }
            }
        }
        changes
    }

    /// The value at `index`.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&T> {
        let (page, place) = split(index);
        self.pages.get(page)?.get(place)?.as_deref()
    }

    /// Every value with its place, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.pages
            .iter()
            .flat_map(|page| page.iter())
            .zip(0..)
            .filter_map(|(value, index)| Some((index, value.as_deref()?)))
    }

    /// Puts a value, or nothing, at `index`; the list grows to hold it.
    pub fn set(&mut self, index: u32, value: Option<Arc<T>>) {
        let (page, place) = split(index);
        if page >= self.pages.len() {
            let empty: Page<T> = (0..PAGE).map(|_| None).collect();
            // Room for an eighth more, so that growing by one at a time stays linear in all.
            let count = page + 1 + page / 8;
            self.pages = self.pages.iter().cloned().chain(std::iter::repeat(empty)).take(count).collect();
        }
        let slot = Arc::make_mut(&mut self.pages).get_mut(page).and_then(|page| Arc::make_mut(page).get_mut(place));
        if let Some(slot) = slot {
            *slot = value;
        }
    }
}

fn split(index: u32) -> (usize, usize) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    (index / PAGE, index % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_and_older_lists_are_not_touched() {
        let mut list = Paged::default();
        for index in [0, 63, 64, 1_000] {
            list.set(index, Some(Arc::new(index)));
        }
        let before = list.clone();
        list.set(64, None);
        assert_eq!(list.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0, 63, 1_000]);
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
