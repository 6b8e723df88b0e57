//! A value of a template: JSON with expressions in some of its strings.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Rendered;
use super::finding::Findings;
use crate::expression::{Budget, Reads, Scope, Text, Variables};
use crate::json::{self, Json, lent, owned, same};

/// A value of a template, compiled. What has no expression in it is not looked at again on a request.
#[derive(Clone, Debug)]
pub struct TemplateValue {
    node: Node,
    /// What is written for it, if it has no expression in it.
    text: Option<Box<RawValue>>,
}

#[derive(Clone, Debug)]
enum Node {
    Literal(Json<'static>),
    /// A text whose expression does not compile.
    Broken,
    Text(Box<Leaf>),
    List(Box<[Node]>),
    Map(Box<[(Box<str>, Node)]>),
}

/// A string with an expression in it.
#[derive(Clone, Debug)]
struct Leaf {
    text: Text,
    /// Where it stands, from the profile's root.
    path: String,
    /// Whether the kubelet expands references to variables, `$(NAME)`, in the rendered text.
    is_expanded: bool,
}

impl Leaf {
    fn render(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<Value, Failed> {
        let path = || self.path.clone();
        let rendered = self.text.render(variables, budget).map_err(|error| Failed {
            path: path(),
            column: error.column,
            message: error.message,
            is_stated: error.is_stated,
        })?;
        let foreign = if self.is_expanded { self.text.foreign_reference(&rendered, variables) } else { None };
        let Some(mut name) = foreign else { return Ok(rendered) };
        if let Some((end, _)) = name.char_indices().nth(LONGEST_NAME) {
            name.truncate(end);
            name.push('…');
        }
        let message = format!(
            "this gives $({name}), where the kubelet would put the value of that variable; write the reference in the profile, or set allowExpansion for the parameter that brings it"
        );
        Err(Failed { path: path(), column: 1, message, is_stated: false })
    }
}

/// The characters of a variable's name that a message repeats.
const LONGEST_NAME: usize = 80;

/// What becomes of an expression that fails: it, and what it reads; nothing for one that does not compile.
pub(super) type OnFailure<'f> = dyn FnMut(Option<(Failed, &Reads)>) + 'f;

/// An expression that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The field that holds it, from the profile's root.
    pub path: String,
    /// Where in the field's text, counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// True if the message is in the words of the profile's author, by `fail`.
    pub is_stated: bool,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_stated {
            return f.write_str(&self.message);
        }
        write!(f, "{}, column {}: {}", self.path, self.column, self.message)
    }
}

impl TemplateValue {
    /// Compiles a value; expressions that are wrong become findings.
    pub(super) fn compile(value: &Value, path: &str, scope: &Scope<'_>, findings: &mut Findings) -> Self {
        Self::of(compile(value, path, scope, findings))
    }

    /// A value without expressions.
    pub(super) fn literal(value: Value) -> Self {
        Self::of(Node::Literal(owned(value)))
    }

    fn of(node: Node) -> Self {
        let text = match &node {
            Node::Literal(value) => serde_json::value::to_raw_value(value).ok(),
            _ => None,
        };
        Self { node, text }
    }

