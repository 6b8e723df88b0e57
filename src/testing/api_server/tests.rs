use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};

use super::*;
use crate::api::ClusterSidecarProfile;
use crate::testing::collections::{CLUSTER_PROFILES, SECRETS};

fn secret(name: &str, key: &str) -> Secret {
    serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": { "key": key } })).unwrap()
}

fn code(failed: kube::Result<Secret>) -> u16 {
    match failed.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn objects_have_versions_and_conflicts() {
    let server = ApiServer::start();
    let api: Api<Secret> = Api::default_namespaced(server.client("test"));
    let created = api.create(&PostParams::default(), &secret("a", "1")).await.unwrap();
    assert_eq!(created.metadata.namespace.as_deref(), Some("system"));
    assert_eq!(code(api.create(&PostParams::default(), &secret("a", "1")).await), 409);
    let mut changed = created.clone();
    changed.string_data = secret("a", "2").string_data;
    let replaced = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(replaced.metadata.uid, created.metadata.uid);
    assert_eq!(code(api.replace("a", &PostParams::default(), &changed).await), 409);
    let same = api.replace("a", &PostParams::default(), &replaced).await.unwrap();
    assert_eq!(same.metadata.resource_version, replaced.metadata.resource_version);

    let stale = json!({ "metadata": { "resourceVersion": created.metadata.resource_version } });
    assert_eq!(code(api.patch("a", &PatchParams::default(), &Patch::Merge(stale)).await), 409);
    let test: json_patch::Patch =
        serde_json::from_value(json!([{ "op": "test", "path": "/stringData/key", "value": "1" }])).unwrap();
    assert_eq!(code(api.patch("a", &PatchParams::default(), &Patch::Json::<()>(test)).await), 422);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &secret("b", "1")).await.unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(api.get("a").await), 404);
    assert_eq!(server.list(SECRETS), [Value::Null; 0]);
    let verbs: Vec<_> = server.writes().iter().map(|write| write.verb).collect();
    assert_eq!(
        verbs,
        ["create", "create", "update", "update", "update", "patch", "patch", "create", "delete"]
    );
}

#[tokio::test]
async fn the_status_is_written_only_by_its_subresource() {
    let server = ApiServer::start();
    let api: Api<ClusterSidecarProfile> = Api::all(server.client("test"));
    server.put(CLUSTER_PROFILES, "a", json!({ "spec": { "description": "1" }, "status": { "adds": "1" } }));
    let both = json!({ "spec": { "description": "2" }, "status": { "adds": "2" } });
    api.patch("a", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    let found = server.get(CLUSTER_PROFILES, "a").unwrap();
    assert_eq!((&found["spec"]["description"], &found["status"]["adds"]), (&json!("2"), &json!("1")));
    assert_eq!(found["metadata"]["generation"], 2);
    let both = json!({ "spec": { "description": "3" }, "status": { "adds": "3" } });
    api.patch_status("a", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    let found = server.get(CLUSTER_PROFILES, "a").unwrap();
    assert_eq!((&found["spec"]["description"], &found["status"]["adds"]), (&json!("2"), &json!("3")));
    assert_eq!(found["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn lists_have_pages_and_watches_continue_from_a_version() {
    let server = ApiServer::start();
    let api: Api<Secret> = Api::all(server.client("test"));
    for name in ["a", "b", "c"] {
        server.put(SECRETS, name, json!({}));
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let token = first.metadata.continue_.unwrap();
    let second = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!(second.items.len(), 1);
    assert_eq!(second.metadata.continue_.unwrap_or_default(), "");

    let version = second.metadata.resource_version.unwrap();
    server.delete(SECRETS, "a");
    let watch = WatchParams::default().timeout(90);
    let events = api.watch(&watch, &version).await.unwrap().map(|event| match event.unwrap() {
        WatchEvent::Added(secret) => format!("added {}", secret.metadata.name.unwrap()),
        WatchEvent::Modified(secret) => format!("modified {}", secret.metadata.name.unwrap()),
        WatchEvent::Deleted(secret) => format!("deleted {}", secret.metadata.name.unwrap()),
        WatchEvent::Bookmark(bookmark) => format!("bookmark {}", bookmark.metadata.resource_version),
        WatchEvent::Error(status) => status.message,
    });
    server.put(SECRETS, "d", json!({}));
    server.put(SECRETS, "b", json!({ "type": "other" }));
    assert_eq!(events.collect::<Vec<_>>().await, ["deleted a", "added d", "modified b", "bookmark 6"]);
}

#[tokio::test(start_paused = true)]
async fn selected_requests_fail() {
    let server = ApiServer::start();
    let api: Api<Secret> = Api::default_namespaced(server.client("test"));
    server.put(SECRETS, "a", json!({}));
    server.set_faults(|request| (request.verb == "list").then_some(Fault::Silent));
    assert!(api.get("a").await.is_ok());
    let list = async { api.list(&ListParams::default()).await };
    assert!(tokio::time::timeout(Duration::from_mins(1), list).await.is_err());
    server.set_faults(|_| Some(Fault::Refused));
    assert!(matches!(api.get("a").await.unwrap_err(), kube::Error::Service(_)));
    server.set_faults(|_| Some(Fault::Status(403, "Forbidden")));
    assert_eq!(code(api.get("a").await), 403);
    server.set_faults(|_| Some(Fault::NotServed));
    assert_eq!(code(api.get("a").await), 404);
    server.set_faults(|_| Some(Fault::Delayed(Duration::from_secs(3))));
    let started = Instant::now();
    assert!(api.get("a").await.is_ok());
    assert_eq!(started.elapsed().as_secs(), 3);
    server.clear_faults();
    assert!(api.get("a").await.is_ok());
}
