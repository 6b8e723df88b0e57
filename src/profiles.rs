//! Profiles, checked and compiled into the form that decisions read. Everything expensive is done at compilation and not per
//! request.
//!
//! [`compile`] turns a user's spec into a [`Profile`], or returns all of its errors at once. [`ProfileSet`] contains the
//! profiles of a cluster and resolves a name in a namespace.

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

/// Profile that can be injected.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name, unique in its scope.
    pub name: ProfileName,
    /// Scope of the profile: the cluster or a namespace.
    pub scope: Scope,
    /// Hash of the spec: twelve hexadecimal digits.
    pub revision: String,
    /// `true` if matching pods cannot opt out.
    pub mandatory: bool,
    /// Rules that select pods without a choice.
    pub matching: Option<Matching>,
    /// Parameters that pods and namespaces can set.
    pub parameters: Vec<Parameter>,
    /// Partial pod.
    pub template: Template,
    /// Elements for app containers.
    pub app_containers: Vec<AppContainers>,
    /// Merge rules for annotations that the pod already has.
    pub annotations: AnnotationRules,
    /// Position of its init containers.
    pub order: Order,
    /// Names of the profiles that are injected with it and start before it.
    pub requires: Vec<String>,
    /// `true` if its native sidecars are injected as ordinary containers.
    pub classic: bool,
    /// Behavior for pods on the node's network.
    pub host_network: HostNetwork,
    /// Behavior if the pod has a different element with the same key.
    pub on_conflict: OnConflict,
    /// Behavior if the profile is rejected for a pod.
    pub on_error: OnError,
    /// Charge against the server's memory for profiles, in bytes; the units of work if those are more, because a starting
    /// server compiles all profiles.
    pub cost: usize,
}
