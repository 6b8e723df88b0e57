//! What `inject` and `explain` share: their inputs, and the engine run over each of the pods in them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::autoscaling::{self, HpaWithoutRequest};
use super::live::{Live, ObjectName};
use super::manifests::{Manifest, Manifests};
use super::workload::{TemplatePath, as_written, pod_pointer};
use super::world::World;
use crate::api::keys;
use crate::engine::{Decision, Namespace, Settings, inject};
use crate::json::Json;
use crate::texts::Texts;
use crate::workload::{as_seen, pod_of};

/// The profiles and namespaces that hold for manifests, and how the manifests are read.
#[derive(Debug, Args)]
pub(super) struct Inputs {
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
    /// The pod with the decision's patch.
    pub(super) after: Value,
    pub(super) decision: Decision,
    /// What the engine cannot know, since it sees nothing but the pod.
    pub(super) autoscaling: Vec<HpaWithoutRequest>,
}

/// The objects of a cluster that the command line names.
#[derive(Default)]
struct LiveObjects {
    objects: Vec<Manifest>,
    /// The autoscalers of their namespace.
    autoscalers: Vec<Manifest>,
}

impl Decided {
    /// What the person should hear, each with its code.
    pub(super) fn warnings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let decision = self.decision.warnings().map(|reason| (reason.code(), reason.to_string()));
        decision.chain(self.autoscaling.iter().map(|found| (HpaWithoutRequest::CODE, found.to_string())))
    }
}

impl Inputs {
    /// Decides about each pod, the manifests in their order, then the live objects, and hands over one object at a time.
    ///
    /// Profiles and namespaces may follow the pods for which they hold, so the manifests are read twice.
    ///
    /// # Errors
    /// A text that cannot be read (before anything is handed over), or a cluster that does not answer.
    pub(super) fn decide(
        &self,
        filename: &[PathBuf],
        objects: &[ObjectName],
        each: &mut dyn FnMut(Subject) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let manifests = Manifests::open(filename)?;
        let (mut world, live) = self.cluster(objects)?;
        let mut autoscalers = live.autoscalers;
        for manifest in Manifests::open(&self.profiles)?.objects() {
            self.take(&mut world, &manifest?)?;
        }
        for manifest in manifests.objects() {
            let manifest = manifest?;
            self.take(&mut world, &manifest)?;
            if autoscaling::is_autoscaler(&manifest) {
                autoscalers.push(manifest);
            }
        }
        for manifest in manifests.objects().chain(live.objects.into_iter().map(Ok)) {
            each(self.subject(manifest?, &world, &autoscalers)?)?;
        }
        Ok(())
    }

    /// Reads profiles, namespaces and the given objects from the cluster, where one is needed.
    fn cluster(&self, objects: &[ObjectName]) -> anyhow::Result<(World, LiveObjects)> {
        if self.offline || !self.profiles.is_empty() && objects.is_empty() {
            return Ok((World::default(), LiveObjects::default()));
        }
        let live = Live::connect(self.context.as_deref(), self.kubeconfig.as_deref());
        let live = live.context(if objects.is_empty() {
            "cannot find a cluster; give profiles and namespaces with --profiles PATH, or do without by --offline"
        } else {
            "cannot find the cluster of these objects; manifests from files go with -f"
        })?;
        let world = live.world(self.profiles.is_empty())?;
        let mut found = LiveObjects::default();
        let namespace = self.namespace.as_deref().unwrap_or(&world.default_namespace);
        for object in objects {
            found.objects.push(live.get(object, namespace)?);
        }
        if !objects.is_empty() {
            found.autoscalers = live.autoscalers(namespace);
        }
        Ok((world, found))
    }

    fn take(&self, world: &mut World, manifest: &Manifest) -> anyhow::Result<()> {
        world.take(&manifest.object, self.namespace.as_deref()).with_context(|| manifest.source.to_string())
    }

    fn subject(
        &self,
        manifest: Manifest,
        world: &World,
        autoscalers: &[Manifest],
    ) -> anyhow::Result<Subject> {
        let found = pod_pointer(&manifest, &self.templates)
            .and_then(|pointer| Some((pointer.to_owned(), pod_of(&manifest.object, pointer)?)));
        let Some((pointer, pod)) = found else { return Ok(Subject { manifest, decided: None }) };
        let in_namespace = |manifest: &Manifest| {
            let name = manifest.namespace().or(self.namespace.as_deref());
            name.unwrap_or(&world.default_namespace).to_owned()
        };
        let name = in_namespace(&manifest);
        let namespace = world.namespaces.get(&name).cloned().unwrap_or_else(|| self.unknown(&name));
        let settings = Settings { cluster: self.cluster_values.clone(), ..Settings::default() };
        let owner = (!pointer.is_empty()).then(|| manifest.name());
        let mut after = as_seen(&pod, owner, &name);
        let decision = inject(&Json::from(&after), &namespace, &world.profiles, &settings);
        json_patch::patch(&mut after, &decision.patch.operations()).context("the patch does not apply")?;
        let after = as_written(after, &pod);
        let autoscaling = autoscalers
            .iter()
            .filter(|autoscaler| in_namespace(autoscaler) == name)
            .flat_map(|autoscaler| autoscaling::check(autoscaler, &manifest, &decision.profiles, &after))
            .collect();
        let decided = Decided { namespace: namespace.name, pointer, after, decision, autoscaling };
        Ok(Subject { manifest, decided: Some(decided) })
    }

    fn unknown(&self, name: &str) -> Namespace {
        let mut namespace = Namespace { name: name.to_owned(), ..Namespace::default() };
        if self.enable {
            namespace.labels = Texts::from([(keys::INJECT, keys::ENABLED)]);
        }
        namespace
    }
}
