//! Health endpoints and metrics.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use outrigger::webhook::{metrics_router, router};
use serde_json::json;

use crate::support::{answer, pod, review, send, state};

#[tokio::test]
async fn health_and_metrics_are_served() {
    let state = state();
    state.health.wait_for("test", "the first list");
    let routes = router(state.clone()).merge(Router::new());
    let metrics = metrics_router(state.clone());
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for router in [&routes, &metrics] {
        assert_eq!(send(router, get("/healthz")).await.0, StatusCode::OK);
        let (status, body) = send(router, get("/readyz")).await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready: the first list\n"));
    }
    state.health.ready("test");
    assert_eq!(send(&routes, get("/readyz")).await.0, StatusCode::OK);
    answer(&routes, "/mutate", &review("shop", &pod(&json!({})))).await;
    let (_, text) = send(&metrics, get("/metrics")).await;
    assert!(!text.contains("# EOF") && text.contains("# TYPE outrigger_build_info gauge"), "{text}");
    let open = Request::get("/metrics").header(header::ACCEPT, "application/openmetrics-text;version=1.0.0");
    let (_, text) = send(&metrics, open.body(Body::empty()).unwrap()).await;
    for line in [
        "outrigger_admission_requests_total{webhook=\"mutate\",outcome=\"injected\",reason=\"Injected\"} 1",
        "outrigger_profile_injections_total{profile=\"log-shipper\"} 1",
        "outrigger_admission_duration_seconds_count{webhook=\"mutate\"} 1",
        "outrigger_build_info{version=",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line}\nis missing in\n{text}");
    }
}
