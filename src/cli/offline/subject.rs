//! The engine run over the pod of one object.

use anyhow::Context as _;
use serde_json::Value;

use crate::api::Scope;
use crate::cli::autoscaling::{self, HpaWithoutRequest};
use crate::cli::cluster_client::ClusterClient;
use crate::cli::in_force::InForce;
use crate::cli::inputs::Inputs;
use crate::cli::manifests::Manifest;
use crate::engine::{Decision, Namespace, Settings, admit, inject};
use crate::json::Json;
use crate::workload::{
    MisplacedKey, Submitted, another, carry, foreseen, may_be_generated, misplaced, settled, submitted,
};

/// The command that requests the decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `inject`: the injected object.
    Inject,
    /// `explain`: every step of the decision.
    Explain {
        /// True if a dry run is requested.
        dry_run: bool,
    },
}

impl Mode {
    pub(super) fn asks_server(self) -> bool {
        self == Self::Explain { dry_run: true }
    }
}

/// An object with the decision about its pod.
pub(crate) struct Subject {
    pub(crate) manifest: Manifest,
    /// Decision; `None` for an object without a pod.
    pub(crate) decided: Option<Decided>,
}

pub(crate) struct Decided {
    pub(crate) namespace: String,
    /// JSON pointer to the pod in the object.
    pub(crate) pointer: String,
    /// Pod that the API server would send to the webhook.
    pub(crate) submitted: Submitted,
    /// Submitted pod with the decision's patch.
    pub(crate) after: Value,
    /// The pod, or pod template, of the manifest with the injection.
    pub(crate) injected: Value,
    /// Injected template for a pod with other generated values, if it may differ; only for `inject`.
    pub(crate) another: Option<Value>,
    pub(crate) decision: Decision,
    /// Autoscalers that fail with the injection; the engine sees only the pod and cannot know them.
    pub(crate) autoscaling: Vec<HpaWithoutRequest>,
    /// Outrigger's keys on the workload itself.
    pub(crate) misplaced: Vec<MisplacedKey>,
    /// Times since which the decision applies, each with its cause.
    pub(crate) since: Vec<(String, String)>,
    /// The settings of the cluster's webhooks; `None` without a cluster.
    pub(crate) in_force: Option<InForce>,
    /// Refusals by the rules of the namespace, each with its code.
    pub(crate) refusals: Vec<(&'static str, String)>,
    /// Answer to a dry run; `None` if there was none.
    pub(crate) asked: Option<Asked>,
}

/// The API server's answer to a dry run.
pub(crate) enum Asked {
    Admitted {
        /// Pod that the API server would store.
        pod: Value,
        /// Pod that it would store according to the decision.
        foreseen: Value,
    },
    /// The message of a rejection.
    Refused(String),
}

/// Sends a pod to the API server in a dry run.
pub(super) fn asked(live: &ClusterClient, decided: &Decided, inputs: &Inputs) -> Asked {
    match live.dry_run(&decided.namespace, &decided.submitted.created) {
        Ok(pod) => {
            let foreseen = settled(&decided.after, &decided.namespace, &inputs.facts);
            Asked::Admitted { pod, foreseen }
        }
        Err(error) => Asked::Refused(format!("{error:#}")),
    }
}

impl Decided {
    /// Returns warnings for the author of the object, each with its code.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let decision = self.decision.warnings().map(|reason| (reason.code(), reason.to_string()));
        let off = self.in_force.as_ref().and_then(|found| Some((found.warning?, found.state.clone())));
        let misplaced = self.misplaced.iter().map(|found| (MisplacedKey::CODE, found.to_string()));
        let autoscaling = self.autoscaling.iter().map(|found| (HpaWithoutRequest::CODE, found.to_string()));
        let decision = off.into_iter().chain(decision).chain(self.refusals.iter().cloned());
        decision.chain(misplaced).chain(autoscaling)
    }
}

