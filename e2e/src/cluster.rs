use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde_json::Value;

use crate::wait::eventually;

/// The cluster under test.
#[derive(Clone)]
pub struct Cluster {
    /// Client with administrator permissions.
    pub client: Client,
}

/// Result of a command.
#[derive(Debug)]
pub struct Output {
    /// Whether its exit code was 0.
    pub success: bool,
    /// Standard output, followed by standard error.
    pub text: String,
}

static INSTALLED: OnceLock<()> = OnceLock::new();

impl Cluster {
    /// Name of the release, and of most of its objects.
    pub const RELEASE: &str = "outrigger";
    /// Namespace of the release.
    pub const SYSTEM: &str = "outrigger-system";

    /// Connects, and installs Outrigger with its chart unless this process has already done so.
    pub async fn installed() -> Self {
        let cluster = Self::connect().await;
        INSTALLED.get_or_init(|| cluster.install(&[]));
        cluster
    }

    /// Connects to the cluster.
    pub async fn connect() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig =
            Kubeconfig::read_from(variable("OUTRIGGER_KUBECONFIG")).expect("the kubeconfig is readable");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap() }
    }

    /// Returns the minor version of the API server: 37 for Kubernetes 1.37.
    pub async fn minor_version(&self) -> u32 {
        let version = self.client.apiserver_version().await.expect("the API server returns its version");
        // Some providers append a plus sign.
        version.minor.trim_end_matches('+').parse().expect("a minor version is a number")
    }

    /// Installs or upgrades the release with Helm, and waits until it is ready.
    pub fn install(&self, values: &[&str]) {
        let words: Vec<&str> = values.iter().flat_map(|value| ["--set-string", value]).collect();
        self.upgrade(&words, "").expect();
    }

    /// Installs or upgrades the release with a values file. Returns Helm's output.
    pub fn install_with(&self, values: &str) -> Output {
        self.upgrade(&["--values", "-"], values)
    }

    /// Installs or upgrades the release with a values file, and takes over fields that the server has written.
    pub fn install_over(&self, values: &str) -> Output {
        self.upgrade(&["--values", "-", "--force-conflicts"], values)
    }

    /// Installs or upgrades the release with any options of `helm upgrade`. Returns Helm's output.
    pub fn try_install(&self, options: &[&str]) -> Output {
        self.upgrade(options, "")
    }

    fn upgrade(&self, more: &[&str], input: &str) -> Output {
        let kept = self.helm(&["status", Self::RELEASE, "--namespace", Self::SYSTEM]);
        if kept.success {
            // Helm installs the CRDs once and never changes them.
            self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "charts/outrigger/crds"])
                .expect();
        }
        let repository = format!("image.repository={}", variable("OUTRIGGER_IMAGE_REPOSITORY"));
        let tag = format!("image.tag={}", variable("OUTRIGGER_IMAGE_TAG"));
        let build = format!("podAnnotations.build=b{}", variable("OUTRIGGER_IMAGE_BUILD"));
        let mut words =
            vec!["upgrade", "--install", Self::RELEASE, "charts/outrigger", "--namespace", Self::SYSTEM];
        words.extend(["--create-namespace", "--wait", "--timeout", "5m"]);
        words.extend([repository.as_str(), &tag, &build].iter().flat_map(|value| ["--set-string", value]));
        words.extend(more);
        // Another process of the tests can be upgrading at the same time.
        let mut output = run(command("OUTRIGGER_HELM").args(&words), Some(input));
        for _ in 0..120 {
            if output.success || !output.text.contains("another operation") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            output = run(command("OUTRIGGER_HELM").args(&words), Some(input));
        }
        output
    }

    /// Runs kubectl in the root of the workspace.
    pub fn kubectl(&self, words: &[&str]) -> Output {
        run(command("OUTRIGGER_KUBECTL").args(words), None)
    }

    /// Runs kubectl with a manifest as its input.
    pub fn kubectl_with(&self, words: &[&str], manifest: &str) -> Output {
        run(command("OUTRIGGER_KUBECTL").args(words), Some(manifest))
    }

    /// Returns the objects, as JSON, that `kubectl create` would send for a manifest.
    pub fn create_on_client(&self, manifest: &str) -> Output {
        let words = ["create", "--dry-run=client", "--validate=false", "--output=json", "--filename=-"];
        run(command("OUTRIGGER_KUBECTL").args(words), Some(manifest))
    }

    /// Applies a manifest whose objects name their namespaces.
    pub fn apply_as_it_is(&self, manifest: &str) -> Output {
        apply(&["apply", "-f", "-"], manifest)
    }

    /// Applies a manifest to a namespace.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Output {
        apply(&["apply", "--namespace", namespace, "-f", "-"], manifest)
    }

    /// Runs Outrigger's command line in the root of the workspace.
    pub fn outrigger(&self, words: &[&str], input: &str) -> Output {
        run(command("OUTRIGGER_BINARY").args(words), Some(input))
    }

    /// Runs Helm in the root of the workspace.
    pub fn helm(&self, words: &[&str]) -> Output {
        run(command("OUTRIGGER_HELM").args(words), None)
    }

    /// Returns a command of `cargo xtask` that runs in the root of the workspace.
    pub fn xtask(&self, words: &[&str]) -> Command {
        let mut xtask = command("OUTRIGGER_XTASK");
        xtask.args(words);
        xtask
    }

    /// Returns the API of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates a pod.
    ///
    /// # Errors
    /// Fails with the API server's message if the pod is rejected.
    pub async fn create_pod(&self, namespace: &str, pod: &Value) -> Result<Value, String> {
        self.create_pod_with(namespace, pod, &PostParams::default()).await
    }

    /// Creates a pod in a server-side dry run.
    ///
    /// # Errors
    /// Fails with the API server's message if the pod is rejected.
    pub async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value, String> {
        self.create_pod_with(namespace, pod, &PostParams { dry_run: true, field_manager: None }).await
    }

    async fn create_pod_with(
        &self,
        namespace: &str,
        pod: &Value,
        params: &PostParams,
    ) -> Result<Value, String> {
        let pod: Pod = serde_json::from_value(pod.clone()).expect("the test's pod is valid");
        let api = self.api::<Pod>(namespace);
        loop {
            match api.create(params, &pod).await {
                Ok(created) => return Ok(serde_json::to_value(created).unwrap()),
                // A namespace gets its default service account shortly after its creation.
                Err(kube::Error::Api(answer))
                    if answer.message.contains("serviceaccount \"default\" not found") =>
                {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                Err(kube::Error::Api(answer)) => return Err(answer.message.clone()),
                Err(other) => panic!("the API server does not respond: {other}"),
            }
        }
    }

    /// Returns the entries of the API server's audit log for a namespace, oldest first.
    pub fn audited(&self, namespace: &str) -> Vec<Value> {
        Self::audit_log(&format!("\"namespace\":\"{namespace}\""))
    }

    /// Returns the entries of the API server's audit log for a user, oldest first.
    pub fn audited_by(&self, user: &str) -> Vec<Value> {
        Self::audit_log(&format!("\"username\":\"{user}\""))
    }

    /// Returns the entries of the audit log that contain a text.
    fn audit_log(wanted: &str) -> Vec<Value> {
        let log = std::env::var_os("OUTRIGGER_AUDIT_LOG");
        let log = PathBuf::from(
            log.expect("OUTRIGGER_AUDIT_LOG is not set: set it to the path of the API server's audit log"),
        );
        let stem = log.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = std::fs::read_dir(log.parent().unwrap()).expect("the audit log's folder is readable");
        // Rotated logs have a time after the name.
        let mut files: Vec<PathBuf> = folder
            .map(|file| file.unwrap().path())
            .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&stem)))
            .collect();
        files.sort();
        let lines = files.iter().flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().filter(|line| line.contains(wanted)).map(str::to_owned).collect::<Vec<_>>()
        });
        // The last line can be incomplete.
        lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }

    /// Returns the pods that a label selects.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Vec<Value> {
        let pods = self.api::<Pod>(namespace).list(&ListParams::default().labels(labels)).await.unwrap();
        pods.items.into_iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
    }

    /// Waits until a pod is ready, and returns it.
    pub async fn ready_pod(&self, namespace: &str, name: &str) -> Value {
        eventually(&format!("pod {namespace}/{name} being ready"), || async {
            let pod = self.api::<Pod>(namespace).get(name).await.map_err(|error| error.to_string())?;
            let pod = serde_json::to_value(pod).unwrap();
            if is_ready(&pod) { Ok(pod) } else { Err(pod["status"].to_string()) }
        })
        .await
    }

    /// Waits until a label selects `count` ready pods and none that is being deleted, and returns them.
    pub async fn ready_pods(&self, namespace: &str, labels: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} ready pods {labels} in {namespace}"), || async {
            let pods = self.pods(namespace, labels).await;
            let all =
                pods.iter().all(|pod| is_ready(pod) && pod["metadata"].get("deletionTimestamp").is_none());
            if all && pods.len() == count { Ok(pods) } else { Err(format!("{pods:?}")) }
        })
        .await
    }
}

