//! Tests that cover several profiles of the catalogue.

use e2e::{Cluster, TestNamespace, pod};
use serde_json::json;

/// Profiles whose only `emptyDir` volumes are for temporary files.
const PROFILES: [&str; 3] = ["ambassador-breaker", "debug-tools", "health-checker"];

#[tokio::test]
async fn a_pod_without_scratch_volumes_is_drained() {
    let cluster = Cluster::installed().await;
    let annotations = [
        ("ambassador-breaker.outrigger.dev/host", "kubernetes.default.svc.cluster.local"),
        ("health-checker.outrigger.dev/script", "date > /tmp/now"),
    ];
    let space = TestNamespace::with_profiles(&cluster, &PROFILES, &annotations, false).await;
    let drain = |node: &str, name: &str| {
        let selector = format!("--pod-selector=name={name}");
        cluster.kubectl(&["drain", node, "--dry-run=server", "--force", "--ignore-daemonsets", &selector])
    };
    for scratch in ["true", "false"] {
        let name = format!("scratch-{scratch}");
        let mut app = pod(&name);
        app["metadata"]["labels"] = json!({ "name": name });
        let parameters = PROFILES.map(|profile| (format!("{profile}.outrigger.dev/scratchVolume"), scratch));
        app["metadata"]["annotations"] = parameters.into_iter().collect();
        cluster.create_pod(&space.name, &app).await.unwrap();
        let made = cluster.ready_pod(&space.name, &name).await;
        let output = drain(made["spec"]["nodeName"].as_str().unwrap(), &name);
        assert_eq!(output.success, scratch == "false", "{}", output.text);
        assert_eq!(output.text.contains("--delete-emptydir-data"), scratch == "true", "{}", output.text);
        let shell = ["bash", "-c", "echo x > /tmp/x"];
        cluster.exec(&space.name, &name, "debug-tools", &shell).expect();
    }
}
