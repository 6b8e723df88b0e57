//! Whether a pod is injected, and with which profiles: steps 1, 2, 4 and 5 of a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pod::Pod;
use super::reason::ChoicePlace;
use super::{Namespace, Reason, Settings, Step, Trace};
use crate::api::{Failure, HostNetwork, ProfileName, keys, nearest};
use crate::profiles::{Entry, Profile, ProfileSet};

/// Steps 1 and 2: what is never injected, whatever namespace and pod say.
pub(super) fn excluded(pod: &Pod<'_>, namespace: &Namespace, settings: &Settings) -> Option<Reason> {
    let name = namespace.name.as_str();
    if keys::ALWAYS_EXCLUDED_NAMESPACES.contains(&name) || settings.excluded_namespaces.contains(name) {
        return Some(Reason::NamespaceExcluded { namespace: namespace.name.clone() });
    }
    pod.annotation(keys::MIRROR_POD).map(|_| Reason::MirrorPod)
}

/// Step 4: the pod's label, else the namespace's.
pub(super) fn enabled(pod: &Pod<'_>, namespace: &Namespace, trace: &mut Trace) -> Result<(), Reason> {
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
    pod: &Pod<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    trace: &mut Trace,
) -> Result<Vec<Arc<Profile>>, Reason> {
    let choosing = Choosing { pod, namespace, profiles };
    let choice = choosing.choice(trace)?;
    let mut chosen: BTreeMap<ProfileName, Arc<Profile>> = BTreeMap::new();
    for (name, place) in &choice.names {
        if !chosen.contains_key(name)
            && let Some(profile) = choosing.find_ready(name, place, trace)?
            && choosing.suits(&profile, trace)?
        {
            trace.add(Step::Choose, Reason::Chosen { profile: name.to_string(), place: place.clone() });
            chosen.insert(name.clone(), profile);
        }
    }
    let mut any = !choice.names.is_empty();
    for (profile, selectors) in choosing.automatic() {
        let name = &profile.name;
        if choice.removed.contains(name) || choice.names.iter().any(|(known, _)| known == name) {
            continue;
        }
        any = true;
        if choosing.suits(profile, trace)? {
            trace.add(Step::Choose, Reason::Matched { profile: name.to_string(), selectors });
            chosen.insert(name.clone(), Arc::clone(profile));
        }
    }
    match (any, chosen.is_empty()) {
        (false, _) => Err(Reason::NoProfileChosen { namespace: namespace.name.clone() }),
        (true, true) => Err(Reason::NothingLeft),
        (true, false) => Ok(chosen.into_values().collect()),
    }
}

/// What pod and namespace chose by name.
#[derive(Default)]
struct Chosen {
    /// The names, each with the place that chose it.
    names: Vec<(ProfileName, ChoicePlace)>,
    /// Those that the pod took away, also where they match by themselves.
    removed: Vec<ProfileName>,
}

struct Choosing<'a> {
    pod: &'a Pod<'a>,
    namespace: &'a Namespace,
    profiles: &'a ProfileSet,
}

impl Choosing<'_> {
    fn choice(&self, trace: &mut Trace) -> Result<Chosen, Reason> {
        let default = self.default()?;
        let Some(text) = self.pod.annotation(keys::PROFILES) else {
            return Ok(Chosen { names: default, ..Chosen::default() });
        };
        let of_pod = |name| (name, ChoicePlace::Pod);
        match parse_choice(text, &ChoicePlace::Pod)? {
            Choice::These(names) => {
                for (profile, _) in default.iter().filter(|(name, _)| !names.contains(name)) {
                    trace.add(Step::Choose, Reason::ReplacedByPod { profile: profile.to_string() });
                }
                Ok(Chosen { names: names.into_iter().map(of_pod).collect(), ..Chosen::default() })
            }
            Choice::Changes { add, remove } => {
                for profile in &remove {
                    self.find(profile, &ChoicePlace::Pod)?;
                    trace.add(Step::Choose, Reason::TakenAway { profile: profile.to_string() });
                }
                let kept = default.into_iter().filter(|(name, _)| !remove.contains(name));
                let names = kept.chain(add.into_iter().map(of_pod)).collect();
                Ok(Chosen { names, removed: remove })
            }
        }
    }

    /// The namespace's default choice.
    fn default(&self) -> Result<Vec<(ProfileName, ChoicePlace)>, Reason> {
        let place = || ChoicePlace::Namespace(self.namespace.name.clone());
        let Some(text) = self.namespace.annotations.get(keys::PROFILES) else { return Ok(Vec::new()) };
        match parse_choice(text, &place())? {
            Choice::These(names) => Ok(names.into_iter().map(|name| (name, place())).collect()),
            Choice::Changes { .. } => {
                let problem =
                    "names with + or - belong on a pod; the namespace names its default plainly".to_owned();
                Err(Reason::InvalidChoice { place: place(), problem })
            }
        }
    }

    /// The profiles that match the pod by themselves, with the words for it.
    fn automatic(&self) -> impl Iterator<Item = (&Arc<Profile>, String)> {
        let mut labels = None;
        self.profiles.automatic(&self.namespace.name).filter_map(move |profile| {
            let matching = profile.matching.as_ref()?;
            let labels = labels.get_or_insert_with(|| self.pod.labels());
            matching.matches(&self.namespace.labels, labels).then(|| (profile, matching.to_string()))
        })
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

    /// The profile of a name, if it can be injected at all.
    fn find_ready(
        &self,
        name: &ProfileName,
        place: &ChoicePlace,
        trace: &mut Trace,
    ) -> Result<Option<Arc<Profile>>, Reason> {
        match self.find(name, place)? {
            Entry::Ready(profile) => Ok(Some(Arc::clone(profile))),
            Entry::Invalid(invalid) => {
                let finding = invalid.findings.first().map(ToString::to_string).unwrap_or_default();
                let reason = Reason::ProfileInvalid { name: name.to_string(), place: place.clone(), finding };
                left_out(name.as_str(), invalid.on_error, reason, trace).map(|()| None)
            }
        }
    }

    /// Whether the profile is for pods like this one.
    fn suits(&self, profile: &Profile, trace: &mut Trace) -> Result<bool, Reason> {
        let name = || profile.name.to_string();
        let os = self.pod.os();
        if profile.template.os != os {
            let wanted = profile.template.os.clone();
            trace.add(Step::Choose, Reason::OsMismatch { profile: name(), wanted, os: os.to_owned() });
            return Ok(false);
        }
        if self.pod.host_network() {
            match profile.host_network {
                HostNetwork::Allow => {}
                HostNetwork::Deny => return Err(Reason::HostNetworkDenied { profile: name() }),
                HostNetwork::Skip => {
                    trace.add(Step::Choose, Reason::HostNetworkSkipped { profile: name() });
                    return Ok(false);
                }
            }
        }
        Ok(true)
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
