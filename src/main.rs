//! The `spacedns` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    spacedns::cli::run()
}
