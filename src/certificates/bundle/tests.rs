use super::*;

#[test]
fn only_our_entries_with_another_bundle_are_changed() {
    let ours = Configurations {
        mutating: vec!["m".to_owned()],
        validating: vec!["v".to_owned()],
        service: "outrigger".to_owned(),
        namespace: "system".to_owned(),
    };
    let entry = |name: &str, service: &str, bundle: Option<&str>| {
        let mut client = json!({ "service": { "name": service, "namespace": "system" } });
        if let Some(bundle) = bundle {
            client["caBundle"] = json!(bundle);
        }
        json!({ "name": name, "clientConfig": client })
    };
    let configuration = json!({ "webhooks": [
        entry("a", "outrigger", None), entry("b", "other", None), entry("c", "outrigger", Some("new")), entry("d", "outrigger", Some("old")),
        { "name": "e", "clientConfig": { "url": "https://127.0.0.1" } },
    ] });
    let paths: Vec<String> = operations(&configuration, "new", &ours)
        .iter()
        .map(|operation| operation["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        [
            "/webhooks/0/name",
            "/webhooks/0/clientConfig/caBundle",
            "/webhooks/3/name",
            "/webhooks/3/clientConfig/caBundle"
        ]
    );
    assert!(operations(&json!({ "webhooks": [] }), "new", &ours).is_empty());
    assert!(operations(&json!({}), "new", &ours).is_empty());
}
