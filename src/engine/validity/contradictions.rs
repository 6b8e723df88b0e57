//! Contradictions between what a profile put into a pod and the rest of it.
//!
//! Most of them make the API server reject the pod. A container that would run as root in a pod with `runAsNonRoot` is
//! admitted, and the kubelet never starts it.

use crate::api::InjectedProfile;
use crate::engine::draft::Draft;
use crate::engine::merged::injected_containers;
use crate::engine::pod::{PodElement, PodView as _};
use crate::fields::{ContainerKind, Map, Place, SpecList};
use crate::json::{Json, field, items, text};
use crate::validation::{PodFacts, VolumeOf, check_container_in_pod, is_privileged, sysctl_of_host};

/// Prefixes of annotation keys that are followed by a container's name.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Fields of a pod's security context that a Windows pod can have.
const WINDOWS_FIELDS: [&str; 2] = ["runAsNonRoot", "windowsOptions"];

/// Kubernetes' default grace period in seconds.
const GRACE_PERIOD: i64 = 30;

/// Returns the first contradiction.
pub(super) fn problem(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    containers(draft, injected)
        .or_else(|| process_namespace(draft, injected))
        .or_else(|| security_context(draft, injected))
        .or_else(|| inherited_user(draft, injected))
        .or_else(|| host_process(draft, injected))
        .or_else(|| own_mounts(draft, injected))
        .or_else(|| annotations(draft, injected))
}

impl PodFacts for Draft<'_> {
    fn volume(&self, name: &str) -> VolumeOf<'_> {
        self.get(&Place::VOLUMES, name).map_or(VolumeOf::Absent, |seen| VolumeOf::Known(seen.json()))
    }

    fn has_claim(&self, name: &str) -> bool {
        self.get(&Place::Spec(SpecList::ResourceClaims), name).is_some()
    }

    fn grace_period(&self) -> Option<i64> {
        let set = self.get(&Place::Map(Map::Spec), "terminationGracePeriodSeconds");
        Some(set.and_then(PodElement::integer).unwrap_or(GRACE_PERIOD))
    }

    fn os(&self) -> Option<&str> {
        Some(named_os(self))
    }

    fn has_own_users(&self) -> Option<bool> {
        Some(self.submitted().spec("hostUsers").and_then(Json::as_bool) == Some(false))
    }

    fn is_never_restarted(&self) -> Option<bool> {
        Some(self.submitted().spec("restartPolicy").and_then(Json::as_str) == Some("Never"))
    }

    fn host_network(&self) -> Option<bool> {
        Some(self.submitted().host_network())
    }
}

/// Returns `spec.os.name`, by which the API server tells Windows pods; it does not read the node selector.
fn named_os<'p>(draft: &'p Draft<'_>) -> &'p str {
    draft.submitted().spec("os").and_then(|os| text(os, "name")).unwrap_or_default()
}

fn is_set(draft: &Draft<'_>, name: &str) -> bool {
    draft.submitted().spec(name).and_then(Json::as_bool) == Some(true)
}

fn containers(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let user = User::of(draft);
    injected_containers(draft, injected).find_map(|(place, seen)| {
        let name = seen.name().unwrap_or_default();
        let is_init = place == Place::INIT_CONTAINERS;
        if let Some(problem) = check_container_in_pod(seen.json(), is_init, draft).into_iter().next() {
            return Some(format!("{place}[{name}].{}: {}", problem.path, problem.message));
        }
        user.problem(&place, seen)
    })
}

/// Checks whether the profile added a key to one of the pod's maps.
fn adds(injected: &InjectedProfile, map: Map, key: &str) -> bool {
    injected.added.get(&*Place::Map(map).text()).is_some_and(|keys| keys.iter().any(|known| known == key))
}

fn process_namespace(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    const KEY: &str = "shareProcessNamespace";
    if !adds(injected, Map::Spec, KEY) {
        return None;
    }
    let value = draft.get(&Place::Map(Map::Spec), KEY)?.json();
    if value.as_bool() == Some(true) && is_set(draft, "hostPID") {
        return Some(format!(
            "spec.{KEY}: true contradicts spec.hostPID: true of the pod; set onError: Ignore, or match only pods without hostPID"
        ));
    }
    (named_os(draft) == "windows").then(|| format!("spec.{KEY} cannot be set in a pod with os.name: windows"))
}

fn security_context(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let place = Place::Map(Map::SecurityContext);
    let added = injected.added.get(&*place.text())?;
    let os = named_os(draft);
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
        let sysctls = draft.get(&place, key)?.json();
        let name = sysctl_of_host(sysctls, draft.submitted().host_network(), is_set(draft, "hostIPC"))?;
        Some(format!(
            "securityContext.sysctls: {name:?} cannot be set in a pod that shares that namespace with its node (hostNetwork, hostIPC)"
        ))
    })
}

