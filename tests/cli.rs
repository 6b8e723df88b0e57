//! The command line, as a person or a script meets it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary in the workspace's root, where no kubeconfig is found.
fn outrigger(words: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("KUBECONFIG", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

const SHOP: [&str; 5] = ["--profiles", "profiles", "e2e/demo/namespace.yaml", "--namespace", "shop"];

fn in_shop(words: &[&str]) -> Said {
    outrigger(&[words, &SHOP].concat(), "")
}

#[test]
fn explain_gives_the_answer_first_then_why() {
    let said = in_shop(&["explain", "-f", "e2e/demo/pods/chosen.yaml"]);
    assert_eq!(
        said.out,
        "shop/cache: 1 profile would be injected

  enabled    by the label outrigger.dev/inject=enabled on namespace \"shop\"
  chosen     prometheus-exporter  annotation outrigger.dev/profiles on the pod
  left out   log-shipper          namespace default, replaced by the pod's own choice
             prometheus-exporter  container prometheus-exporter-postgresql: its condition (when) is false
             prometheus-exporter  container prometheus-exporter-nginx: its condition (when) is false
  set        prometheus-exporter.server  = Redis  annotation on the pod
  order      prometheus-exporter-redis* → (the pod's own) redis       * native sidecar
  adds       1 native sidecar, 1 volume, 3 annotations
             prometheus-exporter  native sidecar prometheus-exporter-redis; volume no-service-account-token; annotations prometheus.io/path, prometheus.io/port, prometheus.io/scrape
  costs      +10m CPU, +16Mi memory request per pod; QoS BestEffort becomes Burstable
  notes      the pod's terminationGracePeriodSeconds is 5: sidecars stop after the app and have what is left of it, at least 2 s
  unknown    LimitRanges, default PriorityClass, ServiceAccount \"default\"; taken as absent
"
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

const CHECKOUT: [&str; 3] = ["-f", "tests/cli/shop", "--offline"];

#[test]
fn every_row_of_an_explanation() {
    let said = outrigger(&[&["explain"], &CHECKOUT[..]].concat(), "");
    assert_eq!(
        said.out,
        "shop/checkout: 3 profiles would be injected

  enabled    by the label outrigger.dev/inject=enabled on namespace \"shop\"
  chosen     mesh-proxy   matches by itself: namespaceSelector mesh=on  (mandatory)
             log-shipper  annotation outrigger.dev/profiles on the pod
             vault        comes along: required by log-shipper
  left out   statsd       namespace default, replaced by the pod's own choice
             nightly      would match by itself, but its condition \"is-a-job\" is false
             fragile      onError: Ignore; needs the parameter \"version\": set the annotation fragile.outrigger.dev/version (pods and namespaces may) [ParameterMissing]
             log-shipper  container log-debugger: its condition (when) is false
  set        log-shipper.directory  = /srv/log          annotation on the pod
             log-shipper.endpoint   = logs.example:514  annotation on namespace \"shop\"
  order      mesh-init → mesh-proxy* → log-shipper* → (the pod's own) migrate → (injected) vault → (the pod's own) app       * native sidecar
  adds       2 native sidecars, 1 init container, 1 volume, 1 label, 1 annotation; app: +1 env, +1 mount
             mesh-proxy   native sidecar mesh-proxy; init container mesh-init
             log-shipper  native sidecar log-shipper; volume app-logs; label logging; annotation cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes; app: env LOG_DIR, mount /srv/log
  changes    vault        takes up the pod's container vault, with the pod's fields on top
             log-shipper  terminationGracePeriodSeconds raised from 5 to 30
  costs      +10m CPU, +128Mi memory request per pod; QoS Burstable, as before
  unknown    LimitRanges, default PriorityClass, ServiceAccount \"default\"; taken as absent
  warns      container \"app\" sets the variable LOG_LEVEL itself, so the value of profile \"log-shipper\" is not used there; remove it from the container, or include the profile's value in it [VariableKept]
             \"mesh-proxy\" of profile \"mesh-proxy\" listens on 15001, as does container \"app\" [PortClash]
             HorizontalPodAutoscaler \"checkout\" scales by cpu utilization, and container \"mesh-proxy\" of profile \"mesh-proxy\" requests no cpu, so it could not scale any more; add resources.requests.cpu to the profile [HpaWithoutRequest]
"
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn the_trace_is_printed_whole_and_in_order() {
    let said = outrigger(&[&["explain", "--trace"], &CHECKOUT[..]].concat(), "");
    let trace: Vec<&str> = said.out.lines().skip_while(|line| !line.starts_with("  trace ")).collect();
    let first = "  trace      Enable      EnabledByNamespace           enabled by the label";
    assert!(trace[0].starts_with(first), "{}", trace[0]);
    let left_out = trace.iter().find(|line| line.contains(" ProfileLeftOut ")).unwrap();
    assert!(left_out.contains(" warning  profile \"fragile\" was left out"), "{left_out}");
    assert!(trace.last().unwrap().contains("Patch       Injected"), "{trace:?}");
    let json = outrigger(&[&["explain", "-o", "json"], &CHECKOUT[..]].concat(), "");
    let all: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(all[0]["trace"].as_array().unwrap().len(), trace.len());
}

#[test]
fn what_machines_read_has_its_own_fields() {
    let said = outrigger(&[&["explain", "-o", "json"], &CHECKOUT[..]].concat(), "");
    let all: Value = serde_json::from_str(&said.out).unwrap();
    let checkout = &all[0];
    assert_eq!(checkout["kind"], "Deployment");
    let parameter = json!({ "profile": "log-shipper", "name": "endpoint", "value": "logs.example:514", "setBy": "Namespace" });
    assert!(checkout["parameters"].as_array().unwrap().contains(&parameter), "{}", checkout["parameters"]);
    let cost = json!({ "requests": { "cpu": "10m", "memory": "128Mi" }, "qosBefore": "Burstable", "qosAfter": "Burstable" });
    assert_eq!(checkout["cost"], cost);
    assert_eq!(
        checkout["containers"][1],
        json!({ "name": "mesh-proxy", "role": "native sidecar", "profile": "mesh-proxy" })
    );
    let line = &checkout["trace"][0];
    assert_eq!((&line["step"], &line["level"]), (&json!("Enable"), &json!("Info")));
    let codes: Vec<&Value> = checkout["warnings"].as_array().unwrap().iter().map(|w| &w["code"]).collect();
    assert_eq!(codes, ["ProfileLeftOut", "VariableKept", "PortClash", "HpaWithoutRequest"]);
}

#[test]
fn what_was_injected_before_is_explained_from_what_its_author_wrote() {
    let once = outrigger(&[&["inject"], &CHECKOUT[..]].concat(), "");
    let said = outrigger(&["explain", "-f", "-", "--offline"], &once.out);
    let head = "shop/checkout: 3 profiles injected already; nothing would change

  before     injected with mesh-proxy, vault, log-shipper; explained from the original pod
  enabled ";
    assert!(said.out.starts_with(head), "{}", said.out);
    assert!(
        said.out.contains("log-shipper  terminationGracePeriodSeconds raised from 5 to 30"),
        "{}",
        said.out
    );
}

#[test]
fn a_denial_shows_how_far_it_came_and_nothing_that_would_not_happen() {
    let pod = "{kind: Pod, apiVersion: v1, metadata: {name: bad, annotations: {
        outrigger.dev/profiles: log-shipper, log-shipper.outrigger.dev/memory: 2Gx}},
        spec: {containers: [{name: app, image: 'a:1'}]}}";
    let said =
        outrigger(&["explain", "-f", "-", "--profiles", "tests/cli/shop", "-n", "shop", "--offline"], pod);
    assert_eq!(said.code, 1);
    assert!(
        said.out.starts_with("shop/bad: the pod would be denied: log-shipper.outrigger.dev/memory: \"2Gx\""),
        "{}",
        said.out
    );
    assert!(said.out.contains("\n  set  ") && !said.out.contains("\n  adds "), "{}", said.out);
}

#[test]
fn live_objects_are_named_as_in_kubectl() {
    for (words, part) in [
        (
            &["explain", "service/web"][..],
            "\"service\" is no kind with pods; the kinds are pod (po), deployment (deploy)",
        ),
        (&["explain", "web"], "write the kind and the name, as deployment/checkout"),
        (&["explain", "deploy/web", "--offline"], "cannot be used with '--offline'"),
        (
            &["explain", "deploy/web"],
            "cannot load the kubeconfig for these objects; read manifests from files with -f",
        ),
    ] {
        let said = outrigger(words, "");
        assert_eq!(said.code, 2, "{words:?}: {}", said.err);
        assert!(said.err.contains(part), "{words:?}: {part}\nis missing in\n{}", said.err);
    }
}

#[test]
fn a_denial_and_a_skip_are_told_apart() {
    let said = in_shop(&["explain", "-f", "e2e/demo/pods/misspelt.yaml"]);
    assert!(
        said.out.starts_with("shop/misspelt: the pod would be denied: profile \"log-shiper\""),
        "{}",
        said.out
    );
    assert_eq!(said.code, 1);
    let said = in_shop(&["explain", "-f", "e2e/demo/pods/opted-out.yaml"]);
    assert_eq!(
        said.out,
        "shop/plain: nothing would be injected: the label outrigger.dev/inject=disabled on the pod [DisabledByPod]\n"
    );
    assert_eq!(said.code, 0);
}

#[test]
fn explain_for_machines() {
    let said = in_shop(&["explain", "-f", "e2e/workloads", "e2e/demo/pods", "-o", "json"]);
    let all: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    assert_eq!(all.len(), 7, "four workloads and three pods");
    let of = |name: &str| all.iter().find(|pod| pod["name"] == name).unwrap();
    assert_eq!(of("price-import")["profiles"][0]["name"], "log-shipper");
    assert_eq!(of("misspelt")["reason"]["code"], "ProfileNotFound");
    assert_eq!(of("plain")["outcome"], "skipped");
}

#[test]
fn inject_writes_every_object_and_injects_those_with_pods() {
    let said = in_shop(&["inject", "-f", "e2e/workloads", "-o", "json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let items = list["items"].as_array().unwrap();
    for (kind, pointer) in [
        ("Deployment", "/spec/template"),
        ("StatefulSet", "/spec/template"),
        ("Job", "/spec/template"),
        ("CronJob", "/spec/jobTemplate/spec/template"),
    ] {
        let object = items.iter().find(|item| item["kind"] == kind).unwrap();
        let template = object.pointer(pointer).unwrap();
        assert_eq!(template["spec"]["initContainers"][0]["name"], "log-shipper", "{kind}");
    }
    assert!(items.iter().any(|item| item["kind"] == "Service"));

    // What comes out goes in again and comes out the same.
    let again = outrigger(&[&["inject", "-f", "-", "-o", "json"][..], &SHOP].concat(), &said.out);
    assert_eq!(again.out, said.out);
}

#[test]
fn keys_on_a_workload_itself_are_reported() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    outrigger.dev/profiles: log-shipper\nspec:\n  template:\n    spec:\n      containers: [{name: app, image: web}]\n";
    let place = "the annotation outrigger.dev/profiles on the Deployment itself has no effect on its pods; move it to spec.template.metadata.annotations";
    let said = outrigger(&["lint", "-"], deployment);
    let expected = format!(
        "warning: standard input:7: Deployment/web: metadata.annotations[outrigger.dev/profiles]: {place}\n0 profiles: 0 errors, 1 warning\n"
    );
    assert_eq!((said.code, said.out), (0, expected));
    let elsewhere = ["--profiles", "profiles", "-n", "elsewhere", "-f", "-"];
    let said = outrigger(&[&["explain"], &elsewhere[..]].concat(), deployment);
    assert!(said.out.contains(&format!("{place} [MisplacedKey]")), "{}", said.out);
    let said = outrigger(&[&["inject"], &elsewhere[..]].concat(), deployment);
    assert!(
        said.err.contains(&format!("warning: Deployment shop/web: {place} [MisplacedKey]\n")),
        "{}",
        said.err
    );
    assert!(said.err.contains("unchanged: Deployment shop/web: "), "{}", said.err);
}

#[test]
fn inject_changes_nothing_but_pods() {
    let service = "# The port of the app.\napiVersion: v1\nkind: Service\nmetadata: {name: web} # short\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\nspec:\n  template:\n    metadata:\n    spec:\n      volumes:\n      containers: [{name: app, image: web}]\n";
    let elsewhere = ["inject", "--profiles", "profiles", "-n", "elsewhere", "-f", "-"];
    let given = format!("{service}---\n{deployment}");
    let said = outrigger(&elsewhere, &given);
    assert_eq!(said.out, format!("---\n{given}"), "{}", said.err);
    let said = outrigger(&[&elsewhere[..], &["-o", "json"]].concat(), deployment);
    let written: Value = serde_json::from_str(&said.out).unwrap();
    for pointer in ["/metadata", "/spec/template/metadata", "/spec/template/spec/volumes"] {
        assert_eq!(written.pointer(pointer), Some(&Value::Null), "{pointer}");
    }
}

#[test]
fn every_kind_with_a_pod_template_is_injected() {
    let pod = json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "containers": [{ "name": "app", "image": "a:1" }] } });
    let in_spec = json!({ "template": pod });
    let objects: Vec<Value> = [
        ("apps/v1", "StatefulSet", json!({ "spec": in_spec })),
        ("apps/v1", "DaemonSet", json!({ "spec": in_spec })),
        ("apps/v1", "ReplicaSet", json!({ "spec": in_spec })),
        ("v1", "ReplicationController", json!({ "spec": in_spec })),
        ("v1", "PodTemplate", json!({ "template": pod })),
        (
            "batch/v1",
            "CronJob",
            json!({ "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": in_spec } } }),
        ),
    ]
    .into_iter()
    .map(|(version, kind, mut object)| {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({ "name": "x" });
        object
    })
    .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let said = outrigger(&[&["inject", "-f", "-", "-o", "json"][..], &SHOP].concat(), &list);
    assert_eq!(said.code, 0, "{}", said.err);
    let injected: Value = serde_json::from_str(&said.out).unwrap();
    for (index, object) in objects.iter().enumerate() {
        let pointer = match object["kind"].as_str().unwrap() {
            "CronJob" => "/spec/jobTemplate/spec/template",
            "PodTemplate" => "/template",
            _ => "/spec/template",
        };
        let template = injected["items"][index].pointer(pointer).unwrap();
        assert_eq!(template["spec"]["initContainers"][0]["name"], "log-shipper", "{object}");
        assert_eq!(template["metadata"]["labels"]["app"], "x", "{object}");
        assert!(template.get("kind").is_none(), "a template is no Pod: {object}");
    }
}

