//! Every test that takes more than one module: one binary, so that it links once.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "all of this is a test: what does not hold is to end it"
)]

mod admin;
mod arrows;
mod attacks;
mod browser;
mod canary;
mod census;
mod cli;
mod clients;
mod commands;
mod compiling;
mod compliance;
mod deploy;
mod differential;
mod documents;
mod examples;
mod explain;
mod files;
mod forward;
mod forward_lies;
mod forward_limits;
mod forward_names;
mod health;
mod identity;
mod large_sets;
mod life;
mod load;
mod message;
mod metrics;
mod outlives;
mod pace;
mod page;
mod process;
mod prometheus;
mod reload;
mod saved;
mod scenario;
mod scenarios;
mod sockets;
mod tls;
mod types;
mod upgrade;
mod upstream;
mod world;
