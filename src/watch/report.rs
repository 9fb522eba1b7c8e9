//! What there is to say of each file: for the log, `check`, and whoever asks for the status.

pub use crate::control::FileState;
use crate::spec::Fault;

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
