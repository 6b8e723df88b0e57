//! The command line: a file a command.

mod crds;
mod serve;

use clap::{Parser, Subcommand};

/// Injects native sidecars, init containers, volumes and settings into pods at admission.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the admission webhook inside a cluster.
    Serve(Box<serve::Serve>),
    /// Print the CustomResourceDefinitions of the profile kinds, as YAML.
    Crds(crds::Crds),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Why it failed, for a person.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Crds(crds) => crds.run(),
        }
    }
}
