//! What the owner task says when it is asked: of the server, of its files, and of one file that somebody waits for.
//!
//! These types are the documents of `/status` and `/wait` as well: who asks reads them by the same definitions that wrote
//! them. They hold words and numbers only, so that they say the same whatever becomes of the types behind them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Change;

/// What there is to say of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The spec directory, as the server knows it.
    pub directory: String,
    /// Whether queries are answered.
    pub readiness: Readiness,
    /// The generation that was published last.
    pub generation: u64,
    /// The generation that every worker has reached: none answers from an older one.
    pub reached: u64,
    /// The serial of that generation, as SOA records have it.
    pub serial: u32,
    /// How changes are found.
    pub watching: Watching,
    /// Why what is served does not change, while the directory is lost.
    pub frozen: Option<String>,
    /// Directories that cannot be read: what is known of the files below stays.
    pub unread: BTreeMap<String, FaultStatus>,
    /// How many files are in each state.
    pub counts: Counts,
    /// The instances that do not pass their checks.
    #[serde(default)]
    pub unready: Unready,
    /// The files that were asked for, by path.
    pub files: Vec<FileStatus>,
    /// Where there are more: the path to ask for those after.
    pub next: Option<String>,
    /// The last generations, the newest first; not more than some ten.
    pub changes: Vec<Change>,
}

/// Whether queries are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// Not yet: SERVFAIL for everything.
    Starting,
    /// They are.
    Ready,
}

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watching {
    /// File events tell, at once.
    Events,
    /// There are none: the directory is looked at every few seconds.
    Polling,
}

/// How many files are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In [`FileState::Ok`].
    pub ok: u64,
    /// In [`FileState::Stale`].
    pub stale: u64,
    /// In [`FileState::Rejected`].
    pub rejected: u64,
    /// In [`FileState::Expired`].
    pub expired: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, state: FileState) {
        match state {
            FileState::Ok => self.ok += 1,
            FileState::Stale => self.stale += 1,
            FileState::Rejected => self.rejected += 1,
            FileState::Expired => self.expired += 1,
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// What is in it is what is used.
    Ok,
    /// Its last good version is used; the faults say why.
    Stale,
    /// Nothing of it is used; the faults say why.
    Rejected,
    /// What is in it is what is known, and a lease in it ran out.
    Expired,
}

impl FileState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// The instances that do not pass their checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unready {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most a hundred.
    pub instances: Vec<UnreadyInstance>,
}

/// An instance that does not pass its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadyInstance {
    /// The space that its app is in.
    pub space: String,
    /// Its app.
    pub app: String,
    /// Its component and number: `web.1`.
    pub instance: String,
    /// What becomes of it.
    pub health: Health,
    /// Why its last check failed; none where it has not been checked yet.
    pub reason: Option<String>,
}

/// What becomes of an instance that does not pass its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It came a while ago, and is not in the answers before it passes.
    Waiting,
    /// It left the answers.
    Failing,
    /// It stays in the answers: all that were ready fail, and the checks are suspected first.
    Kept,
}

/// What there is to say of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its path relative to the spec directory.
    pub file: String,
    /// What became of it.
    pub state: FileState,
    /// The SHA-256 of what is used of it; none where nothing is.
    pub sha256: Option<Hash>,
    /// The first generation that was made with these contents.
    pub generation: Option<u64>,
    /// The SHA-256 of what the faults are about, where that is another version.
    pub rejected_sha256: Option<Hash>,
    /// What is wrong with it, alone and between it and others.
    pub faults: Vec<FaultStatus>,
    /// What is accepted but worth a look.
    pub warnings: Vec<FaultStatus>,
    /// The instances that it registers as up and that are not in the answers, because of their checks; told where one file is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unready: Vec<UnreadyInstance>,
}

/// A fault or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStatus {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The path of keys to it; empty for the document as a whole.
    pub field: String,
    /// What is wrong.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for FaultStatus {
    /// Writes `line:column: field: fault; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, field, fault, remedy } = self;
        write!(f, "{line}:{column}: ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        write!(f, "{fault}; {remedy}")
    }
}

/// What became of waiting for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "receipt", rename_all = "lowercase")]
pub enum Receipt {
    /// Every worker answers from what was waited for.
    Served {
        /// The generation that was reached.
        generation: u64,
        /// How long a cache may still keep what was answered before it, in milliseconds.
        outlived_ms: u64,
    },
    /// What was waited for is known and is not served, or not all of it.
    Rejected {
        /// Why.
        faults: Vec<FaultStatus>,
    },
    /// Neither happened in the time that was given.
    Pending,
}

/// The SHA-256 of a file's octets, in hexadecimal digits where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let mut hash = [0; 32];
        for (octet, hashed) in hash.iter_mut().zip(digest(&SHA256, octets).as_ref()) {
            *octet = *hashed;
        }
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What is no hash.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits, as `sha256sum` prints it")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut hash = [0; 32];
        for (octet, at) in hash.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or(HashError)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| HashError)?;
        }
        // The parser takes a sign, and any case; and there may be more than was read.
        let hash = Self(hash);
        if hash.to_string().eq_ignore_ascii_case(text) { Ok(hash) } else { Err(HashError) }
    }
}

impl TryFrom<String> for Hash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        let mut text = Self::with_capacity(64);
        // Writing into a string does not fail.
        let _ = write!(text, "{hash}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(Hash::of(b"abc")));
        for wrong in ["", "ba78", &format!("{text}00"), &text.replace('b', "+"), &text.replace('b', "ü")] {
            assert_eq!(wrong.parse::<Hash>(), Err(HashError), "{wrong}");
        }
    }

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        for receipt in [
            Receipt::Served { generation: 7, outlived_ms: 5000 },
            Receipt::Rejected { faults: Vec::new() },
            Receipt::Pending,
        ] {
            let text = serde_json::to_string(&receipt).unwrap();
            assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt, "{text}");
        }
    }
}
