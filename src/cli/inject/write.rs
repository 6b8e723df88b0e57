//! Output of objects to standard output, one at a time.

use std::io::Write;

use anyhow::Context as _;
use serde_json::Value;

use super::output::Output;
use crate::cli::manifests::Manifest;
use crate::yaml;

/// The output format and stream.
pub(super) struct Writer<W> {
    stream: W,
    output: Output,
    /// First object of JSON output, which is printed without a List if no other follows.
    first: Option<Value>,
    count: usize,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(stream: W, output: Output) -> Self {
        Self { stream, output, first: None, count: 0 }
    }

    /// Writes an unchanged object: a YAML document keeps its text and comments.
    pub(super) fn unchanged(&mut self, manifest: Manifest) -> anyhow::Result<()> {
        let Some(text) = manifest.origin.written.filter(|_| matches!(self.output, Output::Yaml)) else {
            return self.object(manifest.object);
        };
        if !text.starts_with("---") {
            self.text("---\n")?;
        }
        self.text(&text)?;
        if text.ends_with('\n') { Ok(()) } else { self.text("\n") }
    }

    /// Writes an object.
    pub(super) fn object(&mut self, object: Value) -> anyhow::Result<()> {
        match self.output {
            Output::Yaml => {
                let document = yaml::write(&object)?;
                self.text("---\n")?;
                self.text(&document)
            }
            Output::Json => {
                self.count += 1;
                match (self.count, self.first.take()) {
                    (1, _) => {
                        self.first = Some(object);
                        Ok(())
                    }
                    (_, Some(first)) => {
                        self.text("{\n  \"apiVersion\": \"v1\",\n  \"items\": [\n")?;
                        self.item(&first)?;
                        self.text(",\n")?;
                        self.item(&object)
                    }
                    (_, None) => {
                        self.text(",\n")?;
                        self.item(&object)
                    }
                }
            }
        }
    }

    /// Writes an item of a List.
    fn item(&mut self, object: &Value) -> anyhow::Result<()> {
        let lines = serde_json::to_string_pretty(object)?.replace('\n', "\n    ");
        self.text("    ")?;
        self.text(&lines)
    }

    /// Completes JSON output: one object, or a List of several or none.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        match (self.output, self.first.take(), self.count) {
            (Output::Yaml, ..) => Ok(()),
            (Output::Json, Some(only), _) => {
                let text = serde_json::to_string_pretty(&only)? + "\n";
                self.text(&text)
            }
            (Output::Json, None, 0) => {
                self.text("{\n  \"apiVersion\": \"v1\",\n  \"items\": [],\n  \"kind\": \"List\"\n}\n")
            }
            (Output::Json, None, _) => self.text("\n  ],\n  \"kind\": \"List\"\n}\n"),
        }
    }

    /// Writes text.
    pub(super) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream.write_all(text.as_bytes()).context("cannot write to stdout")
    }

    /// Flushes the stream.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.flush().context("cannot write to stdout")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cli::manifests::Origin;

    fn written(output: Output, objects: &[Value]) -> String {
        let mut writer = Writer::new(Vec::new(), output);
        for object in objects {
            writer.object(object.clone()).unwrap();
        }
        writer.end().unwrap();
        String::from_utf8(writer.stream).unwrap()
    }

    #[test]
    fn json_is_one_document() {
        let objects =
            [json!({ "kind": "A", "text": "a\nb" }), json!({ "kind": "B" }), json!({ "kind": "C" })];
        for count in 0..=objects.len() {
            let expected = match count {
                1 => objects[0].clone(),
                _ => json!({ "apiVersion": "v1", "kind": "List", "items": objects[..count] }),
            };
            let text = written(Output::Json, &objects[..count]);
            assert_eq!(text, serde_json::to_string_pretty(&expected).unwrap() + "\n");
        }
    }

    #[test]
    fn an_unchanged_document_keeps_its_comments() {
        for (text, expected) in [
            ("# a\nkind: A # b", "---\n# a\nkind: A # b\n"),
            ("---\nkind: A\n\n", "---\nkind: A\n\n"),
            ("--- # a\nkind: A\n", "--- # a\nkind: A\n"),
        ] {
            let mut writer = Writer::new(Vec::new(), Output::Yaml);
            let origin = Origin { written: Some(Arc::from(text)), ..Origin::default() };
            let manifest = Manifest { source: Arc::from("test"), object: json!({ "kind": "A" }), origin };
            writer.unchanged(manifest).unwrap();
            assert_eq!(String::from_utf8(writer.stream).unwrap(), expected);
        }
    }
}
