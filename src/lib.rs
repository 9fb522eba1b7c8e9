//! spacedns: a private, authoritative DNS server for internally routed apps.
//!
//! Apps are declared by dropping app specs into a watched directory, running instances by dropping registrations. What a caller
//! is shown depends on its address, and a name answers only while something is there to answer.
//!
//! ```text
//! files ──► spec ──┐
//!                  ├─► registry ──► compile ──► publish ──► engine ──► serve ◄── cli
//! leases ──────────┘                              ▲
//!                         watch ──────────────────┘                    observe
//! ```
//!
//! The inner modules decide; they own no socket, file, clock or thread, and are told the time:
//!
//! - [`name`], [`record`]: names, types and records as values. [`wire`]: messages, read and written.
//! - [`spec`]: what may be written in a file. [`registry`]: what is, made of every file and the time. [`compile`]: the difference
//!   that makes to what is served.
//! - [`zone`]: what is served, a [`zone::Snapshot`], and how a name is found in it. [`engine`]: the response to a query.
//!
//! `octets` writes values as octets and reads them again, for what is kept of documents and for what is saved.
//!
//! The outer modules move octets and time, and decide no DNS meaning:
//!
//! - [`watch`]: one task owns the state; it sees files change and rebuilds. [`control`]: messages to that task.
//! - [`state`]: what outlives the process. [`publish`]: the one mutable cell between it and whoever answers.
//! - [`serve`]: UDP, TCP, TLS and QUIC. [`forward`]: what upstreams say of names that are not ours. [`observe`]: counters.
//!   [`census`]: tells when one address speaks for many callers. [`life`]: starting, handing over and ending, and with which rights.
//!   [`cli`]: the command.
//!
//! Arrows between modules never turn back; a test reads every path in the source and holds it to a table.
pub mod census;
pub mod cli;
pub mod compile;
pub mod control;
pub mod engine;
pub mod explain;
pub mod forward;
pub mod health;
pub mod life;
pub mod name;
pub mod observe;
mod octets;
pub mod publish;
pub mod record;
pub mod registry;
pub mod serve;
pub mod spec;
pub mod state;
pub mod watch;
pub mod wire;
pub mod zone;
