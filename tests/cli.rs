//! The command line, as a person or a script meets it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

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
  chosen     redis-metrics annotation outrigger.dev/profiles on the pod
  left out   log-shipper   namespace default, replaced by the pod's own choice
  order      redis-exporter* → (the pod's own) redis       * native sidecar
  adds       redis-metrics initContainers: redis-exporter; metadata.annotations: prometheus.io/port, prometheus.io/scrape
"
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
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
    assert!(!plain.out.contains("outrigger.dev/injected"), "a kind that nobody told of was injected");
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
        (&["inject", "--offline", "-f", "-"], "a: [", "standard input is not YAML"),
        (&["explain", "--offline", "-f", "-"], "a: 1", "not a Kubernetes object"),
        (&["explain", "-f", "-"], "", "--profiles PATH, or do without by --offline"),
        (&["explain"], "", "--filename"),
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
