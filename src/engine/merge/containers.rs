//! Init containers, native sidecars and containers. Their names are unique over all these lists of the pod.

use serde_json::Value;

use super::overlay;
use super::plan::{InsertAt, Plan, PlannedChange, RuleContext};
use crate::api::keys;
use crate::engine::pod::{IMAGE_AUTO, PodElement, PodView as _};
use crate::engine::reason::{Owner, Reason};
use crate::fields::{Map, Place};
use crate::json::{Json, field, owned, text};
use crate::profiles::{Element, Rendered};

pub(super) fn plan<'a>(context: &RuleContext<'a, '_>, plan: &mut Plan<'a, '_>) -> Result<(), Reason> {
    let template = &context.profile.template;
    for element in template.list(&Place::INIT_CONTAINERS) {
        if context.profile.classic && element.is_native_sidecar() {
            plan_classic(context, plan, element)?;
        } else {
            plan_container(context, plan, Place::INIT_CONTAINERS, context.position(), element)?;
        }
    }
    for element in template.list(&Place::CONTAINERS) {
        plan_container(context, plan, Place::CONTAINERS, InsertAt::End, element)?;
    }
    Ok(())
}

/// Plans a native sidecar as an ordinary container before the pod's own, so that the kubelet starts it first.
fn plan_classic<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    element: &'a Element,
) -> Result<(), Reason> {
    let restart_policy = context.draft().submitted().spec("restartPolicy").and_then(|policy| policy.as_str());
    if let Some(restart_policy) = restart_policy.filter(|policy| *policy != "Always") {
        let (profile, restart_policy) = (context.name(), restart_policy.to_owned());
        return Err(Reason::ClassicRefused { profile, restart_policy });
    }
    plan_container(context, plan, Place::CONTAINERS, InsertAt::BeforeOwn, element)?;
    let containers = context.original().list(&Place::CONTAINERS);
    let default = containers
        .iter()
        .filter(|container| text(container, "image") != Some(IMAGE_AUTO))
        .filter_map(|container| text(container, "name"))
        .find(|name| !plan.adopts(&Place::CONTAINERS, name));
    if let Some(default) = default
        && !plan.sets(Map::Annotations, keys::DEFAULT_CONTAINER)
        && context.draft().get(&Place::ANNOTATIONS, keys::DEFAULT_CONTAINER).is_none()
    {
        let value = Rendered::Made(default.to_owned().into());
        plan.add(Place::ANNOTATIONS, InsertAt::End, keys::DEFAULT_CONTAINER, value);
    }
    Ok(())
}

fn plan_container<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    place: Place,
    at: InsertAt,
    element: &'a Element,
) -> Result<(), Reason> {
    let name = &element.name;
    if !context.when(plan, element.when.as_deref(), None)? {
        plan.notes.push(Reason::WhenFalse { profile: context.name(), what: format!("container {name}") });
        return Ok(());
    }
    let mut value = context.render(plan, (&place, name), &element.value, None)?;
    if context.profile.classic && element.is_native_sidecar() {
        value = Rendered::Made(without(&value, &["restartPolicy"]));
    }
    let live = context.draft().get(&place, name);
    if let Some(live) = live.filter(|live| live.has_image_auto()) {
        return plan_overlay(context, plan, &place, live, element, &value);
    }
    match context.draft().container_of_name(name) {
        None => plan.add(place, at, name, value),
        Some(_) if is_own(context, &place, name, &value) => {
            plan.notes.push(Reason::Adopted { profile: context.name(), container: name.clone() });
            plan.changes.push(PlannedChange::Adopt { place, at, key: name.clone(), value });
        }
        Some(list) => {
            let owner = owner(context, name);
            let (profile, container) = (context.name(), name.clone());
            let elsewhere = [Place::INIT_CONTAINERS, Place::CONTAINERS]
                .iter()
                .any(|other| context.draft().get(other, name).is_some_and(PodElement::has_image_auto));
            let cause = if elsewhere {
                let problem = if place == Place::CONTAINERS {
                    "has it among the containers; move it there"
                } else {
                    "has it among the initContainers; move it there"
                };
                Reason::OverlayRefused { profile, container, problem }
            } else {
                Reason::ContainerNameTaken { profile, container, owner, list }
            };
            context.conflict(plan, cause)?;
        }
    }
    Ok(())
}

/// Checks whether the original pod has the container that the profile renders, without a status: `kubectl debug --copy-to`
/// copies the spec, and drops annotations, labels and the probes of ordinary containers.
fn is_own(context: &RuleContext<'_, '_>, place: &Place, name: &str, rendered: &Json<'_>) -> bool {
    let Some(live) = context.draft().get(place, name) else { return false };
    if !matches!(owner(context, name), Owner::Pod) {
        return false;
    }
    let has_probe = |probe: &&str| field(live.json(), probe).is_some();
    context.is_shared(place, live, rendered)
        || (!context.protected
            && *place == Place::CONTAINERS
            && !PROBES.iter().any(has_probe)
            && context.is_shared(place, live, &without(rendered, &PROBES)))
}

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

fn plan_overlay<'a>(
    context: &RuleContext<'a, '_>,
    plan: &mut Plan<'a, '_>,
    place: &Place,
    live: PodElement<'_>,
    element: &Element,
    value: &Json<'_>,
) -> Result<(), Reason> {
    let (profile, container) = (context.name(), element.name.clone());
    if context.protected {
        let problem = "is mandatory, or comes along with one that is: its containers are not to be changed; remove the container";
        return context.conflict(plan, Reason::OverlayRefused { profile, container, problem });
    }
    let Some(index) = context.draft().index_of(place, &element.name) else { return Ok(()) };
    let original = Value::from(live.json());
    let value = owned(overlay::of(&Value::from(value), &original));
    plan.notes.push(Reason::Overlaid { profile, container: container.clone() });
    plan.changes.push(PlannedChange::Overlay {
        place: place.clone(),
        index,
        key: container,
        original,
        value,
    });
    Ok(())
}

fn without(container: &Json<'_>, names: &[&str]) -> Json<'static> {
    let mut container = Value::from(container);
    if let Some(fields) = container.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    owned(container)
}

fn owner(context: &RuleContext<'_, '_>, container: &str) -> Owner {
    match context.merged.owner(&Place::INIT_CONTAINERS, container) {
        Owner::Pod => context.merged.owner(&Place::CONTAINERS, container),
        profile @ Owner::Profile(_) => profile,
    }
}
