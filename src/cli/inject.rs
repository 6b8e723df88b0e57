use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use similar::TextDiff;

use super::offline::{Decided, Inputs, Subject};
use super::workload::with_pod;
use crate::engine::Outcome;

/// Arguments of `outrigger inject`.
#[derive(Debug, Args)]
pub(super) struct Inject {
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
        for Subject { manifest, decided } in self.inputs.decide()? {
            let Some(decided) = decided else {
                written.push(manifest.object);
                continue;
            };
            let what = format!("{} {}/{}", manifest.kind(), decided.namespace, manifest.name());
            for warning in decided.decision.warnings() {
                super::say(format_args!("warning: {what}: {warning} [{}]", warning.code()));
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
            let after = injected(&manifest.object, &decided)?;
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

fn injected(object: &Value, decided: &Decided) -> anyhow::Result<Value> {
    let mut pod = decided.pod.clone();
    json_patch::patch(&mut pod, &decided.decision.patch.operations()).context("the patch does not apply")?;
    Ok(with_pod(object.clone(), &decided.pointer, pod))
}

fn diff(what: &str, before: &Value, after: &Value) -> anyhow::Result<String> {
    if before == after {
        return Ok(String::new());
    }
    let (before, after) = (serde_saphyr::to_string(before)?, serde_saphyr::to_string(after)?);
    let (old, new) = (format!("{what} as written"), format!("{what} as injected"));
    Ok(TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(&old, &new).to_string())
}

impl Output {
    fn write(self, mut objects: Vec<Value>) -> anyhow::Result<String> {
        match self {
            Self::Yaml => {
                let documents: Result<Vec<String>, _> = objects.iter().map(serde_saphyr::to_string).collect();
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
