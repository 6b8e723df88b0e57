//! Output of the tasks: progress lines with the elapsed time, results, and heartbeats during long steps.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::workspace;

/// Interval of a long step's heartbeat lines.
const HEARTBEAT: Duration = Duration::from_secs(15);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock that every progress line shows.
pub(crate) fn start_clock() {
    LazyLock::force(&STARTED);
}

/// Prints a progress line to stderr.
pub(crate) fn progress(text: impl Display) {
    let at = STARTED.elapsed().as_secs_f64();
    // A closed terminal must not interrupt a run.
    drop(writeln!(std::io::stderr().lock(), "[{at:6.1}s] {text}"));
}

/// Prints a line of a result to stdout.
pub(crate) fn print(text: impl Display) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Prints a line to stderr, without the elapsed time.
pub(crate) fn note(text: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Runs a step, and prints its start, heartbeats and duration.
pub(crate) fn step<T>(name: &str, work: impl FnOnce(&Activity) -> Result<T>) -> Result<T> {
    let expected = expected(name);
    match expected {
        Some(time) if time > HEARTBEAT => {
            progress(format_args!("{name}: up to {}", short(time)));
        }
        _ => progress(format_args!("{name} …")),
    }
    let activity = Activity::default();
    let started = Instant::now();
    let heartbeat = Heartbeat::start(name.to_owned(), expected, activity.clone());
    let result = work(&activity);
    drop(heartbeat);
    let took = started.elapsed();
    match &result {
        Ok(_) => {
            record_duration(name, took);
            progress(format_args!("{name}: done in {}", short(took)));
        }
        Err(_) => progress(format_args!("{name}: FAILED after {}", short(took))),
    }
    result
}

/// Formats a duration for messages.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 100 {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else {
        format!("{:.1}s", time.as_secs_f64())
    }
}

/// Current action and completed fraction of a step, for its heartbeats.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    now: Arc<Mutex<String>>,
    done: Arc<Mutex<Option<f64>>>,
}

impl Activity {
    /// Sets the description of the current action.
    pub(crate) fn set(&self, text: impl Into<String>) {
        *locked(&self.now) = text.into();
    }

    /// Sets the completed fraction of the step, from 0 to 1.
    pub(crate) fn done(&self, part: f64) {
        *locked(&self.done) = Some(part);
    }

    /// Returns the remaining time, estimated from the completed fraction or from the expected duration.
    fn remaining(&self, passed: Duration, expected: Option<Duration>) -> Option<Duration> {
        match *locked(&self.done) {
            // Below 5%, the estimate is useless.
            Some(part) if part > 0.05 && part < 1.0 => Some(passed.mul_f64((1.0 - part) / part)),
            _ => expected?.checked_sub(passed),
        }
    }
}

struct Heartbeat {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    fn start(name: String, expected: Option<Duration>, activity: Activity) -> Self {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&ended);
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            let (flag, changed) = &*seen;
            let mut guard = locked(flag);
            loop {
                guard = changed.wait_timeout(guard, HEARTBEAT).unwrap_or_else(PoisonError::into_inner).0;
                if *guard {
                    return;
                }
                let passed = started.elapsed();
                let left = activity
                    .remaining(passed, expected)
                    .map_or(String::new(), |left| format!(", about {} left", short(left)));
                let doing = locked(&activity.now).clone();
                let doing = if doing.is_empty() { doing } else { format!(" ({doing})") };
                progress(format_args!("{name}: {} so far{left}{doing}", short(passed)));
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        *locked(&self.ended.0) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn durations_file(name: &str) -> PathBuf {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    workspace::cache().join("durations").join(plain)
}

/// Returns the duration of the step's last run, or a default for two ordinary cores.
fn expected(name: &str) -> Option<Duration> {
    let stored = std::fs::read_to_string(durations_file(name)).ok().and_then(|text| text.trim().parse().ok());
    let builtin = match name {
        "build kube" => Some(300),
        "build helm" => Some(100),
        "build coredns" => Some(60),
        "build etcd" => Some(30),
        "build outrigger" => Some(150),
        _ => None,
    };
    stored.or(builtin).map(Duration::from_secs)
}

/// Stores the duration of a step. Short runs found most of their work in a cache and do not predict a cold run.
fn record_duration(name: &str, took: Duration) {
    if took > HEARTBEAT && expected(name).is_none_or(|known| took > known / 2) {
        let file = durations_file(name);
        if let Some(folder) = file.parent() {
            // A failed write loses only an estimate.
            drop(std::fs::create_dir_all(folder));
            drop(std::fs::write(file, took.as_secs().to_string()));
        }
    }
}

/// Returns the last `count` lines of a text, indented.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let mut last = VecDeque::with_capacity(count);
    for line in text.lines() {
        if last.len() == count {
            last.pop_front();
        }
        last.push_back(line);
    }
    let mut indented = String::new();
    for line in last {
        indented.push_str("    ");
        indented.push_str(line);
        indented.push('\n');
    }
    indented
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
