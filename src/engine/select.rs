//! Whether a pod is injected, and with which profiles: steps 1, 2, 4 and 5 of a decision.

use std::sync::Arc;

use super::pod::Pod;
use super::reason::ChoicePlace;
use super::{Namespace, Reason, Settings, Step, Trace};
use crate::api::{Failure, HostNetwork, ProfileName, keys, nearest};
use crate::profiles::{Entry, Profile, ProfileSet};

/// Steps 1 and 2: what is never injected, whatever namespace and pod say.
pub(super) fn excluded(pod: &Pod, namespace: &Namespace, settings: &Settings) -> Option<Reason> {
    let name = namespace.name.as_str();
    if keys::ALWAYS_EXCLUDED_NAMESPACES.contains(&name) || settings.excluded_namespaces.contains(name) {
        return Some(Reason::NamespaceExcluded { namespace: namespace.name.clone() });
    }
    pod.annotation(keys::MIRROR_POD).map(|_| Reason::MirrorPod)
}

/// Step 4: the pod's label, else the namespace's.
pub(super) fn enabled(pod: &Pod, namespace: &Namespace, trace: &mut Trace) -> Result<(), Reason> {
    match pod.label(keys::INJECT) {
        Some(keys::ENABLED) => {
            trace.add(Step::Enable, Reason::EnabledByPod);
            return Ok(());
        }
        Some(keys::DISABLED) => return Err(Reason::DisabledByPod),
        Some(other) => return Err(Reason::InvalidInjectLabel { value: other.to_owned() }),
        None => {}
    }
    let name = namespace.name.clone();
    match namespace.labels.get(keys::INJECT).map(String::as_str) {
        Some(keys::ENABLED) => {
            trace.add(Step::Enable, Reason::EnabledByNamespace { namespace: name });
            Ok(())
        }
        Some(keys::DISABLED) => Err(Reason::DisabledByNamespace { namespace: name }),
        other => {
            if let Some(value) = other {
                let value = value.to_owned();
                trace.add(Step::Enable, Reason::InvalidNamespaceLabel { value, namespace: name.clone() });
            }
            Err(Reason::NamespaceNotEnabled { namespace: name })
        }
    }
}

/// What an annotation `outrigger.dev/profiles` says.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Exactly these.
    These(Vec<ProfileName>),
    /// The default with these added and those taken away.
    Changes { add: Vec<ProfileName>, remove: Vec<ProfileName> },
}

/// Step 5: the pod's choice over the namespace's default.
pub(super) fn choose(
    pod: &Pod,
    namespace: &Namespace,
    profiles: &ProfileSet,
    trace: &mut Trace,
) -> Result<Vec<Arc<Profile>>, Reason> {
    let choosing = Choosing { pod, namespace, profiles };
    let mut names = Vec::new();
    for (name, place) in choosing.names(trace)? {
        if !names.iter().any(|(known, _)| *known == name) {
            names.push((name, place));
        }
    }
    if names.is_empty() {
        return Err(Reason::NoProfileChosen { namespace: namespace.name.clone() });
    }
    let mut chosen = Vec::new();
    for (name, place) in names {
        if let Some(profile) = choosing.admit(&name, &place, trace)? {
            trace.add(Step::Choose, Reason::Chosen { profile: name.to_string(), place });
            chosen.push(profile);
        }
    }
    if chosen.is_empty() { Err(Reason::NothingLeft) } else { Ok(chosen) }
}

struct Choosing<'a> {
    pod: &'a Pod,
    namespace: &'a Namespace,
    profiles: &'a ProfileSet,
}

