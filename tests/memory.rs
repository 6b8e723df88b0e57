//! The memory of a server that is attacked with profiles that are small as text and large when compiled. It is a
//! separate program, so that other tests do not count.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use outrigger::cluster::{Observations, ProfileMemory, Snapshot, watch};
use outrigger::profiles::ProfileEntry;
use outrigger::supervise::Health;
use outrigger::telemetry::Metrics;
use outrigger::webhook::{State, router};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of hostile profiles in one namespace.
const HOSTILE: usize = 2000;

/// Number of concurrent reviews of hostile profiles.
const REVIEWS: usize = 64;
/// Limit of the server's memory, in MiB.
const MAX_MIB: usize = 128;

/// Returns the peak memory of this process, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// Returns a profile with 64 patterns with large Unicode classes.
fn patterns(index: usize) -> Value {
    let parameter = |n: usize| json!({ "name": format!("p{n}"), "type": "string", "default": "a", "pattern": format!(r"\p{{L}}{{5}}|a|x{index}y{n}") });
    let parameters: Vec<Value> = (0..64).map(parameter).collect();
    json!({ "parameters": parameters, "template": { "spec": { "initContainers": [{ "name": "a", "image": "bash:5.2" }] } } })
}

/// Returns a profile with expressions that have 85 constant patterns each.
fn expressions(count: usize) -> Value {
    let value = |n: usize| {
        let patterns: Vec<String> =
            (0..85).map(|i| format!("pod.metadata.name.matches('(a|b|c){{300}}x{i}y{n}')")).collect();
        format!("$[[ string({}) ]]", patterns.join("&&"))
    };
    let env: Vec<Value> = (0..count).map(|n| json!({ "name": format!("E{n}"), "value": value(n) })).collect();
    json!({ "template": { "spec": { "initContainers": [{ "name": "a", "image": "bash:5.2", "env": env }] } } })
}

/// Answers as an API server with the hostile profiles and two ordinary ones.
fn answer(request: &Request<kube::client::Body>) -> axum::http::Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("watch=true") {
        return axum::http::Response::new(Body::from_stream(futures::stream::pending::<
            std::io::Result<Vec<u8>>,
        >()));
    }
    let number = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse::<usize>().ok()).unwrap_or_default()
    };
    let (from, limit) = (number("continue="), number("limit=").max(1));
    let object = |namespace: &str, name: &str, spec: Value| json!({ "metadata": { "namespace": namespace, "name": name, "resourceVersion": "1" }, "spec": spec });
    let ordinary = json!({ "template": { "spec": { "initContainers": [{ "name": "a", "image": "a:1", "restartPolicy": "Always" }] } } });
    let path = request.uri().path();
    let (items, next): (Vec<Value>, usize) = if path.ends_with("/namespaces") {
        let labels = json!({ "outrigger.dev/inject": "enabled" });
        (
            vec![
                json!({ "metadata": { "name": "shop", "labels": labels, "annotations": { "outrigger.dev/profiles": "good" } } }),
            ],
            0,
        )
    } else if path.ends_with("/clustersidecarprofiles") {
        (vec![json!({ "metadata": { "name": "good", "resourceVersion": "1" }, "spec": ordinary })], 0)
    } else {
        let to = (from + limit).min(HOSTILE);
        let mut items: Vec<Value> =
            (from..to).map(|n| object("evil", &format!("rx-{n:04}"), patterns(n))).collect();
        if to == HOSTILE {
            items.push(object("zoo", "ordinary", ordinary));
        }
        (items, if to < HOSTILE { to } else { 0 })
    };
    let continued = if next > 0 { next.to_string() } else { String::new() };
    let list = json!({ "metadata": { "resourceVersion": "1", "continue": continued }, "items": items });
    axum::http::Response::new(Body::from(list.to_string()))
}

async fn post(router: &Router, path: &str, review: &Value) -> (StatusCode, Duration) {
    let started = Instant::now();
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(review.to_string())).unwrap();
    let status = router.clone().oneshot(request).await.unwrap().status();
    (status, started.elapsed())
}

fn review(kind: &Value, object: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "a", "kind": kind, "object": object,
    } })
}

/// Returns the median time of a decision about a pod while `busy` returns `true`, in microseconds.
async fn median(router: &Router, busy: impl Fn(usize) -> bool) -> u128 {
    let pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "app", "image": "web:1" }] } });
    let review = review(&json!({ "group": "", "version": "v1", "kind": "Pod" }), &pod);
    let mut times = Vec::new();
    while busy(times.len()) {
        let (status, time) = post(router, "/mutate", &review).await;
        assert_eq!(status, StatusCode::OK);
        times.push(time.as_micros());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_profiles_take_bounded_memory() {
    let service = tower::service_fn(|request| async move { Ok::<_, std::io::Error>(answer(&request)) });
    let client = kube::Client::new(service, "default");
    let (snapshot, metrics) =
        (Arc::new(ArcSwap::from_pointee(Snapshot::default())), Arc::new(Metrics::default()));
    let (health, stop) = (Health::default(), CancellationToken::new());
    let state = State { snapshot: Arc::clone(&snapshot), ..State::fixed(Snapshot::default()) };
    let router = router(state);
    let watched = watch(
        client,
        Arc::clone(&snapshot),
        Observations::default(),
        ProfileMemory::default(),
        metrics,
        health.clone(),
        stop.clone(),
    );
    let watched = tokio::spawn(watched);
    let before = peak();
    let started = Instant::now();
    while health.waiting_for().is_some() {
        assert!(started.elapsed() < Duration::from_mins(5), "{:?}", health.waiting_for());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (listed, took) = (peak(), started.elapsed());
    let known = Arc::clone(&snapshot.load().profiles);
    assert_eq!(known.all().count(), HOSTILE + 2);
    for (namespace, name) in [("shop", "good"), ("zoo", "ordinary")] {
        assert!(
            matches!(known.find(namespace, name), Some(ProfileEntry::Ready(_))),
            "{name} is not accepted"
        );
    }

    let idle = median(&router, |count| count < 500).await;
    let hostile = review(
        &json!({ "group": "outrigger.dev", "version": "v1alpha1", "kind": "SidecarProfile" }),
        &json!({ "metadata": { "name": "a", "namespace": "shop" }, "spec": expressions(40) }),
    );
    let reviews: Vec<_> = (0..REVIEWS)
        .map(|_| {
            let (router, hostile) = (router.clone(), hostile.clone());
            tokio::spawn(async move { post(&router, "/validate", &hostile).await.0 })
        })
        .collect();
    let attacked = median(&router, |_| !reviews.iter().all(tokio::task::JoinHandle::is_finished)).await;
    let mut rejected = 0;
    for answer in reviews {
        let status = answer.await.unwrap();
        // A review is answered, shed or timed out: a debug build compiles profiles slowly.
        let expected =
            [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::GATEWAY_TIMEOUT].contains(&status);
        assert!(expected, "{status}");
        rejected += usize::from(status != StatusCode::OK);
    }
    // Sixteen reviews can be in progress or wait. How many of the others time out depends on the machine.
    assert!(rejected > 0, "none of {REVIEWS} concurrent reviews was shed");
    println!(
        "peak memory {before} MiB before, {listed} MiB after {HOSTILE} profiles in {took:?}, {} MiB after reviews of profiles; median of a pod {idle} µs idle, {attacked} µs attacked",
        peak()
    );
    assert!(
        peak() < MAX_MIB,
        "{before} MiB before, {listed} MiB with the profiles, {} MiB at the end",
        peak()
    );
    stop.cancel();
    watched.await.unwrap().unwrap();
}
