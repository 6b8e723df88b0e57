//! Value of a template: JSON with expressions in some of its strings.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Rendered;
use super::finding::Findings;
use crate::expression::{Budget, ExpressionScope, Reads, Text, Variables};
use crate::json::{self, Json, lent, owned, same};

/// Compiled value of a template. Parts without expressions are not processed per request.
#[derive(Clone, Debug)]
pub struct TemplateValue {
    node: TemplateNode,
    /// Serialized value, if it has no expression.
    text: Option<Box<RawValue>>,
}

#[derive(Clone, Debug)]
enum TemplateNode {
    Literal(Json<'static>),
    /// Text whose expression does not compile.
    Broken,
    Text(Box<Leaf>),
    List(Box<[TemplateNode]>),
    Map(Box<[(Box<str>, TemplateNode)]>),
}

/// String with an expression.
#[derive(Clone, Debug)]
struct Leaf {
    text: Text,
    /// Path of the field from the profile's root.
    path: String,
    /// `true` if the kubelet expands references to variables, `$(NAME)`, in the rendered text.
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

/// Maximum number of characters of a variable's name in a message.
const LONGEST_NAME: usize = 80;

/// Callback for an expression that fails: the failure and the variables that it reads; `None` if it does not compile.
pub(super) type OnRenderFailure<'f> = dyn FnMut(Option<(Failed, &Reads)>) + 'f;

/// Expression that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Path of the field from the profile's root.
    pub path: String,
    /// Position in the field's text, in characters from 1.
    pub column: usize,
    /// Error message.
    pub message: String,
    /// `true` if the message is the text of a call of `fail`.
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
    /// Compiles a value; invalid expressions become findings.
    pub(super) fn compile(
        value: &Value,
        path: &str,
        scope: &ExpressionScope<'_>,
        findings: &mut Findings,
    ) -> Self {
        Self::of(compile(value, path, scope, findings))
    }

    /// Returns a value without expressions.
    pub(super) fn literal(value: Value) -> Self {
        Self::of(TemplateNode::Literal(owned(value)))
    }

    fn of(node: TemplateNode) -> Self {
        let text = match &node {
            TemplateNode::Literal(value) => serde_json::value::to_raw_value(value).ok(),
            _ => None,
        };
        Self { node, text }
    }

    /// Returns the value, if it has no expression.
    pub fn as_literal(&self) -> Option<Rendered<'_>> {
        match (&self.node, &self.text) {
            (TemplateNode::Literal(value), Some(text)) => Some(Rendered::Literal { value, text }),
            _ => None,
        }
    }

    /// Returns the JSON of a value without expressions.
    pub(crate) fn literal_json(&self) -> Option<&Json<'static>> {
        match &self.node {
            TemplateNode::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Renders the value for one pod. Parts with the value null are left out.
    ///
    /// # Errors
    /// An expression fails.
    pub fn render(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<Rendered<'_>, Failed> {
        if let Some(literal) = self.as_literal() {
            return Ok(literal);
        }
        let mut tolerate = |failed| Err(failed);
        let rendered = render(&self.node, variables, budget, &mut tolerate)?;
        Ok(Rendered::Made(rendered.unwrap_or_default()))
    }

    /// Renders the value as far as possible: a part whose expression fails is left out and reported to `failed`; a part that
    /// does not compile is left out as well, without a failure.
    pub(super) fn render_what_can_be(
        &self,
        variables: &Variables<'_>,
        budget: &mut Budget,
        failed: &mut OnRenderFailure<'_>,
    ) -> Json<'_> {
        let mut tolerate = |failure: Failed| {
            failed(self.leaf_at(&failure.path).map(|leaf| (failure, leaf.reads())));
            Ok(())
        };
        render(&self.node, variables, budget, &mut tolerate).ok().flatten().unwrap_or_default()
    }

    /// Checks whether the value can be rendered as `actual`.
    pub fn could_be(&self, actual: &Json<'_>) -> bool {
        could_be(&self.node, actual)
    }

    /// Checks whether one of its fields can be rendered as this text.
    pub fn field_could_be(&self, name: &str, text: &str) -> bool {
        match &self.node {
            TemplateNode::Literal(value) => json::text(value, name) == Some(text),
            TemplateNode::Map(fields) => match fields.iter().find(|(field, _)| **field == *name) {
                Some((_, TemplateNode::Literal(value))) => value.as_str() == Some(text),
                Some((_, TemplateNode::Text(leaf))) => leaf.text.could_be(text),
                _ => false,
            },
            TemplateNode::Text(_) | TemplateNode::List(_) | TemplateNode::Broken => false,
        }
    }

