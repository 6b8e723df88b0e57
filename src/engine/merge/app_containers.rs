//! What the pod's own containers get: environment and mounts. What a container sets itself stays.

use std::borrow::Cow;

use serde_json::Value;

use super::super::Reason;
use super::super::reason::Owner;
use super::{At, Context, Plan};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, Place};
use crate::profiles::AppContainers;

pub(super) fn plan<'a>(context: &Context<'a, '_>, plan: &mut Plan<'a>) -> Result<(), Reason> {
    for app in &context.profile.app_containers {
        for kind in ContainerKind::ALL {
            if kind == ContainerKind::Init && !app.init_containers {
                continue;
            }
            for container in context.pod().container_names(kind) {
                if app.selects(container) && is_own(context, kind, container) {
                    plan_container(context, plan, app, kind, container)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether the container is the pod's own, and not an earlier profile's.
fn is_own(context: &Context<'_, '_>, kind: ContainerKind, container: &str) -> bool {
    context.merged.owner(&Place::Spec(kind.list()), container) == Owner::Pod
}

fn plan_container<'a>(
    context: &Context<'a, '_>,
    plan: &mut Plan<'a>,
    app: &'a AppContainers,
    kind: ContainerKind,
    container: &str,
) -> Result<(), Reason> {
    let place = |field| Place::Container { kind, name: container.to_owned(), field };
    for item in &app.env {
        let place = place(ContainerField::Env);
        context.add_unless_set(plan, place, At::End, &key_of("env", item), Cow::Borrowed(item))?;
    }
    for item in app.env_from.iter().rev() {
        // A later source beats an earlier one, so ours go before the pod's.
        let place = place(ContainerField::EnvFrom);
        context.add_unless_set(plan, place, At::Start, &key_of("envFrom", item), Cow::Borrowed(item))?;
    }
    for item in &app.volume_mounts {
        plan_mount(context, plan, place(ContainerField::VolumeMounts), container, item)?;
    }
    Ok(())
}

fn plan_mount<'a>(
    context: &Context<'a, '_>,
    plan: &mut Plan<'a>,
    place: Place,
    container: &str,
    item: &'a Value,
) -> Result<(), Reason> {
    let path = key_of("volumeMounts", item);
    match context.pod().get(&place, &path) {
        None => plan.add(place, At::End, &path, Cow::Borrowed(item)),
        Some(live) if live.holds(item) => plan.notes.push(Reason::Shared {
            profile: context.name(),
            what: path.into_owned(),
            place: place.to_string(),
        }),
        Some(_) => {
            let owner = context.merged.owner(&place, &path);
            let (profile, container, path) = (context.name(), container.to_owned(), path.into_owned());
            context.conflict(plan, Reason::MountConflict { profile, container, path, owner })?;
        }
    }
    Ok(())
}
