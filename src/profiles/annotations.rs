//! Groups of annotations, and annotations that are lists.

use wildmatch::WildMatch;

use super::finding::Findings;
use crate::api::{AnnotationMerge, MergeAnnotations, keys};

/// Merge rules for a profile's annotations that the pod already has.
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

    /// Returns the rule for an annotation, with its keys or pattern. The profile's own rules take precedence.
    pub(crate) fn of(&self, key: &str) -> Option<(AnnotationMerge, &str)> {
        let rule = self.0.iter().find(|(pattern, ..)| pattern.matches(key));
        rule.map(|(_, keys, merge)| (*merge, keys.as_str()))
    }

    /// Checks whether an annotation is in the group of a pattern.
    pub(crate) fn is_in_group(&self, group: &str, key: &str) -> bool {
        self.of(key) == Some((AnnotationMerge::Group, group))
    }
}
