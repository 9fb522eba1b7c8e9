//! The owner task: one thread that owns what is declared, reads files, and has what they say compiled and published.
//!
//! Everything reaches it as a hint: file events and SIGHUP mark paths, the registry names the moment when a lease runs
//! out, and a scan by stat every few seconds finds what no event told of. A round takes the hints that have come in,
//! reads the files that are due, applies what changed as one batch, and publishes at most one generation. While it works
//! the next hints gather, so a storm of changes makes batches by itself, and a single change waits for nothing.
//!
//! Events are asked for before a directory is listed, so nothing falls between. A thread with no runtime: it does one
//! thing at a time, and its one wait is for its box, for file events and for the next deadline. It reads the events itself: a
//! thread in between would be a second wake-up for every change, and these are most of the time that a change takes.

mod checks;
mod doubt;
mod events;
mod files;
mod hold;
mod overview;
mod owner;
mod read;
mod receipts;
mod report;
mod saving;
mod scan;
mod shares;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::files::{Files, Keep};
use self::owner::Owner;
pub use self::report::{FileReport, FileState};
use self::scan::{Unknown, scan};
use self::wait::Told;
use crate::compile::Compiler;
use crate::control::checks::Checklist;
use crate::control::{Control, Explained, Inbox, Question};
use crate::observe::FileGauges;
use crate::publish::{Publisher, Readiness, Snapshot};
use crate::registry::{AllUnhealthy, Now, Registry, Touched};
use crate::state::State;

/// Reads the clocks.
pub type Clock = Box<dyn Fn() -> Now + Send>;

/// Explains what a caller gets, by what is and what is compiled from that; or says what is wrong with the question.
pub type Explain = Box<dyn Fn(&Registry, &Snapshot, &Question) -> Result<Explained, String> + Send>;

/// Everything that one look at a directory gives.
#[derive(Debug)]
pub struct Survey {
    /// What is, made of the files that could be taken.
    pub registry: Registry,
    /// What there is to say of each file, by path.
    pub reports: BTreeMap<Arc<str>, FileReport>,
    touched: Touched,
    /// When it looked; the wall clock.
    wall: u64,
}

impl Survey {
    /// Compiles what would be served, with the serial that a server starting now would give it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let starting = Snapshot::starting();
        let compiled = Compiler::new().compile(&self.registry, &self.touched, &starting);
        let mut publisher = Publisher::new(Snapshot::starting());
        publisher.publish(Snapshot { readiness: Readiness::Ready, ..compiled.unwrap_or(starting) }, self.wall);
        Snapshot::clone(&publisher.current())
    }
}

/// Reads `root` once, as it stands, without a server.
///
/// # Errors
///
/// The directory cannot be listed.
pub fn survey(root: &Path, tombstone: Duration, now: Now) -> io::Result<Survey> {
    let mut files = Files::new(root, Keep::Yaml);
    files.found(scan(root, "", (&|_| None, Unknown::Look), &mut |_, _, _| {})?, "", Told::ByScan, &HashSet::new(), now);
    files.hurry();
    let mut registry = Registry::new(tombstone);
    let touched = registry.apply(files.due(now).changes, now);
    Ok(Survey { registry, reports: files.reports(), touched, wall: now.wall })
}

/// What the owner task is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The spec directory, an absolute path.
    pub root: PathBuf,
    /// How long the hostnames of a removed app are denied.
    pub tombstone: Duration,
    /// How long large losses are held that only a scan found; zero for not at all.
    pub removal_hold: Duration,
}

/// The owner task, as whoever started it sees it.
#[derive(Debug)]
pub struct Task {
    thread: JoinHandle<()>,
    /// Whether what was saved is taken in.
    is_resumed: Arc<AtomicBool>,
}

impl Task {
    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has ended, as it was told to. One that still takes in what was saved, which can take seconds, hears nothing
    /// before it has, and has changed nothing that is saved: it is not waited for, and ends with the process.
    ///
    /// # Errors
    ///
    /// It panicked.
    pub fn end(self) -> thread::Result<()> {
        let is_over = self.is_resumed.load(Ordering::SeqCst) || self.thread.is_finished();
        if is_over { self.thread.join() } else { Ok(()) }
    }
}

/// Starts the owner task. It ends when `control` says so. With `readiness`, instances are held to their readiness checks, which
/// whoever reads the list carries out.
///
/// With `state`, `publisher` publishes what was read of that, if anything was.
///
/// # Errors
///
/// The thread cannot be started.
pub fn start(
    settings: Settings,
    publisher: Publisher,
    (control, inbox): (Control, Inbox),
    gauges: Arc<FileGauges>,
    (clock, explain): (Clock, Explain),
    readiness: Option<(AllUnhealthy, Checklist)>,
    state: Option<State>,
) -> io::Result<Task> {
    let mut owner = Owner::new(settings, publisher, (control, inbox), gauges, (clock, explain), state);
    if let Some((policy, checklist)) = readiness {
        owner.check_health(policy, checklist);
    }
    let is_resumed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_resumed);
    let thread = thread::Builder::new().name("owner".to_owned()).spawn(move || {
        owner.resume();
        told.store(true, Ordering::SeqCst);
        while owner.round().is_continue() {}
    })?;
    Ok(Task { thread, is_resumed })
}
