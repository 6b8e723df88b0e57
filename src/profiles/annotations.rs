//! Annotations that belong together, and annotations that are lists.

use wildmatch::WildMatch;

use super::finding::Findings;
use crate::api::{AnnotationMerge, MergeAnnotations, keys};

/// Rules for the annotations of a profile that a pod has already.
#[derive(Clone, Debug)]
pub struct AnnotationRules(Vec<(WildMatch, String, AnnotationMerge)>);

impl AnnotationRules {
    pub(super) fn read(given: &[MergeAnnotations], findings: &mut Findings) -> Self {
        let mut rules = Vec::with_capacity(given.len() + 2);
        for (index, rule) in given.iter().enumerate() {
            if rule.keys.trim_matches('*').is_empty() {
                let problem = "name the annotations, or a part of their name before or after \"*\"";
                findings.error(format!("spec.mergeAnnotations[{index}].keys"), problem);
            }
            rules.push((WildMatch::new(&rule.keys), rule.keys.clone(), rule.merge));
        }
        for (keys, merge) in [
            (keys::SCRAPE_ANNOTATIONS, AnnotationMerge::Group),
            (keys::SAFE_TO_EVICT_VOLUMES, AnnotationMerge::List),
        ] {
            rules.push((WildMatch::new(keys), keys.to_owned(), merge));
        }
        Self(rules)
    }

    /// The rule for an annotation, with the keys or the pattern that it is for. The profile's own rules come first.
    pub(crate) fn of(&self, key: &str) -> Option<(AnnotationMerge, &str)> {
        let rule = self.0.iter().find(|(pattern, ..)| pattern.matches(key));
        rule.map(|(_, keys, merge)| (*merge, keys.as_str()))
    }

    /// Returns whether an annotation is one of the group of this pattern.
    pub(crate) fn is_in_group(&self, group: &str, key: &str) -> bool {
        self.of(key) == Some((AnnotationMerge::Group, group))
    }
}
