use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::warn;

/// How many bytes of lines may wait to be written.
const MOST_WAITING: usize = 1 << 20;
/// How long lines are gathered before they are written at once.
const GATHER: Duration = Duration::from_millis(10);

/// LogWriter on their way to standard error, which a thread of their own writes.
///
/// A request leaves its line here and goes on: it makes no system call, and is not blocked by a slow reader of the log.
/// LogWriter beyond a bound are dropped then, and counted in a log line.
#[derive(Clone, Default)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something waits, or was written.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
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
pub fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.written();
    }
}

impl LogWriter {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
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
        // There is nobody to tell when standard error is gone.
        drop(to.write_all(&text));
        if dropped > 0 {
            // An event like all others, in the format of the log; it is written next.
            warn!(count = dropped, "dropped log lines, because the reader of the log is too slow");
        }
        self.waiting().is_writing = false;
        self.0.changed.notify_all();
    }

    fn written(&self) {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.text.is_empty();
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
        // One that gathers or writes looks again by itself.
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
    use crate::telemetry::format::LineFormat;
    use crate::telemetry::logs::LogFormat;

    #[test]
    fn lines_come_in_order_and_what_does_not_fit_is_counted() {
        let lines = LogWriter::default();
        let line = [&[b'a'; 999][..], b"\n"].concat();
        for _ in 0..2000 {
            lines.clone().write_all(&line).unwrap();
        }
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .event_format(LineFormat(LogFormat::Json))
            .with_writer(move || writer.clone())
            .finish();
        let mut written = Vec::new();
        tracing::subscriber::with_default(log, || lines.write_some(&mut written));
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with('a')).count(), MOST_WAITING / 1000);
        let mut written = Vec::new();
        lines.write_some(&mut written);
        let event: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(event["count"], 2000 - MOST_WAITING / 1000);
        assert!(event["message"].as_str().unwrap().starts_with("dropped log lines"), "{event}");

        lines.clone().write_all(b"first\n").unwrap();
        lines.clone().write_all(b"second\n").unwrap();
        let mut written = Vec::new();
        lines.write_some(&mut written);
        assert_eq!(written, b"first\nsecond\n");
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written() {
        let lines = LogWriter::default();
        lines.clone().write_all(b"last words\n").unwrap();
        let writer = lines.clone();
        let written = std::thread::spawn(move || {
            let mut written = Vec::new();
            writer.write_some(&mut written);
            written
        });
        lines.written();
        assert!(lines.waiting().text.is_empty());
        assert_eq!(written.join().unwrap(), b"last words\n");
    }
}
