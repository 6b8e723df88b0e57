mod differences;
mod output;
mod write;

use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use similar::TextDiff;

use self::output::Output;
use self::write::Writer;
use super::messages::print_message;
use super::offline::{InputArgs, Mode, Subject};
use super::workload::with_template;
use crate::engine::{Decision, Outcome};
use crate::yaml;

/// Arguments of `outrigger inject`.
#[derive(Debug, Args)]
pub(super) struct Inject {
    /// Manifests: files, folders, or - for standard input; Profiles and Namespaces in them are used as well
    #[arg(short = 'f', long, required = true, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Print the changes instead of the objects
    #[arg(long)]
    diff: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Inject {
    /// Prints the objects with their pods as injected in the cluster. Denied pods are omitted and reported.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut is_denied = false;
        let mut writer = Writer::new(BufWriter::new(std::io::stdout().lock()), self.output);
        self.inputs.decide(&self.filename, &[], Mode::Inject, &mut |subject| {
            let Subject { manifest, decided } = subject;
            let Some(decided) = decided else {
                return if self.diff { Ok(()) } else { writer.unchanged(manifest) };
            };
            let name = format!("{} {}/{}", manifest.kind(), decided.namespace, manifest.name());
            let differences = differences::of(&manifest, &decided);
            for (code, warning) in decided.warnings().chain(differences) {
                print_message(format_args!("warning: {name}: {warning} [{code}]"));
            }
            if decided.decision.outcome == Outcome::Denied {
                let Decision { reason, .. } = &decided.decision;
                print_message(format_args!(
                    "denied: {name} ({}): {reason} [{}]",
                    manifest.source,
                    reason.code()
                ));
                is_denied = true;
                return Ok(());
            }
            let after = with_template(manifest.object.clone(), &decided.pointer, decided.injected);
            let Decision { outcome, reason, .. } = &decided.decision;
            let is_unchanged = after == manifest.object;
            match (outcome, is_unchanged) {
                (Outcome::Skipped, false) => print_message(format_args!(
                    "removed: {name}: what an earlier injection added, since nothing is injected now: {reason} [{}]",
                    reason.code()
                )),
                (_, true) => print_message(format_args!("unchanged: {name}: {reason} [{}]", reason.code())),
                (_, false) => {}
            }
            match (self.diff, is_unchanged) {
                (true, true) => Ok(()),
                (true, false) => writer.text(&diff(&name, &manifest.object, &after)?),
                (false, true) => writer.unchanged(manifest),
                (false, false) => writer.object(after),
            }
        })?;
        if !self.diff {
            writer.end()?;
        }
        writer.flush()?;
        Ok(if is_denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn diff(what: &str, before: &Value, after: &Value) -> anyhow::Result<String> {
    let (before, after) = (yaml::write(before)?, yaml::write(after)?);
    let (old, new) = (format!("{what} as written"), format!("{what} as injected"));
    Ok(TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(&old, &new).to_string())
}
