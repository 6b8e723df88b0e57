//! Problems of a pod's resources for which the API server rejects it.

use super::{ContainerDemand, ContainerRole, PodLevel, ResourceList, is_huge_pages, together};
use crate::quantity::Quantity;

/// Quantity that the API server rejects, with the quantity that it contradicts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceProblem {
    /// A container's request exceeds its limit.
    #[error(
        "container {container:?} requests {request} of {resource}, above its limit {limit}: raise the limit or lower the request"
    )]
    RequestAboveLimit {
        /// The container.
        container: String,
        /// The resource.
        resource: String,
        /// The request.
        request: Quantity,
        /// The limit.
        limit: Quantity,
    },
    /// A container's request for huge pages or devices differs from its limit.
    #[error(
        "container {container:?} requests {request} of {resource}, its limit is {limit}: for this resource the two must be equal"
    )]
    RequestUnequalLimit {
        /// The container.
        container: String,
        /// The resource.
        resource: String,
        /// The request.
        request: Quantity,
        /// The limit.
        limit: Quantity,
    },
    /// A container requests huge pages or devices without a limit.
    #[error(
        "container {container:?} requests {request} of {resource} and has no limit: for this resource set an equal limit"
    )]
    RequestWithoutLimit {
        /// The container.
        container: String,
        /// The resource.
        resource: String,
        /// The request.
        request: Quantity,
    },
    /// The pod-level request exceeds the limit, or differs from it for huge pages.
    #[error(
        "the pod requests {request} of {resource} (spec.resources.requests), which its limit {limit} (spec.resources.limits) does not allow: make the two equal"
    )]
    PodRequestAgainstLimit {
        /// The resource.
        resource: String,
        /// The pod-level request.
        request: Quantity,
        /// The pod-level limit.
        limit: Quantity,
    },
    /// The pod requests huge pages without a limit.
    #[error(
        "the pod requests {request} of {resource} (spec.resources.requests) and has no limit: for this resource set an equal limit"
    )]
    PodRequestWithoutLimit {
        /// The resource.
        resource: String,
        /// The pod-level request.
        request: Quantity,
    },
    /// The total request of the containers exceeds the pod-level request.
    #[error(
        "the containers request {containers} of {resource} together, above the pod's own request {pod}: raise spec.resources.requests to at least {containers}"
    )]
    RequestsAbovePod {
        /// The resource.
        resource: String,
        /// The total request of the containers.
        containers: Quantity,
        /// The pod-level request.
        pod: Quantity,
    },
    /// The total of the containers' huge pages exceeds the pod's.
    #[error(
        "the containers' limits of {resource} are {containers} together, above the pod's own limit {pod}: raise spec.resources.limits to at least {containers}"
    )]
    LimitsAbovePod {
        /// The resource.
        resource: String,
        /// The total of the containers' limits.
        containers: Quantity,
        /// The pod-level limit.
        pod: Quantity,
    },
    /// A container's limit exceeds the pod's.
    #[error(
        "container {container:?} has the limit {limit} of {resource}, above the pod's own limit {pod}: raise spec.resources.limits or lower the container's"
    )]
    LimitAbovePod {
        /// The container.
        container: String,
        /// The resource.
        resource: String,
        /// The container's limit.
        limit: Quantity,
        /// The pod-level limit.
        pod: Quantity,
    },
}

/// Returns all contradictions in the pod's resources, for each container, then for the pod.
///
/// Names, signs and whole numbers are not checked: they concern one container only.
pub fn problems(containers: &[ContainerDemand], pod_level: Option<&PodLevel>) -> Vec<ResourceProblem> {
    let mut found: Vec<_> = containers.iter().flat_map(of_container).collect();
    if let Some(pod_level) = pod_level {
        found.extend(of_pod(containers, &pod_level.clone().with_defaults(containers)));
    }
    found
}

fn of_container(container: &ContainerDemand) -> impl Iterator<Item = ResourceProblem> {
    contradictions(&container.requests, &container.limits).map(|(resource, request, limit)| {
        let (container, resource) = (container.name.clone(), resource.to_owned());
        match limit {
            None => ResourceProblem::RequestWithoutLimit { container, resource, request },
            Some(limit) if allows_overcommit(&resource) => {
                ResourceProblem::RequestAboveLimit { container, resource, request, limit }
            }
            Some(limit) => ResourceProblem::RequestUnequalLimit { container, resource, request, limit },
        }
    })
}

fn of_pod(containers: &[ContainerDemand], pod: &PodLevel) -> Vec<ResourceProblem> {
    let mut found: Vec<_> = contradictions(&pod.requests, &pod.limits)
        .map(|(resource, request, limit)| {
            let resource = resource.to_owned();
            match limit {
                None => ResourceProblem::PodRequestWithoutLimit { resource, request },
                Some(limit) => ResourceProblem::PodRequestAgainstLimit { resource, request, limit },
            }
        })
        .collect();
    let requests = together(containers, ContainerDemand::requests);
    found.extend(above(&requests, &pod.requests).map(|(resource, containers, pod)| {
        ResourceProblem::RequestsAbovePod { resource: resource.to_owned(), containers, pod }
    }));
    let limits = together(containers, ContainerDemand::limits);
    let huge_pages = above(&limits, &pod.limits).filter(|(resource, ..)| is_huge_pages(resource));
    found.extend(huge_pages.map(|(resource, containers, pod)| ResourceProblem::LimitsAbovePod {
        resource: resource.to_owned(),
        containers,
        pod,
    }));
    // As of 1.35 the API server compares only the limits of `containers`; a sidecar's may be above the pod's.
    for container in containers.iter().filter(|container| container.kind == ContainerRole::App) {
        found.extend(above(&container.limits, &pod.limits).map(|(resource, limit, pod)| {
            let (container, resource) = (container.name.clone(), resource.to_owned());
            ResourceProblem::LimitAbovePod { container, resource, limit, pod }
        }));
    }
    found
}

/// Returns the requests that contradict their limits.
fn contradictions<'a>(
    requests: &'a ResourceList,
    limits: &'a ResourceList,
) -> impl Iterator<Item = (&'a str, Quantity, Option<Quantity>)> {
    requests.iter().map(|(resource, request)| (resource, request, limits.get(resource))).filter(
        |(resource, request, limit)| match limit {
            Some(limit) if allows_overcommit(resource) => request > limit,
            Some(limit) => request != limit,
            None => !allows_overcommit(resource),
        },
    )
}

/// Returns the quantities above their bounds: the resource, the quantity, the bound.
fn above<'a>(
    figures: &'a ResourceList,
    bounds: &'a ResourceList,
) -> impl Iterator<Item = (&'a str, Quantity, Quantity)> {
    figures
        .iter()
        .filter_map(|(resource, figure)| Some((resource, figure, bounds.get(resource)?)))
        .filter(|(_, figure, bound)| figure > bound)
}

/// Checks whether the limit may exceed the request: not for huge pages and devices, which cannot be shared.
fn allows_overcommit(resource: &str) -> bool {
    (!resource.contains('/') || resource.contains("kubernetes.io/")) && !is_huge_pages(resource)
}
