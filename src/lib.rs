//! spacedns: a private, authoritative DNS server for internally routed apps.
pub mod compile;
pub mod engine;
pub mod explain;
pub mod name;
pub mod publish;
pub mod record;
pub mod registry;
pub mod spec;
pub mod wire;
pub mod zone;
