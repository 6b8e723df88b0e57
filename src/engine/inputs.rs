//! DecisionInputs of a decision, other than the pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::pod::{OriginalPod, PodView as _};
use crate::expression::{NamespaceView, ParameterValue, Variables};
use crate::profiles::ProfileSet;
use crate::string_map::StringMap;

/// Name and metadata of a pod's namespace, as far as decisions read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name of the namespace.
    pub name: String,
    /// Labels of the namespace.
    pub labels: StringMap,
    /// Annotations of the namespace.
    pub annotations: StringMap,
}

/// Settings of the installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces that are never injected, besides [`keys::ALWAYS_EXCLUDED_NAMESPACES`].
    pub excluded_namespaces: BTreeSet<String>,
    /// Value of `cluster` in expressions: an object that the operator defines.
    pub cluster: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self { excluded_namespaces: BTreeSet::new(), cluster: Value::Object(serde_json::Map::new()) }
    }
}

/// Purpose of a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Injection.
    #[default]
    Inject,
    /// Injection before admission plugins have changed any injected container.
    InjectSubmitted,
    /// Verification of a finished pod: its Mandatory profiles must be unchanged.
    Verify,
}

/// DecisionInputs of a decision other than the pod.
#[derive(Clone, Copy)]
pub(super) struct DecisionInputs<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) profiles: &'a ProfileSet,
    pub(super) settings: &'a Settings,
}

/// Parameters of a pod without any.
static NO_PARAMETERS: BTreeMap<String, ParameterValue> = BTreeMap::new();

impl<'a> DecisionInputs<'a> {
    /// Returns the variables of expressions, except those of a profile.
    pub(super) fn variables(self, pod: OriginalPod<'a>) -> Variables<'a> {
        let Namespace { name, labels, annotations } = self.namespace;
        Variables {
            pod: pod.json(),
            container: None,
            namespace: NamespaceView { name, labels, annotations },
            params: &NO_PARAMETERS,
            profile: "",
            cluster: &self.settings.cluster,
        }
    }
}