impl Output {
    /// Returns the output of a command that must succeed.
    #[track_caller]
    pub fn expect(self) -> String {
        assert!(self.success, "the command failed:\n{}", self.text);
        self.text
    }

    /// Returns the output of a command that must fail.
    #[track_caller]
    pub fn expect_failure(self) -> String {
        assert!(!self.success, "the command should have failed:\n{}", self.text);
        self.text
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test e2e`, which starts a cluster and sets it")
    })
}

fn command(program: &str) -> Command {
    let mut command = Command::new(PathBuf::from(variable(program)));
    command.env("KUBECONFIG", variable("OUTRIGGER_KUBECONFIG")).current_dir(variable("OUTRIGGER_WORKSPACE"));
    command
}

/// Applies a manifest. Retries while the webhook is unreachable, because a Service's rules reach the node shortly after
/// its pods are ready.
fn apply(words: &[&str], manifest: &str) -> Output {
    let mut output = Output { success: false, text: String::new() };
    for _ in 0..60 {
        output = run(command("OUTRIGGER_KUBECTL").args(words), Some(manifest));
        if output.success || !output.text.contains("failed calling webhook") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    output
}

fn run(command: &mut Command, input: Option<&str>) -> Output {
    use std::io::Write as _;
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    let done = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    Output { success: done.status.success(), text }
}
