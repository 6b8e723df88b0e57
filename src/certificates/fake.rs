//! A fake API server in memory: objects by path, with versions, conflicts and watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Default)]
pub(super) struct Server {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: usize,
    /// Events for watches: the version, the object's path, the line.
    events: Vec<(usize, String, String)>,
    /// Writes: the client's name, the method, the path.
    written: Vec<(String, String, String)>,
    away: bool,
}

pub(super) const SECRETS: &str = "/api/v1/namespaces/system/secrets";
pub(super) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
pub(super) const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

impl Server {
    /// Returns a server with the two configurations, as the chart creates them.
    pub(super) fn installed() -> Arc<Self> {
        let server = Arc::new(Self::default());
        for collection in [MUTATING, VALIDATING] {
            let rules = json!([{ "resources": ["pods", "pods/exec"] }]);
            let entry = |name: &str, service: &str| json!({ "name": name, "rules": rules, "clientConfig": { "service": { "name": service, "namespace": "system" } } });
            let webhooks = json!([entry("ours", "outrigger"), entry("other", "other")]);
            server.put(collection, "outrigger", json!({ "webhooks": webhooks }));
        }
        server
    }

    /// Returns a client whose writes are recorded under this name.
    pub(super) fn client(self: &Arc<Self>, name: &'static str) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let server = Arc::clone(&server);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (status, body) = server.answer(name, &parts, &body);
                http::Response::builder().status(status).body(body)
            }
        });
        Client::new(service, "system")
    }

    /// Sets whether requests get errors.
    pub(super) fn is_away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    pub(super) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(&format!("{collection}/{name}")).cloned()
    }

    pub(super) fn put(&self, collection: &str, name: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let path = format!("{collection}/{name}");
        let known = state.objects.contains_key(&path);
        state.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.say(&path, if known { "MODIFIED" } else { "ADDED" }, &object);
        state.objects.insert(path, object.clone());
        drop(state);
        self.changed.send_replace(());
        object
    }

    pub(super) fn delete(&self, collection: &str, name: &str) {
        let mut state = self.state.lock().unwrap();
        let path = format!("{collection}/{name}");
        let gone = state.objects.remove(&path).unwrap();
        state.version += 1;
        state.say(&path, "DELETED", &gone);
        drop(state);
        self.changed.send_replace(());
    }

    /// Returns the writes of this client, one per line.
    pub(super) fn written_by(&self, client: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let ours = state.written.iter().filter(|(name, _, _)| name == client);
        ours.map(|(_, method, path)| format!("{method} {path}")).collect()
    }

    fn answer(self: &Arc<Self>, client: &str, parts: &http::request::Parts, body: &[u8]) -> (u16, Body) {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        if self.state.lock().unwrap().away {
            return failure(503, "ServiceUnavailable");
        }
        if method != "GET" {
            let entry = (client.to_owned(), method.to_owned(), path.to_owned());
            self.state.lock().unwrap().written.push(entry);
        }
        let query = parts.uri.query().unwrap_or_default();
        match method {
            "GET" if query.contains("fieldSelector") => self.list(path, query),
            "GET" => match self.state.lock().unwrap().objects.get(path) {
                Some(object) => (200, Body::from(object.to_string())),
                None => failure(404, "NotFound"),
            },
            "POST" => {
                let object: Value = serde_json::from_slice(body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                if self.get(path, &name).is_some() {
                    return failure(409, "AlreadyExists");
                }
                (200, Body::from(self.put(path, &name, object).to_string()))
            }
            _ => self.change(method, path, body),
        }
    }

    fn change(&self, method: &str, path: &str, body: &[u8]) -> (u16, Body) {
        let (collection, name) = path.rsplit_once('/').unwrap();
        let Some(mut object) = self.get(collection, name) else { return failure(404, "NotFound") };
        if method == "PATCH" {
            let edits: json_patch::Patch = serde_json::from_slice(body).unwrap();
            json_patch::patch(&mut object, &edits).unwrap();
        } else {
            let new: Value = serde_json::from_slice(body).unwrap();
            if new["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return failure(409, "Conflict");
            }
            object = new;
        }
        (200, Body::from(self.put(collection, name, object).to_string()))
    }

    fn list(self: &Arc<Self>, path: &str, query: &str) -> (u16, Body) {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
        let path = format!("{path}/{}", name.unwrap());
        if query.contains("watch=") {
            let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap();
            return (200, self.watch(path, since.parse().unwrap()));
        }
        let state = self.state.lock().unwrap();
        let items: Vec<&Value> = state.objects.get(&path).into_iter().collect();
        let version = state.version.to_string();
        (200, Body::from(json!({ "metadata": { "resourceVersion": version }, "items": items }).to_string()))
    }

    fn watch(self: &Arc<Self>, path: String, since: usize) -> Body {
        let (server, changed) = (Arc::clone(self), self.changed.subscribe());
        let lines = futures::stream::unfold((since, changed), move |(since, mut changed)| {
            let (server, path) = (Arc::clone(&server), path.clone());
            async move {
                loop {
                    let news = server.state.lock().unwrap().after(since, &path);
                    if let Some((version, line)) = news {
                        return Some((Ok::<_, std::io::Error>(line), (version, changed)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Body::from_stream(lines.boxed())
    }
}

impl State {
    fn say(&mut self, path: &str, kind: &str, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (api, kind_name) = if path.starts_with(SECRETS) {
            ("v1", "Secret")
        } else {
            ("admissionregistration.k8s.io/v1", "X")
        };
        object["apiVersion"] = json!(api);
        object["kind"] = json!(kind_name);
        let line = format!("{}\n", json!({ "type": kind, "object": object }));
        self.events.push((self.version, path.to_owned(), line));
    }

    fn after(&self, since: usize, path: &str) -> Option<(usize, String)> {
        let mut later = self.events.iter().filter(|(version, of, _)| *version > since && of == path);
        later.next().map(|(version, _, line)| (*version, line.clone()))
    }
}

fn failure(code: u16, reason: &str) -> (u16, Body) {
    let status =
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
    (code, Body::from(status.to_string()))
}
