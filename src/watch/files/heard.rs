//! Hearing of files: what an event or a scan says of one becomes a [wait](Wait), until it is looked at.
//!
//! Truncated YAML can be valid YAML, and can hold a wrong address. So what was renamed into place or, if it is JSON, closed by its
//! writer is looked at at once; what is written in place, after a little quiet. A scan sees less than events tell, and takes
//! what it finds new for written in place, unless it has stood a while.
//!
//! What is missing may be on its way: a spec is waited for longer than a registration. What only a scan found missing, of which
//! no event told, is for the owner to believe. A directory that is lost, or replaced by an empty one, removes nothing.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::super::doubt::has_stood;
use super::super::read::unreadable;
use super::super::scan::{Body, Identity, Scan, Seen, Sight, Way, entries_below, format_of, is_below, look};
use super::super::wait::{Inside, QUIET, QUIET_MAX, REMOVAL, Told, Wait, Why};
use super::Files;
use crate::control::Mark;
use crate::registry::Now;
use crate::spec::Format;

impl Files {
    /// Takes in that something happened to a file.
    pub(crate) fn mark(&mut self, file: &Arc<str>, mark: Mark, now: Duration) {
        let last = self.waits.get(file);
        let writing = matches!(last, Some(Wait { why: Why::Written(_), .. }));
        let since = last.filter(|_| writing).map_or(now, |wait| wait.since);
        let json = format_of(file).is_some_and(|(format, _)| format == Format::Json);
        let (due, why) = match mark {
            Mark::Placed => (now, Why::Finished),
            Mark::Closed if json => (now, Why::Finished),
            Mark::Touched if last.is_some() => return,
            Mark::Touched => (now, Why::Finished),
            Mark::Removed => (now, Why::Vanished(Told::ByEvent)),
            // Whoever writes has it open still.
            Mark::Written => (since + QUIET_MAX, Why::Written(None)),
            Mark::Made | Mark::Closed => ((now + QUIET).min(since + QUIET_MAX), Why::Written(None)),
        };
        let put_off = last.and_then(|wait| wait.put_off);
        let wait = Wait { since, due, why, seen: None, put_off, inside: Inside::Unknown };
        // Whoever is told of the file keeps its path: where there is one already, all share it.
        let file = self.entries.get_key_value(file).map_or(file, |(known, _)| known);
        self.waits.insert(Arc::clone(file), wait);
    }

    /// Takes in what a scan of everything below `under` found; `told` is what it was made for. What [departed](Self::departed)
    /// elsewhere and turns up there was moved, and is whole.
    pub(crate) fn found(&mut self, scan: Scan, under: &str, told: Told, departed: &HashSet<Body>, now: Now) {
        let id = scan.directories.get(under).copied();
        let replaced = under.is_empty() && self.root_id.is_some() && self.root_id != id;
        if replaced && scan.is_empty() && !self.entries.is_empty() {
            return self.freeze("it was replaced by an empty one".to_owned());
        }
        let first = self.root_id.is_none();
        if under.is_empty() {
            self.root_id = id;
            if self.frozen.take().is_some() {
                info!("the spec directory has content again: what is served follows it");
            }
        }
        self.note_unread(&scan, under);
        self.missing.retain(|file, _| !scan.unread.keys().any(|directory| is_below(file, directory)));
        self.missing.retain(|file, _| !scan.unchanged.contains(file));
        let gone: Vec<Arc<str>> = self
            .absent(&scan, under)
            .into_iter()
            .filter(|file| !self.unread.keys().any(|directory| is_below(file, directory)))
            .filter(|file| !self.waits.get(file).is_some_and(Wait::is_for_what_is_gone))
            .filter(|file| told == Told::ByEvent || !self.missing.contains_key(file))
            .collect();
        let moved: HashSet<Body> = gone.iter().filter_map(|file| self.body(file)).collect();
        for file in gone {
            // A directory made anew is often still being filled.
            let wait = if replaced {
                Wait::until(now, REMOVAL, Why::Missing(told))
            } else {
                Wait::now(now, Why::Vanished(told))
            };
            self.waits.insert(file, wait);
        }
        if !scan.listed.is_empty() {
            let mut listed = scan.listed;
            // Before they are ten times as large.
            listed.sort_unstable();
            let listed = listed.into_iter().map(|file| (file, Wait::now(now, Why::Listed))).collect();
            // An event has told more.
            let heard = std::mem::replace(&mut self.waits, listed);
            self.waits.extend(heard);
        }
        for (file, sight) in scan.files {
            self.missing.remove(&file);
            let stood = |identity: Identity| {
                if first {
                    has_stood(identity, now)
                } else {
                    [&moved, departed].iter().any(|bodies| bodies.contains(&identity.body()))
                }
            };
            self.sight(file, &sight, first, stood, now);
        }
    }

