//! Taking or refusing one file.
//!
//! A file is taken when it is whole, and what tells is how it came: renamed into place or, for JSON, closed by its writer: at
//! once. Written in place: after a little quiet. Empty, without a last line feed, or less than it was: after it has stood a while. The
//! beginning of what it was, cut within a line, or anything that may be cut where the disk is full: never. A file cut at the end of a
//! line is, after a second, a shorter file: nothing tells it from an edit, and so the writer should rename, or write JSON.
//!
//! A file whose time of writing moved and whose octets did not is a renewal, and is not parsed. So is one that was written
//! and cannot be used: whoever writes is there, though what it writes is broken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::super::doubt::{Coming, Doubt, STANDING, has_stood};
use super::super::read::{self, Ahead, Contents, Parsed, Removal, Text, unreadable, whole};
use super::super::report::FileState;
use super::super::scan::{DirectoryId, Identity, Seen, Sight, Way, absolute, format_of, look};
use super::super::wait::{QUIET, QUIET_MAX, REGISTRATION_REMOVAL, REMOVAL, Told, Wait, Why};
use super::{Entry, Files, Good, Keep, Octets, Remarks};
use crate::control::Hash;
use crate::registry::{FileContent, Now};
use crate::spec::{Document, Documents, Fault, Format};

/// What became of looking at one file.
pub(super) enum Outcome {
    /// It means something else now.
    Changed(FileContent),
    /// It was written or touched, and means what it meant.
    Renewed,
    /// It is removed.
    Gone,
    /// Nothing, or nothing yet.
    Same,
}

impl Files {
    pub(super) fn look_at(
        &mut self,
        file: &Arc<str>,
        ahead: Option<Ahead>,
        root_stands: &mut Option<bool>,
        now: Now,
    ) -> Outcome {
        let Some(wait) = self.waits.remove(file) else { return Outcome::Same };
        let (sight, ahead) = ahead.map_or_else(|| (look(&self.root, file), None), Ahead::into_parts);
        if !matches!(sight, Sight::Gone) {
            self.missing.remove(file);
        }
        match sight {
            Sight::File(seen) => {
                let renewed = self.is_renewed(file, seen.identity);
                let content = self.arrive(file, (seen, ahead), &wait, now);
                content.map_or(if renewed { Outcome::Renewed } else { Outcome::Same }, Outcome::Changed)
            }
            Sight::Gone => {
                let root = || self.root_id.is_some() && DirectoryId::at(&self.root).ok() == self.root_id;
                let stands = *root_stands.get_or_insert_with(root);
                if self.miss(file, &wait, stands, now) { Outcome::Gone } else { Outcome::Same }
            }
            Sight::Odd(what) => {
                self.refuse::<FileContent>(file, None, None, vec![odd(what)]);
                Outcome::Same
            }
            Sight::Failed(error) => self.unread(file, &error).map_or(Outcome::Same, Outcome::Changed),
        }
    }

    /// Whether a file that has a good version was written or touched since that was last asked.
    pub(super) fn is_renewed(&mut self, file: &Arc<str>, seen: Identity) -> bool {
        let Some(good) = self.entries.get_mut(file).and_then(|entry| entry.good.as_mut()) else { return false };
        std::mem::replace(&mut good.modified, seen.modified) != seen.modified
    }

