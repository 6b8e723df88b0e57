//! Merge of profiles into a pod: step 8 of a decision.
//!
//! Profiles are merged one by one in start order, and each is atomic. The rules in [`STEPS`] render and plan a profile's
//! elements and look for conflicts; only a plan without a conflict is carried out. For app containers, the fields of the pod
//! take precedence; between two profiles, the element of the earlier one stays.
//!
//! To add a rule, write a file beside the others, add it to [`STEPS`], and add a fixture.

mod annotations;
mod app_containers;
mod containers;
mod lists;
mod maps;
mod overlay;
mod plan;
mod variables;
mod volumes;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use self::plan::{At, Change, Context, Plan};
use super::draft::Slot;
use super::merged::Merged;
use super::parameters::Parameters;
use super::reason::Reason;
use super::reinvocation::Previous;
use super::select::Selection;
use super::trace::Trace;
use super::validity;
use crate::api::{InjectedProfile, OnError, ProfileName, Replaced};
use crate::expression::{Budget, Variables};
use crate::fields::Place;
use crate::fields::lists::key_of;
use crate::json::owned;
use crate::profiles::{Profile, Rendered};

/// Merge rule. It may only read the pod.
///
/// # Errors
/// The conflict or failed expression for which the whole profile is rejected.
type Rule = for<'a> fn(&Context<'a, '_>, &mut Plan<'a, '_>) -> Result<(), Reason>;

/// Rules in the order in which they plan a profile's elements.
const STEPS: [Rule; 6] = [
    maps::plan,
    volumes::plan,
    annotations::plan_eviction,
    lists::plan,
    containers::plan,
    app_containers::plan,
];

/// Inputs that all profiles of a decision share.
pub(super) struct MergeInputs<'a> {
    pub(super) variables: Variables<'a>,
    pub(super) parameters: &'a BTreeMap<ProfileName, Parameters>,
    pub(super) previous: &'a Previous,
}

/// Merges the profiles into the draft.
///
/// # Errors
/// The cause for which a profile with `onError: Fail` is rejected.
pub(super) fn merge<'a>(
    mut merged: Merged<'a>,
    profiles: &'a [Arc<Profile>],
    inputs: &MergeInputs<'_>,
    selection: &mut Selection,
    budget: &mut Budget,
    trace: &mut Trace,
) -> Result<Merged<'a>, Reason> {
    let none = Parameters::default();
    for profile in profiles {
        if let Some(cause) = selection.missing(profile) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let parameters = inputs.parameters.get(&profile.name).unwrap_or(&none);
        let variables =
            Variables { params: &parameters.values, profile: profile.name.as_str(), ..inputs.variables };
        let protected = selection.is_protected(profile);
        let context = Context { profile, protected, merged: &merged, variables };
        let mut plan = Plan { changes: Vec::new(), notes: Vec::new(), budget };
        if let Err(cause) = STEPS.iter().try_for_each(|step| step(&context, &mut plan)) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let Plan { changes, notes, .. } = plan;
        let tolerant = profile.on_error == OnError::Ignore || selection.along.contains(&profile.name);
        let before = tolerant.then(|| merged.clone());
        let mut undone = Vec::new();
        let injected =
            merged.apply(profile, &parameters.set, changes, (inputs.previous, protected), &mut undone);
        match validity::problem(&merged.draft, merged.original, &injected) {
            None => {
                for note in notes {
                    trace.add(note);
                }
                if !undone.is_empty() {
                    let profile = injected.name.clone();
                    trace.add(Reason::RenderedAnew { profile, elements: undone });
                }
                trace_additions(&injected, trace);
                merged.profiles.push(injected);
            }
            Some(problem) => {
                let cause = Reason::InvalidResult { profile: profile.name.to_string(), problem };
                selection.leave_out(profile, cause, trace)?;
                merged = before.unwrap_or(merged);
            }
        }
    }
    Ok(merged)
}

