//! Binary: parses the command line and runs the command.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger::cli::Cli;

/// Large reviews are parsed into many small values; mimalloc takes less time for them than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
