//! Fuzzing for a bounded time: `cargo xtask fuzz`. It is not part of the tests, because its result is not
//! deterministic.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::args::{Args, Usage, unknown};
use crate::report::progress;
use crate::tools::installed;
use crate::{sh, workspace};

/// Fuzz targets, each with the directory of its initial inputs.
const TARGETS: [(&str, &str); 4] = [
    ("expression", "fuzz/seeds/expression"),
    ("memory", "profiles"),
    ("profile", "profiles"),
    ("review", "benches/reviews"),
];

/// The fuzzer needs instrumentation that only nightly compilers have.
const TOOLCHAIN: &str = "nightly";
const CARGO_FUZZ: &str = "0.13.2";
/// Default duration per target, in seconds.
const SECONDS: u32 = 60;
/// Timeout of one input in seconds, with all the checks that slow it down.
const SLOWEST: u32 = 10;

/// Maximum size of one allocation by the target `memory`, in MiB.
const LARGEST: u32 = 16;

/// Runs the targets that the command line lists, or all of them.
pub(crate) fn run(mut args: Args) -> Result<()> {
    let seconds = match args.option("--seconds")? {
        Some(text) => {
            text.parse().map_err(|_| Usage(format!("invalid --seconds {text:?}: must be an integer")))?
        }
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
    progress(format_args!("fuzz: running {target} for {seconds} s after its build"));
    let corpus = workspace::root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    let mut command = sh::cmd(cargo_fuzz, ["fuzz", "run", target]);
    if target == "review" {
        // The other targets need only the engine, which builds in a tenth of the time.
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
    sh::interactive(&mut command).with_context(|| {
        format!("{target} failed: the input is in fuzz/artifacts/{target}; add a test for it")
    })
}

/// Installs missing programs, and returns the path of cargo-fuzz.
fn install() -> Result<PathBuf> {
    if sh::run(&mut sh::cmd("rustup", ["run", TOOLCHAIN, "rustc", "--version"])).is_err() {
        progress("fuzz: installing a nightly compiler");
        sh::run(&mut sh::cmd("rustup", ["toolchain", "install", TOOLCHAIN, "--profile", "minimal"]))?;
    }
    installed("cargo-fuzz", CARGO_FUZZ)
}