    /// The bodies of the files that are gone from where they were, and do not count as removed yet.
    pub(crate) fn departed(&self) -> HashSet<Body> {
        let gone = self.waits.iter().filter(|(_, wait)| wait.is_for_what_is_gone());
        gone.filter_map(|(file, _)| self.body(file)).collect()
    }

    fn body(&self, file: &str) -> Option<Body> {
        Some(self.entries.get(file)?.identity?.body())
    }

    /// The files that a scan did not find. What it found as it was is in the order of the files, so the two are walked side by side:
    /// nearly every file is such, and to look for each would be most of what an idle server does.
    fn absent(&self, scan: &Scan, under: &str) -> Vec<Arc<str>> {
        let mut unchanged = scan.unchanged.iter().peekable();
        entries_below(&self.entries, under)
            .map(|(file, _)| file)
            .filter(|file| unchanged.next_if_eq(file).is_none() && !scan.files.contains_key(*file))
            .cloned()
            .collect()
    }

    fn sight(&mut self, file: Arc<str>, sight: &Sight, first: bool, stood: impl Fn(Identity) -> bool, now: Now) {
        if self.waits.contains_key(&file) {
            return;
        }
        let entry = self.entries.get(&file);
        let wait = match sight {
            Sight::File(seen) if entry.is_some_and(|entry| entry.identity == Some(seen.identity)) => return,
            Sight::File(seen @ Seen { way: Way::Swapped, .. }) => Wait::now(now, Why::Whole).seen(*seen),
            Sight::File(seen) if stood(seen.identity) => Wait::now(now, Why::Whole).seen(*seen),
            Sight::File(seen) if first => Wait::now(now, Why::Finished).seen(*seen),
            Sight::File(seen) => Wait::until(now, QUIET, Why::Written(Some(seen.identity))),
            Sight::Gone if entry.is_none() => return,
            Sight::Gone => Wait::now(now, Why::Vanished(Told::ByScan)),
            Sight::Odd(_) | Sight::Failed(_) => Wait::now(now, Why::Finished),
        };
        self.waits.insert(file, wait);
    }

    fn note_unread(&mut self, scan: &Scan, under: &str) {
        self.unread.retain(|directory, _| {
            let stays = scan.unread.contains_key(directory) || !(is_below(directory, under) || &**directory == under);
            if !stays {
                info!(directory = %directory, "the directory can be read again");
            }
            stays
        });
        for (directory, error) in &scan.unread {
            let fault = unreadable(error);
            if self.unread.get(directory) != Some(&fault) {
                warn!(directory = %directory, "{fault}; its files stay as they were");
                self.unread.insert(Arc::clone(directory), fault);
            }
        }
    }

    /// Takes in that the directory itself cannot be listed: unreadable is not empty.
    pub(crate) fn lost(&mut self, error: &io::Error) {
        self.freeze(error.to_string());
    }

    fn freeze(&mut self, why: String) {
        // What is missing while everything is missing was not removed.
        self.waits.retain(|_, wait| !wait.is_for_what_is_gone());
        self.missing.clear();
        if self.frozen.as_ref() != Some(&why) {
            warn!("the spec directory is lost: {why}; what is served stays as it is until there is content again");
            self.frozen = Some(why);
        }
    }

    /// Takes everything as it stands, as who reads the directory only once must.
    pub(crate) fn hurry(&mut self) {
        for wait in self.waits.values_mut() {
            wait.why = Why::Whole;
        }
    }

    /// Whether a file was written or touched since it was last seen, though perhaps no event told of it: asked before its
    /// lease runs out.
    pub(crate) fn was_touched(&mut self, file: &Arc<str>, now: Now) -> bool {
        let Sight::File(seen) = look(&self.root, file) else { return false };
        let known = self.entries.get(file).is_some_and(|entry| entry.identity == Some(seen.identity));
        if !known && !self.waits.contains_key(file) {
            let wait = Wait::until(now, QUIET, Why::Written(Some(seen.identity)));
            self.waits.insert(Arc::clone(file), wait);
        }
        self.is_renewed(file, seen.identity)
    }
}
