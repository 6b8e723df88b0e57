//! Cost of reading large manifests: `cargo xtask bench cli`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::args::Args;
use crate::report::{print, step};
use crate::{sh, workspace};

/// Number of Deployments in each file.
const DEPLOYMENTS: usize = 10_000;
/// Maximum processor time of one run, in seconds.
const MOST_SECONDS: f64 = 5.0;

/// Commands, each with the arguments before a file and its profile.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("inject", &["inject", "--enable", "-f"]),
    ("explain -o json", &["explain", "-o", "json", "--enable", "-f"]),
    ("lint", &["lint"]),
];

/// Format of a file.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    before: &'static str,
    between: &'static str,
    after: &'static str,
    deployment: fn(usize) -> String,
}

const FORMS: [Form; 4] = [
    Form { name: "documents.yaml", before: "", between: "---\n", after: "", deployment: yaml },
    Form {
        name: "list.yaml",
        before: "apiVersion: v1\nkind: List\nitems:\n",
        between: "",
        after: "",
        deployment: yaml_item,
    },
    Form { name: "documents.json", before: "", between: "\n", after: "\n", deployment: json },
    Form {
        name: "list.json",
        before: "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [",
        between: ",\n",
        after: "]}\n",
        deployment: json,
    },
];

/// Runs every command over every form and prints processor time and peak memory.
pub(super) fn run(args: Args) -> Result<()> {
    args.end(&[])?;
    step("build outrigger", |_| {
        sh::run(sh::line("cargo build --release --locked --package outrigger").current_dir(workspace::root()))
    })?;
    let program = workspace::target().join("release/outrigger");
    let folder = workspace::target().join("bench/manifests");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let profile = workspace::root().join("profiles/log-shipper/profile.yaml");
    print(format!("{:<18}{:<17}{:>8}{:>9}{:>9}{:>12}", "", "", "MB", "CPU s", "wall s", "memory MB"));
    let mut missed = 0;
    for form in FORMS {
        let file = folder.join(form.name);
        let text = form.text();
        fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        for (name, arguments) in COMMANDS {
            let used = measure(&program, name, arguments, &file, &profile)?;
            missed += usize::from(used.processor > MOST_SECONDS);
            let megabytes = text.len() / 1_000_000;
            print(format!(
                "{:<18}{name:<17}{megabytes:>8}{:>9.2}{:>9.2}{:>12}",
                form.name, used.processor, used.wall, used.memory
            ));
        }
    }
    print(format!("aim: at most {MOST_SECONDS} s of processor time each; missed by {missed} of 12"));
    Ok(())
}

impl Form {
    fn text(self) -> String {
        let deployments: Vec<String> = (0..DEPLOYMENTS).map(self.deployment).collect();
        [self.before, &deployments.join(self.between), self.after].concat()
    }
}

struct Used {
    /// Seconds of user and system time.
    processor: f64,
    wall: f64,
    /// Peak resident memory in MB.
    memory: u64,
}

/// Runs a command on one processor.
fn measure(program: &Path, name: &str, arguments: &[&str], file: &Path, profile: &Path) -> Result<Used> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(arguments).arg(file);
    if name != "lint" {
        command.arg("--profiles");
    }
    command.arg(profile).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().context("cannot start taskset")?;
    let path = format!("/proc/{}", child.id());
    let mut used = Used { processor: 0.0, wall: 0.0, memory: 0 };
    // /proc loses the figures of a process when it ends, so they are read repeatedly until then.
    while child.try_wait()?.is_none() {
        if let Some((processor, memory)) = figures(&path) {
            (used.processor, used.memory) = (processor, memory.max(used.memory));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    used.wall = started.elapsed().as_secs_f64();
    let status = child.wait()?;
    if !status.success() {
        bail!("outrigger {name} {} failed ({status})", file.display());
    }
    Ok(used)
}

/// Returns the processor time in seconds and the peak memory in MB of a running process.
fn figures(path: &str) -> Option<(f64, u64)> {
    let stat = fs::read_to_string(format!("{path}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    let status = fs::read_to_string(format!("{path}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.split_whitespace().next()?.parse().ok()?;
    // The kernel counts in hundredths of a second (USER_HZ).
    Some((f64::from(ticks(11)? + ticks(12)?) / 100.0, kib / 1024))
}

/// Returns a Deployment that chooses a sidecar.
fn yaml(index: usize) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{index}
  namespace: shop
  labels:
    app: web-{index}
    team: checkout
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web-{index}
  template:
    metadata:
      labels:
        app: web-{index}
        team: checkout
      annotations:
        outrigger.dev/profiles: log-shipper
    spec:
      containers:
      - name: app
        image: "registry.example/team/web:1.{index}.0"
        env:
        - name: LEVEL
          value: "info"
        - name: DATABASE
          valueFrom:
            secretKeyRef: {{name: database, key: url}}
        ports:
        - name: http
          containerPort: 8080
        resources:
          requests: {{cpu: 100m, memory: 128Mi}}
          limits: {{memory: 256Mi}}
        readinessProbe:
          httpGet: {{path: /ready, port: http}}
          periodSeconds: 5
        volumeMounts:
        - name: config
          mountPath: /etc/web
      volumes:
      - name: config
        configMap:
          name: web-{index}
"#
    )
}

fn yaml_item(index: usize) -> String {
    let mut text = String::new();
    for (number, line) in yaml(index).lines().enumerate() {
        let _ = writeln!(text, "{} {line}", if number == 0 { "-" } else { " " });
    }
    text
}

fn json(index: usize) -> String {
    let labels = format!(r#"{{"app": "web-{index}", "team": "checkout"}}"#);
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web-{index}", "namespace": "shop", "labels": {labels}}},
"spec": {{"replicas": 3, "selector": {{"matchLabels": {{"app": "web-{index}"}}}}, "template": {{
  "metadata": {{"labels": {labels}, "annotations": {{"outrigger.dev/profiles": "log-shipper"}}}},
  "spec": {{"containers": [{{"name": "app", "image": "registry.example/team/web:1.{index}.0",
    "env": [{{"name": "LEVEL", "value": "info"}}, {{"name": "DATABASE", "valueFrom": {{"secretKeyRef": {{"name": "database", "key": "url"}}}}}}],
    "ports": [{{"name": "http", "containerPort": 8080}}],
    "resources": {{"requests": {{"cpu": "100m", "memory": "128Mi"}}, "limits": {{"memory": "256Mi"}}}},
    "readinessProbe": {{"httpGet": {{"path": "/ready", "port": "http"}}, "periodSeconds": 5}},
    "volumeMounts": [{{"name": "config", "mountPath": "/etc/web"}}]}}],
    "volumes": [{{"name": "config", "configMap": {{"name": "web-{index}"}}}}]}}}}}}}}"#
    )
}
