//! Supply chain: the check of dependencies (`cargo xtask deny`), and the bill of materials (`cargo xtask sbom`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::args::Args;
use crate::report::{print, progress};
use crate::tools::installed;
use crate::{sh, workspace};

const CARGO_DENY: &str = "0.20.2";
/// Name of the image's program.
const PROGRAM: &str = "outrigger";
/// Target triple of the image's binary.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Licenses of crates that have no license expression, only a text.
const BY_TEXT: [(&str, &str); 1] = [("libyaml-safer", "MIT")];

/// Checks licenses, sources and bans, offline. `--advisories` also checks known vulnerabilities, and downloads the
/// database of `RustSec` for that.
pub(crate) fn deny(mut args: Args) -> Result<()> {
    let with_advisories = args.switch("--advisories");
    args.end(&[])?;
    check(with_advisories)
}

/// Runs the same check as a step of the tests.
pub(crate) fn check(with_advisories: bool) -> Result<()> {
    let deny = installed("cargo-deny", CARGO_DENY)?;
    let mut command = sh::cmd(&deny, ["--workspace", "--locked", "--log-level", "warn", "check"]);
    command.args(["--hide-inclusion-graph", "licenses", "bans", "sources"]);
    command.args(with_advisories.then_some("advisories"));
    sh::interactive(command.current_dir(workspace::root()))
}

/// Writes the bill of materials of the image's program as a `CycloneDX` JSON document.
///
/// The crates come from `cargo tree`, because tools that read Cargo's metadata include features that other members of
/// the workspace enable.
/// <https://cyclonedx.org/docs/1.5/json/>
pub(crate) fn sbom(args: Args) -> Result<()> {
    args.end(&[])?;
    let mut components = Vec::new();
    let locked = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    for (name, version, license) in linked()? {
        let mut component = json!({
            "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
            "licenses": [{ "expression": license.replace('/', " OR ") }],
        });
        let checksum = checksum(&locked, &name, &version);
        if let (Some(component), Some(checksum)) = (component.as_object_mut(), checksum) {
            component.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": checksum }]));
        }
        components.push(component);
    }
    let count = components.len();
    let version = env!("CARGO_PKG_VERSION");
    let bill = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": {
            "type": "application", "name": PROGRAM, "version": version, "purl": format!("pkg:cargo/{PROGRAM}@{version}"),
            "licenses": [{ "expression": "Apache-2.0" }],
        } },
        "components": components,
    });
    let kept = workspace::target().join("outrigger.cdx.json");
    std::fs::write(&kept, serde_json::to_string_pretty(&bill)?)?;
    progress(format_args!("{count} crates are linked into {PROGRAM} for {TARGET}"));
    print(kept.display());
    Ok(())
}

/// Returns name, version and license of every crate that is linked into the program.
fn linked() -> Result<BTreeSet<(String, String, String)>> {
    let mut tree = sh::line("cargo tree --locked --edges normal --prefix none --no-dedupe --format {p}|{l}");
    let printed =
        sh::output(tree.args(["--package", PROGRAM, "--target", TARGET]).current_dir(workspace::root()))?;
    let mut crates = BTreeSet::new();
    for line in printed.lines() {
        let (package, license) =
            line.split_once('|').with_context(|| format!("cargo tree printed {line:?}"))?;
        let mut words = package.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next())
            && name != PROGRAM
        {
            let by_text = BY_TEXT.iter().find(|(known, _)| license.is_empty() && *known == name);
            let license = by_text.map_or(license, |(_, license)| license);
            crates.insert((name.to_owned(), version.trim_start_matches('v').to_owned(), license.to_owned()));
        }
    }
    Ok(crates)
}

/// Returns the hash of a crate's archive from Cargo.lock.
fn checksum<'l>(locked: &'l str, name: &str, version: &str) -> Option<&'l str> {
    let head = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    let rest = locked.split_once(&head)?.1;
    let line = rest.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with("checksum"))?;
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_has_a_license_and_a_hash() -> Result<()> {
        let locked = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
        let crates = linked()?;
        assert!(crates.iter().any(|(name, ..)| name == "rustls") && crates.len() > 100, "{crates:?}");
        for (name, version, license) in crates {
            assert!(!license.is_empty(), "{name} has no license");
            let hash = checksum(&locked, &name, &version);
            assert!(hash.is_some_and(|hash| hash.len() == 64), "{name} {version} has no hash");
        }
        Ok(())
    }
}
