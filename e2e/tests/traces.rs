//! Traces in a real OpenTelemetry Collector.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e2e::{eventually, exclusive, injects, pod};
use serde_json::{Value, json};

/// Returns the spans for a namespace in a line of the collector's file.
fn spans(line: &str, namespace: &str) -> Vec<Value> {
    let batch: Value = serde_json::from_str(line).unwrap_or_default();
    let resources = batch["resourceSpans"].as_array().cloned().unwrap_or_default();
    let ours = resources
        .into_iter()
        .filter(|resource| attribute(&resource["resource"], "service.name") == "outrigger");
    let scopes = ours.flat_map(|resource| resource["scopeSpans"].as_array().cloned().unwrap_or_default());
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().cloned().unwrap_or_default());
    spans.filter(|span| attribute(span, "k8s.namespace.name") == namespace).collect()
}

fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let all = of["attributes"].as_array().into_iter().flatten();
    all.into_iter().find(|pair| pair["key"] == key).map_or(&Value::Null, |pair| &pair["value"]["stringValue"])
}

#[test]
fn requests_are_exported_as_spans_to_the_configured_collector() {
    exclusive("e2e-traced", |cluster, space| async move {
        let namespace = &space.name;
        cluster.apply_file(namespace, "otel-collector/backend.yaml").expect();
        let gateway = space.ready("app=gateway").await;
        cluster.install(&[&format!("tracing.endpoint=http://gateway.{namespace}:4318")]);
        injects(&cluster, &space, "e2e-traced").await;
        let mut misspelled = pod("misspelled");
        misspelled["metadata"]["annotations"] = json!({ "outrigger.dev/profiles": "e2e-tracd" });
        for (outcome, reason, profiles) in
            [("injected", "Injected", json!("e2e-traced")), ("denied", "ProfileNotFound", json!(""))]
        {
            eventually(&format!("the span of {reason}"), || async {
                // A terminating server without tracing may still answer one of them.
                cluster.create_pod(namespace, &misspelled).await.unwrap_err();
                cluster.dry_run_pod(namespace, &pod("traced")).await?;
                let output = cluster.exec(namespace, &gateway, "reader", &["cat", "/out/all.jsonl"]).text;
                let all: Vec<Value> = output.lines().flat_map(|line| spans(line, namespace)).collect();
                let found = all.iter().any(|span| {
                    span["name"] == "POST /mutate/namespace"
                        && attribute(span, "outrigger.outcome") == outcome
                        && attribute(span, "outrigger.reason") == reason
                        && *attribute(span, "outrigger.profiles") == profiles
                        && attribute(span, "outrigger.uid").as_str().is_some_and(|uid| uid.len() == 36)
                });
                if found { Ok(()) } else { Err(format!("{all:?}")) }
            })
            .await;
        }
        cluster.install(&[]);
    });
}
