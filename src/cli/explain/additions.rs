//! Texts about the elements that profiles add to a pod: counted for all profiles, and by name for each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cut::cut;
use crate::api::InjectedProfile;
use crate::fields::{ContainerField, DnsList, Map, Place, SpecList};
use crate::workload::{Container, containers};

/// The nouns for elements, in their order in the text.
const NOUNS: [&str; 18] = [
    "native sidecar",
    "init container",
    "container",
    "volume",
    "image pull secret",
    "host alias",
    "toleration",
    "readiness gate",
    "resource claim",
    "DNS server",
    "DNS search domain",
    "DNS option",
    "label",
    "annotation",
    "security setting",
    "setting",
    "env",
    "mount",
];

/// Added elements by container (`None`: the pod itself) and noun.
type Added<'a> = BTreeMap<Option<String>, BTreeMap<usize, Vec<&'a str>>>;

/// Returns the added elements as numbers: `2 native sidecars, 2 volumes; app: +1 env, +1 mount`.
pub(super) fn counted(profiles: &[InjectedProfile], after: &Value) -> String {
    let mut own = String::new();
    // Containers with the same additions are listed together.
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (container, nouns) in added(profiles, after) {
        let count = |(noun, keys): (usize, Vec<&str>)| match &container {
            None => plural(keys.len(), name(noun)),
            Some(_) if name(noun) == "mount" => format!("+{}", plural(keys.len(), "mount")),
            Some(_) => format!("+{} {}", keys.len(), name(noun)),
        };
        let counts: Vec<String> = nouns.into_iter().map(count).collect();
        match container {
            None => own = counts.join(", "),
            Some(container) => others.entry(counts.join(", ")).or_default().push(container),
        }
    }
    let others = others.into_iter().map(|(counts, names)| format!("{}: {counts}", names.join(", ")));
    let parts: Vec<String> = [own].into_iter().filter(|own| !own.is_empty()).chain(others).collect();
    parts.join("; ")
}

/// Returns the elements that one profile added, by name: `native sidecar log-shipper; volume app-logs; app: env LOG_DIR`.
pub(super) fn named(profile: &InjectedProfile, after: &Value) -> String {
    let mut parts = Vec::new();
    for (container, nouns) in added(std::slice::from_ref(profile), after) {
        let of = |(noun, keys): (usize, Vec<&str>)| {
            let mut keys = keys;
            keys.sort_unstable();
            let keys: Vec<String> = keys.into_iter().map(cut).collect();
            let noun = if keys.len() == 1 || name(noun) == "env" {
                name(noun).to_owned()
            } else {
                name(noun).to_owned() + "s"
            };
            format!("{noun} {}", keys.join(", "))
        };
        let all: Vec<String> = nouns.into_iter().map(of).collect();
        match container {
            None => parts.extend(all),
            Some(container) => parts.push(format!("{container}: {}", all.join(", "))),
        }
    }
    parts.join("; ")
}

/// Returns the name of one element in the trace: `app: env LOG_DIR`, `volume app-logs`.
pub(super) fn element(place: &str, key: &str) -> String {
    let key = cut(key);
    match place.parse::<Place>() {
        Ok(Place::Container { name: container, field, .. }) => {
            format!("{container}: {} {key}", name(container_noun(field)))
        }
        Ok(place) => format!("{} {key}", name(noun(&place, &key, &[]))),
        Err(()) => format!("{key} in {place}"),
    }
}

fn added<'a>(profiles: &'a [InjectedProfile], after: &'a Value) -> Added<'a> {
    let all = containers(profiles, after);
    let mut added = Added::new();
    for (place, keys) in profiles.iter().flat_map(|profile| &profile.added) {
        let Ok(place) = place.parse::<Place>() else { continue };
        for key in keys {
            let (container, noun) = match &place {
                Place::Container { name, field, .. } => (Some(name.clone()), container_noun(*field)),
                _ => (None, noun(&place, key, &all)),
            };
            added.entry(container).or_default().entry(noun).or_default().push(key);
        }
    }
    added
}

fn name(noun: usize) -> &'static str {
    NOUNS.get(noun).copied().unwrap_or_default()
}

fn container_noun(field: ContainerField) -> usize {
    match field {
        ContainerField::Env | ContainerField::EnvFrom => 16,
        ContainerField::VolumeMounts => 17,
    }
}

fn noun(place: &Place, key: &str, containers: &[Container<'_>]) -> usize {
    match place {
        Place::Spec(SpecList::InitContainers) => {
            let role = containers.iter().find(|container| container.name == key).map(|found| found.role);
            usize::from(role == Some(crate::workload::Role::Init))
        }
        Place::Spec(SpecList::Containers) => 2,
        Place::Spec(SpecList::Volumes) => 3,
        Place::Spec(SpecList::ImagePullSecrets) => 4,
        Place::Spec(SpecList::HostAliases) => 5,
        Place::Spec(SpecList::Tolerations) => 6,
        Place::Spec(SpecList::ReadinessGates) => 7,
        Place::Spec(SpecList::ResourceClaims) => 8,
        Place::Dns(DnsList::Nameservers) => 9,
        Place::Dns(DnsList::Searches) => 10,
        Place::Dns(DnsList::Options) => 11,
        Place::Map(Map::Labels) => 12,
        Place::Map(Map::Annotations) => 13,
        Place::Map(Map::SecurityContext) => 14,
        Place::Map(Map::Spec) => 15,
        Place::Container { field, .. } => container_noun(*field),
    }
}

fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 {
        ""
    } else if noun.ends_with("alias") {
        "es"
    } else {
        "s"
    };
    format!("{count} {noun}{s}")
}
