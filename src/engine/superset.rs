//! Check that an element of a live pod contains the rendered one.
//!
//! The API server sets defaults, drops empty values and rewrites quantities; other webhooks add fields. None of these changes
//! the element's meaning. So every rendered value must be present and equal; additional fields are ignored.

use super::pod::quantity;
use crate::fields::lists::{is_keyed, is_map, is_quantity, is_quantity_map, key_of};
use crate::json::{self, Json, same};

/// Checks whether `actual` is a superset of `wanted`.
pub(super) fn is_contained(wanted: &Json<'_>, actual: &Json<'_>) -> bool {
    field_is_contained("", wanted, Some(actual), false)
}

fn field_is_contained(
    field: &str,
    wanted: &Json<'_>,
    actual: Option<&Json<'_>>,
    in_quantities: bool,
) -> bool {
    let Some(actual) = actual.filter(|actual| !actual.is_null()) else {
        return is_left_out(field, wanted);
    };
    match (wanted, actual) {
        (Json::Object(wanted), Json::Object(_)) => wanted.iter().all(|(key, value)| {
            field_is_contained(key, value, json::field(actual, key), is_quantity_map(field))
        }),
        (Json::Array(wanted), Json::Array(actual)) if is_keyed(field) => wanted.iter().all(|item| {
            let key = key_of(field, item);
            actual
                .iter()
                .any(|other| key_of(field, other) == key && field_is_contained("", item, Some(other), false))
        }),
        (Json::Array(wanted), Json::Array(actual)) => {
            wanted.len() == actual.len()
                && wanted
                    .iter()
                    .zip(actual)
                    .all(|(item, other)| field_is_contained("", item, Some(other), false))
        }
        (wanted, actual) if in_quantities || is_quantity(field) => same_quantity(wanted, actual),
        (wanted, actual) => same(wanted, actual),
    }
}

/// Checks whether the API server omits the value when it serializes the object. An empty object is a value (`emptyDir: {}`);
/// an empty map is not (`limits: {}`).
fn is_left_out(field: &str, value: &Json<'_>) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(flag) => !flag,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::Str(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty() && is_map(field),
    }
}

fn same_quantity(wanted: &Json<'_>, actual: &Json<'_>) -> bool {
    match (quantity(wanted), quantity(actual)) {
        (Some(wanted), Some(actual)) => wanted == actual,
        _ => same(wanted, actual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn is_contained(wanted: &Value, actual: &Value) -> bool {
        super::is_contained(&Json::from(wanted), &Json::from(actual))
    }

    #[test]
    fn defaults_and_additions_do_not_matter() {
        let wanted = json!({"name": "a", "image": "x:1", "args": ["-v"], "resources": {"limits": {"memory": "1024Mi", "cpu": 1}},
            "ports": [{"containerPort": 80}], "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": false}]});
        let actual = json!({"name": "a", "image": "x:1", "args": ["-v"], "imagePullPolicy": "IfNotPresent",
            "resources": {"limits": {"memory": "1Gi", "cpu": "1000m", "ephemeral-storage": "1Gi"}, "requests": {"cpu": "1"}},
            "ports": [{"containerPort": 9, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "token", "mountPath": "/t"}]});
        assert!(is_contained(&wanted, &actual));
        assert!(!is_contained(&actual, &wanted));
    }

    #[test]
    fn a_changed_value_matters() {
        let wanted = json!({"image": "x:1", "args": ["-v"], "env": [{"name": "A", "value": "1"}]});
        for actual in [
            json!({"image": "x:2", "args": ["-v"], "env": [{"name": "A", "value": "1"}]}),
            json!({"image": "x:1", "args": ["-v", "-d"], "env": [{"name": "A", "value": "1"}]}),
            json!({"image": "x:1", "args": ["-v"], "env": [{"name": "A", "value": "2"}]}),
            json!({"image": "x:1", "env": [{"name": "A", "value": "1"}]}),
        ] {
            assert!(!is_contained(&wanted, &actual), "{actual}");
        }
    }

    #[test]
    fn what_the_api_server_drops_is_still_there() {
        assert!(is_contained(&json!({"name": "A", "value": ""}), &json!({"name": "A"})));
        assert!(!is_contained(&json!({"name": "A", "value": "x"}), &json!({"name": "A"})));
        assert!(is_contained(&json!({"limits": {}}), &json!({})));
    }

    #[test]
    fn an_empty_object_is_a_value() {
        assert!(!is_contained(&json!({"emptyDir": {}}), &json!({"hostPath": {"path": "/"}})));
        assert!(is_contained(&json!({"emptyDir": {}}), &json!({"emptyDir": {"medium": "Memory"}})));
    }
}
