//! What expressions read, and which of it one of them reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::duration::Duration;
use crate::quantity::Quantity;
use crate::string_map::StringMap;

/// The pod as it came, parsed without copying its text.
pub type Json<'a> = serde_json_borrow::Value<'a>;

/// The value of a parameter, in the type that its profile declares.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// A string, or one of an enum's values.
    String(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A quantity, as in resources.
    Quantity(Quantity),
    /// A duration in Go's form.
    Duration(Duration),
    /// A list of strings.
    List(Vec<String>),
}

impl ParameterValue {
    /// Returns the strings in it.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::String(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
            Self::Integer(_) | Self::Boolean(_) | Self::Quantity(_) | Self::Duration(_) => &[],
        }
    }
}

/// What expressions see of the pod's namespace.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a StringMap,
    /// Its annotations.
    pub annotations: &'a StringMap,
}

/// The values of the variables. Nothing is converted before an expression asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// `pod`: the original pod.
    pub pod: &'a Json<'a>,
    /// `container`: the container of the pod that the profile changes, where there is one.
    pub container: Option<&'a Json<'a>>,
    /// `namespaceObject`, as Kubernetes' own admission policies name it.
    pub namespace: NamespaceView<'a>,
    /// `params`, by name.
    pub params: &'a BTreeMap<String, ParameterValue>,
    /// `profile.name`.
    pub profile: &'a str,
    /// `cluster`: what the operator sets at install.
    pub cluster: &'a serde_json::Value,
}

/// The variables that an expression may name where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The names of the profile's parameters; `None` where `params` cannot be read, as in `match.conditions`.
    pub params: Option<&'a [&'a str]>,
    /// Whether `container` can be read: only inside `appContainers`.
    pub container: bool,
    /// The parameters whose values may hold references to variables, `$(NAME)`.
    pub expandable: &'a [&'a str],
}

/// The variables that an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says the same of another variable")]
pub struct Reads {
    /// It reads `pod`.
    pub pod: bool,
    /// It reads `namespaceObject`.
    pub namespace_object: bool,
    /// It reads `container`.
    pub container: bool,
    /// It reads `cluster`.
    pub cluster: bool,
    /// It reads `params`.
    pub params: bool,
    /// The parameters that it reads by name. With `params[name]` or `params` as a whole, it may read any:
    /// then all that are declared are here.
    pub param_names: BTreeSet<String>,
}

impl Reads {
    /// Whether it reads what a pod's author writes.
    pub fn is_from_pod(&self) -> bool {
        self.pod || self.container
    }

    /// Whether it reads nothing but parameters of these names.
    pub(super) fn only_params(&self, names: &[&str]) -> bool {
        let Self { pod, namespace_object, container, cluster, params: _, param_names } = self;
        let reads_more = *pod || *namespace_object || *container || *cluster;
        !reads_more && param_names.iter().all(|name| names.contains(&name.as_str()))
    }

    /// Adds what another expression reads.
    pub(super) fn add(&mut self, other: &Self) {
        self.pod |= other.pod;
        self.namespace_object |= other.namespace_object;
        self.container |= other.container;
        self.cluster |= other.cluster;
        self.params |= other.params;
        self.param_names.extend(other.param_names.iter().cloned());
    }
}
