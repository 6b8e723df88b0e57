//! Workloads of every kind, with minimal and with unusual fields.

use serde_json::{Value, json};

/// Returns the name of the workload that a pod belongs to. Names of workloads end with a letter and have no hyphen.
pub(crate) fn owner_of(pod: &Value) -> &str {
    let owner = &pod["metadata"]["ownerReferences"][0]["name"];
    let name = owner.as_str().or(pod["metadata"]["name"].as_str()).unwrap_or_default();
    name.split('-').next().unwrap_or_default()
}

/// Returns pods, and workloads of each kind with a plain and with an unusual pod.
pub(crate) fn workloads() -> Vec<Value> {
    let mut all = vec![
        pod("plainpod", &plain()),
        pod("oddpod", &odd()),
        pod("hostpod", &on_host()),
        pod("levelpod", &pod_level()),
    ];
    for (word, spec) in [("plain", plain()), ("odd", odd())] {
        for (kind, version) in [
            ("Deployment", "apps/v1"),
            ("ReplicaSet", "apps/v1"),
            ("StatefulSet", "apps/v1"),
            ("DaemonSet", "apps/v1"),
            ("ReplicationController", "v1"),
            ("Job", "batch/v1"),
            ("CronJob", "batch/v1"),
        ] {
            let name = format!("{word}{}", kind.to_lowercase());
            all.push(workload(&name, version, kind, &spec, word == "odd"));
        }
    }
    all
}

fn pod(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } }, "spec": spec })
}

fn workload(name: &str, version: &str, kind: &str, pod: &Value, is_odd: bool) -> Value {
    let mut pod = pod.clone();
    let labels = json!({ "app": name });
    let mut template = json!({ "metadata": { "labels": labels }, "spec": pod });
    if is_odd {
        template["metadata"]["annotations"] = json!({ "odd": "" });
        template["metadata"]["name"] = json!("ignored");
    }
    let mut spec = json!({ "selector": { "matchLabels": labels }, "template": template });
    match kind {
        "ReplicationController" => spec["selector"] = labels,
        "DaemonSet" => {
            // Its controller creates pods only for nodes that the pod selects.
            for field in ["nodeSelector", "runtimeClassName"] {
                spec["template"]["spec"].as_object_mut().unwrap().remove(field);
            }
        }
        "StatefulSet" => {
            spec["serviceName"] = json!("db");
            if is_odd {
                spec["ordinals"] = json!({ "start": 7 });
                spec["volumeClaimTemplates"] = ["data", "secrets"].map(|name| json!({
                    "metadata": { "name": name },
                    "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
                })).into();
            }
        }
        "Job" | "CronJob" => {
            pod["restartPolicy"] = json!("Never");
            template["spec"] = pod;
            spec = json!({ "template": template });
            if is_odd {
                spec["completionMode"] = json!("Indexed");
                spec["completions"] = json!(1);
                spec["backoffLimitPerIndex"] = json!(1);
            }
            if kind == "CronJob" {
                // An Indexed Job of a CronJob does not differ from any other Indexed Job.
                for field in ["completionMode", "completions", "backoffLimitPerIndex"] {
                    spec.as_object_mut().unwrap().remove(field);
                }
                spec = json!({ "schedule": "* * * * *", "jobTemplate": { "spec": spec } });
            }
        }
        _ => {}
    }
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// Returns a pod that no node can run, so that nothing is started.
fn plain() -> Value {
    json!({ "nodeSelector": { "e2e": "nowhere" }, "containers": [{ "name": "app", "image": "registry.invalid/app" }] })
}

/// Returns a pod with host networking, whose container ports become host ports.
fn on_host() -> Value {
    json!({
        "nodeSelector": { "e2e": "nowhere" }, "hostNetwork": true, "hostPID": false, "serviceAccount": "robot",
        "terminationGracePeriodSeconds": 0, "dnsPolicy": "ClusterFirstWithHostNet",
        "containers": [{ "name": "app", "image": "registry.invalid/app:latest",
            "ports": [{ "containerPort": 8080 }, { "containerPort": 53, "protocol": "UDP", "name": "dns" }] }],
        "tolerations": [{ "operator": "Exists" }],
    })
}

/// Returns a pod with pod-level resources, of which only limits are set.
fn pod_level() -> Value {
    json!({
        "nodeSelector": { "e2e": "nowhere" }, "automountServiceAccountToken": false,
        "resources": { "limits": { "cpu": 2, "memory": "2048Mi" } },
        "containers": [
            { "name": "app", "image": "registry.invalid/app:1", "resources": { "requests": { "cpu": "0.1", "memory": "100Mi" } } },
            { "name": "other", "image": "registry.invalid/app@sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
              "resources": { "requests": { "cpu": "50m", "memory": "1e6" } } },
        ],
    })
}

/// Returns a pod with fields that the API server sets or normalizes.
fn odd() -> Value {
    json!({
        "nodeSelector": { "e2e": "nowhere" }, "runtimeClassName": "e2e-submitted", "priorityClassName": "e2e-submitted",
        "hostNetwork": false, "nodeName": "", "imagePullSecrets": [], "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["db"] }],
        "securityContext": { "runAsUser": 0, "fsGroup": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
        "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 1, "preference": { "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["ssd"] }] } },
        ] }, "podAntiAffinity": {} },
        "tolerations": [
            { "key": "own", "operator": "Equal", "value": "1" },
            { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 },
        ],
        "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": "x" } } }],
        "dnsConfig": { "options": [{ "name": "ndots", "value": "1" }, { "name": "rotate" }], "searches": ["a.example"] },
        "readinessGates": [{ "conditionType": "example.com/ready" }],
        "shareProcessNamespace": false,
        "initContainers": [
            { "name": "first", "image": "registry.invalid/first:1@sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
              "resources": { "limits": { "memory": "65536Ki" } } },
            { "name": "side", "image": "registry.invalid:5000/side", "restartPolicy": "Always", "securityContext": {},
              "startupProbe": { "grpc": { "port": 9000 }, "failureThreshold": 0 } },
        ],
        "containers": [odd_container(), {
            "name": "second", "image": "registry.invalid/second:2", "imagePullPolicy": "Never", "tty": false, "stdin": true, "command": [], "args": [""],
            "volumeMounts": [{ "name": "plain", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": false }],
        }],
        "volumes": odd_volumes(),
    })
}

