//! Choice by annotation: a pod's `outrigger.dev/profiles` overrides its namespace's, or changes it with `+` and `-`.

use crate::api::{ProfileName, keys, nearest};
use crate::engine::inputs::Namespace;
use crate::engine::pod::{OriginalPod, PodView as _};
use crate::engine::reason::{ChoicePlace, Reason};
use crate::engine::trace::Trace;
use crate::profiles::{ProfileEntry, ProfileSet};

/// Profiles that pod and namespace chose by name.
#[derive(Default)]
pub(super) struct Chosen {
    /// Chosen names, each with the source of the choice.
    pub(super) names: Vec<(ProfileName, ChoicePlace)>,
    /// Profiles that the pod removed, including matching ones.
    pub(super) removed: Vec<ProfileName>,
}

/// Parsed annotation `outrigger.dev/profiles`.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Exactly these profiles.
    These(Vec<ProfileName>),
    /// Additions to and removals from the namespace's default.
    Changes { add: Vec<ProfileName>, remove: Vec<ProfileName> },
}

/// Returns the names that apply: the pod's annotation overrides or changes its namespace's.
///
/// # Errors
/// An annotation cannot be read, or the pod removes a profile that does not exist.
pub(super) fn chosen(
    pod: OriginalPod<'_>,
    namespace: &Namespace,
    profiles: &ProfileSet,
    trace: &mut Trace,
) -> Result<Chosen, Reason> {
    let default = namespace_default(namespace)?;
    let Some(text) = pod.annotation(keys::PROFILES) else {
        return Ok(Chosen { names: default, ..Chosen::default() });
    };
    let of_pod = |name| (name, ChoicePlace::Pod);
    match parse_choice(text, &ChoicePlace::Pod)? {
        Choice::These(names) => {
            for (profile, _) in default.iter().filter(|(name, _)| !names.contains(name)) {
                trace.add(Reason::ReplacedByPod { profile: profile.to_string() });
            }
            Ok(Chosen { names: names.into_iter().map(of_pod).collect(), ..Chosen::default() })
        }
        Choice::Changes { add, remove } => {
            for profile in &remove {
                if !find(profiles, namespace, profile, &ChoicePlace::Pod)?.is_mandatory() {
                    trace.add(Reason::TakenAway { profile: profile.to_string() });
                }
            }
            let kept = default.into_iter().filter(|(name, _)| !remove.contains(name));
            let names = kept.chain(add.into_iter().map(of_pod)).collect();
            Ok(Chosen { names, removed: remove })
        }
    }
}

/// Returns the namespace's default choice.
fn namespace_default(namespace: &Namespace) -> Result<Vec<(ProfileName, ChoicePlace)>, Reason> {
    let place = || ChoicePlace::Namespace(namespace.name.clone());
    let Some(text) = namespace.annotations.get(keys::PROFILES) else { return Ok(Vec::new()) };
    match parse_choice(text, &place())? {
        Choice::These(names) => Ok(names.into_iter().map(|name| (name, place())).collect()),
        Choice::Changes { .. } => {
            let problem =
                "names with + or - belong on a pod; the namespace names its default plainly".to_owned();
            Err(Reason::InvalidChoice { place: place(), problem })
        }
    }
}

/// Returns the profile with a chosen name.
pub(super) fn find<'p>(
    profiles: &'p ProfileSet,
    namespace: &Namespace,
    name: &ProfileName,
    place: &ChoicePlace,
) -> Result<&'p ProfileEntry, Reason> {
    let namespace = &namespace.name;
    profiles.find(namespace, name.as_str()).ok_or_else(|| Reason::ProfileNotFound {
        name: name.to_string(),
        place: place.clone(),
        namespace: namespace.clone(),
        probably: nearest(name.as_str(), profiles.names(namespace)).map(str::to_owned),
    })
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
