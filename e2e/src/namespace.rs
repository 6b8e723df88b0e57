use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::cluster::Cluster;
use crate::exclusive::injects;
use crate::manifests::mandatory;
use crate::wait::eventually;

/// A namespace for one test. It goes when the test ends; a test that fails prints what became of its pods.
pub struct TestNamespace {
    /// Its name.
    pub name: String,
    pub(crate) cluster: Cluster,
    made: Instant,
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
        let made = Self { name, cluster: cluster.clone(), made: Instant::now() };
        made.has_service_account().await;
        made
    }

    /// A namespace without any label of ours, in which a Mandatory profile of this name is enforced.
    pub async fn guarded(cluster: &Cluster, profile: &str) -> Self {
        cluster.apply("default", &mandatory(profile).to_string()).expect();
        let made = Self::plain(cluster).await;
        cluster.kubectl(&["label", "namespace", &made.name, &format!("e2e-guard={profile}")]).expect();
        let enforced =
            ["wait", "--for=condition=Enforced", "--timeout=60s", "clustersidecarprofile", profile];
        cluster.kubectl(&enforced).expect();
        injects(cluster, &made, profile).await;
        made
    }

    /// Tells `cargo xtask test` how long this test took.
    fn note_time(&self) {
        let Some(file) = std::env::var_os("OUTRIGGER_TIMES") else { return };
        let thread = std::thread::current();
        let line = format!("{:.1} {}\n", self.made.elapsed().as_secs_f64(), thread.name().unwrap_or("?"));
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        // Nothing depends on it, and this runs while a test may be failing.
        drop(opened.and_then(|mut file| file.write_all(line.as_bytes())));
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
        self.note_time();
    }
}
