use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Outrigger did to a pod: the content of the annotation [`super::keys::STATUS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectionStatus {
    /// The injected profiles, in the order in which their containers start.
    pub profiles: Vec<InjectedProfile>,
}

/// One profile that was injected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectedProfile {
    /// The profile's name.
    pub name: String,
    /// Whether it is a cluster's or a namespace's profile.
    pub scope: Scope,
    /// A hash of the spec that was injected.
    pub revision: String,
    /// The parameters that pod or namespace set, as text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What was added: the keys of the elements, by the list or map of the pod that took them.
    /// The lists are written as `initContainers`, `volumes`, `containers[app].env`, `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<String, Vec<String>>,
    /// Keys, as in `added`, of elements that the pod's author wrote exactly as a Mandatory profile, or a profile that it
    /// requires, renders them. They are protected like added elements.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared: BTreeMap<String, Vec<String>>,
    /// The scalars that were changed, by their path: `spec.terminationGracePeriodSeconds`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Replaced>,
    /// The pod's own containers with `image: auto` that the profile took up, as the pod's author wrote
    /// them, by their list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<String, Vec<Value>>,
}

/// A scalar that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Replaced {
    /// What its author wrote; null where he wrote nothing.
    pub before: Value,
    /// What it became.
    pub after: Value,
}

/// Where a profile is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Scope {
    /// A `ClusterSidecarProfile`.
    Cluster,
    /// A `SidecarProfile` in the pod's namespace.
    Namespace,
}