    /// A file that is there: read it, or wait on.
    fn arrive(
        &mut self,
        file: &Arc<str>,
        (seen, ahead): (Seen, Option<(Contents, Option<Parsed>)>),
        wait: &Wait,
        now: Now,
    ) -> Option<FileContent> {
        let entry = self.entries.get(file);
        let known = entry.is_some_and(|entry| entry.identity == Some(seen.identity));
        let again = now.monotonic < wait.since + QUIET_MAX;
        match &wait.why {
            Why::Vanished(_) | Why::Missing(_) if known => return None,
            // It was made anew, and nobody said yet that it is finished.
            Why::Vanished(_) | Why::Missing(_) => return self.wait_quiet(file, now.monotonic, seen.identity, now),
            Why::Written(Some(before)) if again && *before != seen.identity => {
                return self.wait_quiet(file, wait.since, seen.identity, now);
            }
            _ => {}
        }
        let (contents, parsed) = ahead.unwrap_or_else(|| (read::read(&self.root, file, &seen), None));
        let (text, identity) = match contents {
            Contents::Octets(text, identity) => (text, identity),
            Contents::Changing => return self.wait_quiet(file, now.monotonic, seen.identity, now),
            Contents::Gone => {
                self.waits.insert(Arc::clone(file), Wait::now(now, Why::Vanished(Told::ByScan)));
                return None;
            }
            // No identity is kept of what could not be read: every scan tries again.
            Contents::Fault(fault) => return self.refuse(file, None, None, vec![fault]),
            Contents::Failed(error) => return self.unread(file, &error),
        };
        if let Some(entry) = self.entries.get_mut(file)
            && entry.is_as(text.hash, seen.way)
        {
            entry.identity = Some(identity);
            return None;
        }
        let stood = match wait.why {
            Why::Whole => true,
            Why::Listed => has_stood(identity, now),
            Why::Standing(before) => before == identity,
            _ => false,
        };
        let coming =
            if matches!(wait.why, Why::Finished | Why::Listed | Why::Whole) { Coming::Whole } else { Coming::InPlace };
        let format = format_of(file).map_or(Format::Yaml, |(format, _)| format);
        let before = self.entries.get(file).and_then(|entry| entry.good.as_ref());
        let before = before.map(|good| match &good.octets {
            Some(octets) if format == Format::Yaml => &*octets.0,
            _ => &[],
        });
        match Doubt::of(&text.octets, before, format, coming, &absolute(&self.root, file)) {
            Doubt::Cut(fault) => return self.refuse(file, Some(identity), Some(text.hash), vec![fault]),
            Doubt::Unsure if !stood => {
                self.waits.insert(Arc::clone(file), Wait::until(now, STANDING, Why::Standing(identity)));
                return None;
            }
            Doubt::Unsure | Doubt::None => {}
        }
        if text.octets.is_empty() {
            let fault = whole("is empty, which is not taken for a removal", "write a document into it, or remove it");
            return self.refuse(file, Some(identity), Some(text.hash), vec![fault]);
        }
        let parsed = parsed.unwrap_or_else(|| read::parse(&self.root, file, seen.way, &text.octets).into());
        if parsed.faults.is_empty() {
            return self.accept(file, identity, text, parsed);
        }
        let Parsed { remains, faults, warnings, .. } = parsed;
        self.reject(file, Some(identity), Some(text.hash), (faults, warnings));
        self.leave(file, remains, identity.modified)
    }

    fn wait_quiet<T>(&mut self, file: &Arc<str>, since: Duration, identity: Identity, now: Now) -> Option<T> {
        let wait = Wait { since, ..Wait::until(now, QUIET, Why::Written(Some(identity))) };
        self.waits.insert(Arc::clone(file), wait);
        None
    }

    fn accept(
        &mut self,
        file: &Arc<str>,
        identity: Identity,
        Text { octets, hash }: Text,
        parsed: Parsed,
    ) -> Option<FileContent> {
        let Parsed { documents, removal, warnings, .. } = parsed;
        let before = self.entries.get(file);
        // Otherwise the writer put back what there was.
        let last = before.and_then(|entry| entry.good.as_ref()).filter(|last| last.hash == hash);
        let (same, generation) = (last.is_some(), last.and_then(|last| last.generation));
        let is_yaml = format_of(file).is_some_and(|(format, _)| format == Format::Yaml);
        let octets = (self.keep == Keep::All || is_yaml).then(|| Box::new(Octets(octets)));
        let modified = identity.modified;
        let good = Good { hash, octets, modified, removal, generation };
        let remarks = Remarks { warnings, ..Remarks::default() };
        let entry = Entry::new(Some(identity), Some(good), FileState::Ok, remarks);
        tell(file, before.map(|entry| &**entry), &entry);
        self.entries.insert(Arc::clone(file), Box::new(entry));
        (!same).then(|| FileContent { documents, modified: modified.into() })
    }

    /// What the registry is told of a file of which no version was ever good, unless it was told already.
    fn leave(&mut self, file: &Arc<str>, remains: Vec<Document>, modified: u64) -> Option<FileContent> {
        let entry = self.entries.get_mut(file).filter(|entry| entry.good.is_none() && entry.remains() != remains)?;
        entry.remarks.get_or_insert_default().remains.clone_from(&remains);
        Some(FileContent { documents: Documents::from(remains), modified: modified.into() })
    }

    /// A file that cannot be read at all.
    fn refuse<T>(
        &mut self,
        file: &Arc<str>,
        identity: Option<Identity>,
        hash: Option<Hash>,
        faults: Vec<Fault>,
    ) -> Option<T> {
        self.reject(file, identity, hash, (faults, Vec::new()));
        None
    }

