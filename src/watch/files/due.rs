//! Choosing which files to look at now: those whose wait is over, but for what is new and may belong to a space that is on its way.
//!
//! Each file waits for itself, and so of two that came together one may be read while the other is not. Between files that nothing
//! served depends on yet that is no more than their order. A new file below a new space document is another matter: read first, it
//! belongs to the space above, whose callers are told its names, and what is broken in the document later takes nothing back. So what
//! is new waits for what may be its space, as long as a file may take to be whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::doubt::STANDING;
use super::super::read::{self, Asked, read_ahead};
use super::super::scan::{format_of, is_below};
use super::super::wait::{QUIET_MAX, Wait, Why};
use super::Files;
use super::take::Outcome;
use crate::registry::{FileChange, Now};
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
        let is_first = self.entries.is_empty();
        let spaces = self.coming_spaces(&due, now.monotonic);
        if !spaces.is_empty() {
            let is_due = |file: &Arc<str>| due.binary_search(file).is_ok();
            let spaces: Vec<Arc<str>> = spaces.into_iter().filter(is_due).collect();
            // They may have to stand a while yet.
            self.look_at_all(&spaces, &mut found, now);
            due.retain(|file| spaces.binary_search(file).is_err());
            self.put_off(&mut due, now.monotonic);
        }
        self.look_at_all(&due, &mut found, now);
        if is_first {
            // A tree that was filled in order has half its places free; one that is made of what is in order has none.
            self.entries = std::mem::take(&mut self.entries).into_iter().collect();
        }
        found
    }

    /// Puts off what is due and new while a file on its way may be its space. Served with another space until then, its names would
    /// be told to callers who are not to know them.
    fn put_off(&mut self, due: &mut Vec<Arc<str>>, now: Duration) {
        let spaces: Vec<(Arc<str>, Duration)> = (self.coming_spaces(due, now).into_iter())
            .filter_map(|file| Some((Arc::from(directory_of(&file)), self.waits.get(&file)?.due)))
            .filter(|(_, due)| *due > now)
            .collect();
        due.retain(|file| {
            let over = spaces.iter().filter(|(directory, _)| is_below(file, directory) && self.is_new(file));
            let Some(until) = over.map(|(_, due)| *due).max() else { return true };
            let Some(wait) = self.waits.get_mut(file) else { return true };
            let until = until.min(wait.since + QUIET_MAX + STANDING);
            if until > now {
                wait.due = until;
            }
            until <= now
        });
    }

    /// The new files that may be a space for what is new in `due` and are not certainly whole, in order: a file belongs to the space
    /// document in its nearest ancestor directory (design §2).
    fn coming_spaces(&self, due: &[Arc<str>], now: Duration) -> Vec<Arc<str>> {
        let may_wait =
            |wait: &Wait, file| wait.is_coming() || wait.due <= now && wait.why == Why::Finished && is_yaml(file);
        let doubtful: Vec<_> = self.waits.iter().filter(|(file, wait)| may_wait(wait, file)).collect();
        // Whoever comes alone has nobody to wait for, and nobody who waits.
        if doubtful.is_empty() || due.is_empty() || self.waits.len() == 1 {
            return Vec::new();
        }
        let newcomers = due.iter().filter(|file| self.is_new(file));
        let above: HashSet<&str> = newcomers.flat_map(|file| directories_above(file)).collect();
        let mut ahead = 0;
        let may_be_space = |(file, wait): &(&Arc<str>, &Wait)| {
            // What is due is read now in any case; what is not is looked into again with every change until it is.
            ahead += usize::from(wait.due > now);
            wait.due > now && ahead > LOOKED_INTO_MAX || read::may_be_space(&self.root, file)
        };
        (doubtful.into_iter())
            .filter(|(file, _)| above.contains(directory_of(file)) && self.is_new(file))
            .filter(may_be_space)
            .map(|(file, _)| Arc::clone(file))
            .collect()
    }

    fn look_at_all(&mut self, files: &[Arc<str>], found: &mut Due, now: Now) {
        let of = |file| Asked { known: self.good(file), seen: self.waits.get(file).and_then(|wait| wait.seen) };
        let asked: Vec<Asked> = files.iter().map(|file| of(file)).collect();
        let mut root_stands = None;
        let root = self.root.clone();
        read_ahead(&root, files, &asked, |file, ahead| match self.look_at(file, ahead, &mut root_stands, now) {
            Outcome::Changed(content) => {
                found.changes.push(FileChange { file: Arc::clone(file), content: Some(content) });
            }
            Outcome::Gone => found.changes.push(FileChange { file: Arc::clone(file), content: None }),
            Outcome::Renewed => found.renewed.push(Arc::clone(file)),
            Outcome::Same => {}
        });
    }
}

/// Whether a file that was renamed into place may have to stand a while for all that: JSON that is cut is no JSON.
fn is_yaml(file: &str) -> bool {
    format_of(file).is_some_and(|(format, _)| format == Format::Yaml)
}

/// The directory that a file is in.
fn directory_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// That directory, and those that it is in.
fn directories_above(file: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(directory_of(file)), |directory| {
        (!directory.is_empty()).then(|| directory_of(directory))
    })
}

/// How many files on their way are looked into for a space; more are taken for one, which puts off what is new and no more.
const LOOKED_INTO_MAX: usize = 16;
