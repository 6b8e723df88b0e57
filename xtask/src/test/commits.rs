//! Checks of the messages of new commits.

use anyhow::{Result, bail};

use crate::report::progress;
use crate::{sh, workspace};

/// Last commit before the rules. They apply to the commits after it.
const BEFORE: &str = "8736a759983108e1f8f69d3525bc18bddd3efb1d";
/// Commits to check if that one is missing, as in a shallow clone.
const NEWEST: &str = "-20";
/// Maximum length of the subject, in characters.
const LONGEST: usize = 72;
/// First words of subjects that do not describe a change.
const VAGUE: [&str; 3] = ["let", "name", "say"];

/// Checks the messages of all commits since the rules. Merge commits need no body and are excluded.
///
/// # Errors
/// Fails with the commits whose messages break a rule, each with the rule.
pub(super) fn check() -> Result<()> {
    let git = |arguments: &[&str]| sh::attempt(sh::cmd("git", arguments).current_dir(workspace::root()));
    let (is_repository, _) = git(&["rev-parse", "--git-dir"])?;
    if !is_repository {
        progress("there is no git repository; commits are not checked");
        return Ok(());
    }
    let (is_known, _) = git(&["cat-file", "-e", &format!("{BEFORE}^{{commit}}")])?;
    let range = if is_known { format!("{BEFORE}..HEAD") } else { NEWEST.to_owned() };
    let (listed, text) = git(&["log", "--no-merges", "--format=%h%x1f%s%x1f%b%x1e", &range])?;
    if !listed {
        bail!("cannot list the commits:\n{text}");
    }
    let wrong: Vec<String> = text.split('\u{1e}').filter_map(wrong).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "these commits break the rules of CONTRIBUTING.md (\"Commits\"); reword them with `git rebase`:\n{}",
        wrong.join("\n")
    )
}

/// Returns the commit with the problem of its message, if there is one.
fn wrong(commit: &str) -> Option<String> {
    let mut parts = commit.trim().split('\u{1f}');
    let (hash, subject, body) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let problem = problem(subject, body)?;
    Some(format!("  {hash} {subject:?}: {problem}"))
}

fn problem(subject: &str, body: &str) -> Option<String> {
    let length = subject.chars().count();
    if length > LONGEST {
        return Some(format!("the subject has {length} characters; at most {LONGEST}"));
    }
    let is_area = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '/' | '.');
    let parts = subject.split_once(": ").filter(|(area, _)| !area.is_empty() && area.chars().all(is_area));
    let Some((_, rest)) = parts else {
        return Some("the subject is not `area: imperative subject`".to_owned());
    };
    let first = rest.split(' ').next().unwrap_or_default();
    if VAGUE.contains(&first.to_ascii_lowercase().as_str()) {
        return Some(format!("{first:?} does not describe a change"));
    }
    if rest.ends_with('.') {
        return Some("the subject ends with a full stop".to_owned());
    }
    body.trim().is_empty().then(|| "there is no body with the reason".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_an_area_a_short_subject_and_a_reason() {
        let because = "Because.\n";
        assert_eq!(problem("engine: keep the pod's own mount on conflict", because), None);
        for (subject, body, expected) in [
            ("engine: keep it", "", "there is no body"),
            ("Keep the mount", because, "area: imperative"),
            ("Engine: keep the mount", because, "area: imperative"),
            ("engine: say that it keeps", because, "does not describe a change"),
            ("engine: keep the mount.", because, "full stop"),
            (&format!("engine: {}", "x".repeat(65)), because, "73 characters"),
        ] {
            let found = problem(subject, body).unwrap();
            assert!(found.contains(expected), "{subject:?}: {found}");
        }
    }
}
