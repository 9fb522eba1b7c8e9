//! What the benchmarks share: servers as processes of their own, a load, apps to serve, figures and plots.
//!
//! Every figure is taken from outside, as a user would see it: from `/proc`, from responses, from files. So the same code measures this
//! server and its peers.
#![allow(dead_code, reason = "each benchmark uses a part of it")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]
#![allow(clippy::indexing_slicing, reason = "a benchmark that is out of bounds may end")]

pub(crate) mod apps;
pub(crate) mod asking;
pub(crate) mod changes;
pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod plot;
pub(crate) mod server;
