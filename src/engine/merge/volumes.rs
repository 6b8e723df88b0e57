//! Volumes: an identical one of the same name is shared, another one is a conflict.

use super::super::Reason;
use super::{At, Context, Plan};
use crate::fields::Place;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    for volume in context.profile.template.list(&Place::VOLUMES) {
        let (profile, name) = (context.name(), volume.name.clone());
        if !context.when(plan, volume.when.as_ref(), None)? {
            plan.notes.push(Reason::NotWhen { profile, what: format!("volume {name}") });
            continue;
        }
        let value = context.render(plan, (&Place::VOLUMES, &name), &volume.value, None)?;
        match context.pod().get(&Place::VOLUMES, &name) {
            None => plan.add(Place::VOLUMES, At::End, &name, value),
            Some(live) if context.is_shared(live, &value) => {
                plan.notes.push(Reason::Shared { profile, what: name, place: Place::VOLUMES.to_string() });
            }
            Some(_) => {
                let owner = context.merged.owner(&Place::VOLUMES, &name);
                context.conflict(plan, Reason::VolumeConflict { profile, volume: name, owner })?;
            }
        }
    }
    Ok(())
}
