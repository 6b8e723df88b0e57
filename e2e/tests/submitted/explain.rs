//! `outrigger explain` against a cluster: with few rights, for pods that exist, and with the API server's own answer.

use e2e::{Cluster, Output, TestNamespace, companion, deployment, eventually, injects, pod};
use serde_json::{Value, json};

/// A person of the cluster.
struct Person<'a> {
    cluster: &'a Cluster,
    kubeconfig: String,
}

impl<'a> Person<'a> {
    /// Makes a kubeconfig of the administrator's that acts as another user.
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

impl Drop for Person<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.kubeconfig));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_works_with_view_in_one_namespace() {
    const PROFILE: &str = "e2e-viewed";
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion(PROFILE).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, PROFILE).await;
    cluster.apply(&space.name, &deployment("web", 1).to_string()).expect();
    let viewer = Person::new(&cluster, "e2e-viewer");
    let words = ["deployment/web", "--namespace", &space.name];
    let said = viewer.explain(&words).expect_failure();
    let refusal = format!(
        "error: cannot read Deployment {0}/web from context \"outrigger\": Error from server (Forbidden): deployments.apps \"web\" is forbidden: User \"e2e-viewer\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"{0}\"",
        space.name
    );
    assert!(said.starts_with(&refusal) && said.lines().count() == 1, "{said}");
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
    let said = eventually("the right to view", || async {
        let said = viewer.explain(&words);
        if said.success { Ok(said.text) } else { Err(said.text) }
    })
    .await;
    assert!(said.contains("/web: 1 profile would be injected"), "{said}");
    assert!(said.contains("webhook    in force; failurePolicy Fail"), "{said}");
    assert!(said.contains("unknown    default PriorityClass; taken as absent"), "{said}");
    let said = viewer.explain(&[&words[..], &["--dry-run=server"]].concat()).expect_failure();
    assert!(said.contains("User \"e2e-viewer\" cannot create resource \"pods\""), "{said}");
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_compares_a_pod_that_exists_with_a_new_one() {
    const PROFILE: &str = "e2e-existing";
    let cluster = Cluster::installed().await;
    let mut profile = companion(PROFILE);
    cluster.apply("default", &profile.to_string()).expect();
    let space = TestNamespace::plain(&cluster).await;
    cluster.create_pod(&space.name, &pod("early")).await.unwrap();
    // Times of the API server are in whole seconds.
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
    let said = explain();
    assert!(said.contains("/early: not injected: created ") && said.contains(" was enabled ("), "{said}");
    assert!(said.contains("/injected: 1 profile injected already; nothing would change"), "{said}");
    profile["spec"]["template"]["spec"]["initContainers"][0]["args"] =
        json!(["redis-server", "--port", "6401"]);
    cluster.apply("default", &profile.to_string()).expect();
    let said = explain();
    assert!(said.contains("/injected: injected with e2e-existing (revision "), "{said}");
    assert!(
        said.contains(
            "differs    spec.initContainers[e2e-existing].args: [\"redis-server\",\"--port\",\"6400\""
        ),
        "{said}"
    );
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_the_server_confirms_or_contradicts() {
    const PROFILE: &str = "e2e-asked";
    let cluster = Cluster::installed().await;
    cluster.apply("default", &companion(PROFILE).to_string()).expect();
    let space = TestNamespace::enabled(&cluster, PROFILE).await;
    injects(&cluster, &space, PROFILE).await;
    let web = deployment("web", 1).to_string();
    let ask = || {
        let words = ["explain", "--dry-run=server", "--namespace", &space.name, "--filename", "-"];
        cluster.outrigger(&words, &web)
    };
    let said = ask().expect();
    assert!(said.contains("server     admits the pod as foreseen"), "{said}");
    // A quota is nothing that the decision knows.
    let quota = ["create", "quota", "none", "--hard=pods=0", "--namespace", &space.name];
    cluster.kubectl(&quota).expect();
    let said = eventually("the quota", || async {
        let said = ask();
        if said.success { Err(said.text) } else { Ok(said.text) }
    })
    .await;
    let part = "refuses the pod, which the decision above does not foresee: Error from server (Forbidden): ";
    assert!(said.contains(part) && said.contains("exceeded quota: none"), "{said}");
    cluster.kubectl(&["delete", "clustersidecarprofile", PROFILE]).expect();
}
