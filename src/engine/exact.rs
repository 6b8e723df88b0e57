//! Exact comparison of a pod's element with the one that a Mandatory profile renders.
//!
//! The element may be part of the original pod. So values, order and number of elements must be equal. Only these additions of
//! the API server are accepted, with exactly its values:
//!
//! - the defaults of [`crate::fields::defaults`];
//! - the mount of the service account's token, whose volume has exactly the API server's content;
//! - `imagePullPolicy: Always`, of the admission plugin `AlwaysPullImages`;
//! - requests and limits of resources for which the profile sets none, of a `LimitRange`.
//!
//! The last two cannot be told from fields of the original pod. They are not accepted in a submitted pod
//! ([`Additions::without_plugins`]), which no admission plugin has changed yet.

use serde_json::Value;
use serde_json_borrow::ObjectAsVec;

use super::pod::{PodView, SubmittedPod, quantity};
use crate::fields::defaults::{CONTAINER, VOLUME, is_default, is_left_out, pull_policy};
use crate::fields::lists::{is_quantity, is_quantity_map};
use crate::fields::{Place, SpecList, mount_path};
use crate::json::{self, Json, field, items, lent, owned, same, text};
use crate::profiles::Rendered;

/// Accepted additions of the API server to an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Additions<'p> {
    host_network: bool,
    /// `true` if admission plugins may have changed the element: `AlwaysPullImages`, and those of a `LimitRange`.
    plugins: bool,
    volumes: &'p [Json<'p>],
}

impl<'p> Additions<'p> {
    pub(super) fn of(pod: SubmittedPod<'p>) -> Self {
        Self { host_network: pod.host_network(), plugins: true, volumes: pod.list(&Place::VOLUMES) }
    }

    /// Returns the accepted additions for an element that no admission plugin has changed.
    pub(super) fn without_plugins(self) -> Self {
        Self { plugins: false, ..self }
    }

    /// Checks whether an element of a list or map equals the rendered one.
    pub(super) fn is_exactly(self, place: &Place, rendered: &Json<'_>, live: &Json<'_>) -> bool {
        match place {
            Place::Spec(SpecList::InitContainers | SpecList::Containers) => self.container(rendered, live),
            Place::Spec(SpecList::Volumes) => self.volume(rendered, live),
            place => self.value(place.field(), "", rendered, live),
        }
    }

    /// Returns the rendered container with the additions that admission plugins made to the live one of its name. The plugins
    /// do not add them again when the webhook is reinvoked.
    pub(super) fn keep<'a>(self, place: &Place, rendered: Rendered<'a>, live: &Json<'_>) -> Rendered<'a> {
        if !matches!(place, Place::Spec(SpecList::InitContainers | SpecList::Containers)) {
            return rendered;
        }
        let mount = self.token_mount(&rendered, live);
        let is_always = self.plugins
            && text(live, "imagePullPolicy") == Some("Always")
            && text(&rendered, "imagePullPolicy") != Some("Always");
        let resources = if self.plugins { more_resources(&rendered, live) } else { None };
        if mount.is_none() && !is_always && resources.is_none() {
            return rendered;
        }
        let mut value = Value::from(&rendered.into_value());
        if let Some(fields) = value.as_object_mut() {
            if let Some(mount) = mount {
                let mounts = fields.entry("volumeMounts").or_insert_with(|| Value::Array(Vec::new()));
                mounts.as_array_mut().into_iter().for_each(|mounts| mounts.push(Value::from(mount)));
            }
            if is_always {
                fields.insert("imagePullPolicy".to_owned(), "Always".into());
            }
            fields.extend(resources.map(|resources| ("resources".to_owned(), resources)));
        }
        Rendered::Made(owned(value))
    }

    fn container(self, rendered: &Json<'_>, live: &Json<'_>) -> bool {
        let is_object = |of: &Json<'_>, name: &str| field(of, name).is_none_or(Json::is_object);
        let is_shaped = field(live, "volumeMounts").is_none_or(Json::is_array)
            && is_object(live, "resources")
            && field(live, "resources")
                .is_none_or(|resources| is_object(resources, "limits") && is_object(resources, "requests"));
        if !is_shaped {
            return false;
        }
        let mounts = items(field(live, "volumeMounts"));
        let without_token = match (self.token_mount(rendered, live), mounts.split_last()) {
            (Some(token), Some((last, others))) if same(token, last) => others,
            (Some(_), _) => return false,
            (None, _) => mounts,
        };
        let wanted = items(field(rendered, "volumeMounts"));
        self.elements("volumeMounts", wanted, without_token)
            && self.pull_policy(rendered, live)
            && self.resources(field(rendered, "resources"), field(live, "resources"))
            && self.object(CONTAINER, &without(rendered, &APART), &without(live, &APART))
    }

