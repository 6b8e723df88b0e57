use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;

use crate::yaml;

/// Arguments of `outrigger crds`.
#[derive(Debug, Args)]
pub(super) struct Crds {}

impl Crds {
    #[expect(clippy::unused_self, reason = "every command runs the same way")]
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        for definition in crate::api::crds() {
            let definition =
                serde_json::to_value(&definition).context("cannot write the definition as JSON")?;
            let yaml = yaml::write(&definition).context("cannot write the definition as YAML")?;
            write!(out, "---\n{yaml}").context("cannot write to stdout")?;
        }
        Ok(())
    }
}
