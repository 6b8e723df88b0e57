use serde_json::json;

use super::*;
use crate::workload::pod_pointer;

fn of(object: &Value) -> Submitted {
    knowing(object, &Facts::default())
}

fn knowing(object: &Value, facts: &Facts) -> Submitted {
    submitted(object, pod_pointer(object["kind"].as_str().unwrap()).unwrap(), "shop", facts).unwrap()
}

fn workload(kind: &str, more: Value) -> Value {
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "web:1" }] },
    });
    let mut object = json!({ "kind": kind, "metadata": { "name": "web" }, "spec": { "template": template } });
    if let Value::Object(more) = more {
        object["spec"].as_object_mut().unwrap().extend(more);
    }
    object
}

/// Returns a pod with a spec, without a token.
fn pod(spec: Value) -> Value {
    let mut pod = json!({ "kind": "Pod", "metadata": { "name": "web" }, "spec": {
        "automountServiceAccountToken": false, "containers": [{ "name": "app", "image": "web:1" }],
    } });
    if let Value::Object(spec) = spec {
        pod["spec"].as_object_mut().unwrap().extend(spec);
    }
    pod
}

#[test]
fn a_pod_gets_every_default() {
    let found = of(&json!({ "kind": "Pod", "metadata": { "name": "web", "uid": "x", "managedFields": [] },
        "spec": { "containers": [{ "name": "app", "image": "web" }] }, "status": { "phase": "Running" } }));
    let token = json!({ "name": "kube-api-access-00000", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true });
    let mut pod = found.pod;
    let volumes = pod["spec"].as_object_mut().unwrap().remove("volumes").unwrap();
    assert_eq!(volumes[0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    assert_eq!(
        pod,
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "namespace": "shop" }, "spec": {
            "containers": [{
                "name": "app", "image": "web", "imagePullPolicy": "Always", "resources": {}, "volumeMounts": [token],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
            "serviceAccount": "default", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
        } })
    );
    assert_eq!(found.placeholders, ["/spec/containers/0/volumeMounts/0/name", "/spec/volumes/0/name"]);
    let missing: Vec<String> = found.missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["LimitRanges", "default PriorityClass", "ServiceAccount \"default\""]);
}

#[test]
fn quantities_are_canonical_and_limits_are_requested() {
    let found = of(&pod(json!({
        "containers": [{ "name": "app", "image": "web:1", "resources": { "limits": { "cpu": 0.5, "memory": "1024Mi" }, "requests": {} } }],
        "volumes": [{ "name": "a", "emptyDir": { "sizeLimit": "0.5Gi" } }, { "name": "b" }],
    })));
    let spec = &found.pod["spec"];
    let amounts = json!({ "cpu": "500m", "memory": "1Gi" });
    assert_eq!(spec["containers"][0]["resources"], json!({ "limits": amounts, "requests": amounts }));
    assert_eq!(
        spec["volumes"],
        json!([{ "name": "a", "emptyDir": { "sizeLimit": "512Mi" } }, { "name": "b", "emptyDir": {} }])
    );
}

#[test]
fn empty_fields_are_removed_as_by_the_api_server() {
    let found = of(&pod(json!({
        "hostNetwork": false, "nodeSelector": {}, "nodeName": "", "terminationGracePeriodSeconds": -5, "initContainers": [],
        "containers": [{
            "name": "app", "image": "web:1", "tty": false, "env": [{ "name": "A", "value": "" }],
            "readinessProbe": { "httpGet": { "port": 80 }, "periodSeconds": 0, "initialDelaySeconds": 0 },
        }],
    })));
    let spec = &found.pod["spec"];
    for field in ["hostNetwork", "nodeSelector", "nodeName", "initContainers"] {
        assert!(spec.get(field).is_none(), "{field}");
    }
    let container = &spec["containers"][0];
    assert_eq!((&container["env"], container.get("tty")), (&json!([{ "name": "A" }]), None));
    assert_eq!(
        container["readinessProbe"],
        json!({ "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" }, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3 })
    );
    assert_eq!(spec["terminationGracePeriodSeconds"], 1);
}

#[test]
fn a_deployment_has_a_replica_set() {
    let found = of(&workload("Deployment", json!({})));
    let metadata = &found.pod["metadata"];
    assert_eq!(metadata["generateName"], "web-0000000000-");
    assert_eq!(metadata["labels"], json!({ "app": "web", "pod-template-hash": "0000000000" }));
    let owner = &metadata["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("ReplicaSet"), &json!("web-0000000000"), &json!(true))
    );
    for pointer in &found.placeholders {
        assert!(found.pod.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn a_stateful_set_has_its_claims_and_an_identity() {
    let found = of(&workload(
        "StatefulSet",
        json!({
            "serviceName": "db", "ordinals": { "start": 3 },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }],
        }),
    ));
    let (metadata, spec) = (&found.pod["metadata"], &found.pod["spec"]);
    assert_eq!((&metadata["name"], &metadata["generateName"]), (&json!("web-3"), &json!("web-")));
    assert_eq!(
        metadata["labels"],
        json!({ "app": "web", "apps.kubernetes.io/pod-index": "3", "controller-revision-hash": "web-0000000000",
            "statefulset.kubernetes.io/pod-name": "web-3" })
    );
    assert_eq!((&spec["hostname"], &spec["subdomain"]), (&json!("web-3"), &json!("db")));
    assert_eq!(
        spec["volumes"][0],
        json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data-web-3" } })
    );
}

#[test]
fn a_daemon_sets_pod_has_tolerations_and_a_node_affinity() {
    let found = of(&workload("DaemonSet", json!({})));
    let spec = &found.pod["spec"];
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 6);
    assert!(spec["tolerations"][0].get("tolerationSeconds").is_none());
    assert_eq!(found.pod["metadata"]["labels"]["pod-template-generation"], "1");
    assert!(found.placeholders.iter().all(|pointer| found.pod.pointer(pointer).is_some()));
}

