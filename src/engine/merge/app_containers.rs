//! What the pod's own containers get: environment and mounts. What a container sets itself stays.

use super::super::Reason;
use super::super::pod::Seen;
use super::super::reason::Owner;
use super::{At, Context, Plan, containers};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, Place};
use crate::profiles::{AppContainers, Rendered};

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    for app in &context.profile.app_containers {
        for kind in ContainerKind::ALL {
            if kind == ContainerKind::Init && !app.init_containers {
                continue;
            }
            let place = Place::Spec(kind.list());
            for seen in context.pod().elements(&place) {
                let Some(name) = seen.name() else { continue };
                let is_own = context.merged.owner(&place, name) == Owner::Pod && !containers::is_auto(seen);
                if is_own && app.selects(name) {
                    plan_container(context, plan, app, kind, seen)?;
                }
            }
        }
    }
    Ok(())
}

fn plan_container<'a>(
    context: &Context<'a, '_>,
    plan: &mut Plan<'a, '_>,
    app: &'a AppContainers,
    kind: ContainerKind,
    container: Seen<'_>,
) -> Result<(), Reason> {
    let name = container.name().unwrap_or_default();
    let as_written = context.author_container(kind, name);
    let json = as_written.unwrap_or(container.json());
    if !context.when(plan, app.when.as_ref(), Some(json))? {
        let what = format!("what is for container {name}");
        plan.notes.push(Reason::NotWhen { profile: context.name(), what });
        return Ok(());
    }
    for (field, items) in &app.lists {
        let place = Place::Container { kind, name: name.to_owned(), field: *field };
        let mut rendered = Vec::with_capacity(items.len());
        for item in items {
            rendered.push(context.render(plan, (&place, ""), item, Some(json))?);
        }
        rendered.retain(|item| !item.is_null());
        match field {
            ContainerField::Env => {
                for item in rendered {
                    let key = key_of("env", &*item).into_owned();
                    context.add_unless_set(plan, place.clone(), At::End, &key, item)?;
                }
            }
            // A later source beats an earlier one, so ours go before the pod's.
            ContainerField::EnvFrom => {
                for item in rendered.into_iter().rev() {
                    let key = key_of("envFrom", &*item).into_owned();
                    context.add_unless_set(plan, place.clone(), At::Start, &key, item)?;
                }
            }
            ContainerField::VolumeMounts => {
                for item in rendered {
                    plan_mount(context, plan, place.clone(), name, item)?;
                }
            }
        }
    }
    Ok(())
}

fn plan_mount<'a>(
    context: &Context<'a, '_>,
    plan: &mut Plan<'a, '_>,
    place: Place,
    container: &str,
    item: Rendered<'a>,
) -> Result<(), Reason> {
    let path = key_of("volumeMounts", &*item).into_owned();
    if context.pod().get(&place, &path).is_none() {
        plan.add(place, At::End, &path, item);
    } else if context.are_shared(&place, &path, &item) {
        context.share(plan, &place, &path);
    } else {
        let owner = context.merged.owner(&place, &path);
        let (profile, container) = (context.name(), container.to_owned());
        context.conflict(plan, Reason::MountConflict { profile, container, path, owner })?;
    }
    Ok(())
}
