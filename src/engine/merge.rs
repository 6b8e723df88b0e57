//! Merge of profiles into a pod: step 8 of a decision.
//!
//! Profiles are merged one by one in start order, and each is atomic. The rules in [`STEPS`] render and plan a profile's
//! elements and look for conflicts; only a plan without a conflict is carried out. For app containers, the fields of the pod
//! take precedence; between two profiles, the element of the earlier one stays.
//!
//! To add a rule, write a file beside the others, add it to [`STEPS`], and add a fixture.

mod annotations;
mod app_containers;
mod apply;
mod containers;
mod lists;
mod maps;
mod overlay;
mod plan;
mod variables;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::apply::{Applied, apply};
use self::plan::{Plan, RuleContext};
use super::merged::Merged;
use super::parameters::ResolvedParameters;
use super::reason::Reason;
use super::reinvocation::Previous;
use super::select::Selection;
use super::trace::Trace;
use super::validity;
use crate::api::{InjectedProfile, OnError, ProfileName};
use crate::expression::{Budget, Variables};
use crate::profiles::Profile;

/// Merge rule. It may only read the pod.
///
/// # Errors
/// The conflict or failed expression for which the whole profile is rejected.
type Rule = for<'a> fn(&RuleContext<'a, '_>, &mut Plan<'a, '_>) -> Result<(), Reason>;

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
    pub(super) parameters: &'a BTreeMap<ProfileName, ResolvedParameters>,
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
    let none = ResolvedParameters::default();
    for profile in profiles {
        if let Some(cause) = selection.missing(profile) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let parameters = inputs.parameters.get(&profile.name).unwrap_or(&none);
        let variables =
            Variables { params: &parameters.values, profile: profile.name.as_str(), ..inputs.variables };
        let protected = selection.is_protected(profile);
        let context = RuleContext { profile, protected, merged: &merged, variables };
        let mut plan = Plan { changes: Vec::new(), notes: Vec::new(), budget };
        if let Err(cause) = STEPS.iter().try_for_each(|step| step(&context, &mut plan)) {
            selection.leave_out(profile, cause, trace)?;
            continue;
        }
        let Plan { changes, notes, .. } = plan;
        let tolerant = profile.on_error == OnError::Ignore || selection.along.contains(&profile.name);
        let before = tolerant.then(|| merged.clone());
        let Applied { injected, undone } =
            apply(&mut merged, profile, &parameters.set, changes, inputs.previous, protected);
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
