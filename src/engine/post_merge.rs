//! Checks after all profiles are merged: overlays without a profile, conflicts, and the cost.

use std::collections::BTreeSet;

use super::cost;
use super::draft::Draft;
use super::merged::{Merged, injected_containers};
use super::pod::PodElement;
use super::reason::{Owner, Reason};
use super::trace::Trace;
use crate::api::{ProfileName, nearest};
use crate::fields::{ContainerKind, Place};
use crate::json::same;
use crate::profiles::Profile;
use crate::resources::Qos;

/// Grace period in seconds up to which a sidecar that stops after the app has too little time.
const SHORT_GRACE_PERIOD: i64 = 5;

/// Checks the merged pod.
///
/// # Errors
/// [`Reason::ImageAuto`] if no injected profile has the container of an overlay.
pub(super) fn check(
    merged: &Merged<'_>,
    profiles: &[std::sync::Arc<Profile>],
    trace: &mut Trace,
) -> Result<(), Reason> {
    image_auto(&merged.draft, profiles)?;
    overlay_order(merged, profiles, trace);
    ports(merged, trace);
    debug_assert!(
        cost::may_be_guaranteed(merged.original) || cost::before(merged.original).qos() != Qos::Guaranteed,
        "the first look misses a pod that is Guaranteed"
    );
    if cost::may_be_guaranteed(merged.original)
        && let before = cost::before(merged.original)
        && before.qos() == Qos::Guaranteed
        && let after = cost::after(&merged.draft, &before).qos()
        && after != Qos::Guaranteed
        && let Some(container) = not_guaranteed(merged)
    {
        trace.add(Reason::QosLost { to: after.to_string(), container });
    }
    grace_period(merged, trace);
    if !trace.is_brief() && has_containers(merged) {
        let before = cost::before(merged.original);
        trace.add(Reason::Costs { cost: cost::of_injection(&merged.draft, &before) });
    }
    Ok(())
}

fn has_containers(merged: &Merged<'_>) -> bool {
    merged.profiles.iter().any(|injected| injected_containers(&merged.draft, injected).next().is_some())
}

/// # Errors
/// [`Reason::ImageAuto`] if no injected profile has the container of an overlay.
pub(super) fn image_auto(draft: &Draft<'_>, profiles: &[std::sync::Arc<Profile>]) -> Result<(), Reason> {
    for kind in ContainerKind::ALL {
        let waiting = draft.elements(&Place::Spec(kind.list())).find(|seen| seen.has_image_auto());
        if let Some(container) = waiting.and_then(PodElement::name) {
            let names = profiles.iter().flat_map(|profile| {
                let template = &profile.template;
                [Place::INIT_CONTAINERS, Place::CONTAINERS]
                    .into_iter()
                    .flat_map(|place| template.list(&place))
                    .map(|element| element.name.as_str())
            });
            let others = names.filter(|name| *name != container);
            let probably = nearest(container, others).map(str::to_owned);
            return Err(Reason::ImageAuto { container: container.to_owned(), probably });
        }
    }
    Ok(())
}

/// Warns about overlays in the init containers: they keep the position in the pod, which may be too early.
fn overlay_order(merged: &Merged<'_>, profiles: &[std::sync::Arc<Profile>], trace: &mut Trace) {
    let overlaid: Vec<(&str, &str)> = merged
        .profiles
        .iter()
        .flat_map(|injected| {
            let containers = injected.overlays.get("initContainers").into_iter().flatten();
            containers.filter_map(|c| Some((injected.name.as_str(), c.get("name")?.as_str()?)))
        })
        .collect();
    if overlaid.is_empty() {
        return;
    }
    let order = merged.draft.container_names(ContainerKind::Init);
    let owner = |container: &str| match merged.owner(&Place::INIT_CONTAINERS, container) {
        Owner::Profile(profile) => Some(profile),
        Owner::Pod => None,
    };
    let find = |name: &str| profiles.iter().find(|profile| profile.name.as_str() == name);
    for (profile, container) in overlaid {
        let later = order.iter().skip_while(|name| **name != container).skip(1);
        for other in later {
            let Some((other_profile, this)) = owner(other).and_then(|other| find(&other)).zip(find(profile))
            else {
                continue;
            };
            if starts_before(other_profile, &this.name, this) {
                trace.add(Reason::OverlayOrder {
                    profile: profile.to_owned(),
                    container: container.to_owned(),
                    other: (*other).to_owned(),
                });
                break;
            }
        }
    }
}

