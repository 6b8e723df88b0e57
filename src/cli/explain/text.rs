//! The explanation as text: one screen with labelled rows.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::cut::cut;
use super::{additions, running, server};
use crate::cli::manifests::Manifest;
use crate::cli::offline::Decided;
use crate::engine::{ChoicePlace, Level, Line, Outcome, Reason, SetBy};
use crate::workload::Submitted;
use crate::workload::{Role, containers};

/// The labels, in the order of the output.
const LABELS: [&str; 19] = [
    "server", "before", "differs", "remedy", "webhook", "enabled", "chosen", "left out", "set", "order",
    "adds", "changes", "keeps", "shares", "costs", "notes", "unknown", "warns", "trace",
];

const BOLD: Style = Style::new().bold();
const DENIED: Style = AnsiColor::Red.on_default().bold();
const DIMMED: Style = Style::new().dimmed();

/// A labelled row; its cells are aligned with those of the other rows of the same label.
struct Row {
    label: &'static str,
    cells: Vec<String>,
}

impl Row {
    fn new<const N: usize>(label: &'static str, cells: [&str; N]) -> Self {
        Self { label, cells: cells.map(str::to_owned).into() }
    }
}

/// The options of the output.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    /// True if every line of the trace is shown as well.
    pub(super) trace: bool,
    /// True if parameters at their defaults are shown as well.
    pub(super) all: bool,
    /// Columns of the terminal; without a terminal, lines are not wrapped.
    pub(super) width: Option<usize>,
}

/// Returns the explanation of one pod.
pub(super) fn of(object: &Manifest, decided: &Decided, Screen { trace, all, width }: Screen) -> String {
    let name = object.name();
    let running = running::of(object, decided);
    let decision = &decided.decision;
    let lines = decision.trace.lines();
    let is_shown =
        |reason: &Reason| all || !matches!(reason, Reason::ParameterSet { place: SetBy::Default, .. });
    let reasons = lines.iter().map(|line| &line.reason).filter(|reason| is_shown(reason));
    let mut rows: Vec<Row> = reasons.filter_map(row).collect();
    if decision.outcome == Outcome::Injected {
        // A chosen profile that was left out later has its own row.
        let stays = |row: &Row| {
            let name = row.cells.first();
            decision.profiles.iter().any(|profile| name.is_some_and(|name| *name == profile.name))
        };
        rows.retain(|row| row.label != "chosen" || stays(row));
        rows.push(Row::new("order", [&order(decided)]));
        rows.extend(adds(decided));
    } else {
        // Without an injection, the planned effects are not shown.
        rows.retain(|row| !matches!(row.label, "keeps" | "shares" | "changes" | "costs" | "notes"));
    }
    let shown_elsewhere =
        |code: &str| lines.iter().any(|line| line.reason.code() == code && is_left_out(&line.reason));
    for (code, message) in decided.warnings().filter(|(code, _)| !shown_elsewhere(code)) {
        rows.push(Row::new("warns", [&format!("{message} [{code}]")]));
    }
    if rows.iter().any(|row| row.label != "enabled") {
        rows.extend(unknown(&decided.submitted, trace));
    }
    if trace {
        rows.extend(lines.iter().map(traced));
    }
    let style = if decision.outcome == Outcome::Denied { DENIED } else { BOLD };
    if let Some(in_force) = decided.in_force.as_ref().filter(|found| found.warning.is_none()) {
        rows.push(Row::new("webhook", [&in_force.state]));
    }
    rows.extend(server::of(decided).iter().map(|line| Row::new("server", [line])));
    if let Some(running) = &running {
        rows.extend(running.differences.iter().map(|difference| Row::new("differs", [difference])));
        rows.extend(running.remedy.iter().map(|remedy| Row::new("remedy", [remedy])));
    }
    rows.sort_by_key(|row| LABELS.iter().position(|label| *label == row.label));
    let headline = running.map_or_else(|| headline(decided), |running| running.headline);
    let mut text = format!("{style}{}/{name}: {headline}{style:#}\n", decided.namespace);
    if !rows.is_empty() {
        text.push('\n');
    }
    for group in rows.chunk_by(|one, next| one.label == next.label) {
        write(group, width, &mut text);
    }
    text
}

/// Returns the row for a line of the trace, with its code and level.
fn traced(line: &Line) -> Row {
    let level = match line.reason.level() {
        Level::Info => "",
        Level::Warning => "warning",
        Level::Skip => "skip",
        Level::Denial => "denial",
    };
    let (step, message) = (format!("{:?}", line.step), line.reason.to_string());
    Row::new("trace", [&step, line.reason.code(), level, &message])
}

