//! Validation of pod templates by the API server, which the endpoint `/validate` requests.

use std::fs;
use std::path::Path;

use e2e::{Cluster, TestNamespace};
use outrigger::api::{ClusterSidecarProfile, ProfileSpec, Scope};
use outrigger::cluster::{Judgment, LiveLookup, Lookup as _};
use outrigger::profiles::{Profile, compile, sample_template};
use serde_json::{Value, json};

fn profile(spec: &ProfileSpec, name: &str) -> Profile {
    compile(name, Scope::Cluster, spec).unwrap_or_else(|findings| panic!("{name}: {findings:?}")).0
}

async fn judged(lookup: &LiveLookup, template: Value) -> Judgment {
    let spec = serde_json::from_value(json!({ "match": {}, "template": template })).unwrap();
    lookup.judge(&sample_template(&profile(&spec, "sample"))).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_api_server_accepts_every_profile_of_the_catalogue() {
    let cluster = Cluster::connect().await;
    let space = TestNamespace::plain(&cluster).await;
    let lookup = LiveLookup::new(cluster.client.clone(), &*space.name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles");
    let mut tried = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path().join("profile.yaml")) else { continue };
        let object: ClusterSidecarProfile = serde_saphyr::from_str(&text).unwrap();
        let name = object.metadata.name.unwrap();
        let template = sample_template(&profile(&object.spec.profile, &name));
        let judgment = lookup.judge(&template).await.unwrap().unwrap();
        assert_eq!(judgment, Judgment::default(), "{name}: {template:#}");
        tried += 1;
    }
    assert!(tried > 20, "only {tried} profiles were found");
}

#[tokio::test]
async fn rejected_and_dropped_fields_are_reported() {
    let cluster = Cluster::connect().await;
    let space = TestNamespace::plain(&cluster).await;
    let lookup = LiveLookup::new(cluster.client.clone(), &*space.name);
    // The operator needs a feature gate that is off. Only the API server knows this.
    let gated = json!({ "spec": { "tolerations": [{ "key": "a", "operator": "Lt", "value": "5" }] } });
    let judgment = judged(&lookup, gated).await;
    let [(field, message)] = judgment.rejected.as_slice() else { panic!("{judgment:?}") };
    assert_eq!(field, "template.spec.tolerations[0].operator");
    assert!(message.contains("Unsupported value"), "{message}");
    let newer =
        json!({ "spec": { "initContainers": [{ "name": "a", "image": "a:1", "brandNewThing": {} }] } });
    let judgment = judged(&lookup, newer).await;
    assert_eq!(judgment.rejected, []);
    assert!(judgment.dropped.unwrap().contains("brandNewThing"));
    // Fields whose value depends on the pod are removed from the template.
    let of_the_pod = json!({ "spec": {
        "volumes": [{ "name": "v", "hostPath": { "path": "$[[ pod.metadata.name ]]" } }],
        "initContainers": [{
            "name": "a", "image": "a:$[[ pod.metadata.name ]]", "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
        }, {
            "name": "b", "image": "b:1", "restartPolicy": "Always", "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
            "lifecycle": { "preStop": { "sleep": { "seconds": 600 } } },
        }],
    } });
    assert_eq!(judged(&lookup, of_the_pod).await, Judgment::default());
}

#[tokio::test]
async fn a_profile_that_only_the_api_server_can_validate_is_rejected_when_it_is_applied() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::plain(&cluster).await;
    let profile = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "SidecarProfile", "metadata": { "name": "gated" },
        "spec": { "template": { "spec": { "tolerations": [{ "key": "a", "operator": "Lt", "value": "5" }] } } },
    });
    let output = cluster.apply(&space.name, &profile.to_string());
    assert!(!output.success, "{}", output.text);
    let expected = "spec.template.spec.tolerations[0].operator: the API server rejects it in every pod";
    assert!(output.text.contains(expected), "{}", output.text);
}

#[tokio::test]
async fn a_profiles_status_shows_the_validation_by_the_api_server() {
    let cluster = Cluster::installed().await;
    let space = TestNamespace::plain(&cluster).await;
    let profile = |image: &str| {
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "SidecarProfile", "metadata": { "name": "judged" },
            "spec": { "template": { "spec": { "initContainers": [
                { "name": "judged", "image": image, "restartPolicy": "Always" },
            ] } } },
        })
        .to_string()
    };
    for (generation, image) in [("1", "judged:1"), ("2", "judged:2")] {
        cluster.apply(&space.name, &profile(image)).expect();
        let condition = format!(
            r#"--for=jsonpath={{.status.conditions[?(@.type=="Validated")].observedGeneration}}={generation}"#
        );
        let wait = ["wait", "sidecarprofile/judged", &condition, "--timeout=60s", "--namespace", &space.name];
        cluster.kubectl(&wait).expect();
        let path = r"jsonpath={.status.conditions[*].type} {.status.conditions[*].status}";
        let get = ["get", "sidecarprofile/judged", "--output", path, "--namespace", &space.name];
        assert_eq!(cluster.kubectl(&get).expect(), "Accepted Validated True True");
    }
}
