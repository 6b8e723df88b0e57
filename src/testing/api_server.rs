//! A stand-in for the API server, in memory.

mod address;
mod answer;
mod change;
mod store;
mod tests;

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::http;
use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use self::address::{Address, Collection};
use self::answer::{ApiAnswer, failure, found, invalid};
use self::change::PatchRequest;
use self::store::{Store, StoreSelection};

/// Interval of bookmarks in watches.
const BOOKMARKS: Duration = Duration::from_mins(1);

/// A stand-in for the API server.
///
/// It stores objects, and answers the verbs that controllers use: get, list in pages, watch with resource versions and
/// bookmarks, create, update, patch (JSON patch, merge patch, apply), delete, and the status subresource of profiles. It
/// assigns UIDs, generations and resource versions, reports conflicts, records all requests, and fails or delays those that a
/// test selects. It validates nothing and applies no defaults.
#[derive(Default)]
pub(crate) struct ApiServer {
    store: Mutex<Store>,
    requests: Mutex<Vec<Request>>,
    faults: watch::Sender<Option<Arc<Faults>>>,
}

type Faults = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Name of the client: see [`ApiServer::client`].
    pub(crate) client: &'static str,
    /// Verb, as in RBAC rules.
    pub(crate) verb: &'static str,
    /// Path, without the query.
    pub(crate) path: String,
}

/// A failure of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is refused.
    Refused,
    /// The request gets no answer, and an open watch no data, until the fault is removed.
    Silent,
    /// The request gets its answer after this time.
    Delayed(Duration),
    /// The resource is not served.
    NotServed,
    /// A status with this code and reason.
    Status(u16, &'static str),
    /// A status with the code 422 and one cause: a field and its message.
    Invalid(&'static str, &'static str),
}

impl ApiServer {
    /// Returns a server without objects.
    pub(crate) fn start() -> Arc<Self> {
        Arc::default()
    }

    /// Returns a client whose requests are recorded under this name. Its default namespace is `system`.
    pub(crate) fn client(self: &Arc<Self>, name: &'static str) -> Client {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let server = Arc::clone(&server);
            async move { server.serve(name, request).await }
        });
        Client::new(service, "system")
    }

    pub(crate) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.store().get(&Collection::parse(collection), name).cloned()
    }

    /// Creates or replaces an object, including its status.
    pub(crate) fn put(&self, collection: &str, name: &str, object: Value) -> Value {
        self.store().put(&Collection::parse(collection), name, object)
    }

    /// Deletes an object, which must exist.
    pub(crate) fn delete(&self, collection: &str, name: &str) {
        let deleted = self.store().delete(&Collection::parse(collection), name);
        assert!(deleted.is_some(), "{collection}/{name} does not exist");
    }

    /// Returns the objects of a collection.
    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        self.store().list(&StoreSelection { collection: Collection::parse(collection), name: None })
    }

    /// Replaces all objects and the resource version without events, as a restore of etcd does.
    pub(crate) fn restore(&self, version: u64, collection: &str, objects: Vec<Value>) {
        let collection = Collection::parse(collection);
        let objects = objects.into_iter().map(|object| (collection.clone(), object)).collect();
        self.store().restore(version, objects);
    }

    /// Sends an event to the open watches of a collection, without a change of an object.
    pub(crate) fn send(&self, collection: &str, event: &Value) {
        self.store().send(&Collection::parse(collection), event);
    }

    /// Aborts the connections of all watches.
    pub(crate) fn abort_watches(&self) {
        self.store().end_watches(Some(std::io::ErrorKind::ConnectionReset));
    }

    /// Ends all watches cleanly, as an API server does that shuts down.
    pub(crate) fn end_watches(&self) {
        self.store().end_watches(None);
    }

    /// Sets which requests fail. It replaces the earlier faults.
    pub(crate) fn set_faults(&self, faults: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        self.faults.send_replace(Some(Arc::new(faults)));
    }

    /// Answers all requests again.
    pub(crate) fn clear_faults(&self) {
        self.faults.send_replace(None);
    }

    /// Returns all requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Returns the requests so far that change objects.
    pub(crate) fn writes(&self) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.is_write()).cloned().collect()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let faults = self.faults.borrow().clone();
        faults.and_then(|faults| faults(request))
    }

    /// Waits while this request is to get no answer.
    async fn unless_silent(&self, request: &Request) {
        let mut faults = self.faults.subscribe();
        while self.fault(request) == Some(Fault::Silent) {
            // The sender lives as long as the server.
            drop(faults.changed().await);
        }
    }

    async fn serve(
        self: Arc<Self>,
        client: &'static str,
        request: http::Request<kube::client::Body>,
    ) -> std::io::Result<http::Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let query = Query(parts.uri.query().unwrap_or_default().to_owned());
        let address = Address::parse(parts.uri.path());
        let request = Request {
            client,
            verb: verb(&parts.method, address.as_ref(), &query),
            path: parts.uri.path().to_owned(),
        };
        self.requests.lock().unwrap().push(request.clone());
        self.unless_silent(&request).await;
        let fault = self.fault(&request);
        if let Some(Fault::Delayed(time)) = fault {
            tokio::time::sleep(time).await;
        }
        let (code, body) = match (fault, address) {
            (Some(Fault::Refused), _) => return Err(std::io::ErrorKind::ConnectionRefused.into()),
            (Some(Fault::Status(code, reason)), _) => failure(code, reason),
            (Some(Fault::Invalid(field, message)), _) => invalid(field, message),
            (Some(Fault::NotServed), _) | (_, None) => (404, Body::from("404 page not found")),
            (_, Some(address)) if request.verb == "list" => self.answer_list(address, &query),
            (_, Some(address)) if request.verb == "watch" => self.answer_watch(address, &query, request),
            (_, Some(address)) if request.verb == "get" => self.answer_get(&address),
            (_, Some(address)) => {
                let content = parts.headers.get(http::header::CONTENT_TYPE);
                let content = content.and_then(|value| value.to_str().ok()).unwrap_or_default();
                self.answer_write(request.verb, &address, content, &body, &query)
            }
        };
        Ok(http::Response::builder().status(code).body(body).unwrap())
    }

    fn answer_get(&self, address: &Address) -> ApiAnswer {
        let name = address.name.as_deref().unwrap_or_default();
        self.store().get(&address.collection, name).map_or_else(|| failure(404, "NotFound"), found)
    }

    fn answer_list(&self, address: Address, query: &Query) -> ApiAnswer {
        let store = self.store();
        let items = store.list(&query.selection(address));
        let start: usize = query.number("continue");
        let limit = Some(query.number("limit")).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let page: Vec<&Value> = items.iter().skip(start).take(limit).collect();
        let next = start + page.len();
        let token = if next < items.len() { next.to_string() } else { String::new() };
        let metadata = json!({ "resourceVersion": store.version().to_string(), "continue": token });
        (200, Body::from(json!({ "metadata": metadata, "items": page }).to_string()))
    }

    fn answer_watch(self: Arc<Self>, address: Address, query: &Query, request: Request) -> ApiAnswer {
        let selection = query.selection(address);
        let collection = selection.collection.clone();
        let changes = self.store().watch(selection, query.number("resourceVersion"));
        let seconds = query.number("timeoutSeconds");
        let watch = OpenWatch {
            server: self,
            request,
            collection,
            changes,
            bookmark: (query.value("allowWatchBookmarks") == Some("true"))
                .then(|| Instant::now() + BOOKMARKS),
            end: (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds)),
        };
        let lines = futures::stream::unfold(watch, |mut watch| async move {
            watch.next().await.map(|line| (line, watch))
        });
        (200, Body::from_stream(lines))
    }

    /// Creates, changes or deletes an object. With `dryRun=All`, nothing is stored.
    fn answer_write(
        &self,
        verb: &str,
        address: &Address,
        content: &str,
        body: &[u8],
        query: &Query,
    ) -> ApiAnswer {
        let mut store = self.store();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let new_name = || body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let name = address.name.clone().unwrap_or_else(new_name);
        let before = store.get(&address.collection, &name).cloned();
        if verb == "delete" {
            return store
                .delete(&address.collection, &name)
                .map_or_else(|| failure(404, "NotFound"), |gone| found(&gone));
        }
        let change = PatchRequest { verb, content, body, address };
        match change.apply(before) {
            Err(answer) => answer,
            Ok(object) if query.value("dryRun") == Some("All") => found(&object),
            Ok(object) => {
                let stored = store.put(&address.collection, &name, object);
                (if verb == "create" { 201 } else { 200 }, Body::from(stored.to_string()))
            }
        }
    }
}

