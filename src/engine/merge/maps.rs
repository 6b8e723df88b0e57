//! Labels, annotations, the security context and a few scalars: set only if the pod does not set them.

use serde_json::Value;

use super::annotations::Groups;
use super::plan::{InsertAt, Plan, PlannedChange, RuleContext};
use crate::api::keys;
use crate::engine::pod::PodElement;
use crate::engine::reason::Reason;
use crate::fields::{Map, Place};
use crate::json::Json;

/// Default grace period of Kubernetes in seconds.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#lifecycle>
pub(super) const DEFAULT_GRACE_PERIOD: i64 = 30;

pub(super) fn plan<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    let mut groups = Groups::default();
    for (map, values) in &context.profile.template.maps {
        for (key, value) in values {
            let place = Place::Map(*map);
            let value = context.render(plan, (&place, key), value, None)?;
            match (map, &**key) {
                (_, _) if value.is_null() => {}
                (Map::Spec, "terminationGracePeriodSeconds") => raise(context, plan, &value),
                // The sidecar needs its own file, not one of the pod, and cannot work without a shared process namespace. So
                // another value is a conflict.
                (Map::Spec, _) => context.add_or_share(plan, place, InsertAt::End, key, value)?,
                (Map::Annotations, key) if key.split('/').next() == Some(keys::FILES) => {
                    context.add_or_share(plan, place, InsertAt::End, key, value)?;
                }
                (Map::Annotations, key) => groups.plan(context, plan, key, value)?,
                (_, key) => context.add_unless_set(plan, place, InsertAt::End, key, value)?,
            }
        }
    }
    groups.end(context, plan);
    Ok(())
}

/// Raises the grace period if the profile's is longer; never lowers it.
fn raise<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>, value: &Json<'_>) {
    const KEY: &str = "terminationGracePeriodSeconds";
    let Some(to) = value.as_i64() else { return };
    let live = context.draft().get(&Place::Map(Map::Spec), KEY);
    let from = live.and_then(PodElement::integer);
    if from.unwrap_or(DEFAULT_GRACE_PERIOD) >= to {
        return;
    }
    plan.notes.push(Reason::Raised {
        profile: context.name(),
        what: KEY,
        from: from.unwrap_or(DEFAULT_GRACE_PERIOD),
        to,
    });
    let (before, value) = (from.map_or(Value::Null, Value::from), Value::from(to));
    plan.changes.push(PlannedChange::Replace { map: Map::Spec, key: KEY.to_owned(), before, value });
}
