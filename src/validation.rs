//! Kubernetes' validation of the parts of a pod that profiles set.
//!
//! Follows `pkg/apis/core/validation` of Kubernetes v1.35.4 with the default feature gates, after the API server's defaults are
//! applied. Fields behind a gate that is off by default are not checked: the API server drops them. A value of the wrong type
//! is not reported here.

mod choices;
mod container;
mod container_security;
mod environment;
mod handlers;
mod in_pod;
mod mounts;
mod names;
mod node;
mod pod;
mod pod_security;
mod ports;
mod resources;
mod volumes;

pub(crate) use choices::CHOICES;
pub(crate) use in_pod::{PodFacts, VolumeOf, check_container_in_pod, sysctl_of_host};
pub(crate) use mounts::is_privileged;
pub(crate) use names::is_qualified_name;
pub(crate) use node::Problem;
pub(crate) use pod::dns_problem;
pub(crate) use resources::quantity;

use self::node::{FieldNode, Path, Report};
use crate::fields::{ContainerField, DnsList, Map, Place, SpecList};
use crate::json::Json;

/// Returns the problems of an element of a list, or of the value of a key of a map, in the order of the fields. Paths begin
/// inside the value.
pub(crate) fn problems(place: &Place, key: &str, value: &Json<'_>) -> Vec<Problem> {
    let mut report = Report::default();
    if value.is_null() {
        return Vec::new();
    }
    let node = FieldNode::root(value, &Path::Root);
    match place {
        Place::Spec(SpecList::InitContainers) => container::check(node, true, &mut report),
        Place::Spec(SpecList::Containers) => container::check(node, false, &mut report),
        Place::Spec(SpecList::Volumes) => volumes::check(node, &mut report),
        Place::Spec(SpecList::HostAliases) => pod::host_alias(node, &mut report),
        Place::Spec(SpecList::Tolerations) => pod::toleration(node, &mut report),
        Place::Spec(SpecList::ReadinessGates) => pod::readiness_gate(node, &mut report),
        Place::Spec(SpecList::ResourceClaims) => pod::resource_claim(node, &mut report),
        Place::Dns(DnsList::Nameservers) => pod::nameserver(node, &mut report),
        Place::Dns(DnsList::Searches) => pod::search(node, &mut report),
        Place::Dns(DnsList::Options) => pod::dns_option(node, &mut report),
        Place::Container { field: ContainerField::Env, .. } => environment::variable(node, &mut report),
        Place::Container { field: ContainerField::EnvFrom, .. } => environment::source(node, &mut report),
        Place::Container { field: ContainerField::VolumeMounts, .. } => mounts::mount(node, &mut report),
        Place::Map(Map::SecurityContext) => pod_security::field(key, node, &mut report),
        Place::Map(Map::Labels) => pod::label(node, &mut report),
        Place::Map(Map::Annotations) => pod::annotation(key, node, &mut report),
        Place::Spec(SpecList::ImagePullSecrets) | Place::Map(Map::Spec) => {}
    }
    report.into_problems()
}

#[cfg(test)]
mod tests;
