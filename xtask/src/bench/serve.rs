//! Cost of serving, compared with a bare server: `cargo xtask bench serve`.
//!
//! Both servers listen on loopback and are measured alternately, so that other load on the machine affects both alike.
//! The load generator reads the processor time of a server from `/proc`. This is the reliable figure on a shared
//! machine.

mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::args::Args;
use crate::report::{print, progress, step};
use crate::{sh, workspace};
use servers::{Programs, Server};

/// Form of the load: protocol and number of connections.
struct LoadForm {
    name: &'static str,
    options: &'static [&'static str],
}

const REVIEWS: [&str; 2] = ["small", "large"];
const LOAD_FORMS: [LoadForm; 3] = [
    LoadForm { name: "HTTP/1.1, 16 connections", options: &["--connections", "16"] },
    LoadForm { name: "HTTP/1.1, 64 connections", options: &["--connections", "64"] },
    LoadForm { name: "HTTP/2, 16 connections", options: &["--connections", "16", "--http2"] },
];
/// Maximum ratio of the processor time per response to that of the bare server, for each review.
const AIMS: [f64; 2] = [1.25, 1.0];
/// Profiles and namespaces of the memory measurement.
const MANY: [&str; 4] = ["--profiles", "1000", "--namespaces", "5000"];
/// Maximum memory under load with these, in KiB.
const MOST_MEMORY: f64 = 48.0 * 1024.0;

pub(super) fn run(mut args: Args) -> Result<()> {
    let number = |value: Option<String>, default: u32| -> Result<u32> {
        value.map_or(Ok(default), |value| value.parse().with_context(|| format!("{value:?} is not a number")))
    };
    let rounds = number(args.option("--rounds")?, 3)?.max(1);
    let seconds = number(args.option("--seconds")?, 3)?.max(1);
    let soak = number(args.option("--soak")?, 0)?;
    let target = args.option("--target")?;
    args.end(&["--rounds", "--seconds", "--soak", "--target"])?;
    let programs = step("build both servers", |_| Programs::build(target.as_deref()))?;
    let bench = Bench { programs, rounds, seconds };
    let (few, many) = (bench.files("few", &[])?, bench.files("many", &MANY)?);
    bench.compare(&few)?;
    bench.memory(&many)?;
    if soak > 0 { bench.soak(&many, soak) } else { Ok(()) }
}

struct Bench {
    programs: Programs,
    rounds: u32,
    seconds: u32,
}

impl Bench {
    fn files(&self, name: &str, options: &[&str]) -> Result<PathBuf> {
        let folder = workspace::target().join("bench").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        sh::run(Command::new(&self.programs.bench).arg("files").arg(&folder).args(options))?;
        Ok(folder)
    }

    /// Measures both servers alternately, first at their maximum rate and then at half of it.
    fn compare(&self, folder: &Path) -> Result<()> {
        let bare = self.programs.bare(folder)?;
        let ours = self.programs.outrigger(folder, "info")?;
        print(format!(
            "{:<34}{:>9}{:>9}{:>7}{:>11}{:>11}{:>7}",
            "", "CPU µs", "bare", "ratio", "per second", "bare", "ratio"
        ));
        let mut halves = Vec::new();
        for (review, aim) in REVIEWS.into_iter().zip(AIMS) {
            for form in &LOAD_FORMS {
                let mut options = vec!["--review", review];
                options.extend(form.options);
                let (of_ours, of_bare) = self.alternate(&ours, &bare, folder, |_| {
                    ["closed"].iter().chain(&options).map(ToString::to_string).collect()
                })?;
                let [cpu, bare_cpu] = [&of_ours, &of_bare].map(|figures| figures.median("cpu_micros"));
                let [rate, bare_rate] = [&of_ours, &of_bare].map(|figures| figures.median("per_second"));
                let ratio = of_ours.ratio("cpu_micros", &of_bare);
                let verdict = if ratio <= aim { "" } else { ": missed" };
                print(format!(
                    "{:<34}{cpu:>9.1}{bare_cpu:>9.1}{ratio:>7.2}{rate:>11.0}{bare_rate:>11.0}{:>7.2}  aim: CPU at most {aim}{verdict}",
                    format!("{review}, {}", form.name),
                    of_ours.ratio("per_second", &of_bare),
                ));
                halves.push((review, form, [rate / 2.0, bare_rate / 2.0]));
            }
        }
        print(format!(
            "\n{:<34}{:>9}{:>9}{:>9}{:>11}{:>9}{:>9}{:>9}",
            "at half of its rate, ms", "p50", "p99", "p99.9", "bare: p50", "p99", "p99.9", "RSS MiB"
        ));
        for (review, form, [rate, bare_rate]) in halves {
            let (of_ours, of_bare) = self.alternate(&ours, &bare, folder, |is_ours| {
                let rate = format!("--rate={:.0}", if is_ours { rate } else { bare_rate });
                let words = ["paced", &rate, "--review", review];
                words.iter().chain(form.options).map(ToString::to_string).collect()
            })?;
            let millis = |figures: &Rounds, name| figures.median(name) / 1e3;
            print(format!(
                "{:<34}{:>9.2}{:>9.2}{:>9.2}{:>11.2}{:>9.2}{:>9.2}{:>9.1}  aim: p99 below 2 ms",
                format!("{review}, {}", form.name),
                millis(&of_ours, "p50_micros"),
                millis(&of_ours, "p99_micros"),
                millis(&of_ours, "p999_micros"),
                millis(&of_bare, "p50_micros"),
                millis(&of_bare, "p99_micros"),
                millis(&of_bare, "p999_micros"),
                of_ours.median("rss_kib") / 1024.0,
            ));
        }
        print(format!(
            "\nmemory, MiB: {:.1} current and {:.1} peak; bare server {:.1} and {:.1}",
            mib(ours.memory("VmRSS:")?),
            mib(ours.memory("VmHWM:")?),
            mib(bare.memory("VmRSS:")?),
            mib(bare.memory("VmHWM:")?),
        ));
        Ok(())
    }

