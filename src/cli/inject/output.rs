use clap::ValueEnum;

/// The output format of objects.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Output {
    /// One YAML document per object
    #[default]
    Yaml,
    /// One JSON object; a List of several
    Json,
}
