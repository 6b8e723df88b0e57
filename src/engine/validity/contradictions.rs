//! Contradictions between what a profile put into a pod and the rest of it.
//!
//! Most of them make the API server reject the pod. A container that would run as root in a pod with `runAsNonRoot` is
//! admitted, and the kubelet never starts it.

use super::injected_containers;
use crate::api::InjectedProfile;
use crate::engine::pod::{Pod, Seen};
use crate::fields::{ContainerKind, Map, Place, SpecList};
use crate::json::{Json, field, items, text};
use crate::validation::{Facts, VolumeOf, check_container_in_pod, is_privileged, sysctl_of_host};

/// Keys of annotations that name a container behind them.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Fields of a pod's security context that a Windows pod can have.
const WINDOWS_FIELDS: [&str; 2] = ["runAsNonRoot", "windowsOptions"];

/// Kubernetes' default grace period in seconds.
const GRACE_PERIOD: i64 = 30;

/// Returns the first contradiction.
pub(super) fn problem(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    containers(pod, injected)
        .or_else(|| process_namespace(pod, injected))
        .or_else(|| security_context(pod, injected))
        .or_else(|| non_root(pod, injected))
        .or_else(|| host_process(pod, injected))
        .or_else(|| own_mounts(pod, injected))
        .or_else(|| annotations(pod, injected))
}

impl Facts for Pod<'_> {
    fn volume(&self, name: &str) -> VolumeOf<'_> {
        self.get(&Place::VOLUMES, name).map_or(VolumeOf::Absent, |seen| VolumeOf::Known(seen.json()))
    }

    fn has_claim(&self, name: &str) -> bool {
        self.get(&Place::Spec(SpecList::ResourceClaims), name).is_some()
    }

    fn grace_period(&self) -> Option<i64> {
        let set = self.get(&Place::Map(Map::Spec), "terminationGracePeriodSeconds");
        Some(set.and_then(Seen::integer).unwrap_or(GRACE_PERIOD))
    }

    fn os(&self) -> Option<&str> {
        Some(named_os(self))
    }

    fn has_own_users(&self) -> Option<bool> {
        Some(self.spec("hostUsers").and_then(Json::as_bool) == Some(false))
    }

    fn is_never_restarted(&self) -> Option<bool> {
        Some(self.spec("restartPolicy").and_then(Json::as_str) == Some("Never"))
    }

    fn host_network(&self) -> Option<bool> {
        Some(Pod::host_network(self))
    }
}

/// Returns `spec.os.name`, by which the API server tells Windows pods; it does not read the node selector.
fn named_os<'p>(pod: &Pod<'p>) -> &'p str {
    pod.spec("os").and_then(|os| text(os, "name")).unwrap_or_default()
}

fn is_set(pod: &Pod<'_>, name: &str) -> bool {
    pod.spec(name).and_then(Json::as_bool) == Some(true)
}

fn containers(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    injected_containers(pod, injected).find_map(|(place, seen)| {
        let is_init = place == Place::INIT_CONTAINERS;
        let problem = check_container_in_pod(seen.json(), is_init, pod).into_iter().next()?;
        Some(format!("{place}[{}].{}: {}", seen.name().unwrap_or_default(), problem.path, problem.message))
    })
}

/// Whether the profile added a key to one of the pod's maps.
fn adds(injected: &InjectedProfile, map: Map, key: &str) -> bool {
    injected.added.get(&*Place::Map(map).text()).is_some_and(|keys| keys.iter().any(|known| known == key))
}

fn process_namespace(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    const KEY: &str = "shareProcessNamespace";
    if !adds(injected, Map::Spec, KEY) {
        return None;
    }
    let value = pod.get(&Place::Map(Map::Spec), KEY)?.json();
    if value.as_bool() == Some(true) && is_set(pod, "hostPID") {
        return Some(format!(
            "spec.{KEY}: true contradicts spec.hostPID: true of the pod; set onError: Ignore, or match only pods without hostPID"
        ));
    }
    (named_os(pod) == "windows").then(|| format!("spec.{KEY} cannot be set in a pod with os.name: windows"))
}

fn security_context(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let place = Place::Map(Map::SecurityContext);
    let added = injected.added.get(&*place.text())?;
    let os = named_os(pod);
    added.iter().find_map(|key| {
        if os == "windows" && !WINDOWS_FIELDS.contains(&key.as_str()) {
            return Some(format!("securityContext.{key} cannot be set in a pod with os.name: windows"));
        }
        if os == "linux" && key == "windowsOptions" {
            return Some(format!("securityContext.{key} cannot be set in a pod with os.name: linux"));
        }
        if key != "sysctls" {
            return None;
        }
        let sysctls = pod.get(&place, key)?.json();
        let name = sysctl_of_host(sysctls, pod.host_network(), is_set(pod, "hostIPC"))?;
        Some(format!(
            "securityContext.sysctls: {name:?} cannot be set in a pod that shares that namespace with its node (hostNetwork, hostIPC)"
        ))
    })
}