/// A watch that a client reads.
struct OpenWatch {
    server: Arc<ApiServer>,
    request: Request,
    collection: Collection,
    changes: UnboundedReceiver<std::io::Result<Vec<u8>>>,
    /// Time of the next bookmark; `None` if the client wants none.
    bookmark: Option<Instant>,
    end: Option<Instant>,
}

impl OpenWatch {
    /// Returns the next event; `None` at the end of the watch.
    async fn next(&mut self) -> Option<std::io::Result<Vec<u8>>> {
        let line = tokio::select! {
            biased;
            line = self.changes.next() => line,
            () = at(self.end) => None,
            () = at(self.bookmark) => {
                self.bookmark = Some(Instant::now() + BOOKMARKS);
                Some(Ok(self.bookmark()))
            }
        };
        self.server.unless_silent(&self.request).await;
        line
    }

    fn bookmark(&self) -> Vec<u8> {
        let metadata = json!({ "resourceVersion": self.server.store().version().to_string() });
        let object = json!({ "apiVersion": self.collection.version, "kind": self.collection.kind(), "metadata": metadata });
        format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).into_bytes()
    }
}

/// Waits until this time; without end if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Request {
    fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Returns whether the request is for this collection, or for an object in it.
    pub(crate) fn is_for(&self, collection: &str) -> bool {
        let rest = self.path.strip_prefix(collection);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(text, "{} {}", self.verb, self.path)
    }
}

/// The query of a request.
struct Query(String);

impl Query {
    fn value(&self, key: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }

    /// Returns a number; its default if it is absent.
    fn number<N: FromStr + Default>(&self, key: &str) -> N {
        self.value(key).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn selection(&self, address: Address) -> StoreSelection {
        let name = self.value("fieldSelector").map(|fields| {
            let name = fields.strip_prefix("metadata.name%3D");
            name.unwrap_or_else(|| panic!("the field selector {fields} is not supported")).to_owned()
        });
        StoreSelection { collection: address.collection, name }
    }
}

fn verb(method: &http::Method, address: Option<&Address>, query: &Query) -> &'static str {
    let has_name = address.is_some_and(|address| address.name.is_some());
    match method.as_str() {
        "GET" if has_name || address.is_none() => "get",
        "GET" if query.value("watch") == Some("true") => "watch",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        other => panic!("the method {other} is not supported"),
    }
}
