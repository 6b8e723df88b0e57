//! Result of a decision.

use super::patch::Patch;
use super::reason::{Level, Reason};
use super::trace::Trace;
use crate::api::InjectedProfile;

/// Decision for a pod.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Outcome for the pod.
    pub outcome: Outcome,
    /// Reason for the outcome: the last line of the trace.
    pub reason: Reason,
    /// The profiles that the pod has after the decision, in start order.
    pub profiles: Vec<InjectedProfile>,
    /// Change to the pod as an RFC 6902 patch; empty if nothing changes.
    pub patch: Patch,
    /// Lines of all steps; from [`super::admit`], only warnings and denials.
    pub trace: Trace,
}

/// Outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod has its profiles.
    Injected,
    /// The pod is admitted without any injection.
    Skipped,
    /// The pod is rejected.
    Denied,
}

impl Outcome {
    /// Returns the name of the outcome in logs, metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
        }
    }
}

impl Decision {
    /// Returns the warnings for the creator of an admitted pod.
    pub fn warnings(&self) -> impl Iterator<Item = &Reason> {
        self.trace.lines().iter().map(|line| &line.reason).filter(|reason| reason.level() == Level::Warning)
    }

    /// Returns the profiles that should be injected and were left out, each with the cause.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.trace.lines().iter().filter_map(|line| match &line.reason {
            Reason::ProfileLeftOut { profile, cause } => Some((profile.as_str(), &**cause)),
            _ => None,
        })
    }

    /// Returns the names in choices of the pod, its namespace or a chosen profile that match no profile.
    pub fn unknown_profiles(&self) -> Vec<&str> {
        let lines = self.trace.lines().iter().map(|line| &line.reason);
        let mut names: Vec<&str> = lines.flat_map(Reason::unknown_profiles).collect();
        names.dedup();
        names
    }
}
