//! Every test that takes more than one module: one binary, so that it links once.

mod arrows;
mod compiling;
mod examples;
mod message;
mod process;
mod scenario;
mod scenarios;
mod sockets;
mod world;