    /// Returns the mount of the service account's token that the API server added to the live container.
    fn token_mount<'j>(self, rendered: &Json<'_>, live: &'j Json<'_>) -> Option<&'j Json<'j>> {
        let is_token = |mount: &Json<'_>| {
            text(mount, "mountPath").is_some_and(|path| mount_path::is_same(path, mount_path::TOKEN))
        };
        if items(field(rendered, "volumeMounts")).iter().any(is_token) {
            return None;
        }
        let mount = items(field(live, "volumeMounts")).iter().find(|mount| is_token(mount))?;
        let volume = text(mount, "name")?;
        let is_genuine = |known: &Json<'_>| text(known, "name") == Some(volume) && is_token_volume(known);
        let as_mounted: Json<'_> = owned(serde_json::json!({
            "name": volume, "readOnly": true, "mountPath": mount_path::TOKEN,
        }));
        (same(mount, &as_mounted) && self.volumes.iter().any(is_genuine)).then_some(mount)
    }

    fn pull_policy(self, rendered: &Json<'_>, live: &Json<'_>) -> bool {
        let said = |text: &&str| !text.is_empty();
        let wanted = text(rendered, "imagePullPolicy").filter(said);
        let Some(has) = field(live, "imagePullPolicy") else { return wanted.is_none() };
        let has = has.as_str().filter(said);
        let default = text(live, "image").map(pull_policy);
        has.is_some() && ((self.plugins && has == Some("Always")) || has == wanted.or(default))
    }

    /// Compares requests and limits: those of the profile must be equal; a missing request defaults to its limit.
    fn resources(self, wanted: Option<&Json<'_>>, live: Option<&Json<'_>>) -> bool {
        let is_kept = |list: &str| {
            amounts(wanted, list).all(|(name, wanted)| {
                amount(live, list, name).is_some_and(|live| same_quantity(wanted, live))
            })
        };
        let is_limit = |(name, limit): (&str, &Json<'_>)| {
            amount(wanted, "requests", name).is_some()
                || amount(live, "requests", name).is_none_or(|request| same_quantity(limit, request))
        };
        let is_known = |list: &str| {
            amounts(live, list).all(|(name, _)| {
                amount(wanted, list, name).is_some()
                    || (list == "requests" && amount(wanted, "limits", name).is_some())
            })
        };
        let none = Json::Object(Vec::new().into());
        let rest = |resources| without(resources, &["limits", "requests"]);
        (self.plugins || (is_known("limits") && is_known("requests")))
            && is_kept("limits")
            && is_kept("requests")
            && amounts(wanted, "limits").all(is_limit)
            && self.object("resources", &rest(wanted.unwrap_or(&none)), &rest(live.unwrap_or(&none)))
    }

    fn volume(self, rendered: &Json<'_>, live: &Json<'_>) -> bool {
        let has_source = |volume: &Json<'_>| {
            volume
                .as_object()
                .is_some_and(|fields| fields.iter().any(|(name, value)| name != "name" && !value.is_null()))
        };
        // `emptyDir` is the default of a volume without a source; beside another source it would be a second one.
        if has_source(rendered) && field(rendered, "emptyDir").is_none() && field(live, "emptyDir").is_some()
        {
            return false;
        }
        let image = |volume| field(volume, "image").and_then(|image| text(image, "reference"));
        if let Some(reference) = image(rendered)
            && let Some(wanted) = field(rendered, "image")
            && let Some(has) = field(live, "image")
            && text(wanted, "pullPolicy").is_none_or(str::is_empty)
        {
            let policy = text(has, "pullPolicy");
            return policy.is_none_or(|policy| policy == pull_policy(reference))
                && self.object("image", &without(wanted, &["pullPolicy"]), &without(has, &["pullPolicy"]))
                && self.object(VOLUME, &without(rendered, &["image"]), &without(live, &["image"]));
        }
        self.object(VOLUME, rendered, live)
    }

    /// Compares a field's value. `parent` is the name of the object that has the field.
    fn value(self, name: &str, parent: &str, wanted: &Json<'_>, live: &Json<'_>) -> bool {
        match (wanted, live) {
            (Json::Object(_), Json::Object(_)) => self.object(name, wanted, live),
            (Json::Array(wanted), Json::Array(live)) => self.elements(name, wanted, live),
            (wanted, live) if is_quantity_map(parent) || is_quantity(name) => same_quantity(wanted, live),
            (wanted, live) => same(wanted, live),
        }
    }

    fn elements(self, name: &str, wanted: &[Json<'_>], live: &[Json<'_>]) -> bool {
        wanted.len() == live.len()
            && wanted.iter().zip(live).all(|(wanted, live)| self.value(name, "", wanted, live))
    }

    fn object(self, object: &str, wanted: &Json<'_>, live: &Json<'_>) -> bool {
        let (Json::Object(wanted), Json::Object(live)) = (wanted, live) else { return false };
        // JSON parsers disagree about a field that occurs twice.
        let has_once = live
            .iter()
            .enumerate()
            .all(|(index, (name, _))| live.iter().skip(index + 1).all(|(other, _)| other != name));
        let said = |name: &str| wanted.get(name).filter(|value| !is_left_out(name, value));
        let is_all_there = wanted
            .iter()
            .filter(|(name, value)| !is_left_out(name, value))
            .all(|(name, value)| live.get(name).is_some_and(|live| self.value(name, object, value, live)));
        has_once
            && is_all_there
            && live.iter().filter(|(name, _)| said(name).is_none()).all(|(name, value)| {
                is_left_out(name, value)
                    || is_default(object, name, value)
                    || (object == CONTAINER && name == "resizePolicy" && is_default_resize_policy(value))
                    || (self.host_network
                        && object == "ports"
                        && name == "hostPort"
                        && live.get("containerPort").is_some_and(|port| same(port, value)))
            })
    }
}

