//! The chart's copies of the profiles, and the table of the catalogue's page, made from the profiles' READMEs.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;

const COPIES: &str = "charts/outrigger/catalogue";
const PAGE: &str = "docs/catalogue.md";
/// What stands around the table in the page.
const BEGIN: &str = "<!-- The table is written by `cargo xtask generate`, from the profiles' READMEs. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

/// Every file with its text.
pub(super) fn files(header: &str) -> Result<Vec<(String, String)>> {
    let mut made = Vec::new();
    let mut rows = String::new();
    for name in names()? {
        let folder = workspace::root().join("profiles").join(&name);
        let profile = read(&folder.join("profile.yaml"))?;
        rows.push_str(&row(&name, &profile, &read(&folder.join("README.md"))?)?);
        made.push((format!("{COPIES}/{name}.yaml"), format!("{header}{profile}")));
    }
    let page = read(&workspace::root().join(PAGE))?;
    let (before, rest) =
        page.split_once(BEGIN).context("docs/catalogue.md has lost its table's first line")?;
    let (_, after) = rest.split_once(END).context("docs/catalogue.md has lost its table's last line")?;
    let head = "\n| profile | what it does | image | what its test showed |\n| --- | --- | --- | --- |\n";
    made.push((PAGE.to_owned(), format!("{before}{BEGIN}{head}{rows}\n{END}{after}")));
    Ok(made)
}

/// Copies of profiles that are no longer there.
pub(super) fn left_over() -> Result<Vec<String>> {
    let names = names()?;
    let Ok(copies) = std::fs::read_dir(workspace::root().join(COPIES)) else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    for copy in copies {
        let file = copy?.file_name().to_string_lossy().into_owned();
        if !file.strip_suffix(".yaml").is_some_and(|name| names.iter().any(|known| known == name)) {
            left.push(format!("{COPIES}/{file}"));
        }
    }
    Ok(left)
}

fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in std::fs::read_dir(workspace::root().join("profiles"))? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn row(name: &str, profile: &str, readme: &str) -> Result<String> {
    let what = paragraph_after(readme, &format!("# {name}"))
        .with_context(|| format!("{name}: the README has no title"))?;
    let showed = paragraph_after(readme, "## What was tested").unwrap_or_default();
    // Links of a README lead from its own folder.
    let relinked = |text: String| text.replace("](../", &format!("](../profiles/{name}/../"));
    let images: Vec<String> = images(profile).map(|image| format!("`{image}`")).collect();
    Ok(format!(
        "| [{name}](../profiles/{name}/) | {} | {} | {} |\n",
        relinked(what),
        images.join(", "),
        relinked(showed)
    ))
}

/// The defaults of the parameters that are images: what looks like one.
fn images(profile: &str) -> impl Iterator<Item = &str> {
    profile.lines().filter_map(|line| line.trim().strip_prefix("default: ")).filter(|value| {
        value
            .split_once('/')
            .is_some_and(|(host, path)| host.contains('.') && path.contains(':') && !host.contains(':'))
    })
}

/// The first paragraph below a heading, as one line that can stand in a table.
fn paragraph_after(text: &str, heading: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    lines.next()?;
    let paragraph: Vec<&str> =
        lines.map(str::trim).skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    Some(paragraph.join(" ").replace('|', "\\|"))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_the_readme_says() -> Result<()> {
        let readme =
            "# statsd\n\nTakes StatsD\nover UDP.\n\n## Use\n\nx\n\n## What was tested\n\nIt | works.\n";
        let profile =
            "    - name: image\n      default: docker.io/prom/statsd-exporter:v0.31.0\n      default: 9125\n";
        assert_eq!(
            row("statsd", profile, readme)?,
            "| [statsd](../profiles/statsd/) | Takes StatsD over UDP. | `docker.io/prom/statsd-exporter:v0.31.0` | It \\| works. |\n"
        );
        Ok(())
    }
}
