//! Requests, limits and quality of service of a pod.
//!
//! The results equal those of the API server, the scheduler and the kubelet, including native sidecars (KEP-753) and pod-level
//! resources (KEP-2837):
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers> and
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2837-pod-level-resource-spec>.
//! The module does not depend on JSON, and ignores nodes, quotas and limit ranges.

mod list;
mod problems;

use std::fmt;

pub use list::ResourceList;
pub use problems::{ResourceProblem, problems};

use crate::quantity::Quantity;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const HUGE_PAGES: &str = "hugepages-";

/// Role of a container in the pod's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerRole {
    /// One of `containers`: they run concurrently.
    App,
    /// One of `initContainers` that ends: they run one after the other.
    Init,
    /// One of `initContainers` with `restartPolicy: Always`: it runs concurrently with all later containers.
    NativeSidecar,
}

/// Resources of a container in the API server's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDemand {
    name: String,
    kind: ContainerRole,
    requests: ResourceList,
    limits: ResourceList,
}

impl ContainerDemand {
    /// Returns a container's resources with the API server's defaults: quantities are rounded up to thousandths, and missing
    /// requests default to the limits.
    pub fn new(
        name: impl Into<String>,
        kind: ContainerRole,
        requests: ResourceList,
        limits: ResourceList,
    ) -> Self {
        let (mut requests, limits) = (rounded(requests), rounded(limits));
        for (resource, limit) in limits.iter() {
            requests.set_if_absent(resource, limit);
        }
        Self { name: name.into(), kind, requests, limits }
    }

    /// Returns the container's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the container's role.
    pub fn kind(&self) -> ContainerRole {
        self.kind
    }

    /// Returns the requests.
    pub fn requests(&self) -> &ResourceList {
        &self.requests
    }

    /// Returns the limits.
    pub fn limits(&self) -> &ResourceList {
        &self.limits
    }
}

/// Pod-level resources, `spec.resources`.
///
/// An empty `spec.resources` counts as present for the quality of service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodLevel {
    requests: ResourceList,
    limits: ResourceList,
}

impl PodLevel {
    /// Returns the pod-level resources, rounded up to thousandths.
    pub fn new(requests: ResourceList, limits: ResourceList) -> Self {
        Self { requests: rounded(requests), limits: rounded(limits) }
    }

    /// Returns the pod-level requests.
    pub fn requests(&self) -> &ResourceList {
        &self.requests
    }

    /// Returns the pod-level limits.
    pub fn limits(&self) -> &ResourceList {
        &self.limits
    }

    /// Adds the API server's defaults for these containers: a missing request of a limited resource is the total request of
    /// the containers, or the limit if they have none; set values are kept.
    ///
    /// The API server does this before a webhook is called and again after it. So a pod with only limits already has requests
    /// when the webhook is called, which leave no room for another container.
    #[must_use]
    pub fn with_defaults(mut self, containers: &[ContainerDemand]) -> Self {
        if self.requests.is_empty() && self.limits.is_empty() {
            return self;
        }
        for (resource, limit) in together(containers, ContainerDemand::limits).iter() {
            if is_huge_pages(resource) && self.requests.get(resource).is_none() {
                self.limits.set_if_absent(resource, limit);
            }
        }
        if !self.limits.is_empty() {
            for (resource, request) in together(containers, ContainerDemand::requests).iter() {
                if resource == CPU || resource == MEMORY {
                    self.requests.set_if_absent(resource, request);
                }
            }
            for (resource, limit) in self.limits.iter().filter(|(resource, _)| is_pod_level(resource)) {
                self.requests.set_if_absent(resource, limit);
            }
        }
        self
    }
}

/// Returns the requests that the scheduler counts for the pod: the larger of the total of its containers and sidecars, and the
/// maximum over the init containers with the sidecars before each; the pod-level request overrides it; and `overhead` (of the
/// runtime class) is added.
///
/// `containers` are the init containers in order, then the others. Sums saturate at 10^29.
pub fn effective_requests(
    containers: &[ContainerDemand],
    pod_level: Option<&PodLevel>,
    overhead: &ResourceList,
) -> ResourceList {
    let mut requests = together(containers, ContainerDemand::requests);
    if let Some(pod_level) = pod_level {
        replace(&mut requests, &pod_level.clone().with_defaults(containers).requests);
    }
    add(&mut requests, overhead);
    requests
}

