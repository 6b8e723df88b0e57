//! The decision: what is injected into a pod, and why.
//!
//! [`inject`] is the one entry point. It takes values and gives a [`Decision`]; it does no I/O, reads no
//! clock and never asks for more. A pod's fields that this build has never heard of pass through
//! untouched, since the pod stays JSON; every access to it goes through `pod`.
//!
//! The steps, in the order of the files that make them: [second pass](second_pass) takes away what an
//! earlier injection added, [select] decides whether and which profiles, [order] in which order they
//! start, [merge] puts them into the pod, [patch] writes the difference. Every step leaves lines in the
//! [`Trace`], each with a [`Reason`] whose code is stable.

mod holds;
pub(crate) mod lists;
mod merge;
mod order;
mod patch;
mod place;
mod pod;
mod reason;
mod second_pass;
mod select;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

pub use json_patch::Patch;
use serde_json::Value;

pub use self::reason::{Level, Reason};
pub use self::trace::{Line, Step, Trace};
use crate::api::{InjectedProfile, InjectionStatus, keys};
use crate::profiles::ProfileSet;
use merge::Merged;
use pod::Pod;
use second_pass::Previous;

/// What a decision needs of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What the operator set at install.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Namespaces that are never injected, besides [`keys::ALWAYS_EXCLUDED_NAMESPACES`].
    pub excluded_namespaces: BTreeSet<String>,
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
    /// Every step.
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

    /// The names that the pod or its namespace chose and that mean no profile here.
    pub fn unknown_profiles(&self) -> Vec<&str> {
        match &self.reason {
            Reason::ProfileNotFound { name, .. } => vec![name],
            _ => Vec::new(),
        }
    }
}

/// Decides about a pod that is to be created in `namespace`.
///
/// The same inputs give the same decision; a pod that was injected before comes out as it went in.
pub fn inject(pod: &Value, namespace: &Namespace, profiles: &ProfileSet, settings: &Settings) -> Decision {
    let mut trace = Trace::default();
    let result = Pod::new(pod.clone())
        .map_err(Ending::from)
        .and_then(|pod| decide(&pod, namespace, profiles, settings, &mut trace));
    match result {
        Ok(done) => {
            let patch = patch::between(pod, done.pod.value());
            let reason = if done.unchanged {
                Reason::AlreadyInjected { profiles: names(&done.profiles) }
            } else {
                Reason::Injected { profiles: names(&done.profiles) }
            };
            trace.add(Step::Patch, reason.clone());
            Decision { outcome: Outcome::Injected, reason, profiles: done.profiles, patch, trace }
        }
        Err(ending) => {
            let outcome = ending.outcome();
            trace.add(ending.reason.step(), ending.reason.clone());
            let patch = ending.pod.map_or_else(Patch::default, |left| patch::between(pod, left.value()));
            Decision { outcome, reason: ending.reason, profiles: Vec::new(), patch, trace }
        }
    }
}

/// A decision that ends before anything is injected.
struct Ending {
    reason: Reason,
    /// What is left of the pod, where an earlier injection was taken away.
    pod: Option<Box<Pod>>,
}

impl From<Reason> for Ending {
    fn from(reason: Reason) -> Self {
        Self { reason, pod: None }
    }
}

impl Ending {
    fn outcome(&self) -> Outcome {
        if self.reason.level() == Level::Denial { Outcome::Denied } else { Outcome::Skipped }
    }

    /// A skipped pod goes on as its author wrote it, without what an earlier injection added.
    fn leaving(self, pod: &Pod, previous: &Previous) -> Self {
        let left = self.outcome() == Outcome::Skipped && !previous.is_empty();
        Self { pod: left.then(|| Box::new(pod.clone())), ..self }
    }
}

struct Done {
    pod: Pod,
    profiles: Vec<InjectedProfile>,
    unchanged: bool,
}

fn decide(
    original: &Pod,
    namespace: &Namespace,
    profiles: &ProfileSet,
    settings: &Settings,
    trace: &mut Trace,
) -> Result<Done, Ending> {
    if let Some(reason) = select::excluded(original, namespace, settings) {
        return Err(reason.into());
    }
    let (pod, previous) = second_pass::take_away(original, &namespace.name, profiles, trace);
    let chosen = select::enabled(&pod, namespace, trace)
        .and_then(|()| select::choose(&pod, namespace, profiles, trace))
        .map_err(|reason| Ending::from(reason).leaving(&pod, &previous))?;
    let ordered = order::order(chosen)?;
    if let Some(reason) = order::describe(&ordered) {
        trace.add(Step::Order, reason);
    }
    let merged = merge::merge(pod, &ordered, &previous, trace)?;
    if merged.profiles.is_empty() {
        return Err(Ending::from(Reason::NothingLeft).leaving(&merged.pod, &previous));
    }
    Ok(finish(original, merged, &previous))
}

/// Writes down what was done, on the pod itself.
fn finish(original: &Pod, merged: Merged, previous: &Previous) -> Done {
    let Merged { mut pod, profiles, .. } = merged;
    let unchanged = previous.holds(original, &pod, &profiles);
    if unchanged {
        pod = original.clone();
    }
    let status = InjectionStatus { profiles: profiles.clone() };
    pod.set_annotation(keys::STATUS, serde_json::to_string(&status).unwrap_or_default());
    pod.set_label(keys::INJECTED, "true".to_owned());
    Done { pod, profiles, unchanged }
}

fn names(profiles: &[InjectedProfile]) -> Vec<String> {
    profiles.iter().map(|profile| profile.name.clone()).collect()
}
