//! Views of a pod's JSON.
//!
//! A decision reads three pods: the submitted one ([`SubmittedPod`]), the original one without the elements of an earlier
//! injection ([`OriginalPod`]), and the one with the changes so far ([`super::draft::Draft`]). Each is a type of its own. The
//! first two only read; [`super::shape`] has checked the JSON, so no access can fail.

use serde_json_borrow::ObjectAsVec;

use crate::api::keys;
use crate::fields::lists::key_of;
use crate::fields::{DnsList, Map, Place};
use crate::json::{Json, field, items, text};
use crate::quantity::Quantity;
pub(super) use crate::validation::quantity;

/// Image of an overlay: the profile sets the real one.
pub(super) const IMAGE_AUTO: &str = "auto";

/// Pod of the request, exactly as submitted. A live or finished pod counts as submitted, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubmittedPod<'a>(pub(super) &'a Json<'a>);

/// Submitted pod without the elements of an earlier injection.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginalPod<'a>(pub(super) &'a Json<'a>);

/// Element of a pod, with its origin.
#[derive(Clone, Copy, Debug)]
pub(super) enum PodElement<'s> {
    /// From the submitted or the original pod.
    Submitted(&'s Json<'s>),
    /// From a profile.
    Rendered(&'s Json<'s>),
}

/// Read access to a pod's JSON.
pub(super) trait PodView<'a>: Copy {
    /// Returns the whole pod.
    fn json(self) -> &'a Json<'a>;

    fn spec(self, name: &str) -> Option<&'a Json<'a>> {
        field(field(self.json(), "spec")?, name)
    }

    /// Returns a list; empty if the pod does not have it.
    fn list(self, place: &Place) -> &'a [Json<'a>] {
        items(match place {
            Place::Map(_) => None,
            Place::Spec(list) => self.spec(list.name()),
            Place::Dns(list) => self.dns(*list),
            Place::Container { kind, name, field: list } => items(self.spec(kind.list().name()))
                .iter()
                .find(|container| text(container, "name") == Some(name))
                .and_then(|container| field(container, list.name())),
        })
    }

    fn dns(self, list: DnsList) -> Option<&'a Json<'a>> {
        field(self.spec("dnsConfig")?, list.name())
    }

    /// Returns an element of a list by its index.
    fn at(self, place: &Place, index: usize) -> Option<&'a Json<'a>> {
        self.list(place).get(index)
    }

    /// Returns the elements of a list.
    fn elements(self, place: &Place) -> impl Iterator<Item = PodElement<'a>> + use<'a, Self> {
        self.list(place).iter().map(PodElement::Submitted)
    }

    /// Returns the element or value with a key.
    fn get(self, place: &Place, key: &str) -> Option<PodElement<'a>> {
        match place {
            Place::Map(map) => self.value_in(*map, key).map(PodElement::Submitted),
            _ => self.elements(place).find(|seen| key_of(place.field(), seen.json()) == key),
        }
    }

    /// Returns the value of a map's key.
    fn value_in(self, map: Map, key: &str) -> Option<&'a Json<'a>> {
        let map = map.path().iter().try_fold(self.json(), |value, name| field(value, name));
        map.and_then(|map| field(map, key))
    }

    fn label(self, key: &str) -> Option<&'a str> {
        text(metadata(self.json(), "labels")?, key)
    }

    fn annotation(self, key: &str) -> Option<&'a str> {
        text(metadata(self.json(), "annotations")?, key)
    }

    fn labels(self) -> Vec<(&'a str, &'a str)> {
        pairs(metadata(self.json(), "labels")).collect()
    }

    fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        pairs(metadata(self.json(), "annotations"))
    }

    fn label_keys(self) -> impl Iterator<Item = &'a str> {
        let labels = metadata(self.json(), "labels");
        labels.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::keys)
    }

    fn annotation_keys(self) -> impl Iterator<Item = &'a str> {
        let annotations = metadata(self.json(), "annotations");
        annotations.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::keys)
    }

    fn host_network(self) -> bool {
        self.spec("hostNetwork").and_then(Json::as_bool).unwrap_or_default()
    }

    /// Returns the operating system of the nodes on which the pod can run, from `spec.os`, node selector and required node
    /// affinity; linux by default. The API server has added a `RuntimeClass`'s node selector to the pod's own.
    fn os(self) -> &'a str {
        let named = self.spec("os").and_then(|os| text(os, "name"));
        let selected = self
            .spec("nodeSelector")
            .and_then(|selector| keys::NODE_OS.into_iter().find_map(|label| text(selector, label)));
        named.or(selected).or_else(|| os_by_affinity(self.spec("affinity")?)).unwrap_or("linux")
    }
}

