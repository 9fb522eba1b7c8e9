//! How much may be in flight, for everyone and for each caller: counted where queries come in, so that a flood is told off without costing
//! anybody else a place in the queue.
//!
//! What a caller may take is places: a query for a question that nobody asks yet sends something to an upstream, which may be slow. One
//! for a question that is on its way already sends nothing, so it waits without a place, as long as there are not too many such; beyond
//! that it needs a place like any other. So a thousand equal questions at once are answered, whoever asks them, and whoever floods with
//! equal questions takes nothing that another could not have had before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Question;
use super::limits::Limits;
use crate::observe::Limit;

/// Who has how many queries in flight.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    places: usize,
    callers: HashMap<IpAddr, usize>,
    followers: usize,
    questions: HashMap<Question, Asked>,
}

/// How many queries wait for one question.
#[derive(Debug, Default)]
struct Asked {
    all: usize,
    followers: usize,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Lets one more query of `caller` in, or says which limit is in the way.
    pub(super) fn admit(self: &Arc<Self>, caller: IpAddr, question: &Question) -> Result<Permit, Limit> {
        let Limits { queries, per_source, waiters, .. } = self.limits;
        let mut guard = self.counts();
        let counts = &mut *guard;
        let asked = counts.questions.get(question);
        let place = if asked.is_some_and(|asked| asked.followers < waiters) && counts.followers < queries {
            Place::Following
        } else if counts.places >= queries {
            return Err(Limit::Forwards);
        } else if counts.callers.get(&caller).is_some_and(|of_caller| *of_caller >= per_source) {
            return Err(if asked.is_some() { Limit::ForwardWaiters } else { Limit::ForwardsPerSource });
        } else {
            Place::Own(caller)
        };
        let asked = counts.questions.entry(question.clone()).or_default();
        asked.all += 1;
        match place {
            Place::Own(caller) => {
                counts.places += 1;
                *counts.callers.entry(caller).or_default() += 1;
            }
            Place::Following => {
                counts.followers += 1;
                asked.followers += 1;
            }
        }
        drop(guard);
        Ok(Permit { admission: Arc::clone(self), question: question.clone(), place })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that was let in; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    question: Question,
    place: Place,
}

/// What a query waits in.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A place of this caller's.
    Own(IpAddr),
    /// None: another query has the question asked.
    Following,
}

impl Permit {
    /// What was asked.
    pub(super) const fn question(&self) -> &Question {
        &self.question
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut guard = self.admission.counts();
        let counts = &mut *guard;
        match self.place {
            Place::Own(caller) => {
                counts.places -= 1;
                release(&mut counts.callers, &caller, |of_caller| {
                    *of_caller -= 1;
                    *of_caller == 0
                });
            }
            Place::Following => counts.followers -= 1,
        }
        release(&mut counts.questions, &self.question, |asked| {
            asked.all -= 1;
            asked.followers -= usize::from(matches!(self.place, Place::Following));
            asked.all == 0
        });
    }
}

/// Changes a count, and takes it out when `change` says that nothing is left of it.
fn release<K: std::hash::Hash + Eq, V>(counts: &mut HashMap<K, V>, key: &K, change: impl FnOnce(&mut V) -> bool) {
    if counts.get_mut(key).is_some_and(change) {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::tests::wire;
    use super::*;
    use crate::record::Rtype;

    fn question(number: u32) -> Question {
        Question::new(&wire(&format!("n{number}.example")), Rtype::A, false, false, 0)
    }

    fn caller(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn is_empty(admission: &Admission) -> bool {
        let counts = admission.counts();
        counts.callers.is_empty() && counts.questions.is_empty() && counts.places == 0 && counts.followers == 0
    }

    #[test]
    fn a_caller_has_a_hundred_questions_and_everyone_four_thousand() {
        let admission = Arc::new(Admission::new(Limits::default()));
        let admit = |from: u32, number: u32| admission.admit(caller(from), &question(number));
        let mut permits: Vec<Permit> = (0..100).map(|number| admit(1, number).unwrap()).collect();
        assert_eq!(admit(1, 100).unwrap_err(), Limit::ForwardsPerSource);
        permits.extend((100..4096).map(|number| admit(number, number).unwrap()));
        assert_eq!(admit(1_000_000, 4096).unwrap_err(), Limit::Forwards);
        permits.truncate(99);
        assert!(admit(1, 100).is_ok());
        drop(permits);
        assert!(is_empty(&admission));
    }

    #[test]
    fn who_waits_for_what_is_asked_already_needs_no_place() {
        let admission =
            Arc::new(Admission::new(Limits { queries: 20, per_source: 3, waiters: 10, ..Limits::default() }));
        let admit = |from: u32, number: u32| admission.admit(caller(from), &question(number));
        let mut permits: Vec<Permit> = (0..11).map(|_| admit(1, 0).unwrap()).collect();
        // One has a place, ten follow; the caller's other two places are its to use.
        permits.extend((0..2).map(|_| admit(1, 0).unwrap()));
        assert_eq!(admit(1, 0).unwrap_err(), Limit::ForwardWaiters);
        assert_eq!(admit(1, 1).unwrap_err(), Limit::ForwardsPerSource);
        // Who comes from elsewhere has what it always had.
        permits.extend((0..3).map(|_| admit(2, 0).unwrap()));
        permits.extend((0..3).map(|number| admit(3, 10 + number).unwrap()));
        permits.extend((0..10).map(|_| admit(4, 10).unwrap()));
        assert_eq!(admission.counts().followers, 20);
        assert_eq!(admission.counts().places, 9);
        permits.extend((0..3).map(|_| admit(4, 11).unwrap()));
        assert_eq!(admit(4, 11).unwrap_err(), Limit::ForwardWaiters, "none is left to follow in");
        drop(permits);
        assert!(is_empty(&admission));
    }
}
