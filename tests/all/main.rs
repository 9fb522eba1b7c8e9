//! Every test that takes more than one module: one binary, so that it links once.

mod cli;
