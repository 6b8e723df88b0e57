use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::format::LineFormat;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to stderr; [`super::flush_logs`] belongs to the end.
///
/// # Errors
/// The filter cannot be read.
pub fn start_logs(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("--log-filter {filter:?} cannot be read"))?;
    let lines = super::lines::start().context("cannot start the thread that writes the log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(format == LogFormat::Text && std::io::stderr().is_terminal())
        .event_format(LineFormat(format))
        .init();
    Ok(())
}
