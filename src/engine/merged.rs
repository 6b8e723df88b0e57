//! Draft with merged profiles, and the profile that each added element belongs to.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::pod::{OriginalPod, PodElement};
use super::reason::Owner;
use crate::api::{InjectedProfile, keys};
use crate::fields::{Map, Place};

/// Draft with merged profiles.
#[derive(Clone)]
pub(super) struct Merged<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) original: OriginalPod<'a>,
    pub(super) profiles: Vec<InjectedProfile>,
    /// Owners of the elements that profiles added. A list, because it is short and can be searched without copies of the key.
    owners: Vec<Owned<'a>>,
    /// Number of init containers, and of classic sidecars, of profiles before the pod's own.
    first: BTreeMap<Place, usize>,
}

/// Element with the profile that added it.
#[derive(Clone)]
struct Owned<'a> {
    place: Place,
    key: String,
    profile: &'a str,
}

impl<'a> Merged<'a> {
    /// Returns the draft without any profile.
    pub(super) fn new(draft: Draft<'a>, original: OriginalPod<'a>) -> Self {
        Self { draft, original, profiles: Vec::new(), owners: Vec::new(), first: BTreeMap::new() }
    }

    /// Records the owner of an element.
    pub(super) fn set_owner(&mut self, place: Place, key: String, profile: &'a str) {
        self.owners.push(Owned { place, key, profile });
    }

    /// Returns the owner of an element.
    pub(super) fn owner(&self, place: &Place, key: &str) -> Owner {
        // If two profiles raised a scalar, it belongs to the later one.
        let owned = self.owners.iter().rev().find(|owned| owned.key == key && owned.place == *place);
        owned.map_or(Owner::Pod, |owned| Owner::Profile(owned.profile.to_owned()))
    }

    /// Returns the position after the elements of earlier profiles and before the pod's own, for one element.
    pub(super) fn next_before_own(&mut self, place: &Place) -> usize {
        let next = self.first.entry(place.clone()).or_default();
        *next += 1;
        *next - 1
    }

    /// Returns the names of the merged profiles.
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.profiles)
    }
}

/// Returns the names of injected profiles.
pub(super) fn names(profiles: &[InjectedProfile]) -> Vec<String> {
    profiles.iter().map(|profile| profile.name.clone()).collect()
}

/// Returns the containers that a profile added to the draft or overlaid.
pub(super) fn injected_containers<'s>(
    draft: &'s Draft<'_>,
    injected: &'s InjectedProfile,
) -> impl Iterator<Item = (Place, PodElement<'s>)> {
    [Place::INIT_CONTAINERS, Place::CONTAINERS].into_iter().flat_map(move |place| {
        let added = injected.added.get(&*place.text()).into_iter().flatten().map(String::as_str);
        let overlaid = injected.overlays.get(&*place.text()).into_iter().flatten();
        let names = added.chain(overlaid.filter_map(|container| container.get("name")?.as_str()));
        names.filter_map(move |name| Some((place.clone(), draft.get(&place, name)?)))
    })
}

/// Returns the elements, map keys and scalars that a profile added to a pod, changed in it or shares with it.
pub(super) fn elements_of(injected: &InjectedProfile) -> Vec<(Place, String)> {
    let lists = injected
        .added
        .iter()
        .chain(&injected.shared)
        .filter_map(|(place, keys)| Some((place.parse::<Place>().ok()?, keys)));
    let elements = lists.flat_map(|(place, keys)| keys.iter().map(move |key| (place.clone(), key.clone())));
    let scalars = injected.replaced.keys().filter_map(|path| path.strip_prefix("spec."));
    let all = elements.chain(scalars.map(|key| (Place::Map(Map::Spec), key.to_owned())));
    // Excludes a list that others may extend, and that does not affect the profile's function.
    all.filter(|(place, key)| *place != Place::ANNOTATIONS || key != keys::SAFE_TO_EVICT_VOLUMES).collect()
}
