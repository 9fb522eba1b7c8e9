//! Asks upstream servers about names that are not ours.
mod response;
mod upstream;

pub use upstream::{Channel, Route, Routes, Server, Setting, UpstreamError};
