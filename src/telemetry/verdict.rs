use prometheus_client::encoding::EncodeLabelSet;

use crate::engine::Decision;

/// The result of a request, for its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verdict {
    /// `mutate`, `restore`, `validate`, `verify` or `advise`.
    pub webhook: &'static str,
    /// `injected`, `skipped`, `denied`, `allowed` or `errored`.
    pub outcome: &'static str,
    /// Reason code.
    pub reason: &'static str,
}

impl Verdict {
    /// Returns a verdict with these values.
    pub fn new(webhook: &'static str, outcome: &'static str, reason: &'static str) -> Self {
        Self { webhook, outcome, reason }
    }

    /// Returns the verdict for a request that could not be processed.
    pub fn errored(webhook: &'static str, reason: &'static str) -> Self {
        Self::new(webhook, "errored", reason)
    }

    /// Returns the verdict for a decision of the engine.
    pub fn of(webhook: &'static str, decision: &Decision) -> Self {
        Self::new(webhook, decision.outcome.as_str(), decision.reason.code())
    }
}
