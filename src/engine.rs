//! The decision: what is injected into a pod, and why.
//!
//! [`inject`] is the one entry point, and [`admit`] the same with less to say. It takes values and gives a [`Decision`];
//! it does no I/O, reads no clock and never asks for more. A pod's fields that this build has never heard of pass through
//! untouched, since the pod stays JSON; every access to it goes through `pod`.
//!
//! The steps, in the order of the files that make them: [reinvocation] takes away what an
//! earlier injection added, [select] decides whether and which profiles, [order] in which order they
//! start, [merge] puts them into the pod, [patch] writes the difference. Every step leaves lines in the
//! [`Trace`], each with a [`Reason`] whose code is stable.

mod cost;
mod exact;
mod materialize;
mod post_merge;
mod superset;

mod merge;
mod order;
mod parameters;
mod patch;

mod pod;
mod protect;
mod reason;
mod reinvocation;
mod restore;
mod select;
mod trace;
mod validity;
mod verify;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

pub use self::cost::Cost;
pub use self::patch::Patch;
pub use self::reason::{ChoicePlace, Level, Owner, Reason, SetBy};
pub use self::restore::restore;
pub use self::trace::{Line, Step, Trace};
pub use self::verify::{verify, verify_binding, verify_change, verify_entry};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::expression::{Budget, NamespaceView, ParameterValue, Variables};
use crate::fields::Map;
use crate::json::Json;
use crate::profiles::{Profile, ProfileSet, Rendered};
use crate::string_map::StringMap;
use merge::Merged;
use pod::Pod;
use reinvocation::Previous;
use select::{Matches, Selection};

/// What a decision needs of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: StringMap,
    /// Its annotations.
    pub annotations: StringMap,
}

/// What the operator set at install.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces that are never injected, besides [`keys::ALWAYS_EXCLUDED_NAMESPACES`].
    pub excluded_namespaces: BTreeSet<String>,
    /// What expressions see as `cluster`: an object of the operator's own.
    pub cluster: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self { excluded_namespaces: BTreeSet::new(), cluster: Value::Object(serde_json::Map::new()) }
    }
}

/// What was decided for a pod.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What becomes of the pod.
    pub outcome: Outcome,
    /// The one line that answers why: the last word of the trace.
    pub reason: Reason,
    /// The profiles that the pod has after the decision, in start order.
    pub profiles: Vec<InjectedProfile>,
    /// The change to the pod as RFC 6902 has it; empty where there is none.
    pub patch: Patch,
    /// Every step; from [`admit`] only what is wrong.
    pub trace: Trace,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has its profiles.
    Injected,
    /// It goes on without any.
    Skipped,
    /// It is refused.
    Denied,
}

impl Outcome {
    /// The word for it in logs, metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
        }
    }
}

impl Decision {
    /// What the person who created the pod should hear, although it was admitted.
    pub fn warnings(&self) -> impl Iterator<Item = &Reason> {
        self.trace.lines().iter().map(|line| &line.reason).filter(|reason| reason.level() == Level::Warning)
    }

    /// The profiles that the pod does without though it should have them, each with what kept it out.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.trace.lines().iter().filter_map(|line| match &line.reason {
            Reason::ProfileLeftOut { profile, cause } => Some((profile.as_str(), &**cause)),
            _ => None,
        })
    }

    /// The names that pod, namespace or a chosen profile ask for and that mean no profile here.
    pub fn unknown_profiles(&self) -> Vec<&str> {
        let lines = self.trace.lines().iter().map(|line| &line.reason);
        let mut names: Vec<&str> = lines.flat_map(Reason::unknown_profiles).collect();
        names.dedup();
        names
    }
}

/// Decides about a pod that is to be created in `namespace`.
///
/// The same inputs give the same decision; a pod that was injected before comes out as it went in.
pub fn inject(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::default()))
}

/// Decides as [`inject`] does, for a request: its trace has warnings and denials only, and what would be found out only to
/// explain is not.
pub fn admit(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::brief()))
}

/// Decides as [`admit`] does about a submitted pod. No admission plugin has changed an injected container yet, so no such
/// change is accepted in a Mandatory profile's container.
pub fn admit_submitted(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::InjectSubmitted, Trace::brief()))
}