/// Fields of a container that are compared by separate functions.
const APART: [&str; 3] = ["volumeMounts", "imagePullPolicy", "resources"];

/// Returns the profile's resources with the requests and limits of the live container for which the profile sets none, or
/// `None` if there are none.
fn more_resources(rendered: &Json<'_>, live: &Json<'_>) -> Option<Value> {
    let (wanted, live) = (field(rendered, "resources"), field(live, "resources"));
    let mut all = wanted.map_or_else(|| Value::Object(serde_json::Map::new()), Value::from);
    let mut is_more = false;
    for list in ["limits", "requests"] {
        for (name, value) in amounts(live, list) {
            // A missing request defaults to the profile's limit.
            let is_said = amount(wanted, "limits", name).is_some() || amount(wanted, list, name).is_some();
            if !is_said && let Some(all) = all.as_object_mut() {
                let amounts = all.entry(list).or_insert_with(|| Value::Object(serde_json::Map::new()));
                amounts.as_object_mut().into_iter().for_each(|amounts| {
                    amounts.insert(name.to_owned(), Value::from(value));
                });
                is_more = true;
            }
        }
    }
    is_more.then_some(all)
}

/// Name prefix of the volumes that the API server adds for service account tokens.
pub(super) const TOKEN_VOLUME: &str = "kube-api-access-";

/// Checks whether a volume has exactly the content of the API server's volume for the service account's token
/// (`TokenVolumeSource` in `plugin/pkg/admission/serviceaccount/admission.go`). `OpenShift` adds its own CA.
pub(super) fn is_token_volume(volume: &Json<'_>) -> bool {
    let Some(projected) = field(volume, "projected") else { return false };
    let genuine = owned(serde_json::json!([
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
        ] } },
        { "configMap": {
            "name": "openshift-service-ca.crt", "items": [{ "key": "service-ca.crt", "path": "service-ca.crt" }],
        } },
    ]));
    let sources = items(field(projected, "sources"));
    let is_genuine = matches!(sources.len(), 3 | 4)
        && sources.iter().zip(items(Some(&genuine))).all(|(source, genuine)| same(source, genuine));
    let fields = |value: &Json<'_>, known: &[&str]| {
        value
            .as_object()
            .is_some_and(|fields| fields.iter().all(|(name, value)| value.is_null() || known.contains(&name)))
    };
    is_genuine
        && fields(volume, &["name", "projected"])
        && fields(projected, &["sources", "defaultMode"])
        && field(projected, "defaultMode").and_then(Json::as_i64) == Some(0o644)
}

/// Checks for the default resize policy, which API servers before 1.33 set if they can resize pods.
fn is_default_resize_policy(value: &Json<'_>) -> bool {
    items(Some(value)).iter().all(|policy| text(policy, "restartPolicy") == Some("NotRequired"))
}

/// Returns the amount of a resource among requests or limits.
fn amount<'j, 'b>(resources: Option<&'j Json<'b>>, list: &str, name: &str) -> Option<&'j Json<'b>> {
    field(field(resources?, list)?, name)
}

/// Returns the resources among requests or limits, with their amounts.
fn amounts<'j, 'b>(
    resources: Option<&'j Json<'b>>,
    list: &str,
) -> impl Iterator<Item = (&'j str, &'j Json<'b>)> + use<'j, 'b> {
    let map = resources.and_then(|resources| field(resources, list)).and_then(Json::as_object);
    map.into_iter().flat_map(ObjectAsVec::iter)
}

fn without<'j>(object: &'j Json<'_>, names: &[&str]) -> Json<'j> {
    let fields = object.as_object().into_iter().flat_map(ObjectAsVec::iter);
    let kept = fields.filter(|(name, _)| !names.contains(name)).map(|(name, value)| (name, lent(value)));
    Json::Object(kept.collect())
}

fn same_quantity(wanted: &Json<'_>, live: &Json<'_>) -> bool {
    match (quantity(wanted), quantity(live)) {
        (Some(wanted), Some(live)) => wanted == live,
        _ => json::same(wanted, live),
    }
}

#[cfg(test)]
mod tests;
