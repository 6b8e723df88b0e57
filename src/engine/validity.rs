//! Validation of a pod after a profile was merged, with the rules of the API server. Only the profile's elements are checked:
//! an error in the original pod is left to the API server.
//!
//! `failurePolicy: Ignore` does not cover a pod that becomes invalid by a webhook's patch, so the engine validates it.

mod contradictions;

use std::collections::BTreeSet;

use super::cost;
use super::merge::is_auto;
use super::pod::{Pod, Seen};
use crate::api::InjectedProfile;
use crate::fields::{ContainerKind, DnsList, Map, Place, mount_path};
use crate::json::field;
use crate::profiles::problem_in;
use crate::resources;
use crate::validation::dns_problem;

/// Maximum size of all annotations of an object, in bytes of keys and values.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
const ANNOTATIONS_SIZE: usize = 256 * 1024;

/// Returns the first problem.
pub(super) fn problem(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    annotations(pod, injected)
        .or_else(|| containers(pod, injected))
        .or_else(|| own_mounts(pod, injected))
        .or_else(|| dns(pod, injected))
        .or_else(|| resources(pod, injected))
        .or_else(|| contradictions::problem(pod, injected))
}

fn annotations(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    injected.added.get("metadata.annotations")?;
    let size = |seen: Option<Seen<'_>>, key: &str| {
        seen.and_then(|seen| seen.as_text().map(str::len)).unwrap_or_default() + key.len()
    };
    let came: usize = pod
        .annotations()
        .filter(|(key, _)| {
            pod.get(&Place::ANNOTATIONS, key).is_some_and(|seen| matches!(seen, Seen::Came(_)))
        })
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let put: usize = pod
        .changed_keys(Map::Annotations)
        .filter(|(_, value)| value.is_some())
        .map(|(key, _)| size(pod.get(&Place::ANNOTATIONS, key), key))
        .sum();
    (came <= ANNOTATIONS_SIZE && came + put > ANNOTATIONS_SIZE).then(|| {
        format!("its annotations have {} bytes, and all together may have {ANNOTATIONS_SIZE}", came + put)
    })
}

/// Returns the containers that a profile added to the pod or overlaid.
pub(super) fn injected_containers<'s>(
    pod: &'s Pod<'_>,
    injected: &'s InjectedProfile,
) -> impl Iterator<Item = (Place, Seen<'s>)> {
    [Place::INIT_CONTAINERS, Place::CONTAINERS].into_iter().flat_map(move |place| {
        let added = injected.added.get(&*place.text()).into_iter().flatten().map(String::as_str);
        let overlaid = injected.overlays.get(&*place.text()).into_iter().flatten();
        let names = added.chain(overlaid.filter_map(|container| container.get("name")?.as_str()));
        names.filter_map(move |name| Some((place.clone(), pod.get(&place, name)?)))
    })
}

fn containers(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    for (place, seen) in injected_containers(pod, injected) {
        let name = seen.name().unwrap_or_default();
        if let Seen::Put(value) = seen
            && injected.overlays.contains_key(&*place.text())
            && let Some((path, message)) = problem_in(&place, "", value)
        {
            return Some(format!("{place}[{name}].{path}: {message}"));
        }
        if let Some(problem) = mounts(pod, &place, name, seen) {
            return Some(problem);
        }
        if let Some(problem) = host_ports(pod, &place, seen) {
            return Some(problem);
        }
    }
    None
}

fn mounts(pod: &Pod<'_>, place: &Place, name: &str, container: Seen<'_>) -> Option<String> {
    let mut paths = BTreeSet::new();
    for mount in container.items("volumeMounts") {
        let path = mount.text("mountPath").unwrap_or_default();
        if !paths.insert(mount_path::clean(path)) {
            return Some(format!("{place}[{name}]: {path:?} is mounted twice"));
        }
        let volume = mount.name().unwrap_or_default();
        if pod.get(&Place::VOLUMES, volume).is_none() {
            return Some(format!(
                "{place}[{name}]: it mounts volume {volume:?}, which the pod does not have"
            ));
        }
    }
    None
}

/// Checks host ports: they must be unique over the ordinary containers, and on the node's network every port is a host port.
fn host_ports(pod: &Pod<'_>, place: &Place, seen: Seen<'_>) -> Option<String> {
    if *place != Place::CONTAINERS {
        return None;
    }
    let name = seen.name()?;
    let ours = ports(seen, pod.host_network());
    let others = pod.elements(&Place::CONTAINERS).filter(|other| other.name() != Some(name));
    for other in others {
        let taken = ports(other, pod.host_network());
        if let Some((port, protocol, _)) = ours.iter().find(|port| taken.contains(port)) {
            let other = other.name().unwrap_or_default();
            return Some(format!(
                "containers {name:?} and {other:?} both want the node's port {port}/{protocol}"
            ));
        }
    }
    None
}

fn ports<'s>(container: Seen<'s>, host_network: bool) -> Vec<(i64, &'s str, &'s str)> {
    let port = |port: Seen<'s>| {
        let fallback = if host_network { "containerPort" } else { "hostPort" };
        let number = port.field("hostPort").or_else(|| port.field(fallback))?.integer()?;
        let protocol = port.text("protocol").unwrap_or("TCP");
        (number != 0).then(|| (number, protocol, port.text("hostIP").unwrap_or_default()))
    };
    container.items("ports").filter_map(port).collect()
}

/// Checks that mounts added to app containers refer to volumes of the pod.
fn own_mounts(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let mounts = injected.added.iter().filter(|(place, _)| place.ends_with("].volumeMounts"));
    mounts.filter_map(|(place, paths)| Some((place.parse::<Place>().ok()?, paths))).find_map(
        |(place, paths)| {
            paths.iter().find_map(|path| {
                let volume = pod.get(&place, path)?.text("name")?;
                pod.get(&Place::VOLUMES, volume).is_none().then(|| {
                    format!("{place}[{path}]: it mounts volume {volume:?}, which the pod does not have")
                })
            })
        },
    )
}

fn dns(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    DnsList::ALL.into_iter().find_map(|list| {
        let place = Place::Dns(list);
        injected.added.get(&*place.text())?;
        let problem = dns_problem(list, pod.elements(&place).filter_map(Seen::as_text))?;
        Some(format!("{place} {problem}"))
    })
}

/// Checks requests and limits against each other and against the pod-level resources.
fn resources(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let has_pod_level = field(pod.author(), "spec").is_some_and(|spec| field(spec, "resources").is_some());
    if has_pod_level {
        let before = cost::came(pod);
        let known = before.problems();
        return cost::now(pod, &before)
            .problems()
            .into_iter()
            .find(|problem| !known.contains(problem))
            .map(|problem| problem.to_string());
    }
    // Without pod-level resources, each container's are checked alone.
    let untouched = Pod::new(pod.author());
    injected_containers(pod, injected).find_map(|(place, seen)| {
        let kind = ContainerKind::ALL.into_iter().find(|kind| place == Place::Spec(kind.list()))?;
        let problems = |seen| resources::problems(&[cost::container(kind, seen)], None);
        let own = untouched.get(&place, seen.name()?).filter(|own| !is_auto(*own));
        let known = own.map(problems).unwrap_or_default();
        problems(seen).into_iter().find(|problem| !known.contains(problem)).map(|problem| problem.to_string())
    })
}
