//! `disarm` and `rearm`: disable and enable the webhooks. They need only the API server.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Api;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::cluster_client::ClusterClient;
use super::in_force::is_disabled;
use super::messages::print_message;
use crate::api::keys::DISARMED as CONDITION;
use crate::controller::{TAKEN_UP, mandatory_name};

/// Maximum number of attempts after conflicts with concurrent changes.
const TRIES: usize = 5;

/// Arguments of `outrigger disarm` and `outrigger rearm`.
#[derive(Debug, Args)]
pub(super) struct Disarm {
    /// Name of the webhook configurations (chart value webhook.configurationName); those of Mandatory profiles have the suffix
    /// "-mandatory"
    #[arg(long, value_name = "NAME", default_value = "outrigger")]
    configuration: String,
    /// Context of the kubeconfig (default: the current one)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig (default: $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// The direction of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Disable the webhooks.
    Off,
    /// Enable the webhooks.
    On,
}

/// A webhook configuration, by kind and name.
struct Named {
    kind: &'static str,
    name: String,
    api: Api<DynamicObject>,
    /// True if it has the release's own webhooks, and not those of Mandatory profiles.
    is_own: bool,
}

impl Disarm {
    pub(super) fn run(self, turn: Direction) -> anyhow::Result<()> {
        let live = ClusterClient::connect(self.context.as_deref(), self.kubeconfig.as_deref())?;
        let kinds = self.configurations(&live, turn);
        let (mut found, mut changes) = (0, 0);
        for configurations in &kinds {
            if changes > 0 {
                std::thread::sleep(TAKEN_UP);
            }
            for Named { kind, name, api, is_own } in configurations {
                let done = live.block_on(switch(api, name, turn));
                match done.with_context(|| format!("{kind} {name:?}"))? {
                    // There may be no Mandatory profile.
                    Some(Switched { webhooks: 0, .. }) if !is_own => {}
                    Some(Switched { changed, .. }) => {
                        found += 1;
                        changes += changed;
                        print_message(format_args!("{kind} {name}: {}", said(turn, changed)));
                    }
                    None => print_message(format_args!("there is no {kind} {name:?}")),
                }
            }
        }
        if found == 0 {
            bail!(
                "context {:?} has no webhook configuration {:?}; `kubectl get mutatingwebhookconfigurations` lists their names, \
                 for --configuration{}",
                live.context(),
                self.configuration,
                if turn == Direction::On {
                    ". Where they were deleted, run `helm upgrade` with the chart and values in use"
                } else {
                    ""
                }
            );
        }
        // The message reports what API servers do, so the configurations are read again after the API servers have had time to
        // load them.
        if changes > 0 {
            std::thread::sleep(TAKEN_UP);
        }
        self.read_back(&live, &kinds, turn)?;
        print_message(match turn {
            Direction::Off => {
                "Pods made from now on start without sidecars, and nothing adds them later; profiles are not checked. \
                 Only `outrigger rearm` ends this; an upgrade of the release does not."
            }
            Direction::On => {
                "Pods made from now on are injected again. Those made meanwhile in enabled namespaces lack their sidecars until \
                 their controllers make new ones (`kubectl rollout restart`)."
            }
        });
        Ok(())
    }

    /// Returns the configurations of each kind, in the order in which they are changed.
    fn configurations(&self, live: &ClusterClient, turn: Direction) -> [Vec<Named>; 2] {
        let of = |kind, resource: &ApiResource| {
            let names = [(self.configuration.clone(), true), (mandatory_name(&self.configuration), false)];
            let all = names.into_iter().map(|(name, is_own)| {
                let api = Api::all_with(live.client(), resource);
                Named { kind, name, api, is_own }
            });
            all.collect()
        };
        let mutating =
            of("MutatingWebhookConfiguration", &ApiResource::erase::<MutatingWebhookConfiguration>(&()));
        let validating =
            of("ValidatingWebhookConfiguration", &ApiResource::erase::<ValidatingWebhookConfiguration>(&()));
        // The verifying webhooks are enabled only while the injecting ones are: otherwise, they would reject pods without
        // injection.
        match turn {
            Direction::Off => [validating, mutating],
            Direction::On => [mutating, validating],
        }
    }

