//! A client for the cluster of a kubeconfig's context: profiles, namespaces and workloads.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::in_force::InForce;
use super::inputs::Inputs;
use super::kubeconfig;
use super::manifests::{Manifest, Origin};
use crate::api::Scope;
use crate::cluster::{minor_version, profile_resources};
use crate::workload::Facts;

/// The kinds with pods: group, version, kind, plural and kubectl's short name.
const KINDS: [(&str, &str, &str, &str, &str); 9] = [
    ("", "v1", "Pod", "pods", "po"),
    ("apps", "v1", "Deployment", "deployments", "deploy"),
    ("apps", "v1", "StatefulSet", "statefulsets", "sts"),
    ("apps", "v1", "DaemonSet", "daemonsets", "ds"),
    ("apps", "v1", "ReplicaSet", "replicasets", "rs"),
    ("", "v1", "ReplicationController", "replicationcontrollers", "rc"),
    ("", "v1", "PodTemplate", "podtemplates", "podtemplate"),
    ("batch", "v1", "Job", "jobs", "job"),
    ("batch", "v1", "CronJob", "cronjobs", "cj"),
];

/// The kinds that admission plugins read: group, version, kind and plural. Those of the core group are namespaced.
const FACTS: [(&str, &str, &str, &str); 5] = [
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "LimitRange", "limitranges"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
];

/// A reference to a live object, as in kubectl: `deployment/checkout`.
#[derive(Clone, Debug)]
pub(super) struct ObjectName {
    resource: ApiResource,
    name: String,
}

impl FromStr for ObjectName {
    type Err = String;

    /// Parses `kind/name`; the kind may be plural, short, in any case, or with its group: `deployment.apps/web`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((kind, name)) = text.split_once('/').filter(|(_, name)| !name.is_empty()) else {
            return Err(
                "write the kind and the name, as deployment/checkout; manifests go with -f".to_owned()
            );
        };
        let lower = kind.to_ascii_lowercase();
        let (word, group) = lower.split_once('.').map_or((lower.as_str(), None), |(a, b)| (a, Some(b)));
        let known = KINDS.iter().find(|(own, _, kind, plural, short)| {
            group.is_none_or(|group| group == *own)
                && [&kind.to_ascii_lowercase(), *plural, *short].contains(&word)
        });
        let Some((group, version, kind, plural, _)) = known else {
            let kinds: Vec<String> = KINDS.iter().map(described).collect();
            return Err(format!("{kind:?} is no kind with pods; the kinds are {}", kinds.join(", ")));
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        Ok(Self { resource: ApiResource::from_gvk_with_plural(&kind, plural), name: name.to_owned() })
    }
}

fn described((_, _, kind, _, short): &(&str, &str, &str, &str, &str)) -> String {
    let kind = kind.to_ascii_lowercase();
    if kind == *short { kind } else { format!("{kind} ({short})") }
}

/// A connection to a cluster.
pub(super) struct ClusterClient {
    runtime: Runtime,
    client: Client,
    context: String,
    default_namespace: String,
}

