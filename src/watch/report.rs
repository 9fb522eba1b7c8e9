//! What there is to say of each file: for the log, `check`, and whoever asks for the status.

use crate::spec::Fault;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// What is in it is what is used.
    Ok,
    /// Its last good version is used; the faults say why.
    Stale,
    /// Nothing of it is used; the faults say why.
    Rejected,
}

impl FileState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
        }
    }
}

/// What there is to say of one file, taken alone. What shows only when files are held against each other is the
/// registry's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// What became of it.
    pub state: FileState,
    /// What is wrong with it, by place; empty when it is [`FileState::Ok`].
    pub faults: Vec<Fault>,
    /// What is accepted but worth a look, by place.
    pub warnings: Vec<Fault>,
}
