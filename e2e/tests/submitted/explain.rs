//! `outrigger explain` with a cluster: with few rights, for existing pods, and with a server-side dry run.

use e2e::{Cluster, Output, TestNamespace, companion, deployment, eventually, injects, pod};
use serde_json::{Value, json};

/// A user of the cluster.
struct User<'a> {
    cluster: &'a Cluster,
    kubeconfig: String,
}

impl<'a> User<'a> {
    /// Creates a kubeconfig that impersonates this user.
    fn new(cluster: &'a Cluster, name: &str) -> Self {
        let mut config: Value =
            serde_json::from_str(&cluster.kubectl(&["config", "view", "--raw", "--output", "json"]).expect())
                .unwrap();
        config["users"][0]["user"]["as"] = json!(name);
        let path = std::env::temp_dir().join(format!("{name}-{}.kubeconfig", std::process::id()));
        std::fs::write(&path, config.to_string()).unwrap();
        Self { cluster, kubeconfig: path.to_string_lossy().into_owned() }
    }

    fn explain(&self, words: &[&str]) -> Output {
        self.cluster.outrigger(&[&["explain", "--kubeconfig", &self.kubeconfig], words].concat(), "")
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.kubeconfig));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_needs_only_the_view_role_in_the_namespace() {
    const PROFILE: &str = "e2e-viewed";
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion(PROFILE).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, PROFILE).await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    let viewer = User::new(&cluster, "e2e-viewer");
    let words = ["deployment/web", "--namespace", &space.name];
    let output = viewer.explain(&words).expect_failure();
    let refusal = format!(
        "error: cannot read Deployment {0}/web from context \"outrigger\": Error from server (Forbidden): deployments.apps \"web\" is forbidden: User \"e2e-viewer\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"{0}\"",
        space.name
    );
    assert!(output.starts_with(&refusal) && output.lines().count() == 1, "{output}");
    let grant = [
        "create",
        "rolebinding",
        "viewer",
        "--clusterrole=view",
        "--user=e2e-viewer",
        "--namespace",
        &space.name,
    ];
    cluster.kubectl(&grant).expect();
    let output = eventually("the view role taking effect", || async {
        let output = viewer.explain(&words);
        if output.success { Ok(output.text) } else { Err(output.text) }
    })
    .await;
    assert!(output.contains("/web: 1 profile would be injected"), "{output}");
    assert!(output.contains("webhook    in force; failurePolicy Fail"), "{output}");
    assert!(output.contains("unknown    default PriorityClass; taken as absent"), "{output}");
    let output = viewer.explain(&[&words[..], &["--dry-run=server"]].concat()).expect_failure();
    assert!(output.contains("User \"e2e-viewer\" cannot create resource \"pods\""), "{output}");
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_compares_an_existing_pod_with_a_new_one() {
    const PROFILE: &str = "e2e-existing";
    let cluster = Cluster::installed().await;
    let mut profile = companion(PROFILE);
    cluster.apply("default", &profile.to_string()).expect();
    let space = TestNamespace::plain(&cluster).await;
    cluster.create_pod(&space.name, &pod("early")).await.unwrap();
    // Timestamps of the API server have a resolution of one second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    for words in
        [["annotate", "outrigger.dev/profiles=e2e-existing"], ["label", "outrigger.dev/inject=enabled"]]
    {
        cluster.kubectl(&[words[0], "namespace", &space.name, words[1]]).expect();
    }
    injects(&cluster, &space, PROFILE).await;
    cluster.create_pod(&space.name, &pod("injected")).await.unwrap();
    let explain = || {
        cluster.outrigger(&["explain", "pod/early", "pod/injected", "--namespace", &space.name], "").expect()
    };
    let output = explain();
    assert!(
        output.contains("/early: not injected: created ") && output.contains(" was enabled ("),
        "{output}"
    );
    assert!(output.contains("/injected: 1 profile injected already; nothing would change"), "{output}");
    profile["spec"]["template"]["spec"]["initContainers"][0]["args"] =
        json!(["redis-server", "--port", "6401"]);
    cluster.apply("default", &profile.to_string()).expect();
    let output = explain();
    assert!(output.contains("/injected: injected with e2e-existing (revision "), "{output}");
    assert!(
        output.contains(
            "differs    spec.initContainers[e2e-existing].args: [\"redis-server\",\"--port\",\"6400\""
        ),
        "{output}"
    );
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_side_dry_run_confirms_or_contradicts_the_prediction() {
    const PROFILE: &str = "e2e-asked";
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion(PROFILE).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, PROFILE).await;
    injects(&cluster, &space, PROFILE).await;
    let web = deployment("web", 1).to_string();
    let dry_run = || {
        let words = ["explain", "--dry-run=server", "--namespace", &space.name, "--filename", "-"];
        cluster.outrigger(&words, &web)
    };
    let output = dry_run().expect();
    assert!(output.contains("server     admits the pod as foreseen"), "{output}");
    // The prediction does not consider quotas on the number of pods.
    let quota = ["create", "quota", "none", "--hard=pods=0", "--namespace", &space.name];
    cluster.kubectl(&quota).expect();
    let output = eventually("the quota", || async {
        let output = dry_run();
        if output.success { Err(output.text) } else { Ok(output.text) }
    })
    .await;
    let part = "refuses the pod, which the decision above does not foresee: Error from server (Forbidden): ";
    assert!(output.contains(part) && output.contains("exceeded quota: none"), "{output}");
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}
