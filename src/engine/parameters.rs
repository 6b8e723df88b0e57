//! Parameter values: step 6 of a decision. The pod's annotation overrides the namespace's, which overrides the default.

use std::collections::BTreeMap;

use super::inputs::Namespace;
use super::pod::{OriginalPod, PodView as _};
use super::reason::{Reason, SetBy};
use super::select::Selection;
use super::trace::Trace;
use crate::api::{ProfileName, Source, keys, nearest};
use crate::expression::{Budget, ParameterValue};
use crate::profiles::{Parameter, Profile, ProfileEntry, ProfileSet, Refusal, shown};

/// ResolvedParameters of one profile.
#[derive(Clone, Debug, Default)]
pub(super) struct ResolvedParameters {
    pub(super) values: BTreeMap<String, ParameterValue>,
    /// Explicitly set values, as text.
    pub(super) set: BTreeMap<String, String>,
}

/// Resolves the value of every parameter. A profile without a required value is left out.
///
/// # Errors
/// All invalid values of the pod and the namespace, and the missing values of profiles with `onError: Fail`.
pub(super) fn resolve(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    selection: &mut Selection,
    budget: &mut Budget,
    trace: &mut Trace,
) -> Result<BTreeMap<ProfileName, ResolvedParameters>, Reason> {
    let (mut resolved, mut problems) = (BTreeMap::new(), Vec::new());
    let profiles: Vec<_> = selection.profiles.values().cloned().collect();
    for profile in profiles {
        let mut parameters = ResolvedParameters::default();
        let mut missing = None;
        for parameter in &profile.parameters {
            match value(pod, namespace, &profile, parameter, budget) {
                Err(problem) => problems.push(problem),
                Ok(Some((value, place))) => {
                    if place != SetBy::Default {
                        parameters.set.insert(parameter.name.clone(), shown(&value));
                    }
                    trace.add_detail(|| Reason::ParameterSet {
                        profile: profile.name.to_string(),
                        parameter: parameter.name.clone(),
                        value: shown(&value),
                        place,
                    });
                    parameters.values.insert(parameter.name.clone(), value);
                }
                Ok(None) if parameter.required => missing = missing.or(Some(parameter)),
                Ok(None) => {}
            }
        }
        match missing {
            Some(parameter) => {
                let cause = Reason::ParameterMissing {
                    profile: profile.name.to_string(),
                    parameter: parameter.name.clone(),
                    key: key(&profile, parameter),
                    by: parameter.settable_by(),
                };
                problems.extend(selection.leave_out(&profile, cause, trace).err());
            }
            None => {
                resolved.insert(profile.name.clone(), parameters);
            }
        }
    }
    Reason::all_of(problems).map(|()| resolved)
}

fn key(profile: &Profile, parameter: &Parameter) -> String {
    format!("{}.{}/{}", profile.name, keys::GROUP, parameter.name)
}

fn value(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    profile: &Profile,
    parameter: &Parameter,
    budget: &mut Budget,
) -> Result<Option<(ParameterValue, SetBy)>, Reason> {
    let key = key(profile, parameter);
    let by_pod = pod.annotation(&key).map(|text| (text, Source::Pod, SetBy::Pod));
    let by_namespace = namespace
        .annotations
        .get(&key)
        .map(|text| (text, Source::Namespace, SetBy::Namespace(namespace.name.clone())));
    let Some((text, source, place)) = by_pod.or(by_namespace) else {
        return Ok(parameter.default.clone().map(|value| (value, SetBy::Default)));
    };
    if !parameter.is_settable_by(source) {
        return Err(Reason::ParameterNotSettable { key, by: parameter.settable_by(), place });
    }
    match parameter.read(text, budget) {
        Ok(value) => Ok(Some((value, place))),
        Err(Refusal::Type(problem)) => Err(Reason::ParameterInvalid { key, problem, place }),
        Err(Refusal::Value(problem)) => Err(Reason::ParameterNotAllowed { key, problem, place }),
        Err(Refusal::Bounds(problem)) => {
            Err(Reason::ParameterOutOfBounds { key, parameter: parameter.name.clone(), problem, place })
        }
    }
}

const KNOWN_ANNOTATIONS: [&str; 2] = [keys::PROFILES, keys::STATUS];
const KNOWN_LABELS: [&str; 2] = [keys::INJECT, keys::INJECTED];

/// Warns about unknown keys in Outrigger's domain.
pub(super) fn warn_of_unknown_keys(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    trace: &mut Trace,
) {
    let mut check = |what, key: &str, place: &dyn Fn() -> String| {
        if let Meaning::None { probably } = meaning(what, key, &namespace.name, profiles) {
            trace.add(Reason::UnknownKey { what, key: key.to_owned(), place: place(), probably });
        }
    };
    let on_pod = || "the pod".to_owned();
    let on_namespace = || format!("namespace {:?}", namespace.name);
    for (key, _) in pod.annotations() {
        check("annotation", key, &on_pod);
    }
    for key in pod.label_keys() {
        check("label", key, &on_pod);
    }
    for key in namespace.annotations.keys() {
        check("annotation", key, &on_namespace);
    }
    for key in namespace.labels.keys() {
        check("label", key, &on_namespace);
    }
}

/// Classification of a label's or annotation's key.
enum Meaning {
    /// Known key, or a key outside Outrigger's domain.
    Some,
    /// Unknown key in Outrigger's domain.
    None { probably: Option<String> },
}

fn meaning(what: &str, key: &str, namespace: &str, profiles: &ProfileSet) -> Meaning {
    let Some((domain, rest)) = key.split_once('/') else { return Meaning::Some };
    let Some(before) = domain.strip_suffix(keys::GROUP) else { return Meaning::Some };
    if before.is_empty() {
        let known = if what == "label" { KNOWN_LABELS } else { KNOWN_ANNOTATIONS };
        if known.contains(&key) {
            return Meaning::Some;
        }
        let (other, others) =
            if what == "label" { ("annotation", KNOWN_ANNOTATIONS) } else { ("label", KNOWN_LABELS) };
        let probably = if others.contains(&key) {
            Some(format!("the {other} {key}"))
        } else {
            nearest(key, KNOWN_ANNOTATIONS.into_iter().chain(KNOWN_LABELS)).map(str::to_owned)
        };
        return Meaning::None { probably };
    }
    let Some(profile) = before.strip_suffix('.').filter(|_| domain != keys::FILES) else {
        return Meaning::Some;
    };
    if what == "label" {
        return Meaning::None { probably: None };
    }
    match profiles.find(namespace, profile) {
        Some(ProfileEntry::Ready(found)) => {
            let names = || found.parameters.iter().map(|parameter| parameter.name.as_str());
            if names().any(|name| name == rest) {
                return Meaning::Some;
            }
            Meaning::None { probably: nearest(rest, names()).map(|name| format!("{domain}/{name}")) }
        }
        Some(ProfileEntry::Invalid(_)) => Meaning::Some,
        None => {
            let near = nearest(profile, profiles.names(namespace));
            Meaning::None { probably: near.map(|name| format!("{name}.{}/{rest}", keys::GROUP)) }
        }
    }
}
