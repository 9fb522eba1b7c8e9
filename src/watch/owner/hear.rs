//! Hearing of changes: by marks of paths, by what is asked, and by scans.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::super::events::Health;
use super::super::receipts;
use super::super::scan::{Body, Unknown, absolute, format_of, is_below, is_passed_over, scan};
use super::super::wait::Told;
use super::{Gathering, Owner, SCAN_EVERY, SETTLING_MAX};
use crate::control::{Mark, Receipt, Request};
use crate::registry::Now;

impl Owner {
    pub(super) fn ask_for_scan(&mut self) {
        self.scan_due = self.scan_due.min(self.scan_not_before);
    }

    /// Takes in what happened to paths.
    pub(super) fn hear(&mut self, marks: BTreeMap<OsString, Mark>, now: Now) {
        if self.files.is_frozen() && !marks.is_empty() {
            // Perhaps the content that is waited for.
            self.ask_for_scan();
        }
        let mut directories = BTreeSet::<Arc<str>>::new();
        for (path, mark) in marks {
            let path = Path::new(&path);
            let Some(relative) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
            let relative: Arc<str> = Arc::from(relative);
            let (parent, name) = relative.rsplit_once('/').unwrap_or(("", &relative));
            if relative.is_empty() {
                // The directory itself: its contents may be another's now.
                if mark != Mark::Touched {
                    self.watches.forget("");
                }
                self.ask_for_scan();
            } else if name.starts_with("..") {
                // What the links of a Kubernetes mount lead through.
                directories.insert(Arc::from(parent));
            } else if is_passed_over(name) {
            } else if self.watches.has(&relative) {
                if mark != Mark::Touched {
                    self.watches.forget(&relative);
                }
                directories.insert(relative);
            } else if format_of(name).is_some() && !(matches!(mark, Mark::Made | Mark::Placed) && is_directory(path)) {
                self.files.mark(&relative, mark, now.monotonic);
            } else if is_directory(path) {
                directories.insert(relative);
            }
        }
        // What is gone first: files that turn up elsewhere are then known to have moved, and nothing is missing between.
        let (there, gone): (BTreeSet<_>, BTreeSet<_>) =
            directories.into_iter().partition(|directory| is_directory(&absolute(&self.root, directory)));
        for directories in [gone, there] {
            let departed = if directories.is_empty() { HashSet::new() } else { self.files.departed() };
            let mut done: Option<Arc<str>> = None;
            for directory in directories {
                // In byte order a directory comes before what is below it.
                if !done.as_ref().is_some_and(|done| is_below(&directory, done)) {
                    self.scan_below(&directory, Told::ByEvent, &departed, now);
                    done = Some(directory);
                }
            }
        }
    }

    /// Takes in what is asked. A file that is waited for is looked at, whether an event told of it or not.
    pub(super) fn hear_requests(&mut self, requests: Vec<Request>, now: Now) -> Vec<Request> {
        let mut questions = Vec::new();
        for request in requests {
            match request {
                Request::Wait(wanted, reply) if receipts::is_read(&self.root, &wanted.file) => {
                    self.files.mark(&Arc::from(wanted.file.as_str()), Mark::Touched, now.monotonic);
                    self.receipts.add(wanted, reply);
                }
                Request::Wait(_, reply) => {
                    let _ = reply.send(Receipt::Rejected { faults: vec![receipts::not_read()] });
                }
                question @ (Request::Status(..) | Request::Overview(..) | Request::Explain(..)) => {
                    questions.push(question);
                }
            }
        }
        questions
    }

    pub(super) fn scan_everything(&mut self) {
        let begun = (self.clock)();
        // The first asks for every watch, which takes much longer than the next ones will.
        let first = self.scan_not_before.is_zero();
        self.scan_below("", Told::ByScan, &self.files.departed(), begun);
        let ended = (self.clock)().monotonic;
        let took = ended.saturating_sub(begun.monotonic);
        let pause = match self.watches.health() {
            Health::Events if !first => SCAN_EVERY.max(took * SCAN_SHARE),
            Health::Events | Health::Polling => SCAN_EVERY,
        };
        if first {
            // What came while nobody looked is no newcomer: all instances of an app may have moved in the meantime.
            self.newcomers_from = Some(ended + SETTLING_MAX);
        }
        self.scan_due = ended + pause;
        self.scan_not_before = ended + took * SCAN_SHARE_ASKED;
    }

    fn scan_below(&mut self, under: &str, told: Told, departed: &HashSet<Body>, now: Now) {
        self.watches.begin();
        self.watches.lend();
        let known = |file: &str| self.files.known(file);
        let unknown = if self.files.root_id().is_none() { Unknown::List } else { Unknown::Look };
        match scan(&self.root, under, (&known, unknown), &mut |directory, path, id| {
            self.watches.add(directory, path, id)
        }) {
            Ok(found) => {
                self.watches.end(under, &found.directories);
                self.files.found(found, under, told, departed, now);
                if under.is_empty() && self.gathering == Gathering::Until {
                    self.ready_by.get_or_insert(now.monotonic + SETTLING_MAX);
                }
            }
            Err(error) => {
                self.watches.end(under, &BTreeMap::new());
                self.files.lost(&error);
            }
        }
        self.gauges.polling(self.watches.health() == Health::Polling);
        self.gauges.frozen(self.files.is_frozen());
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The scans of a directory that gives events take this part of the time at most.
const SCAN_SHARE: u32 = 200;

/// Scans that somebody asks for take this part of the time at most, however often they ask.
const SCAN_SHARE_ASKED: u32 = 10;
