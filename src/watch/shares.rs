//! Work on many things that has nothing to do with each other, divided among the cores.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::compile::{Block, block_of};
use crate::registry::{AppState, Hands, SpaceState};

/// The hands that apply changes here: every core, and each makes the blocks of the apps that it looks at.
pub(crate) struct Shares;

impl Hands for Shares {
    type Made = Block;

    fn make(&self, app: &AppState, space: &SpaceState) -> Block {
        block_of(app, space)
    }

    fn divide<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        in_shares(items, work)
    }

    fn both<A, B: Send>(&self, items: usize, one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
        if items < MANY || threads() == 1 {
            return (one(), other());
        }
        let left = Mutex::new(Some(other));
        let do_other = || left.lock().unwrap_or_else(PoisonError::into_inner).take().map(|other| other());
        thread::scope(|scope| {
            let started = thread::Builder::new().spawn_scoped(scope, do_other);
            let one = one();
            let done = started.ok().and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            // What cannot be done elsewhere is done here.
            (one, done.or_else(do_other).expect("it is done once, there or here"))
        })
    }
}

/// Does `work` on each of `items`, in as many threads as there are cores where they are many; in their order.
pub(crate) fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let alone = || items.iter().map(&work).collect();
    if items.len() < MANY {
        return alone();
    }
    // Asked where they are many only: the answer is in files of `/proc`, which takes as long as all else about one change.
    let threads = threads();
    if threads == 1 {
        return alone();
    }
    let (work, share) = (&work, items.len().div_ceil(threads));
    thread::scope(|scope| {
        let started: Vec<_> = items
            .chunks(share)
            .map(|items| {
                (items, thread::Builder::new().spawn_scoped(scope, || items.iter().map(work).collect::<Vec<_>>()))
            })
            .collect();
        // What cannot be done elsewhere is done here.
        let done = started.into_iter().map(|(items, thread)| {
            let done = thread.ok().and_then(|thread| thread.join().ok());
            done.unwrap_or_else(|| items.iter().map(work).collect())
        });
        done.collect::<Vec<_>>().into_iter().flatten().collect()
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// From how many things on threads are worth their start, at some microseconds each.
const MANY: usize = 1024;

/// This is half waiting for memory, where more threads than these wait for each other.
const THREADS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_once_however_much_there_is_to_do() {
        for count in [0, MANY, MANY * 3] {
            let mut other = 0;
            assert_eq!(Shares.both(count, || 1, || std::mem::replace(&mut other, 2)), (1, 0));
            assert_eq!(other, 2);
        }
    }

    #[test]
    fn all_is_done_once_and_in_order() {
        for count in [0, 1, MANY - 1, MANY, MANY * 3 + 1] {
            let items: Vec<usize> = (0..count).collect();
            let done = in_shares(&items, |item| item + 1);
            assert!(done.into_iter().eq(1..=count), "{count}");
        }
    }
}
