//! Protection of Mandatory profiles' elements and containers in live pods.
//!
//! Both the status annotation and the pod's spec identify them: a pod with a profile's containers and volumes has the profile
//! even if the annotation is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json_borrow::ObjectAsVec;

use crate::api::{InjectedProfile, Scope, keys};
use crate::engine::inputs::Namespace;
use crate::engine::merged::elements_of;
use crate::engine::pod::{PodElement, PodView as _, SubmittedPod};
use crate::engine::protect::confined_container;
use crate::engine::reason::Reason;
use crate::engine::reinvocation::status;
use crate::engine::shape;
use crate::fields::{Map, Place};
use crate::json::{Json, field, items, same};
use crate::profiles::{Element, Profile, ProfileEntry, ProfileSet};

const CONTAINERS: [Place; 2] = [Place::INIT_CONTAINERS, Place::CONTAINERS];

/// Places and keys of Mandatory profiles' elements in a live pod, by the profile's name.
type Protected = BTreeMap<String, BTreeSet<(Place, String)>>;

/// Verifies a change of a live pod: its elements of Mandatory profiles must be unchanged. The change may also be a new
/// ephemeral container, new resources, or an update of the status.
///
/// # Errors
/// The element that would be changed.
pub fn verify_change(
    old: &Json<'_>,
    new: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
) -> Result<(), Reason> {
    shape::check(old)?;
    shape::check(new)?;
    let (old, new) = (SubmittedPod(old), SubmittedPod(new));
    let protected = protected(old, namespace, profiles);
    for (name, keys) in &protected {
        if let Some(what) = changed(old, new, keys) {
            return Err(Reason::MandatoryChanged { profile: name.clone(), what });
        }
    }
    ephemeral(old, new, &protected)
}

/// Returns the first element of a profile that differs.
fn changed(
    old: SubmittedPod<'_>,
    new: SubmittedPod<'_>,
    of_profile: &BTreeSet<(Place, String)>,
) -> Option<String> {
    let ours = [(Map::Annotations, keys::STATUS), (Map::Labels, keys::INJECTED)];
    let in_maps = of_profile.iter().filter_map(|(place, key)| match place {
        Place::Map(map @ (Map::Labels | Map::Annotations)) => Some((*map, key.as_str())),
        _ => None,
    });
    let confining = old.annotations().chain(new.annotations()).map(|(key, _)| key).filter(|key| {
        let container = confined_container(key).unwrap_or_default();
        CONTAINERS.into_iter().any(|place| of_profile.contains(&(place, container.to_owned())))
    });
    let mut keys = ours.into_iter().chain(in_maps).chain(confining.map(|key| (Map::Annotations, key)));
    if let Some((map, key)) =
        keys.find(|(map, key)| !is_same(old.value_in(*map, key), new.value_in(*map, key)))
    {
        return Some(format!("{map}[{key}]"));
    }
    let containers = of_profile.iter().filter(|(place, _)| CONTAINERS.contains(place));
    containers.into_iter().find_map(|(place, name)| changed_container(old, new, place, name))
}

fn is_same(old: Option<&Json<'_>>, new: Option<&Json<'_>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => same(old, new),
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// Returns the elements of Mandatory profiles and of the profiles that they require.
fn protected(pod: SubmittedPod<'_>, namespace: &Namespace, profiles: &ProfileSet) -> Protected {
    let mut protected = Protected::new();
    let injected = status(pod).ok().flatten().map(|status| status.profiles).unwrap_or_default();
    let names = protected_names(&injected, profiles);
    for injected in injected.iter().filter(|one| one.scope == Scope::Cluster && names.contains(&one.name)) {
        protected.entry(injected.name.clone()).or_default().extend(elements_of(injected));
    }
    for (name, _) in mandatory_in(namespace, profiles) {
        for profile in protected_of(name, profiles) {
            if protected.contains_key(profile.name.as_str()) || is_in(pod, profile) {
                protected.entry(profile.name.to_string()).or_default().extend(written(pod, profile));
            }
        }
    }
    protected
}

/// Returns the Mandatory profiles that apply to a namespace.
fn mandatory_in<'p>(
    namespace: &'p Namespace,
    profiles: &'p ProfileSet,
) -> impl Iterator<Item = (&'p str, &'p Profile)> {
    profiles.all().filter_map(|(owner, name, entry)| match entry {
        ProfileEntry::Ready(profile) if owner.is_none() && profile.mandatory => {
            let labels = namespace.labels.pairs();
            let is_here =
                profile.matching.as_ref().is_some_and(|matching| matching.selects_namespace(&labels));
            is_here.then_some((name, &**profile))
        }
        _ => None,
    })
}

