//! Pods as the controllers of Kubernetes create them from a template.
//!
//! Source: Kubernetes v1.35.4, `pkg/controller/controller_utils.go` (`GetPodFromTemplate`) and the controllers in
//! `pkg/controller/{deployment,statefulset,daemon,job,cronjob}`.

use serde_json::{Value, json};

use super::json::{Fields, list_in, object_in, objects_in, set_if_absent, text_at};
use super::tolerations;

/// Values that controllers and the API server generate, as placeholders.
pub(super) struct Generated {
    pub(super) uid: &'static str,
    /// Hash of a template, minute of a `CronJob`, or suffix of a generated name.
    pub(super) hash: &'static str,
    node: &'static str,
    /// Suffix of the token volume's name.
    pub(super) suffix: &'static str,
    /// Position of the pod among those of its `StatefulSet` or Indexed `Job`.
    index: i64,
}

/// Placeholders of the first pod, which [`super::submitted::may_be_generated`] looks for.
pub(super) const FIRST: Generated = Generated {
    uid: "00000000-0000-0000-0000-000000000000",
    hash: "0000000000",
    node: "node-00000",
    suffix: "00000",
    index: 0,
};

/// Placeholders of another pod.
pub(super) const ANOTHER: Generated = Generated {
    uid: "11111111-1111-1111-1111-111111111111",
    hash: "1111111111",
    node: "another-node",
    suffix: "11111",
    index: 1,
};

const LABELS: &str = "/metadata/labels";

/// Pod of a controller.
pub(super) struct Created {
    pub(super) pod: Fields,
    /// JSON pointers of the placeholders in the pod.
    pub(super) placeholders: Vec<String>,
}

/// Object that owns a pod.
struct ControllerOwner {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    /// UID, or a placeholder for an unknown one.
    uid: String,
    has_uid: bool,
    /// `true` if the name is a placeholder as well.
    is_generated: bool,
}

impl ControllerOwner {
    fn of(object: &Value, api_version: &'static str, kind: &'static str, generated: &Generated) -> Self {
        let (name, is_generated) = match text_at(object, "/metadata/name") {
            Some(name) => (name.to_owned(), false),
            None => (
                text_at(object, "/metadata/generateName").unwrap_or_default().to_owned() + generated.hash,
                true,
            ),
        };
        let uid = text_at(object, "/metadata/uid");
        let has_uid = uid.is_some();
        let uid = uid.unwrap_or(generated.uid).to_owned();
        Self { api_version, kind, name, uid, has_uid, is_generated }
    }

    /// Returns the object that the controller of `self` creates, and that creates the pods.
    fn creates(self, kind: &'static str, generated: &Generated) -> Self {
        let name = format!("{}-{}", self.name, generated.hash);
        Self { kind, name, uid: generated.uid.to_owned(), is_generated: true, has_uid: false, ..self }
    }
}

/// Creates a pod of an object with these placeholders; `None` if the object has no template with a spec.
pub(super) fn create(
    object: &Value,
    pointer: &str,
    namespace: &str,
    generated: &Generated,
) -> Option<Created> {
    let template = object.pointer(pointer)?;
    if pointer.is_empty() {
        return bare(object, namespace);
    }
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let mut created = Created { pod: from_template(template)?, placeholders: Vec::new() };
    created.metadata(|metadata| {
        metadata.insert("namespace".to_owned(), namespace.into());
    });
    let owner = |version, kind| ControllerOwner::of(object, version, kind, generated);
    match kind {
        "Deployment" => {
            created.own(&owner("apps/v1", "Deployment").creates("ReplicaSet", generated));
            created.label_generated("pod-template-hash", generated.hash);
        }
        "ReplicaSet" => created.own(&owner("apps/v1", "ReplicaSet")),
        "ReplicationController" => created.own(&owner("v1", "ReplicationController")),
        "StatefulSet" => stateful(&mut created, object, &owner("apps/v1", "StatefulSet"), generated),
        "DaemonSet" => daemon(&mut created, object, &owner("apps/v1", "DaemonSet"), generated),
        "Job" => job(&mut created, object.get("spec"), &owner("batch/v1", "Job"), generated),
        "CronJob" => {
            let owner = owner("batch/v1", "CronJob").creates("Job", generated);
            job(&mut created, object.pointer("/spec/jobTemplate/spec"), &owner, generated);
        }
        _ => {
            let name = owner("", "").name;
            created.metadata(|metadata| set_if_absent(metadata, "generateName", format!("{name}-")));
        }
    }
    Some(created)
}