#[test]
fn an_autoscaler_that_would_go_blind_is_a_warning() {
    let said = outrigger(&[&["inject"], &CHECKOUT[..]].concat(), "");
    let warning =
        "warning: Deployment shop/checkout: HorizontalPodAutoscaler \"checkout\" scales by cpu utilization";
    assert!(said.err.contains(warning) && said.err.contains("[HpaWithoutRequest]"), "{}", said.err);
    assert_eq!(said.code, 0);
}

#[test]
fn lint_says_what_is_wrong_in_a_profile_with_its_line() {
    let said = outrigger(&["lint", "tests/cli/lint/wrong.yaml"], "");
    assert_eq!(
        said.out,
        "\
error: tests/cli/lint/wrong.yaml:5: ClusterSidecarProfile/proxy: spec.onErorr: a profile has no such field; did you mean \"onError\"?
error: tests/cli/lint/wrong.yaml:16: ClusterSidecarProfile/proxy: spec.template.spec.initContainers[0].imagePulPolicy: Kubernetes has no such field here; did you mean \"imagePullPolicy\"?
error: tests/cli/lint/wrong.yaml:23: ClusterSidecarProfile/tracer: metadata.lables: a profile has no such field; did you mean \"labels\"?
error: tests/cli/lint/wrong.yaml:30: ClusterSidecarProfile/tracer: spec.template.spec.initContainers[0].ports[0].containerport: Kubernetes has no such field here; did you mean \"containerPort\"?
warning: tests/cli/lint/wrong.yaml:30: ClusterSidecarProfile/tracer: spec.template.spec.initContainers[0].image: \"trace/proxy\" has no tag, so it means whatever is the latest; pin a version
2 profiles: 4 errors, 1 warning
"
    );
    assert_eq!((said.code, said.err.as_str()), (1, ""));
}

