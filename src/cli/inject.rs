mod differences;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use similar::TextDiff;

use super::offline::{Inputs, Subject};
use super::workload::with_template;
use crate::engine::Outcome;
use crate::yaml;

/// Arguments of `outrigger inject`.
#[derive(Debug, Args)]
pub(super) struct Inject {
    /// Manifests: files, folders, or - for standard input. Profiles and Namespaces in them count, too.
    #[arg(short = 'f', long, required = true, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
    /// Show what changes instead of the whole objects.
    #[arg(long)]
    diff: bool,
    /// Form of the objects.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The form in which objects are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// YAML, a document an object.
    #[default]
    Yaml,
    /// One JSON object; a List where there are several.
    Json,
}

impl Inject {
    /// Writes the objects as the cluster would have their pods. A pod that would be denied is left out, and said.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut denied = false;
        let mut written = Vec::new();
        let mut diffs = String::new();
        for Subject { manifest, decided } in self.inputs.decide(&self.filename, &[], false)? {
            let Some(decided) = decided else {
                written.push(manifest.object);
                continue;
            };
            let what = format!("{} {}/{}", manifest.kind(), decided.namespace, manifest.name());
            let differences = differences::of(&manifest, &decided);
            for (code, warning) in decided.warnings().chain(differences) {
                super::say(format_args!("warning: {what}: {warning} [{code}]"));
            }
            if decided.decision.outcome == Outcome::Denied {
                let reason = &decided.decision.reason;
                super::say(format_args!(
                    "denied: {what} ({}): {reason} [{}]",
                    manifest.source,
                    reason.code()
                ));
                denied = true;
                continue;
            }
            let after = with_template(manifest.object.clone(), &decided.pointer, decided.injected);
            if self.diff {
                diffs.push_str(&diff(&what, &manifest.object, &after)?);
            }
            written.push(after);
        }
        let text = if self.diff { diffs } else { self.output.write(written)? };
        std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to stdout")?;
        Ok(if denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn diff(what: &str, before: &Value, after: &Value) -> anyhow::Result<String> {
    if before == after {
        return Ok(String::new());
    }
    let (before, after) = (yaml::write(before)?, yaml::write(after)?);
    let (old, new) = (format!("{what} as written"), format!("{what} as injected"));
    Ok(TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(&old, &new).to_string())
}

impl Output {
    fn write(self, mut objects: Vec<Value>) -> anyhow::Result<String> {
        match self {
            Self::Yaml => {
                let documents: Result<Vec<String>, _> = objects.iter().map(yaml::write).collect();
                Ok(documents?.iter().flat_map(|document| ["---\n", document]).collect())
            }
            Self::Json => {
                let one = if objects.len() == 1 { objects.pop() } else { None };
                let all =
                    one.unwrap_or_else(|| json!({ "apiVersion": "v1", "kind": "List", "items": objects }));
                Ok(serde_json::to_string_pretty(&all)? + "\n")
            }
        }
    }
}
