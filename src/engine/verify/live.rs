//! A live pod: what Mandatory profiles put there stays, and nobody gets into it.

use std::collections::BTreeSet;

use super::added;
use crate::api::{InjectedProfile, Scope, keys};
use crate::engine::pod::{self, Pod, Seen};
use crate::engine::second_pass::status;
use crate::engine::{Namespace, Reason};
use crate::fields::{Map, Place, SpecList};
use crate::json::{Json, items};
use crate::profiles::{Entry, Profile, ProfileSet};

/// Checks a change of a live pod, which also comes as a new ephemeral container or as new resources: what Mandatory
/// profiles put there stays.
///
/// # Errors
/// What would be changed.
pub fn verify_change(old: &Json<'_>, new: &Json<'_>, profiles: &ProfileSet) -> Result<(), Reason> {
    pod::check(old)?;
    pod::check(new)?;
    let (old, new) = (Pod::new(old), Pod::new(new));
    let Ok(Some(status)) = status(&old) else { return Ok(()) };
    let names = protected_names(&status.profiles, profiles);
    let protected: Vec<&InjectedProfile> = status
        .profiles
        .iter()
        .filter(|injected| injected.scope == Scope::Cluster && names.contains(&injected.name))
        .collect();
    for injected in &protected {
        let changed = |what: String| Reason::MandatoryChanged { profile: injected.name.clone(), what };
        for (map, key) in [(Map::Annotations, keys::STATUS), (Map::Labels, keys::INJECTED)] {
            if old.came_in(map, key) != new.came_in(map, key) {
                return Err(changed(format!("{map}[{key}]")));
            }
        }
        for (place, key) in added(injected) {
            match &place {
                Place::Map(map @ (Map::Labels | Map::Annotations))
                    if old.came_in(*map, &key) != new.came_in(*map, &key) =>
                {
                    return Err(changed(format!("{map}[{key}]")));
                }
                Place::Spec(SpecList::InitContainers | SpecList::Containers) => {
                    if let Some(what) = changed_container(&old, &new, &place, &key) {
                        return Err(changed(what));
                    }
                }
                _ => {}
            }
        }
    }
    ephemeral(&old, &new, &protected, profiles)
}

/// The Mandatory profiles among those of a status, and those that came along with them.
fn protected_names(injected: &[InjectedProfile], profiles: &ProfileSet) -> BTreeSet<String> {
    let mandatory = |name: &&str| profiles.find_in(Scope::Cluster, "", name).is_some_and(Entry::is_mandatory);
    let names = injected.iter().map(|injected| injected.name.as_str()).filter(mandatory);
    names
        .flat_map(|name| {
            let along = protected_of(name, profiles).into_iter().map(|profile| profile.name.to_string());
            along.chain([name.to_owned()])
        })
        .collect()
}

/// What of a container is another image, or less than it had.
fn changed_container(old: &Pod<'_>, new: &Pod<'_>, place: &Place, name: &str) -> Option<String> {
    let before = old.get(place, name)?;
    let Some(after) = new.get(place, name) else { return Some(format!("{place}[{name}]")) };
    if before.text("image") != after.text("image") {
        return Some(format!("{place}[{name}].image"));
    }
    let amount = |container: Seen<'_>, kind: &str, resource: &str| {
        container.field("resources")?.field(kind)?.field(resource)?.quantity()
    };
    for kind in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            let (had, has) = (amount(before, kind, resource), amount(after, kind, resource));
            let is_less = match kind {
                // A limit where there was none takes away as well.
                "limits" => has.is_some_and(|has| had.is_none_or(|had| has < had)),
                _ => had.is_some_and(|had| has.is_none_or(|has| has < had)),
            };
            if is_less {
                return Some(format!("{place}[{name}].resources.{kind}.{resource}, which would be less,"));
            }
        }
    }
    None
}

fn ephemeral_containers<'a>(pod: &Pod<'a>) -> impl Iterator<Item = Seen<'a>> + use<'a> {
    items(pod.spec("ephemeralContainers")).iter().map(Seen::Came)
}

/// A new ephemeral container may neither join the processes of a protected container nor mount its volumes.
fn ephemeral(
    old: &Pod<'_>,
    new: &Pod<'_>,
    protected: &[&InjectedProfile],
    profiles: &ProfileSet,
) -> Result<(), Reason> {
    let known: BTreeSet<&str> = ephemeral_containers(old).filter_map(Seen::name).collect();
    for container in ephemeral_containers(new) {
        let name = container.name().unwrap_or_default();
        if known.contains(name) {
            continue;
        }
        for injected in protected {
            let keys = added(injected);
            let has = |wanted: &[SpecList], key: &str| {
                keys.iter().any(|(place, known)| {
                    known == key && wanted.iter().any(|list| *place == Place::Spec(*list))
                })
            };
            let entered = |what: String| Reason::MandatoryEntered { profile: injected.name.clone(), what };
            let containers = [SpecList::InitContainers, SpecList::Containers];
            if let Some(target) =
                container.text("targetContainerName").filter(|target| has(&containers, target))
            {
                let what = format!("the ephemeral container {name:?} with targetContainerName {target:?}");
                return Err(entered(what));
            }
            let is_theirs = |volume: &str| {
                has(&[SpecList::Volumes], volume)
                    || matches!(profiles.find_in(Scope::Cluster, "", &injected.name), Some(Entry::Ready(profile))
                        if profile.template.list(&Place::VOLUMES).iter().any(|known| known.name == volume))
            };
            let mut mounts = container.items("volumeMounts").chain(container.items("volumeDevices"));
            if let Some(volume) = mounts.find_map(|mount| mount.name().filter(|volume| is_theirs(volume))) {
                return Err(entered(format!(
                    "the ephemeral container {name:?} with a mount of volume {volume:?}"
                )));
            }
        }
    }
    Ok(())
}

/// Checks `exec` and `attach`: they do not lead into a Mandatory profile's containers, which go by their names in the
/// namespaces that the profile is for. The review does not say which other containers the pod has.
///
/// Without a name, the API server chooses the pod's only ordinary container (`validateContainer` in
/// `pkg/registry/core/pod/strategy.go`). That one can be a profile's where the profile adds ordinary containers, since a pod
/// may be submitted with none of its own.
///
/// # Errors
/// The container is a Mandatory profile's, or can be.
pub fn verify_entry(
    container: &str,
    verb: &str,
    namespace: &Namespace,
    profiles: &ProfileSet,
) -> Result<(), Reason> {
    for (_, name, entry) in profiles.all().filter(|(owner, _, entry)| owner.is_none() && entry.is_mandatory())
    {
        let Entry::Ready(profile) = entry else { continue };
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

/// A Mandatory profile and those that come along with it.
fn protected_of<'p>(name: &str, profiles: &'p ProfileSet) -> Vec<&'p Profile> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![name];
    let mut found: Vec<&'p Profile> = Vec::new();
    while let Some(name) = waiting.pop() {
        if seen.insert(name.to_owned())
            && let Some(Entry::Ready(profile)) = profiles.find_in(Scope::Cluster, "", name)
        {
            waiting.extend(profile.requires.iter().map(String::as_str));
            found.push(profile);
        }
    }
    found
}
