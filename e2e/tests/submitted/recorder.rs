//! A mutating webhook that is called before all others and logs the pods that it receives.

use std::collections::HashMap;

use e2e::{Cluster, TestNamespace, eventually, image};
use serde_json::{Value, json};

use crate::workloads::owner_of;

/// Recorder of the pods of one namespace. It runs in its own namespace.
pub(crate) struct Recorder {
    cluster: Cluster,
    home: TestNamespace,
    configuration: String,
}

impl Recorder {
    pub(crate) async fn start(cluster: &Cluster, space: &TestNamespace) -> Self {
        let home = TestNamespace::plain(cluster).await;
        let server = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "recorder", "labels": { "app": "recorder" } },
            "spec": { "containers": [{ "name": "recorder", "image": image("outrigger.dev/meddler:1.0"),
                "args": [":8443", format!("recorder.{}.svc", home.name)], "ports": [{ "containerPort": 8443 }] }] },
        });
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "recorder" },
            "spec": { "selector": { "app": "recorder" }, "ports": [{ "port": 443, "targetPort": 8443 }] } });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [server, service] });
        cluster.apply(&home.name, &list.to_string()).expect();
        cluster.ready_pod(&home.name, "recorder").await;
        let authority = cluster.kubectl(&["logs", "recorder", "--namespace", &home.name]).expect();
        let configuration = format!("aa-recorder-{}", space.name);
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": configuration },
            "webhooks": [{
                "name": "recorder.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": space.name } },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
                "clientConfig": {
                    "caBundle": authority.lines().next().unwrap(),
                    "service": { "name": "recorder", "namespace": home.name, "path": "/record" },
                },
            }],
        });
        cluster.apply_as_it_is(&webhook.to_string()).expect();
        let recorder = Self { cluster: cluster.clone(), home, configuration };
        eventually("a call of the recorder", || async {
            let probe = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe" },
                "spec": { "containers": [{ "name": "app", "image": "registry.invalid/app:1" }] } });
            drop(cluster.dry_run_pod(&space.name, &probe).await);
            if recorder.recorded().is_empty() { Err("nothing is recorded".to_owned()) } else { Ok(()) }
        })
        .await;
        recorder
    }

    /// Returns the pods that it has received.
    fn recorded(&self) -> Vec<Value> {
        let log = self.cluster.kubectl(&["logs", "recorder", "--namespace", &self.home.name]).expect();
        log.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a pod of each object, and returns the first pod of each by the name of the object.
    pub(crate) async fn pods_of(&self, objects: &[Value]) -> HashMap<String, Value> {
        eventually("a pod of each workload", || async {
            let recorded = self.recorded();
            let mut found = HashMap::new();
            for object in objects {
                let name = object["metadata"]["name"].as_str().unwrap();
                let Some(pod) = recorded.iter().find(|pod| owner_of(pod) == name) else {
                    return Err(format!("there is no pod of {name}"));
                };
                found.insert(name.to_owned(), pod.clone());
            }
            Ok(found)
        })
        .await
    }

    pub(crate) fn stop(self, cluster: &Cluster) {
        cluster.kubectl(&["delete", "mutatingwebhookconfiguration", &self.configuration]).expect();
    }
}
