//! The numbers of a component that were once registered, so that their names stay nodes.
//!
//! They nearly always are those from one to so many, so they are kept as runs: of one, without an allocation.

use super::few::Few;

/// Numbers, in order, as the runs that they make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbers(Few<Run>);

/// All numbers from the first to the last; no other run begins or ends beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u32,
    last: u32,
}

impl Numbers {
    /// Adds a number.
    pub(super) fn insert(&mut self, number: u32) {
        let runs = self.0.iter().as_slice();
        let place = runs.partition_point(|run| run.last < number);
        let (below, above) = (place.checked_sub(1).and_then(|below| runs.get(below)), runs.get(place));
        if above.is_some_and(|run| run.first <= number) {
            return;
        }
        let below = below.filter(|run| run.last.checked_add(1) == Some(number)).copied();
        let above = above.filter(|run| number.checked_add(1) == Some(run.first)).copied();
        below.iter().chain(&above).for_each(|run| self.0.remove(run));
        let (first, last) = (below.map_or(number, |run| run.first), above.map_or(number, |run| run.last));
        self.0.insert(Run { first, last });
    }

    /// Every number, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|run| run.first..=run.last)
    }

    /// Forgets the first beyond so many; yields how many those were.
    pub(super) fn keep_last(&mut self, count: usize) -> usize {
        let over =
            self.0.iter().map(|run| usize::try_from(run.last - run.first).unwrap_or(usize::MAX).saturating_add(1));
        let over = over.fold(0, usize::saturating_add).saturating_sub(count);
        if over > 0 {
            *self = self.iter().skip(over).collect();
        }
        over
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut all = Self::default();
        numbers.into_iter().for_each(|number| all.insert(number));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn they_are_those_that_were_put_in_and_the_runs_are_as_few_as_can_be(
            numbers in prop::collection::vec(0..40_u32, 0..30),
            ends in prop::collection::vec(u32::MAX - 3..=u32::MAX, 0..4),
            kept in 0..30_usize,
        ) {
            let all: Vec<u32> = numbers.into_iter().chain(ends).collect();
            let mut those: Numbers = all.iter().copied().collect();
            let set: BTreeSet<u32> = all.into_iter().collect();
            prop_assert_eq!(those.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            let gaps = set.iter().zip(set.iter().skip(1)).filter(|(one, next)| **next - **one > 1).count();
            prop_assert_eq!(those.0.iter().count(), if set.is_empty() { 0 } else { gaps + 1 });
            those.keep_last(kept);
            let last = set.iter().copied().skip(set.len().saturating_sub(kept));
            prop_assert_eq!(those.iter().collect::<Vec<_>>(), last.collect::<Vec<_>>());
        }
    }
}
