//! The log writer: a queue and a thread. ARCHITECTURE.md tells why it is not that of `tracing-appender`.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::warn;

/// Maximum size of lines that wait to be written, in bytes.
const MOST_WAITING: usize = 1 << 20;
/// Time for which lines are collected before they are written together.
const GATHER: Duration = Duration::from_millis(10);

/// A writer that queues log lines for a separate thread, which writes them to standard error.
///
/// A request appends its line to the queue: it makes no system call, and a slow reader of the log does not block it. Lines
/// beyond the limit are dropped, and a log line reports their number.
#[derive(Clone, Default)]
pub(super) struct LogWriter(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<PendingLines>,
    /// Signals that lines wait, or that they were written.
    changed: Condvar,
}

#[derive(Default)]
struct PendingLines {
    text: Vec<u8>,
    dropped: u64,
    is_writing: bool,
}

static LINES: OnceLock<LogWriter> = OnceLock::new();

/// Starts the thread that writes.
pub(super) fn start() -> io::Result<LogWriter> {
    let lines = LINES.get_or_init(LogWriter::default).clone();
    let theirs = lines.clone();
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        loop {
            theirs.write_some(&mut io::stderr());
        }
    })?;
    Ok(lines)
}

/// Waits until all lines are written.
pub(crate) fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.written();
    }
}

impl LogWriter {
    fn waiting(&self) -> MutexGuard<'_, PendingLines> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and writes them.
    fn write_some(&self, to: &mut impl Write) {
        let waiting = self.0.changed.wait_while(self.waiting(), |waiting| waiting.text.is_empty());
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
        std::thread::sleep(GATHER);
        let (text, dropped) = {
            let mut waiting = self.waiting();
            waiting.is_writing = true;
            (std::mem::take(&mut waiting.text), std::mem::take(&mut waiting.dropped))
        };
        // A failed write to standard error cannot be reported anywhere.
        drop(to.write_all(&text));
        if dropped > 0 {
            // An ordinary event in the format of the log; it is written next.
            warn!(count = dropped, "dropped log lines, because the reader of the log is too slow");
        }
        self.waiting().is_writing = false;
        self.0.changed.notify_all();
    }

    fn written(&self) {
        let is_busy = |waiting: &mut PendingLines| waiting.is_writing || !waiting.text.is_empty();
        drop(self.0.changed.wait_while(self.waiting(), is_busy));
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting();
        if waiting.text.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let was_empty = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        // A thread that collects or writes lines checks the queue again by itself.
        if was_empty {
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_and_dropped_lines_are_counted() {
        let lines = LogWriter::default();
        let line = [&[b'a'; 999][..], b"\n"].concat();
        for _ in 0..2000 {
            lines.clone().write_all(&line).unwrap();
        }
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let mut written = Vec::new();
        tracing::subscriber::with_default(log, || lines.write_some(&mut written));
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with('a')).count(), MOST_WAITING / 1000);
        let mut written = Vec::new();
        lines.write_some(&mut written);
        let event = String::from_utf8(written).unwrap();
        let count = format!("count={}", 2000 - MOST_WAITING / 1000);
        assert!(event.contains("dropped log lines") && event.contains(&count), "{event}");

        lines.clone().write_all(b"first\n").unwrap();
        lines.clone().write_all(b"second\n").unwrap();
        let mut written = Vec::new();
        lines.write_some(&mut written);
        assert_eq!(written, b"first\nsecond\n");
    }

    #[test]
    fn a_flush_waits_for_pending_lines() {
        let lines = LogWriter::default();
        lines.clone().write_all(b"last line\n").unwrap();
        let writer = lines.clone();
        let written = std::thread::spawn(move || {
            let mut written = Vec::new();
            writer.write_some(&mut written);
            written
        });
        lines.written();
        assert!(lines.waiting().text.is_empty());
        assert_eq!(written.join().unwrap(), b"last line\n");
    }
}
