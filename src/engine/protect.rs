//! Checks that the rest of a pod does not change the effect of a Mandatory profile's containers and volumes.

use std::collections::BTreeMap;

use super::exact::{TOKEN_VOLUME, is_token_volume};
use super::merged::Merged;
use super::pod::{PodElement, PodView as _};
use super::reason::{Owner, Reason};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, DnsList, Place, SpecList, mount_path};
use crate::json::{field, items};
use crate::profiles::Profile;

/// Checks the pod after all profiles are merged.
///
/// # Errors
/// The part of the pod that changes a protected profile's containers or their inputs.
pub(super) fn check(merged: &Merged<'_>, protected: &[&Profile]) -> Result<(), Reason> {
    if protected.is_empty() {
        return Ok(());
    }
    volumes(merged, protected)?;
    let undermined = token_volume(merged, protected)
        .or_else(|| annotations(merged, protected))
        .or_else(|| host_aliases(merged, protected))
        .or_else(|| name_servers(merged, protected))
        .or_else(|| references(merged, protected));
    undermined.map_or(Ok(()), Err)
}

/// Checks whether the element belongs to a protected profile, or is shared with one.
fn is_protected(merged: &Merged<'_>, protected: &[&Profile], place: &Place, key: &str) -> bool {
    match merged.owner(place, key) {
        Owner::Profile(owner) => protected.iter().any(|profile| profile.name.as_str() == owner),
        Owner::Pod => false,
    }
}

/// Returns the containers of protected profiles, each with the profile's name.
fn containers<'m>(
    merged: &'m Merged<'_>,
    protected: &'m [&Profile],
) -> impl Iterator<Item = (&'m str, PodElement<'m>)> {
    protected.iter().flat_map(move |profile| {
        [Place::INIT_CONTAINERS, Place::CONTAINERS].into_iter().flat_map(move |place| {
            let names = profile
                .template
                .list(&Place::INIT_CONTAINERS)
                .iter()
                .chain(profile.template.list(&Place::CONTAINERS));
            names.filter_map(move |element| {
                let is_ours = merged.owner(&place, &element.name) == Owner::Profile(profile.name.to_string());
                let container = is_ours.then(|| merged.draft.get(&place, &element.name))??;
                Some((profile.name.as_str(), container))
            })
        })
    })
}

/// Checks that only protected profiles mount the volumes of a protected one: other containers could change the files in
/// them.
fn volumes(merged: &Merged<'_>, protected: &[&Profile]) -> Result<(), Reason> {
    let is_ours = |place: &Place, key: &str| is_protected(merged, protected, place, key);
    let refused = |mount: PodElement<'_>, container: &str| {
        let volume = mount.name()?;
        let has =
            |profile: &&&Profile| profile.template.list(&Place::VOLUMES).iter().any(|v| v.name == volume);
        let profile = protected.iter().find(has)?;
        let (profile, volume) = (profile.name.to_string(), volume.to_owned());
        Some(Reason::VolumeProtected { profile, volume, container: container.to_owned() })
    };
    for kind in ContainerKind::ALL {
        let list = Place::Spec(kind.list());
        for container in merged.draft.elements(&list) {
            let name = container.name().unwrap_or_default();
            if is_ours(&list, name) {
                continue;
            }
            let field = ContainerField::VolumeMounts;
            let place = Place::Container { kind, name: name.to_owned(), field };
            let of_list = merged
                .draft
                .elements(&place)
                .filter(|mount| !is_ours(&place, &key_of(field.name(), mount.json())));
            let of_profile =
                matches!(container, PodElement::Rendered(_)).then(|| container.items("volumeMounts"));
            let mut mounts =
                of_list.chain(of_profile.into_iter().flatten()).chain(container.items("volumeDevices"));
            if let Some(reason) = mounts.find_map(|mount| refused(mount, name)) {
                return Err(reason);
            }
        }
    }
    Ok(())
}

/// Returns a problem if a volume has the name prefix of the volumes for service account tokens: the API server would mount it
/// into every container without a mount at the token's path.
fn token_volume(merged: &Merged<'_>, protected: &[&Profile]) -> Option<Reason> {
    let forged = merged.draft.elements(&Place::VOLUMES).find(|volume| {
        volume.name().is_some_and(|name| name.starts_with(TOKEN_VOLUME)) && !is_token_volume(volume.json())
    })?;
    let volume = forged.name().unwrap_or_default();
    let has_own = |container: PodElement<'_>| {
        container
            .items("volumeMounts")
            .any(|mount| mount.text("mountPath") == Some(mount_path::TOKEN) && mount.name() != Some(volume))
    };
    let (profile, container) = containers(merged, protected).find(|(_, container)| !has_own(*container))?;
    Some(Reason::MandatoryUndermined {
        profile: profile.to_owned(),
        what: format!(
            "the API server mounts the volume {volume:?} into container {:?} in place of its service account's token",
            container.name().unwrap_or_default()
        ),
        fix: format!("rename the volume: names that begin with {TOKEN_VOLUME} are the API server's"),
    })
}

/// Returns the container named by an annotation that changes the confinement of a container: those of the kubelet for
/// `AppArmor` and seccomp, and those of CRI-O.
pub(super) fn confined_container(annotation: &str) -> Option<&str> {
    let (domain, name) = annotation.split_once('/').unwrap_or((annotation, ""));
    match domain {
        "container.apparmor.security.beta.kubernetes.io"
        | "container.seccomp.security.alpha.kubernetes.io" => Some(name),
        domain if domain.ends_with("cri-o.io") || domain.ends_with("crio.io") => Some(name),
        _ if domain.starts_with("io.kubernetes.cri-o.") => annotation.rsplit(['.', '/']).next(),
        _ => None,
    }
}

