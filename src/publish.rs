//! The one mutable cell between compiling and answering: the current snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::zone::Snapshot;

/// Stand-in.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
}

/// Stand-in.
#[derive(Debug)]
pub struct Subscriber {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Publisher {
    /// Stand-in.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(snapshot)) }
    }

    /// Stand-in.
    pub fn publish(&mut self, contents: Snapshot, _wall_seconds: u64) -> u64 {
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(Snapshot { generation, ..contents }));
        generation
    }

    /// Stand-in.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Stand-in.
    #[must_use]
    pub fn subscribe(&self) -> Subscriber {
        Subscriber { current: Arc::clone(&self.current) }
    }

    /// Stand-in.
    pub fn reap(&mut self) {}
}

impl Subscriber {
    /// Stand-in.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}
