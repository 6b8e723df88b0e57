//! Volumes: an identical one of the same name is shared, another one is a conflict.

use super::super::Reason;
use super::{At, Context, Plan};
use crate::fields::Place;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    for volume in context.profile.template.list(&Place::VOLUMES) {
        let name = &volume.name;
        if !context.when(plan, volume.when.as_deref(), None)? {
            plan.notes.push(Reason::NotWhen { profile: context.name(), what: format!("volume {name}") });
            continue;
        }
        let value = context.render(plan, (&Place::VOLUMES, name), &volume.value, None)?;
        match context.pod().get(&Place::VOLUMES, name) {
            None => plan.add(Place::VOLUMES, At::End, name, value),
            Some(live) => {
                let (profile, volume) = (context.name(), name.clone());
                if context.is_shared(live, &value) {
                    let place = Place::VOLUMES.to_string();
                    plan.notes.push(Reason::Shared { profile, what: volume, place });
                } else {
                    let owner = context.merged.owner(&Place::VOLUMES, name);
                    context.conflict(plan, Reason::VolumeConflict { profile, volume, owner })?;
                }
            }
        }
    }
    Ok(())
}
