use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;

/// The JSON Schema of profiles, which `cargo xtask generate` writes: the code that makes it would add 1 MB to the binary.
const SCHEMA: &str = include_str!("../../manifests/profile.schema.json");

/// Arguments of `outrigger schema`.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES\n  outrigger schema > profile.schema.json")]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "every command runs the same way")]
    pub(super) fn run(self) -> anyhow::Result<()> {
        std::io::stdout().lock().write_all(SCHEMA.as_bytes()).context("cannot write to stdout")
    }
}