/// Checks whether `first` must start before `name` by the rules of either.
fn starts_before(first: &Profile, name: &ProfileName, this: &Profile) -> bool {
    let is = |list: &[String], name: &ProfileName| list.iter().any(|other| other == name.as_str());
    is(&first.order.before, name) || is(&this.order.after, &first.name) || is(&this.requires, &first.name)
}

/// Warns about injected containers that listen on the same port as another container of the pod.
fn ports(merged: &Merged<'_>, trace: &mut Trace) {
    let draft = &merged.draft;
    let mut seen_clashes = BTreeSet::new();
    for injected in &merged.profiles {
        for (place, container) in injected_containers(draft, injected) {
            if !stays(&place, container) {
                continue;
            }
            let name = container.name().unwrap_or_default();
            let ours = listens(container);
            if ours.is_empty() {
                continue;
            }
            for place in [Place::INIT_CONTAINERS, Place::CONTAINERS] {
                for other in draft.elements(&place).filter(|other| stays(&place, *other)) {
                    let other_name = other.name().unwrap_or_default();
                    let pair = BTreeSet::from([name.to_owned(), other_name.to_owned()]);
                    if other_name == name || seen_clashes.contains(&pair) {
                        continue;
                    }
                    let taken = listens(other);
                    if let Some(port) = ours.iter().find(|port| taken.contains(port)) {
                        trace.add(Reason::PortClash {
                            profile: injected.name.clone(),
                            container: name.to_owned(),
                            port: port.clone(),
                            other: other_name.to_owned(),
                        });
                        seen_clashes.insert(pair);
                    }
                }
            }
        }
    }
}

/// Checks whether a container runs beside the app, and not before it.
fn stays(place: &Place, container: PodElement<'_>) -> bool {
    *place == Place::CONTAINERS || container.text("restartPolicy") == Some("Always")
}

fn listens(container: PodElement<'_>) -> Vec<String> {
    let port = |port: PodElement<'_>| {
        let number = port.field("containerPort")?.integer()?;
        Some(match port.text("protocol") {
            None | Some("TCP") => number.to_string(),
            Some(protocol) => format!("{number}/{protocol}"),
        })
    };
    container.items("ports").filter_map(port).collect()
}

/// Returns the first injected container whose CPU and memory limits differ from its requests.
fn not_guaranteed(merged: &Merged<'_>) -> Option<String> {
    let mut containers =
        merged.profiles.iter().flat_map(|injected| injected_containers(&merged.draft, injected));
    containers.find_map(|(_, seen)| {
        let resources = seen.field("resources");
        let of = |list, name| resources.and_then(|resources| resources.field(list)?.field(name));
        let is_limited = |name| match (of("limits", name), of("requests", name)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(limit), Some(request)) => same(request.json(), limit.json()),
        };
        (!is_limited("cpu") || !is_limited("memory")).then(|| seen.name().unwrap_or_default().to_owned())
    })
}

fn grace_period(merged: &Merged<'_>, trace: &mut Trace) {
    let live = merged.draft.get(&Place::Map(crate::fields::Map::Spec), "terminationGracePeriodSeconds");
    let Some(seconds) = live.and_then(PodElement::integer).filter(|s| *s <= SHORT_GRACE_PERIOD) else {
        return;
    };
    let has_sidecar = merged.profiles.iter().any(|injected| {
        injected_containers(&merged.draft, injected)
            .any(|(place, seen)| place == Place::INIT_CONTAINERS && stays(&place, seen))
    });
    if has_sidecar {
        trace.add(Reason::GracePeriodShort { seconds });
    }
}