/// Returns a container that the kubelet would refuse to start. An image's own user is not known here.
fn non_root(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let of_pod = |name| pod.get(&Place::Map(Map::SecurityContext), name).map(Seen::json);
    let (pod_non_root, pod_user) = (of_pod("runAsNonRoot"), of_pod("runAsUser"));
    let is_refused = |container: &Json<'_>| {
        let security = field(container, "securityContext");
        let of_container = |name| security.and_then(|security| field(security, name));
        let non_root = of_container("runAsNonRoot").or(pod_non_root).and_then(Json::as_bool);
        let user = of_container("runAsUser").or(pod_user).and_then(Json::as_i64);
        non_root == Some(true) && user == Some(0)
    };
    let message = |place: &Place, name: &str| {
        format!(
            "{place}[{name}] runs as user 0 under runAsNonRoot: true, and the kubelet would never start it; set runAsNonRoot: false in the container's securityContext, or another runAsUser"
        )
    };
    if named_os(pod) == "windows" {
        return None;
    }
    if let Some((place, seen)) = injected_containers(pod, injected).find(|(_, seen)| is_refused(seen.json()))
    {
        return Some(message(&place, seen.name().unwrap_or_default()));
    }
    if !["runAsNonRoot", "runAsUser"].iter().any(|key| adds(injected, Map::SecurityContext, key)) {
        return None;
    }
    // The profile changed what the pod's own containers inherit.
    all_containers(pod)
        .find(|(_, seen)| is_refused(seen.json()))
        .map(|(place, seen)| message(&place, seen.name().unwrap_or_default()))
}

fn all_containers<'s>(pod: &'s Pod<'_>) -> impl Iterator<Item = (Place, Seen<'s>)> {
    ContainerKind::ALL.into_iter().flat_map(move |kind| {
        let place = Place::Spec(kind.list());
        pod.elements(&place).map(move |seen| (place.clone(), seen)).collect::<Vec<_>>()
    })
}

/// In a Windows pod, all containers are `hostProcess` or none is.
fn host_process(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let of = |security: Option<&Json<'_>>| {
        let options = security.and_then(|security| field(security, "windowsOptions"));
        options.and_then(|options| field(options, "hostProcess")).and_then(Json::as_bool)
    };
    let adds_container = injected_containers(pod, injected).next().is_some();
    if !adds_container || pod.os() != "windows" {
        return None;
    }
    let options = pod.get(&Place::Map(Map::SecurityContext), "windowsOptions").map(Seen::json);
    let of_pod = options.and_then(|options| field(options, "hostProcess")).and_then(Json::as_bool);
    let mut kinds = all_containers(pod)
        .map(|(_, seen)| of(field(seen.json(), "securityContext")).or(of_pod).unwrap_or_default());
    let first = kinds.next()?;
    kinds.any(|other| other != first).then(|| {
        "all containers of a Windows pod must be hostProcess containers, or none; set windowsOptions.hostProcess alike".to_owned()
    })
}

/// Mounts and variables that the profile added to the pod's own containers.
fn own_mounts(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let places = injected.added.iter().filter(|(place, _)| place.ends_with("].volumeMounts"));
    places.filter_map(|(place, paths)| Some((place.parse::<Place>().ok()?, paths))).find_map(|(place, paths)| {
        let Place::Container { kind, name, .. } = &place else { return None };
        let container = pod.get(&Place::Spec(kind.list()), name)?.json();
        paths.iter().find_map(|path| {
            let mount = pod.get(&place, path)?.json();
            if text(mount, "mountPropagation") == Some("Bidirectional") && !is_privileged(container) {
                return Some(format!(
                    "{place}[{path}]: mountPropagation: Bidirectional is only for privileged containers, and {name:?} is not one; write HostToContainer"
                ));
            }
            let is_taken = items(field(container, "volumeDevices")).iter().any(|device| {
                text(device, "devicePath") == Some(path) || text(device, "name") == text(mount, "name")
            });
            is_taken.then(|| {
                format!("{place}[{path}]: {name:?} has the same path or volume in volumeDevices; choose another")
            })
        })
    })
}

/// Annotations that name a container which the pod does not have.
fn annotations(pod: &Pod<'_>, injected: &InjectedProfile) -> Option<String> {
    let added = injected.added.get(&*Place::ANNOTATIONS.text())?;
    added.iter().find_map(|key| {
        let name = key.strip_prefix(APP_ARMOR)?;
        pod.container_of_name(name)
            .is_none()
            .then(|| format!("the annotation {key:?} is for container {name:?}, which the pod does not have"))
    })
}
