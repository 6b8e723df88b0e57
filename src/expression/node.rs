//! Compiled expression: names and functions are resolved, and constant patterns are compiled.

use super::constant::Constant;
use super::function::Function;
use super::operator::Operator;
use super::pattern::Pattern;

/// Operation with its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Column in the expression, from 1, in characters.
    pub(super) column: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Constant(Constant),
    Variable(Variable),
    Local {
        slot: usize,
        name: Box<str>,
    },
    Select {
        of: Box<Node>,
        field: Box<str>,
        optional: bool,
    },
    /// `has(of.field)`.
    Has {
        of: Box<Node>,
        field: Box<str>,
    },
    Index {
        of: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    /// Elements; `true` marks optional ones, as in `[?x]`.
    List(Vec<(Node, bool)>),
    /// Keys and values; `true` marks optional ones, as in `{?k: v}`.
    Map(Vec<(Node, Node, bool)>),
    Call {
        function: &'static Function,
        arguments: Vec<Node>,
    },
    /// `matches` with a constant pattern.
    Matches {
        of: Box<Node>,
        pattern: Box<Pattern>,
    },
    Loop(Box<Loop>),
    /// `of.optMap(name, body)`; with `flat`, `of.optFlatMap(name, body)`.
    OptionalMap {
        of: Box<Node>,
        slot: usize,
        body: Box<Node>,
        flat: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Pod,
    Container,
    NamespaceObject,
    Params,
    Profile,
    Cluster,
}

impl Variable {
    /// All variables.
    pub(super) const ALL: [Self; 6] =
        [Self::Pod, Self::Container, Self::NamespaceObject, Self::Params, Self::Profile, Self::Cluster];

    /// Returns the name of the variable in an expression.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::NamespaceObject => "namespaceObject",
            Self::Params => "params",
            Self::Profile => "profile",
            Self::Cluster => "cluster",
        }
    }
}

/// Loop such as `of.all(name, body)`.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) over: Node,
    pub(super) slot: usize,
    /// Condition of `map(name, condition, body)`.
    pub(super) condition: Option<Node>,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    SortBy,
}

impl Node {
    /// Returns the source of a node that is a variable or a part of one, for messages.
    pub(super) fn path(&self) -> Option<String> {
        match &self.kind {
            Kind::Variable(variable) => Some(variable.name().to_owned()),
            Kind::Local { name, .. } => Some(name.to_string()),
            Kind::Select { of, field, optional } => {
                Some(format!("{}.{}{field}", of.path()?, if *optional { "?" } else { "" }))
            }
            Kind::Index { of, key, .. } => match &key.kind {
                Kind::Constant(Constant::Int(index)) => Some(format!("{}[{index}]", of.path()?)),
                Kind::Constant(Constant::Text(key)) => Some(format!("{}[{key:?}]", of.path()?)),
                _ => Some(format!("{}[…]", of.path()?)),
            },
            _ => None,
        }
    }
}
