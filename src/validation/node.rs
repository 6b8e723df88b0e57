//! Values with their paths, and the problems found in them.

use std::fmt;

use serde_json_borrow::ObjectAsVec;

use crate::json::{Json, field, items, text};

/// Value that the API server rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Path of the value inside the element; empty for the element itself.
    pub(crate) path: String,
    /// Path of the innermost object or value that holds everything that the rule reads.
    pub(crate) scope: String,
    /// Value, rule and remedy.
    pub(crate) message: String,
}

/// Problems in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Problem>);

/// Path that is formatted only for a problem.
pub(super) enum Path<'p> {
    Root,
    Field(&'p Self, &'p str),
    Item(&'p Self, usize),
    Key(&'p Self, &'p str),
}

/// Value with its path.
#[derive(Clone, Copy)]
pub(super) struct FieldNode<'p, 'v> {
    pub(super) value: &'v Json<'v>,
    path: &'p Path<'p>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

impl<'p, 'v> FieldNode<'p, 'v> {
    pub(super) fn root(value: &'v Json<'v>, path: &'p Path<'p>) -> Self {
        Self { value, path }
    }

    /// Returns the value of a field that is present and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'v Json<'v>> {
        field(self.value, name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the text of a field; empty if it is missing, as in Kubernetes' own types.
    pub(super) fn text(&self, name: &str) -> &'v str {
        text(self.value, name).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Json::as_bool) == Some(true)
    }

    pub(super) fn is_false(&self, name: &str) -> bool {
        self.get(name).and_then(Json::as_bool) == Some(false)
    }

    /// Returns the elements of the list in a field.
    pub(super) fn list(&self, name: &str) -> &'v [Json<'v>] {
        items(self.get(name))
    }

    /// Calls `visit` with a field that is present.
    pub(super) fn with(&self, name: &str, visit: impl FnOnce(FieldNode<'_, 'v>)) {
        if let Some(value) = self.get(name) {
            visit(FieldNode { value, path: &Path::Field(self.path, name) });
        }
    }

    /// Calls `visit` with each element of the list in a field.
    pub(super) fn each(&self, name: &str, mut visit: impl FnMut(FieldNode<'_, 'v>)) {
        let list = Path::Field(self.path, name);
        for (index, value) in self.list(name).iter().enumerate() {
            visit(FieldNode { value, path: &Path::Item(&list, index) });
        }
    }

    /// Calls `visit` with each key and value of the map in a field.
    pub(super) fn entries(&self, name: &str, mut visit: impl FnMut(&'v str, FieldNode<'_, 'v>)) {
        let map = Path::Field(self.path, name);
        let fields = self.get(name).and_then(Json::as_object);
        for (key, value) in fields.into_iter().flat_map(ObjectAsVec::iter) {
            visit(key, FieldNode { value, path: &Path::Key(&map, key) });
        }
    }

    /// Returns the names of the present fields, except `others`, for a structure that must have exactly one of several fields.
    pub(super) fn sources(&self, others: &[&str]) -> Vec<&'v str> {
        let fields = self.value.as_object().into_iter().flat_map(ObjectAsVec::iter);
        let present = fields.filter(|(name, value)| !value.is_null() && !others.contains(name));
        present.map(|(name, _)| name).collect()
    }
}

impl Report {
    /// Reports an invalid value.
    pub(super) fn invalid(&mut self, node: FieldNode<'_, '_>, message: impl fmt::Display) {
        let path = node.path.to_string();
        self.0.push(Problem { scope: path.clone(), path, message: message.to_string() });
    }

    /// Reports an invalid or missing field, independent of other fields.
    pub(super) fn field(&mut self, node: FieldNode<'_, '_>, name: &str, message: impl fmt::Display) {
        let path = Path::Field(node.path, name).to_string();
        self.0.push(Problem { scope: path.clone(), path, message: message.to_string() });
    }

    /// Reports a field that is invalid or missing in combination with other fields of the node.
    pub(super) fn relation(&mut self, node: FieldNode<'_, '_>, name: &str, message: impl fmt::Display) {
        let path = Path::Field(node.path, name).to_string();
        self.0.push(Problem { path, scope: node.path.to_string(), message: message.to_string() });
    }

    /// Reports a value that is invalid in combination with other parts of the outer node.
    pub(super) fn relation_in(
        &mut self,
        outer: FieldNode<'_, '_>,
        node: FieldNode<'_, '_>,
        message: impl fmt::Display,
    ) {
        let (path, scope) = (node.path.to_string(), outer.path.to_string());
        self.0.push(Problem { path, scope, message: message.to_string() });
    }

    /// Reports a required text that is missing or empty.
    pub(super) fn require(&mut self, node: FieldNode<'_, '_>, names: &[&str]) {
        for name in names.iter().filter(|name| node.text(name).is_empty()) {
            self.field(node, name, "is required and must not be empty; set it");
        }
    }

    /// Reports a text that is not one of `allowed`. An empty text counts as missing: the API server sets the default.
    pub(super) fn choice(&mut self, node: FieldNode<'_, '_>, name: &str, allowed: &[&str]) {
        let text = node.text(name);
        if !text.is_empty() && !allowed.contains(&text) {
            self.field(
                node,
                name,
                format_args!("{} is not supported; write {}", quoted(text), either(allowed)),
            );
        }
    }

    /// Reports a text that is not one of `allowed`; an empty text is reported as well.
    pub(super) fn choice_not_empty(&mut self, node: FieldNode<'_, '_>, name: &str, allowed: &[&str]) {
        if node.get(name).and_then(Json::as_str) == Some("") {
            self.field(node, name, format_args!("\"\" is not supported; write {}", either(allowed)));
        }
        self.choice(node, name, allowed);
    }

    /// Reports a number outside a range.
    pub(super) fn range(&mut self, node: FieldNode<'_, '_>, name: &str, low: i64, high: i64) {
        if let Some(number) = node.number(name).filter(|number| !(low..=high).contains(number)) {
            self.field(
                node,
                name,
                format_args!("{number} is not between {low} and {high}; write such a number"),
            );
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}

/// Returns the choices as `A, B or C`.
fn either(choices: &[&str]) -> String {
    match choices {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => choices.concat(),
    }
}

/// Returns a quoted and truncated text.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
