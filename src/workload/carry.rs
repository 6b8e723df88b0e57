//! Transfer of an injection from the submitted pod into the pod template of the manifest.
//!
//! The patch of a decision applies to the submitted pod, which has defaults, claims and tokens that the template must not
//! have. So only the difference that the patch makes is transferred.

use serde_json::Value;

use super::json::Fields;
use crate::fields::lists::{is_keyed, key_of, merge_key};

const PULL_SECRETS: &str = "imagePullSecrets";

/// Three versions of a pod's spec, for containers that move from one list to the other.
#[derive(Clone, Copy)]
struct Specs<'a> {
    written: Option<&'a Value>,
    before: Option<&'a Value>,
}

/// Returns the template `written` with the changes from `before` to `after`: the submitted pod of the template without and
/// with the injection.
///
/// Applied to a cluster, the result gives the pod `after`. Some additions to the submitted pod depend on the injection, and
/// are written into the template: image pull secrets of the service account, variables of a controller, and pod-level
/// resources.
pub(crate) fn carry(written: &Value, before: &Value, after: &Value) -> Value {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return written.clone() };
    let specs = Specs { written: written.get("spec"), before: before.get("spec") };
    let mut carried = specs.object(written.as_object(), before, after);
    let containers = |pod: &Fields| {
        let spec = pod.get("spec");
        ["initContainers", "containers"].map(|list| spec.and_then(|spec| spec.get(list)).cloned())
    };
    let spec = carried.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(resources) = spec.and_then(|spec| spec.get_mut("resources"))
        && containers(before) != containers(after)
        && let Some(now) = after.get("spec").and_then(|spec| spec.get("resources"))
    {
        *resources = now.clone();
    }
    Value::Object(carried)
}

impl Specs<'_> {
    fn object(self, written: Option<&Fields>, before: &Fields, after: &Fields) -> Fields {
        let mut result = written.cloned().unwrap_or_default();
        result.retain(|name, _| after.contains_key(name) || !before.contains_key(name));
        for (name, now) in after {
            let was = before.get(name);
            if was == Some(now) {
                continue;
            }
            let own = result.get(name).filter(|own| !own.is_null());
            match self.value(name, own, was, now) {
                Some(value) => result.insert(name.clone(), value),
                None => result.remove(name),
            };
        }
        result
    }

    /// Returns the new value of a changed field; `None` if nothing is left of it.
    fn value(self, name: &str, written: Option<&Value>, was: Option<&Value>, now: &Value) -> Option<Value> {
        match (was, now) {
            (Some(Value::Object(was)), Value::Object(now)) => {
                let object = self.object(written.and_then(Value::as_object), was, now);
                (!object.is_empty()).then_some(Value::Object(object))
            }
            (was, Value::Array(now)) if is_keyed(name) => {
                let items =
                    |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
                let (written, was) = (items(written), items(was));
                let list = match merge_key(name) {
                    Some(_) => self.keyed(name, &written, &was, now),
                    None => whole(&written, &was, now),
                };
                (!list.is_empty()).then_some(Value::Array(list))
            }
            _ => Some(now.clone()),
        }
    }

    /// Merges a list whose elements have a key.
    fn keyed(self, name: &str, written: &[Value], was: &[Value], now: &[Value]) -> Vec<Value> {
        let is_new = |at: usize, item: &Value| twin(name, was, now, at, item).is_none();
        let has_new = now.iter().enumerate().any(|(at, item)| is_new(at, item));
        let mut list = Vec::new();
        for (at, item) in now.iter().enumerate() {
            let own = twin(name, written, now, at, item);
            match (twin(name, was, now, at, item), own) {
                (Some(same), Some(own)) if same == item => list.push(own.clone()),
                // The API server or a controller adds this element again. But image pull secrets are added only to a pod
                // without any, and a variable would be appended after the new ones.
                (Some(same), None) if same == item => {
                    if has_new && (name == "env" || (name == PULL_SECRETS && written.is_empty())) {
                        list.push(item.clone());
                    }
                }
                (Some(was), Some(own)) => list.extend(self.value("", Some(own), Some(was), item)),
                (Some(_), None) => list.push(item.clone()),
                (None, _) => list.push(self.moved(name, item).unwrap_or_else(|| item.clone())),
            }
        }
        list
    }

    /// Returns a container that moved from the other list.
    fn moved(self, name: &str, item: &Value) -> Option<Value> {
        let other = match name {
            "containers" => "initContainers",
            "initContainers" => "containers",
            _ => return None,
        };
        let find = |spec: Option<&Value>| {
            let list = spec?.get(other)?.as_array()?;
            list.iter().find(|container| container.get("name") == item.get("name")).cloned()
        };
        let (own, was) = (find(self.written)?, find(self.before)?);
        self.value("", Some(&own), Some(&was), item)
    }
}