#[test]
fn lint_says_what_is_wrong_between_profiles() {
    let said = outrigger(&["lint", "tests/cli/lint/between.yaml", "tests/cli/lint/again.yaml"], "");
    assert_eq!(
        said.out,
        "\
error: tests/cli/lint/between.yaml:10: ClusterSidecarProfile/mesh: spec.order.before[0]: the start order is a cycle: mesh → tracing → mesh
warning: tests/cli/lint/between.yaml:11: ClusterSidecarProfile/mesh: spec.order.after[0]: there is no profile \"valt\" here, so this orders nothing; did you mean \"vault\"?
warning: tests/cli/lint/between.yaml:15: ClusterSidecarProfile/mesh: spec.template.spec.initContainers[0].name: profile \"tracing\" has a container \"proxy\", too, and both match by themselves; a pod that both match can have only one of them
error: tests/cli/lint/between.yaml:21: ClusterSidecarProfile/tracing: spec.order.before[0]: the start order is a cycle: tracing → mesh → tracing
warning: tests/cli/lint/between.yaml:22: ClusterSidecarProfile/tracing: spec.requires[1]: there is no profile \"secrets\" here, and without it this one cannot be injected
warning: tests/cli/lint/between.yaml:26: ClusterSidecarProfile/tracing: spec.template.spec.initContainers[0].name: profile \"mesh\" has a container \"proxy\", too, and both match by themselves; a pod that both match can have only one of them
error: tests/cli/lint/again.yaml:3: ClusterSidecarProfile/vault: metadata.name: the same profile is also in tests/cli/lint/between.yaml; only one of them can be applied
4 profiles: 3 errors, 4 warnings
"
    );
    assert_eq!(said.code, 1);
}

