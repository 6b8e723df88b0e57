//! Volumes: an identical one of the same name is shared; a different one is a conflict.

use super::plan::{InsertAt, Plan, RuleContext};
use crate::engine::reason::Reason;
use crate::fields::Place;

pub(super) fn plan<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    for volume in context.profile.template.list(&Place::VOLUMES) {
        let name = &volume.name;
        if !context.when(plan, volume.when.as_deref(), None)? {
            plan.notes.push(Reason::WhenFalse { profile: context.name(), what: format!("volume {name}") });
            continue;
        }
        let value = context.render(plan, (&Place::VOLUMES, name), &volume.value, None)?;
        if context.draft().get(&Place::VOLUMES, name).is_none() {
            plan.add(Place::VOLUMES, InsertAt::End, name, value);
        } else if context.are_shared(&Place::VOLUMES, name, &value) {
            context.share(plan, &Place::VOLUMES, name);
        } else {
            let (profile, volume) = (context.name(), name.clone());
            let owner = context.merged.owner(&Place::VOLUMES, name);
            context.conflict(plan, Reason::VolumeConflict { profile, volume, owner })?;
        }
    }
    Ok(())
}
