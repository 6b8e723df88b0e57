use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use anyhow::Context as _;
use tracing::error;
use tracing_subscriber::EnvFilter;

use super::format::{LineFormat, LogFormat};

/// Log filter if none is set.
pub const DEFAULT_FILTER: &str = "info";

/// Starts logging to stderr, including panics. Call [`super::flush_logs`] before the process ends.
///
/// Returns whether the filter can be read. If it cannot, the default filter is used, so that the error can be logged.
///
/// # Errors
/// The thread that writes the log cannot be started.
pub fn start_logs(format: LogFormat, filter: &str) -> anyhow::Result<anyhow::Result<()>> {
    let read = EnvFilter::try_new(filter).with_context(|| format!("--log-filter {filter:?} cannot be read"));
    let (filter, is_read) = match read {
        Ok(filter) => (filter, Ok(())),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Err(error)),
    };
    let lines = super::log_writer::start().context("cannot start the thread that writes the log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(format == LogFormat::Text && std::io::stderr().is_terminal())
        .event_format(LineFormat(format))
        .init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(is_read)
}

/// Logs a panic, with its backtrace if `RUST_BACKTRACE` asks for one.
pub(super) fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let thread = std::thread::current();
    error!(
        error = panic.payload_as_str().unwrap_or("the panic has no message"),
        location = panic.location().map(tracing::field::display),
        thread = thread.name(),
        backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace)),
        "a thread panicked"
    );
    // After a panic of the main thread, nothing else waits until the line is written.
    if thread.name() == Some("main") {
        super::flush_logs();
    }
}
