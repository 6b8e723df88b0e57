//! What is said to the person who waits: lines with the time that has passed, and signs of life during long steps.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::workspace;

/// How often a long step says that it is still alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock that every progress line shows.
pub(crate) fn start_clock() {
    LazyLock::force(&STARTED);
}

/// A line of progress, on standard error.
pub(crate) fn progress(text: impl Display) {
    let at = STARTED.elapsed().as_secs_f64();
    // A closed terminal must not end a run half way.
    drop(writeln!(std::io::stderr().lock(), "[{at:6.1}s] {text}"));
}

/// A line of a result, on standard output.
pub(crate) fn say(text: impl Display) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// A line for a person on standard error, without the clock.
pub(crate) fn note(text: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Runs a step: says that it starts, gives signs of life, says how long it took.
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
            remember(name, took);
            progress(format_args!("{name}: done in {}", short(took)));
        }
        Err(_) => progress(format_args!("{name}: FAILED after {}", short(took))),
    }
    result
}

/// A duration as a person says it.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 100 {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else {
        format!("{:.1}s", time.as_secs_f64())
    }
}

/// What a step is doing at the moment, for its signs of life.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    now: Arc<Mutex<String>>,
    done: Arc<Mutex<Option<f64>>>,
}

impl Activity {
    /// Replaces the description of what is being done.
    pub(crate) fn set(&self, text: impl Into<String>) {
        *locked(&self.now) = text.into();
    }

    /// Says how much of the step is done, from 0 to 1.
    pub(crate) fn done(&self, part: f64) {
        *locked(&self.done) = Some(part);
    }

    /// How long is left, by what is done so far, or by how long it is known to take.
    fn left(&self, passed: Duration, expected: Option<Duration>) -> Option<Duration> {
        match *locked(&self.done) {
            // Before that it says little.
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
                    .left(passed, expected)
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

/// How long this step took the last time, or what it takes on two ordinary cores.
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

/// A step that found most of its work in a cache says nothing about the next cold run, so only long ones count.
fn remember(name: &str, took: Duration) {
    if took > HEARTBEAT && expected(name).is_none_or(|known| took > known / 2) {
        let file = durations_file(name);
        if let Some(folder) = file.parent() {
            // Only an estimate is lost when this cannot be written.
            drop(std::fs::create_dir_all(folder));
            drop(std::fs::write(file, took.as_secs().to_string()));
        }
    }
}

/// The last `count` lines of a text.
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