fn write(group: &[Row], screen: Option<usize>, text: &mut String) {
    let columns = group.iter().map(|row| row.cells.len()).max().unwrap_or_default();
    let width = |column: usize| {
        let widths = group.iter().filter(|row| row.cells.len() > column + 1);
        widths.filter_map(|row| row.cells.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for (index, row) in group.iter().enumerate() {
        let label = if index == 0 { row.label } else { "" };
        let style = if row.label == "warns" { AnsiColor::Yellow.on_default() } else { DIMMED };
        let _ = write!(text, "  {style}{label:<10}{style:#} ");
        let Some((last, before)) = row.cells.split_last() else { continue };
        let mut at = LABEL;
        for (cell, width) in before.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let _ = write!(text, "{cell:<width$}  ");
            at += width + 2;
        }
        let lines = broken(last, screen.map(|screen| screen.saturating_sub(at)));
        let _ = writeln!(text, "{}", lines.join(&format!("\n{:at$}", "")));
    }
}

/// Returns rows for unknown objects that would change the submitted pod; with `is_full`, also for the generated values.
fn unknown(submitted: &Submitted, is_full: bool) -> Vec<Row> {
    let missing: Vec<String> = submitted.missing.iter().map(ToString::to_string).collect();
    let mut rows = Vec::new();
    if !missing.is_empty() {
        rows.push(Row::new("unknown", [&format!("{}; taken as absent", missing.join(", "))]));
    }
    if is_full {
        rows.extend(submitted.placeholders.iter().map(|pointer| {
            let value = submitted.pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            Row::new("unknown", [&format!("{pointer} is generated; taken as {value:?}")])
        }));
    }
    rows
}

/// Columns before the first cell.
const LABEL: usize = 13;
/// With fewer columns than this, sentences are not wrapped.
const NARROW: usize = 24;

/// Wraps a sentence at spaces to this number of columns.
fn broken(sentence: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|width| *width >= NARROW) else { return vec![sentence.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn headline(decided: &Decided) -> String {
    let decision = &decided.decision;
    let reason = &decision.reason;
    let profiles = match decision.profiles.len() {
        1 => "1 profile".to_owned(),
        count => format!("{count} profiles"),
    };
    match (decision.outcome, reason) {
        (Outcome::Denied, _) => format!("the pod would be denied: {reason} [{}]", reason.code()),
        (Outcome::Skipped, _) => format!("nothing would be injected: {reason} [{}]", reason.code()),
        (Outcome::Injected, Reason::AlreadyInjected { .. }) => {
            format!("{profiles} injected already; nothing would change")
        }
        (Outcome::Injected, _) => format!("{profiles} would be injected"),
    }
}

/// Returns the row for a line of the trace. Added elements are summarized elsewhere.
fn row(reason: &Reason) -> Option<Row> {
    let text = reason.to_string();
    Some(match reason {
        Reason::InjectedBefore { profiles } => {
            let what = format!("injected with {}; explained from the original pod", profiles.join(", "));
            Row::new("before", [&what])
        }
        Reason::EnabledByPod | Reason::EnabledByNamespace { .. } => {
            Row::new("enabled", [text.trim_start_matches("enabled ")])
        }
        Reason::Chosen { profile, place } => Row::new("chosen", [profile, &place.to_string()]),
        Reason::Matched { profile, selectors, mandatory } => {
            let mandatory = if *mandatory { "  (mandatory)" } else { "" };
            Row::new("chosen", [profile, &format!("matches by itself: {selectors}{mandatory}")])
        }
        Reason::Required { profile, by } => {
            Row::new("chosen", [profile, &format!("comes along: required by {by}")])
        }
        Reason::ParameterSet { profile, parameter, value, place } => {
            let place = match place {
                SetBy::Pod => "annotation on the pod".to_owned(),
                SetBy::Namespace(name) => format!("annotation on namespace {name:?}"),
                SetBy::Default => "default".to_owned(),
            };
            Row::new("set", [&format!("{profile}.{parameter}"), &format!("= {}", cut(value)), &place])
        }
        Reason::Raised { profile, what, from, to } => {
            Row::new("changes", [profile, &format!("{what} raised from {from} to {to}")])
        }
        Reason::Overlaid { profile, container } => {
            let what = format!("takes up the pod's container {container}, with the pod's fields on top");
            Row::new("changes", [profile, &what])
        }
        Reason::Kept { profile, what, place, owner } => {
            let element = additions::element(place, what);
            Row::new("keeps", [profile, &format!("{element}, as {owner} sets it")])
        }
        Reason::Joined { profile, key, added, owner } => {
            Row::new("changes", [profile, &format!("annotation {key}: {added} added to that of {owner}")])
        }
        Reason::Adopted { profile, container } => {
            Row::new("shares", [profile, &format!("container {container}, which is there already")])
        }
        Reason::Shared { profile, what, place } => {
            let element = additions::element(place, what);
            Row::new("shares", [profile, &format!("{element}, which is there already")])
        }
        Reason::Costs { cost } => Row::new("costs", [&cost.to_string()]),
        Reason::GracePeriodShort { .. } | Reason::Shadows { .. } => Row::new("notes", [&text]),
        _ => {
            let (profile, why) = left_out(reason)?;
            Row::new("left out", [profile, &why])
        }
    })
}

fn is_left_out(reason: &Reason) -> bool {
    left_out(reason).is_some()
}

/// Returns the profile that is left out in part or as a whole, and the reason.
fn left_out(reason: &Reason) -> Option<(&str, String)> {
    Some(match reason {
        Reason::ReplacedByPod { profile } => {
            (profile, "namespace default, replaced by the pod's own choice".to_owned())
        }
        Reason::TakenAway { profile } => (profile, "taken away by the pod".to_owned()),
        Reason::ConditionFalse { profile, condition } => {
            (profile, format!("would match by itself, but its condition {condition:?} is false"))
        }
        Reason::OsMismatch { profile, wanted, os } => {
            (profile, format!("it is for {wanted} pods, and this one is for {os}"))
        }
        Reason::HostNetworkSkipped { profile } => {
            (profile, "the pod has hostNetwork: true, and the profile passes over such pods".to_owned())
        }
        Reason::RequiredSkipped { profile, required } => {
            (profile, format!("it requires {required}, which is not for pods like this one"))
        }
        Reason::ProfileLeftOut { profile, cause } => {
            if let Reason::ProfileInvalid { place: ChoicePlace::Match, finding, .. } = cause.as_ref() {
                return Some((profile, format!("would match by itself, but cannot be injected: {finding}")));
            }
            let text = cause.to_string();
            let why = text.strip_prefix(&format!("profile {profile:?}")).unwrap_or(&text);
            let why = why.trim_start_matches([':', ' ']);
            (profile, format!("onError: Ignore; {why} [{}]", cause.code()))
        }
        Reason::WhenFalse { profile, what } => (profile, format!("{what}: its condition (when) is false")),
        _ => return None,
    })
}

/// Returns the start order of all containers, the injected ones and the pod's own.
fn order(decided: &Decided) -> String {
    let mut names = Vec::new();
    let (mut any_sidecar, mut own_before) = (false, false);
    for container in containers(&decided.decision.profiles, &decided.after) {
        let is_sidecar = container.role == Role::NativeSidecar;
        let is_own = container.profile.is_none();
        let owner = match (own_before, is_own) {
            (false, true) => "(the pod's own) ",
            (true, false) => "(injected) ",
            _ => "",
        };
        names.push(format!("{owner}{}{}", container.name, if is_sidecar { "*" } else { "" }));
        any_sidecar |= is_sidecar;
        own_before = is_own;
    }
    let legend = if any_sidecar { "       * native sidecar" } else { "" };
    format!("{}{legend}", names.join(" → "))
}

fn adds(decided: &Decided) -> Vec<Row> {
    let profiles = &decided.decision.profiles;
    let counted = additions::counted(profiles, &decided.after);
    if counted.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![Row::new("adds", [&counted])];
    for profile in profiles.iter().filter(|profile| !profile.added.is_empty()) {
        rows.push(Row::new("adds", [&profile.name, &additions::named(profile, &decided.after)]));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_at_spaces_in_a_terminal() {
        let sentence = "one two three four five six seven";
        assert_eq!(broken(sentence, None), [sentence]);
        assert_eq!(broken(sentence, Some(24)), ["one two three four five", "six seven"]);
        assert_eq!(broken(sentence, Some(5)), [sentence], "the terminal is too narrow");
        assert_eq!(broken(&"x".repeat(30), Some(24)), ["x".repeat(30)], "a long word is not split");
    }
}
