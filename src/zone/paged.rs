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
}
