//! What Outrigger is made of: whether its dependencies may be there (`cargo xtask deny`), and a list of them
//! (`cargo xtask sbom`).

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::args::Args;
use crate::report::{progress, say};
use crate::tools::installed;
use crate::{sh, workspace};

const CARGO_DENY: &str = "0.20.2";
const CARGO_CYCLONEDX: &str = "0.5.9";
/// The platform of the image's binary.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Checks licences, sources and bans, which takes no database; with `--advisories` also what is known of their faults,
/// for which the database of `RustSec` is fetched.
pub(crate) fn deny(mut args: Args) -> Result<()> {
    let with_advisories = args.switch("--advisories");
    args.end(&[])?;
    check(with_advisories)
}

/// The same as a step of the tests.
pub(crate) fn check(with_advisories: bool) -> Result<()> {
    let deny = installed("cargo-deny", CARGO_DENY)?;
    let mut command = sh::cmd(&deny, ["--workspace", "--locked", "--log-level", "warn", "check"]);
    command.args(["--hide-inclusion-graph", "licenses", "bans", "sources"]);
    command.args(with_advisories.then_some("advisories"));
    sh::interactive(command.current_dir(workspace::root()))
}

/// Writes the bill of materials of the image's one program, in the JSON of `CycloneDX`.
/// <https://cyclonedx.org/docs/1.5/json/>
pub(crate) fn sbom(args: Args) -> Result<()> {
    args.end(&[])?;
    let cyclonedx = installed("cargo-cyclonedx", CARGO_CYCLONEDX)?;
    let name = "outrigger.cdx";
    let mut command =
        sh::cmd(&cyclonedx, ["cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", TARGET]);
    command.args(["--no-build-deps", "--quiet", "--override-filename", name]);
    sh::run(command.current_dir(workspace::root()).env("SOURCE_DATE_EPOCH", "0"))?;
    let written = workspace::root().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&written).context("cargo-cyclonedx wrote no list")?;
    for member in ["bench", "e2e", "xtask", ""] {
        // It writes one for each member of the workspace, beside its manifest.
        drop(std::fs::remove_file(workspace::root().join(member).join(format!("{name}.json"))));
    }
    let listed: serde_json::Value = serde_json::from_str(&text)?;
    let components = listed.get("components").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    let kept: PathBuf = workspace::target().join("outrigger.cdx.json");
    std::fs::write(&kept, text)?;
    progress(format_args!("{components} crates of {TARGET}"));
    say(kept.display());
    Ok(())
}
