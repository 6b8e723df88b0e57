//! `disarm` and `rearm`: the webhooks out of the way, and back, with nothing but the API server.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::live::Live;
use crate::api::keys::DISARMED as CONDITION;
use crate::controller::{TAKEN_UP, mandatory_name};

/// How often a change that met another one is tried again.
const TRIES: usize = 5;

/// Arguments of `outrigger disarm` and `outrigger rearm`.
#[derive(Debug, Args)]
pub(super) struct Disarm {
    /// Name of the webhook configurations, the chart's value webhook.configurationName; those of Mandatory profiles have
    /// "-mandatory" after it.
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    configuration: String,
    /// Context of the kubeconfig to use, instead of the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig to use, instead of that of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Out of the way.
    Off,
    /// Back.
    On,
}

impl Disarm {
    pub(super) fn run(self, turn: Turn) -> anyhow::Result<()> {
        let live = Live::connect(self.context.as_deref(), self.kubeconfig.as_deref())?;
        let mut found = 0;
        let names = [self.configuration.clone(), mandatory_name(&self.configuration)];
        let mut changes = 0;
        let mutating =
            ("MutatingWebhookConfiguration", ApiResource::erase::<MutatingWebhookConfiguration>(&()));
        let validating =
            ("ValidatingWebhookConfiguration", ApiResource::erase::<ValidatingWebhookConfiguration>(&()));
        // What verifies is on only while what injects is on too, or it would refuse pods that nobody injected.
        let kinds = match turn {
            Turn::Off => [validating, mutating],
            Turn::On => [mutating, validating],
        };
        for (kind, resource) in kinds {
            if changes > 0 {
                std::thread::sleep(TAKEN_UP);
            }
            for (index, name) in names.iter().enumerate() {
                let api: Api<DynamicObject> = Api::all_with(live.client(), &resource);
                let done = live.block_on(switch(&api, name, turn));
                match done.with_context(|| format!("{kind} {name:?}"))? {
                    // There need be none, and no Mandatory profile.
                    None | Some(Switched { webhooks: 0, .. }) if index > 0 => {}
                    Some(Switched { changed, .. }) => {
                        found += 1;
                        changes += changed;
                        super::say(format_args!("{kind} {name}: {}", said(turn, changed)));
                    }
                    None => super::say(format_args!("there is no {kind} {name:?}")),
                }
            }
        }
        if found == 0 {
            bail!(
                "context {:?} has no webhook configuration {:?}; `kubectl get mutatingwebhookconfigurations` lists their names, \
                 for --configuration",
                live.context(),
                self.configuration
            );
        }
        super::say(match turn {
            Turn::Off => {
                "Pods made from now on start without sidecars, and nothing adds them later; profiles are not checked. \
                 Only `outrigger rearm` ends this; an upgrade of the release does not."
            }
            Turn::On => {
                "Pods made from now on are injected again. Those made meanwhile in enabled namespaces lack their sidecars until \
                 their controllers make new ones (`kubectl rollout restart`)."
            }
        });
        Ok(())
    }
}

fn said(turn: Turn, changed: usize) -> String {
    match (turn, changed) {
        (Turn::Off, 0) => "was disarmed already".to_owned(),
        (Turn::On, 0) => "was armed already".to_owned(),
        (Turn::Off, 1) => "1 webhook disarmed".to_owned(),
        (Turn::On, 1) => "1 webhook armed".to_owned(),
        (Turn::Off, count) => format!("{count} webhooks disarmed"),
        (Turn::On, count) => format!("{count} webhooks armed"),
    }
}

/// What was done to a configuration.
struct Switched {
    /// How many webhooks it has.
    webhooks: usize,
    /// How many of them were the other way before.
    changed: usize,
}

/// Turns a configuration's webhooks; `None` where there is no such configuration.
async fn switch(api: &Api<DynamicObject>, name: &str, turn: Turn) -> anyhow::Result<Option<Switched>> {
    let written = PostParams { field_manager: Some("outrigger-disarm".to_owned()), ..PostParams::default() };
    let mut tries = 0;
    loop {
        let Some(mut object) = api.get_opt(name).await? else { return Ok(None) };
        let changed = turn_all(&mut object.data, turn);
        let webhooks = object.data.get("webhooks").and_then(Value::as_array).map_or(0, Vec::len);
        let switched = Switched { webhooks, changed };
        if changed == 0 {
            return Ok(Some(switched));
        }
        tries += 1;
        match api.replace(name, &written, &object).await {
            Ok(_) => return Ok(Some(switched)),
            // The server puts its authority into the same object.
            Err(kube::Error::Api(answer)) if answer.code == 409 && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Turns every webhook of a configuration; says how many were the other way.
fn turn_all(configuration: &mut Value, turn: Turn) -> usize {
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    webhooks
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .filter_map(|webhook| {
            let conditions = webhook.entry("matchConditions").or_insert_with(|| json!([])).as_array_mut()?;
            let before = conditions.len();
            conditions.retain(|condition| condition.get("name").and_then(Value::as_str) != Some(CONDITION));
            let was_off = conditions.len() != before;
            if turn == Turn::Off {
                conditions.push(json!({ "name": CONDITION, "expression": "false" }));
            }
            (was_off != (turn == Turn::Off)).then_some(())
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_is_disarmed_and_armed_again_calls_for_the_same_objects() {
        let own = json!([{ "name": "not-a-mirror-pod", "expression": "true" }]);
        let armed = json!({ "webhooks": [{ "name": "a" }, { "name": "b", "matchConditions": own }] });
        let mut configuration = armed.clone();
        assert_eq!(turn_all(&mut configuration, Turn::On), 0);
        assert_eq!(turn_all(&mut configuration, Turn::Off), 2);
        let off = json!({ "name": "outrigger.dev/disarmed", "expression": "false" });
        assert_eq!(configuration["webhooks"][0]["matchConditions"], json!([off]));
        assert_eq!(configuration["webhooks"][1]["matchConditions"], json!([own[0], off]));
        assert_eq!(turn_all(&mut configuration, Turn::Off), 0);
        assert_eq!(turn_all(&mut configuration, Turn::On), 2);
        assert_eq!(configuration["webhooks"][0], json!({ "name": "a", "matchConditions": [] }));
        assert_eq!(configuration["webhooks"][1], armed["webhooks"][1]);
    }

    #[test]
    fn a_configuration_without_webhooks_is_left_as_it_is() {
        assert_eq!(turn_all(&mut json!({}), Turn::Off), 0);
        assert_eq!(turn_all(&mut json!({ "webhooks": [] }), Turn::Off), 0);
    }
}