#[test]
fn lint_is_content_with_warnings_and_counts_them_for_machines() {
    let warned = "{apiVersion: outrigger.dev/v1alpha1, kind: SidecarProfile, metadata: {name: a, namespace: shop}, \
                  spec: {order: {after: [nobody]}, template: {metadata: {labels: {a: b}}}}}";
    let said = outrigger(&["lint", "-", "-o", "json"], warned);
    assert_eq!(said.code, 0, "{}", said.out);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&report["profiles"], &report["errors"], &report["warnings"]),
        (&json!(1), &json!(0), &json!(1))
    );
    let wanted = json!({
        "severity": "warning", "file": "standard input", "line": 1, "kind": "SidecarProfile", "namespace": "shop",
        "name": "a", "path": "spec.order.after[0]",
        "message": "there is no profile \"nobody\" here, so this orders nothing",
    });
    assert_eq!(report["findings"], json!([wanted]));
}

#[test]
fn the_profiles_of_the_catalogue_pass() {
    let said = outrigger(&["lint", "profiles"], "");
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles")).unwrap().count();
    let wanted = format!("{folders} profiles: 0 errors, 0 warnings\n");
    assert_eq!((said.code, said.out.as_str()), (0, wanted.as_str()));
}

#[test]
fn a_diff_shows_what_changes_and_nothing_else() {
    let said =
        in_shop(&["inject", "-f", "e2e/demo/pods/chosen.yaml", "e2e/demo/pods/opted-out.yaml", "--diff"]);
    let head = "--- Pod shop/cache as written\n+++ Pod shop/cache as injected\n";
    assert!(said.out.starts_with(head), "{}", said.out);
    assert!(said.out.contains("\n+  initContainers:\n") && !said.out.contains("plain"), "{}", said.out);
}

#[test]
fn a_denied_pod_is_left_out_and_said() {
    let said = in_shop(&["inject", "-f", "e2e/demo/pods"]);
    assert_eq!(said.code, 1);
    let start = "denied: Pod shop/misspelt (e2e/demo/pods/misspelt.yaml): profile";
    assert!(said.err.starts_with(start), "{}", said.err);
    assert!(said.out.contains("name: cache") && !said.out.contains("name: misspelt"));
}

#[test]
fn profiles_and_namespaces_among_the_manifests_count() {
    let file = "
{kind: Namespace, apiVersion: v1, metadata: {name: new, labels: {outrigger.dev/inject: enabled}}}
---
{kind: ClusterSidecarProfile, apiVersion: outrigger.dev/v1alpha1, metadata: {name: all},
 spec: {match: {}, template: {spec: {containers: [{name: extra, image: 'x:1'}]}}}}
---
{kind: Rollout, apiVersion: argoproj.io/v1alpha1, metadata: {name: web, namespace: new},
 spec: {template: {spec: {containers: [{name: app, image: 'y:1'}]}}}}
";
    let said = outrigger(&["inject", "--offline", "-f", "-", "--template", "Rollout=/spec/template"], file);
    assert!(said.out.contains("outrigger.dev/injected"), "{}{}", said.out, said.err);
    let plain = outrigger(&["inject", "--offline", "-f", "-"], file);
    assert!(!plain.out.contains("outrigger.dev/injected"), "a custom kind without --template was injected");
    let elsewhere = file.replace("name: web, namespace: new", "name: web, namespace: other");
    let words = ["explain", "--offline", "-f", "-", "--template", "Rollout=/spec/template"];
    assert!(outrigger(&words, &elsewhere).out.contains("[NamespaceNotEnabled]"));
    let enabled = outrigger(&[&words[..], &["--enable"]].concat(), &elsewhere);
    assert!(enabled.out.contains("1 profile would be injected"), "{}", enabled.out);
}

#[test]
fn what_cannot_be_read_is_2_and_says_what_to_do() {
    for (words, input, part) in [
        (&["inject", "--offline", "-f", "no-such-file"][..], "", "cannot read no-such-file"),
        (&["inject", "--offline", "-f", "-"], "a: [", "invalid YAML: did not find expected node content"),
        (&["explain", "--offline", "-f", "-"], "a: 1", "not a Kubernetes object"),
        (
            &["inject", "--offline", "-f", "-"],
            "kind: A\n---\na: 1\na: 2\n",
            "standard input:4: key \"a\" is there twice",
        ),
        (&["explain", "-f", "-"], "", "--profiles PATH, or do without by --offline"),
        (&["explain"], "", "--filename"),
        (&["lint"], "", "<PATH>"),
        (&["lint", "no-such-file"], "", "cannot read no-such-file"),
        (&["injct"], "", "similar subcommand"),
        (&["inject", "--offline", "-f", "-", "--template", "Rollout"], "", "Rollout=/spec/template"),
    ] {
        let said = outrigger(words, input);
        assert_eq!(said.code, 2, "{words:?}: {}", said.err);
        assert!(said.err.contains(part), "{words:?}: {part}\nis missing in\n{}", said.err);
    }
}

#[test]
fn the_kinds_are_printed_as_yaml() {
    let said = outrigger(&["crds"], "");
    let kinds: Vec<Value> = serde_saphyr::from_multiple(&said.out).unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clustersidecarprofiles.outrigger.dev", "sidecarprofiles.outrigger.dev"]);
}

#[test]
fn the_schema_of_profiles_is_printed_as_json() {
    let said = outrigger(&["schema"], "");
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(schema["properties"]["kind"]["enum"], json!(["ClusterSidecarProfile", "SidecarProfile"]));
}

