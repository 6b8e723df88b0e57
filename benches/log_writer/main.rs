//! The log writer beside tracing-appender's non-blocking writer: processor time for each line, and lost lines.
//!
//! Each case runs in a process of its own, whose standard error is a pipe that this process reads. `cargo bench --bench
//! log_writer` prints a line for each case.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints its figures"
)]

#[path = "../../src/telemetry/log_writer.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "the benchmark uses a part of the file")]
mod log_writer;

use std::io::{BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Length of the log line of a request.
const LINE: usize = 320;
const THREADS: usize = 2;

/// Lines of one thread, and the time between them.
const CASES: [(&str, usize, Duration); 2] = [
    ("5,000 requests a second", 10_000, Duration::from_micros(400)),
    ("50,000 requests a second", 100_000, Duration::from_micros(40)),
];

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    if let (Some(writer), Some(case)) = (args.next(), args.next()) {
        return write(&writer, case.parse().unwrap());
    }
    for (index, (name, lines, _)) in CASES.iter().enumerate() {
        for writer in ["own", "appender"] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([writer, &index.to_string()])
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let read = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).count();
            let printed = child.wait_with_output().unwrap();
            let micros: f64 = String::from_utf8(printed.stdout).unwrap().trim().parse().unwrap();
            let all = lines * THREADS;
            let each = micros / f64::from(u32::try_from(all).unwrap());
            println!(
                "{name:<28} {writer:<9} {each:>6.2} us of processor a line, {} of {all} lines lost",
                all - read
            );
        }
    }
}

fn write(writer: &str, case: usize) {
    let (_, lines, pause) = CASES.get(case).unwrap();
    let began = processor();
    if writer == "own" {
        let writer = log_writer::start().unwrap();
        emit(|| writer.clone(), *lines, *pause);
        log_writer::flush_logs();
    } else {
        let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
        emit(|| writer.clone(), *lines, *pause);
        drop(guard);
    }
    println!("{}", processor().saturating_sub(began).as_micros());
}

fn emit<W: Write + Send>(writer: impl Fn() -> W + Sync, lines: usize, pause: Duration) {
    let line = [&[b'a'; LINE - 1][..], b"\n"].concat();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let began = Instant::now();
                for number in 0..u32::try_from(lines).unwrap() {
                    if let Some(early) = (pause * number).checked_sub(began.elapsed()) {
                        std::thread::sleep(early);
                    }
                    writer().write_all(&line).unwrap();
                }
            });
        }
    });
}

/// Returns the processor time of this process, with a resolution of 10 ms.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    Duration::from_millis(10 * fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}