#[test]
fn a_jobs_pod_is_labeled_and_tracked() {
    let found = of(&workload("Job", json!({ "completionMode": "Indexed", "backoffLimitPerIndex": 1 })));
    let (metadata, spec) = (&found.pod["metadata"], &found.pod["spec"]);
    assert_eq!(metadata["labels"]["batch.kubernetes.io/job-name"], "web");
    assert_eq!(metadata["labels"]["batch.kubernetes.io/job-completion-index"], "0");
    assert_eq!(metadata["annotations"]["batch.kubernetes.io/job-index-failure-count"], "0");
    assert_eq!(metadata["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
    assert_eq!((&metadata["generateName"], &spec["hostname"]), (&json!("web-0-"), &json!("web-0")));
    assert_eq!(
        spec["containers"][0]["env"],
        json!([{ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": {
            "apiVersion": "v1", "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']",
        } } }])
    );
    let job = workload("Job", json!({}));
    let cron = json!({ "kind": "CronJob", "metadata": { "name": "nightly" }, "spec": { "jobTemplate": { "spec": job["spec"] } } });
    let metadata = of(&cron).pod["metadata"].clone();
    assert_eq!(metadata["ownerReferences"][0]["kind"], "Job");
    assert_eq!(metadata["labels"]["job-name"], "nightly-0000000000");
}

#[test]
fn replica_sets_and_controllers_own_their_pods() {
    for (kind, version) in [("ReplicaSet", "apps/v1"), ("ReplicationController", "v1")] {
        let mut object = workload(kind, json!({}));
        object["metadata"]["uid"] = json!("live");
        let metadata = of(&object).pod["metadata"].clone();
        assert_eq!(metadata["generateName"], "web-");
        assert_eq!(
            metadata["ownerReferences"],
            json!([{ "apiVersion": version, "kind": kind, "name": "web", "uid": "live", "controller": true, "blockOwnerDeletion": true }])
        );
    }
}

#[test]
fn objects_of_the_cluster_are_applied() {
    let mut facts = Facts::default();
    facts.add(&json!({ "kind": "ServiceAccount", "metadata": { "name": "robot" }, "automountServiceAccountToken": false,
        "imagePullSecrets": [{ "name": "registry" }] }), "shop");
    facts.add(
        &json!({ "kind": "LimitRange", "metadata": { "name": "a" }, "spec": { "limits": [
        { "type": "Container", "default": { "memory": "128Mi" }, "min": { "cpu": "0.01" } },
    ] } }),
        "shop",
    );
    facts.add(&json!({ "kind": "RuntimeClass", "metadata": { "name": "gvisor" },
        "overhead": { "podFixed": { "cpu": "0.25" } },
        "scheduling": { "nodeSelector": { "sandbox": "yes" }, "tolerations": [{ "key": "sandbox", "operator": "Exists" }] } }), "");
    facts.add(&json!({ "kind": "PriorityClass", "metadata": { "name": "usual" }, "value": 7, "globalDefault": true, "preemptionPolicy": "Never" }), "");
    for kind in ["LimitRange", "PriorityClass"] {
        facts.complete(kind, "shop");
    }
    let object = json!({ "kind": "Pod", "spec": { "runtimeClassName": "gvisor", "serviceAccount": "robot",
        "containers": [{ "name": "app", "image": "web:1" }] } });
    let found = knowing(&object, &facts);
    let spec = &found.pod["spec"];
    assert!(found.missing.is_empty() && found.placeholders.is_empty(), "{found:?}");
    assert_eq!(
        (&spec["serviceAccountName"], &spec["imagePullSecrets"]),
        (&json!("robot"), &json!([{ "name": "registry" }]))
    );
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({ "limits": { "memory": "128Mi" }, "requests": { "cpu": "10m", "memory": "128Mi" } })
    );
    assert_eq!(
        found.pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container app; memory limit for container app"
    );
    assert_eq!(
        (&spec["overhead"], &spec["nodeSelector"]),
        (&json!({ "cpu": "250m" }), &json!({ "sandbox": "yes" }))
    );
    assert_eq!(spec["tolerations"][2]["key"], "sandbox");
    assert_eq!(
        (&spec["priorityClassName"], &spec["priority"], &spec["preemptionPolicy"]),
        (&json!("usual"), &json!(7), &json!("Never"))
    );
}

#[test]
fn a_second_submission_changes_nothing() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
        let once = of(&workload(kind, json!({}))).pod;
        let twice = of(&once).pod;
        assert_eq!(once, twice, "{kind}");
    }
}

#[test]
fn another_pod_differs_only_in_generated_values() {
    for (kind, differs) in
        [("Deployment", true), ("StatefulSet", true), ("DaemonSet", true), ("Job", true), ("Pod", false)]
    {
        let object = if kind == "Pod" { pod(json!({})) } else { workload(kind, json!({})) };
        let pointer = pod_pointer(kind).unwrap();
        let first = submitted(&object, pointer, "shop", &Facts::default()).unwrap();
        let another = another(&object, pointer, "shop", &Facts::default()).unwrap();
        assert_eq!(first.pod != another.pod, differs, "{kind}");
        assert_eq!(first.placeholders, another.placeholders);
        for pointer in &first.placeholders {
            let value = first.pod.pointer(pointer).unwrap();
            // The index in a set of pods is a number, which only an expression can read.
            let is_position = value.as_str().is_some_and(|text| text.ends_with("-0") || text == "0");
            assert!(is_position || may_be_generated(&value.to_string()), "{kind} {pointer}: {value}");
        }
    }
}
