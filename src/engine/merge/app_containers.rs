//! Variables and mounts for app containers. The container's own values take precedence.

use super::plan::{InsertAt, Plan, RuleContext};
use super::variables;
use crate::engine::pod::PodElement;
use crate::engine::reason::{Owner, Reason};
use crate::fields::lists::key_of;
use crate::fields::{ContainerField, ContainerKind, Place, mount_path};
use crate::json::same;
use crate::profiles::{AppContainers, Rendered, Selected};

/// ContainerElement for a container, with the precision of the selector of its item.
struct ContainerElement<'a> {
    field: ContainerField,
    key: String,
    value: Rendered<'a>,
    selected: Selected,
    /// Index of the item in `appContainers`.
    item: usize,
}

pub(super) fn plan<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    if context.profile.app_containers.is_empty() {
        return Ok(());
    }
    for kind in ContainerKind::ALL {
        let place = Place::Spec(kind.list());
        for seen in context.draft().elements(&place) {
            let Some(name) = seen.name() else { continue };
            let is_own = context.merged.owner(&place, name) == Owner::Pod
                && !seen.has_image_auto()
                && !plan.adopts(&place, name);
            if is_own {
                plan_container(context, plan, kind, seen)?;
            }
        }
    }
    Ok(())
}

fn plan_container<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    kind: ContainerKind,
    container: PodElement<'_>,
) -> Result<(), Reason> {
    let name = container.name().unwrap_or_default();
    let elements = most_exact(context, name, rendered(context, plan, kind, container)?)?;
    let place = |field| Place::Container { kind, name: name.to_owned(), field };
    let (mut variables, mut sources) = (Vec::new(), Vec::new());
    for ContainerElement { field, key, value, .. } in elements {
        match field {
            ContainerField::Env => variables.push((key, value)),
            ContainerField::EnvFrom => sources.push((key, value)),
            ContainerField::VolumeMounts => plan_mount(context, plan, place(field), name, (key, value))?,
        }
    }
    variables::plan(context, plan, &place(ContainerField::Env), container, variables)?;
    // A later source overrides an earlier one, so the profile's sources precede the pod's.
    for (key, value) in sources.into_iter().rev() {
        context.add_unless_set(plan, place(ContainerField::EnvFrom), InsertAt::Start, &key, value)?;
    }
    Ok(())
}

/// Returns the elements of all items that select the container.
fn rendered<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    kind: ContainerKind,
    container: PodElement<'_>,
) -> Result<Vec<ContainerElement<'a>>, Reason> {
    let name = container.name().unwrap_or_default();
    let as_written = context.original_container(kind, name);
    let json = as_written.unwrap_or(container.json());
    let mut elements = Vec::new();
    for (item, app) in context.profile.app_containers.iter().enumerate() {
        let Some(selected) = app.selects(kind, name) else { continue };
        if !context.when(plan, app.when.as_ref(), Some(json))? {
            let what = format!("what is for container {name}");
            plan.notes.push(Reason::WhenFalse { profile: context.name(), what });
            continue;
        }
        for (field, values) in &app.lists {
            let place = Place::Container { kind, name: name.to_owned(), field: *field };
            for value in values {
                let value = context.render(plan, (&place, ""), value, Some(json))?;
                if !value.is_null() {
                    let key = key_of(field.name(), &*value).into_owned();
                    elements.push(ContainerElement { field: *field, key, value, selected, item });
                }
            }
        }
    }
    Ok(elements)
}

/// Keeps, of several elements with one key, the one whose item has the most specific selector.
///
/// # Errors
/// [`Reason::InvalidResult`] if two items with equally specific selectors have different elements.
fn most_exact<'a>(
    context: &RuleContext<'a, '_>,
    container: &str,
    elements: Vec<ContainerElement<'a>>,
) -> Result<Vec<ContainerElement<'a>>, Reason> {
    let mut kept: Vec<ContainerElement<'a>> = Vec::with_capacity(elements.len());
    for element in elements {
        let twin = kept.iter_mut().find(|other| other.field == element.field && other.key == element.key);
        match twin {
            None => kept.push(element),
            Some(twin) if element.selected > twin.selected => *twin = element,
            Some(twin) if element.selected < twin.selected || same(&twin.value, &element.value) => {}
            Some(twin) => {
                let problem = AppContainers::ambiguous(
                    (twin.item, element.item),
                    (element.field, &element.key),
                    &format!("container {container:?}"),
                );
                return Err(Reason::InvalidResult { profile: context.name(), problem });
            }
        }
    }
    Ok(kept)
}

fn plan_mount<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    place: Place,
    container: &str,
    (path, item): (String, Rendered<'a>),
) -> Result<(), Reason> {
    if context.draft().get(&place, &path).is_none() {
        nested(context, plan, &place, container, &path);
        plan.add(place, InsertAt::End, &path, item);
    } else if context.are_shared(&place, &path, &item) {
        context.share(plan, &place, &path);
    } else {
        let owner = context.merged.owner(&place, &path);
        let (profile, container) = (context.name(), container.to_owned());
        context.conflict(plan, Reason::MountConflict { profile, container, path, owner })?;
    }
    Ok(())
}

/// Warns about mounts of the container inside or around the new one: a part of one volume hides a part of the other.
fn nested(
    context: &RuleContext<'_, '_>,
    plan: &mut Plan<'_, '_>,
    place: &Place,
    container: &str,
    path: &str,
) {
    for other in context.draft().elements(place) {
        let Some(other) = other.text("mountPath").filter(|other| *other != mount_path::TOKEN) else {
            continue;
        };
        let (inner, outer) = if mount_path::is_inside(path, other) {
            (path, other)
        } else if mount_path::is_inside(other, path) {
            (other, path)
        } else {
            continue;
        };
        plan.notes.push(Reason::MountNested {
            profile: context.name(),
            container: container.to_owned(),
            path: path.to_owned(),
            owner: context.merged.owner(place, &mount_path::clean(other)),
            inner: inner.to_owned(),
            outer: outer.to_owned(),
        });
    }
}
