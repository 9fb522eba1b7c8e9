//! What may be typed behind `--` of more than one benchmark.

use std::path::PathBuf;

use clap::Args;

/// How a benchmark is run.
#[derive(Debug, Args)]
pub(crate) struct Mode {
    /// Only prove that it works, in seconds
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Where plots go.
#[derive(Debug, Args)]
pub(crate) struct Plots {
    /// Where the plot is written
    #[arg(long = "plots", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/plots"), value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
}