fn trace_additions(injected: &InjectedProfile, trace: &mut Trace) {
    if trace.is_brief() {
        return;
    }
    for (place, keys) in &injected.added {
        for key in keys {
            let (profile, what, place) = (injected.name.clone(), key.clone(), place.clone());
            trace.add(Reason::Added { profile, what, place });
        }
    }
}

impl<'a> Merged<'a> {
    fn apply(
        &mut self,
        profile: &'a Profile,
        set: &BTreeMap<String, String>,
        changes: Vec<Change<'a>>,
        (previous, protected): (&Previous, bool),
        undone: &mut Vec<String>,
    ) -> InjectedProfile {
        let mut injected = InjectedProfile {
            name: profile.name.to_string(),
            scope: profile.scope,
            revision: profile.revision.clone(),
            parameters: set.clone(),
            added: BTreeMap::new(),
            shared: BTreeMap::new(),
            replaced: BTreeMap::new(),
            overlays: BTreeMap::new(),
        };
        let trust = previous.trust(&injected, protected);
        for change in changes {
            let (place, key) = match change {
                Change::Add { place, at, key, value } => {
                    let index = self.index(&place, &at);
                    let slot = previous.slot(self.draft.submitted(), &place, &key, value, trust);
                    if previous.undoes_a_change(&place, &key, &slot, trust) {
                        undone.push(format!("{place}[{key}]"));
                    }
                    self.put(&place, &at, index, slot);
                    note(&mut injected.added, &place, key.clone());
                    (place, key)
                }
                Change::Set { map, key, value } => {
                    self.draft.set(map, Cow::Owned(key.clone()), value);
                    note(&mut injected.added, &Place::Map(map), key.clone());
                    (Place::Map(map), key)
                }
                Change::Replace { map, key, before, value } => {
                    let replaced = Replaced { before, after: value.clone() };
                    injected.replaced.insert(format!("{map}.{key}"), replaced);
                    self.draft.set(map, Cow::Owned(key.clone()), Rendered::Made(owned(value)));
                    (Place::Map(map), key)
                }
                Change::Share { place, key } => {
                    note(&mut injected.shared, &place, key.clone());
                    (place, key)
                }
                Change::Adopt { place, at, key, value } => {
                    let submitted = self.draft.take(&place, &key);
                    let index = self.index(&place, &at);
                    let slot =
                        previous.adopted_slot(self.draft.submitted(), &place, submitted, value, protected);
                    self.put(&place, &at, index, slot);
                    note(&mut injected.added, &place, key.clone());
                    (place, key)
                }
                Change::Overlay { place, index, key, original, value } => {
                    let slot =
                        previous.overlay_slot(self.draft.submitted(), &place, &key, index, value, trust);
                    self.draft.replace(&place, index, slot);
                    note(&mut injected.overlays, &place, original);
                    (place, key)
                }
            };
            self.set_owner(place, key, profile.name.as_str());
        }
        injected
    }

    fn put(&mut self, place: &Place, at: &At, index: usize, slot: Slot<'a>) {
        match at {
            At::BeforeOwn => self.draft.insert_at(place, index, slot),
            At::Start | At::End | At::Before(_) => self.draft.insert(place, index, slot),
        }
    }

    fn index(&mut self, place: &Place, at: &At) -> usize {
        match at {
            At::Start => 0,
            At::End => usize::MAX,
            At::Before(key) => {
                let field = place.field();
                let found = self.draft.elements(place).position(|live| key_of(field, live.json()) == *key);
                found.unwrap_or(usize::MAX)
            }
            At::BeforeOwn => self.next_before_own(place),
        }
    }
}

/// Adds an entry to a place of the status.
fn note<T>(places: &mut BTreeMap<String, Vec<T>>, place: &Place, what: T) {
    let place = place.text();
    match places.get_mut(&*place) {
        Some(there) => there.push(what),
        None => _ = places.insert(place.into_owned(), vec![what]),
    }
}