/// An API server of a few fixed answers, by path; everything else is not there.
struct FixedServer {
    kubeconfig: std::path::PathBuf,
}

impl FixedServer {
    fn start(name: &str, answers: &[(&str, Value)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<(String, Value)> =
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        break;
                    }
                    head.push_str(&line);
                    head.push('\n');
                }
                let path = head.split([' ', '?']).nth(1).unwrap_or_default();
                let found = answers.iter().find(|(known, _)| known == path).map(|(_, answer)| answer);
                let (code, body) = found.map_or_else(
                    || {
                        let missing = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "code": 404, "reason": "NotFound", "message": format!("{path} is not here") });
                        ("404 Not Found", missing)
                    },
                    |answer| ("200 OK", answer.clone()),
                );
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {code}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let kubeconfig = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "namespace": "shop", "user": "" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { kubeconfig }
    }

    fn explain(&self, words: &[&str]) -> Said {
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        outrigger(&[&["explain", "--kubeconfig", kubeconfig], words].concat(), "")
    }
}

#[test]
fn disarm_and_rearm_claim_nothing_that_the_cluster_does_not_show() {
    let configuration = |name: &str, conditions: &Value| {
        json!({ "metadata": { "name": name }, "webhooks": [
            { "name": "a.outrigger.dev", "matchConditions": conditions,
              "clientConfig": { "caBundle": "QUJD", "service": { "namespace": "system", "name": "outrigger" } } },
        ] })
    };
    let (on, off) = (json!([]), json!([{ "name": "outrigger.dev/disarmed", "expression": "false" }]));
    let base = "/apis/admissionregistration.k8s.io/v1";
    let run = |test: &str, command: &str, mutating: Option<&Value>, validating: &Value| {
        let mut answers = Vec::new();
        for (kind, conditions) in [("mutating", mutating), ("validating", Some(validating))] {
            for name in ["outrigger", "outrigger-mandatory"] {
                let path = format!("{base}/{kind}webhookconfigurations/{name}");
                answers.extend(conditions.map(|conditions| (path, configuration(name, conditions))));
            }
        }
        let answers: Vec<(&str, Value)> =
            answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
        let server = FixedServer::start(test, &answers);
        outrigger(&[command, "--kubeconfig", server.kubeconfig.to_str().unwrap()], "")
    };

    let said = run("rearm-missing", "rearm", None, &on);
    assert_eq!(said.code, 2, "{}", said.out);
    let part = "MutatingWebhookConfiguration \"outrigger\" does not exist; MutatingWebhookConfiguration \"outrigger-mandatory\" does not exist";
    assert!(said.err.contains(part) && said.err.contains("run `helm upgrade`"), "{}", said.err);
    assert!(!said.err.contains("injected again"), "{}", said.err);
    // The server accepts the writes and changes nothing, as when another client reverts them.
    let said = run("rearm-undone", "rearm", Some(&on), &off);
    assert!(said.code == 2 && said.err.contains("that are disarmed: a.outrigger.dev"), "{}", said.err);
    let said = run("disarm-undone", "disarm", Some(&on), &off);
    assert!(said.code == 2 && said.err.contains("run `outrigger disarm` again"), "{}", said.err);
    let said = run("rearm-done", "rearm", Some(&on), &on);
    assert!(said.code == 0 && said.err.contains("injected again"), "{}", said.err);
    let said = run("disarm-missing", "disarm", None, &off);
    assert!(said.code == 0 && said.err.contains("start without sidecars"), "{}", said.err);
    assert!(said.err.contains("cannot list MutatingWebhookConfigurations"), "{}", said.err);

    let path = |name: &str| format!("{base}/mutatingwebhookconfigurations{name}");
    let all = [configuration("outrigger", &off), configuration("our-own", &on)];
    let all = list("MutatingWebhookConfiguration", &all.iter().collect::<Vec<_>>());
    let answers = [(path("/outrigger"), configuration("outrigger", &off)), (path(""), all)];
    let answers: Vec<(&str, Value)> =
        answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
    let server = FixedServer::start("disarm-others", &answers);
    let said = outrigger(&["disarm", "--kubeconfig", server.kubeconfig.to_str().unwrap()], "");
    let part = "MutatingWebhookConfiguration \"our-own\" calls the same Service";
    assert!(said.code == 2 && said.err.contains(part), "{}", said.err);
}

fn list(kind: &str, items: &[&Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": format!("{kind}List"), "metadata": {}, "items": items })
}

#[test]
fn live_objects_are_explained_with_what_holds_in_their_cluster() {
    let documents: Vec<Value> = ["tests/cli/shop/checkout.yaml", "tests/cli/shop/profiles.yaml"]
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            serde_saphyr::from_multiple::<Value>(&text).unwrap()
        })
        .collect();
    let of = |kind: &str| documents.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let (namespaces, autoscalers) = (of("Namespace"), of("HorizontalPodAutoscaler"));
    let deployment = of("Deployment")[0].clone();
    // The pod as the cluster has it, injected.
    let once = outrigger(&[&["inject", "-o", "json"], &CHECKOUT[..]].concat(), "");
    let written: Value = serde_json::from_str(&once.out).unwrap();
    let injected =
        written["items"].as_array().unwrap().iter().find(|item| item["kind"] == "Deployment").unwrap();
    let mut pod = injected["spec"]["template"].clone();
    pod["metadata"]["name"] = "checkout-1".into();
    pod["metadata"]["namespace"] = "shop".into();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    let profiles = "/apis/outrigger.dev/v1alpha1";
    let server = FixedServer::start(
        "explain",
        &[
            ("/api/v1/namespaces/shop", namespaces[0].clone()),
            (
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/outrigger",
                json!({ "metadata": { "name": "outrigger" }, "webhooks": [{ "failurePolicy": "Fail" }] }),
            ),
            (&format!("{profiles}/clustersidecarprofiles"), list("P", &of("ClusterSidecarProfile"))),
            (&format!("{profiles}/namespaces/shop/sidecarprofiles"), list("P", &of("SidecarProfile"))),
            ("/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", list("H", &autoscalers)),
            ("/apis/apps/v1/namespaces/shop/deployments/checkout", deployment),
            ("/api/v1/namespaces/shop/pods/checkout-1", pod),
        ],
    );
    let said = server.explain(&["deploy/checkout", "pods/checkout-1"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (0, "using the profiles and namespaces of context \"test\"\n")
    );
    let offline = outrigger(&[&["explain"], &CHECKOUT[..]].concat(), "");
    let (first, second) = said.out.split_at(said.out.find("\nshop/checkout-1: ").unwrap());
    let webhook = "  webhook    in force; failurePolicy Fail: pods are refused while no server answers\n";
    assert_eq!(first.replace(webhook, ""), offline.out, "a live object is explained as its manifest is");
    let head = "\nshop/checkout-1: 3 profiles injected already; nothing would change\n\n  before     injected with mesh-proxy";
    assert!(second.starts_with(head), "{second}");

    let said = server.explain(&["deploy/checkout", "--profiles", "profiles"]);
    assert_eq!(said.err, "using the namespaces of context \"test\"\n");
    assert!(said.out.starts_with("shop/checkout: the pod would be denied: "), "{}", said.out);

    let said = server.explain(&["sts/checkout"]);
    assert_eq!(said.code, 2);
    let part = "cannot read StatefulSet shop/checkout from context \"test\": ";
    assert!(said.err.contains(part), "{}", said.err);
}

