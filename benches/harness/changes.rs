//! Files that change while something else is measured.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::apps::{Apps, scatter};

/// Renames a changed registration into place so many times a second, until this is dropped.
pub(crate) struct Changes {
    ended: Arc<AtomicBool>,
    made: Arc<AtomicU32>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Changes {
    pub(crate) fn start(apps: Apps, rate: u32) -> Self {
        let (ended, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (own_ended, own_made) = (Arc::clone(&ended), Arc::clone(&made));
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            let mut turn = 0;
            while !own_ended.load(Ordering::Relaxed) {
                replace(&apps, scatter(turn, apps.count), turn / apps.count + 1);
                turn += 1;
                own_made.store(turn, Ordering::Relaxed);
                let next = begun + Duration::from_secs_f64(f64::from(turn) / f64::from(rate));
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self { ended, made, thread: Some(thread) }
    }

    /// How many there were so far.
    pub(crate) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
