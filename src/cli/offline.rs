//! What `inject` and `explain` share: their inputs, and the engine run over each of the pods in them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::autoscaling::{self, HpaWithoutRequest};
use super::live::{Live, ObjectName};
use super::manifests::{Manifest, Manifests};
use super::workload::{TemplatePath, pod_pointer};
use super::world::World;
use crate::api::keys;
use crate::engine::{Decision, Namespace, Settings, inject};
use crate::json::Json;
use crate::texts::Texts;
use crate::workload::{MisplacedKey, Submitted, another, carry, misplaced, submitted};

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
    /// The pod as the API server would send it to the webhook.
    pub(super) submitted: Submitted,
    /// The same with the decision's patch.
    pub(super) after: Value,
    /// The pod, or pod template, of the manifest with the injection.
    pub(super) injected: Value,
    /// The same for a pod with other generated values; `None` for a pod without any.
    pub(super) another: Option<Value>,
    pub(super) decision: Decision,
    /// What the engine cannot know, since it sees nothing but the pod.
    pub(super) autoscaling: Vec<HpaWithoutRequest>,
    /// Keys of ours on the workload itself.
    pub(super) misplaced: Vec<MisplacedKey>,
}

/// The objects of a cluster that the command line names.
#[derive(Default)]
struct LiveObjects {
    objects: Vec<Manifest>,
    /// The autoscalers of their namespace.
    autoscalers: Vec<Manifest>,
}

impl LiveObjects {
    /// # Errors
    /// The API server does not give one of the objects.
    fn get(live: &Live, objects: &[ObjectName], namespace: &str) -> anyhow::Result<Self> {
        let found = objects.iter().map(|object| live.get(object, namespace)).collect::<Result<_, _>>()?;
        let autoscalers = if objects.is_empty() { Vec::new() } else { live.autoscalers(namespace) };
        Ok(Self { objects: found, autoscalers })
    }
}

impl Decided {
    /// Warnings for the person who wrote the object, each with its code.
    pub(super) fn warnings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let decision = self.decision.warnings().map(|reason| (reason.code(), reason.to_string()));
        let misplaced = self.misplaced.iter().map(|found| (MisplacedKey::CODE, found.to_string()));
        let autoscaling = self.autoscaling.iter().map(|found| (HpaWithoutRequest::CODE, found.to_string()));
        decision.chain(misplaced).chain(autoscaling)
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
        let live = self.connect(objects)?;
        let mut world = match &live {
            Some(live) => live.world(self.profiles.is_empty())?,
            None => World::default(),
        };
        let mut named = LiveObjects::default();
        if let Some(live) = &live {
            let namespace = self.namespace.as_deref().unwrap_or(&world.default_namespace);
            named = LiveObjects::get(live, objects, namespace)?;
        }
        let mut autoscalers = named.autoscalers;
        let mut namespaces = BTreeSet::new();
        let mut note = |manifest: &Manifest, world: &World| {
            if pod_pointer(manifest, &self.templates).is_some() {
                namespaces.insert(self.namespace_of(manifest, world));
            }
        };
        named.objects.iter().for_each(|manifest| note(manifest, &world));
        for manifest in Manifests::open(&self.profiles)?.objects() {
            self.take(&mut world, &manifest?)?;
        }
        for manifest in manifests.objects() {
            let manifest = manifest?;
            self.take(&mut world, &manifest)?;
            note(&manifest, &world);
            if autoscaling::is_autoscaler(&manifest) {
                autoscalers.push(manifest);
            }
        }
        if let Some(live) = &live {
            namespaces.iter().for_each(|namespace| live.add_facts(&mut world.facts, namespace));
        }
        for manifest in manifests.objects().chain(named.objects.into_iter().map(Ok)) {
            each(self.subject(manifest?, &world, &autoscalers)?)?;
        }
        Ok(())
    }

    /// Connects to the cluster, where one is needed.
    fn connect(&self, objects: &[ObjectName]) -> anyhow::Result<Option<Live>> {
        if self.offline || !self.profiles.is_empty() && objects.is_empty() {
            return Ok(None);
        }
        let live = Live::connect(self.context.as_deref(), self.kubeconfig.as_deref());
        live.map(Some).context(if objects.is_empty() {
            "cannot find a cluster; give profiles and namespaces with --profiles PATH, or do without by --offline"
        } else {
            "cannot find the cluster of these objects; manifests from files go with -f"
        })
    }

    fn namespace_of(&self, manifest: &Manifest, world: &World) -> String {
        let name = manifest.namespace().or(self.namespace.as_deref());
        name.unwrap_or(&world.default_namespace).to_owned()
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
        let Some(pointer) = pod_pointer(&manifest, &self.templates).map(str::to_owned) else {
            return Ok(Subject { manifest, decided: None });
        };
        let name = self.namespace_of(&manifest, world);
        let namespace = world.namespaces.get(&name).cloned().unwrap_or_else(|| self.unknown(&name));
        let settings = Settings { cluster: self.cluster_values.clone(), ..Settings::default() };
        let object = &manifest.object;
        let Some(submitted) = submitted(object, &pointer, &name, &world.facts) else {
            return Ok(Subject { manifest, decided: None });
        };
        let written = object.pointer(&pointer).unwrap_or(&Value::Null);
        let decide = |pod: &Value| {
            let mut after = pod.clone();
            let decision = inject(&Json::from(pod), &namespace, &world.profiles, &settings);
            json_patch::patch(&mut after, &decision.patch.operations())
                .context("the patch does not apply")?;
            let injected = carry(written, pod, &after);
            anyhow::Ok((after, injected, decision))
        };
        let (after, injected, decision) = decide(&submitted.pod)?;
        let another = match another(object, &pointer, &name, &world.facts) {
            Some(another) if !submitted.placeholders.is_empty() => Some(decide(&another.pod)?.1),
            _ => None,
        };
        let autoscaling = autoscalers
            .iter()
            .filter(|autoscaler| self.namespace_of(autoscaler, world) == name)
            .flat_map(|autoscaler| autoscaling::check(autoscaler, &manifest, &decision.profiles, &after))
            .collect();
        let namespace = namespace.name;
        let misplaced = misplaced(object, &pointer);
        let decided = Decided {
            namespace,
            pointer,
            submitted,
            after,
            injected,
            another,
            decision,
            autoscaling,
            misplaced,
        };
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
