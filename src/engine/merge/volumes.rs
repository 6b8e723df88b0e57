//! Volumes: an identical one of the same name is shared, another one is a conflict.

use std::borrow::Cow;

use super::super::Reason;
use super::{At, Context, Plan};
use crate::fields::Place;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a>) -> Result<(), Reason> {
    for volume in &context.profile.template.volumes {
        let (profile, name) = (context.name(), volume.name.clone());
        match context.pod().get(&Place::VOLUMES, &name) {
            None => plan.add(Place::VOLUMES, At::End, &name, Cow::Borrowed(&volume.value)),
            Some(live) if live.holds(&volume.value) => {
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
