//! What Outrigger is made of: whether its dependencies may be there (`cargo xtask deny`), and a list of them
//! (`cargo xtask sbom`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::args::Args;
use crate::report::{progress, say};
use crate::tools::installed;
use crate::{sh, workspace};

const CARGO_DENY: &str = "0.20.2";
/// The image's program.
const PROGRAM: &str = "outrigger";
/// The platform of the image's binary.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The licenses of crates that have only the text of one.
const BY_TEXT: [(&str, &str); 1] = [("libyaml-safer", "MIT")];

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
///
/// It is made from what Cargo says it links: tools that read Cargo's metadata mix in what other members of the workspace
/// switch on.
/// <https://cyclonedx.org/docs/1.5/json/>
pub(crate) fn sbom(args: Args) -> Result<()> {
    args.end(&[])?;
    let mut components = Vec::new();
    let locked = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    for (name, version, licence) in linked()? {
        let mut component = json!({
            "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
            "licenses": [{ "expression": licence.replace('/', " OR ") }],
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
    say(kept.display());
    Ok(())
}

/// Name, version and licence of every crate that is linked into the program.
fn linked() -> Result<BTreeSet<(String, String, String)>> {
    let mut tree = sh::line("cargo tree --locked --edges normal --prefix none --no-dedupe --format {p}|{l}");
    let said =
        sh::output(tree.args(["--package", PROGRAM, "--target", TARGET]).current_dir(workspace::root()))?;
    let mut crates = BTreeSet::new();
    for line in said.lines() {
        let (package, licence) = line.split_once('|').with_context(|| format!("cargo tree says {line:?}"))?;
        let mut words = package.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next())
            && name != PROGRAM
        {
            let by_text = BY_TEXT.iter().find(|(known, _)| licence.is_empty() && *known == name);
            let licence = by_text.map_or(licence, |(_, licence)| licence);
            crates.insert((name.to_owned(), version.trim_start_matches('v').to_owned(), licence.to_owned()));
        }
    }
    Ok(crates)
}

/// The hash of a crate's archive, as Cargo.lock has it.
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
    fn every_crate_that_is_linked_is_listed_with_its_hash() -> Result<()> {
        let locked = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
        let crates = linked()?;
        assert!(crates.iter().any(|(name, ..)| name == "rustls") && crates.len() > 100, "{crates:?}");
        for (name, version, licence) in crates {
            assert!(!licence.is_empty(), "{name} has no licence");
            let hash = checksum(&locked, &name, &version);
            assert!(hash.is_some_and(|hash| hash.len() == 64), "{name} {version} has no hash");
        }
        Ok(())
    }
}
