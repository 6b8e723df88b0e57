use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::supervise::Health;

/// The webhook configurations that call this server.
#[derive(Clone, Debug)]
pub struct Configurations {
    /// The name of the `MutatingWebhookConfiguration`.
    pub mutating: String,
    /// The name of the `ValidatingWebhookConfiguration`.
    pub validating: String,
    /// The Service in front of the server; entries that call another one are left alone.
    pub service: String,
    /// The Service's namespace.
    pub namespace: String,
}

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mutating,
    Validating,
}

impl Kind {
    fn part(self) -> &'static str {
        match self {
            Self::Mutating => "mutating webhook",
            Self::Validating => "validating webhook",
        }
    }
}

/// Puts the authority into the configurations' `caBundle`, now and whenever one of them changes; until `stop`.
///
/// # Errors
/// None: what fails is logged and tried again.
pub fn keep_bundle(
    client: Client,
    configurations: Configurations,
    authority: watch::Receiver<String>,
    health: Health,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> {
    for (kind, name) in
        [(Kind::Mutating, &configurations.mutating), (Kind::Validating, &configurations.validating)]
    {
        health.wait_for(kind.part(), format!("the authority in the {} configuration {name:?}", kind.part()));
    }
    run(client, configurations, authority, health, stop)
}

async fn run(
    client: Client,
    configurations: Configurations,
    mut authority: watch::Receiver<String>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let apis = [
        (
            Kind::Mutating,
            configurations.mutating.clone(),
            ApiResource::erase::<MutatingWebhookConfiguration>(&()),
        ),
        (
            Kind::Validating,
            configurations.validating.clone(),
            ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        ),
    ]
    .map(|(kind, name, resource)| (kind, name, Api::<DynamicObject>::all_with(client.clone(), &resource)));
    let mut events =
        futures::stream::select_all(apis.clone().map(|(kind, name, api)| seen(kind, &name, api).boxed()));
    let mut pending: BTreeSet<Kind> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = authority.changed() => match changed {
                Ok(()) => pending.extend([Kind::Mutating, Kind::Validating]),
                Err(_) => return Ok(()),
            },
            Some(kind) = events.next() => {
                pending.insert(kind);
            }
            () = tokio::time::sleep(RETRY), if !pending.is_empty() => {}
        }
        let bundle = base64::engine::general_purpose::STANDARD.encode(authority.borrow().as_bytes());
        if bundle.is_empty() {
            continue;
        }
        for (kind, name, api) in &apis {
            if !pending.contains(kind) {
                continue;
            }
            match put(api, name, &bundle, &configurations).await {
                Ok(()) => {
                    pending.remove(kind);
                    health.ready(kind.part());
                }
                Err(error) => {
                    warn!(configuration = name, %error, "cannot put the authority into a webhook configuration");
                }
            }
        }
    }
}

/// Says when the configuration has been listed or has changed.
fn seen(kind: Kind, name: &str, api: Api<DynamicObject>) -> impl Stream<Item = Kind> + Send + use<> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher::watcher(api, config).default_backoff().filter_map(move |event| {
        futures::future::ready(match event {
            Ok(Event::Apply(_) | Event::InitDone) => Some(kind),
            Ok(_) => None,
            Err(error) => {
                warn!(configuration = kind.part(), %error, "a watch broke and is taken up again");
                None
            }
        })
    })
}

