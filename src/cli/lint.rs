//! `outrigger lint`: checks of profiles that need no pod.

mod checks;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::checks::{Checked, Results};
use super::cluster_client::ClusterClient;
use super::lines::Lines;
use super::manifests::Manifests;
use super::messages::print_message;
use crate::cluster::{LiveLookup, ask_cluster};
use crate::profiles::{Finding, Severity};
use crate::workload::pod_security::PodSecurityLevel;

/// Longest wait for the API server's validation of one profile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `outrigger lint`.
#[derive(Debug, Args)]
pub(super) struct Lint {
    /// Profiles and workloads: files, folders, or - for standard input; other kinds are skipped
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Also check the profiles against a level of the Pod Security Standards: baseline or restricted
    #[arg(long, value_name = "LEVEL")]
    pod_security: Option<PodSecurityLevel>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: LintOutput,
    /// Also have the API server validate the profiles, by dry runs in the context's namespace
    #[arg(long)]
    cluster: bool,
    /// Context of the kubeconfig (default: the current one)
    #[arg(long, value_name = "NAME", requires = "cluster")]
    context: Option<String>,
    /// Kubeconfig (default: $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "FILE", requires = "cluster")]
    kubeconfig: Option<PathBuf>,
}

/// The output format of findings.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LintOutput {
    /// One line per finding, colored on a terminal
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// All findings, with the number of profiles.
struct LintReport {
    profiles: usize,
    findings: Vec<Found>,
}

/// A finding with its position.
struct Found {
    file: String,
    line: Option<u64>,
    kind: String,
    namespace: Option<String>,
    name: String,
    finding: Finding,
}

impl Lint {
    /// Prints the findings for the profiles and for their combination.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Results { profiles: mut checked, workloads } = checks::check(&Manifests::open(&self.paths)?)?;
        if self.cluster {
            let live = ClusterClient::connect(self.context.as_deref(), self.kubeconfig.as_deref())
                .context("cannot use the kubeconfig; leave --cluster out to lint without a cluster")?;
            ask(&live, &mut checked);
        }
        if let Some(level) = self.pod_security {
            for profile in &mut checked {
                checks::pod_security(level, profile);
            }
        }
        if checked.is_empty() && workloads.is_empty() {
            print_message(
                "there is no profile in the given manifests (ClusterSidecarProfile, SidecarProfile)",
            );
        }
        let report = LintReport::new(checked, workloads);
        let text = match self.output {
            LintOutput::Text => report.text(),
            LintOutput::Json => serde_json::to_string_pretty(&report.json())? + "\n",
        };
        std::io::Write::write_all(&mut anstream::stdout(), text.as_bytes())
            .context("cannot write to stdout")?;
        Ok(if report.count(Severity::Error) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Has the API server validate the profiles that have no error.
fn ask(live: &ClusterClient, checked: &mut [Checked]) {
    let lookup = LiveLookup::new(live.client(), live.default_namespace());
    for Checked { findings, sample, .. } in checked {
        let has_errors = findings.iter().any(|finding| finding.severity == Severity::Error);
        if let Some(template) = sample.as_ref().filter(|_| !has_errors) {
            let asked = async { ask_cluster(&lookup, template, Instant::now() + PATIENCE).await };
            findings.extend(live.block_on(asked));
        }
    }
}

impl LintReport {
    fn new(checked: Vec<Checked>, workloads: Vec<Checked>) -> Self {
        let profiles = checked.len();
        let mut findings = Vec::new();
        // The profiles of one List follow each other, so its document is parsed once.
        let mut read: Option<(Arc<str>, usize, Lines)> = None;
        for Checked { manifest, findings: found, .. } in checked.into_iter().chain(workloads) {
            let text = &manifest.origin.text;
            let (document, items) = manifest.origin.way.split_first().unwrap_or((&0, &[]));
            let is_read = |(known, index, _): &(_, usize, _)| Arc::ptr_eq(known, text) && index == document;
            if !found.is_empty() && !read.as_ref().is_some_and(is_read) {
                read = Lines::read(text, *document).map(|lines| (Arc::clone(text), *document, lines));
            }
            let first = findings.len();
            for finding in found {
                findings.push(Found {
                    file: manifest.source.to_string(),
                    line: read.as_ref().and_then(|(.., lines)| lines.find(items, &finding.path)),
                    kind: manifest.kind().to_owned(),
                    namespace: manifest.namespace().map(str::to_owned),
                    name: manifest.name().to_owned(),
                    finding,
                });
            }
            if let Some(own) = findings.get_mut(first..) {
                own.sort_by_key(|found| (found.finding.severity != Severity::Error, found.line));
            }
        }
        Self { profiles, findings }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.finding.severity == severity).count()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Found { file, line, kind, name, finding, .. } in &self.findings {
            let style = match finding.severity {
                Severity::Error => ERROR,
                Severity::Warning => WARNING,
            };
            let word = word(finding.severity);
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            let _ = writeln!(text, "{style}{word}{style:#}: {file}{line}: {kind}/{name}: {finding}");
        }
        let parts = [
            (self.profiles, "profile"),
            (self.count(Severity::Error), "error"),
            (self.count(Severity::Warning), "warning"),
        ];
        let [profiles, errors, warnings] =
            parts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
        let _ = writeln!(text, "{profiles}: {errors}, {warnings}");
        text
    }

    fn json(&self) -> Value {
        let finding = |found: &Found| {
            json!({
                "severity": word(found.finding.severity),
                "file": found.file,
                "line": found.line,
                "kind": found.kind,
                "namespace": found.namespace,
                "name": found.name,
                "path": found.finding.path,
                "message": found.finding.message,
            })
        };
        json!({
            "profiles": self.profiles,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
