use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Name of a profile: a DNS label of RFC 1123, at most 63 lowercase letters, digits and hyphens. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

/// Text that is not a valid profile name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a profile's name: a name is at most 63 lowercase letters, digits and hyphens, and begins and ends with a letter or digit"
)]
pub struct InvalidProfileName(String);

impl ProfileName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = InvalidProfileName;

    /// Parses a name.
    ///
    /// # Errors
    /// Fails if the text is not a DNS label.
    fn from_str(text: &str) -> Result<Self, InvalidProfileName> {
        if is_dns_label(text) { Ok(Self(text.into())) } else { Err(InvalidProfileName(text.to_owned())) }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether a text is a DNS label of RFC 1123, as Kubernetes requires for the names of containers and volumes.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// Returns the candidate with the smallest edit distance to `text`, for suggestions in messages. The distance is at
/// most a third of the text's length, and at least 1 is allowed.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "log-shipper", "a1", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<ProfileName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a b", "é", "a@2", &"x".repeat(64)] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_similar_candidate_is_suggested() {
        let known = ["log-shipper", "statsd", "vault"];
        assert_eq!(nearest("log-shiper", known), Some("log-shipper"));
        assert_eq!(nearest("stasd", known), Some("statsd"));
        assert_eq!(nearest("prometheus", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
