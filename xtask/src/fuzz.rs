//! Fuzzing for a bounded time: `cargo xtask fuzz`. It is not part of the tests, since it never ends the same way.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::args::{Args, Usage, unknown};
use crate::report::progress;
use crate::tools::installed;
use crate::{sh, workspace};

/// What can be fuzzed, and the folder whose files it starts from.
const TARGETS: [(&str, &str); 4] = [
    ("expression", "fuzz/seeds/expression"),
    ("memory", "profiles"),
    ("profile", "profiles"),
    ("review", "benches/reviews"),
];

/// The fuzzer needs instrumentation that only nightly compilers have.
const TOOLCHAIN: &str = "nightly";
const CARGO_FUZZ: &str = "0.13.2";
/// How long each target runs unless said, in seconds.
const SECONDS: u32 = 60;
/// How long one input may take, in seconds, with all the checks that make it slow.
const SLOWEST: u32 = 10;

/// How much one input of the target `memory` may allocate at once, in MiB.
const LARGEST: u32 = 16;

/// Runs the targets that the command line names, or all of them.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let seconds = match args.option("--seconds")? {
        Some(text) => text
            .parse()
            .map_err(|_| Usage(format!("--seconds is a whole number of seconds, not {text:?}")))?,
        None => SECONDS,
    };
    let names = args.rest();
    let known = TARGETS.map(|(name, _)| name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown(name, &known).into());
    }
    let cargo_fuzz = install()?;
    for (target, seeds) in TARGETS {
        if names.is_empty() || names.iter().any(|name| name == target) {
            fuzz(&cargo_fuzz, target, seeds, seconds)?;
        }
    }
    Ok(())
}

fn fuzz(cargo_fuzz: &PathBuf, target: &str, seeds: &str, seconds: u32) -> Result<()> {
    progress(format_args!("fuzz: {target}, for {seconds} s after it is built"));
    let corpus = workspace::root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    let mut command = sh::cmd(cargo_fuzz, ["fuzz", "run", target]);
    if target == "review" {
        // The others need only the engine, which is built in a tenth of the time.
        command.args(["--features", "server"]);
    }
    command
        .arg(&corpus)
        .arg(seeds)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOWEST}"))
        .args(["-max_len=65536", "-print_final_stats=1"])
        .args((target == "memory").then(|| format!("-malloc_limit_mb={LARGEST}")))
        .current_dir(workspace::root())
        .env("RUSTUP_TOOLCHAIN", TOOLCHAIN);
    sh::interactive(&mut command)
        .with_context(|| format!("{target}: the input is in fuzz/artifacts/{target}; make a test of it"))
}

/// Installs what is missing, and says where the fuzzer's driver is.
fn install() -> Result<PathBuf> {
    if sh::run(&mut sh::cmd("rustup", ["run", TOOLCHAIN, "rustc", "--version"])).is_err() {
        progress("fuzz: installing a nightly compiler");
        sh::run(&mut sh::cmd("rustup", ["toolchain", "install", TOOLCHAIN, "--profile", "minimal"]))?;
    }
    installed("cargo-fuzz", CARGO_FUZZ)
}