impl<'a> PodView<'a> for SubmittedPod<'a> {
    fn json(self) -> &'a Json<'a> {
        self.0
    }
}

impl<'a> PodView<'a> for OriginalPod<'a> {
    fn json(self) -> &'a Json<'a> {
        self.0
    }
}

fn metadata<'a>(pod: &'a Json<'a>, name: &str) -> Option<&'a Json<'a>> {
    field(field(pod, "metadata")?, name)
}

fn pairs<'a>(map: Option<&'a Json<'a>>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = map.and_then(Json::as_object).into_iter().flat_map(ObjectAsVec::iter);
    pairs.filter_map(|(key, value)| Some((key, value.as_str()?)))
}

impl<'s> PodElement<'s> {
    /// Returns the value, regardless of its origin.
    pub(super) fn json(self) -> &'s Json<'s> {
        match self {
            Self::Submitted(value) | Self::Rendered(value) => value,
        }
    }

    fn part(self, value: &'s Json<'s>) -> Self {
        match self {
            Self::Submitted(_) => Self::Submitted(value),
            Self::Rendered(_) => Self::Rendered(value),
        }
    }

    /// Returns the field of an object if it is present and not null.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        field(self.json(), name).map(|value| self.part(value))
    }

    /// Returns the fields of an object; none if the value is not an object.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'s str, Self)> {
        let fields = self.json().as_object().into_iter().flat_map(ObjectAsVec::iter);
        fields.map(move |(name, value)| (name, self.part(value)))
    }

    /// Returns the elements of the list in a field; none if there is no list.
    pub(super) fn items(self, name: &str) -> impl Iterator<Item = Self> + use<'s> {
        items(field(self.json(), name)).iter().map(move |value| self.part(value))
    }

    /// Returns the text if the value is a string.
    pub(super) fn as_text(self) -> Option<&'s str> {
        self.json().as_str()
    }

    /// Returns the text in a field.
    pub(super) fn text(self, name: &str) -> Option<&'s str> {
        text(self.json(), name)
    }

    /// Returns the number if the value is an integer.
    pub(super) fn integer(self) -> Option<i64> {
        self.json().as_i64()
    }

    /// Returns the quantity, from text or a number.
    pub(super) fn quantity(self) -> Option<Quantity> {
        quantity(self.json())
    }

    pub(super) fn name(self) -> Option<&'s str> {
        self.text("name")
    }

    /// Checks whether a container is an overlay.
    pub(super) fn has_image_auto(self) -> bool {
        self.text("image") == Some(IMAGE_AUTO)
    }
}

const REQUIRED_AFFINITY: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Returns the operating system that every term of the required node affinity names. The terms are alternatives, so all must
/// name the same.
fn os_by_affinity<'a>(affinity: &'a Json<'a>) -> Option<&'a str> {
    let required = field(field(affinity, "nodeAffinity")?, REQUIRED_AFFINITY)?;
    let mut systems = items(field(required, "nodeSelectorTerms")).iter().map(os_of_term);
    let first = systems.next()??;
    systems.all(|other| other == Some(first)).then_some(first)
}

/// Returns the operating system that a node selector term requires; `None` if it allows several.
fn os_of_term<'a>(term: &'a Json<'a>) -> Option<&'a str> {
    let is_os =
        |expression: &&'a Json<'a>| text(expression, "key").is_some_and(|key| keys::NODE_OS.contains(&key));
    items(field(term, "matchExpressions")).iter().filter(is_os).find_map(|expression| {
        let values = items(field(expression, "values"));
        match (text(expression, "operator")?, values) {
            ("In", [single]) => single.as_str(),
            // Kubernetes has nodes of two operating systems.
            ("NotIn", values) if values.iter().any(|value| value.as_str() == Some("linux")) => {
                Some("windows")
            }
            _ => None,
        }
    })
}