fn traced(
    pod: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
    (purpose, mut trace): (Purpose, Trace),
) -> Decision {
    match decide(pod, DecidedBy { namespace, profiles, settings }, purpose, &mut trace) {
        Ok(done) => {
            trace.add_detail(|| done.reason.clone());
            let Done { reason, profiles, patch } = done;
            Decision { outcome: Outcome::Injected, reason, profiles, patch, trace }
        }
        Err(Ending { reason, patch }) => {
            let outcome = if reason.level() == Level::Denial { Outcome::Denied } else { Outcome::Skipped };
            trace.add(reason.clone());
            Decision { outcome, reason, profiles: Vec::new(), patch, trace }
        }
    }
}

/// What a pod is looked at for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// To be injected.
    #[default]
    Inject,
    /// To be injected, before admission plugins have changed any injected container.
    InjectSubmitted,
    /// It is finished: its Mandatory profiles must be in it.
    Verify,
}

/// A decision that ends before anything is injected.
struct Ending {
    reason: Reason,
    /// What an earlier injection added, taken away.
    patch: Patch,
}

impl From<Reason> for Ending {
    fn from(reason: Reason) -> Self {
        Self { reason, patch: Patch::default() }
    }
}

struct Done {
    reason: Reason,
    profiles: Vec<InjectedProfile>,
    patch: Patch,
}

/// What decides about a pod besides the pod itself.
#[derive(Clone, Copy)]
struct DecidedBy<'a> {
    namespace: &'a Namespace,
    profiles: &'a ProfileSet,
    settings: &'a Settings,
}

/// A pod without the elements of an earlier injection.
struct Stripped<'a> {
    pod: Pod<'a>,
    previous: Previous,
}

/// Parameters of a pod that has none.
static NO_PARAMETERS: BTreeMap<String, ParameterValue> = BTreeMap::new();

fn decide(came: &Json<'_>, by: DecidedBy<'_>, purpose: Purpose, trace: &mut Trace) -> Result<Done, Ending> {
    let stripped = strip(came, by, purpose, trace)?;
    let original = stripped.original();
    let pod = stripped.with_original(original.as_ref());
    parameters::warn_of_unknown_keys(&pod, by.namespace, by.profiles, trace);
    let mut budget = Budget::new();
    let variables = by.variables(&pod);
    let selected = select(&pod, by, variables, &mut budget, trace);
    let mut selection = selected.map_err(|reason| stripped.ending(reason))?;
    let resolved = parameters::resolve(&pod, by.namespace, &mut selection, &mut budget, trace)?;
    let ordered = order(&selection, trace)?;
    let inputs = merge::MergeInputs { variables, parameters: &resolved, previous: &stripped.previous };
    let merged = merge::merge(pod, &ordered, &inputs, &mut selection, &mut budget, trace)?;
    if merged.profiles.is_empty() {
        post_merge::image_auto(&merged.pod, &ordered)?;
        return Err(stripped.ending(Reason::NothingLeft));
    }
    let protected = selection.protected(&ordered);
    protect::check(&merged, &protected)?;
    post_merge::check(&merged, &ordered, trace)?;
    Ok(finish(merged, came, &stripped.previous, !protected.is_empty(), trace))
}

/// Checks the Mandatory profiles of a finished pod.
fn verify_finished(came: &Json<'_>, by: DecidedBy<'_>, trace: &mut Trace) -> Result<(), Ending> {
    let stripped = strip(came, by, Purpose::Verify, trace)?;
    let original = stripped.original();
    let pod = stripped.with_original(original.as_ref());
    let mut budget = Budget::new();
    let variables = by.variables(&pod);
    let labels = pod.labels();
    let mut matches = Matches::new(by.profiles, by.namespace, &labels, variables, &mut budget);
    let mandatory = select::mandatory(&mut matches)?;
    if mandatory.is_empty() {
        return Ok(());
    }
    // The other profiles of a finished pod are not verified.
    let others = Reason::NothingLeft;
    let mut selection = select::insist(&pod, by.namespace, by.profiles, mandatory, &others, trace)?;
    let resolved = parameters::resolve(&pod, by.namespace, &mut selection, &mut budget, trace)?;
    let ordered = order(&selection, trace)?;
    let inputs = merge::MergeInputs { variables, parameters: &resolved, previous: &stripped.previous };
    let merged = merge::merge(pod, &ordered, &inputs, &mut selection, &mut budget, trace)?;
    let protected = selection.protected(&ordered);
    verify::whole(&merged, &protected, &stripped.previous)?;
    protect::check(&merged, &protected)?;
    Ok(())
}

