//! The command line, with one file per command.
//!
//! Data goes to stdout, diagnostics to stderr. Exit codes: 0 for success; 1 for a denied injection, a profile with errors or a
//! failure of the server; 2 for wrong usage or invalid input.

mod autoscaling;
mod changes;
mod cluster_client;
mod cluster_values;
mod crds;
mod disarm;
mod examples;
mod explain;
mod in_force;
mod inject;
mod inputs;
mod kubeconfig;
mod lines;
mod lint;
mod manifests;
mod messages;
mod offline;
mod schema;
mod serve;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::messages::print_message;

/// Injects native sidecars, init containers, volumes and settings into pods at admission.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the admission webhook, in a cluster or from files
    #[command(after_help = examples::SERVE)]
    Serve(Box<serve::Serve>),
    /// Print manifests with the sidecars injected
    #[command(after_help = examples::INJECT)]
    Inject(inject::Inject),
    /// Show what is injected into pods and why, for manifests or live objects
    #[command(after_help = examples::EXPLAIN)]
    Explain(explain::Explain),
    /// Check profiles and workloads for errors and conflicts
    #[command(after_help = examples::LINT)]
    Lint(lint::Lint),
    /// Emergency: disable the webhooks; pods are admitted without injection
    #[command(after_help = examples::DISARM)]
    Disarm(disarm::Disarm),
    /// Enable the webhooks again after `disarm`
    #[command(after_help = examples::REARM)]
    Rearm(disarm::Disarm),
    /// Print the CustomResourceDefinitions as YAML
    #[command(after_help = examples::CRDS)]
    Crds(crds::Crds),
    /// Print the JSON Schema of profiles for editors
    Schema(schema::Schema),
}

impl Cli {
    /// Runs the command and reports errors on stderr.
    pub fn run(self) -> ExitCode {
        let (done, failure) = match self.command {
            Command::Serve(serve) => (serve.run(), ExitCode::FAILURE),
            Command::Inject(inject) => (inject.run(), ExitCode::from(UNREADABLE)),
            Command::Explain(explain) => (explain.run(), ExitCode::from(UNREADABLE)),
            Command::Lint(lint) => (lint.run(), ExitCode::from(UNREADABLE)),
            Command::Disarm(disarm) => {
                (disarm.run(disarm::Direction::Off).map(|()| ExitCode::SUCCESS), ExitCode::from(UNREADABLE))
            }
            Command::Rearm(disarm) => {
                (disarm.run(disarm::Direction::On).map(|()| ExitCode::SUCCESS), ExitCode::from(UNREADABLE))
            }
            Command::Crds(crds) => (crds.run().map(|()| ExitCode::SUCCESS), ExitCode::FAILURE),
            Command::Schema(schema) => (schema.run().map(|()| ExitCode::SUCCESS), ExitCode::FAILURE),
        };
        done.unwrap_or_else(|error| {
            print_message(format_args!("error: {error:#}"));
            failure
        })
    }
}

/// The exit code for invalid input, as for wrong usage.
const UNREADABLE: u8 = 2;
