//! Shared helpers of the expression tests.

mod functions;
mod hostile;
mod language;
mod leaves;
mod names;

use std::collections::BTreeMap;

use serde_json::{Value as JsonValue, json};

use super::*;
use crate::string_map::StringMap;

const POD: &str = r#"{
  "apiVersion": "v1", "kind": "Pod",
  "metadata": {"name": "shop", "namespace": "web", "labels": {"app": "shop", "a.b/c": "d"}, "creationTimestamp": null},
  "spec": {
    "hostNetwork": true, "weight": 1.5, "big": 18446744073709551615,
    "containers": [
      {"name": "app", "image": "shop:1", "ports": [{"containerPort": 80}, {"containerPort": 443}],
       "resources": {"limits": {"memory": "64Mi"}}},
      {"name": "log", "image": "log:2"}
    ],
    "volumes": []
  }
}"#;

const PARAMS: [&str; 6] = ["directory", "memory", "wait", "port", "debug", "names"];

pub(super) fn scope() -> ExpressionScope<'static> {
    ExpressionScope { params: Some(&PARAMS), container: true, expandable: &[] }
}

fn params() -> BTreeMap<String, ParameterValue> {
    let params = [
        ("directory", ParameterValue::String("/var/log".to_owned())),
        ("memory", ParameterValue::Quantity("64Mi".parse().unwrap())),
        ("wait", ParameterValue::Duration("90s".parse().unwrap())),
        ("port", ParameterValue::Integer(8080)),
        ("debug", ParameterValue::Boolean(true)),
        ("names", ParameterValue::List(vec!["a".to_owned(), "b".to_owned()])),
    ];
    params.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Calls a function with the variables of a pod.
pub(super) fn with_pod<T>(pod: &str, call: impl FnOnce(&Variables<'_>) -> T) -> T {
    let pod: Json<'_> = serde_json::from_str(pod).unwrap();
    let (labels, annotations) = (StringMap::from([("team", "web")]), StringMap::default());
    let cluster = json!({"name": "prod", "sizes": [1, 2, 3]});
    let container = pod.get("spec").get("containers").get(0);
    call(&Variables {
        pod: &pod,
        container: Some(container),
        namespace: NamespaceView { name: "web", labels: &labels, annotations: &annotations },
        params: &params(),
        profile: "shipper",
        cluster: &cluster,
    })
}

pub(super) fn evaluate(source: &str) -> Result<JsonValue, EvaluationError> {
    let expression = Expression::compile(source, &scope(), &mut CompileBudget::new())
        .unwrap_or_else(|error| panic!("{source}: {error}"));
    with_pod(POD, |variables| expression.evaluate(variables, &mut Budget::new()))
}

/// Asserts that each expression is true, and that the crate's own evaluator does not disagree. Returns the number of expressions
/// that it knows.
pub(super) fn all_hold(expressions: &[&str]) -> usize {
    let mut compared = 0;
    for source in expressions {
        assert_eq!(evaluate(source), Ok(JsonValue::Bool(true)), "{source}");
        let by_the_crate = by_the_crate(source);
        assert_ne!(by_the_crate, Some(false), "{source}");
        compared += usize::from(by_the_crate.is_some());
    }
    compared
}

/// Returns the result of the crate's own evaluator, if it knows all names in the expression.
fn by_the_crate(source: &str) -> Option<bool> {
    let mut env = cel::Env::stdlib();
    for extension in [cel::extensions::strings, cel::extensions::lists, cel::extensions::math] {
        env.add_extension(extension).unwrap();
    }
    let program = env.compile(source).ok()?;
    let value = program.execute(&cel::Context::with_env(Arc::new(env))).ok()?;
    Some(value == cel::Value::Bool(true))
}

/// Asserts that each expression fails with a message that contains the text.
pub(super) fn all_fail(expressions: &[(&str, &str)]) {
    for (source, part) in expressions {
        let message = evaluate(source).expect_err(source).message;
        assert!(message.contains(part), "{source}: {message}");
    }
}

pub(super) fn compile_error(source: &str) -> CompileError {
    Expression::compile(source, &scope(), &mut CompileBudget::new()).expect_err(source)
}