/// Checks whether the pod has the containers and volumes that the profile adds to every pod; for a profile without any, its
/// labels and annotations.
fn is_in(pod: SubmittedPod<'_>, profile: &Profile) -> bool {
    let always = |place: &Place| -> Vec<&Element> {
        profile.template.list(place).iter().filter(|element| element.when.is_none()).collect()
    };
    let containers: Vec<&Element> = CONTAINERS.iter().flat_map(always).collect();
    let volumes = always(&Place::VOLUMES);
    if containers.is_empty() && volumes.is_empty() {
        let mut keys = maps(profile).peekable();
        return keys.peek().is_some() && keys.all(|(map, key)| pod.value_in(map, key).is_some());
    }
    let has_container = |name: &str| CONTAINERS.iter().any(|place| pod.get(place, name).is_some());
    containers.iter().all(|container| has_container(&container.name))
        && volumes.iter().all(|volume| pod.get(&Place::VOLUMES, &volume.name).is_some())
}

/// Returns the keys of the labels and annotations that a profile sets.
fn maps(profile: &Profile) -> impl Iterator<Item = (Map, &str)> {
    [Map::Labels, Map::Annotations]
        .into_iter()
        .flat_map(|map| profile.template.map(map).iter().map(move |(key, _)| (map, &**key)))
}

/// Returns the pod's elements whose names are literals in the profile.
fn written(pod: SubmittedPod<'_>, profile: &Profile) -> Vec<(Place, String)> {
    let in_maps = maps(profile)
        .filter(|(map, key)| pod.value_in(*map, key).is_some())
        .map(|(map, key)| (Place::Map(map), key.to_owned()));
    let classic = |place: &Place| profile.classic && *place == Place::CONTAINERS;
    let containers = CONTAINERS.into_iter().flat_map(|place| {
        let native = if classic(&place) { profile.template.list(&Place::INIT_CONTAINERS) } else { &[] };
        let elements = profile.template.list(&place).iter().chain(native);
        elements.map(move |element| (place.clone(), element.name.clone())).collect::<Vec<_>>()
    });
    let volumes =
        profile.template.list(&Place::VOLUMES).iter().map(|volume| (Place::VOLUMES, volume.name.clone()));
    in_maps.chain(containers).chain(volumes).collect()
}

/// Returns the Mandatory profiles of a status, and the profiles that they require.
fn protected_names(injected: &[InjectedProfile], profiles: &ProfileSet) -> BTreeSet<String> {
    let mandatory =
        |name: &&str| profiles.find_in(Scope::Cluster, "", name).is_some_and(ProfileEntry::is_mandatory);
    let names = injected.iter().map(|injected| injected.name.as_str()).filter(mandatory);
    names
        .flat_map(|name| {
            let along = protected_of(name, profiles).into_iter().map(|profile| profile.name.to_string());
            along.chain([name.to_owned()])
        })
        .collect()
}

/// Returns the field of a container that differs, or whose requests or limits are lower.
fn changed_container(
    old: SubmittedPod<'_>,
    new: SubmittedPod<'_>,
    place: &Place,
    name: &str,
) -> Option<String> {
    let before = old.get(place, name)?;
    let Some(after) = new.get(place, name) else { return Some(format!("{place}[{name}]")) };
    let names =
        before.fields().chain(after.fields()).map(|(name, _)| name).filter(|name| *name != "resources");
    let mut others = names.filter(|name| !is_same(field(before.json(), name), field(after.json(), name)));
    if let Some(field) = others.next() {
        return Some(format!("{place}[{name}].{field}"));
    }
    let amounts = |container: PodElement<'_>, kind: &str| -> BTreeMap<String, _> {
        let amounts = container.field("resources").and_then(|resources| resources.field(kind));
        let amounts = amounts.into_iter().flat_map(PodElement::fields);
        amounts.filter_map(|(resource, amount)| Some((resource.to_owned(), amount.quantity()?))).collect()
    };
    for kind in ["requests", "limits"] {
        let (had, has) = (amounts(before, kind), amounts(after, kind));
        let less = had.keys().chain(has.keys()).find(|resource| {
            match (kind, had.get(*resource), has.get(*resource)) {
                // A new limit also takes resources away.
                ("limits", None, Some(_)) | ("requests", Some(_), None) => true,
                (_, Some(had), Some(has)) => has < had,
                _ => false,
            }
        });
        if let Some(resource) = less {
            return Some(format!("{place}[{name}].resources.{kind}.{resource}, which would be less,"));
        }
    }
    None
}

