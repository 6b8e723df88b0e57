//! YAML and JSON as kubectl reads them.
//!
//! kubectl splits a stream at the lines that begin with `---` and converts each document to JSON by sigs.k8s.io/yaml, which is
//! go-yaml 2: YAML 1.1, in which `0400` is 256 and `yes` is true. Manifests are applied by
//! kubectl, so every manifest is read the same way here. The test `yaml` in `e2e/tests` compares the two.
//!
//! go-yaml is a port of libyaml; `libyaml-safer` 0.3 is a port in safe Rust, with the same grammar. The YAML 1.2 crates
//! (serde-saphyr 2, yaml-rust2 0.13) resolve scalars by other rules, and serde-saphyr rejects files of more than 250,000
//! nodes.
//!
//! Two inputs from which kubectl silently drops data are errors: a duplicate key in a mapping, and text after the end of a
//! document (`...`). The YAML 1.2 escape `\/`, which go-yaml rejects, is accepted.

mod compose;
mod documents;
mod error;
mod json;
mod lines;
mod objects;
mod scalar;
mod write;

use serde_json::Value;

pub(crate) use compose::{Kind, Node};
pub(crate) use documents::{Document, documents};
pub(crate) use error::Error;
pub(crate) use objects::Object;
pub(crate) use write::write;

/// Parses a text with one document, or none, which is null.
///
/// # Errors
/// The text is not valid YAML, or has a second document.
pub(crate) fn read(text: &str) -> Result<Value, Error> {
    let mut documents = documents(text);
    let Some(first) = documents.next() else { return Ok(Value::Null) };
    let value = first?.read()?;
    match documents.next() {
        None => Ok(value),
        Some(Err(error)) => Err(error),
        Some(Ok(second)) => Err(Error::at(second.line(), "there is a second document; write one")),
    }
}

#[cfg(test)]
mod tests;
