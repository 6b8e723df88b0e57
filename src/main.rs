//! The binary: parse the command line and run.

use std::process::ExitCode;

use clap::Parser as _;
use outrigger::cli::Cli;

/// Large reviews are parsed into many small values; this allocator spends less time on them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
