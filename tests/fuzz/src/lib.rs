//! What is fuzzed, and what must hold whatever the octets.
//!
//! libFuzzer makes inputs, guided by the coverage that rustc's own `sancov-module` pass counts, so no nightly compiler is needed. Each
//! target is a function here from octets to nothing, which panics when something does not hold, and a program of a few lines
//! in `src/bin`. `.ci/fuzz` has the compiler's flags and runs them; the README says how to run one for long.
//!
//! - [`decode`]: a message is read.
//! - [`respond`]: the whole path from octets to a response, over a snapshot that has something of everything ([`world`]).
//! - [`framing`]: a TCP connection, in pieces.
//! - [`files`]: YAML, registrations in JSON, Heroku topologies.
//! - [`changes`]: files come, change and go; compiling by difference equals compiling from nothing.
//!
//! Sanitizers are not used: the one module with `unsafe` makes system calls and reads no input.

pub mod changes;
pub mod decode;
pub mod files;
pub mod framing;
pub mod message;
pub mod respond;
pub mod world;
