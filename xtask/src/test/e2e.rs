//! The tests in `e2e`, which find the cluster through environment variables.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::faults;
use super::run::Run;
use super::server_logs::ServerLogs;
use crate::args::Args;
use crate::images::{self, Profile};
use crate::report::{print, progress};
use crate::target::{Ready, Target};
use crate::{sh, workspace};

/// Number of tests that run in parallel. Most of the time, they wait for the cluster.
const PARALLEL_TESTS: &str = "4";

/// Returns the directory of cert-manager's CustomResourceDefinitions. They are too large to store here, and belong to
/// the version that is built.
pub(super) fn cert_manager_definitions() -> Result<PathBuf> {
    let module = crate::tools::required_module("cert-manager", "github.com/cert-manager/cert-manager")?;
    Ok(module.join("deploy/crds"))
}

/// Runs the selected tests, and prints the slowest ones.
pub(super) fn run(run: &Run, ready: Ready) -> Result<()> {
    selected(ready, run.test_names())
}

/// Runs all tests of these files and directories in `e2e/tests`.
pub(super) fn suites(ready: Ready, names: &[&str]) -> Result<()> {
    let words: Vec<String> = names.iter().flat_map(|name| ["--test", name]).map(str::to_owned).collect();
    selected(ready, &words)
}

/// Runs the tests that these arguments of `cargo test` select.
fn selected(ready: Ready, words: &[String]) -> Result<()> {
    let ready = ready.with_product(images::product(Profile::EndToEnd)?)?;
    let mut command = command(&ready, Profile::EndToEnd)?;
    command.args(words).arg("--").args(skipped_tests(&ready)).env("RUST_TEST_THREADS", PARALLEL_TESTS);
    drop(std::fs::remove_file(times()));
    drop(std::fs::remove_file(faults::file()));
    progress("e2e: cargo test --package e2e");
    let result = with_server_logs(&ready, words.is_empty(), || sh::interactive(&mut command));
    print(slowest(&std::fs::read_to_string(times()).unwrap_or_default()));
    print(faults::table(&std::fs::read_to_string(faults::file()).unwrap_or_default()));
    result
}

/// Returns whether one of these words selects a test of the catalogue. Building the images of the catalogue's programs
/// takes most of a first run, so they are not built for other tests.
pub(super) fn selects_catalogue(names: &[String]) -> bool {
    let folder = workspace::root().join("e2e/tests/catalogue");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let tests: Vec<String> = files.flat_map(|file| tests_in(&file.path())).collect();
    let is_in = |name: &String| name == "catalogue" || tests.iter().any(|test| test.contains(name.as_str()));
    names.is_empty() || names.iter().any(is_in)
}

/// Returns the names of a file's tests, in the form of `cargo test`.
fn tests_in(file: &Path) -> Vec<String> {
    let module = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let name = |line: &str| Some(line.trim_start().strip_prefix("async fn ")?.split('(').next()?.to_owned());
    text.lines().filter_map(name).map(|name| format!("{module}::{name}")).collect()
}

/// Injects the faults of the tests whose names contain one of the words, and prints their effect on pods.
pub(crate) fn chaos(mut args: Args) -> Result<()> {
    let target = Target::from_args(&mut args)?;
    let random = Random::from_args(&mut args)?;
    target.check()?;
    crate::tools::install_packages()?;
    let ready = target
        .prepare_cluster(images::without_catalogue)?
        .with_product(images::product(Profile::EndToEnd)?)?;
    let mut command = command(&ready, Profile::EndToEnd)?;
    command.args(["--test", "chaos", "--"]);
    match random {
        Some(random) => random.select(&mut command, &ready, args)?,
        None => {
            command.args(skipped_tests(&ready)).args(args.rest());
        }
    }
    drop(std::fs::remove_file(faults::file()));
    let result = with_server_logs(&ready, false, || sh::interactive(&mut command));
    print(faults::table(&std::fs::read_to_string(faults::file()).unwrap_or_default()));
    result
}

/// Runs tests, and fails also if an Outrigger container logged a malformed line meanwhile, or if all tests ran and no
/// log line was found.
fn with_server_logs(ready: &Ready, are_all: bool, tests: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(folder) = ready.pod_logs() else {
        progress("the logs of this cluster's containers are not accessible; their lines are not checked");
        return tests();
    };
    let logs = ServerLogs::follow(&folder)?;
    match (tests(), logs.check(are_all)) {
        (Err(failed), Err(malformed)) => {
            print(format_args!("{malformed:#}"));
            Err(failed)
        }
        (result, checked) => result.and(checked),
    }
}

/// Random combinations of faults.
struct Random {
    seconds: u64,
    seed: u64,
}

