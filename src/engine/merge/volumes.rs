//! Volumes: an identical one of the same name is shared, another one is a conflict.

use super::super::Reason;
use super::super::holds::holds;
use super::super::place::Place;
use super::{At, Context, Plan};

pub(super) fn plan(context: &Context<'_>, plan: &mut Plan) -> Result<(), Reason> {
    for volume in &context.profile.template.volumes {
        let (profile, name) = (context.name(), volume.name.clone());
        match context.pod().get(&Place::Volumes, &name) {
            None => plan.add(Place::Volumes, At::End, &name, &volume.value),
            Some(live) if holds(&volume.value, live) => {
                plan.notes.push(Reason::Shared { profile, what: name, place: Place::Volumes.to_string() });
            }
            Some(_) => {
                let owner = context.merged.owner(&Place::Volumes, &name);
                context.conflict(plan, Reason::VolumeConflict { profile, volume: name, owner })?;
            }
        }
    }
    Ok(())
}
