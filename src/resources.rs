//! What a pod requests, what it may use, and its quality of service.
//!
//! Everything here is what the API server, the scheduler and the kubelet compute from the same pod, native
//! sidecars (KEP-753) and pod-level resources (KEP-2837) included:
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers> and
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2837-pod-level-resource-spec>.
//! It knows nothing of JSON, and nothing of nodes, quotas or limit ranges.

mod list;
mod problems;

use std::fmt;

pub use list::ResourceList;
pub use problems::{Problem, problems};

use crate::quantity::Quantity;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const HUGE_PAGES: &str = "hugepages-";

/// What a container is to the pod's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of `containers`: they run together.
    App,
    /// One of `initContainers` that ends: they run one after the other.
    Init,
    /// One of `initContainers` with `restartPolicy: Always`: it runs beside all that follow.
    NativeSidecar,
}

/// A container's resources, as the API server holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    name: String,
    kind: Kind,
    requests: ResourceList,
    limits: ResourceList,
}

impl Container {
    /// A container's resources as they were written, with the API server's defaults: rounded up to
    /// thousandths, and requested up to the limit where nothing is requested.
    pub fn new(name: impl Into<String>, kind: Kind, requests: ResourceList, limits: ResourceList) -> Self {
        let (mut requests, limits) = (rounded(requests), rounded(limits));
        for (resource, limit) in limits.iter() {
            requests.set_if_absent(resource, limit);
        }
        Self { name: name.into(), kind, requests, limits }
    }

    /// The container's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the container is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it requests.
    pub fn requests(&self) -> &ResourceList {
        &self.requests
    }

    /// What it may use at most.
    pub fn limits(&self) -> &ResourceList {
        &self.limits
    }
}

/// The pod's own resources, `spec.resources`.
///
/// A pod whose `spec.resources` is there but empty has them too: for its quality of service that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodLevel {
    requests: ResourceList,
    limits: ResourceList,
}

impl PodLevel {
    /// The pod's resources as they were written, rounded up to thousandths.
    pub fn new(requests: ResourceList, limits: ResourceList) -> Self {
        Self { requests: rounded(requests), limits: rounded(limits) }
    }

    /// What the pod requests as a whole.
    pub fn requests(&self) -> &ResourceList {
        &self.requests
    }

    /// What the pod may use at most as a whole.
    pub fn limits(&self) -> &ResourceList {
        &self.limits
    }

    /// With what the API server adds for these containers: a pod that has limits requests what its
    /// containers request together, else its limit; what was set stays.
    ///
    /// The API server does this before a webhook sees the pod and again after it. So a pod that wrote
    /// only limits comes with requests that leave no room for one container more.
    #[must_use]
    pub fn with_defaults(mut self, containers: &[Container]) -> Self {
        if self.requests.is_empty() && self.limits.is_empty() {
            return self;
        }
        for (resource, limit) in together(containers, Container::limits).iter() {
            if is_huge_pages(resource) && self.requests.get(resource).is_none() {
                self.limits.set_if_absent(resource, limit);
            }
        }
        if !self.limits.is_empty() {
            for (resource, request) in together(containers, Container::requests).iter() {
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

/// What the scheduler counts for the pod: the larger of what its containers and sidecars request together
/// and of what any init container requests beside the sidecars before it; the pod's own request where it
/// has one; and `overhead` (the runtime class's) on top.
///
/// `containers` are the init containers in their order, then the others. A sum stops at 10^29.
pub fn effective_requests(
    containers: &[Container],
    pod_level: Option<&PodLevel>,
    overhead: &ResourceList,
) -> ResourceList {
    let mut requests = together(containers, Container::requests);
    if let Some(pod_level) = pod_level {
        replace(&mut requests, &pod_level.clone().with_defaults(containers).requests);
    }
    add(&mut requests, overhead);
    requests
}

/// The pod's limits by the rule of [`effective_requests`], over the containers that have one; `overhead`
/// is added only where there is a limit to raise.
pub fn effective_limits(
    containers: &[Container],
    pod_level: Option<&PodLevel>,
    overhead: &ResourceList,
) -> ResourceList {
    let mut limits = together(containers, Container::limits);
    if let Some(pod_level) = pod_level {
        replace(&mut limits, &pod_level.clone().with_defaults(containers).limits);
    }
    limits.change(|resource, limit| match overhead.get(resource) {
        Some(more) if !limit.is_zero() => limit.saturating_add(more),
        _ => limit,
    });
    limits
}

/// A pod's quality-of-service class: who is evicted first, and whose processes are killed first.
///
/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Qos {
    /// Every container has limits for CPU and memory, and requests them in full.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
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

/// The pod's class, by CPU and memory alone; init containers count like all others, zero counts as unset,
/// and where the pod has resources of its own, only these count.
pub fn qos(containers: &[Container], pod_level: Option<&PodLevel>) -> Qos {
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

/// What the containers need of each resource at the moment when they need most.
fn together(containers: &[Container], list: impl Fn(&Container) -> &ResourceList) -> ResourceList {
    let (mut running, mut sidecars, mut starting) =
        (ResourceList::new(), ResourceList::new(), ResourceList::new());
    for container in containers {
        let own = list(container);
        match container.kind {
            Kind::App => add(&mut running, own),
            Kind::NativeSidecar => {
                add(&mut running, own);
                add(&mut sidecars, own);
            }
            Kind::Init => {
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

/// Whether a pod can have the resource as a whole.
fn is_pod_level(resource: &str) -> bool {
    resource == CPU || resource == MEMORY || is_huge_pages(resource)
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with(HUGE_PAGES)
}

#[cfg(test)]
mod tests;
