//! A set of a few: ordered, and of one without an allocation.
//!
//! A `BTreeSet` of one has room for eleven, and a registry holds several for each of a hundred thousand apps, nearly all
//! of them of one or two. A set that does grow stays cheap up to some thousands: inserting moves what lies behind.

/// An ordered set of which one lies in the value itself.
#[derive(Debug, Clone)]
pub(super) struct Few<T>(Form<T>);

#[derive(Debug, Clone)]
enum Form<T> {
    One(T),
    /// Any other number, and one where there were more.
    List(Vec<T>),
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        self.list() == other.list()
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Few<T> {
    pub(super) const fn new() -> Self {
        Self(Form::List(Vec::new()))
    }

    fn list(&self) -> &[T] {
        match &self.0 {
            Form::One(value) => std::slice::from_ref(value),
            Form::List(list) => list,
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.list().iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list().is_empty()
    }
}

impl<T: Ord> Few<T> {
    pub(super) fn insert(&mut self, value: T) {
        let Err(place) = self.list().binary_search(&value) else { return };
        self.0 = match std::mem::replace(&mut self.0, Form::List(Vec::new())) {
            Form::List(list) if list.is_empty() => Form::One(value),
            Form::List(mut list) => {
                list.insert(place, value);
                Form::List(list)
            }
            Form::One(other) if place == 0 => Form::List(vec![value, other]),
            Form::One(other) => Form::List(vec![other, value]),
        };
    }

    pub(super) fn remove(&mut self, value: &T) {
        let Ok(place) = self.list().binary_search(value) else { return };
        match &mut self.0 {
            Form::One(_) => *self = Self::new(),
            Form::List(list) => _ = list.remove(place),
        }
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        self.list().binary_search(value).is_ok()
    }

    /// Removes the first ones beyond so many, which are not none.
    pub(super) fn keep_last(&mut self, count: usize) {
        if let Form::List(list) = &mut self.0 {
            list.drain(..list.len().saturating_sub(count));
        }
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
        assert!(few.contains(&3) && !few.contains(&2));
        let mut one = Few::new();
        one.insert(3);
        assert_eq!(few, one, "however it came to be");
        for mut few in [few, one] {
            few.remove(&3);
            assert!(few.is_empty());
        }
    }
}
