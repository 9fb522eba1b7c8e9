//! Looking at everything in steps: a scan of a million files takes most of a second, in which no change would be served.
//!
//! A step looks at a few hundred names, and between two steps the owner hears and rebuilds as always. So what a tour has seen grows
//! old before it is taken in, and may not win over what was heard since:
//!
//! - That a file is as it was known is noted with the file at once, and what an event tells of it later is taken as ever.
//! - That a file is another is told at the end, by a second look at it.
//! - That a file is gone is told at the end, of those that were neither seen nor read since the tour began; and it is looked for
//!   again before anybody believes it, as always.
//! - That a directory was made, moved or removed is what a walk cannot bear: whoever hears of that ends the tour, and looks at
//!   everything in one piece.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use super::super::report::FileState;
use super::super::scan::{Before, Identity, Progress, Recognized, Scan, Unknown, Walk, prefix_of};
use super::{Entry, Files};

/// One look at everything below a directory.
#[derive(Debug)]
pub(crate) struct Tour {
    walk: Walk,
    /// What every path below the directory begins with.
    prefix: Arc<str>,
    /// Up to where files were held against what was found; `None` until the walk is over.
    compared: Option<Arc<str>>,
    absent: Vec<Arc<str>>,
    tally: Tally,
    steps: usize,
}

/// How many files there are: served as they stand, in an older version, not at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: usize,
    pub(crate) stale: usize,
    pub(crate) rejected: usize,
}

impl Tally {
    pub(super) const fn add(&mut self, state: FileState) {
        let Self { ok, stale, rejected } = self;
        *match state {
            FileState::Ok | FileState::Expired => ok,
            FileState::Stale => stale,
            FileState::Rejected => rejected,
        } += 1;
    }
}

/// What a tour found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What there is.
    pub(crate) scan: Scan,
    /// What is not there any more.
    pub(super) absent: Vec<Arc<str>>,
    /// What became of what there was.
    pub(crate) tally: Tally,
}

impl Tour {
    /// Begins to look at what is below `under`.
    pub(crate) fn begin(under: &str, files: &mut Files) -> Self {
        // Every file is on a tour all the time, or gone: that this begins anew some day makes nobody taken for seen.
        files.tour = files.tour.wrapping_add(1);
        let is_first = files.root_id.is_none() && files.entries.is_empty();
        let unknown = if is_first { Unknown::List } else { Unknown::Look };
        Self {
            walk: Walk::from(under, unknown),
            prefix: Arc::from(prefix_of(under)),
            compared: None,
            absent: Vec::new(),
            tally: Tally::default(),
            steps: 0,
        }
    }

    /// Goes on for so many names.
    ///
    /// # Errors
    ///
    /// The root cannot be listed: this is the end.
    pub(crate) fn go_on(&mut self, files: &mut Files, names: usize, before: Before<'_>) -> io::Result<Progress> {
        self.steps += 1;
        let mut left = names;
        if self.compared.is_none() {
            let root = files.root.clone();
            let walked =
                self.walk.go_on(&root, &mut left, (&mut |file, identity| files.recognize(file, identity), before))?;
            if walked == Progress::Begun {
                return Ok(walked);
            }
            self.compared = Some(Arc::clone(&self.prefix));
        }
        Ok(self.compare(files, left))
    }

    fn compare(&mut self, files: &Files, left: usize) -> Progress {
        let Some(after) = self.compared.take() else { return Progress::Done };
        let from = files.entries.range::<str, _>((Bound::Excluded(&*after), Bound::Unbounded));
        let below = from.take_while(|(file, _)| file.starts_with(&*self.prefix));
        let (mut left, mut last): (_, Option<&Arc<str>>) = (left.saturating_mul(COMPARED), None);
        for (file, entry) in below {
            if left == 0 {
                self.compared = last.cloned();
                return Progress::Begun;
            }
            (left, last) = (left - 1, Some(file));
            self.tally.add(entry.state);
            if files.is_absent(file, entry, &self.walk.scan) {
                self.absent.push(Arc::clone(file));
            }
        }
        Progress::Done
    }

    /// How many steps there were.
    pub(crate) const fn steps(&self) -> usize {
        self.steps
    }

    /// What was found, after the last step.
    pub(crate) fn found(self, files: &Files) -> Found {
        let Self { walk: Walk { mut scan, .. }, mut absent, tally, steps, .. } = self;
        if steps > 1 {
            scan.look_again(&files.root);
            absent.retain(|file| files.entries.get(file).is_some_and(|entry| files.is_absent(file, entry, &scan)));
        }
        Found { scan, absent, tally }
    }
}

impl Files {
    fn recognize(&mut self, file: &str, identity: Option<Identity>) -> Recognized {
        let mut at = self.entries.range_mut::<str, _>((Bound::Included(file), Bound::Included(file)));
        let Some((file, entry)) = at.next() else { return Recognized::New };
        if identity.is_none() || entry.identity != identity {
            return Recognized::Otherwise(Arc::clone(file));
        }
        entry.tour = self.tour;
        self.missing.remove(file);
        Recognized::AsItWas(Arc::clone(file))
    }

    /// Whether a file was neither seen nor read since the tour began.
    fn is_absent(&self, file: &str, entry: &Entry, scan: &Scan) -> bool {
        entry.tour != self.tour && !scan.files.contains_key(file)
    }
}

/// How many files are held against what was found in the time in which one name is looked at.
const COMPARED: usize = 8;
