//! Process metrics, under the names that the Prometheus client libraries use.

use std::fs;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks per second in the kernel's files, on all supported architectures.
const TICKS: f64 = 100.0;

/// A collector that reads `/proc` at every scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let folder = Path::new("/proc/self");
        let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        if let Some(cpu) = cpu_seconds(&stat) {
            let help = "User and system CPU time spent in seconds.";
            let metric = ConstCounter::new(cpu);
            let unit = Some(&Unit::Seconds);
            metric.encode(encoder.encode_descriptor("process_cpu", help, unit, MetricType::Counter)?)?;
        }
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_time(&stat));
        if let (Some(boot), Some(since_boot)) = (boot, started(&stat)) {
            let help = "Start time of the process since unix epoch in seconds.";
            gauge(&mut encoder, "process_start_time", help, Some(&Unit::Seconds), boot + since_boot)?;
        }
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        for (name, field, help) in [
            ("process_resident_memory", "VmRSS:", "Resident memory size in bytes."),
            ("process_virtual_memory", "VmSize:", "Virtual memory size in bytes."),
        ] {
            if let Some(kibibytes) = number_after(&status, field) {
                gauge(&mut encoder, name, help, Some(&Unit::Bytes), kibibytes * 1024.0)?;
            }
        }
        if let Some(threads) = number_after(&status, "Threads:") {
            gauge(&mut encoder, "process_threads", "Number of threads of the process.", None, threads)?;
        }
        if let Ok(open) = fs::read_dir(folder.join("fd")) {
            // The descriptor that reads the directory is not counted.
            let open = u32::try_from(open.count().saturating_sub(1)).unwrap_or(u32::MAX);
            gauge(
                &mut encoder,
                "process_open_fds",
                "Number of open file descriptors.",
                None,
                f64::from(open),
            )?;
        }
        let limits = fs::read_to_string(folder.join("limits")).unwrap_or_default();
        if let Some(most) = number_after(&limits, "Max open files") {
            gauge(&mut encoder, "process_max_fds", "Maximum number of open file descriptors.", None, most)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> Result<(), std::fmt::Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
}

/// Returns a field of `/proc/self/stat` by its number in proc(5). The second field, the program's name, may contain any
/// character.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

/// Returns the time from the boot to the process start, in seconds.
fn started(stat: &str) -> Option<f64> {
    Some(field(stat, 22)? / TICKS)
}

fn boot_time(stat: &str) -> Option<f64> {
    number_after(stat, "btime")
}

/// Returns the first number in the line with this prefix.
fn number_after(text: &str, start: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_after_the_programs_name() {
        let stat = "7 (a ) 1 2 (b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(started(stat), Some(123.45));
        assert_eq!(cpu_seconds(""), None);
        let limits = "Limit                     Soft Limit\nMax open files            1024                 4096                 files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024.0));
        assert_eq!(number_after("Max open files  unlimited", "Max open files"), None);
        assert_eq!(boot_time("cpu  1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
