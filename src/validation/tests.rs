use serde_json::{Value, json};

use super::*;
use crate::fields::ContainerKind;

const INIT: Place = Place::INIT_CONTAINERS;

fn found(place: &Place, key: &str, value: &Value) -> Vec<String> {
    problems(place, key, &Json::from(value)).into_iter().map(|problem| problem.path).collect()
}

/// Returns a native sidecar with one of everything that Kubernetes validates.
fn sidecar() -> Value {
    json!({
        "name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "File",
        "ports": [{ "name": "http-1", "containerPort": 80, "hostPort": 0, "protocol": "TCP" }],
        "env": [
            { "name": "my name/1", "value": "x" },
            { "name": "B", "value": "", "valueFrom": { "fieldRef": { "fieldPath": "metadata.annotations['Example.com/a']" } } },
            { "name": "C", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": "1m" } } },
            { "name": "D", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k.v" } } },
            { "name": "E", "valueFrom": { "fileKeyRef": { "volumeName": "v", "key": "K", "path": "a/b" } } },
            { "name": "F", "valueFrom": { "sourceOfLater": {} } },
        ],
        "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "c-" } }],
        "volumeMounts": [{ "name": "v", "mountPath": "/m", "readOnly": true, "recursiveReadOnly": "Enabled" }],
        "volumeDevices": [{ "name": "d", "devicePath": "/dev/x" }],
        "resources": { "requests": { "cpu": 1, "hugepages-2Mi": "4Mi" }, "limits": { "hugepages-2Mi": "4Mi", "example.com/gpu": 1 } },
        "resizePolicy": [{ "resourceName": "cpu", "restartPolicy": "NotRequired" }],
        "livenessProbe": { "tcpSocket": { "port": "http-1" }, "terminationGracePeriodSeconds": 1 },
        "readinessProbe": { "httpGet": { "port": 80, "httpHeaders": [{ "name": "X-A", "value": "" }] }, "successThreshold": 2 },
        "startupProbe": { "grpc": { "port": 80 }, "periodSeconds": 0 },
        "lifecycle": { "preStop": { "sleep": { "seconds": 0 } }, "postStart": { "exec": { "command": ["x"] } } },
        "securityContext": {
            "runAsUser": 0, "runAsGroup": 5, "procMount": "Default", "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["SYS_ADMIN"] },
            "seccompProfile": { "type": "Localhost", "localhostProfile": "a/b" },
            "appArmorProfile": { "type": "RuntimeDefault" },
        },
    })
}

#[test]
fn valid_fields_are_accepted() {
    assert_eq!(found(&INIT, "", &sidecar()), [""; 0]);
    let policy = json!({
        "name": "job", "image": "job:1", "restartPolicy": "Never",
        "restartPolicyRules": [{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }],
    });
    assert_eq!(found(&Place::CONTAINERS, "", &policy), [""; 0]);
    assert_eq!(found(&INIT, "", &policy), [""; 0]);
}

/// Returns pointers, the values to set there (null removes the field), and the reported paths.
fn mistakes_of_inputs() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/image", json!(" x:1"), "image"),
        ("/image", json!(null), "image"),
        ("/imagePullPolicy", json!("always"), "imagePullPolicy"),
        ("/terminationMessagePolicy", json!("Log"), "terminationMessagePolicy"),
        ("/restartPolicyRules", json!([{ "action": "Restart" }]), "restartPolicyRules"),
        ("/ports/0/name", json!("prometheus-metrics"), "ports[0].name"),
        ("/ports/0/name", json!("80"), "ports[0].name"),
        ("/ports/0/protocol", json!("tcp"), "ports[0].protocol"),
        ("/ports/0/containerPort", json!(0), "ports[0].containerPort"),
        ("/ports/0/hostPort", json!(70000), "ports[0].hostPort"),
        ("/env/0/name", json!("A=B"), "env[0].name"),
        ("/env/1/value", json!("x"), "env[1].valueFrom"),
        (
            "/env/1/valueFrom/fieldRef/fieldPath",
            json!("spec.replicas"),
            "env[1].valueFrom.fieldRef.fieldPath",
        ),
        (
            "/env/2/valueFrom/resourceFieldRef/divisor",
            json!("1k"),
            "env[2].valueFrom.resourceFieldRef.divisor",
        ),
        (
            "/env/2/valueFrom/resourceFieldRef/resource",
            json!("cpu"),
            "env[2].valueFrom.resourceFieldRef.resource",
        ),
        ("/env/3/valueFrom/secretKeyRef/key", json!("a b"), "env[3].valueFrom.secretKeyRef.key"),
        ("/env/3/valueFrom/secretKeyRef/name", json!("A"), "env[3].valueFrom.secretKeyRef.name"),
        ("/env/4/valueFrom/fileKeyRef/path", json!("../a"), "env[4].valueFrom.fileKeyRef.path"),
        ("/env/5/valueFrom/fieldRef", json!({ "fieldPath": "metadata.name" }), "env[5].valueFrom"),
        ("/envFrom/0/prefix", json!("A="), "envFrom[0].prefix"),
        ("/envFrom/0/secretRef", json!({ "name": "s" }), "envFrom[0]"),
        ("/volumeMounts/0/subPath", json!("../x"), "volumeMounts[0].subPath"),
        ("/volumeMounts/0/mountPath", json!(""), "volumeMounts[0].mountPath"),
        ("/volumeMounts/0/mountPropagation", json!("Both"), "volumeMounts[0].mountPropagation"),
        ("/volumeMounts/0/readOnly", json!(false), "volumeMounts[0].recursiveReadOnly"),
        ("/volumeDevices/0/name", json!("v"), "volumeDevices[0]"),
    ]
}

