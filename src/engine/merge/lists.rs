//! Other lists of the pod, such as image pull secrets, tolerations and host aliases.

use super::plan::{InsertAt, Plan, RuleContext};
use crate::engine::reason::Reason;
use crate::fields::lists::key_of;
use crate::fields::{DnsList, Place, SpecList};

pub(super) fn plan<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    for (place, elements) in &context.profile.template.lists {
        if matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers | SpecList::Volumes)) {
            continue;
        }
        for element in elements {
            let value = context.render(plan, (place, &element.name), &element.value, None)?;
            if value.is_null() {
                continue;
            }
            let key = key_of(place.field(), &*value).into_owned();
            match place {
                // The pod's own DNS options take precedence, like its labels.
                Place::Dns(DnsList::Options) => {
                    context.add_unless_set(plan, place.clone(), InsertAt::End, &key, value)?;
                }
                // The first matching alias or server is used, so a protected profile's precede the pod's.
                place if context.protected && Place::RESOLUTION.contains(place) => {
                    context.add_or_share(plan, place.clone(), InsertAt::BeforeOwn, &key, value)?;
                }
                _ => context.add_or_share(plan, place.clone(), InsertAt::End, &key, value)?,
            }
        }
    }
    Ok(())
}
