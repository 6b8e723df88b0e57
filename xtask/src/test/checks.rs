//! The steps that need nothing but Cargo.

use anyhow::Result;

use super::commits;
use super::run::Run;
use crate::images::{self, Profile};
use crate::{sh, supply, workspace};

/// Each step and its command, the quickest to fail first.
const COMMANDS: [(&str, &str); 4] = [
    ("format", "cargo fmt --all -- --check"),
    // The engine does no I/O, so it builds without everything that does.
    ("engine", "cargo check --quiet --locked --package outrigger --no-default-features"),
    ("clippy", "cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings"),
    ("unit", "cargo test --quiet --no-fail-fast --workspace --exclude e2e --locked"),
];

/// Runs them all, and the build of the product's image, which the cluster will want.
pub(super) fn all(run: &Run) {
    run.step("commits", commits::check);
    for (name, command) in COMMANDS {
        run.step(name, || cargo(command, if name == "unit" { run.test_names() } else { &[] }));
    }
    run.step("deny", || supply::check(false));
    if run.wants("e2e") || run.wants("chart") {
        // Whoever needs the image reports the error; here it only has to be built early.
        drop(images::product(Profile::EndToEnd));
    }
}

fn cargo(command: &str, more: &[String]) -> Result<()> {
    sh::interactive(sh::line(command).args(more).current_dir(workspace::root()))
}
