//! Registry + previous snapshot → snapshot, by difference.

use crate::registry::{Registry, Touched};
use crate::zone::Snapshot;

/// Keeps what is needed to compile by difference.
#[derive(Debug, Default)]
pub struct Compiler {}

impl Compiler {
    /// Makes a compiler that has compiled nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }

    /// Compiles what `touched` names and shares the rest with `previous`; `None` when what is served would be the same.
    ///
    /// Generation, serial and readiness are the publisher's: they are copied from `previous`.
    #[must_use]
    pub fn compile(&mut self, _registry: &Registry, _touched: &Touched, _previous: &Snapshot) -> Option<Snapshot> {
        None
    }
}