/// Returns the element of a list that has the same key as the element at an index of another list. The n-th of several with
/// that key corresponds to the n-th.
fn twin<'a>(name: &str, list: &'a [Value], of: &[Value], at: usize, item: &Value) -> Option<&'a Value> {
    let key = key_of(name, item);
    let before = of.iter().take(at).filter(|other| key_of(name, *other) == key).count();
    list.iter().filter(|other| key_of(name, *other) == key).nth(before)
}

/// Merges a list whose elements have no key: they keep their order, and new ones stay before or after them.
fn whole(written: &[Value], was: &[Value], now: &[Value]) -> Vec<Value> {
    let kept =
        written.iter().enumerate().filter(|(at, _)| was.get(*at).is_none_or(|item| now.contains(item)));
    let kept: Vec<Value> = kept.map(|(_, item)| item.clone()).collect();
    let first = now.iter().position(|item| was.contains(item)).unwrap_or(now.len());
    let (front, back) = now.split_at(first);
    let new = |part: &[Value]| part.iter().filter(|item| !was.contains(item)).cloned().collect::<Vec<_>>();
    [new(front), kept, new(back)].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_claims_are_not_written_to_the_template() {
        let written = json!({ "spec": {
            "containers": [{ "name": "app", "env": [{ "name": "A", "value": "1" }] }],
            "volumes": [{ "name": "tmp", "emptyDir": {} }],
        } });
        let before = json!({ "metadata": { "namespace": "shop" }, "spec": {
            "containers": [{ "name": "app", "imagePullPolicy": "Always", "env": [{ "name": "A", "value": "1" }],
                "volumeMounts": [{ "name": "token", "mountPath": "/token" }] }],
            "terminationGracePeriodSeconds": 30,
            "volumes": [{ "name": "data", "persistentVolumeClaim": {} }, { "name": "tmp", "emptyDir": {} }],
        } });
        let mut after = before.clone();
        after["metadata"]["labels"] = json!({ "outrigger.dev/injected": "true" });
        after["spec"]["initContainers"] = json!([{ "name": "side" }]);
        after["spec"]["terminationGracePeriodSeconds"] = json!(60);
        after["spec"]["containers"][0]["env"] =
            json!([{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }]);
        after["spec"]["volumes"].as_array_mut().unwrap().push(json!({ "name": "new", "emptyDir": {} }));
        assert_eq!(
            carry(&written, &before, &after),
            json!({ "metadata": { "labels": { "outrigger.dev/injected": "true" } }, "spec": {
                "containers": [{ "name": "app", "env": [{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }] }],
                "initContainers": [{ "name": "side" }],
                "terminationGracePeriodSeconds": 60,
                "volumes": [{ "name": "tmp", "emptyDir": {} }, { "name": "new", "emptyDir": {} }],
            } })
        );
        assert_eq!(carry(&written, &before, &before), written);
    }

    #[test]
    fn pull_secrets_of_the_account_are_written_only_with_others() {
        let written = json!({ "spec": { "containers": [] } });
        let before = json!({ "spec": { "containers": [], "imagePullSecrets": [{ "name": "account" }] } });
        assert_eq!(carry(&written, &before, &before), written);
        let mut after = before.clone();
        after["spec"]["imagePullSecrets"] = json!([{ "name": "account" }, { "name": "profile" }]);
        let carried = carry(&written, &before, &after);
        assert_eq!(carried["spec"]["imagePullSecrets"], after["spec"]["imagePullSecrets"]);
    }

    #[test]
    fn a_moved_container_is_written_without_defaults() {
        let written =
            json!({ "spec": { "containers": [{ "name": "app" }, { "name": "side", "image": "auto" }] } });
        let before = json!({ "spec": { "containers": [
            { "name": "app", "resources": {} },
            { "name": "side", "image": "auto", "resources": {}, "volumeMounts": [{ "name": "token", "mountPath": "/t" }] },
        ] } });
        let after = json!({ "spec": {
            "containers": [{ "name": "app", "resources": {} }],
            "initContainers": [{ "name": "side", "image": "side:1", "restartPolicy": "Always", "resources": {},
                "volumeMounts": [{ "name": "token", "mountPath": "/t" }, { "name": "x", "mountPath": "/x" }] }],
        } });
        assert_eq!(
            carry(&written, &before, &after)["spec"],
            json!({
                "containers": [{ "name": "app" }],
                "initContainers": [{ "name": "side", "image": "side:1", "restartPolicy": "Always",
                    "volumeMounts": [{ "name": "x", "mountPath": "/x" }] }],
            })
        );
    }

    #[test]
    fn elements_without_a_key_keep_their_order() {
        let toleration = |key: &str| json!({ "key": key });
        let written = [toleration("own")];
        let was = [toleration("own"), toleration("default")];
        let now = [toleration("own"), toleration("default"), toleration("profile")];
        assert_eq!(whole(&written, &was, &now), [toleration("own"), toleration("profile")]);
        assert_eq!(
            whole(&written, &was, &[toleration("first"), toleration("default")]),
            [toleration("first")]
        );
    }
}
