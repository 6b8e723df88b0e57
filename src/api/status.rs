use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Record of an injection: the content of the annotation [`super::keys::STATUS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectionStatus {
    /// Injected profiles, in the start order of their containers.
    pub profiles: Vec<InjectedProfile>,
}

/// Record of one injected profile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectedProfile {
    /// Name of the profile.
    pub name: String,
    /// Kind of the profile.
    pub scope: Scope,
    /// Hash of the injected spec.
    pub revision: String,
    /// Parameters that the pod or its namespace set, as text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Keys of the added elements, by the list or map of the pod that contains them: `initContainers`, `volumes`,
    /// `containers[app].env`, `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<String, Vec<String>>,
    /// Keys, as in `added`, of elements that the original pod has exactly as a Mandatory profile, or a profile that it
    /// requires, renders them. They are protected like added elements.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared: BTreeMap<String, Vec<String>>,
    /// Changed scalars, by path: `spec.terminationGracePeriodSeconds`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Replaced>,
    /// Containers with `image: auto` that were merged with the profile's, as the original pod has them, by their list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<String, Vec<Value>>,
}

/// Old and new value of a changed scalar.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Replaced {
    /// Value in the original pod; null if it was absent.
    pub before: Value,
    /// Value after the injection.
    pub after: Value,
}

/// Scope of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Scope {
    /// A `ClusterSidecarProfile`.
    Cluster,
    /// A `SidecarProfile` in the pod's namespace.
    Namespace,
}
