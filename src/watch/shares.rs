//! Work on many things that has nothing to do with each other, divided among the cores.

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
}

/// Does `work` on each of `items`, in as many threads as there are cores where they are many; in their order.
pub(crate) fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let alone = || items.iter().map(&work).collect();
    if items.len() < MANY {
        return alone();
    }
    // Asked where they are many only: the answer is in files of `/proc`, which takes as long as all else about one change.
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
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

/// From how many things on threads are worth their start, at some microseconds each.
const MANY: usize = 1024;

/// This is half waiting for memory, where more threads than these wait for each other.
const THREADS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_once_and_in_order() {
        for count in [0, 1, MANY - 1, MANY, MANY * 3 + 1] {
            let items: Vec<usize> = (0..count).collect();
            let done = in_shares(&items, |item| item + 1);
            assert!(done.into_iter().eq(1..=count), "{count}");
        }
    }
}
