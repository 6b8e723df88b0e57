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

use serde_json::Value;

pub use self::cost::Cost;
pub use self::patch::Patch;
pub use self::reason::{ChoicePlace, Level, Owner, Reason, SetBy};
pub use self::restore::restore;
pub use self::trace::{Line, Step, Trace};
pub use self::verify::{verify, verify_binding, verify_change, verify_entry};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::expression::{Budget, NamespaceView, Variables};
use crate::fields::Map;
use crate::json::Json;
use crate::profiles::{ProfileSet, Rendered};
use crate::string_map::StringMap;
use merge::Merged;
use pod::Pod;
use reinvocation::Previous;
use select::Matches;

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
    match decide(pod, namespace, profiles, settings, purpose, &mut trace) {
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

fn decide(
    came: &Json<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
    purpose: Purpose,
    trace: &mut Trace,
) -> Result<Done, Ending> {
    pod::check(came)?;
    let mut stripped = Pod::new(came);
    if let Some(reason) = select::excluded(&stripped, namespace, settings) {
        return Err(reason.into());
    }
    let status = reinvocation::status(&stripped);
    let previous = reinvocation::take_away(&mut stripped, status, &namespace.name, profiles, purpose, trace);
    let author = stripped.is_changed().then(|| materialize::original_pod(&stripped));
    let pod = match &author {
        Some(author) => stripped.clone().with_author(author),
        None => stripped.clone(),
    };
    if purpose != Purpose::Verify {
        parameters::warn_of_unknown_keys(&pod, namespace, profiles, trace);
    }
    // A skipped pod becomes the original pod: without the elements of an earlier injection.
    let leaving = |reason: Reason| {
        let leaves = reason.level() != Level::Denial && !previous.is_empty();
        let patch = if leaves { patch::of(&stripped) } else { Patch::default() };
        Ending { reason, patch }
    };
    let mut budget = Budget::new();
    let none = BTreeMap::new();
    let variables = Variables {
        pod: pod.author(),
        container: None,
        namespace: NamespaceView {
            name: &namespace.name,
            labels: &namespace.labels,
            annotations: &namespace.annotations,
        },
        params: &none,
        profile: "",
        cluster: &settings.cluster,
    };
    let mut selection = {
        let labels = pod.labels();
        let mut matches = Matches::new(profiles, namespace, &labels, variables, &mut budget);
        let mandatory = select::mandatory(&mut matches)?;
        // Whatever else is in a finished pod is not ours to judge.
        let enabled = match purpose {
            Purpose::Inject | Purpose::InjectSubmitted => select::enabled(&pod, namespace, trace),
            Purpose::Verify => Err(Reason::NothingLeft),
        };
        match enabled {
            Ok(()) => select::choose(&pod, namespace, profiles, mandatory, &mut matches, trace),
            Err(reason) if mandatory.is_empty() || reason.level() == Level::Denial => Err(reason),
            Err(reason) => select::insist(&pod, namespace, profiles, mandatory, &reason, trace),
        }
        .map_err(|reason| match (reason, post_merge::image_auto(&pod, &[])) {
            (reason, _) if purpose == Purpose::Verify => reason.into(),
            // Injection is asked for, and nothing that could be injected is the image.
            (Reason::NoProfileChosen { .. } | Reason::NothingLeft, Err(auto)) => auto.into(),
            (reason, _) => leaving(reason),
        })?
    };
    let resolved = parameters::resolve(&pod, namespace, &mut selection, &mut budget, trace)?;
    let chosen = selection.profiles.values().cloned().collect();
    let ordered = order::order(chosen, |profile| selection.is_protected(profile), trace)?;
    if ordered.len() > 1 {
        trace.add_detail(|| order::describe(&ordered));
    }
    let inputs = merge::MergeInputs { variables, parameters: &resolved, previous: &previous };
    let merged = merge::merge(pod, &ordered, &inputs, &mut selection, &mut budget, trace)?;
    let protected = selection.protected(&ordered);
    if purpose == Purpose::Verify {
        verify::whole(&merged, &protected, &previous)?;
        protect::check(&merged, &protected)?;
        let reason = Reason::AlreadyInjected { profiles: names(&merged.profiles) };
        return Ok(Done { reason, profiles: merged.profiles, patch: Patch::default() });
    }
    if merged.profiles.is_empty() {
        post_merge::image_auto(&merged.pod, &ordered)?;
        return Err(leaving(Reason::NothingLeft));
    }
    protect::check(&merged, &protected)?;
    post_merge::check(&merged, &ordered, trace)?;
    Ok(finish(merged, came, &previous, !protected.is_empty(), trace))
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
