//! Reviews of profiles that the API server validates too.

use std::sync::Arc;

use futures::FutureExt as _;
use outrigger::cluster::{Judgment, Looking, Lookup, Snapshot};
use outrigger::engine::Namespace;
use outrigger::profiles::ProfileEntry;
use outrigger::webhook::{State, router};
use serde_json::{Value, json};

use crate::support::answer;
use crate::validate::profile_review;

/// An API server that gives the same result for every pod template, or never answers.
struct Judge(Option<Judgment>);

impl Lookup for Judge {
    fn namespace<'a>(&'a self, _: &'a str) -> Looking<'a, Option<Namespace>> {
        futures::future::ready(Ok(None)).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a str, _: &'a str) -> Looking<'a, Vec<(Option<String>, ProfileEntry)>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }

    fn judge<'a>(&'a self, template: &'a Value) -> Looking<'a, Option<Judgment>> {
        assert_eq!(template["spec"]["initContainers"][0]["name"], "proxy");
        match &self.0 {
            Some(judgment) => futures::future::ready(Ok(Some(judgment.clone()))).boxed(),
            None => futures::future::pending().boxed(),
        }
    }
}

async fn judged(judgment: Option<Judgment>) -> Value {
    let state = State { lookup: Arc::new(Judge(judgment)), ..State::fixed(Snapshot::default()) };
    let spec = json!({ "match": {}, "template": { "spec": { "initContainers": [
        { "name": "proxy", "image": "proxy:1", "restartPolicy": "Always" },
    ] } } });
    let review = profile_review("ClusterSidecarProfile", &json!({ "name": "proxy" }), &spec);
    answer(&router(state), "/validate", &review).await
}

#[tokio::test]
async fn a_profile_that_the_api_server_rejects_is_rejected_with_its_message() {
    let rejected =
        vec![("template.spec.initContainers[0].newField".to_owned(), "Invalid value: 5".to_owned())];
    let answer = judged(Some(Judgment { rejected, dropped: None })).await;
    assert_eq!(answer["allowed"], false);
    assert_eq!(
        answer["status"]["message"],
        "spec.template.spec.initContainers[0].newField: the API server rejects it in every pod: Invalid value: 5"
    );
    let of_the_pod = vec![("template.spec".to_owned(), "`hostUsers` must be false".to_owned())];
    assert_eq!(judged(Some(Judgment { rejected: of_the_pod, dropped: None })).await["allowed"], true);
}

#[tokio::test]
async fn a_field_that_the_cluster_drops_is_a_warning() {
    let dropped = Some("strict decoding error: unknown field \"x\"".to_owned());
    let answer = judged(Some(Judgment { rejected: Vec::new(), dropped })).await;
    assert_eq!(answer["allowed"], true);
    assert!(
        answer["warnings"][0].as_str().unwrap().contains("this cluster does not know a field"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_api_server_the_engines_validation_decides_with_a_warning() {
    let answer = judged(None).await;
    assert_eq!(answer["allowed"], true);
    assert!(answer["warnings"][0].as_str().unwrap().contains("it did not answer in time"), "{answer}");
}