/// Returns the pod's limits by the rule of [`effective_requests`], over the containers that have one; `overhead` is added only
/// to an existing limit.
pub fn effective_limits(
    containers: &[ContainerDemand],
    pod_level: Option<&PodLevel>,
    overhead: &ResourceList,
) -> ResourceList {
    let mut limits = together(containers, ContainerDemand::limits);
    if let Some(pod_level) = pod_level {
        replace(&mut limits, &pod_level.clone().with_defaults(containers).limits);
    }
    limits.change(|resource, limit| match overhead.get(resource) {
        Some(more) if !limit.is_zero() => limit.saturating_add(more),
        _ => limit,
    });
    limits
}

/// Quality-of-service class of a pod: it determines which pods are evicted, and which processes are killed, first.
///
/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Qos {
    /// Every container has limits for CPU and memory, and equal requests.
    Guaranteed,
    /// Some resource has a request or a limit.
    Burstable,
    /// No resource has a request or a limit.
    BestEffort,
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

/// Returns the pod's class, by CPU and memory alone. Init containers count like all others, and zero counts as unset. If the
/// pod has pod-level resources, only these count.
pub fn qos(containers: &[ContainerDemand], pod_level: Option<&PodLevel>) -> Qos {
    let pod_level = pod_level.map(|pod_level| pod_level.clone().with_defaults(containers));
    let lists: Vec<_> = match &pod_level {
        Some(pod_level) => vec![(&pod_level.requests, &pod_level.limits)],
        None => containers.iter().map(|container| (&container.requests, &container.limits)).collect(),
    };
    let (mut requests, mut limits, mut all_limited) = (ResourceList::new(), ResourceList::new(), true);
    for (requested, limited) in lists {
        let limited = cpu_and_memory(limited);
        all_limited &= limited.len() == 2;
        add(&mut limits, &limited);
        add(&mut requests, &cpu_and_memory(requested));
    }
    if requests.is_empty() && limits.is_empty() {
        Qos::BestEffort
    } else if all_limited && requests == limits {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// Returns the peak demand of the containers for each resource.
fn together(
    containers: &[ContainerDemand],
    list: impl Fn(&ContainerDemand) -> &ResourceList,
) -> ResourceList {
    let (mut running, mut sidecars, mut starting) =
        (ResourceList::new(), ResourceList::new(), ResourceList::new());
    for container in containers {
        let own = list(container);
        match container.kind {
            ContainerRole::App => add(&mut running, own),
            ContainerRole::NativeSidecar => {
                add(&mut running, own);
                add(&mut sidecars, own);
            }
            ContainerRole::Init => {
                let mut beside_sidecars = sidecars.clone();
                add(&mut beside_sidecars, own);
                raise(&mut starting, &beside_sidecars);
            }
        }
    }
    raise(&mut running, &starting);
    running
}

fn add(total: &mut ResourceList, more: &ResourceList) {
    for (resource, quantity) in more.iter() {
        total.merge(resource, quantity, Quantity::saturating_add);
    }
}

fn raise(total: &mut ResourceList, least: &ResourceList) {
    for (resource, quantity) in least.iter() {
        total.merge(resource, quantity, |there, least| least.max(there));
    }
}

fn replace(total: &mut ResourceList, pod_level: &ResourceList) {
    for (resource, quantity) in pod_level.iter().filter(|(resource, _)| is_pod_level(resource)) {
        total.set(resource, quantity);
    }
}

fn rounded(mut list: ResourceList) -> ResourceList {
    list.change(|_, quantity| quantity.ceil_milli());
    list
}

fn cpu_and_memory(list: &ResourceList) -> ResourceList {
    let quantities = [CPU, MEMORY].into_iter().filter_map(|resource| Some((resource, list.get(resource)?)));
    quantities.filter(|(_, quantity)| *quantity > Quantity::ZERO).collect()
}

/// Checks whether the resource can be set at the pod level.
fn is_pod_level(resource: &str) -> bool {
    resource == CPU || resource == MEMORY || is_huge_pages(resource)
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with(HUGE_PAGES)
}

#[cfg(test)]
mod tests;
