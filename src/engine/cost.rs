//! What an injection costs: requests as the scheduler counts them, and the quality of service.

use std::collections::BTreeMap;
use std::fmt;

use super::merge::is_auto;
use super::pod::Pod;
use crate::fields::{ContainerKind, Place};
use crate::json::{Json, field, text};
use crate::quantity::Quantity;
use crate::resources::{Container, Kind, PodLevel, Qos, ResourceList, effective_requests, qos};

/// What the pod requests more than before, and its quality of service.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            parts => write!(f, "{} requested a pod", parts.join(", "))?,
        }
        if self.qos_before == self.qos_after {
            write!(f, "; QoS {}, as before", self.qos_after)
        } else {
            write!(f, "; QoS {} becomes {}", self.qos_before, self.qos_after)
        }
    }
}

/// What a pod asks for.
pub(super) struct Demand {
    pub(super) containers: Vec<Container>,
    pub(super) pod_level: Option<PodLevel>,
    overhead: ResourceList,
}

impl Demand {
    pub(super) fn qos(&self) -> Qos {
        qos(&self.containers, self.pod_level.as_ref())
    }

    fn requests(&self) -> ResourceList {
        effective_requests(&self.containers, self.pod_level.as_ref(), &self.overhead)
    }
}

/// What the pod asked for before any profile.
pub(super) fn came(pod: &Pod<'_>) -> Demand {
    let untouched = Pod::new(pod.author());
    let mut demand = of(&untouched, untouched.author());
    // The API server has done it to every pod that it shows us; a manifest may still lack it.
    demand.pod_level = demand.pod_level.map(|level| level.with_defaults(&demand.containers));
    demand
}

/// What it asks for now.
pub(super) fn now(pod: &Pod<'_>) -> Demand {
    let mut demand = of(pod, pod.author());
    let before = came(pod);
    demand.pod_level = before.pod_level;
    demand
}

/// What the profiles in the pod cost.
pub(super) fn of_injection(pod: &Pod<'_>) -> Cost {
    let (before, after) = (came(pod), now(pod));
    let (old, new) = (before.requests(), after.requests());
    let mut requests = BTreeMap::new();
    for name in old.keys().chain(new.keys()) {
        let of = |list: &ResourceList| list.get(name).copied().unwrap_or(Quantity::ZERO);
        if let Some(more) = of(&new).checked_sub(of(&old)).filter(|more| !more.is_zero()) {
            requests.insert(name.clone(), more);
        }
    }
    Cost { requests, qos_before: before.qos(), qos_after: after.qos() }
}

fn of(pod: &Pod<'_>, author: &Json<'_>) -> Demand {
    let mut containers = Vec::new();
    for kind in ContainerKind::ALL {
        // A container that is left to a profile asks for nothing before it is taken up.
        for seen in pod.elements(&Place::Spec(kind.list())).filter(|seen| !is_auto(*seen)) {
            containers.push(container(kind, &seen.json()));
        }
    }
    let spec = field(author, "spec");
    let pod_level = spec
        .and_then(|spec| field(spec, "resources"))
        .map(|level| PodLevel::new(quantities(level, "requests"), quantities(level, "limits")));
    let overhead = spec.map(|spec| quantities(spec, "overhead")).unwrap_or_default();
    Demand { containers, pod_level, overhead }
}

/// What a container asks for.
fn container(list: ContainerKind, container: &Json<'_>) -> Container {
    let kind = match (list, text(container, "restartPolicy")) {
        (ContainerKind::App, _) => Kind::App,
        (ContainerKind::Init, Some("Always")) => Kind::NativeSidecar,
        (ContainerKind::Init, _) => Kind::Init,
    };
    let resources = field(container, "resources");
    let list = |name| resources.map(|resources| quantities(resources, name)).unwrap_or_default();
    Container::new(text(container, "name").unwrap_or_default(), kind, list("requests"), list("limits"))
}

fn quantities(parent: &Json<'_>, name: &str) -> ResourceList {
    let fields = field(parent, name)
        .and_then(Json::as_object)
        .into_iter()
        .flat_map(serde_json_borrow::ObjectAsVec::iter);
    let quantity = |value: &Json<'_>| match value {
        Json::Str(text) => text.parse().ok(),
        Json::Number(_) => value.to_string().parse().ok(),
        _ => None,
    };
    fields.filter_map(|(name, value)| Some((name.to_owned(), quantity(value)?))).collect()
}