fn mistakes_of_settings() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/resources/requests/cpus", json!(1), "resources.requests[cpus]"),
        ("/resources/requests/cpu", json!("-1"), "resources.requests[cpu]"),
        ("/resources/limits/example.com~1gpu", json!("500m"), "resources.limits[example.com/gpu]"),
        ("/resources/limits/cpu", json!("500m"), "resources"),
        ("/resources/claims", json!([{ "name": "a" }, { "name": "a" }]), "resources.claims[1].name"),
        ("/resizePolicy/0/restartPolicy", json!("Never"), "resizePolicy[0].restartPolicy"),
        ("/livenessProbe/successThreshold", json!(2), "livenessProbe.successThreshold"),
        ("/livenessProbe/exec", json!({ "command": ["x"] }), "livenessProbe"),
        ("/livenessProbe/tcpSocket/port", json!("UPPER"), "livenessProbe.tcpSocket.port"),
        (
            "/readinessProbe/terminationGracePeriodSeconds",
            json!(1),
            "readinessProbe.terminationGracePeriodSeconds",
        ),
        ("/readinessProbe/httpGet/scheme", json!("http"), "readinessProbe.httpGet.scheme"),
        (
            "/readinessProbe/httpGet/httpHeaders/0/name",
            json!("a b"),
            "readinessProbe.httpGet.httpHeaders[0].name",
        ),
        ("/startupProbe/periodSeconds", json!(-1), "startupProbe.periodSeconds"),
        ("/startupProbe/grpc/port", json!(0), "startupProbe.grpc.port"),
        ("/lifecycle/preStop/exec", json!({ "command": ["x"] }), "lifecycle.preStop"),
        ("/lifecycle/postStart/exec/command", json!([]), "lifecycle.postStart.exec.command"),
        ("/securityContext/runAsUser", json!(-1), "securityContext.runAsUser"),
        ("/securityContext/procMount", json!("None"), "securityContext.procMount"),
        ("/securityContext/privileged", json!(true), "securityContext.allowPrivilegeEscalation"),
        (
            "/securityContext/seccompProfile/localhostProfile",
            json!(null),
            "securityContext.seccompProfile.localhostProfile",
        ),
        ("/securityContext/appArmorProfile/type", json!("Default"), "securityContext.appArmorProfile.type"),
        ("/restartPolicy", json!("Alwais"), "restartPolicy"),
    ]
}

#[test]
fn each_mistake_of_a_container_is_found_at_its_path() {
    for (pointer, value, path) in mistakes_of_inputs().into_iter().chain(mistakes_of_settings()) {
        let mut container = sidecar();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let fields = container.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        fields.insert(name.replace("~1", "/"), value.clone());
        let found = found(&INIT, "", &container);
        assert!(found.iter().any(|known| known == path), "{pointer} = {value}: {found:?}");
    }
}

