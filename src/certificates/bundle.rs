use std::time::Duration;

use base64::Engine as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::webhook_configurations::{ConfigurationKind, Configurations, LiveConfigurations};
use super::x509::authorities_in;
use crate::cluster::Leadership;

/// Wait before a retry after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Writes the CAs into the configurations' `caBundle`, on the leader and whenever a configuration differs; until `stop`.
///
/// # Errors
/// None: failures are logged and retried.
pub(crate) async fn keep_bundle(
    client: Client,
    configurations: Configurations,
    mut wanted: watch::Receiver<String>,
    mut live: watch::Receiver<LiveConfigurations>,
    mut leadership: Leadership,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let bundle = wanted.borrow_and_update().clone();
        let differ = differing(&live.borrow_and_update(), &configurations, bundle.as_bytes());
        let mut failed = false;
        // The API server rejects every pod if it cannot parse a `caBundle`.
        let (authorities, problem) = authorities_in(&bundle);
        if leadership.is_held() && problem.is_none() && !authorities.is_empty() {
            for (kind, name) in differ {
                if let Err(error) = put(&kind.api(&client), &name, &bundle, &configurations).await {
                    failed = true;
                    let kind = kind.name();
                    warn!(kind, configuration = name, %error, "failed to write a caBundle");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = wanted.changed() => if changed.is_err() {
                return Ok(());
            },
            changed = live.changed() => if changed.is_err() {
                return Ok(());
            },
            () = leadership.changed() => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

/// Returns the configurations that have an entry of ours with another bundle.
fn differing(
    live: &LiveConfigurations,
    configurations: &Configurations,
    bundle: &[u8],
) -> Vec<(ConfigurationKind, String)> {
    let differs = |kind: ConfigurationKind, name: &str| {
        let mut entries = live.entries().iter();
        entries.any(|entry| entry.kind == kind && entry.configuration == name && entry.bundle != bundle)
    };
    let all = configurations.all().filter(|(kind, name)| differs(*kind, name));
    all.map(|(kind, name)| (kind, name.clone())).collect()
}

/// Writes the bundle into one configuration. A configuration that is deleted meanwhile needs no bundle.
async fn put(
    api: &Api<DynamicObject>,
    name: &str,
    bundle: &str,
    configurations: &Configurations,
) -> kube::Result<()> {
    let Some(configuration) = api.get_opt(name).await? else { return Ok(()) };
    let bundle = base64::engine::general_purpose::STANDARD.encode(bundle);
    let operations = operations(&configuration.data, &bundle, configurations);
    if operations.is_empty() {
        return Ok(());
    }
    let patch: json_patch::Patch =
        serde_json::from_value(Value::Array(operations)).map_err(kube::Error::SerdeError)?;
    // Helm names this manager in its message about a field conflict.
    let writer = PatchParams { field_manager: Some("outrigger".to_owned()), ..PatchParams::default() };
    match api.patch(name, &writer, &Patch::Json::<()>(patch)).await {
        Ok(_) => {
            info!(configuration = name, "wrote the CAs to a caBundle");
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns one test and one addition for every entry that calls our Service with another bundle.
fn operations(configuration: &Value, bundle: &str, ours: &Configurations) -> Vec<Value> {
    let entries = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let mut operations = Vec::new();
    for (index, entry) in entries.enumerate() {
        let current = entry.get("clientConfig").and_then(|client| client.get("caBundle")?.as_str());
        if ours.calls_us(entry) && current != Some(bundle) {
            operations.push(json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": entry.get("name") }));
            operations.push(json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle }));
        }
    }
    operations
}

#[cfg(test)]
mod tests;