/// User settings that containers inherit from their pod.
struct User<'p> {
    is_windows: bool,
    non_root: Option<&'p Json<'p>>,
    id: Option<&'p Json<'p>>,
}

impl<'p> User<'p> {
    fn of(draft: &'p Draft<'_>) -> Self {
        let of_pod = |name| draft.get(&Place::Map(Map::SecurityContext), name).map(PodElement::json);
        let is_windows = named_os(draft) == "windows";
        Self { is_windows, non_root: of_pod("runAsNonRoot"), id: of_pod("runAsUser") }
    }

    /// Returns the reason for which the kubelet would reject a container. An image's own user is not known here.
    fn problem(&self, place: &Place, container: PodElement<'_>) -> Option<String> {
        let security = field(container.json(), "securityContext");
        let own = |name| security.and_then(|security| field(security, name));
        let non_root = own("runAsNonRoot").or(self.non_root).and_then(Json::as_bool);
        let id = own("runAsUser").or(self.id).and_then(Json::as_i64);
        (!self.is_windows && non_root == Some(true) && id == Some(0)).then(|| {
            format!(
                "{place}[{}] runs as user 0 under runAsNonRoot: true, and the kubelet would never start it; set runAsNonRoot: false in the container's securityContext, or another runAsUser",
                container.name().unwrap_or_default()
            )
        })
    }
}

/// Returns a problem of an app container for which the profile changed the inherited user.
fn inherited_user(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    if !["runAsNonRoot", "runAsUser"].iter().any(|key| adds(injected, Map::SecurityContext, key)) {
        return None;
    }
    let user = User::of(draft);
    all_containers(draft).find_map(|(place, seen)| user.problem(&place, seen))
}

fn all_containers<'s>(draft: &'s Draft<'_>) -> impl Iterator<Item = (Place, PodElement<'s>)> {
    let elements = |kind: ContainerKind| draft.elements(&Place::Spec(kind.list()));
    ContainerKind::ALL
        .into_iter()
        .flat_map(move |kind| elements(kind).map(move |seen| (Place::Spec(kind.list()), seen)))
}

/// Checks that all containers of a pod are `hostProcess` containers or none is, and that such a pod is on the node's network
/// (`validateWindowsHostProcessPod`).
fn host_process(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let of = |security: Option<&Json<'_>>| {
        let options = security.and_then(|security| field(security, "windowsOptions"));
        options.and_then(|options| field(options, "hostProcess")).and_then(Json::as_bool)
    };
    let key = "windowsOptions";
    let has_options = |seen: PodElement<'_>| {
        seen.field("securityContext").is_some_and(|security| security.field(key).is_some())
    };
    let mut containers = injected_containers(draft, injected);
    let is_concerned = adds(injected, Map::SecurityContext, key)
        || containers.any(|(_, seen)| draft.submitted().os() == "windows" || has_options(seen));
    if !is_concerned {
        return None;
    }
    let options = draft.get(&Place::Map(Map::SecurityContext), key).map(PodElement::json);
    let of_pod = options.and_then(|options| field(options, "hostProcess")).and_then(Json::as_bool);
    let (mut some, mut all, mut differs) = (false, true, false);
    for (_, seen) in all_containers(draft) {
        let own = of(field(seen.json(), "securityContext"));
        let is_host_process = own.or(of_pod).unwrap_or_default();
        some |= is_host_process;
        all &= is_host_process;
        differs |= own.zip(of_pod).is_some_and(|(own, of_pod)| own != of_pod);
    }
    if differs || (some && !all) {
        return Some("all containers of a pod must be hostProcess containers, or none; set windowsOptions.hostProcess alike".to_owned());
    }
    (some && !draft.submitted().host_network()).then(|| {
        "windowsOptions.hostProcess: true needs hostNetwork: true, which the pod does not have".to_owned()
    })
}

/// Checks mounts and variables that the profile added to app containers.
fn own_mounts(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let places = injected.added.iter().filter(|(place, _)| place.ends_with("].volumeMounts"));
    places.filter_map(|(place, paths)| Some((place.parse::<Place>().ok()?, paths))).find_map(|(place, paths)| {
        let Place::Container { kind, name, .. } = &place else { return None };
        let container = draft.get(&Place::Spec(kind.list()), name)?.json();
        paths.iter().find_map(|path| {
            let mount = draft.get(&place, path)?.json();
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

/// Checks annotations that name a container which the pod does not have.
fn annotations(draft: &Draft<'_>, injected: &InjectedProfile) -> Option<String> {
    let added = injected.added.get(&*Place::ANNOTATIONS.text())?;
    added.iter().find_map(|key| {
        let name = key.strip_prefix(APP_ARMOR)?;
        draft
            .container_of_name(name)
            .is_none()
            .then(|| format!("the annotation {key:?} is for container {name:?}, which the pod does not have"))
    })
}
