use std::fmt::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::offline::{Decided, Inputs};
use crate::engine::{Outcome, Reason};

/// Arguments of `outrigger explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    inputs: Inputs,
    /// Form of the explanation.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The form of an explanation.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// For people; in colour on a terminal.
    #[default]
    Text,
    /// For machines: a list with an element for each pod.
    Json,
}

impl Explain {
    /// Writes for each pod what would be done and why.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let decided: Vec<(String, Decided)> = self
            .inputs
            .decide()?
            .into_iter()
            .filter_map(|subject| Some((subject.manifest.name().to_owned(), subject.decided?)))
            .collect();
        if decided.is_empty() {
            super::say("there is no pod in the given manifests");
        }
        let text = match self.output {
            Output::Text => {
                let texts: Vec<String> = decided.iter().map(|(name, decided)| text(name, decided)).collect();
                texts.join("\n")
            }
            Output::Json => {
                let all: Vec<Value> = decided.iter().map(|(name, decided)| json_of(name, decided)).collect();
                serde_json::to_string_pretty(&all)? + "\n"
            }
        };
        std::io::Write::write_all(&mut anstream::stdout(), text.as_bytes())
            .context("cannot write to stdout")?;
        let denied = decided.iter().any(|(_, decided)| decided.decision.outcome == Outcome::Denied);
        Ok(if denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn json_of(name: &str, decided: &Decided) -> Value {
    let decision = &decided.decision;
    let reason = |reason: &Reason| json!({ "code": reason.code(), "message": reason.to_string() });
    let steps: Vec<Value> = decision
        .trace
        .lines()
        .iter()
        .map(|line| json!({ "step": format!("{:?}", line.step), "reason": reason(&line.reason) }))
        .collect();
    json!({
        "namespace": decided.namespace,
        "name": name,
        "outcome": decision.outcome.as_str(),
        "reason": reason(&decision.reason),
        "profiles": decision.profiles,
        "warnings": decision.warnings().map(reason).collect::<Vec<_>>(),
        "steps": steps,
        "patch": decision.patch,
    })
}

/// A labelled row of the explanation.
type Row = (&'static str, String);

const BOLD: Style = Style::new().bold();

fn text(name: &str, decided: &Decided) -> String {
    let decision = &decided.decision;
    let mut text = format!("{BOLD}{}/{name}: {}{BOLD:#}\n", decided.namespace, headline(decided));
    let mut rows: Vec<Row> = decision.trace.lines().iter().filter_map(|line| row(&line.reason)).collect();
    if decision.outcome == Outcome::Injected {
        rows.push(("order", order(decided)));
        rows.extend(decision.profiles.iter().filter(|profile| !profile.added.is_empty()).map(|profile| {
            let places: Vec<String> =
                profile.added.iter().map(|(place, keys)| format!("{place}: {}", keys.join(", "))).collect();
            ("adds", format!("{:<13} {}", profile.name, places.join("; ")))
        }));
    }
    rows.extend(decision.warnings().map(|reason| ("warns", format!("{reason} [{}]", reason.code()))));
    let position = |label: &str| LABELS.iter().position(|known| *known == label);
    rows.sort_by_key(|(label, _)| position(label));
    if !rows.is_empty() {
        text.push('\n');
    }
    let mut before = "";
    for (label, what) in &rows {
        let shown = if *label == before { "" } else { label };
        let style = if *label == "warns" { AnsiColor::Yellow.on_default() } else { Style::new().dimmed() };
        let _ = writeln!(text, "  {style}{shown:<10}{style:#} {what}");
        before = label;
    }
    text
}

/// The labels in the order in which they are shown.
const LABELS: [&str; 7] = ["before", "enabled", "chosen", "left out", "order", "adds", "warns"];

fn headline(decided: &Decided) -> String {
    let decision = &decided.decision;
    let reason = &decision.reason;
    match (decision.outcome, decision.profiles.len()) {
        (Outcome::Denied, _) => format!("the pod would be denied: {reason} [{}]", reason.code()),
        (Outcome::Skipped, _) => format!("nothing would be injected: {reason} [{}]", reason.code()),
        (Outcome::Injected, 1) => "1 profile would be injected".to_owned(),
        (Outcome::Injected, count) => format!("{count} profiles would be injected"),
    }
}

/// What a line of the trace says to a person; the merge's lines are summed up elsewhere.
fn row(reason: &Reason) -> Option<Row> {
    let of = |label, profile: &str, why: String| Some((label, format!("{profile:<13} {why}")));
    match reason {
        Reason::EnabledByPod | Reason::EnabledByNamespace { .. } => {
            Some(("enabled", reason.to_string().trim_start_matches("enabled ").to_owned()))
        }
        Reason::InjectedBefore { .. } => Some(("before", reason.to_string())),
        Reason::Chosen { profile, place } => {
            of("chosen", profile, format!("annotation outrigger.dev/profiles {place}"))
        }
        Reason::Matched { profile, selectors, mandatory } => {
            let mandatory = if *mandatory { "  (mandatory)" } else { "" };
            of("chosen", profile, format!("matches by itself: {selectors}{mandatory}"))
        }
        Reason::ReplacedByPod { profile } => {
            of("left out", profile, "namespace default, replaced by the pod's own choice".to_owned())
        }
        Reason::TakenAway { profile } => of("left out", profile, "taken away by the pod".to_owned()),
        Reason::OsMismatch { profile, wanted, os } => {
            of("left out", profile, format!("it is for {wanted} pods, and this one is for {os}"))
        }
        Reason::HostNetworkSkipped { profile } => of(
            "left out",
            profile,
            "the pod has hostNetwork: true, and the profile passes over such pods".to_owned(),
        ),
        Reason::ProfileLeftOut { profile, cause } => {
            of("left out", profile, format!("onError: Ignore; {cause}"))
        }
        Reason::Kept { profile, what, place, .. } => {
            of("left out", profile, format!("{what} in {place}: the pod sets it itself"))
        }
        Reason::Shared { profile, what, place } => {
            of("left out", profile, format!("{what} in {place}: the same is there already"))
        }
        _ => None,
    }
}

/// The start order of all containers, ours and the pod's own.
fn order(decided: &Decided) -> String {
    let mut pod = decided.pod.clone();
    if json_patch::patch(&mut pod, &decided.decision.patch.operations()).is_err() {
        return String::new();
    }
    let ours: Vec<&String> =
        decided.decision.profiles.iter().flat_map(|profile| profile.added.values().flatten()).collect();
    let mut names = Vec::new();
    let mut any_sidecar = false;
    let mut after_own = false;
    for list in ["initContainers", "containers"] {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let sidecar = container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
            any_sidecar |= sidecar;
            let mark = if sidecar { "*" } else { "" };
            let is_ours = ours.iter().any(|own| own.as_str() == name);
            let owner = if is_ours || after_own { "" } else { "(the pod's own) " };
            names.push(format!("{owner}{name}{mark}"));
            after_own = !is_ours;
        }
    }
    let legend = if any_sidecar { "       * native sidecar" } else { "" };
    format!("{}{legend}", names.join(" → "))
}
