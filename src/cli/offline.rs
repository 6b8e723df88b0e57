//! The inputs of `inject` and `explain`, and the engine run over each of their pods.

mod subject;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

pub(super) use self::subject::{Asked, Decided, Mode, Subject};
use self::subject::{Question, asked};
use super::autoscaling;
use super::cluster_client::{ClusterClient, ObjectName};
use super::cluster_values::parse_cluster_values;
use super::inputs::Inputs;
use super::manifests::{Manifest, Manifests};
use super::messages::print_message;
use super::workload::{TemplatePath, pod_pointer};
use crate::api::keys;
use crate::engine::{Namespace, Settings};
use crate::string_map::StringMap;

/// The profiles and namespaces that apply to manifests, and how manifests are read.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// Profiles and Namespaces: files or folders (default: those of the current context)
    #[arg(long, value_name = "PATH", num_args = 1..)]
    profiles: Vec<PathBuf>,
    /// Treat namespaces that are not given as enabled
    #[arg(long)]
    enable: bool,
    /// Namespace of objects without one
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
    /// Use only the given files and no cluster
    #[arg(long)]
    offline: bool,
    /// Context of the kubeconfig (default: the current one)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig (default: $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Name of the release's webhook configurations in the cluster
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    configuration: String,
    /// Value of `cluster` in expressions, an object in JSON or YAML (default: the release's clusterValues)
    #[arg(long, value_name = "OBJECT", value_parser = parse_cluster_values)]
    cluster_values: Option<Value>,
    /// Place of the pod template in a custom kind, such as Rollout=/spec/template; may be repeated
    #[arg(long = "template", value_name = "KIND=POINTER")]
    templates: Vec<TemplatePath>,
}

/// The result of the first pass over the manifests: the objects that affect their pods.
#[derive(Default)]
struct Read {
    /// Namespaces of pods; `None` for objects without a namespace.
    namespaces: BTreeSet<Option<String>>,
    /// Profiles, namespaces, and the objects that admission plugins read.
    relevant: Vec<Manifest>,
    autoscalers: Vec<Manifest>,
}

impl Read {
    fn of(manifests: &Manifests, templates: &[TemplatePath]) -> anyhow::Result<Self> {
        let mut read = Self::default();
        for manifest in manifests.objects() {
            let manifest = manifest?;
            read.add(std::slice::from_ref(&manifest), templates);
            if Inputs::reads(&manifest.object) {
                read.relevant.push(manifest);
            } else if autoscaling::is_autoscaler(&manifest) {
                read.autoscalers.push(manifest);
            }
        }
        Ok(read)
    }

    /// Records the namespaces of objects with pods.
    fn add(&mut self, manifests: &[Manifest], templates: &[TemplatePath]) {
        let with_pods = manifests.iter().filter(|manifest| pod_pointer(manifest, templates).is_some());
        self.namespaces.extend(with_pods.map(|manifest| manifest.namespace().map(str::to_owned)));
    }
}

impl InputArgs {
    /// Decides about each pod, first those of the manifests in order, then those of the live objects, and passes on one object
    /// at a time.
    ///
    /// Profiles and namespaces may follow the pods that they apply to, so the manifests are read twice.
    ///
    /// # Errors
    /// A text is invalid (before any object is passed on), or a cluster does not answer.
    pub(super) fn decide(
        &self,
        filename: &[PathBuf],
        objects: &[ObjectName],
        mode: Mode,
        each: &mut dyn FnMut(Subject) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let manifests = Manifests::open(filename)?;
        let given: Vec<Manifest> = Manifests::open(&self.profiles)?.objects().collect::<Result<_, _>>()?;
        let mut read = Read::of(&manifests, &self.templates)?;
        let live = self.connect(objects, mode.asks_server())?;
        let mut inputs = Inputs::default();
        let mut named = Vec::new();
        if let Some(live) = &live {
            named = self.look(live, &mut inputs, &mut read, &given, objects)?;
        }
        for manifest in given.iter().chain(&read.relevant) {
            inputs
                .take(&manifest.object, self.namespace.as_deref())
                .with_context(|| manifest.source.to_string())?;
        }
        let reads_pod = inputs.profiles.all().any(|(.., entry)| entry.reads_pod());
        for manifest in manifests.objects().chain(named.into_iter().map(Ok)) {
            let mut subject = self.subject(manifest?, &inputs, &read.autoscalers, (mode, reads_pod))?;
            if let (Some(live), Some(decided), true) = (&live, &mut subject.decided, mode.asks_server()) {
                decided.asked = Some(asked(live, decided, &inputs));
            }
            each(subject)?;
        }
        Ok(())
    }