/// Answers of a cluster with one profile, which is the default of namespace `shop`, and the pods that are given.
fn cluster_with(pods: &[(&str, Value)]) -> Vec<(String, Value)> {
    let profile = json!({ "metadata": { "name": "side", "creationTimestamp": "2026-01-02T00:00:00Z" }, "spec": { "template": {
        "spec": { "initContainers": [{ "name": "side", "image": "registry.example/side:2", "restartPolicy": "Always" }] } } } });
    let namespace = json!({ "metadata": {
        "name": "shop", "labels": { "outrigger.dev/inject": "enabled" }, "annotations": { "outrigger.dev/profiles": "side" },
        "managedFields": [{ "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": "2026-01-03T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": { "f:outrigger.dev/inject": {} } } } }],
    } });
    let group = "/apis/outrigger.dev/v1alpha1";
    let mut answers = vec![
        ("/api/v1/namespaces/shop".to_owned(), namespace),
        (format!("{group}/clustersidecarprofiles"), list("P", &[&profile])),
        (format!("{group}/namespaces/shop/sidecarprofiles"), list("P", &[])),
    ];
    answers
        .extend(pods.iter().map(|(name, pod)| (format!("/api/v1/namespaces/shop/pods/{name}"), pod.clone())));
    answers
}

fn serve(name: &str, answers: &[(String, Value)]) -> FixedServer {
    let answers: Vec<(&str, Value)> =
        answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
    FixedServer::start(name, &answers)
}

#[test]
fn a_pod_that_exists_is_compared_with_a_new_one() {
    let pod = |name: &str, created: &str| {
        json!({ "metadata": { "name": name, "namespace": "shop", "creationTimestamp": created,
            "labels": { "pod-template-hash": "abc" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "1", "controller": true }] },
            "spec": { "containers": [{ "name": "app", "image": "registry.example/web:1" }] } })
    };
    let mut older = pod("older", "2026-01-05T00:00:00Z");
    older["metadata"]["labels"]["outrigger.dev/injected"] = "true".into();
    let status = json!({ "profiles": [{ "name": "side", "scope": "Cluster", "revision": "before", "added": { "initContainers": ["side"] } }] });
    older["metadata"]["annotations"] = json!({ "outrigger.dev/status": status.to_string() });
    older["spec"]["initContainers"] =
        json!([{ "name": "side", "image": "registry.example/side:1", "restartPolicy": "Always" }]);
    let pods = [
        ("early", pod("early", "2026-01-01T00:00:00Z")),
        ("late", pod("late", "2026-01-04T00:00:00Z")),
        ("older", older),
    ];
    let server = serve("running", &cluster_with(&pods));
    let said = server.explain(&["pod/early", "pod/late", "pod/older"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        "shop/early: not injected: created 2026-01-01T00:00:00Z, before namespace \"shop\" was enabled (2026-01-03T00:00:00Z); a new pod would get side (revision ",
        "  remedy     kubectl rollout restart deployment/web\n",
        "shop/late: not injected: created 2026-01-04T00:00:00Z, while no webhook was called, or before its",
        "shop/older: injected with side (revision before); a new pod would get side (revision ",
        "  differs    spec.initContainers[side].image: \"registry.example/side:1\" becomes \"registry.example/side:2\"\n",
        "MutatingWebhookConfiguration \"outrigger\" does not exist, so no pod is injected now; install the chart, or name the configuration with --configuration [WebhookMissing]",
    ] {
        assert!(said.out.contains(part), "{part}\nis missing in\n{}", said.out);
    }
}

