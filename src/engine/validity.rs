//! Validation of a pod after a profile was merged, with the rules of the API server. Only the profile's elements are checked:
//! an error in the original pod is left to the API server.
//!
//! `failurePolicy: Ignore` does not cover a pod that becomes invalid by a webhook's patch, so the engine validates it.

mod contradictions;

use std::collections::BTreeSet;

use super::cost;
use super::draft::Draft;
use super::merged::injected_containers;
use super::pod::{OriginalPod, PodElement, PodView as _};
use crate::api::InjectedProfile;
use crate::fields::{ContainerKind, DnsList, Map, Place, mount_path};
use crate::profiles::problem_in;
use crate::resources;
use crate::validation::dns_problem;

/// Maximum size of all annotations of an object, in bytes of keys and values.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
const ANNOTATIONS_SIZE: usize = 256 * 1024;

/// Returns the first problem.
pub(super) fn problem(
    draft: &Draft<'_>,
    original: OriginalPod<'_>,
    injected: &InjectedProfile,
) -> Option<String> {
    annotations(draft, original, injected)
        .or_else(|| containers(draft, injected))
        .or_else(|| own_mounts(draft, injected))
        .or_else(|| dns(draft, injected))
        .or_else(|| resources(draft, original, injected))
        .or_else(|| contradictions::problem(draft, injected))
}

fn annotations(draft: &Draft<'_>, original: OriginalPod<'_>, injected: &InjectedProfile) -> Option<String> {
    injected.added.get("metadata.annotations")?;
    let size = |seen: Option<PodElement<'_>>, key: &str| {
        seen.and_then(|seen| seen.as_text().map(str::len)).unwrap_or_default() + key.len()
    };
    let own: usize = original
        .annotations()
        .filter(|(key, _)| {
            draft.get(&Place::ANNOTATIONS, key).is_some_and(|seen| matches!(seen, PodElement::Submitted(_)))
        })
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let added: usize = draft
        .changed_keys(Map::Annotations)
        .filter(|(_, value)| value.is_some())
        .map(|(key, _)| size(draft.get(&Place::ANNOTATIONS, key), key))
        .sum();
    (own <= ANNOTATIONS_SIZE && own + added > ANNOTATIONS_SIZE).then(|| {
        format!("its annotations have {} bytes, and all together may have {ANNOTATIONS_SIZE}", own + added)
    })
}

fn containers(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    for (place, seen) in injected_containers(draft, injected) {
        let name = seen.name().unwrap_or_default();
        if let PodElement::Rendered(value) = seen
            && injected.overlays.contains_key(&*place.text())
            && let Some((path, message)) = problem_in(&place, "", value)
        {
            return Some(format!("{place}[{name}].{path}: {message}"));
        }
        if let Some(problem) = mounts(draft, &place, name, seen) {
            return Some(problem);
        }
        if let Some(problem) = host_ports(draft, &place, seen) {
            return Some(problem);
        }
    }
    None
}

fn mounts(draft: &Draft<'_>, place: &Place, name: &str, container: PodElement<'_>) -> Option<String> {
    let mut paths = BTreeSet::new();
    for mount in container.items("volumeMounts") {
        let path = mount.text("mountPath").unwrap_or_default();
        if !paths.insert(mount_path::clean(path)) {
            return Some(format!("{place}[{name}]: {path:?} is mounted twice"));
        }
        let volume = mount.name().unwrap_or_default();
        if draft.get(&Place::VOLUMES, volume).is_none() {
            return Some(format!(
                "{place}[{name}]: it mounts volume {volume:?}, which the pod does not have"
            ));
        }
    }
    None
}

/// Checks host ports: they must be unique over the ordinary containers, and on the node's network every port is a host port.
fn host_ports(draft: &Draft<'_>, place: &Place, seen: PodElement<'_>) -> Option<String> {
    if *place != Place::CONTAINERS {
        return None;
    }
    let name = seen.name()?;
    let ours = ports(seen, draft.submitted().host_network());
    let others = draft.elements(&Place::CONTAINERS).filter(|other| other.name() != Some(name));
    for other in others {
        let taken = ports(other, draft.submitted().host_network());
        if let Some((port, protocol, _)) = ours.iter().find(|port| taken.contains(port)) {
            let other = other.name().unwrap_or_default();
            return Some(format!(
                "containers {name:?} and {other:?} both want the node's port {port}/{protocol}"
            ));
        }
    }
    None
}

fn ports<'s>(container: PodElement<'s>, host_network: bool) -> Vec<(i64, &'s str, &'s str)> {
    let port = |port: PodElement<'s>| {
        let fallback = if host_network { "containerPort" } else { "hostPort" };
        let number = port.field("hostPort").or_else(|| port.field(fallback))?.integer()?;
        let protocol = port.text("protocol").unwrap_or("TCP");
        (number != 0).then(|| (number, protocol, port.text("hostIP").unwrap_or_default()))
    };
    container.items("ports").filter_map(port).collect()
}

/// Checks that mounts added to app containers refer to volumes of the pod.
fn own_mounts(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let mounts = injected.added.iter().filter(|(place, _)| place.ends_with("].volumeMounts"));
    mounts.filter_map(|(place, paths)| Some((place.parse::<Place>().ok()?, paths))).find_map(
        |(place, paths)| {
            paths.iter().find_map(|path| {
                let volume = draft.get(&place, path)?.text("name")?;
                draft.get(&Place::VOLUMES, volume).is_none().then(|| {
                    format!("{place}[{path}]: it mounts volume {volume:?}, which the pod does not have")
                })
            })
        },
    )
}

fn dns(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    DnsList::ALL.into_iter().find_map(|list| {
        let place = Place::Dns(list);
        injected.added.get(&*place.text())?;
        let problem = dns_problem(list, draft.elements(&place).filter_map(PodElement::as_text))?;
        Some(format!("{place} {problem}"))
    })
}

/// Checks requests and limits against each other and against the pod-level resources.
fn resources(draft: &Draft<'_>, original: OriginalPod<'_>, injected: &InjectedProfile) -> Option<String> {
    if original.spec("resources").is_some() {
        let before = cost::before(original);
        let known = before.problems();
        return cost::after(draft, &before)
            .problems()
            .into_iter()
            .find(|problem| !known.contains(problem))
            .map(|problem| problem.to_string());
    }
    // Without pod-level resources, each container's are checked alone.
    injected_containers(draft, injected).find_map(|(place, seen)| {
        let kind = ContainerKind::ALL.into_iter().find(|kind| place == Place::Spec(kind.list()))?;
        let problems = |seen| resources::problems(&[cost::container(kind, seen)], None);
        let own = original.get(&place, seen.name()?).filter(|own| !own.has_image_auto());
        let known = own.map(problems).unwrap_or_default();
        problems(seen).into_iter().find(|problem| !known.contains(problem)).map(|problem| problem.to_string())
    })
}
