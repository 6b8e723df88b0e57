//! Checks the corpus in `tests/yaml` against kubectl. Unit tests check Outrigger's reader against the same corpus.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use e2e::Cluster;
use serde_json::{Value, json};

fn corpus(name: &str) -> Vec<Value> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/yaml").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Returns the objects that kubectl would create, or `None` if it rejects the stream.
fn created(cluster: &Cluster, text: &str) -> Option<Vec<Value>> {
    let output = cluster.create_on_client(text);
    if !output.success {
        return None;
    }
    let objects = serde_json::Deserializer::from_str(&output.text).into_iter::<Value>();
    let mut objects: Vec<Value> = objects.map(Result::unwrap).collect();
    if let [list] = objects.as_mut_slice()
        && list["kind"] == "List"
    {
        objects = serde_json::from_value(list["items"].take()).unwrap();
    }
    // kubectl fills in the context's namespace.
    for object in &mut objects {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    Some(objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_manifests_as_in_the_corpus() {
    let cluster = Cluster::connect().await;
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    let scalars = corpus("scalars.json");
    let mut manifest = head.to_owned();
    for (index, case) in scalars.iter().enumerate() {
        let line = format!("scalar{index}: {}\n", case["text"].as_str().unwrap());
        if case["error"] == true {
            assert_eq!(created(&cluster, &format!("{head}{line}")), None, "{case}");
        } else {
            manifest.push_str(&line);
        }
    }
    let read = created(&cluster, &manifest).expect("kubectl accepts the scalars").remove(0);
    for (index, case) in scalars.iter().enumerate().filter(|(_, case)| case["error"] != true) {
        let value = read.get(format!("scalar{index}"));
        assert_eq!(value, case.get("value"), "kubectl reads {} differently", case["text"]);
    }
    for case in corpus("documents.json") {
        let wanted = if case["error"] == true { Value::Null } else { case["objects"].clone() };
        let read = created(&cluster, case["text"].as_str().unwrap());
        assert_eq!(json!(read), wanted, "kubectl reads {} differently", case["name"]);
    }
}
