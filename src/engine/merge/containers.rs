//! Init containers, native sidecars and containers: their names are unique over all the pod's lists.

use std::borrow::Cow;

use super::super::Reason;
use super::super::reason::Owner;
use super::{At, Context, Plan};
use crate::fields::Place;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a>) -> Result<(), Reason> {
    let template = &context.profile.template;
    let init =
        template.init_containers.iter().map(|element| (Place::INIT_CONTAINERS, context.position(), element));
    let app = template.containers.iter().map(|element| (Place::CONTAINERS, At::End, element));
    for (place, at, element) in init.chain(app) {
        match context.pod().container_of_name(&element.name) {
            None => plan.add(place, at, &element.name, Cow::Borrowed(&element.value)),
            Some(list) => {
                let owner = owner(context, &element.name);
                let (profile, container) = (context.name(), element.name.clone());
                context.conflict(plan, Reason::ContainerNameTaken { profile, container, owner, list })?;
            }
        }
    }
    Ok(())
}

fn owner(context: &Context<'_, '_>, container: &str) -> Owner {
    match context.merged.owner(&Place::INIT_CONTAINERS, container) {
        Owner::Pod => context.merged.owner(&Place::CONTAINERS, container),
        profile @ Owner::Profile(_) => profile,
    }
}