#[test]
fn the_webhook_configuration_says_what_is_in_force() {
    let pod = json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": { "containers": [{ "name": "app", "image": "web:1" }] } });
    let mut answers = cluster_with(&[("web", pod)]);
    let configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/ours".to_owned();
    let excluding = json!({ "failurePolicy": "Ignore", "namespaceSelector": { "matchExpressions": [
        { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"] } ] } });
    answers.push((configuration.clone(), json!({ "metadata": { "name": "ours" }, "webhooks": [excluding] })));
    let said = serve("excluded", &answers).explain(&["pod/web", "--configuration", "ours"]);
    assert!(said.out.contains("[NamespaceExcluded]"), "{}", said.out);
    assert!(
        said.out.contains("  webhook    in force; failurePolicy Ignore: pods are created without"),
        "{}",
        said.out
    );
    answers.pop();
    let disabled =
        json!({ "matchConditions": [{ "name": "outrigger.dev/disarmed", "expression": "false" }] });
    answers.push((configuration, json!({ "metadata": { "name": "ours" }, "webhooks": [disabled] })));
    let said = serve("disabled", &answers).explain(&["pod/web", "--configuration", "ours"]);
    assert!(said.out.contains("run `outrigger rearm` [WebhookDisabled]"), "{}", said.out);
}

#[test]
fn a_cluster_without_outrigger_is_named_as_such() {
    let said = serve("nothing", &[]).explain(&["pod/web"]);
    assert_eq!(said.code, 2);
    assert_eq!(
        said.err,
        "error: Outrigger is not installed in this cluster: context \"test\" has no resource clustersidecarprofiles.outrigger.dev; give profiles with --profiles PATH\n"
    );
    let said = serve("missing", &cluster_with(&[])).explain(&["pod/web"]);
    let message = "error: cannot read Pod shop/web from context \"test\": Error from server (NotFound): /api/v1/namespaces/shop/pods/web is not here\n";
    assert_eq!(said.err, message);
}

/// Runs the examples of a page, which begin with this text, and compares what they print. With `OUTRIGGER_BLESS=1` in the
/// environment, the output is written into the page. Returns the number of examples.
fn examples_print_what_the_page_shows(file: &str, start: &str) -> usize {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let page = std::fs::read_to_string(&path).unwrap();
    let mut parts = page.split(start);
    let (mut written, mut count) = (parts.next().unwrap().to_owned(), 0);
    for part in parts {
        let (example, rest) = part.split_once("```").unwrap();
        let (words, _) = example.split_once('\n').unwrap();
        let said = outrigger(&words.split(' ').collect::<Vec<_>>(), "");
        let _ = write!(written, "{start}{words}\n{}{}```{rest}", said.out, said.err);
        count += 1;
    }
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        std::fs::write(&path, &written).unwrap();
    } else {
        assert!(page == written, "{file} shows something else than\n{written}");
    }
    count
}

#[test]
fn the_examples_of_the_documentation_are_what_is_printed() {
    assert!(examples_print_what_the_page_shows("docs/cli.md", "```console\n$ outrigger ") >= 5);
}

/// The commands of the README that the tests do not run: they need a cluster, a registry, or a build.
const NOT_RUN: [&str; 13] = [
    "helm upgrade --install outrigger charts/outrigger --namespace outrigger-system --create-namespace --wait --set image.repository=registry.example/outrigger",
    "kubectl apply -f profiles/debug-tools/profile.yaml",
    "kubectl label namespace shop outrigger.dev/inject=enabled",
    "kubectl annotate namespace shop outrigger.dev/profiles=debug-tools debug-tools.outrigger.dev/image=debian:12-slim",
    "kubectl rollout restart deployment --namespace shop",
    "kubectl get pods --namespace shop --selector outrigger.dev/injected=true",
    // The end-to-end test `demo` runs it, and CI the next one.
    "cargo xtask demo",
    "cargo xtask test",
    "rustup target add x86_64-unknown-linux-musl",
    "cargo build --release --locked --target x86_64-unknown-linux-musl",
    "docker build --file Dockerfile --tag registry.example/outrigger:0.1.0 target/x86_64-unknown-linux-musl/release",
    "docker push registry.example/outrigger:0.1.0",
    "helm uninstall outrigger --namespace outrigger-system",
];

/// Returns the blocks of a page in this language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fences = page.split("```").collect::<Vec<_>>();
    let inside = fences.iter().skip(1).step_by(2);
    inside.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn every_command_of_the_readme_is_run_or_named() {
    assert_eq!(examples_print_what_the_page_shows("README.md", "```\n$ outrigger "), 1);
    let page = include_str!("../README.md");
    // A prompt in a block that is not run would be an example that nothing checks.
    assert_eq!(page.matches("\n$ ").count(), 1);
    let lines = blocks(page, "sh").join("").replace("\\\n", "");
    let commands = lines.lines().map(|line| line.split(" #").next().unwrap_or_default());
    let words = commands.map(|command| command.split_whitespace().collect::<Vec<_>>().join(" "));
    let commands: Vec<String> = words.filter(|command| !command.is_empty()).collect();
    assert_eq!(commands, NOT_RUN, "run a new command in this test, or name it here");
}

/// Returns a text without line breaks.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_profile_and_the_denials_of_the_readme_are_those_of_the_engine() {
    let page = include_str!("../README.md");
    let profile = blocks(page, "yaml").concat();
    let said = outrigger(&["lint", "-"], &profile);
    // The profile is the only one here.
    let warning = "spec.order.after[0]: there is no profile \"vault-agent\" here, so this orders nothing\n1 profile: 0 errors, 1 warning\n";
    assert!(said.code == 0 && said.out.ends_with(warning) && said.out.lines().count() == 2, "{}", said.out);

    let readme = folder("readme", &[("profile.yaml", &profile)]);
    let pod =
        "{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {outrigger.dev/profiles: log-shipper,
        log-shipper.outrigger.dev/memory: 2Gi}}, spec: {containers: [{name: app, image: 'a:1'}]}}";
    let files = ["--profiles", readme.to_str().unwrap(), "e2e/demo/namespace.yaml", "-n", "shop"];
    let above = outrigger(&[&["explain", "-f", "-", "--offline"], &files[..]].concat(), pod);
    let misspelt = in_shop(&["explain", "-f", "e2e/demo/pods/misspelt.yaml"]);
    let prefix = "admission webhook \"pods.outrigger.dev\" denied the request: ";
    let denials: Vec<String> =
        blocks(page, "").into_iter().map(in_one_line).filter(|block| block.starts_with(prefix)).collect();
    assert_eq!(denials.len(), 2, "{denials:?}");
    for (denial, said) in denials.iter().zip([misspelt, above]) {
        let message = denial.strip_prefix(prefix).unwrap();
        assert!(in_one_line(&said.out).contains(message), "{message}\nis missing in\n{}", said.out);
    }
}

