//! Reviews of profiles.

use outrigger::webhook::router;
use serde_json::{Value, json};

use crate::support::{answer, pod, review, state};

pub(crate) fn profile_review(kind: &str, metadata: &Value, spec: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "5c", "kind": { "group": "outrigger.dev", "version": "v1alpha1", "kind": kind },
        "operation": "CREATE", "object": { "metadata": metadata, "spec": spec },
    } })
}

#[tokio::test]
async fn a_rejection_lists_all_findings() {
    let router = router(state());
    let spec = json!({
        "template": { "spec": {
            "affinity": {},
            "initContainers": [
                { "name": "a", "image": "x:1", "restartPolicy": "Always", "imagePulPolicy": "Never", "volumeMounts": [{ "name": "log", "mountPath": "/l" }] },
                { "name": "a", "image": "x:1", "readinessProbe": {} },
                { "name": "b", "image": "x:1", "ports": "80" },
            ],
            "volumes": [{ "name": "logs", "emptyDir": {} }, { "name": "two", "emptyDir": {}, "hostPath": { "path": "/" } }],
        } },
        "appContainers": [{ "env": [{ "name": "A", "value": "$[[ params.a ]]" }] }],
        "order": { "after": ["x", "me"] },
        "match": {
            "podSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] },
            "conditions": [{ "name": "c", "expression": "size(pod" }],
        },
    });
    let response = answer(
        &router,
        "/validate",
        &profile_review("ClusterSidecarProfile", &json!({ "name": "me" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 422);
    let message = response["status"]["message"].as_str().unwrap();
    for part in [
        "spec.template.spec.affinity: this field cannot be injected",
        "initContainers[0].imagePulPolicy: Kubernetes has no such field here; did you mean \"imagePullPolicy\"?",
        "initContainers[0].volumeMounts[0].name: the volume \"log\" is not one of the profile's volumes; did you mean \"logs\"?",
        "initContainers[1].name: the name \"a\" is used twice",
        "initContainers[1].readinessProbe: an init container has this only as a native sidecar",
        "initContainers[2].ports: invalid type",
        "spec.template.spec.volumes[1]: a volume has exactly one source",
        "spec.appContainers[0].containers: name the pod's containers",
        "spec.appContainers[0].env[0].value: column ",
        "spec.order.after[1]: a profile cannot stand before or after itself",
        "spec.match.podSelector.matchExpressions[0]: In and NotIn need values",
        "spec.match.conditions[0].expression: column ",
    ] {
        assert!(message.contains(part), "{part}\nis missing in\n{message}");
    }
    // kubectl prints each cause on its own line.
    let details = &response["status"]["details"];
    assert_eq!(
        (&details["kind"], &details["group"]),
        (&json!("ClusterSidecarProfile"), &json!("outrigger.dev"))
    );
    let causes = details["causes"].as_array().unwrap();
    assert_eq!(message.split_once(' ').unwrap().0, causes.len().to_string());
    let affinity = causes.iter().find(|cause| cause["field"] == "spec.template.spec.affinity").unwrap();
    assert!(affinity["message"].as_str().unwrap().starts_with("this field cannot be injected"), "{affinity}");
}

#[tokio::test]
async fn a_valid_profile_is_accepted_with_its_warnings() {
    let router = router(state());
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "untagged", "resources": { "limits": { "cpu": 1 } } }] } } });
    let response = answer(
        &router,
        "/validate",
        &profile_review("SidecarProfile", &json!({ "generateName": "a-" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    let deleted = json!({ "name": "UPPER", "deletionTimestamp": "2026-11-23T00:00:00Z" });
    let response =
        answer(&router, "/validate", &profile_review("SidecarProfile", &deleted, &json!({ "order": 5 })))
            .await;
    assert_eq!(response["allowed"], true, "finalizers must be removable");
    let response = answer(&router, "/validate", &review("shop", &pod(&json!({})))).await;
    assert_eq!(response["status"]["code"], 400);
}

#[tokio::test]
async fn problems_between_profiles_are_warnings() {
    let router = router(state());
    let spec = json!({
        "template": { "metadata": { "labels": { "a": "b" } } },
        // A profile may be installed later, so only a name that looks misspelled is a warning.
        "order": { "before": ["log-shipper"], "after": ["mesh-proxy", "log-shippr"] }, "requires": ["log-shipper", "log-shiper"],
    });
    let response = answer(
        &router,
        "/validate",
        &profile_review("ClusterSidecarProfile", &json!({ "name": "a" }), &spec),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    let warnings = response["warnings"].as_array().unwrap();
    assert_eq!(
        warnings.iter().map(|warning| warning.as_str().unwrap()).collect::<Vec<_>>(),
        [
            "spec.order.after[1]: there is no profile \"log-shippr\" here, so this orders nothing; did you mean \"log-shipper\"?",
            "spec.requires[1]: there is no profile \"log-shiper\" here, and without it this one cannot be injected; did you mean \"log-shipper\"?",
            "spec.order.before[0]: the start order is a cycle: a → log-shipper → a",
        ]
    );
}