/// Strips the elements of an earlier injection.
fn strip<'a>(
    came: &'a Json<'a>,
    by: DecidedBy<'_>,
    purpose: Purpose,
    trace: &mut Trace,
) -> Result<Stripped<'a>, Reason> {
    pod::check(came)?;
    let mut pod = Pod::new(came);
    if let Some(reason) = select::excluded(&pod, by.namespace, by.settings) {
        return Err(reason);
    }
    let status = reinvocation::status(&pod);
    let previous = reinvocation::take_away(&mut pod, status, &by.namespace.name, by.profiles, purpose, trace);
    Ok(Stripped { pod, previous })
}

/// Selects the profiles of a pod.
fn select(
    pod: &Pod<'_>,
    by: DecidedBy<'_>,
    variables: Variables<'_>,
    budget: &mut Budget,
    trace: &mut Trace,
) -> Result<Selection, Reason> {
    let DecidedBy { namespace, profiles, .. } = by;
    let labels = pod.labels();
    let mut matches = Matches::new(profiles, namespace, &labels, variables, budget);
    let mandatory = select::mandatory(&mut matches)?;
    let selected = match select::enabled(pod, namespace, trace) {
        Ok(()) => select::choose(pod, namespace, profiles, mandatory, &mut matches, trace),
        Err(reason) if mandatory.is_empty() || reason.level() == Level::Denial => Err(reason),
        Err(reason) => select::insist(pod, namespace, profiles, mandatory, &reason, trace),
    };
    selected.map_err(|reason| match (reason, post_merge::image_auto(pod, &[])) {
        // Injection is asked for, and nothing that could be injected is the image.
        (Reason::NoProfileChosen { .. } | Reason::NothingLeft, Err(auto)) => auto,
        (reason, _) => reason,
    })
}

/// Orders the selected profiles by their start.
fn order(selection: &Selection, trace: &mut Trace) -> Result<Vec<Arc<Profile>>, Reason> {
    let chosen = selection.profiles.values().cloned().collect();
    let ordered = order::order(chosen, |profile| selection.is_protected(profile), trace)?;
    if ordered.len() > 1 {
        trace.add_detail(|| order::describe(&ordered));
    }
    Ok(ordered)
}

impl<'a> DecidedBy<'a> {
    /// Returns the variables of expressions, without a profile's own.
    fn variables(self, pod: &Pod<'a>) -> Variables<'a> {
        let Namespace { name, labels, annotations } = self.namespace;
        Variables {
            pod: pod.author(),
            container: None,
            namespace: NamespaceView { name, labels, annotations },
            params: &NO_PARAMETERS,
            profile: "",
            cluster: &self.settings.cluster,
        }
    }
}

impl<'a> Stripped<'a> {
    /// Returns the original pod as a whole; `None` where nothing was stripped.
    fn original(&self) -> Option<Json<'_>> {
        self.pod.is_changed().then(|| materialize::original_pod(&self.pod))
    }

    fn with_original<'b>(&self, original: Option<&'b Json<'b>>) -> Pod<'b>
    where
        'a: 'b,
    {
        match original {
            Some(original) => self.pod.clone().with_author(original),
            None => self.pod.clone(),
        }
    }

    /// A pod that is skipped becomes the original pod.
    fn ending(&self, reason: Reason) -> Ending {
        let leaves = reason.level() != Level::Denial && !self.previous.is_empty();
        let patch = if leaves { patch::of(&self.pod) } else { Patch::default() };
        Ending { reason, patch }
    }
}

/// Writes down what was done, on the pod itself.
fn finish<'a>(
    merged: Merged<'a>,
    came: &'a Json<'a>,
    previous: &Previous,
    any_protected: bool,
    trace: &mut Trace,
) -> Done {
    let names = names(&merged.profiles);
    let holds = previous.holds(&merged.pod, &merged.profiles, any_protected);
    if !holds {
        previous.moved_behind(&merged, trace);
    }
    let Merged { mut pod, profiles, .. } = merged;
    let reason = if holds {
        pod = Pod::new(came);
        Reason::AlreadyInjected { profiles: names }
    } else {
        Reason::Injected { profiles: names }
    };
    let status = InjectionStatus { profiles };
    let text = serde_json::to_string(&status).unwrap_or_default();
    pod.set(Map::Annotations, Cow::Borrowed(keys::STATUS), Rendered::Made(text.into()));
    pod.set(Map::Labels, Cow::Borrowed(keys::INJECTED), Rendered::Made("true".into()));
    let patch = patch::of(&pod);
    debug_assert!(
        patch::makes(&patch, came, &materialize::original_pod(&pod)),
        "the patch does not make the merged pod"
    );
    Done { reason, profiles: status.profiles, patch }
}

fn names(profiles: &[InjectedProfile]) -> Vec<String> {
    profiles.iter().map(|profile| profile.name.clone()).collect()
}