/// Returns a pod that a user submits. The API server removes the metadata that only it may set
/// (`rest.WipeObjectMetaSystemFields`).
fn bare(object: &Value, namespace: &str) -> Option<Created> {
    let mut pod = object.as_object()?.clone();
    pod.remove("status");
    pod.get("spec")?;
    set_if_absent(&mut pod, "apiVersion", "v1");
    set_if_absent(&mut pod, "kind", "Pod");
    let mut created = Created { pod, placeholders: Vec::new() };
    created.metadata(|metadata| {
        for field in [
            "managedFields",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        metadata.insert("namespace".to_owned(), namespace.into());
    });
    Some(created)
}

/// Copies the parts of a template that `GetPodFromTemplate` copies.
fn from_template(template: &Value) -> Option<Fields> {
    let mut metadata = Fields::new();
    for name in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer("/metadata").and_then(|metadata| metadata.get(name)) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec")? });
    match pod {
        Value::Object(pod) => Some(pod),
        _ => None,
    }
}

impl Created {
    fn metadata(&mut self, change: impl FnOnce(&mut Fields)) {
        if let Some(metadata) = object_in(&mut self.pod, "metadata") {
            change(metadata);
        }
    }

    fn spec(&mut self) -> Option<&mut Fields> {
        object_in(&mut self.pod, "spec")
    }

    fn label(&mut self, key: &str, value: &str) {
        self.metadata(|metadata| {
            if let Some(labels) = object_in(metadata, "labels") {
                labels.insert(key.to_owned(), value.into());
            }
        });
    }

    fn label_generated(&mut self, key: &str, placeholder: &str) {
        self.label(key, placeholder);
        self.generated(&format!("{LABELS}/{}", key.replace('/', "~1")));
    }

    fn generated(&mut self, pointer: &str) {
        self.placeholders.push(pointer.to_owned());
    }

    /// Sets the owner, and the name that is generated from the owner's.
    fn own(&mut self, owner: &ControllerOwner) {
        self.metadata(|metadata| {
            metadata.insert("generateName".to_owned(), format!("{}-", owner.name).into());
            metadata.insert(
                "ownerReferences".to_owned(),
                json!([{
                    "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid,
                    "controller": true, "blockOwnerDeletion": true,
                }]),
            );
        });
        if owner.is_generated {
            self.generated("/metadata/generateName");
            self.generated("/metadata/ownerReferences/0/name");
        }
        if !owner.has_uid {
            self.generated("/metadata/ownerReferences/0/uid");
        }
    }
}

/// Applies `newStatefulSetPod`.
fn stateful(created: &mut Created, set: &Value, owner: &ControllerOwner, generated: &Generated) {
    let start = set.pointer("/spec/ordinals/start").and_then(Value::as_i64).unwrap_or(0);
    let ordinal = start.saturating_add(generated.index);
    let name = format!("{}-{ordinal}", owner.name);
    created.own(owner);
    created.metadata(|metadata| {
        metadata.insert("name".to_owned(), name.clone().into());
    });
    created.label("statefulset.kubernetes.io/pod-name", &name);
    created.label("apps.kubernetes.io/pod-index", &ordinal.to_string());
    created.label_generated("controller-revision-hash", &format!("{}-{}", owner.name, generated.hash));
    let claims: Vec<&str> = set
        .pointer("/spec/volumeClaimTemplates")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|claim| text_at(claim, "/metadata/name"))
        .collect();
    let service = text_at(set, "/spec/serviceName").map(str::to_owned);
    let Some(spec) = created.spec() else { return };
    spec.insert("hostname".to_owned(), name.clone().into());
    match service {
        Some(service) => spec.insert("subdomain".to_owned(), service.into()),
        None => spec.remove("subdomain"),
    };
    if claims.is_empty() {
        return;
    }
    // A claim replaces a volume with its name.
    let Some(volumes) = list_in(spec, "volumes") else { return };
    volumes.retain(|volume| text_at(volume, "/name").is_none_or(|name| !claims.contains(&name)));
    let of_claims = claims.iter().map(
        |claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": format!("{claim}-{name}") } }),
    );
    volumes.splice(0..0, of_claims.collect::<Vec<_>>());
}