fn odd_container() -> Value {
    json!({
        "name": "app", "image": "registry.invalid/app:1", "terminationMessagePath": "",
        "env": [
            { "name": "EMPTY", "value": "" },
            { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
            { "name": "MEMORY", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1024Ki" } } },
        ],
        "envFrom": [{ "configMapRef": { "name": "settings", "optional": true }, "prefix": "" }],
        "ports": [{ "containerPort": 80 }, { "containerPort": 81, "protocol": "TCP", "hostPort": 0, "hostIP": "" }],
        "resources": { "limits": { "cpu": 0.5, "memory": "1.5Gi" }, "requests": { "memory": "1000000000m", "ephemeral-storage": "1e3" } },
        "livenessProbe": { "httpGet": { "port": "http" }, "initialDelaySeconds": 0, "timeoutSeconds": 0 },
        "readinessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 3 },
        "lifecycle": { "preStop": { "httpGet": { "port": 80, "scheme": "" } }, "postStart": { "exec": { "command": ["true"] } } },
        "securityContext": { "allowPrivilegeEscalation": false, "privileged": false, "capabilities": { "drop": ["ALL"], "add": [] } },
        "volumeMounts": [{ "name": "plain", "mountPath": "/plain", "subPath": "" }, { "name": "data", "mountPath": "/data" }],
    })
}

fn odd_volumes() -> Value {
    json!([
        { "name": "plain" },
        { "name": "data", "emptyDir": { "sizeLimit": "0.5Gi", "medium": "" } },
        { "name": "secrets", "secret": { "secretName": "s", "optional": true } },
        { "name": "settings", "configMap": { "name": "c", "defaultMode": 0o400, "items": [{ "key": "a", "path": "a" }] } },
        { "name": "about", "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
            { "path": "cpu", "resourceFieldRef": { "containerName": "app", "resource": "limits.cpu", "divisor": "1m" } }] } },
        { "name": "all", "projected": { "sources": [
            { "serviceAccountToken": { "path": "token" } }, { "secret": { "name": "s" } },
            { "configMap": { "name": "c", "items": [] } },
            { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
        ] } },
        { "name": "host", "hostPath": { "path": "/tmp" } },
        { "name": "claim", "persistentVolumeClaim": { "claimName": "c", "readOnly": false } },
        { "name": "own", "ephemeral": { "volumeClaimTemplate": { "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1024Mi" } } } } } },
        { "name": "csi", "csi": { "driver": "csi.example.com", "readOnly": false } },
        { "name": "nfs", "nfs": { "server": "nfs.example.com", "path": "/", "readOnly": false } },
        { "name": "disk", "iscsi": { "targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:a", "lun": 0 } },
        { "name": "artifact", "image": { "reference": "registry.invalid/artifact" } },
    ])
}
