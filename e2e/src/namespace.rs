use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::Cluster;
use crate::wait::eventually;

/// A namespace for one test. It goes when the test ends; a test that fails prints what became of its pods.
pub struct TestNamespace {
    /// Its name.
    pub name: String,
    pub(crate) cluster: Cluster,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl TestNamespace {
    /// A namespace that is enabled and whose default is these profiles.
    pub async fn enabled(cluster: &Cluster, profiles: &str) -> Self {
        let made = Self::plain(cluster).await;
        cluster
            .kubectl(&["annotate", "namespace", &made.name, &format!("outrigger.dev/profiles={profiles}")])
            .expect();
        cluster.kubectl(&["label", "namespace", &made.name, "outrigger.dev/inject=enabled"]).expect();
        made
    }

    /// A namespace as anybody makes one.
    pub async fn plain(cluster: &Cluster) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]).expect();
        let made = Self { name, cluster: cluster.clone() };
        made.has_service_account().await;
        made
    }

    /// Waits for the service account without which no pod can be created.
    async fn has_service_account(&self) {
        eventually("the namespace's service account", || async {
            let account =
                self.cluster.kubectl(&["get", "serviceaccount", "default", "--namespace", &self.name]);
            if account.success { Ok(()) } else { Err(account.text) }
        })
        .await;
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for words in [
                &["describe", "pods", "--namespace", &self.name][..],
                &["get", "events", "--namespace", &self.name, "--sort-by=.lastTimestamp"],
                &[
                    "logs",
                    "--namespace",
                    Cluster::SYSTEM,
                    "--selector",
                    "app.kubernetes.io/name=outrigger",
                    "--tail=40",
                ],
            ] {
                eprintln!("$ kubectl {}\n{}", words.join(" "), self.cluster.kubectl(words).text);
            }
        }
        self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
