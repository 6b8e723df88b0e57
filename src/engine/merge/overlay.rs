//! Overlays: a container of the pod with `image: auto`, merged over the profile's container of that name.

use serde_json::{Map, Value};

use crate::fields::lists::{is_keyed, key_of};

/// Defaults that the API server sets before the webhook is called. In a container with `image: auto` they are not the user's
/// values.
const DEFAULTS: [(&str, &str); 3] = [
    ("imagePullPolicy", "Always"),
    ("terminationMessagePath", "/dev/termination-log"),
    ("terminationMessagePolicy", "File"),
];

/// Returns the profile's container with the fields of the pod's container merged over it.
pub(super) fn of(profile: &Value, pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(fields) = pod.as_object_mut() {
        fields.remove("image");
        for (name, default) in DEFAULTS {
            if fields.get(name).and_then(Value::as_str) == Some(default) {
                fields.remove(name);
            }
        }
    }
    on_top("", profile, &pod)
}

fn on_top(field: &str, below: &Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            let mut all: Map<String, Value> = below.clone();
            for (name, value) in above {
                let value = below.get(name).map_or_else(|| value.clone(), |old| on_top(name, old, value));
                all.insert(name.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(below), Value::Array(above)) if is_keyed(field) => {
            let of_key = |list: &[Value], item: &Value| {
                list.iter().find(|other| key_of(field, *other) == key_of(field, item)).cloned()
            };
            let mut all: Vec<Value> = below
                .iter()
                .map(|item| of_key(above, item).map_or_else(|| item.clone(), |top| on_top("", item, &top)))
                .collect();
            all.extend(above.iter().filter(|item| of_key(below, item).is_none()).cloned());
            Value::Array(all)
        }
        (_, above) if above.is_null() => below.clone(),
        (_, above) => above.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_pods_fields_are_on_top() {
        let profile = json!({
            "name": "proxy", "image": "proxy:1", "imagePullPolicy": "IfNotPresent", "args": ["--quiet"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        });
        let pod = json!({
            "name": "proxy", "image": "auto", "imagePullPolicy": "Always", "args": ["--loud"],
            "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            "resources": {"requests": {"cpu": "1"}}, "terminationMessagePath": "/own",
        });
        assert_eq!(
            of(&profile, &pod),
            json!({
                "name": "proxy", "image": "proxy:1", "imagePullPolicy": "IfNotPresent", "args": ["--loud"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                "resources": {"requests": {"cpu": "1", "memory": "64Mi"}}, "terminationMessagePath": "/own",
            })
        );
    }
}
