use std::fmt;

use crate::expression::{CompileBudget, CompileError, OverBudget};

/// Error or warning about a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Severity: an error prevents the injection.
    pub severity: Severity,
    /// Path of the field from the object's root: `spec.template.spec.volumes[0].name`.
    pub path: String,
    /// Problem and remedy.
    pub message: String,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The profile is rejected.
    Error,
    /// The profile works, but probably not as intended.
    Warning,
}

impl Finding {
    /// Returns an error with a truncated path and message.
    pub(super) fn error(path: &str, message: String) -> Self {
        let mut finding = Self { severity: Severity::Error, path: path.to_owned(), message };
        finding.cut();
        finding
    }

    fn cut(&mut self) {
        cut(&mut self.path, LONGEST_PATH);
        cut(&mut self.message, LONGEST_MESSAGE);
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Maximum number of findings that are kept per severity. A field of three bytes can make a finding of three hundred.
const MOST: usize = 64;

/// Maximum number of characters that are kept of a path, and of a message.
const LONGEST_PATH: usize = 400;
const LONGEST_MESSAGE: usize = 1000;

/// Findings, collected while a profile is compiled, and the remaining budget of the compilation.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// Total number of errors and of warnings.
    errors: usize,
    warnings: usize,
    is_over_budget: bool,
    /// Remaining budget of the compilation.
    pub(super) budget: CompileBudget,
}

impl Findings {
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(Finding { severity: Severity::Error, path: path.into(), message: message.into() });
    }

    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(Finding { severity: Severity::Warning, path: path.into(), message: message.into() });
    }

    /// Reports an expression that does not compile.
    pub(super) fn compile_error(&mut self, path: impl Into<String>, error: &CompileError) {
        if error.is_over_budget {
            self.report_over_budget(path, error.message.clone());
        } else {
            self.error(path, format!("column {}: {}", error.column, error.message));
        }
    }

    /// Reports that the budget is used up at `path`, once: everything after it fails as well.
    pub(super) fn over_budget(&mut self, path: impl Into<String>, over: OverBudget) {
        self.report_over_budget(path, over.to_string());
    }

    fn report_over_budget(&mut self, path: impl Into<String>, message: String) {
        if !self.is_over_budget {
            self.is_over_budget = true;
            self.error(path, message);
        }
    }

    pub(super) fn push(&mut self, mut finding: Finding) {
        let count = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MOST {
            finding.cut();
            self.list.push(finding);
        }
    }

    /// Returns the errors that were kept.
    pub(super) fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().filter(|finding| finding.severity == Severity::Error)
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(super) fn into_vec(mut self) -> Vec<Finding> {
        let counts =
            [(Severity::Error, self.errors, "problems"), (Severity::Warning, self.warnings, "warnings")];
        for (severity, count, what) in counts {
            if count > MOST {
                let message = format!("{} more {what} are not listed; correct these first", count - MOST);
                self.list.push(Finding { severity, path: "spec".to_owned(), message });
            }
        }
        self.list
    }
}

/// Truncates a text that has more than `longest` characters.
fn cut(text: &mut String, longest: usize) {
    if let Some((end, _)) = text.char_indices().nth(longest) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_findings_is_limited_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        for index in 0..1000 {
            findings.warning(format!("spec.a[{index}]"), "w");
        }
        assert!(!findings.has_errors());
        findings.error("p".repeat(100_000), "m".repeat(100_000));
        findings.over_budget("spec", OverBudget::Memory);
        findings.over_budget("spec", OverBudget::Work);
        assert!(findings.has_errors());
        let list = findings.into_vec();
        assert_eq!(list.len(), MOST + 3);
        assert!(list.iter().all(|finding| finding.message.len() + finding.path.len() < 1500));
        assert_eq!(
            list.last().unwrap().to_string(),
            "spec: 936 more warnings are not listed; correct these first"
        );
    }
}
