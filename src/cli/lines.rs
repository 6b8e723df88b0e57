//! Where in a file the fields of its objects stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The documents of a YAML file, with the place of everything in them.
pub(super) struct Lines(Vec<Spanned<Node>>);

enum Node {
    Fields(Vec<(Spanned<String>, Spanned<Node>)>),
    Items(Vec<Spanned<Node>>),
    Scalar,
}

impl Lines {
    /// Reads a file. One that cannot be read has no lines.
    pub(super) fn read(text: &str) -> Self {
        Self(serde_saphyr::from_multiple(text).unwrap_or_default())
    }

    /// The line of a field of an object, counted from 1; or else of what is nearest around it. `way` leads to
    /// the object: the document, then the index in each List around it.
    pub(super) fn find(&self, way: &[usize], path: &str) -> Option<u64> {
        let (document, items) = way.split_first()?;
        let mut at = self.0.get(*document)?;
        for index in items {
            let Node::Fields(fields) = &at.value else { return None };
            let (_, list) = fields.iter().find(|(name, _)| name.value == "items")?;
            let Node::Items(items) = &list.value else { return None };
            at = items.get(*index)?;
        }
        let mut line = at.referenced.line();
        let mut rest = path;
        while let Some((found, inner, left)) = step(&at.value, rest) {
            (line, at, rest) = (found, inner, left);
        }
        Some(line)
    }
}

/// One step down a path such as `spec.volumes[0].name`: the line, what stands there, and what is left. A key
/// may have dots in it, so the longest one that fits is taken.
fn step<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(u64, &'n Spanned<Node>, &'p str)> {
    match node {
        Node::Fields(fields) => {
            let fit = |name: &str| {
                let plain = path.trim_start_matches('.').strip_prefix(name);
                let plain = plain.filter(|left| left.is_empty() || left.starts_with(['.', '[']));
                plain.or_else(|| path.strip_prefix('[')?.strip_prefix(name)?.strip_prefix(']'))
            };
            let fitting = fields.iter().filter_map(|(name, inner)| {
                Some((name.referenced.line(), inner, fit(&name.value).filter(|_| !name.value.is_empty())?))
            });
            fitting.min_by_key(|(_, _, left)| left.len())
        }
        Node::Items(items) => {
            let (index, left) = path.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item.referenced.line(), item, left))
        }
        Node::Scalar => None,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Fields(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::Items(items))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_every_document_and_list() {
        let text = "\
kind: A
spec:
  volumes:
    - name: one
      emptyDir: {}
    - name: two
---
kind: List
items:
  - kind: B
    metadata:
      labels: {a.b/c: d}
  - {kind: C,
     n: 1, t: true, x: null}
";
        let lines = Lines::read(text);
        for (way, path, line) in [
            (&[0][..], "spec", 2),
            (&[0], "spec.volumes[0].emptyDir", 5),
            (&[0], "spec.volumes[1]", 6),
            (&[0], "spec.volumes[1].absent.deeper", 6),
            (&[0], "absent", 1),
            (&[1, 0], "metadata.labels.a.b/c", 12),
            (&[1, 0], "metadata.labels[a.b/c]", 12),
            (&[1, 1], "x", 14),
        ] {
            assert_eq!(lines.find(way, path), Some(line), "{way:?} {path}");
        }
        assert_eq!(lines.find(&[7], "spec"), None);
        assert_eq!(Lines::read("a: [").find(&[0], "a"), None);
    }
}
