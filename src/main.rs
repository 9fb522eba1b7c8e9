//! The `spacedns` command.

use std::process::ExitCode;

/// Whatever is allocated; nothing is while answering. Why it is not the system's: `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spacedns::cli::run()
}
