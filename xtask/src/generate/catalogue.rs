//! The chart's copies of the profiles, and the table of the catalogue's page, which is made from the profiles' READMEs.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;

const COPIES: &str = "charts/outrigger/catalogue";
const PAGE: &str = "docs/catalogue.md";
/// Markers before and after the table in the page.
const BEGIN: &str = "<!-- The table is written by `cargo xtask generate`, from the profiles' READMEs. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

/// Returns all generated files with their content.
pub(super) fn files(header: &str) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut rows = String::new();
    for name in names()? {
        let folder = workspace::root().join("profiles").join(&name);
        let profile = read(&folder.join("profile.yaml"))?;
        rows.push_str(&row(&name, &profile, &read(&folder.join("README.md"))?)?);
        files.push((format!("{COPIES}/{name}.yaml"), format!("{header}{profile}")));
    }
    let page = read(&workspace::root().join(PAGE))?;
    let (before, rest) =
        page.split_once(BEGIN).context("docs/catalogue.md lacks the line before the table")?;
    let (_, after) = rest.split_once(END).context("docs/catalogue.md lacks the line after the table")?;
    let head = "\n| profile | description | image | test |\n| --- | --- | --- | --- |\n";
    files.push((PAGE.to_owned(), format!("{before}{BEGIN}{head}{rows}\n{END}{after}")));
    Ok(files)
}

/// Returns the copies whose profile no longer exists.
pub(super) fn stale_copies() -> Result<Vec<String>> {
    let names = names()?;
    let Ok(copies) = std::fs::read_dir(workspace::root().join(COPIES)) else { return Ok(Vec::new()) };
    let mut stale = Vec::new();
    for copy in copies {
        let file = copy?.file_name().to_string_lossy().into_owned();
        if !file.strip_suffix(".yaml").is_some_and(|name| names.iter().any(|known| known == name)) {
            stale.push(format!("{COPIES}/{file}"));
        }
    }
    Ok(stale)
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
    let description = paragraph_after(readme, &format!("# {name}"))
        .with_context(|| format!("{name}: the README has no title"))?;
    let tested = paragraph_after(readme, "## What was tested").unwrap_or_default();
    // Links in a README are relative to its own directory.
    let relinked = |text: String| text.replace("](../", &format!("](../profiles/{name}/../"));
    let images: Vec<String> = images(profile).map(|image| format!("`{image}`")).collect();
    Ok(format!(
        "| [{name}](../profiles/{name}/) | {} | {} | {} |\n",
        relinked(description),
        images.join(", "),
        relinked(tested)
    ))
}

/// Returns the defaults of image parameters, recognized by their form.
fn images(profile: &str) -> impl Iterator<Item = &str> {
    profile.lines().filter_map(|line| line.trim().strip_prefix("default: ")).filter(|value| {
        value
            .split_once('/')
            .is_some_and(|(host, path)| host.contains('.') && path.contains(':') && !host.contains(':'))
    })
}

/// Returns the first paragraph below a heading as one line, escaped for a table.
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
    fn a_row_has_the_paragraphs_of_the_readme() -> Result<()> {
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