/// Applies `syncNodes` and `CreatePodTemplate` of the `DaemonSet` controller.
fn daemon(created: &mut Created, set: &Value, owner: &ControllerOwner, generated: &Generated) {
    const GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";
    created.own(owner);
    created.label("pod-template-generation", text_at(set, GENERATION).unwrap_or("1"));
    created.label_generated("controller-revision-hash", generated.hash);
    let Some(spec) = created.spec() else { return };
    tolerations::add_for_daemons(spec);
    let is_node = json!([{ "matchFields": [
        { "key": "metadata.name", "operator": "In", "values": [generated.node] },
    ] }]);
    let required = object_in(spec, "affinity")
        .and_then(|affinity| object_in(affinity, "nodeAffinity"))
        .and_then(|affinity| object_in(affinity, "requiredDuringSchedulingIgnoredDuringExecution"));
    if let Some(required) = required {
        required.insert("nodeSelectorTerms".to_owned(), is_node);
    }
    created.generated(
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
    );
}

/// Applies `manageJob`, and the labels that the API server adds to the template of a Job (`generateSelector`).
fn job(created: &mut Created, spec: Option<&Value>, owner: &ControllerOwner, generated: &Generated) {
    created.own(owner);
    let field = |name: &str| spec.and_then(|spec| spec.get(name));
    if field("manualSelector").and_then(Value::as_bool) != Some(true) {
        for (key, value, is_placeholder) in [
            ("job-name", &owner.name, owner.is_generated),
            ("batch.kubernetes.io/job-name", &owner.name, owner.is_generated),
            ("controller-uid", &owner.uid, !owner.has_uid),
            ("batch.kubernetes.io/controller-uid", &owner.uid, !owner.has_uid),
        ] {
            let written = created.pod.get("metadata").and_then(|metadata| metadata.get("labels"));
            if written.is_some_and(|labels| labels.get(key).is_some()) {
                continue;
            }
            if is_placeholder {
                created.label_generated(key, value);
            } else {
                created.label(key, value);
            }
        }
    }
    created.metadata(|metadata| {
        let finalizer = Value::from("batch.kubernetes.io/job-tracking");
        if let Some(finalizers) = list_in(metadata, "finalizers").filter(|all| !all.contains(&finalizer)) {
            finalizers.push(finalizer);
        }
    });
    if field("completionMode").and_then(Value::as_str) == Some("Indexed") {
        let has_limit_per_index = field("backoffLimitPerIndex").is_some_and(|limit| !limit.is_null());
        indexed(created, owner, has_limit_per_index, generated.index);
    }
}

/// Sets the values for an index of an Indexed Job.
fn indexed(created: &mut Created, owner: &ControllerOwner, has_limit_per_index: bool, index: i64) {
    const INDEX: &str = "batch.kubernetes.io/job-completion-index";
    /// `names.MaxGeneratedNameLength`
    const MOST: usize = 58;
    created.label(INDEX, &index.to_string());
    created.metadata(|metadata| {
        if let Some(annotations) = object_in(metadata, "annotations") {
            annotations.insert(INDEX.to_owned(), index.to_string().into());
            if has_limit_per_index {
                annotations.insert("batch.kubernetes.io/job-index-failure-count".to_owned(), "0".into());
            }
        }
        let stem: String = owner.name.chars().take(MOST - "-0-".len()).collect();
        metadata.insert("generateName".to_owned(), format!("{stem}-{index}-").into());
    });
    let Some(spec) = created.spec() else { return };
    spec.insert("hostname".to_owned(), format!("{}-{index}", owner.name).into());
    for list in ["initContainers", "containers"] {
        for container in objects_in(spec, list) {
            let Some(env) = list_in(container, "env") else { continue };
            if env.iter().all(|variable| text_at(variable, "/name") != Some("JOB_COMPLETION_INDEX")) {
                let path = format!("metadata.labels['{INDEX}']");
                env.push(json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": { "fieldPath": path } } }));
            }
        }
    }
    if owner.is_generated {
        created.generated("/spec/hostname");
    }
}