    fn alternate(
        &self,
        ours: &Server,
        bare: &Server,
        folder: &Path,
        words: impl Fn(bool) -> Vec<String>,
    ) -> Result<(Rounds, Rounds)> {
        let (mut of_ours, mut of_bare) = (Rounds::default(), Rounds::default());
        for _ in 0..self.rounds {
            of_bare.0.push(self.load(bare, folder, &words(false), self.seconds)?);
            of_ours.0.push(self.load(ours, folder, &words(true), self.seconds)?);
        }
        Ok((of_ours, of_bare))
    }

    fn load(&self, server: &Server, folder: &Path, words: &[String], seconds: u32) -> Result<Value> {
        let mut command = Command::new(&self.programs.bench);
        command.args(words).arg(folder).arg(format!("--address={}", server.address));
        command.arg(format!("--pid={}", server.pid())).arg(format!("--seconds={seconds}"));
        let printed = sh::output(&mut command)?;
        serde_json::from_str(&printed).with_context(|| format!("the load printed {printed:?}"))
    }

    /// Measures the memory with a thousand profiles and five thousand namespaces: idle, under load, and with bodies of
    /// the maximum size on many connections.
    fn memory(&self, folder: &Path) -> Result<()> {
        let server = self.programs.outrigger(folder, "info")?;
        let load = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            self.load(&server, folder, &words, self.seconds)
        };
        print("\nmemory with 1,000 profiles and 5,000 namespaces, MiB");
        let line = |what: &str, verdict: &str| -> Result<()> {
            let (now, peak) = (server.memory("VmRSS:")?, server.memory("VmHWM:")?);
            print(format!("{what:<34}{:>9.1} current{:>9.1} peak{verdict}", mib(now), mib(peak)));
            Ok(())
        };
        line("idle", "")?;
        load("closed --review small --connections 16")?;
        line("small reviews, 16 connections", "")?;
        load("closed --review small --connections 64")?;
        load("closed --review large --connections 64")?;
        let missed = if server.memory("VmRSS:")? <= MOST_MEMORY { "" } else { ": missed" };
        line("and large ones, 64 connections", &format!("  aim: at most 48{missed}"))?;
        let flood = load("flood --connections 64")?;
        line("bodies of 7 MiB, 64 connections", "")?;
        let of = |name: &str| flood.get(name).and_then(Value::as_u64).unwrap_or_default();
        print(format!("  {} answered, {} shed, {} timed out", of("answered"), of("shed"), of("slow")));
        Ok(())
    }

    /// Sends requests for a time in seconds, and prints the memory.
    fn soak(&self, folder: &Path, seconds: u32) -> Result<()> {
        let server = self.programs.outrigger(folder, "info")?;
        let words = |review: &str| ["closed", "--review", review].map(str::to_owned).to_vec();
        self.load(&server, folder, &words("large"), self.seconds)?;
        self.load(&server, folder, &words("small"), self.seconds)?;
        print(format!(
            "\nsoak of {seconds} s, MiB\n{:<34}{:>9.1}",
            "at its start",
            mib(server.memory("VmRSS:")?)
        ));
        progress(format_args!("soaking for {seconds} s"));
        let mut requests = 0;
        for (review, share) in [("small", 4), ("large", 1), ("small", 4), ("large", 1)] {
            let figures = self.load(&server, folder, &words(review), (seconds * share / 10).max(1))?;
            requests += figures.get("requests").and_then(Value::as_u64).unwrap_or_default();
            print(format!(
                "{:<34}{:>9.1}",
                format!("after {requests} requests"),
                mib(server.memory("VmRSS:")?)
            ));
        }
        Ok(())
    }
}

/// Figures of all rounds of one case.
#[derive(Default)]
struct Rounds(Vec<Value>);

impl Rounds {
    fn of(&self, name: &str) -> impl Iterator<Item = f64> {
        self.0.iter().map(move |figures| figures.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN))
    }

    fn median(&self, name: &str) -> f64 {
        median(self.of(name).collect())
    }

    /// Returns the median of the ratios of pairs. Other load affects both halves of a round.
    fn ratio(&self, name: &str, other: &Self) -> f64 {
        median(self.of(name).zip(other.of(name)).map(|(ours, bare)| ours / bare).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mib(kib: f64) -> f64 {
    kib / 1024.0
}