/// Writes files for a test, and returns their folder.
fn folder(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

#[test]
fn claims_of_a_stateful_set_are_volumes_of_its_pods() {
    let said = outrigger(&["explain", "-f", "tests/cli/submitted/claims", "--offline", "--enable"], "");
    assert!(
        said.out.contains("the pod would be denied: profile \"backup\" adds a volume \"data\""),
        "{}",
        said.out
    );
    assert_eq!(said.code, 1);
    let said = outrigger(&["inject", "-f", "tests/cli/submitted/claims", "--offline", "--enable"], "");
    assert!(said.err.contains("[VolumeConflict]") && !said.out.contains("kind: StatefulSet"), "{}", said.err);
}

#[test]
fn expressions_read_defaults_and_owners() {
    let said = outrigger(
        &["inject", "-f", "tests/cli/submitted/expressions", "--offline", "--enable", "-o", "json"],
        "",
    );
    assert_eq!(said.code, 0, "{}", said.err);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let spec = |kind: &str| {
        let object = list["items"].as_array().unwrap().iter().find(|item| item["kind"] == kind).unwrap();
        object["spec"]["template"]["spec"].clone()
    };
    let args = json!(["--account=default", "--restart=Never", "--grace=30", "--owner=Job"]);
    assert_eq!(spec("Job")["initContainers"][0]["args"], args);
    let args = json!(["--account=default", "--restart=Always", "--grace=30", "--owner=ReplicaSet"]);
    assert_eq!(spec("Deployment")["initContainers"][0]["args"], args);
    // Defaults are not written into the manifest.
    for field in ["serviceAccountName", "dnsPolicy", "tolerations", "volumes", "priority"] {
        assert!(spec("Deployment").get(field).is_none(), "{field}");
    }
}

const PULL: &str = "
apiVersion: outrigger.dev/v1alpha1
kind: ClusterSidecarProfile
metadata: {name: pull}
spec:
  match: {namespaceSelector: {}}
  template:
    spec:
      imagePullSecrets: [{name: profile}]
      initContainers:
      - {name: pull, image: \"registry.example/pull:1\", restartPolicy: Always, args: [\"--pod=$[[ pod.metadata.generateName ]]\"]}
";

#[test]
fn what_inject_cannot_write_into_a_template_is_a_warning() {
    let web = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: \"registry.example/web:1\"}]
";
    let account = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
imagePullSecrets: [{name: account}]
";
    let files = folder("pull", &[("profile.yaml", PULL), ("web.yaml", web)]);
    let files = files.to_str().unwrap();
    let said = outrigger(&["inject", "-f", files, "--offline", "--enable"], "");
    assert!(
        said.err.contains("spec.initContainers[pull].args is computed from a value that is generated"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("[GeneratedValue]") && said.err.contains("[PullSecretsUnknown]"),
        "{}",
        said.err
    );
    let said = outrigger(&["inject", "-f", files, "-", "--offline", "--enable", "-o", "json"], account);
    assert!(!said.err.contains("[PullSecretsUnknown]"), "{}", said.err);
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let web = list["items"].as_array().unwrap().iter().find(|item| item["kind"] == "Deployment").unwrap();
    assert_eq!(
        web["spec"]["template"]["spec"]["imagePullSecrets"],
        json!([{ "name": "account" }, { "name": "profile" }])
    );
}

#[test]
fn rules_of_the_namespace_that_refuse_an_injected_container_are_warnings() {
    let shop = "
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {outrigger.dev/inject: enabled, pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: LimitRange
metadata: {name: usual, namespace: shop}
spec: {limits: [{type: Container, max: {memory: 1Gi}, default: {memory: 2Gi}}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: team, namespace: shop}
spec: {hard: {limits.cpu: \"1\"}}
---
apiVersion: v1
kind: Pod
metadata: {generateName: web-, namespace: shop}
spec: {containers: [{name: app, image: \"registry.example/web:1\", resources: {limits: {cpu: 10m, memory: 1Gi}}}]}
";
    let files = folder("refused", &[("profile.yaml", PULL), ("shop.yaml", shop)]);
    let said = outrigger(&["explain", "-f", files.to_str().unwrap(), "--offline", "-o", "json"], "");
    let all: Value = serde_json::from_str(&said.out).unwrap();
    let warnings: Vec<(&str, &str)> = all[0]["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| (warning["code"].as_str().unwrap(), warning["message"].as_str().unwrap()))
        .collect();
    let has = |code: &str, part: &str| {
        warnings.iter().any(|(found, message)| *found == code && message.contains(part))
    };
    assert!(
        has("PodSecurity", "container \"pull\" of profile \"pull\" violates the level restricted"),
        "{warnings:?}"
    );
    assert!(has("PodSecurity", "securityContext.runAsNonRoot must be true"), "{warnings:?}");
    assert!(
        has(
            "LimitRange",
            "container \"pull\" of profile \"pull\": the limit of memory 2Gi is above the maximum 1Gi"
        ),
        "{warnings:?}"
    );
    assert!(
        has("ResourceQuota", "container \"pull\" of profile \"pull\": there is no limit of cpu"),
        "{warnings:?}"
    );
    // The pod's own container violates the level as well, which no profile causes.
    assert!(!warnings.iter().any(|(_, message)| message.contains("\"app\" of")), "{warnings:?}");
}

#[test]
fn lint_checks_a_level_of_pod_security() {
    let files = folder("restricted", &[("profile.yaml", PULL)]);
    let files = files.to_str().unwrap();
    let said = outrigger(&["lint", files], "");
    assert_eq!(said.code, 0, "{}", said.out);
    let said = outrigger(&["lint", "--pod-security", "restricted", files], "");
    assert_eq!(said.code, 1);
    let part = "container \"pull\" violates the Pod Security level restricted: securityContext.capabilities.drop: must have ALL";
    assert!(said.out.contains(part) && said.out.contains("1 profile: 4 errors"), "{}", said.out);
    assert_eq!(outrigger(&["lint", "--pod-security", "baseline", files], "").code, 0);
}
