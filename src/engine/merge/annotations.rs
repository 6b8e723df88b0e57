//! Groups of annotations, annotations that are lists, and the volumes that are safe to evict.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan::{InsertAt, Plan, PlannedChange, RuleContext};
use crate::api::{AnnotationMerge, keys};
use crate::engine::pod::PodElement;
use crate::engine::reason::Reason;
use crate::fields::{Map, Place};
use crate::json::{Json, field, same};
use crate::profiles::Rendered;

/// Annotations of a profile by their group.
#[derive(Default)]
pub(super) struct Groups<'a>(BTreeMap<&'a str, Vec<(&'a str, Rendered<'a>)>>);

impl<'a> Groups<'a> {
    /// Plans an annotation; one of a group is kept until all are known.
    pub(super) fn plan(
        &mut self,
        context: &RuleContext<'a, '_>,
        plan: &mut Plan<'a, '_>,
        key: &'a str,
        value: Rendered<'a>,
    ) -> Result<(), Reason> {
        match context.profile.annotations.of(key) {
            Some((AnnotationMerge::Group, group)) if !context.protected => {
                self.0.entry(group).or_default().push((key, value));
            }
            Some((AnnotationMerge::List, _)) => join(context, plan, key, &items(&value)),
            _ => context.add_unless_set(plan, Place::ANNOTATIONS, InsertAt::End, key, value)?,
        }
        Ok(())
    }

    /// Plans each group as a whole, unless the pod has an annotation of it.
    pub(super) fn end(self, context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) {
        for (group, annotations) in self.0 {
            let is_same = |(key, value): &(&str, Rendered<'a>)| {
                let live = context.draft().get(&Place::ANNOTATIONS, key);
                live.is_some_and(|live| same(live.json(), value))
            };
            let found = context.draft().annotation_keys();
            let found = found.into_iter().find(|key| context.profile.annotations.is_in_group(group, key));
            match found {
                None => {
                    for (key, value) in annotations {
                        plan.add(Place::ANNOTATIONS, InsertAt::End, key, value);
                    }
                }
                Some(_) if annotations.iter().all(is_same) => {
                    for (key, _) in annotations {
                        context.share(plan, &Place::ANNOTATIONS, key);
                    }
                }
                Some(found) => {
                    let owner = context.merged.owner(&Place::ANNOTATIONS, found);
                    let (profile, group) = (context.name(), group.to_owned());
                    plan.notes.push(Reason::GroupKept { profile, group, owner });
                }
            }
        }
    }
}

/// Marks the profile's `emptyDir` volumes as safe to evict, unless the profile lists such volumes itself. Otherwise the
/// autoscaler would not remove a node with the pod.
#[expect(clippy::unnecessary_wraps, reason = "it is one of the merge rules")]
pub(super) fn plan_eviction<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
) -> Result<(), Reason> {
    if context.profile.template.sets(Map::Annotations, keys::SAFE_TO_EVICT_VOLUMES) {
        return Ok(());
    }
    let volumes: Vec<String> = plan
        .changes
        .iter()
        .filter_map(|change| match change {
            PlannedChange::Add { place, key, value, .. } if *place == Place::VOLUMES => {
                field(value, "emptyDir").is_some().then(|| key.clone())
            }
            _ => None,
        })
        .collect();
    if !volumes.is_empty() {
        join(context, plan, keys::SAFE_TO_EVICT_VOLUMES, &volumes);
    }
    Ok(())
}

/// Returns the items of a comma-separated list.
fn items(value: &Json<'_>) -> Vec<String> {
    let parts = value.as_str().unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Plans new items of a list; existing items stay in their positions.
fn join<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>, key: &str, ours: &[String]) {
    let live = context.draft().get(&Place::ANNOTATIONS, key);
    let Some(before) = live.and_then(PodElement::as_text) else {
        plan.add(Place::ANNOTATIONS, InsertAt::End, key, Rendered::Made(ours.join(",").into()));
        return;
    };
    let there = items(&before.into());
    let new: Vec<&str> =
        ours.iter().map(String::as_str).filter(|item| !there.iter().any(|other| other == item)).collect();
    if new.is_empty() {
        context.share(plan, &Place::ANNOTATIONS, key);
        return;
    }
    let owner = context.merged.owner(&Place::ANNOTATIONS, key);
    let (profile, added) = (context.name(), new.join(", "));
    plan.notes.push(Reason::Joined { profile, key: key.to_owned(), added, owner });
    let separator = if there.is_empty() { "" } else { "," };
    let joined = format!("{}{separator}{}", before.trim_end_matches([',', ' ']), new.join(","));
    let (before, value) = (Value::from(before), Value::from(joined));
    plan.changes.push(PlannedChange::Replace { map: Map::Annotations, key: key.to_owned(), before, value });
}
