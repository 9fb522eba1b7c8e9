//! How much forwarding may take: set by whoever starts it, counted where it bites (see [`Limit`](crate::observe::Limit)).

/// What forwarding may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Queries that wait for an upstream and hold a place of their own, 4,096 by default, and as many again that wait for a question of
    /// somebody else's: some megabytes. Questions on their way, too; some of them are for nobody but the cache.
    pub queries: usize,
    /// Places of one source address, 100 by default: more than a machine asks at once, and less than harms others.
    pub per_source: usize,
    /// Questions of one registered domain on their way, 64 by default: one that is dead or flooded does not take all.
    pub per_domain: usize,
    /// Queries that wait for one question without a place of their own, 1,024 by default: they cost no upstream anything.
    pub waiters: usize,
    /// Octets of responses that are kept, 64 MiB by default.
    pub cache: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queries: 4096, per_source: 100, per_domain: 64, waiters: 1024, cache: 64 << 20 }
    }
}