impl Choosing<'_> {
    /// The chosen names, each with the place that chose it.
    fn names(&self, trace: &mut Trace) -> Result<Vec<(ProfileName, ChoicePlace)>, Reason> {
        let of_namespace = || ChoicePlace::Namespace(self.namespace.name.clone());
        let default = match self.namespace.annotations.get(keys::PROFILES) {
            None => Vec::new(),
            Some(text) => match parse_choice(text, &of_namespace())? {
                Choice::These(names) => names,
                Choice::Changes { .. } => {
                    let problem =
                        "names with + or - belong on a pod; the namespace names its default plainly"
                            .to_owned();
                    return Err(Reason::InvalidChoice { place: of_namespace(), problem });
                }
            },
        };
        let default = default.into_iter().map(|name| (name, of_namespace()));
        let Some(text) = self.pod.annotation(keys::PROFILES) else { return Ok(default.collect()) };
        match parse_choice(text, &ChoicePlace::Pod)? {
            Choice::These(names) => {
                for (profile, _) in default.filter(|(name, _)| !names.contains(name)) {
                    trace.add(Step::Choose, Reason::ReplacedByPod { profile: profile.to_string() });
                }
                Ok(names.into_iter().map(|name| (name, ChoicePlace::Pod)).collect())
            }
            Choice::Changes { add, remove } => {
                for profile in &remove {
                    self.find(profile, &ChoicePlace::Pod)?;
                    trace.add(Step::Choose, Reason::TakenAway { profile: profile.to_string() });
                }
                let kept = default.filter(|(name, _)| !remove.contains(name));
                Ok(kept.chain(add.into_iter().map(|name| (name, ChoicePlace::Pod))).collect())
            }
        }
    }

    fn find(&self, name: &ProfileName, place: &ChoicePlace) -> Result<&Entry, Reason> {
        let namespace = &self.namespace.name;
        self.profiles.find(namespace, name.as_str()).ok_or_else(|| Reason::ProfileNotFound {
            name: name.to_string(),
            place: place.clone(),
            namespace: namespace.clone(),
            probably: nearest(name.as_str(), self.profiles.names(namespace)).map(str::to_owned),
        })
    }

    /// The profile, if it is for this pod.
    fn admit(
        &self,
        name: &ProfileName,
        place: &ChoicePlace,
        trace: &mut Trace,
    ) -> Result<Option<Arc<Profile>>, Reason> {
        let profile = match self.find(name, place)? {
            Entry::Ready(profile) => profile,
            Entry::Invalid(invalid) => {
                let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                let reason = Reason::ProfileInvalid { name: name.to_string(), place: place.clone(), finding };
                return left_out(name.as_str(), invalid.on_error, reason, trace).map(|()| None);
            }
        };
        let os = self.pod.os();
        if profile.template.os != os {
            let wanted = profile.template.os.clone();
            trace.add(
                Step::Choose,
                Reason::OsMismatch { profile: name.to_string(), wanted, os: os.to_owned() },
            );
            return Ok(None);
        }
        if self.pod.host_network() {
            match profile.host_network {
                HostNetwork::Allow => {}
                HostNetwork::Deny => return Err(Reason::HostNetworkDenied { profile: name.to_string() }),
                HostNetwork::Skip => {
                    trace.add(Step::Choose, Reason::HostNetworkSkipped { profile: name.to_string() });
                    return Ok(None);
                }
            }
        }
        Ok(Some(Arc::clone(profile)))
    }
}

/// Does what a profile's `onError` says: a denial, or a warning in the trace.
pub(super) fn left_out(
    profile: &str,
    on_error: Failure,
    cause: Reason,
    trace: &mut Trace,
) -> Result<(), Reason> {
    match on_error {
        Failure::Fail => Err(cause),
        Failure::Ignore => {
            let step = cause.step();
            trace.add(step, Reason::ProfileLeftOut { profile: profile.to_owned(), cause: Box::new(cause) });
            Ok(())
        }
    }
}

fn parse_choice(text: &str, place: &ChoicePlace) -> Result<Choice, Reason> {
    let fail = |problem: String| Reason::InvalidChoice { place: place.clone(), problem };
    if text.trim().is_empty() {
        return Ok(Choice::These(Vec::new()));
    }
    let (mut plain, mut add, mut remove) = (Vec::new(), Vec::new(), Vec::new());
    for word in text.split(',').map(str::trim) {
        let (list, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(name), _) => (&mut add, name),
            (_, Some(name)) => (&mut remove, name),
            _ => (&mut plain, word),
        };
        if name.is_empty() {
            return Err(fail(format!("there is an empty name in {text:?}")));
        }
        if name.contains('@') {
            return Err(fail(format!("{name:?} has an @, which is reserved for revisions")));
        }
        list.push(name.parse::<ProfileName>().map_err(|error| fail(error.to_string()))?);
    }
    if let Some(both) = add.iter().find(|name| remove.contains(name)) {
        return Err(fail(format!("\"{both}\" is added and taken away at once")));
    }
    match (plain.is_empty(), add.is_empty() && remove.is_empty()) {
        (_, true) => Ok(Choice::These(plain)),
        (true, false) => Ok(Choice::Changes { add, remove }),
        (false, false) => Err(fail(format!(
            "{text:?} mixes names with and without a sign; write all of them plainly (to choose exactly these) or all with + or - (to change the default)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<ProfileName> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn choices_that_can_be_read() {
        let read = |text| parse_choice(text, &ChoicePlace::Pod).unwrap();
        assert_eq!(read(""), Choice::These(vec![]));
        assert_eq!(read("  "), Choice::These(vec![]));
        assert_eq!(read("a, b"), Choice::These(names(&["a", "b"])));
        assert_eq!(read("+a,-b"), Choice::Changes { add: names(&["a"]), remove: names(&["b"]) });
    }

    #[test]
    fn choices_that_cannot_be_read_say_why() {
        for (text, part) in [
            ("a,,b", "empty name"),
            ("a,", "empty name"),
            ("+", "empty name"),
            ("a,+b", "mixes names"),
            ("a@2", "reserved for revisions"),
            ("A", "cannot be a profile's name"),
            ("+a,-a", "added and taken away"),
        ] {
            let message = parse_choice(text, &ChoicePlace::Pod).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(message.starts_with("annotation outrigger.dev/profiles on the pod: "), "{message}");
        }
    }
}
