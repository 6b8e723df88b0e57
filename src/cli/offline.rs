//! What `inject` and `explain` share: their inputs, and the engine run over each of the pods in them.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicObject, ObjectMeta};
use kube::{Api, Client, Config};
use serde_json::Value;

use super::manifests::{self, Manifest};
use super::workload::{TemplatePath, pod_of, pod_pointer};
use crate::api::{Scope, keys};
use crate::cluster::{entry_of, namespace_of, profile_resources};
use crate::engine::{Decision, Namespace, Settings, inject};
use crate::json::Json;
use crate::profiles::ProfileSet;

/// Manifests, and the profiles and namespaces that hold for them.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// Manifests: files, folders, or - for standard input. Profiles and Namespaces in them count, too.
    #[arg(short = 'f', long, required = true, value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Profiles and Namespaces: files or folders. Without it, those of the current context.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    profiles: Vec<PathBuf>,
    /// Treat a namespace that is not given as enabled.
    #[arg(long)]
    enable: bool,
    /// Namespace of objects that name none.
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
    /// Never look at a cluster: use what the given files hold.
    #[arg(long)]
    offline: bool,
    /// Context of the kubeconfig to look at, instead of the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig to look at, instead of KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What profiles read as `cluster` in expressions: an object, in JSON or YAML.
    #[arg(long, value_name = "OBJECT", default_value = "{}", value_parser = super::cluster_values)]
    cluster_values: Value,
    /// Where the pod template of a kind of your own stands, as Rollout=/spec/template; may be repeated.
    #[arg(long = "template", value_name = "KIND=POINTER")]
    templates: Vec<TemplatePath>,
}

/// One object, and what the engine decided about the pod in it.
pub(super) struct Subject {
    pub(super) manifest: Manifest,
    /// `None` for an object without a pod.
    pub(super) decided: Option<Decided>,
}

pub(super) struct Decided {
    pub(super) namespace: String,
    /// Where in the object the pod stands.
    pub(super) pointer: String,
    pub(super) pod: Value,
    pub(super) decision: Decision,
}

impl Inputs {
    /// Reads everything and decides about each pod, in the order of the manifests.
    ///
    /// # Errors
    /// What cannot be read, or a cluster that does not answer.
    pub(super) fn decide(&self) -> anyhow::Result<Vec<Subject>> {
        let manifests = manifests::read(&self.filename)?;
        let mut world =
            if self.profiles.is_empty() && !self.offline { self.look()? } else { World::default() };
        for manifest in manifests::read(&self.profiles)?.iter().chain(&manifests) {
            world
                .take(&manifest.object, self.namespace.as_deref())
                .with_context(|| manifest.source.clone())?;
        }
        Ok(manifests.into_iter().map(|manifest| self.subject(manifest, &world)).collect())
    }

    fn subject(&self, manifest: Manifest, world: &World) -> Subject {
        let found = pod_pointer(&manifest, &self.templates)
            .and_then(|pointer| Some((pointer.to_owned(), pod_of(&manifest, pointer)?)));
        let decided = found.map(|(pointer, pod)| {
            let name = manifest.namespace().or(self.namespace.as_deref()).unwrap_or(&world.default_namespace);
            let namespace = world.namespaces.get(name).cloned().unwrap_or_else(|| self.unknown(name));
            let settings = Settings { cluster: self.cluster_values.clone(), ..Settings::default() };
            let decision = inject(&Json::from(&pod), &namespace, &world.profiles, &settings);
            Decided { namespace: namespace.name, pointer, pod, decision }
        });
        Subject { manifest, decided }
    }

    fn unknown(&self, name: &str) -> Namespace {
        let mut namespace = Namespace { name: name.to_owned(), ..Namespace::default() };
        if self.enable {
            namespace.labels.insert(keys::INJECT.to_owned(), keys::ENABLED.to_owned());
        }
        namespace
    }

    /// Takes profiles and namespaces from the cluster, and says so.
    fn look(&self) -> anyhow::Result<World> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.look_at_cluster()).context(
            "cannot read profiles and namespaces from the cluster; give them with --profiles PATH, or do without by --offline",
        )
    }

    async fn look_at_cluster(&self) -> anyhow::Result<World> {
        // A second command of one process would find it installed, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file)?,
            None => Kubeconfig::read()?,
        };
        let context = self.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let default_namespace = config.default_namespace.clone();
        let client = Client::try_from(config)?;
        let mut world = World { default_namespace, ..World::default() };
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        for found in namespaces.list_metadata(&kube::api::ListParams::default()).await?.items {
            world.add_namespace(&found.metadata);
        }
        for (scope, resource) in profile_resources() {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list(&kube::api::ListParams::default()).await?.items {
                world.add_profile(&object, scope, None);
            }
        }
        super::say(format_args!("using the profiles and namespaces of context {context:?}"));
        Ok(world)
    }
}

/// The profiles and namespaces that hold.
struct World {
    profiles: ProfileSet,
    namespaces: HashMap<String, Namespace>,
    default_namespace: String,
}

impl Default for World {
    fn default() -> Self {
        let default_namespace = "default".to_owned();
        Self { profiles: ProfileSet::default(), namespaces: HashMap::new(), default_namespace }
    }
}

impl World {
    /// Takes the object in if it is a profile or a namespace.
    fn take(&mut self, object: &Value, namespace: Option<&str>) -> anyhow::Result<()> {
        let group = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().split('/').next();
        match (group, object.get("kind").and_then(Value::as_str)) {
            (Some("v1"), Some("Namespace")) => {
                let metadata = object.get("metadata").cloned().unwrap_or_default();
                let metadata: ObjectMeta =
                    serde_json::from_value(metadata).context("the Namespace's metadata")?;
                self.add_namespace(&metadata);
            }
            (Some(keys::GROUP), Some("ClusterSidecarProfile")) => {
                self.add_profile(&read(object)?, Scope::Cluster, namespace);
            }
            (Some(keys::GROUP), Some("SidecarProfile")) => {
                self.add_profile(&read(object)?, Scope::Namespace, namespace);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_namespace(&mut self, metadata: &ObjectMeta) {
        let namespace = namespace_of(metadata);
        self.namespaces.insert(namespace.name.clone(), namespace);
    }

    fn add_profile(&mut self, object: &DynamicObject, scope: Scope, namespace: Option<&str>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let own = object.metadata.namespace.as_deref().or(namespace).unwrap_or(&self.default_namespace);
        let owner = (scope == Scope::Namespace).then(|| own.to_owned());
        let (entry, findings) = entry_of(object, scope);
        for finding in findings {
            super::say(format_args!("profile {name:?}: {finding}"));
        }
        self.profiles.insert(owner.as_deref(), &name, entry);
    }
}

fn read(object: &Value) -> anyhow::Result<DynamicObject> {
    serde_json::from_value(object.clone()).context("the profile cannot be read")
}