    /// A file that is there and cannot be read, by rights or by chance. One that never was good may hold anything, which the
    /// registry is told once.
    fn unread(&mut self, file: &Arc<str>, error: &io::Error) -> Option<FileContent> {
        let mut fault = unreadable(error);
        if self.good(file).is_none() {
            fault.remedy +=
                "; it may be a space, so what is beside it and below waits where no other space covers that";
        }
        self.reject(file, None, None, (vec![fault], Vec::new()));
        let leads_nowhere = error.raw_os_error() == Some(libc::ELOOP);
        self.entries.get(file).filter(|entry| entry.remains().is_empty() && !leads_nowhere)?;
        self.leave(file, vec![Document::Unread], 0)
    }

    /// A file that cannot be used as it is, with octets of this hash where it could be read: what it was before stays.
    fn reject(
        &mut self,
        file: &Arc<str>,
        identity: Option<Identity>,
        refused: Option<Hash>,
        (faults, warnings): (Vec<Fault>, Vec<Fault>),
    ) {
        let mut before = self.entries.remove(file);
        let good = before.as_mut().and_then(|entry| entry.good.take());
        let remains = before.as_ref().map(|entry| entry.remains().to_vec()).unwrap_or_default();
        let state = if good.is_some() { FileState::Stale } else { FileState::Rejected };
        let entry = Entry::new(identity, good, state, Remarks { faults, warnings, remains, refused });
        tell(file, before.as_deref(), &entry);
        self.entries.insert(Arc::clone(file), Box::new(entry));
    }

    /// A file that is not there; true when it counts as removed.
    fn miss(&mut self, file: &Arc<str>, wait: &Wait, root_stands: bool, now: Now) -> bool {
        let Some(entry) = self.entries.get(file) else { return false };
        let Some(good) = &entry.good else {
            return self.entries.remove(file).is_some_and(|entry| !entry.remains().is_empty());
        };
        let told = match wait.why {
            Why::Missing(told) => told,
            Why::Vanished(told) => return self.wait_missing(file, good.removal.after(), told, now),
            _ => return self.wait_missing(file, good.removal.after(), Told::ByScan, now),
        };
        if !root_stands {
            // Nothing is known of a file whose directory is gone; the next scan of the new one tells.
            return false;
        }
        if told == Told::ByScan {
            self.missing.entry(Arc::clone(file)).or_insert(now.monotonic);
            return false;
        }
        debug!(%file, "removed");
        self.missing.remove(file);
        self.entries.remove(file);
        true
    }

    fn wait_missing(&mut self, file: &Arc<str>, removal: Duration, told: Told, now: Now) -> bool {
        self.waits.insert(Arc::clone(file), Wait::until(now, removal, Why::Missing(told)));
        false
    }
}

impl Entry {
    /// Whether it was taken as it is from these octets, so that there is nothing to read in them.
    fn is_as(&self, hash: Hash, way: Way) -> bool {
        // What a link leads to is not quoted, and its warnings may be others than those of the file itself.
        let is_plain = way == Way::Itself || self.warnings().is_empty();
        self.state == FileState::Ok && is_plain && self.good.as_ref().is_some_and(|good| good.hash == hash)
    }
}

impl Removal {
    /// How long a file must be missing before it counts as removed.
    const fn after(self) -> Duration {
        match self {
            Self::OfSpec => REMOVAL,
            Self::OfRegistration => REGISTRATION_REMOVAL,
        }
    }
}

fn odd(what: &str) -> Fault {
    whole(format!("is {what}, which is never opened"), "put a regular file here, or a link to one")
}

/// Says in the log what changed about a file: once, not at every scan.
fn tell(file: &str, before: Option<&Entry>, after: &Entry) {
    if before.map_or(&[][..], Entry::faults) != after.faults() {
        for fault in after.faults().iter().take(FAULTS_LOGGED) {
            warn!(state = after.state.word(), "{file}:{fault}");
        }
        let more = after.faults().len().saturating_sub(FAULTS_LOGGED);
        if more > 0 {
            warn!(state = after.state.word(), "{file}: {more} more faults; `spacedns check` lists them");
        }
        if after.faults().is_empty() {
            info!("{file}: mended");
        }
    }
    if before.map_or(&[][..], Entry::warnings) != after.warnings() {
        for warning in after.warnings().iter().take(FAULTS_LOGGED) {
            info!("{file}:{warning}");
        }
    }
}

/// How many faults of one file are logged.
const FAULTS_LOGGED: usize = 5;
