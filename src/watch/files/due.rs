//! Choosing which files to look at now: those whose wait is over, but for what is new and may belong to a space that is on its way.
//!
//! Each file waits for itself, and so of two that came together one may be read while the other is not. Between files that nothing
//! served depends on yet that is no more than their order. A new file below a new space document is another matter: read first, it
//! belongs to the space above, whose callers are told its names, and what is broken in the document later takes nothing back. So what
//! is new waits for what may be its space, as long as a file may take to be whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::doubt::STANDING;
use super::super::read::{self, Asked, Look, read_ahead};
use super::super::scan::format_of;
use super::super::wait::{Inside, QUIET_MAX, Wait, Why};
use super::Files;
use super::take::Outcome;
use crate::registry::{FileChange, Now, ancestors};
use crate::spec::Format;

/// What came of looking at the files that were due.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// What changed.
    pub(crate) changes: Vec<FileChange>,
    /// Files that were written or touched, and mean what they meant.
    pub(crate) renewed: Vec<Arc<str>>,
}

impl Files {
    /// Looks at every file that is due, and says what came of it.
    pub(crate) fn due(&mut self, now: Now) -> Due {
        let mut due: Vec<Arc<str>> = (self.waits.iter())
            .filter(|(_, wait)| wait.due <= now.monotonic)
            .map(|(file, _)| Arc::clone(file))
            .collect();
        let mut found = Due::default();
        let known = if self.entries.is_empty() { Known::None } else { Known::Some };
        self.put_off(&mut due, &mut found, known, now);
        self.look_at_all(&due, &mut found, known, now);
        found
    }

    /// Puts off what is due and new while a file on its way may be its space. Served with another space until then, its names would
    /// be told to callers who are not to know them.
    fn put_off(&mut self, due: &mut Vec<Arc<str>>, found: &mut Due, known: Known, now: Now) {
        let spaces = self.coming_spaces(due, now.monotonic);
        if spaces.is_empty() {
            return;
        }
        let (first, mut rest): (Vec<_>, Vec<_>) =
            std::mem::take(due).into_iter().partition(|file| spaces.binary_search(file).is_ok());
        // They may have to stand a while yet.
        self.look_at_all(&first, found, known, now);
        // Until when each directory waits for its space.
        let mut until: HashMap<&str, Duration> = HashMap::new();
        for space in &spaces {
            if let Some(wait) = self.waits.get(space).filter(|wait| wait.due > now.monotonic) {
                let latest = until.entry(directory_of(space)).or_default();
                *latest = wait.due.max(*latest);
            }
        }
        rest.retain(|file| {
            let Some(until) = ancestors(file).filter_map(|directory| until.get(directory)).max() else {
                return true;
            };
            if !self.is_new(file) {
                return true;
            }
            let Some(wait) = self.waits.get_mut(file) else { return true };
            let begun = *wait.put_off.get_or_insert(now.monotonic);
            wait.due = wait.due.max((*until).min(begun + PUT_OFF_MAX));
            wait.due <= now.monotonic
        });
        *due = rest;
    }

    /// The new files that may be a space for what is new in `due` and are not certainly whole, in order: a file belongs to the space
    /// document in its nearest ancestor directory (design §2).
    ///
    /// Few are looked into each time, and each once until something happens to it: many may come together. Of the rest one that is due is
    /// taken for none, as it is nearly always whole, and one that is not is taken for a space, which puts off what is new for a moment.
    fn coming_spaces(&mut self, due: &[Arc<str>], now: Duration) -> Vec<Arc<str>> {
        let may_wait =
            |wait: &Wait, file: &str| wait.is_coming() || wait.due <= now && wait.why == Why::Finished && is_yaml(file);
        // Whoever comes alone has nobody to wait for, and nobody who waits.
        if due.is_empty() || self.waits.len() == 1 {
            return Vec::new();
        }
        let doubtful = self.waits.iter().filter(|(file, wait)| wait.inside == Inside::Unknown && may_wait(wait, file));
        let doubtful: Vec<Arc<str>> = doubtful.map(|(file, _)| Arc::clone(file)).collect();
        if doubtful.is_empty() {
            return Vec::new();
        }
        let newcomers = due.iter().filter(|file| self.is_new(file));
        let above: HashSet<&str> = newcomers.flat_map(|file| ancestors(file)).collect();
        let mut left = LOOKED_INTO_MAX;
        let mut spaces = Vec::new();
        for file in doubtful {
            if !above.contains(directory_of(&file)) || !self.is_new(&file) {
                continue;
            }
            let Some(wait) = self.waits.get_mut(&file) else { continue };
            if left == 0 {
                if wait.due > now {
                    spaces.push(file);
                }
                continue;
            }
            left -= 1;
            if read::may_be_space(&self.root, &file) {
                spaces.push(file);
            } else {
                wait.inside = Inside::NoSpace;
            }
        }
        spaces
    }

    /// Looks at files: where nothing was `known` before, at each for the first time.
    fn look_at_all(&mut self, files: &[Arc<str>], found: &mut Due, known: Known, now: Now) {
        let asked: Vec<Asked> = files.iter().map(|file| self.asked(file)).collect();
        let mut root_stands = None;
        let root = self.root.clone();
        // What is new is put aside: to look for it among all others, half a dozen times for each file, takes as long as parsing. And a
        // tree that was filled in order has half its places free; one that is made of what is in order has none.
        let mut aside: Vec<_> = match known {
            Known::None => std::mem::take(&mut self.entries).into_iter().collect(),
            Known::Some => Vec::new(),
        };
        read_ahead(&root, files, &asked, |file, ahead| {
            match self.look_at(file, ahead, &mut root_stands, now) {
                Outcome::Changed(content) => {
                    found.changes.push(FileChange { file: Arc::clone(file), content: Some(content) });
                }
                Outcome::Gone => found.changes.push(FileChange { file: Arc::clone(file), content: None }),
                Outcome::Renewed => found.renewed.push(Arc::clone(file)),
                Outcome::Same => {}
            }
            if known == Known::None {
                aside.extend(self.entries.pop_first());
            }
        });
        if known == Known::None {
            self.entries = aside.into_iter().collect();
        }
    }

    fn asked(&self, file: &str) -> Asked {
        let look = match self.waits.get(file) {
            Some(Wait { seen: Some(seen), .. }) => Look::Seen(*seen),
            Some(Wait { why: Why::Listed, .. }) => Look::Listed,
            _ => Look::Unseen,
        };
        Asked { known: self.good(file), look }
    }
}

/// Whether anything was known of files before those that are due were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    None,
    Some,
}

/// Whether a file that was renamed into place may have to stand a while for all that: JSON that is cut is no JSON.
fn is_yaml(file: &str) -> bool {
    format_of(file).is_some_and(|(format, _)| format == Format::Yaml)
}

/// The directory that a file is in.
fn directory_of(file: &str) -> &str {
    ancestors(file).next().unwrap_or_default()
}

/// How many files on their way are looked into for a space each time: a millisecond's work.
const LOOKED_INTO_MAX: usize = 32;

/// For how long what is new is put off, whatever happens to it meanwhile: what a file may take to be left alone, and to stand.
const PUT_OFF_MAX: Duration = QUIET_MAX.saturating_add(STANDING);
