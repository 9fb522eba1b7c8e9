//! Files that change while something else is measured.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::apps::{Apps, scatter};

/// Changes of files that can be made for a while, and again later: every one is another.
pub(crate) struct Changes {
    apps: Apps,
    /// How many there were so far.
    made: AtomicU32,
}

impl Changes {
    pub(crate) const fn new(apps: Apps) -> Self {
        Self { apps, made: AtomicU32::new(0) }
    }

    /// Does `work`, and renames a changed registration into place so many times a second meanwhile. The last app stays as it is: a
    /// server that is started later is asked for it.
    pub(crate) fn during<T>(&self, rate: u32, work: impl FnOnce() -> T) -> T {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (begun, mut due) = (Instant::now(), 0);
                while !ended.load(Ordering::Relaxed) {
                    let (turn, others) = (self.made.fetch_add(1, Ordering::Relaxed), self.apps.count - 1);
                    replace(&self.apps, scatter(turn, others), turn / others + 1);
                    due += 1;
                    let next = begun + Duration::from_secs_f64(f64::from(due) / f64::from(rate));
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
            let _ending = Ending(&ended);
            work()
        })
    }
}

/// Sets it when it is dropped, in a panic too: the scope waits for its thread.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes an app's file beside the others and renames it into place; yields when that was.
pub(crate) fn replace(apps: &Apps, app: u32, version: u32) -> Instant {
    let beside = apps.directory.join(".beside");
    fs::write(&beside, apps.text(app, version)).expect("it can be written");
    let begun = Instant::now();
    fs::rename(&beside, apps.file(app)).expect("it can be renamed");
    begun
}