/// Key prefix of a container's `AppArmor` annotation, which the API server also sets from the container's field.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Returns an annotation that changes the `AppArmor` or seccomp profile of a protected container.
fn annotations(merged: &Merged<'_>, protected: &[&Profile]) -> Option<Reason> {
    let named: Vec<&str> = merged
        .original
        .annotations()
        .map(|(key, _)| key)
        .filter(|key| {
            confined_container(key).is_some() && !is_protected(merged, protected, &Place::ANNOTATIONS, key)
        })
        .collect();
    if named.is_empty() {
        return None;
    }
    containers(merged, protected).find_map(|(profile, container)| {
        let name = container.name().unwrap_or_default();
        let key = named.iter().find(|key| confined_container(key) == Some(name))?;
        let value = merged.original.annotation(key);
        let of_field = app_armor(container);
        if key.starts_with(APPARMOR) && of_field.is_some() && value == of_field.as_deref() {
            return None;
        }
        Some(Reason::MandatoryUndermined {
            profile: profile.to_owned(),
            what: format!("the annotation {key} says how container {name:?} is confined"),
            fix: "remove the annotation".to_owned(),
        })
    })
}

/// Returns the annotation value that the API server derives from the container's field `appArmorProfile`.
fn app_armor(container: PodElement<'_>) -> Option<String> {
    let profile = container.field("securityContext")?.field("appArmorProfile")?;
    match profile.text("type")? {
        "RuntimeDefault" => Some("runtime/default".to_owned()),
        "Unconfined" => Some("unconfined".to_owned()),
        "Localhost" => Some(format!("localhost/{}", profile.text("localhostProfile")?)),
        _ => None,
    }
}

/// Returns a host name of a protected profile for which the pod has another address; a resolver may use either.
fn host_aliases(merged: &Merged<'_>, protected: &[&Profile]) -> Option<Reason> {
    let place = Place::Spec(SpecList::HostAliases);
    let hosts = |alias: PodElement<'_>| -> Vec<String> {
        let names = items(field(alias.json(), "hostnames")).iter().filter_map(|name| name.as_str());
        names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect()
    };
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut others = Vec::new();
    for alias in merged.draft.elements(&place) {
        match merged.owner(&place, &key_of(place.field(), alias.json())) {
            Owner::Profile(owner) if protected.iter().any(|profile| profile.name.as_str() == owner) => {
                taken.extend(hosts(alias).into_iter().map(|host| (host, owner.clone())));
            }
            _ => others.push(alias),
        }
    }
    let (host, profile) = others
        .into_iter()
        .flat_map(hosts)
        .find_map(|host| taken.get(&host).map(|owner| (host.clone(), owner.clone())))?;
    Some(Reason::MandatoryUndermined {
        profile,
        what: format!("spec.hostAliases gives {host:?} another address"),
        fix: "remove the name from the pod's own alias".to_owned(),
    })
}

/// Returns a name server or search domain that precedes a protected profile's; the first one that answers is used.
fn name_servers(merged: &Merged<'_>, protected: &[&Profile]) -> Option<Reason> {
    [DnsList::Nameservers, DnsList::Searches].into_iter().map(Place::Dns).find_map(|place| {
        let keys: Vec<String> = merged
            .draft
            .elements(&place)
            .map(|seen| key_of(place.field(), seen.json()).into_owned())
            .collect();
        let first = keys.iter().position(|key| !is_protected(merged, protected, &place, key))?;
        let late = keys.iter().skip(first).find(|key| is_protected(merged, protected, &place, key))?;
        let Owner::Profile(profile) = merged.owner(&place, late) else { return None };
        Some(Reason::MandatoryUndermined {
            profile,
            what: format!("{place} has {:?} before {late:?}", keys.get(first)?),
            fix: format!("remove {late:?} from the pod; the profile puts it first"),
        })
    })
}

/// Returns a variable of a protected profile in an app container that refers to a later variable of the profile: Kubernetes
/// then leaves the reference as text.
fn references(merged: &Merged<'_>, protected: &[&Profile]) -> Option<Reason> {
    for kind in ContainerKind::ALL {
        for container in merged.draft.elements(&Place::Spec(kind.list())) {
            let name = container.name()?.to_owned();
            let place = Place::Container { kind, name: name.clone(), field: ContainerField::Env };
            let variables: Vec<PodElement<'_>> = merged.draft.elements(&place).collect();
            for (index, variable) in variables.iter().enumerate() {
                let Some(value) = variable.text("value").filter(|value| value.contains("$(")) else {
                    continue;
                };
                let is_ours = |variable: &PodElement<'_>| {
                    variable.name().is_some_and(|name| is_protected(merged, protected, &place, name))
                };
                let is_read = |other: &&PodElement<'_>| {
                    other.name().is_some_and(|name| value.contains(&format!("$({name})"))) && is_ours(other)
                };
                let is_before = |other: &PodElement<'_>| {
                    variables.iter().take(index).any(|earlier| earlier.name() == other.name())
                };
                if is_ours(variable)
                    && let Some(late) =
                        variables.iter().skip(index + 1).filter(is_read).find(|late| !is_before(late))
                    && let Owner::Profile(profile) = merged.owner(&place, late.name()?)
                {
                    let (reads, read) = (variable.name()?, late.name()?);
                    return Some(Reason::MandatoryUndermined {
                        profile,
                        what: format!("{place}[{reads}] comes before {read}, which it reads"),
                        fix: format!("remove both variables from container {name:?}; the profile adds them"),
                    });
                }
            }
        }
    }
    None
}
