//! Steps that need only Cargo.

use anyhow::Result;

use super::commits;
use super::run::Run;
use crate::images::{self, Profile};
use crate::{sh, supply, workspace};

/// Steps with their commands. The first ones fail fastest.
const COMMANDS: [(&str, &str); 4] = [
    ("format", "cargo fmt --all -- --check"),
    // Checks that the engine builds without the dependencies that do I/O.
    ("engine", "cargo check --quiet --locked --package outrigger --no-default-features"),
    ("clippy", "cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings"),
    ("unit", "cargo test --quiet --no-fail-fast --workspace --exclude e2e --locked"),
];

/// Runs all of these steps, and builds Outrigger's image early if a later step needs it.
pub(super) fn all(run: &Run) {
    run.step("commits", commits::check);
    for (name, command) in COMMANDS {
        run.step(name, || cargo(command, if name == "unit" { run.test_names() } else { &[] }));
    }
    run.step("deny", || supply::check(false));
    if run.wants("e2e") || run.wants("chart") {
        // The steps that need the image report an error.
        drop(images::product(Profile::EndToEnd));
    }
}

fn cargo(command: &str, more: &[String]) -> Result<()> {
    sh::interactive(sh::line(command).args(more).current_dir(workspace::root()))
}
