//! Logs, metrics and traces. None of them ever contains a review's body or a pod's environment.

mod exposition;
mod format;
mod load;
mod log_writer;
mod logs;
mod metrics;
mod process;
mod traces;
mod verdict;

pub use exposition::Format;
pub use format::LogFormat;
pub use load::{Load, Shed};
pub use log_writer::flush_logs;
pub use logs::{DEFAULT_FILTER, start_logs};
pub use metrics::Metrics;
pub use traces::Traces;
pub(crate) use traces::{trace_profiles, trace_request, traced};
pub use verdict::Verdict;

#[cfg(test)]
mod tests;
