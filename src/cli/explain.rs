//! `outrigger explain`: the answer first, then why, then what changes.

mod additions;
mod machine;
mod running;
mod server;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::Value;

use super::live::ObjectName;
use super::manifests::Manifest;
use super::offline::{Decided, Inputs};
use crate::engine::Outcome;

/// Arguments of `outrigger explain`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["filename", "objects"]))]
pub(super) struct Explain {
    /// Live objects of the current context, as kind/name: pod/web-0, deployment/checkout, sts/db.
    #[arg(value_name = "KIND/NAME", conflicts_with = "offline")]
    objects: Vec<ObjectName>,
    /// Manifests: files, folders, or - for standard input. Profiles and Namespaces in them count, too.
    #[arg(short = 'f', long, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
    /// Print every line of the decision's trace too, in order, with its code.
    #[arg(long)]
    trace: bool,
    /// Ask the API server as well, by a dry run that creates the pod with your own rights, and compare.
    #[arg(long, value_enum, value_name = "WHERE", conflicts_with = "offline")]
    dry_run: Option<DryRun>,
    /// Form of the explanation.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Where a dry run takes place.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DryRun {
    /// In the API server.
    Server,
}

/// The form of an explanation.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// For machines: a list with an element for each pod, always with its trace.
    Json,
}

impl Explain {
    /// Writes for each pod what would be done and why.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let subjects = self.inputs.decide(&self.filename, &self.objects, self.dry_run.is_some())?;
        let decided: Vec<(Manifest, Decided)> =
            subjects.into_iter().filter_map(|subject| Some((subject.manifest, subject.decided?))).collect();
        if decided.is_empty() {
            super::say("there is no pod in the given manifests");
        }
        let text = match self.output {
            Output::Text => {
                let size = terminal_size::terminal_size_of(std::io::stdout());
                let screen = text::Screen { trace: self.trace, width: size.map(|(width, _)| width.0.into()) };
                let texts = decided.iter().map(|(object, decided)| text::of(object, decided, screen));
                texts.collect::<Vec<String>>().join("\n")
            }
            Output::Json => {
                let all: Vec<Value> =
                    decided.iter().map(|(object, decided)| machine::of(object, decided)).collect();
                serde_json::to_string_pretty(&all)? + "\n"
            }
        };
        std::io::Write::write_all(&mut anstream::stdout(), text.as_bytes())
            .context("cannot write to stdout")?;
        let is_denied =
            |decided: &Decided| decided.decision.outcome == Outcome::Denied || server::is_refused(decided);
        let denied = decided.iter().any(|(_, decided)| is_denied(decided));
        Ok(if denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
