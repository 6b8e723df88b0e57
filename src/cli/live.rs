//! A look at the cluster of a kubeconfig's context: its profiles, namespaces and workloads.

use std::path::Path;
use std::str::FromStr;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::runtime::Runtime;

use super::kubeconfig;
use super::manifests::{Manifest, Origin};
use super::world::World;
use crate::cluster::profile_resources;
use crate::workload::Facts;

/// The kinds that hold pods: group, version, kind, plural and kubectl's short name.
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

/// Kinds that admission plugins read: group, version, kind and plural. Those of the core group are namespaced.
const FACTS: [(&str, &str, &str, &str); 4] = [
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "LimitRange", "limitranges"),
    ("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
];

/// A live object as kubectl names it: `deployment/checkout`.
#[derive(Clone, Debug)]
pub(super) struct ObjectName {
    resource: ApiResource,
    name: String,
}

impl FromStr for ObjectName {
    type Err = String;

    /// Reads `kind/name`; the kind may be plural, short, in any case, or with its group: `deployment.apps/web`.
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

/// A cluster that can be asked.
pub(super) struct Live {
    runtime: Runtime,
    client: Client,
    context: String,
    default_namespace: String,
}

impl Live {
    /// Reads the kubeconfig.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub(super) fn connect(context: Option<&str>, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        // A second command of one process would find it installed, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = kubeconfig::read(kubeconfig)?;
        let name = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, default_namespace) = runtime.block_on(kubeconfig::client(kubeconfig, context))?;
        Ok(Self { runtime, client, context: name.unwrap_or_default(), default_namespace })
    }

    /// A client of it.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig's context.
    pub(super) fn context(&self) -> &str {
        &self.context
    }

    /// The namespace of the kubeconfig's context.
    pub(super) fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// Waits for an answer of it.
    pub(super) fn block_on<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    /// The cluster's namespaces, and its profiles where they are wanted. It says so on stderr.
    ///
    /// # Errors
    /// The API server does not give them.
    pub(super) fn world(&self, with_profiles: bool) -> anyhow::Result<World> {
        let mut world = World { default_namespace: self.default_namespace.clone(), ..World::default() };
        let read = self.runtime.block_on(async {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            for found in namespaces.list_metadata(&ListParams::default()).await?.items {
                world.add_namespace(&found.metadata);
            }
            for (scope, resource) in profile_resources().into_iter().filter(|_| with_profiles) {
                let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                for object in api.list(&ListParams::default()).await?.items {
                    world.add_profile(&object, scope, None);
                }
            }
            Ok::<_, kube::Error>(())
        });
        read.with_context(|| {
            format!(
                "cannot read profiles and namespaces from context {:?}; give them with --profiles PATH, or do without by --offline",
                self.context
            )
        })?;
        let what = if with_profiles { "profiles and namespaces" } else { "namespaces" };
        super::say(format_args!("using the {what} of context {:?}", self.context));
        Ok(world)
    }

    /// Adds the objects that admission plugins read in a namespace. Those that may not be read stay unknown.
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
    }

    /// A live object.
    ///
    /// # Errors
    /// The API server does not give it.
    pub(super) fn get(&self, object: &ObjectName, namespace: &str) -> anyhow::Result<Manifest> {
        let ObjectName { resource, name } = object;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let found = self.runtime.block_on(api.get(name)).with_context(|| {
            format!("cannot read {} {namespace}/{name} from context {:?}", resource.kind, self.context)
        })?;
        manifest(&found, resource)
    }

    /// The horizontal pod autoscalers of a namespace; none where they may not be read, since nothing but a
    /// warning depends on them.
    pub(super) fn autoscalers(&self, namespace: &str) -> Vec<Manifest> {
        let kind = GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let listed = self.runtime.block_on(api.list(&ListParams::default()));
        let items = listed.map(|list| list.items).unwrap_or_default();
        items.iter().filter_map(|found| manifest(found, &resource).ok()).collect()
    }
}

fn manifest(found: &DynamicObject, resource: &ApiResource) -> anyhow::Result<Manifest> {
    let mut object = serde_json::to_value(found)?;
    // In a list, the API server leaves them out.
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
    fn kinds_are_named_as_in_kubectl() {
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
