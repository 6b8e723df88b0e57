use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// What was added: the keys of the elements, by the list or map of the pod that took them.
    /// The lists are written as `initContainers`, `volumes`, `containers[app].env`, `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<String, Vec<String>>,
}

/// Where a profile is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Scope {
    /// A `ClusterSidecarProfile`.
    Cluster,
    /// A `SidecarProfile` in the pod's namespace.
    Namespace,
}