fn ephemeral_containers(pod: SubmittedPod<'_>) -> impl Iterator<Item = PodElement<'_>> {
    items(pod.spec("ephemeralContainers")).iter().map(PodElement::Submitted)
}

/// Checks that a new ephemeral container neither joins the processes of a protected container nor mounts its volumes.
fn ephemeral(old: SubmittedPod<'_>, new: SubmittedPod<'_>, protected: &Protected) -> Result<(), Reason> {
    let known: BTreeSet<&str> = ephemeral_containers(old).filter_map(PodElement::name).collect();
    for container in ephemeral_containers(new) {
        let name = container.name().unwrap_or_default();
        if known.contains(name) {
            continue;
        }
        for (profile, keys) in protected {
            let has = |place: Place, key: &str| keys.contains(&(place, key.to_owned()));
            let entered = |what: String| Reason::MandatoryEntered { profile: profile.clone(), what };
            let target = container.text("targetContainerName").unwrap_or_default();
            if CONTAINERS.into_iter().any(|place| has(place, target)) {
                let what = format!("the ephemeral container {name:?} with targetContainerName {target:?}");
                return Err(entered(what));
            }
            let mut mounts = container.items("volumeMounts").chain(container.items("volumeDevices"));
            let volume = mounts.find_map(|mount| mount.name().filter(|volume| has(Place::VOLUMES, volume)));
            if let Some(volume) = volume {
                return Err(entered(format!(
                    "the ephemeral container {name:?} with a mount of volume {volume:?}"
                )));
            }
        }
    }
    Ok(())
}

/// Verifies a binding of a pod to a node: the API server copies a binding's annotations to the pod. The review does not
/// contain the pod, so the keys of all Mandatory profiles of the namespace are protected.
///
/// # Errors
/// The binding has a label or annotation of a Mandatory profile.
pub fn verify_binding(
    binding: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
) -> Result<(), Reason> {
    let metadata = field(binding, "metadata");
    for (map, name) in [(Map::Labels, "labels"), (Map::Annotations, "annotations")] {
        let given = metadata.and_then(|metadata| field(metadata, name)).and_then(Json::as_object);
        for (key, _) in given.into_iter().flat_map(ObjectAsVec::iter) {
            for (mandatory, _) in mandatory_in(namespace, profiles) {
                let all = protected_of(mandatory, profiles);
                let is_ours = matches!(key, keys::STATUS | keys::INJECTED)
                    || key.split('/').next() == Some(keys::FILES)
                    || all.iter().any(|profile| profile.template.sets(map, key))
                    || confined_container(key).is_some_and(|container| has_container(&all, container));
                if is_ours {
                    let what = format!("{map}[{key}]");
                    return Err(Reason::MandatoryChanged { profile: mandatory.to_owned(), what });
                }
            }
        }
    }
    Ok(())
}

fn has_container(profiles: &[&Profile], name: &str) -> bool {
    let containers = |profile: &&Profile| {
        CONTAINERS.iter().flat_map(|place| profile.template.list(place)).any(|element| element.name == name)
    };
    profiles.iter().any(containers)
}

/// Checks that `exec` and `attach` do not enter a container of a Mandatory profile. The review does not contain the pod, so
/// the names of all Mandatory profiles' containers are protected in the namespaces that the profiles select.
///
/// Without a name, the API server chooses the pod's only ordinary container (`validateContainer` in
/// `pkg/registry/core/pod/strategy.go`). A pod may be submitted with no container, so the only one can be a profile's.
///
/// # Errors
/// The container belongs to a Mandatory profile, or may belong to one.
pub fn verify_entry(
    container: &str,
    verb: &str,
    namespace: &Namespace,
    profiles: &ProfileSet,
) -> Result<(), Reason> {
    for (_, name, entry) in profiles.all().filter(|(owner, _, entry)| owner.is_none() && entry.is_mandatory())
    {
        let ProfileEntry::Ready(profile) = entry else { continue };
        let labels = namespace.labels.pairs();
        let is_here = profile.matching.as_ref().is_some_and(|matching| matching.selects_namespace(&labels));
        let required = protected_of(name, profiles);
        let may_be_default = |profile: &Profile| {
            let has_any = |place| !profile.template.list(place).is_empty();
            has_any(&Place::CONTAINERS) || (profile.classic && has_any(&Place::INIT_CONTAINERS))
        };
        let has = |profile: &Profile| {
            [Place::INIT_CONTAINERS, Place::CONTAINERS]
                .iter()
                .flat_map(|place| profile.template.list(place))
                .any(|element| element.name == container)
        };
        let leads_there =
            |profile: &Profile| if container.is_empty() { may_be_default(profile) } else { has(profile) };
        if is_here && required.iter().any(|profile| leads_there(profile)) {
            let what = if container.is_empty() {
                format!(
                    "{verb} without a container's name, which may lead into a container of the profile (name one with -c),"
                )
            } else {
                format!("{verb} into container {container:?}")
            };
            return Err(Reason::MandatoryEntered { profile: name.to_owned(), what });
        }
    }
    Ok(())
}

/// Returns a Mandatory profile and the profiles that it requires.
fn protected_of<'p>(name: &str, profiles: &'p ProfileSet) -> Vec<&'p Profile> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![name];
    let mut found: Vec<&'p Profile> = Vec::new();
    while let Some(name) = waiting.pop() {
        if seen.insert(name.to_owned())
            && let Some(ProfileEntry::Ready(profile)) = profiles.find_in(Scope::Cluster, "", name)
        {
            waiting.extend(profile.requires.iter().map(String::as_str));
            found.push(profile);
        }
    }
    found
}