    /// Reads all configurations again to verify the change.
    ///
    /// # Errors
    /// One of them is not in the expected state.
    fn read_back(
        &self,
        live: &ClusterClient,
        kinds: &[Vec<Named>; 2],
        turn: Direction,
    ) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        for Named { kind, name, api, is_own } in kinds.iter().flatten() {
            let found = live.block_on(api.get_opt(name));
            let found =
                found.with_context(|| format!("{kind} {name:?} was written and cannot be read back"))?;
            let found = found.map(|object| object.data);
            problems
                .extend(problem(found.as_ref(), turn, *is_own).map(|why| format!("{kind} {name:?} {why}")));
        }
        if turn == Direction::Off {
            problems.extend(others(live, kinds));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let (failed, what) = match turn {
            Direction::Off => (
                "the webhooks are not all disarmed",
                "run `outrigger disarm` again, for another configuration with --configuration",
            ),
            Direction::On => (
                "the webhooks are not all in force, so pods may start without sidecars or be refused",
                "run `helm upgrade` with the chart and values in use, then `outrigger rearm` again",
            ),
        };
        bail!(
            "{failed} (context {:?}, configuration {:?}): {}; {what}",
            live.context(),
            self.configuration,
            problems.join("; ")
        );
    }
}

/// Returns webhooks of other configurations that still call the same Service; none, with a message, if they cannot be listed.
fn others(live: &ClusterClient, kinds: &[Vec<Named>; 2]) -> Vec<String> {
    let mut problems = Vec::new();
    for configurations in kinds {
        let Some(Named { kind, api, .. }) = configurations.first() else { continue };
        match live.block_on(api.list(&ListParams::default())) {
            Ok(list) => {
                let is_turned = |name: &str| configurations.iter().any(|turned| turned.name == name);
                let all = list
                    .items
                    .iter()
                    .map(|item| (item.metadata.name.as_deref().unwrap_or_default(), &item.data));
                let (turned, others): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_turned(name));
                let own =
                    turned.iter().find_map(|(_, configuration)| webhooks(configuration).find_map(service));
                let calls =
                    |webhook: &Value| !is_disabled(webhook) && own.is_some() && service(webhook) == own;
                let found = others.iter().filter(|(_, configuration)| webhooks(configuration).any(calls));
                problems.extend(found.map(|(name, _)| format!("{kind} {name:?} calls the same Service")));
            }
            Err(error) => print_message(format_args!(
                "cannot list {kind}s, so others that call the same Service are not noticed: {error}"
            )),
        }
    }
    problems
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten()
}

/// Returns the namespace and name of the Service that a webhook calls.
fn service(webhook: &Value) -> Option<(&str, &str)> {
    let service = webhook.get("clientConfig")?.get("service")?;
    Some((service.get("namespace")?.as_str()?, service.get("name")?.as_str()?))
}

/// Returns the problem of a configuration after it was disabled or enabled.
fn problem(configuration: Option<&Value>, turn: Direction, is_own: bool) -> Option<String> {
    let webhooks = configuration.map(|found| found.get("webhooks").and_then(Value::as_array));
    let webhooks = match (webhooks, turn) {
        // A missing configuration calls no webhook.
        (None, Direction::Off) => return None,
        (None, Direction::On) => return Some("does not exist".to_owned()),
        (Some(webhooks), _) => webhooks.map(Vec::as_slice).unwrap_or_default(),
    };
    let name = |webhook: &Value| webhook.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let wrong: Vec<String> = webhooks
        .iter()
        .filter(|webhook| is_disabled(webhook) != (turn == Direction::Off))
        .map(name)
        .collect();
    if !wrong.is_empty() {
        let state = if turn == Direction::Off { "armed" } else { "disarmed" };
        return Some(format!("has webhooks that are {state}: {}", wrong.join(", ")));
    }
    if turn == Direction::Off {
        return None;
    }
    if is_own && webhooks.is_empty() {
        return Some("has no webhooks".to_owned());
    }
    let has_bundle = |webhook: &&Value| {
        let bundle = webhook.get("clientConfig").and_then(|client| client.get("caBundle")?.as_str());
        bundle.is_some_and(|bundle| !bundle.is_empty())
    };
    let untrusted = webhooks.iter().find(|webhook| !has_bundle(webhook))?;
    Some(format!(
        "has no caBundle in webhook {:?}, so calls of it fail until a server has written one; see that servers run",
        name(untrusted)
    ))
}

