//! Putting profiles into a pod: step 8 of a decision.
//!
//! Profile by profile in start order, each whole or not at all: the steps in [`STEPS`] plan what a profile
//! adds and look for conflicts, and only a plan without one is carried out. What the pod says wins for its
//! own containers; between two profiles the earlier one's element stays.
//!
//! To add a rule, write a file beside the others, name it in [`STEPS`], and add a fixture.

mod app_containers;
mod containers;
mod metadata;
mod volumes;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::pod::Pod;
use super::reason::Owner;
use super::second_pass::Previous;
use super::select::left_out;
use super::{Reason, Step, Trace};
use crate::api::{InjectedProfile, OnConflict, Position};
use crate::fields::Place;
use crate::profiles::Profile;

/// One merge rule. It may only read the pod.
///
/// # Errors
/// The conflict for which the whole profile cannot be applied.
type Rule = for<'a> fn(&Context<'a, '_>, &mut Plan<'a>) -> Result<(), Reason>;

/// The rules, in the order in which a profile's parts go into the pod.
const STEPS: [Rule; 4] = [metadata::plan, volumes::plan, containers::plan, app_containers::plan];

/// A pod with profiles in it.
pub(super) struct Merged<'a> {
    pub(super) pod: Pod<'a>,
    pub(super) profiles: Vec<InjectedProfile>,
    owners: BTreeMap<(Place, String), String>,
    /// How many init containers of profiles stand before the pod's own.
    first: usize,
}

/// What a rule sees.
struct Context<'a, 'm> {
    profile: &'a Profile,
    merged: &'m Merged<'a>,
}

/// What a profile adds to the pod.
#[derive(Default)]
struct Plan<'a> {
    additions: Vec<Addition<'a>>,
    notes: Vec<Reason>,
}

struct Addition<'a> {
    place: Place,
    at: At,
    key: String,
    value: Cow<'a, Value>,
}

/// Where in a list an element goes.
#[derive(Clone, Copy)]
enum At {
    Start,
    End,
    /// Behind the init containers of earlier profiles, before the pod's own.
    BeforeOwn,
}

/// Puts the profiles in.
///
/// # Errors
/// The conflict of a profile whose `onError` is Fail.
pub(super) fn merge<'a>(
    pod: Pod<'a>,
    profiles: &'a [Arc<Profile>],
    previous: &Previous,
    trace: &mut Trace,
) -> Result<Merged<'a>, Reason> {
    let mut merged = Merged { pod, profiles: Vec::new(), owners: BTreeMap::new(), first: 0 };
    for profile in profiles {
        let context = Context { profile, merged: &merged };
        let mut plan = Plan::default();
        match STEPS.iter().try_for_each(|step| step(&context, &mut plan)) {
            Ok(()) => merged.apply(profile, plan, previous, trace),
            Err(conflict) => left_out(profile.name.as_str(), profile.on_error, conflict, trace)?,
        }
    }
    Ok(merged)
}

impl<'a> Merged<'a> {
    fn apply(&mut self, profile: &Profile, plan: Plan<'a>, previous: &Previous, trace: &mut Trace) {
        let mut added: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for note in plan.notes {
            trace.add(Step::Merge, note);
        }
        for Addition { place, at, key, value } in plan.additions {
            let index = match at {
                At::Start => 0,
                At::End => usize::MAX,
                At::BeforeOwn => {
                    self.first += 1;
                    self.first - 1
                }
            };
            if let Place::Map(map) = place {
                self.pod.set(map, Cow::Owned(key.clone()), value);
            } else {
                let slot = previous.slot(&self.pod, &place, &key, value);
                self.pod.insert(&place, index, slot);
            }
            let (profile, place_text) = (profile.name.to_string(), place.to_string());
            trace.add(
                Step::Merge,
                Reason::Added { profile: profile.clone(), what: key.clone(), place: place_text.clone() },
            );
            added.entry(place_text).or_default().push(key.clone());
            self.owners.insert((place, key), profile);
        }
        self.profiles.push(InjectedProfile {
            name: profile.name.to_string(),
            scope: profile.scope,
            revision: profile.revision.clone(),
            added,
        });
    }

    /// Who put the element there.
    fn owner(&self, place: &Place, key: &str) -> Owner {
        self.owners
            .get(&(place.clone(), key.to_owned()))
            .map_or(Owner::Pod, |profile| Owner::Profile(profile.clone()))
    }
}

impl<'a> Context<'a, '_> {
    fn name(&self) -> String {
        self.profile.name.to_string()
    }

    fn pod(&self) -> &Pod<'a> {
        &self.merged.pod
    }

    fn position(&self) -> At {
        match self.profile.order.position {
            Position::First => At::BeforeOwn,
            Position::Last => At::End,
        }
    }

    /// Does what the profile's `onConflict` says.
    fn conflict(&self, plan: &mut Plan<'a>, cause: Reason) -> Result<(), Reason> {
        match self.profile.on_conflict {
            OnConflict::Fail => Err(cause),
            OnConflict::Skip => {
                plan.notes.push(Reason::ConflictSkipped { cause: Box::new(cause) });
                Ok(())
            }
        }
    }

    /// Plans an element that the pod's own one of the same key beats.
    fn add_unless_set(
        &self,
        plan: &mut Plan<'a>,
        place: Place,
        at: At,
        key: &str,
        value: Cow<'a, Value>,
    ) -> Result<(), Reason> {
        let Some(live) = self.pod().get(&place, key) else {
            plan.add(place, at, key, value);
            return Ok(());
        };
        let (profile, what, owner) = (self.name(), key.to_owned(), self.merged.owner(&place, key));
        let place = place.to_string();
        match owner {
            _ if live.is(&value) => plan.notes.push(Reason::Shared { profile, what, place }),
            Owner::Pod => plan.notes.push(Reason::Kept { profile, what, place, owner }),
            Owner::Profile(_) => {
                return self.conflict(plan, Reason::ValueConflict { profile, what, place, owner });
            }
        }
        Ok(())
    }
}

impl<'a> Plan<'a> {
    /// Plans an element, once: a profile may reach a container by two of its `appContainers`.
    fn add(&mut self, place: Place, at: At, key: &str, value: Cow<'a, Value>) {
        if !self.additions.iter().any(|planned| planned.place == place && planned.key == key) {
            self.additions.push(Addition { place, at, key: key.to_owned(), value });
        }
    }
}