    /// The value, if it has no expression in it.
    pub fn as_literal(&self) -> Option<Rendered<'_>> {
        match (&self.node, &self.text) {
            (Node::Literal(value), Some(text)) => Some(Rendered::Literal { value, text }),
            _ => None,
        }
    }

    /// Returns the JSON of a value that has no expression in it.
    pub(crate) fn literal_json(&self) -> Option<&Json<'static>> {
        match &self.node {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The value for one pod. A part that gives null is left out.
    ///
    /// # Errors
    /// An expression that fails.
    pub fn render(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<Rendered<'_>, Failed> {
        if let Some(literal) = self.as_literal() {
            return Ok(literal);
        }
        let mut tolerate = |failed| Err(failed);
        let rendered = render(&self.node, variables, budget, &mut tolerate)?;
        Ok(Rendered::Made(rendered.unwrap_or_default()))
    }

    /// The value as far as it can be known: a part whose expression fails is left out and told to `failed`;
    /// so is one that does not compile, without words.
    pub(super) fn render_what_can_be(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
        failed: &mut OnFailure<'_>,
    ) -> Json<'_> {
        let mut tolerate = |failure: Failed| {
            failed(self.leaf_at(&failure.path).map(|leaf| (failure, leaf.reads())));
            Ok(())
        };
        render(&self.node, variables, budget, &mut tolerate).ok().flatten().unwrap_or_default()
    }

    /// Whether some values make `actual` of it.
    pub fn could_be(&self, actual: &Json<'_>) -> bool {
        could_be(&self.node, actual)
    }

    /// Whether some values make a field of it this text.
    pub fn field_could_be(&self, name: &str, text: &str) -> bool {
        match &self.node {
            Node::Literal(value) => json::text(value, name) == Some(text),
            Node::Map(fields) => match fields.iter().find(|(field, _)| **field == *name) {
                Some((_, Node::Literal(value))) => value.as_str() == Some(text),
                Some((_, Node::Text(leaf))) => leaf.text.could_be(text),
                _ => false,
            },
            Node::Text(_) | Node::List(_) | Node::Broken => false,
        }
    }

    /// The text in a field of it, where no expression stands there.
    pub fn literal_field(&self, name: &str) -> Option<&str> {
        match &self.node {
            Node::Literal(value) => json::text(value, name),
            Node::Map(fields) => match fields.iter().find(|(field, _)| **field == *name) {
                Some((_, Node::Literal(value))) => value.as_str(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Its leaves with expressions: where they stand, and what they read.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (&str, &Reads)> {
        let mut all = Vec::new();
        collect(&self.node, &mut all);
        all.into_iter().map(|leaf| (leaf.path.as_str(), leaf.text.reads()))
    }

    fn leaf_at(&self, path: &str) -> Option<&Text> {
        let mut all = Vec::new();
        collect(&self.node, &mut all);
        all.into_iter().find(|leaf| leaf.path == path).map(|leaf| &leaf.text)
    }
}

fn could_be(node: &Node, actual: &Json<'_>) -> bool {
    match (node, actual) {
        (Node::Literal(value), actual) => same(value, actual),
        (Node::Text(leaf), Json::Str(text)) => leaf.text.could_be(text),
        (Node::Text(leaf), actual) => leaf.text.could_be(&actual.to_string()),
        (Node::List(items), Json::Array(actual)) => {
            // An item that gives null is left out.
            actual.len() <= items.len()
                && items.iter().zip(actual).all(|(item, actual)| could_be(item, actual))
        }
        (Node::Map(fields), Json::Object(actual)) => actual.iter().all(|(name, value)| {
            fields.iter().any(|(field, node)| **field == *name && could_be(node, value))
        }),
        _ => false,
    }
}

fn collect<'n>(node: &'n Node, leaves: &mut Vec<&'n Leaf>) {
    match node {
        Node::Literal(_) | Node::Broken => {}
        Node::Text(leaf) => leaves.push(leaf),
        Node::List(items) => items.iter().for_each(|item| collect(item, leaves)),
        Node::Map(fields) => fields.iter().for_each(|(_, inner)| collect(inner, leaves)),
    }
}

fn compile(value: &Value, path: &str, scope: &Scope<'_>, findings: &mut Findings) -> Node {
    // So is most of every template: it is copied as it is, once, and leaves no holes in the memory of a long list.
    if is_plain(value) {
        return Node::Literal(owned(value.clone()));
    }
    match value {
        Value::String(text) => match Text::parse(text, scope, &mut findings.budget) {
            Ok(parsed) => match parsed.is_literal() {
                Some(literal) => Node::Literal(Json::Str(literal.to_owned().into())),
                None => leaf(parsed, path, findings),
            },
            Err(error) => {
                findings.compile_error(path, &error);
                Node::Broken
            }
        },
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let nodes: Box<[Node]> = items
                .map(|(index, item)| compile(item, &format!("{path}[{index}]"), scope, findings))
                .collect();
            match literals(nodes.iter()) {
                Some(values) => Node::Literal(owned(Value::Array(values))),
                None => Node::List(nodes),
            }
        }
        Value::Object(fields) => {
            let mut nodes = Vec::with_capacity(fields.len());
            for (name, inner) in fields {
                if Text::may_have_expressions(name) {
                    findings.error(
                        format!("{path}.{name}"),
                        "an expression cannot stand in a key; only values are rendered",
                    );
                }
                let node = compile(inner, &format!("{path}.{name}"), scope, findings);
                nodes.push((name.as_str().into(), node));
            }
            match literals(nodes.iter().map(|(_, node)| node)) {
                Some(values) => {
                    let fields = fields.keys().cloned().zip(values).collect();
                    Node::Literal(owned(Value::Object(fields)))
                }
                None => Node::Map(nodes.into()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::Literal(owned(value.clone())),
    }
}

fn leaf(text: Text, path: &str, findings: &mut Findings) -> Node {
    match findings.budget.keep(size_of::<Leaf>() + path.len()) {
        Ok(()) => Node::Text(Box::new(Leaf { text, path: path.to_owned(), is_expanded: is_expanded(path) })),
        Err(over) => {
            findings.over_budget(path, over);
            Node::Broken
        }
    }
}

/// Whether the kubelet replaces `$(NAME)` in what stands at a path of the profile.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container>
fn is_expanded(path: &str) -> bool {
    let within =
        ["spec.template.spec.initContainers[", "spec.template.spec.containers[", "spec.appContainers["]
            .into_iter()
            .find_map(|list| path.strip_prefix(list)?.split_once("].").map(|(_, field)| field));
    let field = within.and_then(|field| field.split(['[', '.']).next()).unwrap_or_default();
    matches!(field, "command" | "args" | "env" | "volumeMounts")
}

/// Whether there can be no expression in any of its texts and keys.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !Text::may_have_expressions(text),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => {
            fields.iter().all(|(name, inner)| !Text::may_have_expressions(name) && is_plain(inner))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The values, if none of them has an expression: some have only an escaped beginning of one.
fn literals<'n>(nodes: impl Iterator<Item = &'n Node>) -> Option<Vec<Value>> {
    nodes
        .map(|node| match node {
            Node::Literal(value) => Some(Value::from(value)),
            _ => None,
        })
        .collect()
}

/// `None` for what is left out: null, or a part that failed and was tolerated.
fn render<'n>(
    node: &'n Node,
    variables: &Variables<'_>,
    budget: &mut Budget,
    tolerate: &mut dyn FnMut(Failed) -> Result<(), Failed>,
) -> Result<Option<Json<'n>>, Failed> {
    Ok(match node {
        Node::Literal(value) => Some(lent(value)),
        Node::Broken => {
            tolerate(Failed { path: String::new(), column: 1, message: String::new(), is_stated: false })?;
            None
        }
        Node::Text(leaf) => match leaf.render(variables, budget) {
            Ok(value) => (!value.is_null()).then(|| owned(value)),
            Err(failed) => {
                tolerate(failed)?;
                None
            }
        },
        Node::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.extend(render(item, variables, budget, tolerate)?);
            }
            Some(Json::Array(list))
        }
        Node::Map(fields) => {
            let mut rendered: Vec<(&str, Json<'_>)> = Vec::with_capacity(fields.len());
            for (name, inner) in fields {
                if let Some(value) = render(inner, variables, budget, tolerate)? {
                    rendered.push((name, value));
                }
            }
            Some(Json::Object(rendered.into()))
        }
    })
}
