//! A set of a few: ordered, in one list.
//!
//! A `BTreeSet` of one has room for eleven, and a registry holds several for each of a hundred thousand apps, nearly all
//! of them of one or two. A set that does grow stays cheap up to some thousands: inserting moves what lies behind.

/// An ordered set in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Few<T>(Vec<T>);

impl<T: Ord> Few<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn insert(&mut self, value: T) {
        if let Err(place) = self.0.binary_search(&value) {
            // Vec's own first step is to four.
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, value);
        }
    }

    pub(super) fn remove(&mut self, value: &T) {
        if let Ok(place) = self.0.binary_search(value) {
            self.0.remove(place);
        }
    }

    /// Removes the first ones beyond so many.
    pub(super) fn keep_last(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_each_once_and_in_order() {
        let mut few = Few::new();
        for value in [3, 1, 2, 3, 1] {
            few.insert(value);
        }
        few.remove(&4);
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        few.keep_last(2);
        few.remove(&2);
        assert_eq!(few, Few(vec![3]));
        few.remove(&3);
        assert!(few.is_empty());
    }
}