fn said(turn: Direction, changed: usize) -> String {
    match (turn, changed) {
        (Direction::Off, 0) => "was disarmed already".to_owned(),
        (Direction::On, 0) => "was armed already".to_owned(),
        (Direction::Off, 1) => "1 webhook disarmed".to_owned(),
        (Direction::On, 1) => "1 webhook armed".to_owned(),
        (Direction::Off, count) => format!("{count} webhooks disarmed"),
        (Direction::On, count) => format!("{count} webhooks armed"),
    }
}

/// The result of a change of one configuration.
struct Switched {
    /// Number of webhooks in it.
    webhooks: usize,
    /// Number of webhooks that were changed.
    changed: usize,
}

/// Changes a configuration's webhooks; returns `None` if the configuration does not exist.
async fn switch(api: &Api<DynamicObject>, name: &str, turn: Direction) -> anyhow::Result<Option<Switched>> {
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
            // The server writes its CA into the same object.
            Err(kube::Error::Api(answer)) if answer.code == 409 && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Changes every webhook of a configuration, and returns the number of those that were in the other state.
fn turn_all(configuration: &mut Value, turn: Direction) -> usize {
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
            if turn == Direction::Off {
                conditions.push(json!({ "name": CONDITION, "expression": "false" }));
            }
            (was_off != (turn == Direction::Off)).then_some(())
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rearm_restores_the_match_conditions_of_disarmed_webhooks() {
        let own = json!([{ "name": "not-a-mirror-pod", "expression": "true" }]);
        let armed = json!({ "webhooks": [{ "name": "a" }, { "name": "b", "matchConditions": own }] });
        let mut configuration = armed.clone();
        assert_eq!(turn_all(&mut configuration, Direction::On), 0);
        assert_eq!(turn_all(&mut configuration, Direction::Off), 2);
        let off = json!({ "name": "outrigger.dev/disarmed", "expression": "false" });
        assert_eq!(configuration["webhooks"][0]["matchConditions"], json!([off]));
        assert_eq!(configuration["webhooks"][1]["matchConditions"], json!([own[0], off]));
        assert_eq!(turn_all(&mut configuration, Direction::Off), 0);
        assert_eq!(turn_all(&mut configuration, Direction::On), 2);
        assert_eq!(configuration["webhooks"][0], json!({ "name": "a", "matchConditions": [] }));
        assert_eq!(configuration["webhooks"][1], armed["webhooks"][1]);
    }

    #[test]
    fn problems_of_the_written_configuration_are_reported() {
        let off = json!([{ "name": "outrigger.dev/disarmed", "expression": "false" }]);
        let client = json!({ "caBundle": "QUJD" });
        let armed = json!({ "webhooks": [{ "name": "a", "clientConfig": client }] });
        let disarmed =
            json!({ "webhooks": [{ "name": "a", "clientConfig": client, "matchConditions": off }] });
        for (configuration, turn, is_own, part) in [
            (Some(&armed), Direction::On, true, None),
            (Some(&disarmed), Direction::Off, true, None),
            (None, Direction::Off, true, None),
            (Some(&json!({})), Direction::On, false, None),
            (None, Direction::On, true, Some("does not exist")),
            (None, Direction::On, false, Some("does not exist")),
            (Some(&json!({ "webhooks": [] })), Direction::On, true, Some("has no webhooks")),
            (Some(&disarmed), Direction::On, true, Some("are disarmed: a")),
            (Some(&armed), Direction::Off, true, Some("are armed: a")),
            (
                Some(&json!({ "webhooks": [{ "name": "a" }] })),
                Direction::On,
                true,
                Some("no caBundle in webhook \"a\""),
            ),
        ] {
            let found = problem(configuration, turn, is_own);
            assert_eq!(found.is_some(), part.is_some(), "{configuration:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(part.unwrap_or_default()), "{configuration:?}");
        }
    }

    #[test]
    fn a_configuration_without_webhooks_is_not_changed() {
        assert_eq!(turn_all(&mut json!({}), Direction::Off), 0);
        assert_eq!(turn_all(&mut json!({ "webhooks": [] }), Direction::Off), 0);
    }
}
