//! Whether a file is whole, as far as its octets tell.
//!
//! Of all prefixes of a realistic spec 37 in 100 are YAML, and some hold a wrong address. What speaks against a file: it is
//! empty, it does not end in a line feed, it is the beginning of what it was before, or it shrank while it was written in
//! place, as every file does that is truncated and written anew. Against that speaks that it has stood as it is for a while. Two
//! things no time makes good: the beginning of what it was, cut within a line; and any of these where the disk is full.

use std::path::Path;
use std::time::Duration;

use super::read::whole;
use super::scan::Identity;
use crate::registry::Now;
use crate::spec::{Fault, Format};

/// Whether a file is whole.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// Nothing speaks against it.
    None,
    /// It may be cut off; that it stands as it is speaks for it.
    Unsure,
    /// It is cut off.
    Cut(Fault),
}

/// How a file came to have its octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// It was written where it is.
    InPlace,
    /// It was put there as it is.
    Whole,
}

impl Doubt {
    /// The doubt about `octets` of a file that had a good version `before`, with these octets where it is YAML.
    pub(crate) fn of(octets: &[u8], before: Option<&[u8]>, format: Format, coming: Coming, path: &Path) -> Self {
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        let rest = before.strip_prefix(octets).filter(|rest| !rest.is_empty() && !octets.is_empty());
        let yaml = format == Format::Yaml;
        let within_a_line = yaml && !octets.is_empty() && !octets.ends_with(b"\n");
        if within_a_line && rest.is_some_and(|rest| !rest.starts_with(b"\n")) {
            let fault = "is the beginning of what it was before, cut within a line";
            return Self::Cut(whole(fault, "write it again, beside its place, and rename it into it"));
        }
        // JSON cannot be cut and still be JSON, so what it was before is not asked, and not kept.
        let is_less = yaml && coming == Coming::InPlace && octets.len() < before.len();
        let doubtful = octets.is_empty() || rest.is_some() || within_a_line || is_less;
        if doubtful && !is_new && is_full(path) {
            return Self::Cut(whole("may be cut off: its file system is full", "make room, and write it again"));
        }
        if doubtful { Self::Unsure } else { Self::None }
    }
}

/// Whether a file was written long enough ago to be whole: at the start, and where a directory was moved. The wall clock
/// may be wrong: then it waits like any other.
pub(crate) fn has_stood(identity: Identity, now: Now) -> bool {
    let written = identity.modified.div_ceil(1_000_000_000);
    now.wall > written.saturating_add(STANDING.as_secs())
}

/// Whether nobody without rights can write another octet beside a file.
fn is_full(file: &Path) -> bool {
    rustix::fs::statvfs(file).is_ok_and(|system| system.f_blocks > 0 && system.f_bavail == 0)
}

/// How long a file that may be cut off must stand as it is: 37 of 100 prefixes of a spec parse.
pub(crate) const STANDING: Duration = Duration::from_secs(1);
