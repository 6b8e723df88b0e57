//! Decision engine: decides which profiles are injected into a pod, and records why.
//!
//! [`inject`] is the entry point, and [`admit`] is the variant with a shorter trace. It takes values and returns a
//! [`Decision`]; it does no I/O and reads no clock. Unknown fields of a pod stay unchanged, because the pod stays JSON; every
//! access to it goes through `pod`.
//!
//! The steps are in one file each: `reinvocation` removes the elements of an earlier injection, `select` decides whether the
//! pod is injected and with which profiles, `order` finds their start order, `merge` adds them to the pod, and `patch` writes
//! the difference. Every step adds lines to the [`Trace`], each with a [`Reason`] whose code is stable.

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

/// Name and metadata of a pod's namespace, as far as decisions read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name of the namespace.
    pub name: String,
    /// Labels of the namespace.
    pub labels: StringMap,
    /// Annotations of the namespace.
    pub annotations: StringMap,
}

/// Settings of the installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces that are never injected, besides [`keys::ALWAYS_EXCLUDED_NAMESPACES`].
    pub excluded_namespaces: BTreeSet<String>,
    /// Value of `cluster` in expressions: an object that the operator defines.
    pub cluster: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self { excluded_namespaces: BTreeSet::new(), cluster: Value::Object(serde_json::Map::new()) }
    }
}

/// Decision for a pod.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Outcome for the pod.
    pub outcome: Outcome,
    /// Reason for the outcome: the last line of the trace.
    pub reason: Reason,
    /// The profiles that the pod has after the decision, in start order.
    pub profiles: Vec<InjectedProfile>,
    /// Change to the pod as an RFC 6902 patch; empty if nothing changes.
    pub patch: Patch,
    /// Lines of all steps; from [`admit`], only warnings and denials.
    pub trace: Trace,
}

/// Outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod has its profiles.
    Injected,
    /// The pod is admitted without any injection.
    Skipped,
    /// The pod is rejected.
    Denied,
}

impl Outcome {
    /// Returns the name of the outcome in logs, metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
        }
    }
}

impl Decision {
    /// Returns the warnings for the creator of an admitted pod.
    pub fn warnings(&self) -> impl Iterator<Item = &Reason> {
        self.trace.lines().iter().map(|line| &line.reason).filter(|reason| reason.level() == Level::Warning)
    }

    /// Returns the profiles that should be injected and were left out, each with the cause.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.trace.lines().iter().filter_map(|line| match &line.reason {
            Reason::ProfileLeftOut { profile, cause } => Some((profile.as_str(), &**cause)),
            _ => None,
        })
    }

    /// Returns the names in choices of the pod, its namespace or a chosen profile that match no profile.
    pub fn unknown_profiles(&self) -> Vec<&str> {
        let lines = self.trace.lines().iter().map(|line| &line.reason);
        let mut names: Vec<&str> = lines.flat_map(Reason::unknown_profiles).collect();
        names.dedup();
        names
    }
}

/// Decides about a pod that is created in `namespace`.
///
/// The same inputs give the same decision. The injection is idempotent: an already injected pod is unchanged.
pub fn inject(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::default()))
}

/// Decides like [`inject`], for an admission request: the trace has only warnings and denials, and details that only explain
/// the decision are not computed.
pub fn admit(pod: &Json<'_>, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    traced(pod, namespace, profiles, settings, (Purpose::Inject, Trace::brief()))
}

/// Decides like [`admit`] about a submitted pod. No admission plugin has changed an injected container yet, so such a change
/// is not accepted in a Mandatory profile's container.
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

/// Purpose of a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    /// Injection.
    #[default]
    Inject,
    /// Injection before admission plugins have changed any injected container.
    InjectSubmitted,
    /// Verification of a finished pod: its Mandatory profiles must be unchanged.
    Verify,
}

/// Result of a decision that ends before anything is injected.
struct Ending {
    reason: Reason,
    /// Removal of the elements of an earlier injection.
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

/// Inputs of a decision other than the pod.
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

/// Parameters of a pod without any.
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
        // The pod asks for injection, but the only thing to inject would be the image.
        (Reason::NoProfileChosen { .. } | Reason::NothingLeft, Err(auto)) => auto,
        (reason, _) => reason,
    })
}

/// Sorts the selected profiles by their start order.
fn order(selection: &Selection, trace: &mut Trace) -> Result<Vec<Arc<Profile>>, Reason> {
    let chosen = selection.profiles.values().cloned().collect();
    let ordered = order::order(chosen, |profile| selection.is_protected(profile), trace)?;
    if ordered.len() > 1 {
        trace.add_detail(|| order::describe(&ordered));
    }
    Ok(ordered)
}

impl<'a> DecidedBy<'a> {
    /// Returns the variables of expressions, except those of a profile.
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
    /// Returns the whole original pod, or `None` if nothing was stripped.
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

    /// Returns the result for a pod that is not injected. A skipped pod becomes the original pod.
    fn ending(&self, reason: Reason) -> Ending {
        let leaves = reason.level() != Level::Denial && !self.previous.is_empty();
        let patch = if leaves { patch::of(&self.pod) } else { Patch::default() };
        Ending { reason, patch }
    }
}

/// Records the injection in the pod's annotations and labels.
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