    /// Connects to the cluster, if one is needed.
    fn connect(&self, objects: &[ObjectName], asks_server: bool) -> anyhow::Result<Option<ClusterClient>> {
        if self.offline || !(self.profiles.is_empty() || !objects.is_empty() || asks_server) {
            return Ok(None);
        }
        let live = ClusterClient::connect(self.context.as_deref(), self.kubeconfig.as_deref());
        live.map(Some).context(if objects.is_empty() {
            "cannot find a cluster; give profiles and namespaces with --profiles PATH, or do without by --offline"
        } else {
            "cannot load the kubeconfig for these objects; read manifests from files with -f"
        })
    }

    /// Reads the live objects, and everything that affects their pods and those of the manifests. Returns the live objects.
    fn look(
        &self,
        live: &ClusterClient,
        inputs: &mut Inputs,
        read: &mut Read,
        given: &[Manifest],
        objects: &[ObjectName],
    ) -> anyhow::Result<Vec<Manifest>> {
        live.default_namespace().clone_into(&mut inputs.default_namespace);
        let default = self.namespace.clone().unwrap_or_else(|| inputs.default_namespace.clone());
        if self.profiles.is_empty() {
            // An error of this call shows best whether this is the right cluster.
            live.add_profiles(inputs, std::iter::empty())?;
        }
        let found: Vec<Manifest> =
            objects.iter().map(|object| live.get(object, &default)).collect::<Result<_, _>>()?;
        read.add(&found, &self.templates);
        let of_pods = read.namespaces.iter().map(|name| name.as_ref().unwrap_or(&default).clone());
        let namespaces: BTreeSet<String> = of_pods.collect();
        let is_given = |name: &&str| {
            let mut all = given.iter().chain(&read.relevant);
            all.any(|manifest| manifest.kind() == "Namespace" && manifest.name() == *name)
        };
        let each = || namespaces.iter().map(String::as_str);
        live.add_namespaces(inputs, each().filter(|name| !is_given(name)))?;
        if self.profiles.is_empty() && !namespaces.is_empty() {
            live.add_profiles(inputs, each())?;
        }
        for namespace in &namespaces {
            live.add_facts(&mut inputs.facts, namespace);
        }
        inputs.in_force = Some(live.in_force(&self.configuration));
        let what = if self.profiles.is_empty() { "profiles and namespaces" } else { "namespaces" };
        print_message(format_args!("using the {what} of context {:?}", live.context()));
        if !objects.is_empty() {
            read.autoscalers.extend(live.autoscalers(&default));
        }
        Ok(found)
    }

    fn namespace_of(&self, manifest: &Manifest, inputs: &Inputs) -> String {
        let name = manifest.namespace().or(self.namespace.as_deref());
        name.unwrap_or(&inputs.default_namespace).to_owned()
    }

    fn settings(&self, inputs: &Inputs) -> Settings {
        let in_force = inputs.in_force.as_ref();
        let cluster = self.cluster_values.clone().or_else(|| in_force?.cluster_values.clone());
        let excluded_namespaces = in_force.map(|found| found.excluded_namespaces.clone()).unwrap_or_default();
        let defaults = Settings::default();
        Settings { excluded_namespaces, cluster: cluster.unwrap_or(defaults.cluster) }
    }

    fn subject(
        &self,
        manifest: Manifest,
        inputs: &Inputs,
        autoscalers: &[Manifest],
        (mode, reads_pod): (Mode, bool),
    ) -> anyhow::Result<Subject> {
        let Some(pointer) = pod_pointer(&manifest, &self.templates).map(str::to_owned) else {
            return Ok(Subject { manifest, decided: None });
        };
        let name = self.namespace_of(&manifest, inputs);
        let namespace = inputs.namespaces.get(&name).cloned().unwrap_or_else(|| self.unknown(&name));
        let settings = self.settings(inputs);
        let of_namespace =
            autoscalers.iter().filter(|autoscaler| self.namespace_of(autoscaler, inputs) == name);
        let question =
            Question { manifest: &manifest, pointer, namespace, settings, inputs, reads_pod, mode };
        let decided = question.decide(of_namespace)?;
        Ok(Subject { manifest, decided })
    }

    fn unknown(&self, name: &str) -> Namespace {
        let mut namespace = Namespace { name: name.to_owned(), ..Namespace::default() };
        if self.enable {
            namespace.labels = StringMap::from([(keys::INJECT, keys::ENABLED)]);
        }
        namespace
    }
}