impl Random {
    /// Removes `--random SECONDS` and `--seed N` from the command line. The default seed is the current time.
    fn from_args(args: &mut Args) -> Result<Option<Self>> {
        let number = |name: &str, text: &str| -> Result<u64> {
            text.parse().with_context(|| format!("invalid {name} {text}: must be a number"))
        };
        let (seconds, seed) = (args.option("--random")?, args.option("--seed")?);
        let Some(seconds) = seconds else {
            return if seed.is_some() { bail!("--seed needs --random SECONDS") } else { Ok(None) };
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = seed.map_or(Ok(now), |seed| number("--seed", &seed))?;
        Ok(Some(Self { seconds: number("--random", &seconds)?, seed }))
    }

    /// Selects the test that injects random faults.
    fn select(&self, command: &mut Command, ready: &Ready, args: Args) -> Result<()> {
        args.end(&["--random", "--seed"])?;
        if !ready.is_embedded() {
            bail!("random faults stop the API server and etcd, so they need the embedded cluster");
        }
        progress(format_args!("random faults for {} s with --seed {}", self.seconds, self.seed));
        command
            .args(["--nocapture", "random_combinations_of_faults"])
            .env("OUTRIGGER_CHAOS_SECONDS", self.seconds.to_string())
            .env("OUTRIGGER_CHAOS_SEED", self.seed.to_string());
        Ok(())
    }
}

/// Returns arguments that skip tests which signal processes of the cluster, or need the setup of the embedded cluster.
fn skipped_tests(ready: &Ready) -> &'static [&'static str] {
    if ready.is_embedded() {
        return &[];
    }
    progress(
        "this cluster's processes are not accessible: tests are skipped that stop the API server or etcd, send signals, or \
         need a client certificate of the API server",
    );
    &["--skip", "control_plane::", "--skip", "by_a_signal", "--skip", "with_the_configured_certificate"]
}

/// Measures the cost of the catalogue's profiles for a pod, in the tests whose names contain one of these words.
pub(crate) fn measure(words: &[String]) -> Result<()> {
    let target = Target::from_args(&mut Args::from(""))?;
    target.check()?;
    crate::tools::install_packages()?;
    let ready = target.prepare_cluster(images::programs)?.with_product(images::product(Profile::Release)?)?;
    let mut command = command(&ready, Profile::Release)?;
    // One test at a time, so that tests do not affect each other's figures.
    command.args(["--test", "catalogue", "--", "--nocapture", "--test-threads", "1"]).args(words);
    command.env("OUTRIGGER_MEASURE", "1").stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the tests")?;
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()) {
        let line = line?;
        if line.starts_with("cost of ") {
            print(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the tests that measure failed ({status})");
    }
    Ok(())
}

fn command(ready: &Ready, profile: Profile) -> Result<Command> {
    let (repository, tag) = ready.product();
    let mut command = sh::line("cargo test --locked --no-fail-fast --package e2e");
    command
        .current_dir(workspace::root())
        .envs(ready.environment())
        .env("OUTRIGGER_XTASK", std::env::current_exe()?)
        .env("OUTRIGGER_HELM", &ready.tools.helm)
        .env("OUTRIGGER_KUBECTL", &ready.tools.kubectl)
        .env("OUTRIGGER_BINARY", profile.binary())
        .env("OUTRIGGER_WORKSPACE", workspace::root())
        .env("OUTRIGGER_IMAGE_REPOSITORY", repository)
        .env("OUTRIGGER_IMAGE_TAG", tag)
        .env("OUTRIGGER_IMAGE_BUILD", ready.product_build())
        .env("OUTRIGGER_TIMES", times())
        .env("OUTRIGGER_CERT_MANAGER_CRDS", cert_manager_definitions()?)
        .env("OUTRIGGER_FAULTS", faults::file());
    Ok(command)
}

/// Returns the path of the file to which each test writes its duration.
fn times() -> PathBuf {
    workspace::target().join("e2e-times")
}

/// Returns the ten slowest tests.
fn slowest(times: &str) -> String {
    let mut tests: Vec<(f64, &str)> = Vec::new();
    for line in times.lines() {
        let Some((seconds, name)) = line.split_once(' ') else { continue };
        let seconds: f64 = seconds.parse().unwrap_or_default();
        // A test with several namespaces has one line for each.
        match tests.iter_mut().find(|(_, known)| *known == name) {
            Some((known, _)) => *known = known.max(seconds),
            None => tests.push((seconds, name)),
        }
    }
    tests.sort_by(|left, right| right.0.total_cmp(&left.0));
    let lines = tests.iter().take(10).map(|(seconds, name)| format!("  {seconds:>6.1} s  {name}"));
    ["\nslowest tests in the cluster:".to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_faults_have_a_duration_and_a_seed() -> Result<()> {
        let of = |words: &str| Random::from_args(&mut Args::from(words));
        assert!(of("etcd")?.is_none());
        let chosen = of("--random 600 --seed=7")?.context("--random was given")?;
        assert_eq!((chosen.seconds, chosen.seed), (600, 7));
        assert!(of("--random 600")?.is_some_and(|chosen| chosen.seed > 0));
        assert!(of("--seed 7").is_err() && of("--random soon").is_err());
        Ok(())
    }

    #[test]
    fn only_names_of_catalogue_tests_select_the_catalogue() {
        let selects = |names: &[&str]| {
            selects_catalogue(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert!(selects(&[]) && selects(&["mesh::"]) && selects(&["control_plane", "vault::"]));
        assert!(selects(&["--test", "catalogue"]) && !selects(&["--test", "serving"]));
        assert!(
            !selects(&["control_plane::"])
                && !selects(&["a_mandatory_sidecar_is_protected_in_a_running_pod"])
        );
    }

    #[test]
    fn the_slowest_tests_are_listed_once_in_order() {
        let printed = slowest("1.5 a::b\n20.0 c\n3.0 a::b\nnoise\n");
        assert_eq!(printed, "\nslowest tests in the cluster:\n    20.0 s  c\n     3.0 s  a::b");
    }
}
