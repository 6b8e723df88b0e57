//! Programs that `cargo xtask bench serve` starts in addition to the server: the load generator, the baseline server,
//! and the generator of the server's files.

mod bare;
mod client;
mod closed;
mod figures;
mod files;
mod flood;
mod paced;
#[path = "../../benches/engine/reviews.rs"]
#[expect(clippy::expect_used, dead_code, reason = "the engine's benchmark shares it, and fails by panicking")]
mod reviews;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// The allocator of the server, so that the comparison does not depend on the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a certificate, and a folder of profiles and namespaces.
    Files(files::Files),
    /// Runs a baseline server that only parses reviews and allows them.
    Bare {
        /// The folder with the certificate.
        folder: PathBuf,
    },
    /// Sends requests as fast as responses arrive.
    Closed {
        #[command(flatten)]
        load: client::Load,
    },
    /// Sends requests at a fixed rate.
    Paced {
        #[command(flatten)]
        load: client::Load,
        /// Requests per second.
        #[arg(long)]
        rate: f64,
    },
    /// Sends bodies of the maximum size, many more than the server accepts.
    Flood {
        #[command(flatten)]
        load: client::Load,
    },
}

fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another cryptography provider is already installed"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Cli::parse().command {
        Command::Files(files) => files.write(),
        Command::Bare { folder } => runtime.block_on(bare::serve(&folder)),
        Command::Closed { load } => runtime.block_on(closed::run(load)),
        Command::Paced { load, rate } => runtime.block_on(paced::run(load, rate)),
        Command::Flood { load } => runtime.block_on(flood::run(load)),
    }
}

/// Time before the measurement.
const WARM_UP: Duration = Duration::from_millis(500);

fn read(folder: &std::path::Path, file: &str) -> anyhow::Result<String> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "xtask reads it")]
fn print(what: impl std::fmt::Display) {
    println!("{what}");
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
