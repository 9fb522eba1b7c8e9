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
    /// Any other number, and one where there were more; `None` of none. Boxed: a list in here would be larger than most that there is one of.
    List(Option<Box<List<T>>>),
}

#[derive(Debug, Clone)]
struct List<T>(Vec<T>);

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
        Self(Form::List(None))
    }

    pub(super) const fn of(value: T) -> Self {
        Self(Form::One(value))
    }

    /// The one in it, where there is one.
    pub(super) fn only(&self) -> Option<&T> {
        if let [only] = self.list() { Some(only) } else { None }
    }

    fn list(&self) -> &[T] {
        match &self.0 {
            Form::One(value) => std::slice::from_ref(value),
            Form::List(list) => list.as_ref().map_or(&[], |list| &list.0),
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
        self.0 = match std::mem::replace(&mut self.0, Form::List(None)) {
            Form::List(None) => Form::One(value),
            Form::List(Some(list)) if list.0.is_empty() => Form::One(value),
            Form::List(Some(mut list)) => {
                list.0.insert(place, value);
                Form::List(Some(list))
            }
            Form::One(other) => {
                let list = if place == 0 { vec![value, other] } else { vec![other, value] };
                Form::List(Some(Box::new(List(list))))
            }
        };
    }

    pub(super) fn remove(&mut self, value: &T) {
        let Ok(place) = self.list().binary_search(value) else { return };
        match &mut self.0 {
            Form::List(Some(list)) => _ = list.0.remove(place),
            Form::One(_) | Form::List(None) => *self = Self::new(),
        }
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        self.list().binary_search(value).is_ok()
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
        few.remove(&1);
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

    #[test]
    fn it_is_as_large_as_one_or_as_a_pointer_and_what_tells_the_two_apart() {
        assert_eq!(size_of::<Few<std::sync::Arc<str>>>(), 16);
        assert_eq!(size_of::<Few<u32>>(), 16);
    }
}
