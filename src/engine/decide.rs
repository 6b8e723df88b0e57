//! The steps of a decision: strip, select, resolve, order, merge, finish.

use std::borrow::Cow;
use std::sync::Arc;

use super::draft::Draft;
use super::inputs::{DecisionInputs, Purpose};
use super::merged::Merged;
use super::patch::{self, Patch};
use super::pod::{OriginalPod, PodView as _, SubmittedPod};
use super::reason::{Level, Reason};
use super::reinvocation::{self, Previous};
use super::select::{self, Matches, Selection};
use super::trace::Trace;
use super::{materialize, merge, order, parameters, post_merge, protect, shape};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::expression::{Budget, Variables};
use crate::fields::Map;
use crate::json::Json;
use crate::profiles::{Profile, Rendered};

/// Result of a decision that ends before anything is injected.
pub(super) struct Ending {
    pub(super) reason: Reason,
    /// Removal of the elements of an earlier injection.
    pub(super) patch: Patch,
}

impl From<Reason> for Ending {
    fn from(reason: Reason) -> Self {
        Self { reason, patch: Patch::default() }
    }
}

/// Result of a decision that injects profiles.
pub(super) struct Done {
    pub(super) reason: Reason,
    pub(super) profiles: Vec<InjectedProfile>,
    pub(super) patch: Patch,
}

/// Submitted pod without the elements of an earlier injection.
pub(super) struct Stripped<'a> {
    draft: Draft<'a>,
    pub(super) previous: Previous,
}

pub(super) fn decide(
    submitted: &Json<'_>,
    by: DecisionInputs<'_>,
    purpose: Purpose,
    trace: &mut Trace,
) -> Result<Done, Ending> {
    let submitted = SubmittedPod(submitted);
    let stripped = strip(submitted, by, purpose, trace)?;
    let materialized = stripped.materialized();
    let (draft, original) = stripped.pods(materialized.as_ref());
    parameters::warn_of_unknown_keys(original, by.namespace, by.profiles, trace);
    let mut budget = Budget::new();
    let variables = by.variables(original);
    let selected = select(&draft, original, by, variables, &mut budget, trace);
    let mut selection = selected.map_err(|reason| stripped.ending(reason))?;
    let resolved = parameters::resolve(original, by.namespace, &mut selection, &mut budget, trace)?;
    let ordered = order(&selection, trace)?;
    let inputs = merge::MergeInputs { variables, parameters: &resolved, previous: &stripped.previous };
    let empty = Merged::new(draft, original);
    let merged = merge::merge(empty, &ordered, &inputs, &mut selection, &mut budget, trace)?;
    if merged.profiles.is_empty() {
        post_merge::image_auto(&merged.draft, &ordered)?;
        return Err(stripped.ending(Reason::NothingLeft));
    }
    let protected = selection.protected(&ordered);
    protect::check(&merged, &protected)?;
    post_merge::check(&merged, &ordered, trace)?;
    Ok(finish(merged, submitted, &stripped.previous, !protected.is_empty(), trace))
}

/// Strips the elements of an earlier injection.
pub(super) fn strip<'a>(
    submitted: SubmittedPod<'a>,
    by: DecisionInputs<'_>,
    purpose: Purpose,
    trace: &mut Trace,
) -> Result<Stripped<'a>, Reason> {
    shape::check(submitted.json())?;
    if let Some(reason) = select::excluded(submitted, by.namespace, by.settings) {
        return Err(reason);
    }
    let mut draft = Draft::new(submitted);
    let status = reinvocation::status(submitted);
    let previous = reinvocation::strip(&mut draft, status, &by.namespace.name, by.profiles, purpose, trace);
    Ok(Stripped { draft, previous })
}

/// Selects the profiles of a pod.
fn select(
    draft: &Draft<'_>,
    original: OriginalPod<'_>,
    by: DecisionInputs<'_>,
    variables: Variables<'_>,
    budget: &mut Budget,
    trace: &mut Trace,
) -> Result<Selection, Reason> {
    let DecisionInputs { namespace, profiles, .. } = by;
    let labels = original.labels();
    let mut matches = Matches::new(profiles, namespace, &labels, variables, budget);
    let mandatory = select::mandatory(&mut matches)?;
    let selected = match select::enabled(original, namespace, trace) {
        Ok(()) => select::choose(original, namespace, profiles, mandatory, &mut matches, trace),
        Err(reason) if mandatory.is_empty() || reason.level() == Level::Denial => Err(reason),
        Err(reason) => select::insist(original, namespace, profiles, mandatory, &reason, trace),
    };
    selected.map_err(|reason| match (reason, post_merge::image_auto(draft, &[])) {
        // The pod asks for injection, but the only thing to inject would be the image.
        (Reason::NoProfileChosen { .. } | Reason::NothingLeft, Err(auto)) => auto,
        (reason, _) => reason,
    })
}

/// Sorts the selected profiles by their start order.
pub(super) fn order(selection: &Selection, trace: &mut Trace) -> Result<Vec<Arc<Profile>>, Reason> {
    let chosen = selection.profiles.values().cloned().collect();
    let ordered = order::order(chosen, |profile| selection.is_protected(profile), trace)?;
    if ordered.len() > 1 {
        trace.add_detail(|| order::describe(&ordered));
    }
    Ok(ordered)
}

impl<'a> Stripped<'a> {
    /// Returns the JSON of the original pod, or `None` if nothing was stripped.
    pub(super) fn materialized(&self) -> Option<Json<'_>> {
        self.draft.is_changed().then(|| materialize::original_pod(&self.draft))
    }

    /// Returns the draft and the original pod, which is the submitted one if nothing was stripped.
    pub(super) fn pods<'b>(&self, materialized: Option<&'b Json<'b>>) -> (Draft<'b>, OriginalPod<'b>)
    where
        'a: 'b,
    {
        let original = materialized.unwrap_or_else(|| self.draft.submitted().json());
        (self.draft.clone(), OriginalPod(original))
    }

    /// Returns the result for a pod that is not injected. A skipped pod becomes the original pod.
    fn ending(&self, reason: Reason) -> Ending {
        let leaves = reason.level() != Level::Denial && !self.previous.is_empty();
        let patch = if leaves { patch::of(&self.draft) } else { Patch::default() };
        Ending { reason, patch }
    }
}

/// Records the injection in the pod's annotations and labels.
fn finish<'a>(
    merged: Merged<'a>,
    submitted: SubmittedPod<'a>,
    previous: &Previous,
    any_protected: bool,
    trace: &mut Trace,
) -> Done {
    let names = merged.names();
    let is_same = previous.is_same_as(&merged, any_protected);
    if !is_same {
        previous.moved_behind(&merged, trace);
    }
    let Merged { mut draft, profiles, .. } = merged;
    let reason = if is_same {
        draft = Draft::new(submitted);
        Reason::AlreadyInjected { profiles: names }
    } else {
        Reason::Injected { profiles: names }
    };
    let status = InjectionStatus { profiles };
    let text = serde_json::to_string(&status).unwrap_or_default();
    draft.set(Map::Annotations, Cow::Borrowed(keys::STATUS), Rendered::Made(text.into()));
    draft.set(Map::Labels, Cow::Borrowed(keys::INJECTED), Rendered::Made("true".into()));
    let patch = patch::of(&draft);
    debug_assert!(
        patch::makes(&patch, submitted.json(), &materialize::original_pod(&draft)),
        "the patch does not make the merged pod"
    );
    Done { reason, profiles: status.profiles, patch }
}
