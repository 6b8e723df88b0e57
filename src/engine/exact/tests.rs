#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;

fn pod(host_network: bool) -> Value {
    json!({ "spec": { "hostNetwork": host_network, "volumes": [
        { "name": "kube-api-access-x", "projected": { "defaultMode": 420, "sources": [
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
            ] } },
        ] } },
        { "name": "kube-api-access-evil", "emptyDir": {} },
    ] } })
}

fn is_exactly(host_network: bool, place: &Place, rendered: &Value, live: &Value) -> bool {
    let pod = pod(host_network);
    let json = Json::from(&pod);
    Additions::of(SubmittedPod(&json)).is_exactly(place, &Json::from(rendered), &Json::from(live))
}

fn container(rendered: &Value, live: &Value) -> bool {
    is_exactly(false, &Place::INIT_CONTAINERS, rendered, live)
}

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn only_the_genuine_token_is_an_addition() {
    let rendered = json!({ "name": "a", "image": "x:1" });
    let live = |mounts: Value| json!({ "name": "a", "image": "x:1", "volumeMounts": mounts });
    assert!(container(
        &rendered,
        &live(json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }]))
    ));
    for mounts in [
        json!([{ "name": "kube-api-access-evil", "readOnly": true, "mountPath": TOKEN }]),
        json!([{ "name": "kube-api-access-absent", "readOnly": true, "mountPath": TOKEN }]),
        json!([{ "name": "kube-api-access-x", "mountPath": TOKEN }]),
        json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN, "subPath": "x" }]),
        json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": format!("{TOKEN}/") }]),
        json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }, { "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }]),
        json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": "/etc" }]),
    ] {
        assert!(!container(&rendered, &live(mounts.clone())), "{mounts}");
    }
    // The API server adds no mount to a container that already mounts another volume there.
    let own = json!([{ "name": "none", "readOnly": true, "mountPath": TOKEN }]);
    let rendered = live(own.clone());
    assert!(container(&rendered, &rendered));
    assert!(!container(
        &rendered,
        &live(json!([{ "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }]))
    ));
}

#[test]
fn a_port_on_the_nodes_network_is_its_host_port() {
    let rendered = json!({ "name": "a", "image": "x:1", "ports": [{ "containerPort": 80 }] });
    let live = |port: u16| json!({ "name": "a", "image": "x:1", "ports": [{ "containerPort": 80, "hostPort": port, "protocol": "TCP" }] });
    assert!(is_exactly(true, &Place::INIT_CONTAINERS, &rendered, &live(80)));
    assert!(!is_exactly(true, &Place::INIT_CONTAINERS, &rendered, &live(81)));
    assert!(!container(&rendered, &live(80)));
}

#[test]
fn pointers_keep_their_zero() {
    for (field, zero) in
        [("allowPrivilegeEscalation", json!(false)), ("runAsUser", json!(0)), ("runAsNonRoot", json!(false))]
    {
        let rendered = json!({ "name": "a", "image": "x:1", "securityContext": { field: zero } });
        let live = json!({ "name": "a", "image": "x:1", "securityContext": {} });
        assert!(!container(&rendered, &live), "{field}");
        assert!(!container(&live, &rendered), "{field}");
    }
}

#[test]
fn quantities_and_what_is_left_out_are_the_same() {
    let rendered = json!({ "name": "a", "image": "x:1", "args": [], "env": [{ "name": "A", "value": "" }],
        "resources": { "limits": { "memory": "1024Mi" }, "requests": {} }, "volumeMounts": [{ "name": "v", "mountPath": "/v", "readOnly": false }] });
    let live = json!({ "name": "a", "image": "x:1", "env": [{ "name": "A" }],
        "resources": { "limits": { "memory": "1Gi" }, "requests": { "memory": "1Gi" } }, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] });
    assert!(container(&rendered, &live));
    let mut less = live.clone();
    less["resources"]["requests"]["memory"] = json!("1Mi");
    assert!(!container(&rendered, &less));
}

#[test]
fn an_image_volume_has_its_pull_policy() {
    let volume = |policy: &str| json!({ "name": "v", "image": { "reference": "x:1", "pullPolicy": policy } });
    let rendered = json!({ "name": "v", "image": { "reference": "x:1" } });
    assert!(is_exactly(false, &Place::VOLUMES, &rendered, &volume("IfNotPresent")));
    assert!(!is_exactly(false, &Place::VOLUMES, &rendered, &volume("Never")));
    assert!(is_exactly(
        false,
        &Place::VOLUMES,
        &json!({ "name": "v" }),
        &json!({ "name": "v", "emptyDir": {} })
    ));
    assert!(!is_exactly(
        false,
        &Place::VOLUMES,
        &rendered,
        &json!({ "name": "v", "image": { "reference": "x:1" }, "emptyDir": {} })
    ));
}

#[test]
fn what_admission_plugins_put_in_is_kept() {
    let rendered = json!({ "name": "a", "image": "x:1", "resources": { "limits": { "memory": "1Gi" } } });
    let live = json!({ "name": "a", "image": "x:1", "imagePullPolicy": "Always", "command": ["evil"],
        "resources": { "limits": { "memory": "2Gi", "cpu": "1" }, "requests": { "memory": "1Mi", "cpu": "5m" } },
        "volumeMounts": [{ "name": "v", "mountPath": "/v" }, { "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }] });
    let pod = pod(false);
    let json = Json::from(&pod);
    let (rendered, live) = (Json::from(&rendered), Json::from(&live));
    let kept =
        Additions::of(SubmittedPod(&json)).keep(&Place::INIT_CONTAINERS, Rendered::Lent(&rendered), &live);
    assert_eq!(
        Value::from(&*kept),
        json!({ "name": "a", "image": "x:1", "imagePullPolicy": "Always",
            "resources": { "limits": { "memory": "1Gi", "cpu": "1" }, "requests": { "cpu": "5m" } },
            "volumeMounts": [{ "name": "kube-api-access-x", "readOnly": true, "mountPath": TOKEN }] })
    );
}