impl ClusterClient {
    /// Reads the kubeconfig.
    ///
    /// # Errors
    /// No kubeconfig exists, or it is invalid.
    pub(super) fn connect(context: Option<&str>, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        // The call fails if a provider is already installed, which is just as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = kubeconfig::read(kubeconfig)?;
        let name = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, default_namespace) = runtime.block_on(kubeconfig::client(kubeconfig, context))?;
        Ok(Self { runtime, client, context: name.unwrap_or_default(), default_namespace })
    }

    /// Returns a client for the cluster.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the name of the kubeconfig's context.
    pub(super) fn context(&self) -> &str {
        &self.context
    }

    /// Returns the namespace of the kubeconfig's context.
    pub(super) fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// Waits for an API call.
    pub(super) fn block_on<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    /// Adds the namespaces of these names. A namespace that does not exist is skipped.
    ///
    /// # Errors
    /// The API server does not return one.
    pub(super) fn add_namespaces<'a>(
        &self,
        inputs: &mut Inputs,
        names: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        for name in names {
            match self.runtime.block_on(api.get(name)) {
                Ok(found) => inputs.add_namespace(&found.metadata),
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => {
                    return Err(refused(error)).with_context(|| {
                        format!(
                            "cannot read Namespace {name:?} from context {:?}; give it with -f or --profiles, or do without by --offline",
                            self.context
                        )
                    });
                }
            }
        }
        Ok(())
    }

    /// Adds the profiles of these namespaces, or of the whole cluster if none is given.
    ///
    /// # Errors
    /// The API server does not return them, or Outrigger is not installed.
    pub(super) fn add_profiles<'a>(
        &self,
        inputs: &mut Inputs,
        namespaces: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<()> {
        let namespaces: Vec<&str> = namespaces.collect();
        for (scope, resource) in profile_resources() {
            let apis: Vec<Api<DynamicObject>> = match scope {
                Scope::Cluster if namespaces.is_empty() => {
                    vec![Api::all_with(self.client.clone(), &resource)]
                }
                Scope::Cluster => Vec::new(),
                Scope::Namespace => namespaces
                    .iter()
                    .map(|namespace| Api::namespaced_with(self.client.clone(), namespace, &resource))
                    .collect(),
            };
            for api in apis {
                match self.runtime.block_on(api.list(&ListParams::default())) {
                    Ok(list) => list.items.iter().for_each(|object| inputs.add_profile(object, scope, None)),
                    Err(kube::Error::Api(answer)) if answer.code == 404 => bail!(
                        "Outrigger is not installed in this cluster: context {:?} has no resource {}.{}; give profiles with --profiles PATH",
                        self.context,
                        resource.plural,
                        resource.group
                    ),
                    Err(error) => {
                        return Err(refused(error)).with_context(|| {
                            format!(
                                "cannot read profiles from context {:?}; give them with --profiles PATH",
                                self.context
                            )
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the settings of the webhooks from the configuration of this name.
    pub(super) fn in_force(&self, name: &str) -> InForce {
        let kind =
            GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        match self.runtime.block_on(api.get(name)) {
            Ok(found) => InForce::read(name, serde_json::to_value(&found).ok().as_ref()),
            Err(kube::Error::Api(answer)) if answer.code == 404 => InForce::read(name, None),
            Err(error) => InForce::unknown(&refused(error).to_string()),
        }
    }

    /// Adds the objects that admission plugins read in a namespace. Objects without read permission stay unknown.
    pub(super) fn add_facts(&self, facts: &mut Facts, namespace: &str) {
        for (group, version, kind, plural) in FACTS {
            let resource =
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = if group.is_empty() {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            } else {
                Api::all_with(self.client.clone(), &resource)
            };
            let Ok(list) = self.runtime.block_on(api.list(&ListParams::default())) else { continue };
            for object in list.items.iter().filter_map(|found| manifest(found, &resource).ok()) {
                facts.add(&object.object, namespace);
            }
            facts.complete(kind, namespace);
        }
        if let Some(minor) = self.runtime.block_on(minor_version(&self.client)) {
            facts.set_minor_version(minor);
        }
    }

    /// Creates a pod in a dry run of the API server, with a generated name, and returns the pod that would be stored.
    ///
    /// # Errors
    /// The API server's refusal, in one line.
    pub(super) fn dry_run(&self, namespace: &str, pod: &Value) -> anyhow::Result<Value> {
        let mut pod = pod.clone();
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            // A pod with the original name may exist.
            metadata.remove("name");
            metadata.insert("generateName".to_owned(), "outrigger-explain-".into());
        }
        let pod: DynamicObject = serde_json::from_value(pod)?;
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let created = self.runtime.block_on(api.create(&params, &pod)).map_err(refused)?;
        Ok(serde_json::to_value(created)?)
    }

    /// Returns a live object.
    ///
    /// # Errors
    /// The API server does not return it.
    pub(super) fn get(&self, object: &ObjectName, namespace: &str) -> anyhow::Result<Manifest> {
        let ObjectName { resource, name } = object;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let found = self.runtime.block_on(api.get(name)).map_err(refused).with_context(|| {
            format!("cannot read {} {namespace}/{name} from context {:?}", resource.kind, self.context)
        })?;
        manifest(&found, resource)
    }

    /// Returns the horizontal pod autoscalers of a namespace; none without read permission, because they only affect a warning.
    pub(super) fn autoscalers(&self, namespace: &str) -> Vec<Manifest> {
        let kind = GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let listed = self.runtime.block_on(api.list(&ListParams::default()));
        let items = listed.map(|list| list.items).unwrap_or_default();
        items.iter().filter_map(|found| manifest(found, &resource).ok()).collect()
    }
}

/// Returns an error of the API server in kubectl's format, in one line. A denied request names the missing permission.
pub(super) fn refused(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(answer) => {
            let message = answer.message.split_whitespace().collect::<Vec<_>>().join(" ");
            anyhow::anyhow!("Error from server ({}): {message}", answer.reason)
        }
        other => kubeconfig::without_credentials(other),
    }
}

fn manifest(found: &DynamicObject, resource: &ApiResource) -> anyhow::Result<Manifest> {
    let mut object = serde_json::to_value(found)?;
    // The API server omits both fields from the items of a list.
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        fields.insert("kind".to_owned(), resource.kind.clone().into());
    }
    Ok(Manifest { source: "the cluster".into(), object, origin: Origin::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_kubectl() {
        for (text, kind) in [
            ("pod/a", "Pod"),
            ("po/a", "Pod"),
            ("Deployment/a", "Deployment"),
            ("deployment.apps/a", "Deployment"),
            ("deploy/a", "Deployment"),
            ("sts/a", "StatefulSet"),
            ("daemonsets/a", "DaemonSet"),
            ("cj/a", "CronJob"),
        ] {
            assert_eq!(text.parse::<ObjectName>().unwrap().resource.kind, kind, "{text}");
        }
        let error = "service/a".parse::<ObjectName>().unwrap_err();
        assert!(
            error.contains("\"service\" is no kind with pods") && error.contains("statefulset (sts)"),
            "{error}"
        );
        for text in ["checkout", "pod/", "deploy.batch/a"] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }
}
