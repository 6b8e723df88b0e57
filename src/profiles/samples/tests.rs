use serde_json::{Value, json};

use crate::api::{ProfileSpec, Scope};
use crate::fields::Place;
use crate::json::Json;
use crate::profiles::{ProfileEntry, Severity, problem_in};

/// Returns the errors and the warnings of a profile with this container in the list.
fn findings(list: &str, container: &Value) -> (Vec<String>, Vec<String>) {
    let mut spec = serde_json::Map::new();
    spec.insert(list.to_owned(), json!([container]));
    let spec = json!({ "match": {}, "template": { "spec": spec } });
    let spec: ProfileSpec = serde_json::from_value(spec).unwrap();
    let (_, found) = ProfileEntry::new("sample", Scope::Cluster, &spec);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|finding| finding.severity == Severity::Error);
    let shown = |found: Vec<crate::profiles::Finding>| {
        let short =
            |path: &str| path.rsplit_once("s[0].").map_or(path.to_owned(), |(_, rest)| rest.to_owned());
        found.iter().map(|finding| short(&finding.path)).collect()
    };
    (shown(errors), shown(warnings))
}

const NONE: [&str; 0] = [];

#[test]
fn a_field_that_kubernetes_does_not_have_yet_is_a_warning() {
    let container = json!({ "name": "a", "image": "a:1", "brandNewThing": { "x": 1 }, "securityContext": { "otherThing": true } });
    let (errors, warnings) = findings("initContainers", &container);
    assert_eq!(errors, NONE);
    assert_eq!(warnings, ["brandNewThing", "securityContext.otherThing"]);
    assert_eq!(problem_in(&Place::INIT_CONTAINERS, "a", &Json::from(&container)), None);
}

#[test]
fn a_misspelled_required_field_is_reported_only_as_misspelled() {
    let container = json!({ "name": "a", "image": "a:1", "ports": [{ "containerport": 80 }] });
    let (errors, warnings) = findings("containers", &container);
    assert_eq!((errors.len(), warnings.len()), (1, 0), "{errors:?} {warnings:?}");
}

#[test]
fn a_newer_source_of_a_volume_variable_or_probe_counts_as_one() {
    let (errors, warnings) = findings("volumes", &json!({ "name": "a", "quantumStorage": {} }));
    assert_eq!((errors, warnings.len()), (Vec::new(), 1));
    let container = json!({
        "name": "a", "image": "a:1", "restartPolicy": "Always", "livenessProbe": { "quantumProbe": {} },
        "env": [{ "name": "A", "valueFrom": { "quantumRef": {} } }],
    });
    let (errors, warnings) = findings("initContainers", &container);
    assert_eq!(errors, NONE);
    assert_eq!(warnings.len(), 2);
}

#[test]
fn a_restart_policy_of_an_ordinary_container_is_a_warning() {
    let container = json!({
        "name": "a", "image": "a:1", "restartPolicy": "Never",
        "restartPolicyRules": [{ "action": "Restart", "exitCodes": { "operator": "In", "values": [1] } }],
    });
    for list in ["containers", "initContainers"] {
        let (errors, warnings) = findings(list, &container);
        assert_eq!(errors, NONE, "{list}");
        assert_eq!(warnings, ["restartPolicy"], "{list}");
    }
}

#[test]
fn values_that_depend_on_the_pod_are_not_validated_at_load() {
    let unknown = "$[[ pod.metadata.labels.app ]]";
    let container = json!({
        "name": "a", "image": "a:1", "restartPolicy": "Always",
        "volumeMounts": [],
        "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": unknown } },
        "livenessProbe": { "tcpSocket": { "port": unknown } },
        "startupProbe": { "exec": { "command": [unknown] } },
        "securityContext": { "seccompProfile": { "type": unknown, "localhostProfile": "a" } },
    });
    assert_eq!(findings("initContainers", &container).0, NONE);
}

#[test]
fn constant_errors_are_found_beside_expressions_over_the_pod() {
    let unknown = "$[[ pod.metadata.labels.app ]]";
    let container = json!({
        "name": "a", "restartPolicy": "Always", "args": [unknown],
        "ports": [{ "name": unknown, "containerPort": 0, "protocol": "tcp" }],
    });
    assert_eq!(findings("initContainers", &container).0, ["image", "containerPort", "protocol"]);
}
