//! Cost of an injection: the additional requests as the scheduler counts them, and the quality of service.

use std::collections::BTreeMap;
use std::fmt;

use super::draft::Draft;
use super::pod::{OriginalPod, PodElement, PodView as _};
use crate::fields::{ContainerKind, Place};
use crate::quantity::Quantity;
use crate::resources::{
    ContainerDemand, ContainerRole, PodLevel, Qos, ResourceList, ResourceProblem, effective_requests,
    problems, qos,
};

/// Additional requests of an injection, and the pod's quality of service before and after it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The additional requests, by resource; only those that changed.
    pub requests: BTreeMap<String, Quantity>,
    /// The quality of service before.
    pub qos_before: Qos,
    /// The quality of service afterwards.
    pub qos_after: Qos,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &str| if name == "cpu" { "CPU".to_owned() } else { name.to_owned() };
        let parts: Vec<String> = self
            .requests
            .iter()
            .map(|(name, more)| {
                format!("{}{more} {}", if more.is_negative() { "" } else { "+" }, named(name))
            })
            .collect();
        match parts.as_slice() {
            [] => f.write_str("nothing more requested")?,
            parts => write!(f, "{} request per pod", parts.join(", "))?,
        }
        if self.qos_before == self.qos_after {
            write!(f, "; QoS {}, as before", self.qos_after)
        } else {
            write!(f, "; QoS {} becomes {}", self.qos_before, self.qos_after)
        }
    }
}

/// Requests, limits and quality of service of a pod.
pub(super) struct Demand {
    pub(super) containers: Vec<ContainerDemand>,
    pod_level: Option<PodLevel>,
    overhead: ResourceList,
}

impl Demand {
    pub(super) fn qos(&self) -> Qos {
        qos(&self.containers, self.pod_level.as_ref())
    }

    /// Returns the problems of the requests and limits.
    ///
    /// Before Kubernetes 1.37, the API server sets the default requests of the pod itself before any webhook is called, so
    /// they leave no room for another container. Since 1.37, it sets them after the webhooks, for all containers.
    pub(super) fn problems(&self) -> Vec<ResourceProblem> {
        let level = self.pod_level.clone().map(|level| level.with_defaults(&self.containers));
        problems(&self.containers, level.as_ref())
    }

    fn requests(&self) -> ResourceList {
        effective_requests(&self.containers, self.pod_level.as_ref(), &self.overhead)
    }
}

/// Checks whether the original pod's quality of service can be Guaranteed. Usually the presence of fields already rules it
/// out, and no quantity has to be parsed.
pub(super) fn may_be_guaranteed(pod: OriginalPod<'_>) -> bool {
    let is_limited = |container: PodElement<'_>| {
        let limits = container.field("resources").and_then(|resources| resources.field("limits"));
        limits.is_some_and(|limits| ["cpu", "memory"].iter().all(|name| limits.field(name).is_some()))
    };
    pod.spec("resources").is_some()
        || ContainerKind::ALL
            .into_iter()
            .flat_map(|kind| pod.elements(&Place::Spec(kind.list())))
            .all(|container| container.has_image_auto() || is_limited(container))
}

/// Returns the demand of the original pod.
pub(super) fn before(pod: OriginalPod<'_>) -> Demand {
    let spec = |name| pod.spec(name).map(PodElement::Submitted);
    let containers = containers(|place| pod.elements(place));
    let pod_level = spec("resources")
        .map(|level| PodLevel::new(quantities(level, "requests"), quantities(level, "limits")));
    let overhead = spec("overhead").map(amounts).unwrap_or_default();
    Demand { containers, pod_level, overhead }
}

/// Returns the demand of the draft; `before` is the demand of the original pod.
pub(super) fn after(draft: &Draft<'_>, before: &Demand) -> Demand {
    let (pod_level, overhead) = (before.pod_level.clone(), before.overhead.clone());
    Demand { containers: containers(|place| draft.elements(place)), pod_level, overhead }
}

/// Returns the cost of the profiles in the pod; `before` is the demand without them.
pub(super) fn of_injection(draft: &Draft<'_>, before: &Demand) -> Cost {
    let after = after(draft, before);
    let (old, new) = (before.requests(), after.requests());
    let mut requests = BTreeMap::new();
    for (name, _) in old.iter().chain(new.iter()) {
        let of = |list: &ResourceList| list.get(name).unwrap_or(Quantity::ZERO);
        if let Some(more) = of(&new).checked_sub(of(&old)).filter(|more| !more.is_zero()) {
            requests.insert(name.to_owned(), more);
        }
    }
    Cost { requests, qos_before: before.qos(), qos_after: after.qos() }
}

fn containers<'s, I: Iterator<Item = PodElement<'s>>>(
    elements: impl Fn(&Place) -> I,
) -> Vec<ContainerDemand> {
    let of_kind = |kind: ContainerKind| {
        // A container with `image: auto` has no requests until a profile overlays it.
        let elements = elements(&Place::Spec(kind.list())).filter(|seen| !seen.has_image_auto());
        elements.map(move |seen| container(kind, seen)).collect::<Vec<_>>()
    };
    ContainerKind::ALL.into_iter().flat_map(of_kind).collect()
}

/// Returns the requests and limits of a container.
pub(super) fn container(list: ContainerKind, container: PodElement<'_>) -> ContainerDemand {
    let kind = match (list, container.text("restartPolicy")) {
        (ContainerKind::App, _) => ContainerRole::App,
        (ContainerKind::Init, Some("Always")) => ContainerRole::NativeSidecar,
        (ContainerKind::Init, _) => ContainerRole::Init,
    };
    let resources = container.field("resources");
    let list = |name| resources.map(|resources| quantities(resources, name)).unwrap_or_default();
    ContainerDemand::new(container.name().unwrap_or_default(), kind, list("requests"), list("limits"))
}

fn quantities(parent: PodElement<'_>, name: &str) -> ResourceList {
    parent.field(name).map(amounts).unwrap_or_default()
}

fn amounts(map: PodElement<'_>) -> ResourceList {
    map.fields().filter_map(|(name, value)| Some((name, value.quantity()?))).collect()
}
