//! Line numbers of the fields of objects in a file.

use crate::yaml::{self, Kind, Node};

/// A document with the lines of all its values.
pub(super) struct Lines(Node);

impl Lines {
    /// Parses the document with this index in a text; `None` if it is invalid.
    pub(super) fn read(text: &str, index: usize) -> Option<Self> {
        yaml::documents(text).nth(index)?.and_then(|document| document.node()).ok().map(Self)
    }

    /// Returns the line of an object's field, counted from 1, or of the nearest field around it. `items` is the path to the
    /// object: its index in each enclosing List.
    pub(super) fn find(&self, items: &[usize], path: &str) -> Option<u64> {
        let mut at = &self.0;
        for index in items {
            let Kind::Fields(fields) = &at.kind else { return None };
            let (_, _, list) = fields.iter().find(|(name, ..)| name == "items")?;
            let Kind::Items(items) = &list.kind else { return None };
            at = items.get(*index)?;
        }
        let mut line = at.line;
        let mut rest = path;
        while let Some((found, inner, left)) = step(at, rest) {
            (line, at, rest) = (found, inner, left);
        }
        Some(line)
    }
}

/// Resolves one step of a path such as `spec.volumes[0].name`. Returns the line, the value and the rest of the path. Keys may
/// contain dots, so the longest matching key is used.
fn step<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(u64, &'n Node, &'p str)> {
    match &node.kind {
        Kind::Fields(fields) => {
            let fit = |name: &str| {
                let plain = path.trim_start_matches('.').strip_prefix(name);
                let plain = plain.filter(|left| left.is_empty() || left.starts_with(['.', '[']));
                plain.or_else(|| path.strip_prefix('[')?.strip_prefix(name)?.strip_prefix(']'))
            };
            let fitting = fields.iter().filter_map(|(name, line, inner)| {
                Some((*line, inner, fit(name).filter(|_| !name.is_empty())?))
            });
            fitting.min_by_key(|(_, _, left)| left.len())
        }
        Kind::Items(items) => {
            let (index, left) = path.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item.line, item, left))
        }
        Kind::Scalar(_) => None,
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
            let lines = Lines::read(text, way[0]).unwrap();
            assert_eq!(lines.find(&way[1..], path), Some(line), "{way:?} {path}");
        }
        assert_eq!(Lines::read(text, 1).unwrap().find(&[7], "spec"), None);
        assert!(Lines::read(text, 7).is_none() && Lines::read("a: [", 0).is_none());
    }
}
