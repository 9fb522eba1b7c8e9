//! spacedns: a private, authoritative DNS server for internally routed apps.
pub mod cli;
pub mod compile;
pub mod control;
pub mod engine;
pub mod name;
pub mod observe;
pub mod publish;
pub mod record;
pub mod registry;
pub mod serve;
pub mod spec;
pub mod watch;
pub mod wire;
pub mod zone;
