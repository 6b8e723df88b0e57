use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

/// Resources that a process has used.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    cpu: Duration,
}

impl Used {
    /// Returns the user and system CPU time of all threads.
    pub(crate) fn by(pid: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has exited")?;
        // The name in parentheses may contain spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("/proc/PID/stat")?;
        // Linux always reports hundredths of a second to user space.
        Ok(Self { cpu: Duration::from_millis(ticks * 10) })
    }
}

/// Results of a measurement.
pub(crate) struct Figures {
    pub(crate) elapsed: Duration,
    pub(crate) used: Duration,
    /// In microseconds.
    pub(crate) latencies: Vec<u32>,
}

impl Figures {
    pub(crate) fn new(before: Used, after: Used, elapsed: Duration, latencies: Vec<u32>) -> Self {
        Self { elapsed, used: after.cpu.saturating_sub(before.cpu), latencies }
    }

    /// Returns one line of JSON for xtask.
    pub(crate) fn json(mut self, pid: u32) -> anyhow::Result<Value> {
        self.latencies.sort_unstable();
        let requests = u32::try_from(self.latencies.len())?;
        let quantile = |per_mille: usize| {
            let index = (self.latencies.len() * per_mille / 1000).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or_default()
        };
        Ok(json!({
            "requests": requests,
            "per_second": f64::from(requests) / self.elapsed.as_secs_f64(),
            "cpu_micros": self.used.as_secs_f64() * 1e6 / f64::from(requests.max(1)),
            "p50_micros": quantile(500), "p99_micros": quantile(990), "p999_micros": quantile(999),
            "rss_kib": memory(pid, "VmRSS:")?, "peak_kib": memory(pid, "VmHWM:")?,
        }))
    }
}

/// Returns the value of a line of the process's status, in KiB.
pub(crate) fn memory(pid: u32, line: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server has exited")?;
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("/proc/PID/status")
}

pub(crate) fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}
