//! `outrigger explain`: the result first, then the reasons, then the changes.

mod additions;
mod cut;
mod machine;
mod running;
mod server;
mod text;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Args, ValueEnum};

use super::cluster_client::ObjectName;
use super::messages::print_message;
use super::offline::{InputArgs, Mode};
use crate::engine::Outcome;

/// Arguments of `outrigger explain`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["filename", "objects"]))]
pub(super) struct Explain {
    /// Live objects of the current context, as kind/name, such as pod/web-0, deployment/checkout, sts/db
    #[arg(value_name = "KIND/NAME", conflicts_with = "offline")]
    objects: Vec<ObjectName>,
    /// Manifests: files, folders, or - for standard input; Profiles and Namespaces in them are used as well
    #[arg(short = 'f', long, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Show parameters at their defaults as well
    #[arg(long)]
    all: bool,
    /// Print every line of the decision's trace with its code
    #[arg(long)]
    trace: bool,
    /// Compare with a dry run in the API server, with your own rights
    #[arg(long, value_enum, value_name = "WHERE", conflicts_with = "offline")]
    dry_run: Option<DryRun>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: ExplainOutput,
}

/// Place of a dry run.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DryRun {
    /// In the API server
    Server,
}

/// The format of an explanation.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ExplainOutput {
    /// Text, colored on a terminal
    #[default]
    Text,
    /// A JSON list with an element for each pod and its trace
    Json,
}

impl Explain {
    /// Prints the decision for each pod and its reasons.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        let screen =
            text::Screen { trace: self.trace, all: self.all, width: size.map(|(width, _)| width.0.into()) };
        // JSON has no colors that would have to be stripped for a file.
        let stdout: Box<dyn Write> = match self.output {
            ExplainOutput::Text => Box::new(anstream::stdout().lock()),
            ExplainOutput::Json => Box::new(std::io::stdout().lock()),
        };
        let mut out = BufWriter::new(stdout);
        let (mut count, mut is_denied) = (0_usize, false);
        let mode = Mode::Explain { dry_run: self.dry_run.is_some() };
        self.inputs.decide(&self.filename, &self.objects, mode, &mut |subject| {
            let Some(decided) = subject.decided else { return Ok(()) };
            let manifest = subject.manifest;
            is_denied |= decided.decision.outcome == Outcome::Denied || server::is_refused(&decided);
            let (separator, text) = match self.output {
                ExplainOutput::Text if count == 0 => ("", text::of(&manifest, &decided, screen)),
                ExplainOutput::Text => ("\n", text::of(&manifest, &decided, screen)),
                ExplainOutput::Json => {
                    let object = serde_json::to_string_pretty(&machine::of(&manifest, &decided))?;
                    (if count == 0 { "[\n  " } else { ",\n  " }, object.replace('\n', "\n  "))
                }
            };
            count += 1;
            write!(out, "{separator}{text}").context("cannot write to stdout")
        })?;
        let end = match (self.output, count) {
            (ExplainOutput::Text, _) => "",
            (ExplainOutput::Json, 0) => "[]\n",
            (ExplainOutput::Json, _) => "\n]\n",
        };
        out.write_all(end.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")?;
        if count == 0 {
            print_message("there is no pod in the given manifests");
        }
        Ok(if is_denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