/// The pod of an object, and the inputs of the decision about it.
pub(super) struct Question<'a> {
    pub(super) manifest: &'a Manifest,
    /// JSON pointer to the pod in the object.
    pub(super) pointer: String,
    pub(super) namespace: Namespace,
    pub(super) settings: Settings,
    pub(super) inputs: &'a Inputs,
    /// True if the selection or rendering of some profile may depend on the pod.
    pub(super) reads_pod: bool,
    pub(super) mode: Mode,
}

impl Question<'_> {
    /// Decides about the pod; returns `None` if the object has none.
    ///
    /// # Errors
    /// The patch does not apply.
    pub(super) fn decide<'a>(
        self,
        autoscalers: impl Iterator<Item = &'a Manifest>,
    ) -> anyhow::Result<Option<Decided>> {
        let Self { manifest, inputs, .. } = self;
        let (object, facts) = (&manifest.object, &inputs.facts);
        let Some(submitted) = submitted(object, &self.pointer, &self.namespace.name, facts) else {
            return Ok(None);
        };
        let decision = self.decision(&submitted.pod);
        let (after, injected) = self.injected(&submitted.pod, &decision)?;
        let another = self.another(&submitted, &decision)?;
        let autoscaling = autoscalers
            .flat_map(|autoscaler| autoscaling::check(autoscaler, manifest, &decision.profiles, &after))
            .collect();
        let refusals = foreseen(&after, &decision.profiles, &self.namespace, facts);
        let since = since(inputs, &self.namespace.name, &decision);
        Ok(Some(Decided {
            misplaced: misplaced(object, &self.pointer),
            namespace: self.namespace.name,
            pointer: self.pointer,
            submitted,
            after,
            injected,
            another,
            decision,
            autoscaling,
            since,
            in_force: inputs.in_force.clone(),
            refusals,
            asked: None,
        }))
    }

    fn decision(&self, pod: &Value) -> Decision {
        let decide = if self.mode == Mode::Inject { admit } else { inject };
        decide(&Json::from(pod), &self.namespace, &self.inputs.profiles, &self.settings)
    }

    /// Returns the pod with the patch of a decision, and the object's template with the same injection.
    fn injected(&self, pod: &Value, decision: &Decision) -> anyhow::Result<(Value, Value)> {
        let written = self.manifest.object.pointer(&self.pointer).unwrap_or(&Value::Null);
        if decision.patch.is_empty() {
            return Ok((pod.clone(), written.clone()));
        }
        let mut after = pod.clone();
        json_patch::patch(&mut after, &decision.patch.operations()).context("the patch does not apply")?;
        let injected = carry(written, pod, &after);
        Ok((after, injected))
    }

    /// Returns the injected template for another pod of the object, if it may differ from that of the first pod.
    fn another(&self, first: &Submitted, decided: &Decision) -> anyhow::Result<Option<Value>> {
        // Without an expression that reads the pod, a generated value can only have been copied.
        let may_differ = || self.reads_pod || may_be_generated(&decided.patch.to_string());
        if self.mode != Mode::Inject || first.placeholders.is_empty() || !may_differ() {
            return Ok(None);
        }
        let (object, facts) = (&self.manifest.object, &self.inputs.facts);
        let Some(another) = another(object, &self.pointer, &self.namespace.name, facts) else {
            return Ok(None);
        };
        let decision = self.decision(&another.pod);
        if decision.patch == decided.patch {
            return Ok(None);
        }
        Ok(Some(self.injected(&another.pod, &decision)?.1))
    }
}

/// Returns the known times at which the namespace was enabled and the decision's profiles were created.
fn since(inputs: &Inputs, namespace: &str, decision: &Decision) -> Vec<(String, String)> {
    let enabled = inputs.enabled_since.get(namespace);
    let enabled = enabled.map(|since| (format!("namespace {namespace:?} was enabled"), since.clone()));
    let profiles = decision.profiles.iter().filter_map(|profile| {
        let owner = (profile.scope == Scope::Namespace).then(|| namespace.to_owned());
        let since = inputs.profiles_since.get(&(owner, profile.name.clone()))?;
        Some((format!("profile {:?} was created", profile.name), since.clone()))
    });
    enabled.into_iter().chain(profiles).collect()
}
