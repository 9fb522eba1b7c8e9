//! Carries out readiness checks, and reports to the owner task who is ready and who is not.
//!
//! One thread with a runtime of its own, so that nothing that an instance does can hold up an answer or the reading of files. The
//! owner task says which instances there are, by difference; what is said back is a change of state, never every check.
//!
//! - `schedule`: who is checked when, and what the results come to; knows no socket and no clock.
//! - `probe`: one check, over TCP or HTTP.
//!
//! A check goes to the registered address and nowhere else: names are not resolved, redirects not followed, proxies not used,
//! bodies not read. The registry takes only addresses inside the space; still, whoever may drop a spec and a registration can
//! have this server send a GET to any port there, which is one reason why checks are off until somebody turns them on.

mod probe;
mod schedule;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};

use self::schedule::{Ended, Outcome, Schedule};
use crate::control::Control;
use crate::control::checks::Changes;
use crate::observe::{Counters, Event};

/// Reads the monotonic clock.
pub type Clock = Box<dyn Fn() -> Duration + Send>;

/// Starts the checks of what `changes` tells. They end when the owner of the list does. `seed` sets when in their periods the
/// checks of instances that are presumed ready fall.
///
/// # Errors
///
/// The thread or its runtime cannot be started.
pub fn start(
    changes: Changes,
    control: Control,
    clock: Clock,
    seed: u64,
    counters: Arc<Counters>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        LocalSet::new().block_on(&runtime, follow(changes, control, clock, Schedule::new(seed), &counters));
    })
}

async fn follow(changes: Changes, control: Control, clock: Clock, mut schedule: Schedule, counters: &Counters) {
    let mut running: JoinSet<Ended> = JoinSet::new();
    loop {
        let now = clock();
        while let Some(check) = schedule.begin(now) {
            running.spawn_local(async move {
                let outcome = probe::check(&check.target).await;
                Ended { id: check.id, app: check.target.app, begun: check.begun, outcome }
            });
        }
        let idle = schedule.next().map_or(IDLE, |next| next.saturating_sub(now));
        tokio::select! {
            changed = changes.next() => {
                let Some(changed) = changed else { return };
                let now = clock();
                for (id, target) in changed {
                    match target {
                        Some(target) => schedule.set(id, Arc::new(target), now),
                        None => schedule.remove(id),
                    }
                }
            }
            Some(ended) = running.join_next(), if !running.is_empty() => {
                // A check that panicked would be a fault of ours, and tells nothing of the instance; its share stays taken,
                // and the checks of one app grow slower by that.
                let Ok(ended) = ended else { continue };
                let id = ended.id;
                let event = match &ended.outcome {
                    Outcome::Passed => Event::CheckPassed,
                    Outcome::Failed(_) | Outcome::TimedOut(_) => Event::CheckFailed,
                    Outcome::Unknown => Event::CheckUnknown,
                };
                counters.event(event, 1);
                if let Some(finding) = schedule.end(ended, clock()) {
                    control.report(id, finding);
                }
            }
            () = tokio::time::sleep(idle) => {}
        }
    }
}

/// How long to wait when nothing is due: any time will do.
const IDLE: Duration = Duration::from_secs(60);
