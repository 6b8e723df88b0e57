//! Manifests as people have them: files, folders, standard input; YAML with several documents, JSON, Lists.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::yaml;

/// One object of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    /// The file that it stands in, for messages.
    pub(super) source: String,
    pub(super) object: Value,
    pub(super) origin: Origin,
}

/// Where in a text an object stands.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) text: Arc<str>,
    /// The document, then the index in each List around the object.
    pub(super) way: Vec<usize>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { text: Arc::from(""), way: Vec::new() }
    }
}

impl Manifest {
    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(super) fn name(&self) -> &str {
        let name = self.text("/metadata/name");
        if name.is_empty() { self.text("/metadata/generateName") } else { name }
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        Some(self.text("/metadata/namespace")).filter(|namespace| !namespace.is_empty())
    }

    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads every object of the files and folders; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, or that is no YAML of objects.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            parse("standard input", &text, &mut manifests)?;
            continue;
        }
        for file in files(path)? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            parse(&file.display().to_string(), &text, &mut manifests)?;
        }
    }
    Ok(manifests)
}

/// Tells the contents of the files from others, without reading objects.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn fingerprint(paths: &[PathBuf]) -> anyhow::Result<u64> {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        for file in files(path)? {
            let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            (file, text).hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

/// The file itself, or the manifests directly in a folder and below it, in the order of their names.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot read the folder {}", path.display()))?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if ["yaml", "yml", "json"].contains(&extension) {
            found.push(entry);
        }
    }
    Ok(found)
}

fn parse(source: &str, text: &str, manifests: &mut Vec<Manifest>) -> anyhow::Result<()> {
    let whole: Arc<str> = Arc::from(text);
    for (index, document) in yaml::documents(text).enumerate() {
        let object = document.and_then(yaml::Document::read).map_err(|error| unreadable(source, &error))?;
        take(source, object, Origin { text: Arc::clone(&whole), way: vec![index] }, manifests)?;
    }
    Ok(())
}

/// The error for a text that is no YAML: file and line first, as compilers write it.
fn unreadable(source: &str, error: &yaml::Error) -> anyhow::Error {
    match error.line {
        0 => anyhow::anyhow!("{source}: {}", error.message),
        line => anyhow::anyhow!("{source}:{line}: {}", error.message),
    }
}

fn take(source: &str, object: Value, origin: Origin, manifests: &mut Vec<Manifest>) -> anyhow::Result<()> {
    match object {
        Value::Null => {}
        Value::Object(mut map) if map.get("items").is_some_and(Value::is_array) => {
            if let Some(Value::Array(items)) = map.remove("items") {
                for (index, item) in items.into_iter().enumerate() {
                    let mut inner = origin.clone();
                    inner.way.push(index);
                    take(source, item, inner, manifests)?;
                }
            }
        }
        Value::Object(map) if map.get("kind").is_some_and(Value::is_string) => {
            manifests.push(Manifest { source: source.to_owned(), object: Value::Object(map), origin });
        }
        _ => bail!("{source} holds something that is not a Kubernetes object: it has no kind"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> anyhow::Result<Vec<String>> {
        let mut manifests = Vec::new();
        parse("test", text, &mut manifests)?;
        Ok(manifests.iter().map(|manifest| manifest.kind().to_owned()).collect())
    }

    #[test]
    fn documents_lists_and_json() {
        assert_eq!(kinds("---\nkind: A\n---\n---\nkind: B\n").unwrap(), ["A", "B"]);
        assert_eq!(
            kinds("kind: List\nitems: [{kind: A}, {kind: PodList, items: [{kind: B}]}]").unwrap(),
            ["A", "B"]
        );
        assert_eq!(kinds("{\"kind\": \"A\"}").unwrap(), ["A"]);
        assert!(kinds("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["just text", "[1]", "a: 1", "kind: [", "kind: A\nkind: B"] {
            let error = kinds(text).unwrap_err().to_string();
            assert!(error.starts_with("test"), "{error}");
        }
    }
}
