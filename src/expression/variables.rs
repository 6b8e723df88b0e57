//! Variables of expressions, and the subset that an expression reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::duration::Duration;
pub use crate::json::Json;
use crate::quantity::Quantity;
use crate::string_map::StringMap;

/// Value of a parameter, in the type that its profile declares.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// String, or one of an enum's values.
    String(String),
    /// Integer.
    Integer(i64),
    /// Boolean.
    Boolean(bool),
    /// Quantity, as in resources.
    Quantity(Quantity),
    /// Duration in Go's form.
    Duration(Duration),
    /// List of strings.
    List(Vec<String>),
}

impl ParameterValue {
    /// Returns the strings of a list.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::String(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
            Self::Integer(_) | Self::Boolean(_) | Self::Quantity(_) | Self::Duration(_) => &[],
        }
    }
}

/// Fields of the pod's namespace that expressions can read.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceView<'a> {
    /// Name of the namespace.
    pub name: &'a str,
    /// Labels of the namespace.
    pub labels: &'a StringMap,
    /// Annotations of the namespace.
    pub annotations: &'a StringMap,
}

/// Values of the variables. They are converted only when an expression reads them.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// `pod`: the original pod.
    pub pod: &'a Json<'a>,
    /// `container`: the container of the pod that the profile changes, if there is one.
    pub container: Option<&'a Json<'a>>,
    /// `namespaceObject`, as Kubernetes' own admission policies name it.
    pub namespace: NamespaceView<'a>,
    /// `params`, by name.
    pub params: &'a BTreeMap<String, ParameterValue>,
    /// `profile.name`.
    pub profile: &'a str,
    /// `cluster`: an object that the operator sets at installation.
    pub cluster: &'a serde_json::Value,
}

/// Variables that an expression may read in its field.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpressionScope<'a> {
    /// Names of the profile's parameters; `None` if `params` is not available, as in `match.conditions`.
    pub params: Option<&'a [&'a str]>,
    /// `true` if `container` is available: only inside `appContainers`.
    pub container: bool,
    /// Parameters whose values may contain references to variables, `$(NAME)`.
    pub expandable: &'a [&'a str],
}

/// Variables that an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says the same of another variable")]
pub struct Reads {
    /// `true` if it reads `pod`.
    pub pod: bool,
    /// `true` if it reads `namespaceObject`.
    pub namespace_object: bool,
    /// `true` if it reads `container`.
    pub container: bool,
    /// `true` if it reads `cluster`.
    pub cluster: bool,
    /// `true` if it reads `params`.
    pub params: bool,
    /// Names of the parameters that it reads. For `params[name]` or the whole of `params`, all declared parameters are
    /// included, since it may read any of them.
    pub param_names: BTreeSet<String>,
}

impl Reads {
    /// Checks whether it reads `pod` or `container`.
    pub fn is_from_pod(&self) -> bool {
        self.pod || self.container
    }

    /// Checks whether it reads only parameters with these names.
    pub(super) fn only_params(&self, names: &[&str]) -> bool {
        let Self { pod, namespace_object, container, cluster, params: _, param_names } = self;
        let reads_more = *pod || *namespace_object || *container || *cluster;
        !reads_more && param_names.iter().all(|name| names.contains(&name.as_str()))
    }

    /// Adds the variables of another expression.
    pub(super) fn add(&mut self, other: &Self) {
        self.pod |= other.pod;
        self.namespace_object |= other.namespace_object;
        self.container |= other.container;
        self.cluster |= other.cluster;
        self.params |= other.params;
        self.param_names.extend(other.param_names.iter().cloned());
    }
}
