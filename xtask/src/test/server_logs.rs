//! Checks the log lines of all Outrigger containers of a run with a strict parser.

#[path = "../../../tests/common/log_lines.rs"]
mod log_lines;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::report::progress;

/// Name of Outrigger's container in its pods.
const CONTAINER: &str = "outrigger";
/// Interval between two searches for new log files. A container takes longer to start and to end.
const INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of malformed lines that are printed.
const MAX_PRINTED: usize = 20;

/// Hard links to the log files of all Outrigger containers, because the kubelet removes those of deleted pods.
pub(super) struct ServerLogs {
    links: PathBuf,
    /// Length of each file at the start, by its link.
    before: BTreeMap<PathBuf, u64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl ServerLogs {
    /// Starts to link log files in the kubelet's directory.
    pub(super) fn follow(pods: &Path) -> Result<Self> {
        // Hard links must be on the same file system.
        let links = pods.with_file_name("servers");
        if links.exists() {
            fs::remove_dir_all(&links)?;
        }
        fs::create_dir_all(&links)?;
        link_new(pods, &links)?;
        let mut before = BTreeMap::new();
        for entry in fs::read_dir(&links)? {
            let entry = entry?;
            before.insert(entry.path(), entry.metadata()?.len());
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (pods, theirs, flag) = (pods.to_path_buf(), links.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                link_new(&pods, &theirs)?;
                std::thread::sleep(INTERVAL);
            }
            link_new(&pods, &theirs)
        });
        Ok(Self { links, before, is_over, thread })
    }

    /// Reads all lines since the start. Fails if a line is malformed, or if there is none although lines are expected.
    pub(super) fn check(self, is_expected: bool) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let Ok(followed) = self.thread.join() else {
            bail!("the thread that links the servers' logs panicked")
        };
        followed?;
        let (mut files, mut lines, mut wrong) = (0, 0, Vec::new());
        for entry in fs::read_dir(&self.links)? {
            let path = entry?.path();
            let all = fs::read(&path)?;
            let skipped = self.before.get(&path).and_then(|length| usize::try_from(*length).ok());
            let text = String::from_utf8_lossy(all.get(skipped.unwrap_or(0)..).unwrap_or_default());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let found = problems(&text);
            lines += found.lines;
            files += 1;
            wrong.extend(
                found.wrong.into_iter().map(|(line, problem)| format!("{name}: {problem}:\n    {line}")),
            );
        }
        if lines == 0 && is_expected {
            bail!("no log line of Outrigger was found in {}", self.links.display());
        }
        if wrong.is_empty() {
            progress(format_args!("e2e: {lines} log lines of {files} Outrigger containers are well-formed"));
            return Ok(());
        }
        let mut message = format!("{} of {lines} log lines of Outrigger are malformed:", wrong.len());
        for line in wrong.iter().take(MAX_PRINTED) {
            let _ = write!(message, "\n  {line}");
        }
        bail!(message)
    }
}

/// Links the log files of Outrigger's containers that have no link yet. The link's name has the inode, which rotation
/// keeps.
fn link_new(pods: &Path, links: &Path) -> Result<()> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for pod in entries(pods) {
        for log in entries(&pod.path().join(CONTAINER)) {
            // The file can be deleted at any time, with its pod.
            let Ok(metadata) = log.metadata() else { continue };
            let is_compressed = log.path().extension().is_some_and(|end| end == "gz" || end == "tmp");
            if !metadata.is_file() || is_compressed {
                continue;
            }
            let link = links.join(format!("{}.{}", pod.file_name().to_string_lossy(), metadata.ino()));
            match fs::hard_link(log.path(), &link) {
                Err(error) if log.path().exists() && !link.exists() => {
                    return Err(error).with_context(|| format!("cannot link {}", log.path().display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Result of parsing a log file.
#[derive(Default)]
struct ParsedLog {
    lines: usize,
    /// Malformed lines, each with its problem.
    wrong: Vec<(String, String)>,
}

/// Parses a file of a container runtime: `TIME STREAM TAG LINE`, where the tag `P` marks a partial line.
/// <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>
fn problems(text: &str) -> ParsedLog {
    let mut found = ParsedLog::default();
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for entry in text.lines() {
        let mut words = entry.splitn(4, ' ');
        let (Some(_), Some(stream), Some(tag)) = (words.next(), words.next(), words.next()) else {
            found.wrong.push((entry.to_owned(), "the prefix of the container runtime is missing".to_owned()));
            continue;
        };
        let part = words.next().unwrap_or_default();
        parts.entry(stream).or_default().push_str(part);
        if tag == "P" {
            continue;
        }
        let line = parts.remove(stream).unwrap_or_default();
        found.lines += 1;
        if let Some(problem) = log_lines::problem(&line) {
            found.wrong.push((line, problem));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_lines_are_joined() {
        let found = problems(
            "2026-01-31T12:00:00.1Z stderr P 2026-01-31T12:00:00.000000Z  INFO outrigger::cli: ser\n\
             2026-01-31T12:00:00.1Z stderr F ving listen=0.0.0.0:8443\n\
             2026-01-31T12:00:00.1Z stderr F thread 'main' panicked at src/main.rs:1:1:\n",
        );
        assert_eq!((found.lines, found.wrong.len()), (2, 1));
    }

    #[test]
    fn logs_of_deleted_pods_are_read() -> Result<()> {
        let root = std::env::temp_dir().join(format!("outrigger-server-logs-{}", std::process::id()));
        let pod = root.join("pods/outrigger-system_outrigger-1_uid/outrigger");
        fs::create_dir_all(&pod)?;
        let line = |message: &str| format!("2026-01-31T12:00:00.1Z stderr F {message}\n");
        fs::write(pod.join("0.log"), line("from an earlier run"))?;
        let logs = ServerLogs::follow(&root.join("pods"))?;
        fs::write(pod.join("1.log"), line("forged"))?;
        std::thread::sleep(5 * INTERVAL);
        fs::remove_dir_all(root.join("pods"))?;
        let message = logs.check(true).map_or_else(|error| error.to_string(), |()| String::new());
        fs::remove_dir_all(root)?;
        assert!(message.starts_with("1 of 1 log lines") && message.contains("forged"), "{message}");
        Ok(())
    }
}
