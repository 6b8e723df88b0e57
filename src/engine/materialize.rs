//! The whole original pod, for expressions, after an earlier injection was removed.

use super::draft::Draft;
use super::pod::{PodElement, PodView as _};
use crate::fields::{ContainerKind, DnsList, Map, Place, SpecList};
use crate::json::{Json, field, text};

/// Fields of an object that are set, or removed if the value is `None`.
type Changes<'s> = Vec<(&'s str, Option<Json<'s>>)>;

/// Returns the draft as a whole pod.
pub(super) fn original_pod<'s>(draft: &'s Draft<'_>) -> Json<'s> {
    let submitted: &'s Json<'s> = draft.submitted().json();
    let metadata = field(submitted, "metadata");
    let spec = field(submitted, "spec");
    let mut in_metadata = Changes::new();
    for (map, name) in [(Map::Labels, "labels"), (Map::Annotations, "annotations")] {
        in_metadata.extend(keys(draft, map, metadata, name));
    }
    let mut in_spec: Changes<'s> = changes(draft, Map::Spec);
    in_spec.extend(keys(draft, Map::SecurityContext, spec, "securityContext"));
    for list in SpecList::ALL {
        let place = Place::Spec(list);
        let is_changed = draft.changed_lists().contains_key(&place);
        let kind = ContainerKind::ALL.into_iter().find(|kind| kind.list() == list);
        let elements: Vec<Json<'s>> = match kind {
            Some(kind) if is_changed || !draft.submitted().list(&place).is_empty() => {
                draft.elements(&place).map(|seen| container(draft, kind, seen)).collect()
            }
            None if is_changed => draft.elements(&place).map(|seen| seen.json().clone()).collect(),
            _ => continue,
        };
        let is_required = list == SpecList::Containers;
        in_spec.push((list.name(), if is_required { Some(Json::Array(elements)) } else { filled(elements) }));
    }
    let mut in_dns = Changes::new();
    for list in DnsList::ALL {
        let place = Place::Dns(list);
        if draft.changed_lists().contains_key(&place) {
            in_dns.push((
                list.name(),
                filled(draft.elements(&place).map(|seen| seen.json().clone()).collect()),
            ));
        }
    }
    if !in_dns.is_empty() {
        let dns = spec.and_then(|spec| field(spec, "dnsConfig"));
        in_spec.push(("dnsConfig", not_empty(with(dns, in_dns))));
    }
    with(
        Some(submitted),
        vec![("metadata", Some(with(metadata, in_metadata))), ("spec", Some(with(spec, in_spec)))],
    )
}

fn changes<'s>(draft: &'s Draft<'_>, map: Map) -> Changes<'s> {
    draft.changed_keys(map).map(|(key, value)| (key, value.map(|value| (**value).clone()))).collect()
}

/// Returns the change to the field with a map, or nothing if the map does not change.
fn keys<'s>(
    draft: &'s Draft<'_>,
    map: Map,
    parent: Option<&'s Json<'s>>,
    name: &'s str,
) -> Option<(&'s str, Option<Json<'s>>)> {
    let changes = changes(draft, map);
    let inner = parent.and_then(|parent| field(parent, name));
    (!changes.is_empty()).then(|| (name, not_empty(with(inner, changes))))
}

fn container<'s>(draft: &'s Draft<'_>, kind: ContainerKind, seen: PodElement<'s>) -> Json<'s> {
    let PodElement::Submitted(value) = seen else { return seen.json().clone() };
    let mut lists = Changes::new();
    for place in draft.changed_lists().keys() {
        if let Place::Container { kind: changed, name, field: list } = place
            && *changed == kind
            && text(value, "name") == Some(name)
        {
            lists
                .push((list.name(), filled(draft.elements(place).map(|seen| seen.json().clone()).collect())));
        }
    }
    with(Some(value), lists)
}

fn filled(list: Vec<Json<'_>>) -> Option<Json<'_>> {
    (!list.is_empty()).then_some(Json::Array(list))
}

fn not_empty(object: Json<'_>) -> Option<Json<'_>> {
    object.as_object().is_some_and(|fields| !fields.is_empty()).then_some(object)
}

/// Returns the object with changed fields.
fn with<'s>(object: Option<&'s Json<'s>>, changes: Changes<'s>) -> Json<'s> {
    let fields = object.and_then(Json::as_object).into_iter().flat_map(serde_json_borrow::ObjectAsVec::iter);
    let kept = fields.filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let mut all: Vec<(&'s str, Json<'s>)> = kept.map(|(name, value)| (name, value.clone())).collect();
    all.extend(changes.into_iter().filter_map(|(name, value)| Some((name, value?))));
    Json::Object(all.into())
}
