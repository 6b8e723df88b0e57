//! The log lines of every Outrigger container of a run, read by a strict parser.

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

/// The name of Outrigger's container in its pods.
const CONTAINER: &str = "outrigger";
/// Time between two looks for new log files. A container takes longer to start and to end.
const INTERVAL: Duration = Duration::from_millis(100);
/// Wrong lines that are shown.
const MOST_SHOWN: usize = 20;

/// Keeps the log files of all Outrigger containers, by hard links: the kubelet removes those of deleted pods.
pub(super) struct ServerLogs {
    links: PathBuf,
    /// Bytes of each file, by its link, that were there before.
    before: BTreeMap<PathBuf, u64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl ServerLogs {
    /// Starts to look for log files in the kubelet's folder for them.
    pub(super) fn follow(pods: &Path) -> Result<Self> {
        // Hard links do not lead out of a file system.
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

    /// Reads all lines since the beginning, and fails if one is not in a format of the log, or if there is none although one is
    /// expected.
    pub(super) fn check(self, is_expected: bool) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let Ok(followed) = self.thread.join() else {
            bail!("the thread that keeps the servers' logs panicked")
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
            bail!(
                "no log line of Outrigger was found in {}: its containers log elsewhere",
                self.links.display()
            );
        }
        if wrong.is_empty() {
            progress(format_args!("e2e: {lines} log lines of {files} Outrigger containers are well-formed"));
            return Ok(());
        }
        let mut said = format!("{} of {lines} log lines of Outrigger are malformed:", wrong.len());
        for line in wrong.iter().take(MOST_SHOWN) {
            let _ = write!(said, "\n  {line}");
        }
        bail!(said)
    }
}

/// Links the log files of Outrigger's containers that have no link yet; its name has the inode, which rotation does not change.
fn link_new(pods: &Path, links: &Path) -> Result<()> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for pod in entries(pods) {
        for log in entries(&pod.path().join(CONTAINER)) {
            // The file may be gone at any moment, with its pod.
            let Ok(metadata) = log.metadata() else { continue };
            let is_compressed = log.path().extension().is_some_and(|end| end == "gz" || end == "tmp");
            if !metadata.is_file() || is_compressed {
                continue;
            }
            let link = links.join(format!("{}.{}", pod.file_name().to_string_lossy(), metadata.ino()));
            match fs::hard_link(log.path(), &link) {
                Err(error) if log.path().exists() && !link.exists() => {
                    return Err(error).with_context(|| format!("cannot keep {}", log.path().display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The lines of a log file.
#[derive(Default)]
struct Found {
    lines: usize,
    /// Malformed lines, each with its problem.
    wrong: Vec<(String, String)>,
}

/// Reads a file of a container runtime: `TIME STREAM TAG LINE`, where the tag `P` stands for a part of a line.
/// <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>
fn problems(text: &str) -> Found {
    let mut found = Found::default();
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for entry in text.lines() {
        let mut words = entry.splitn(4, ' ');
        let (Some(_), Some(stream), Some(tag)) = (words.next(), words.next(), words.next()) else {
            found.wrong.push((entry.to_owned(), "the container runtime's part is missing".to_owned()));
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
    fn parts_of_a_line_are_joined() {
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
        let said = logs.check(true).map_or_else(|error| error.to_string(), |()| String::new());
        fs::remove_dir_all(root)?;
        assert!(said.starts_with("1 of 1 log lines") && said.contains("forged"), "{said}");
        Ok(())
    }
}