    /// Returns the text of a field without expressions.
    pub fn literal_field(&self, name: &str) -> Option<&str> {
        match &self.node {
            TemplateNode::Literal(value) => json::text(value, name),
            TemplateNode::Map(fields) => match fields.iter().find(|(field, _)| **field == *name) {
                Some((_, TemplateNode::Literal(value))) => value.as_str(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns its leaves with expressions: their paths, and the variables that they read.
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

fn could_be(node: &TemplateNode, actual: &Json<'_>) -> bool {
    match (node, actual) {
        (TemplateNode::Literal(value), actual) => same(value, actual),
        (TemplateNode::Text(leaf), Json::Str(text)) => leaf.text.could_be(text),
        (TemplateNode::Text(leaf), actual) => leaf.text.could_be(&actual.to_string()),
        (TemplateNode::List(items), Json::Array(actual)) => {
            // Items with the value null are left out.
            actual.len() <= items.len()
                && items.iter().zip(actual).all(|(item, actual)| could_be(item, actual))
        }
        (TemplateNode::Map(fields), Json::Object(actual)) => actual.iter().all(|(name, value)| {
            fields.iter().any(|(field, node)| **field == *name && could_be(node, value))
        }),
        _ => false,
    }
}

fn collect<'n>(node: &'n TemplateNode, leaves: &mut Vec<&'n Leaf>) {
    match node {
        TemplateNode::Literal(_) | TemplateNode::Broken => {}
        TemplateNode::Text(leaf) => leaves.push(leaf),
        TemplateNode::List(items) => items.iter().for_each(|item| collect(item, leaves)),
        TemplateNode::Map(fields) => fields.iter().for_each(|(_, inner)| collect(inner, leaves)),
    }
}

fn compile(value: &Value, path: &str, scope: &ExpressionScope<'_>, findings: &mut Findings) -> TemplateNode {
    // Most of every template has no expressions: it is copied once, unchanged, which does not fragment the memory of a long
    // list.
    if is_plain(value) {
        return TemplateNode::Literal(owned(value.clone()));
    }
    match value {
        Value::String(text) => match Text::parse(text, scope, &mut findings.budget) {
            Ok(parsed) => match parsed.is_literal() {
                Some(literal) => TemplateNode::Literal(Json::Str(literal.to_owned().into())),
                None => leaf(parsed, path, findings),
            },
            Err(error) => {
                findings.compile_error(path, &error);
                TemplateNode::Broken
            }
        },
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let nodes: Box<[TemplateNode]> = items
                .map(|(index, item)| compile(item, &format!("{path}[{index}]"), scope, findings))
                .collect();
            match literals(nodes.iter()) {
                Some(values) => TemplateNode::Literal(owned(Value::Array(values))),
                None => TemplateNode::List(nodes),
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
                    TemplateNode::Literal(owned(Value::Object(fields)))
                }
                None => TemplateNode::Map(nodes.into()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => TemplateNode::Literal(owned(value.clone())),
    }
}

fn leaf(text: Text, path: &str, findings: &mut Findings) -> TemplateNode {
    match findings.budget.keep(size_of::<Leaf>() + path.len()) {
        Ok(()) => {
            TemplateNode::Text(Box::new(Leaf { text, path: path.to_owned(), is_expanded: is_expanded(path) }))
        }
        Err(over) => {
            findings.over_budget(path, over);
            TemplateNode::Broken
        }
    }
}

/// Checks whether the kubelet replaces `$(NAME)` in the field at a path of the profile.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container>
fn is_expanded(path: &str) -> bool {
    let within =
        ["spec.template.spec.initContainers[", "spec.template.spec.containers[", "spec.appContainers["]
            .into_iter()
            .find_map(|list| path.strip_prefix(list)?.split_once("].").map(|(_, field)| field));
    let field = within.and_then(|field| field.split(['[', '.']).next()).unwrap_or_default();
    matches!(field, "command" | "args" | "env" | "volumeMounts")
}

/// Checks that none of its texts and keys can contain an expression.
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

/// Returns the values, if none of them has an expression: some have only an escaped delimiter.
fn literals<'n>(nodes: impl Iterator<Item = &'n TemplateNode>) -> Option<Vec<Value>> {
    nodes
        .map(|node| match node {
            TemplateNode::Literal(value) => Some(Value::from(value)),
            _ => None,
        })
        .collect()
}

/// Returns `None` for a part that is left out: null, or a tolerated failure.
fn render<'n>(
    node: &'n TemplateNode,
    variables: &Variables<'_>,
    budget: &mut Budget,
    tolerate: &mut dyn FnMut(Failed) -> Result<(), Failed>,
) -> Result<Option<Json<'n>>, Failed> {
    Ok(match node {
        TemplateNode::Literal(value) => Some(lent(value)),
        TemplateNode::Broken => {
            tolerate(Failed { path: String::new(), column: 1, message: String::new(), is_stated: false })?;
            None
        }
        TemplateNode::Text(leaf) => match leaf.render(variables, budget) {
            Ok(value) => (!value.is_null()).then(|| owned(value)),
            Err(failed) => {
                tolerate(failed)?;
                None
            }
        },
        TemplateNode::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.extend(render(item, variables, budget, tolerate)?);
            }
            Some(Json::Array(list))
        }
        TemplateNode::Map(fields) => {
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
