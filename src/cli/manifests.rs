//! Manifests from files, folders and standard input: YAML with several documents, JSON, and Lists.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::yaml::{self, Document, Object};

/// One object of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    /// File of the object, for messages.
    pub(super) source: Arc<str>,
    pub(super) object: Value,
    pub(super) origin: Origin,
}

/// The position of an object in a text.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) text: Arc<str>,
    /// Text of the YAML document, if it contains only this object.
    pub(super) written: Option<Arc<str>>,
    /// Index of the document, then the index in each enclosing List.
    pub(super) way: Vec<usize>,
}

impl Default for Origin {
    fn default() -> Self {
        Self { text: Arc::from(""), written: None, way: Vec::new() }
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

/// The texts of files. Their objects are parsed one at a time and as often as needed.
pub(super) struct Manifests(Vec<(Arc<str>, Arc<str>)>);

impl Manifests {
    /// Reads the texts of files and folders; `-` is standard input.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut texts: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
                texts.push(("standard input".into(), text.into()));
                continue;
            }
            for file in files(path)? {
                let text =
                    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                texts.push((file.display().to_string().into(), text.into()));
            }
        }
        Ok(Self(texts))
    }

    /// Parses the objects, in order. An item is an error if a text is not YAML or JSON of objects; it is then the last item.
    pub(super) fn objects(&self) -> impl Iterator<Item = anyhow::Result<Manifest>> {
        let mut failed = false;
        self.0.iter().flat_map(|(source, text)| parse(source, text)).take_while(move |read| {
            let goes_on = !failed;
            failed = read.is_err();
            goes_on
        })
    }
}

/// Returns a hash of the files' contents, without parsing objects.
///
/// # Errors
/// A file cannot be read.
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

/// Returns the file itself, or all manifests in a folder and its subfolders, sorted by name.
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

/// Parses the objects of a text.
fn parse<'a>(
    source: &'a Arc<str>,
    text: &'a Arc<str>,
) -> impl Iterator<Item = anyhow::Result<Manifest>> + use<'a> {
    yaml::documents(text).enumerate().flat_map(move |(index, document)| {
        let document = document.map_err(|error| unreadable(source, &error));
        let (failed, document) = match document {
            Ok(document) => (None, Some(document)),
            Err(error) => (Some(Err(error)), None),
        };
        let objects = document.into_iter().flat_map(move |document| {
            let written = match &document {
                Document::Yaml { text, .. } => Some(Arc::from(text.as_ref())),
                Document::Json { .. } => None,
            };
            document.objects().flat_map(move |object| {
                let object = object.map_err(|error| unreadable(source, &error));
                match object.and_then(|object| manifests(source, text, (index, written.as_ref()), object)) {
                    Ok(manifests) => manifests.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                }
            })
        });
        failed.into_iter().chain(objects)
    })
}

/// Returns the manifests of a parsed object: itself, or the items of a List.
fn manifests(
    source: &Arc<str>,
    text: &Arc<str>,
    (document, written): (usize, Option<&Arc<str>>),
    object: Object,
) -> anyhow::Result<Vec<Manifest>> {
    let written = written.filter(|_| object.index.is_none()).map(Arc::clone);
    let way = std::iter::once(document).chain(object.index).collect();
    let origin = Origin { text: Arc::clone(text), written, way };
    let mut found = Vec::new();
    take(source, object.value, origin, &mut found)?;
    Ok(found)
}

/// Returns the error for invalid YAML, with file and line first, as in compiler messages.
fn unreadable(source: &str, error: &yaml::Error) -> anyhow::Error {
    match error.line {
        0 => anyhow::anyhow!("{source}: {}", error.message),
        line => anyhow::anyhow!("{source}:{line}: {}", error.message),
    }
}

fn take(
    source: &Arc<str>,
    object: Value,
    origin: Origin,
    manifests: &mut Vec<Manifest>,
) -> anyhow::Result<()> {
    match object {
        Value::Null => {}
        Value::Object(mut map) if map.get("items").is_some_and(Value::is_array) => {
            if let Some(Value::Array(items)) = map.remove("items") {
                for (index, item) in items.into_iter().enumerate() {
                    let mut inner = Origin { written: None, ..origin.clone() };
                    inner.way.push(index);
                    take(source, item, inner, manifests)?;
                }
            }
        }
        Value::Object(map) if map.get("kind").is_some_and(Value::is_string) => {
            manifests.push(Manifest { source: Arc::clone(source), object: Value::Object(map), origin });
        }
        _ => bail!("{source} holds something that is not a Kubernetes object: it has no kind"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> anyhow::Result<Vec<String>> {
        let texts = Manifests(vec![("test".into(), text.into())]);
        texts.objects().map(|manifest| Ok(manifest?.kind().to_owned())).collect()
    }

    #[test]
    fn documents_lists_and_json_are_read() {
        assert_eq!(kinds("---\nkind: A\n---\n---\nkind: B\n").unwrap(), ["A", "B"]);
        assert_eq!(
            kinds("kind: List\nitems: [{kind: A}, {kind: PodList, items: [{kind: B}]}]").unwrap(),
            ["A", "B"]
        );
        assert_eq!(kinds("{\"kind\": \"A\"}").unwrap(), ["A"]);
        assert!(kinds("").unwrap().is_empty());
    }

    #[test]
    fn values_other_than_objects_are_rejected() {
        for (text, part) in [
            ("just text", "test holds something that is not a Kubernetes object"),
            ("[1]", "test holds something that is not a Kubernetes object"),
            ("a: 1", "it has no kind"),
            ("kind: 1", "it has no kind"),
            ("kind: [", "test:2: invalid YAML: did not find expected node content"),
            ("kind: A\nkind: B", "key \"kind\" is there twice"),
        ] {
            let error = format!("{:#}", kinds(text).unwrap_err());
            assert!(error.contains(part), "{text:?}: {part:?} is missing in {error}");
        }
    }
}
