//! Validation of a partial pod by the API server and by the engine.

use std::sync::OnceLock;

use e2e::Cluster;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use outrigger::api::{ProfileSpec, Scope};
use outrigger::engine::{Namespace, Outcome, Settings, inject};
use outrigger::json::Json;
use outrigger::profiles::{ProfileEntry, ProfileSet, Severity};
use outrigger::string_map::StringMap;
use serde_json::{Map, Value, json};

/// Part of the message for containers that the API server admits and the kubelet rejects.
const OF_THE_KUBELET: &str = "the kubelet would never start it";

/// The API server, called with dry runs.
pub(super) struct Server {
    pods: Api<DynamicObject>,
}

impl Server {
    pub(super) fn new(cluster: &Cluster, namespace: &str) -> Self {
        let resource = ApiResource::erase::<Pod>(&());
        Self { pods: Api::namespaced_with(cluster.client.clone(), namespace, &resource) }
    }

    /// Creates a pod with the partial pod in it, in a dry run.
    ///
    /// # Errors
    /// Returns the message of the rejection.
    pub(super) async fn validate(&self, partial: &Value) -> Result<(), String> {
        let pod = complete(partial);
        let object: DynamicObject = serde_json::from_value(pod).map_err(|error| error.to_string())?;
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        match self.pods.create(&parameters, &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(other) => panic!("the API server does not respond: {other}"),
        }
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "sample", "labels": { "app": "sample" } },
        "spec": { "terminationGracePeriodSeconds": 60, "containers": [{ "name": "app", "image": "app:1" }] },
    })
}

/// Returns a pod with the partial pod's fields merged into it. Lists are appended.
fn complete(partial: &Value) -> Value {
    fn merge(below: &mut Map<String, Value>, above: &Map<String, Value>) {
        for (name, value) in above {
            match (below.get_mut(name), value) {
                (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
                (Some(Value::Array(below)), Value::Array(above)) => below.extend(above.iter().cloned()),
                _ => _ = below.insert(name.clone(), value.clone()),
            }
        }
    }
    let mut pod = pod();
    merge(pod.as_object_mut().unwrap(), partial.as_object().unwrap());
    pod
}

/// Compiles a profile with the partial pod, and injects it.
///
/// # Errors
/// Returns the message of the engine.
pub(super) fn engine(partial: &Value) -> Result<(), String> {
    static POD: OnceLock<Value> = OnceLock::new();
    let spec = json!({ "match": {}, "template": partial });
    let spec: ProfileSpec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
    let (entry, findings) = ProfileEntry::new("sample", Scope::Cluster, &spec);
    if let Some(error) = findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(error.to_string());
    }
    let mut set = ProfileSet::default();
    set.insert(None, "sample", entry);
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: [("outrigger.dev/inject".to_owned(), "enabled".to_owned())].into_iter().collect(),
        annotations: StringMap::default(),
    };
    let settings = Settings { excluded_namespaces: [].into(), cluster: json!({}) };
    let pod = POD.get_or_init(pod);
    let decision = inject(&Json::from(pod), &namespace, &set, &settings);
    match decision.outcome {
        Outcome::Denied if decision.reason.to_string().contains(OF_THE_KUBELET) => Ok(()),
        Outcome::Denied => Err(decision.reason.to_string()),
        _ => Ok(()),
    }
}