/// A configuration that does not exist calls nobody, so nothing is missing then.
async fn put(
    api: &Api<DynamicObject>,
    name: &str,
    bundle: &str,
    configurations: &Configurations,
) -> kube::Result<()> {
    let Some(configuration) = api.get_opt(name).await? else { return Ok(()) };
    let operations = operations(&configuration.data, bundle, configurations);
    if operations.is_empty() {
        return Ok(());
    }
    let patch: json_patch::Patch =
        serde_json::from_value(Value::Array(operations)).map_err(kube::Error::SerdeError)?;
    match api.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
        Ok(_) => {
            info!(configuration = name, "put the authority into a webhook configuration");
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// One test and one addition for every entry that calls our Service with another bundle.
fn operations(configuration: &Value, bundle: &str, ours: &Configurations) -> Vec<Value> {
    let entries = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let mut operations = Vec::new();
    for (index, entry) in entries.enumerate() {
        let client = entry.get("clientConfig");
        let service = |field| client.and_then(|client| client.get("service")?.get(field)?.as_str());
        let is_ours = service("name") == Some(&ours.service) && service("namespace") == Some(&ours.namespace);
        let current = client.and_then(|client| client.get("caBundle")?.as_str());
        if is_ours && current != Some(bundle) {
            operations.push(json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": entry.get("name") }));
            operations.push(json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle }));
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use axum::http;

    use super::*;

    /// An API server with one webhook configuration of each kind; its first patch fails.
    #[derive(Default)]
    struct Server {
        patched: Mutex<Vec<String>>,
        patches: AtomicUsize,
    }

    impl Server {
        fn answer(&self, request: &http::Request<kube::client::Body>) -> (u16, Body) {
            let (method, path) = (request.method().as_str(), request.uri().path());
            let query = request.uri().query().unwrap_or_default();
            let object = json!({
                "metadata": { "name": "outrigger", "resourceVersion": "1" },
                "webhooks": [
                    { "name": "x", "clientConfig": { "service": { "name": "outrigger", "namespace": "system" } } },
                ],
            });
            match method {
                "PATCH" if self.patches.fetch_add(1, Ordering::Relaxed) == 0 => (500, Body::from("{}")),
                "PATCH" => {
                    self.patched.lock().unwrap().push(path.to_owned());
                    (200, Body::from(object.to_string()))
                }
                _ if path.ends_with("/outrigger") => (200, Body::from(object.to_string())),
                _ if query.contains("watch=") => {
                    (200, Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))
                }
                _ => {
                    let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [object] });
                    (200, Body::from(list.to_string()))
                }
            }
        }
    }

    /// Lets `authority` come after so many milliseconds and looks ten seconds later.
    async fn after(delay: u64) {
        let server = Arc::new(Server::default());
        let answers = Arc::clone(&server);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (status, body) = answers.answer(&request);
            futures::future::ready(http::Response::builder().status(status).body(body))
        });
        let (sender, authorities) = watch::channel(String::new());
        let (health, stop) = (Health::default(), CancellationToken::new());
        let configurations = Configurations {
            mutating: "outrigger".to_owned(),
            validating: "outrigger".to_owned(),
            service: "outrigger".to_owned(),
            namespace: "system".to_owned(),
        };
        let client = Client::new(service, "default");
        let task =
            tokio::spawn(keep_bundle(client, configurations, authorities, health.clone(), stop.clone()));
        assert!(health.waiting_for().is_some());
        tokio::time::sleep(Duration::from_millis(delay)).await;
        sender.send_replace("authority".to_owned());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(health.waiting_for(), None, "with the authority after {delay} ms");
        let patched = server.patched.lock().unwrap().join(" ");
        assert!(patched.contains("/mutating") && patched.contains("/validating"), "{patched}");
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn both_configurations_get_the_authority_whenever_it_comes_and_though_a_patch_fails() {
        for delay in [0, 1, 500] {
            after(delay).await;
        }
    }

    #[test]
    fn only_our_entries_with_another_bundle_are_changed() {
        let ours = Configurations {
            mutating: "m".to_owned(),
            validating: "v".to_owned(),
            service: "outrigger".to_owned(),
            namespace: "system".to_owned(),
        };
        let entry = |name: &str, service: &str, bundle: Option<&str>| {
            let mut client = json!({ "service": { "name": service, "namespace": "system" } });
            if let Some(bundle) = bundle {
                client["caBundle"] = json!(bundle);
            }
            json!({ "name": name, "clientConfig": client })
        };
        let configuration = json!({ "webhooks": [
            entry("a", "outrigger", None), entry("b", "other", None), entry("c", "outrigger", Some("new")), entry("d", "outrigger", Some("old")),
            { "name": "e", "clientConfig": { "url": "https://127.0.0.1" } },
        ] });
        let paths: Vec<String> = operations(&configuration, "new", &ours)
            .iter()
            .map(|operation| operation["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            paths,
            [
                "/webhooks/0/name",
                "/webhooks/0/clientConfig/caBundle",
                "/webhooks/3/name",
                "/webhooks/3/clientConfig/caBundle"
            ]
        );
        assert!(operations(&json!({ "webhooks": [] }), "new", &ours).is_empty());
        assert!(operations(&json!({}), "new", &ours).is_empty());
    }
}
