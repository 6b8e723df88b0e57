//! Profiles, checked and compiled: what a decision needs of them, and nothing that costs time on a request.
//!
//! [`compile`] takes what a user wrote and gives a [`Profile`], or everything that is wrong with it at
//! once. [`ProfileSet`] holds the profiles of a cluster and finds the one that a name means in a namespace.

mod app_containers;
mod compile;
mod finding;
mod kubernetes_types;
mod matching;
mod set;
mod template;

pub use app_containers::AppContainers;
pub use compile::compile;
pub use finding::{Finding, Severity};
pub use matching::Matching;
pub use set::{Entry, InvalidProfile, ProfileSet};
pub use template::{Element, Template};

use crate::api::{Failure, HostNetwork, OnConflict, Order, ProfileName, Scope};

/// A profile that can be injected.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name, unique in its scope.
    pub name: ProfileName,
    /// Where it is defined.
    pub scope: Scope,
    /// A hash of its spec: twelve hexadecimal digits.
    pub revision: String,
    /// The pods that get it without asking.
    pub matching: Option<Matching>,
    /// The partial pod.
    pub template: Template,
    /// What the pod's own containers get.
    pub app_containers: Vec<AppContainers>,
    /// Where its init containers stand.
    pub order: Order,
    /// What happens to a pod on the node's network.
    pub host_network: HostNetwork,
    /// What happens where the pod has something else under one of its names.
    pub on_conflict: OnConflict,
    /// What happens to a pod to which it cannot be applied.
    pub on_error: Failure,
}

impl Profile {
    /// What the profile adds to a pod, counted, for people: `1 native sidecar, 1 volume`.
    pub fn adds(&self) -> String {
        let sidecars = self.template.init_containers.iter().filter(|c| c.is_native_sidecar()).count();
        let app = |count: fn(&AppContainers) -> usize| self.app_containers.iter().map(count).sum::<usize>();
        let counts = [
            (sidecars, "native sidecar"),
            (self.template.init_containers.len() - sidecars, "init container"),
            (self.template.containers.len(), "container"),
            (self.template.volumes.len(), "volume"),
            (self.template.labels.len(), "label"),
            (self.template.annotations.len(), "annotation"),
            (app(|a| a.env.len() + a.env_from.len()), "app env"),
            (app(|a| a.volume_mounts.len()), "app mount"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }
}
