//! Profiles, checked and compiled: what a decision needs of them, and nothing that costs time on a request.
//!
//! [`compile`] takes what a user wrote and gives a [`Profile`], or everything that is wrong with it at
//! once. [`ProfileSet`] holds the profiles of a cluster and finds the one that a name means in a namespace.

mod annotations;
mod app_containers;
mod compile;
mod condition;
mod finding;
mod known_fields;
mod kubernetes_types;
mod matching;
mod parameters;
mod quota;
mod relations;
mod rendered;
mod sample_pod;
mod samples;
mod schema;
mod set;
mod template;
mod template_value;
mod weight;

pub use annotations::AnnotationRules;
pub use app_containers::AppContainers;
pub(crate) use app_containers::Selected;
pub use compile::compile;
pub use condition::Condition;
pub use finding::{Finding, Severity};
pub use known_fields::unknown_fields;
pub(crate) use kubernetes_types::problem_in;
pub use matching::{Labels, Matching};
pub use parameters::{Parameter, Refusal, shown};
pub use quota::Quota;
pub use relations::Relations;
pub use rendered::Rendered;
pub use sample_pod::{field_of_profile, sample_template};
pub use schema::json_schema;
pub use set::{InvalidProfile, ProfileEntry, ProfileSet};
pub use template::{Element, TEMPLATE_FIELDS, Template};
pub use template_value::{Failed, TemplateValue};
pub use weight::is_oversized;

use crate::api::{HostNetwork, OnConflict, OnError, Order, ProfileName, Scope};

/// A profile that can be injected.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name, unique in its scope.
    pub name: ProfileName,
    /// Where it is defined.
    pub scope: Scope,
    /// A hash of its spec: twelve hexadecimal digits.
    pub revision: String,
    /// Whether no pod that it matches can do without it.
    pub mandatory: bool,
    /// The pods that get it without asking.
    pub matching: Option<Matching>,
    /// What pods and namespaces may set.
    pub parameters: Vec<Parameter>,
    /// The partial pod.
    pub template: Template,
    /// What the pod's own containers get.
    pub app_containers: Vec<AppContainers>,
    /// Rules for its annotations that a pod has already.
    pub annotations: AnnotationRules,
    /// Where its init containers stand.
    pub order: Order,
    /// The profiles that come along and start before it.
    pub requires: Vec<String>,
    /// Whether its native sidecars are injected as ordinary containers.
    pub classic: bool,
    /// What happens to a pod on the node's network.
    pub host_network: HostNetwork,
    /// What happens where the pod has something else under one of its names.
    pub on_conflict: OnConflict,
    /// What happens to a pod to which it cannot be applied.
    pub on_error: OnError,
    /// Charge against the server's memory for profiles, in bytes; the units of work if those are more, because a starting
    /// server compiles all profiles.
    pub cost: usize,
}
