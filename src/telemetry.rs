//! Logs and metrics. Neither ever holds a review's body or a pod's environment.

mod exposition;
mod logs;
mod metrics;
mod process;

pub use exposition::Format;
pub use logs::{LogFormat, start_logs};
pub use metrics::{Metrics, Verdict};

#[cfg(test)]
mod tests;
