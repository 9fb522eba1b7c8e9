//! Every test that takes more than one module: one binary, so that it links once.

mod arrows;
mod cli;
mod compiling;
mod message;
mod scenario;
mod scenarios;
mod world;
