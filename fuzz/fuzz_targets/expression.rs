//! Compiles and evaluates an expression. It must not panic, and must end within the budget.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use outrigger::expression::{
    Budget, CompileBudget, Expression, Json, NamespaceView, ParameterValue, Scope, Text, Variables,
};
use outrigger::string_map::StringMap;
use serde_json::{Value, json};

static POD: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "metadata": { "name": "a", "labels": { "app": "shop", "n": "" }, "annotations": {} },
        "spec": {
            "priority": -3, "weight": 0.5, "hostNetwork": true, "volumes": null,
            "containers": [
                { "name": "app", "image": "x:1", "ports": [{ "containerPort": 80 }], "env": [{ "name": "A", "value": "ü€𝄞" }] },
                { "name": "b", "resources": { "limits": { "memory": "64Mi", "cpu": 1 } } },
            ],
        },
    })
});

fuzz_target!(|source: &str| {
    let scope =
        Scope { params: Some(&["text", "number", "size", "list"]), container: true, expandable: &["list"] };
    let (pod, none, cluster) = (Json::from(&*POD), StringMap::default(), json!({ "region": "x" }));
    let container = Json::from(&POD["spec"]["containers"][0]);
    let params = BTreeMap::from([
        ("text".to_owned(), ParameterValue::String("a,b".to_owned())),
        ("number".to_owned(), ParameterValue::Integer(i64::MIN)),
        ("size".to_owned(), ParameterValue::Quantity("64Mi".parse().expect("a valid quantity"))),
        ("list".to_owned(), ParameterValue::List(vec!["a".to_owned(), String::new()])),
    ]);
    let variables = Variables {
        pod: &pod,
        container: Some(&container),
        namespace: NamespaceView { name: "shop", labels: &none, annotations: &none },
        params: &params,
        profile: "log-shipper",
        cluster: &cluster,
    };
    if let Ok(expression) = Expression::compile(source, &scope, &mut CompileBudget::new()) {
        let first = expression.evaluate(&variables, &mut Budget::new());
        assert_eq!(
            first,
            expression.evaluate(&variables, &mut Budget::new()),
            "the result is not deterministic"
        );
        _ = expression.holds(&variables, &mut Budget::new());
    }
    if let Ok(text) = Text::parse(source, &scope, &mut CompileBudget::new()) {
        if let Ok(Value::String(rendered)) = text.render(&variables, &mut Budget::new()) {
            assert!(text.is_expression() || text.could_be(&rendered), "{rendered:?} is a possible value");
        }
    }
});