#[test]
fn each_mistake_of_a_volume_is_found_at_its_path() {
    let cases = [
        (json!({ "secret": {} }), "secret.secretName"),
        (json!({ "secret": { "secretName": "s", "defaultMode": 644 } }), "secret.defaultMode"),
        (
            json!({ "configMap": { "name": "c", "items": [{ "key": "k", "path": "/a" }] } }),
            "configMap.items[0].path",
        ),
        (json!({ "emptyDir": {}, "secret": { "secretName": "s" } }), ""),
        (json!({ "emptyDir": { "sizeLimit": "-1Gi" } }), "emptyDir.sizeLimit"),
        (json!({ "hostPath": { "path": "/a/../b" } }), "hostPath.path"),
        (json!({ "hostPath": { "path": "/a", "type": "Folder" } }), "hostPath.type"),
        (json!({ "downwardAPI": { "items": [{ "path": "a" }] } }), "downwardAPI.items[0]"),
        (
            json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "t", "expirationSeconds": 60 } }] } }),
            "projected.sources[0].serviceAccountToken.expirationSeconds",
        ),
        (
            json!({ "projected": { "sources": [{ "secret": { "name": "a" }, "configMap": { "name": "b" } }] } }),
            "projected.sources[0]",
        ),
        (json!({ "ephemeral": {} }), "ephemeral.volumeClaimTemplate"),
        (
            json!({ "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"] } } } }),
            "ephemeral.volumeClaimTemplate.spec.resources.requests.storage",
        ),
        (json!({ "csi": { "driver": "a_b" } }), "csi.driver"),
        (json!({ "nfs": { "server": "s", "path": "a" } }), "nfs.path"),
        (json!({ "iscsi": { "targetPortal": "p", "iqn": "iqn.x" } }), "iscsi.iqn"),
        (json!({ "persistentVolumeClaim": {} }), "persistentVolumeClaim.claimName"),
    ];
    for (mut volume, path) in cases {
        volume["name"] = json!("v");
        let found = found(&Place::VOLUMES, "", &volume);
        assert_eq!(found, [path], "{volume}");
    }
    let valid = [
        json!({}),
        json!({ "sourceOfLater": {} }),
        json!({ "iscsi": { "targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage.disk", "lun": 0 } }),
        json!({ "fc": { "wwids": ["a"] } }),
        json!({ "image": { "reference": "a:1", "pullPolicy": "Never" } }),
        json!({ "downwardAPI": { "items": [{ "path": "p", "user": 1, "fieldRef": { "fieldPath": "metadata.name" } }] } }),
        json!({ "ephemeral": { "volumeClaimTemplate": { "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } } } }),
    ];
    for volume in valid {
        assert_eq!(found(&Place::VOLUMES, "", &volume), [""; 0], "{volume}");
    }
}

#[test]
fn other_fields_of_the_pod_are_validated() {
    let spec = |list| Place::Spec(list);
    let toleration = |value: Value| found(&spec(SpecList::Tolerations), "", &value);
    assert_eq!(toleration(json!({ "key": "a", "operator": "Exists", "value": "x" })), ["value"]);
    assert_eq!(toleration(json!({ "operator": "Equal" })), ["operator"]);
    assert_eq!(toleration(json!({ "key": "a", "tolerationSeconds": 3 })), ["effect"]);
    assert_eq!(toleration(json!({ "operator": "Exists" })), [""; 0]);
    let alias = |value: Value| found(&spec(SpecList::HostAliases), "", &value);
    assert_eq!(alias(json!({ "ip": "010.1.2.3", "hostnames": ["a.b"] })), [""; 0]);
    assert_eq!(alias(json!({ "ip": "10.1.2", "hostnames": ["a_b"] })), ["ip", "hostnames[0]"]);
    let claim = |value: Value| found(&spec(SpecList::ResourceClaims), "", &value);
    assert_eq!(claim(json!({ "name": "a" })), [""]);
    let gate = |value: Value| found(&spec(SpecList::ReadinessGates), "", &value);
    assert_eq!(gate(json!({ "conditionType": "a b" })), ["conditionType"]);
    let search = |text: &str| found(&Place::Dns(DnsList::Searches), "", &json!(text));
    for valid in [".", "a.", "_tcp.a_b", "a"] {
        assert_eq!(search(valid), [""; 0], "{valid}");
    }
    for invalid in ["", "..", "A", "__a", "a_", "-a"] {
        assert_eq!(search(invalid), [""], "{invalid}");
    }
    let security = |key: &str, value: Value| found(&Place::Map(Map::SecurityContext), key, &value);
    assert_eq!(security("fsGroup", json!(-1)), [""]);
    assert_eq!(security("sysctls", json!([{ "name": "net/ipv4.a", "value": "1" }])), [""; 0]);
    assert_eq!(security("sysctls", json!([{ "name": "Net", "value": "1" }])), [""]);
    assert_eq!(security("fsGroupChangePolicy", json!("")), [""]);
    let annotation = |key: &str, value: &str| found(&Place::ANNOTATIONS, key, &json!(value));
    assert_eq!(annotation("controller.kubernetes.io/pod-deletion-cost", "+1"), [""]);
    assert_eq!(annotation("controller.kubernetes.io/pod-deletion-cost", "-08"), [""; 0]);
    let env =
        Place::Container { kind: ContainerKind::App, name: "app".to_owned(), field: ContainerField::Env };
    assert_eq!(found(&env, "", &json!({ "name": "" })), ["name"]);
}

#[test]
fn the_scope_of_a_relation_covers_all_fields_that_it_reads() {
    let mut container = sidecar();
    container["volumeMounts"][0]["mountPropagation"] = json!("Bidirectional");
    let found = problems(&INIT, "", &Json::from(&container));
    let scope = |path: &str| found.iter().find(|problem| problem.path == path).map(|problem| &*problem.scope);
    assert_eq!(scope("volumeMounts[0]"), Some(""));
    assert_eq!(scope("volumeMounts[0].recursiveReadOnly"), Some("volumeMounts[0]"));
}
