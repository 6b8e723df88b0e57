use super::*;

#[test]
fn fields_of_the_pod_are_read() {
    all_hold(&[
        "pod.metadata.name == 'shop'",
        "pod.metadata.namespace == 'web'",
        "pod.metadata.labels['a.b/c'] == 'd'",
        "pod.spec.containers[1].image == 'log:2'",
        "pod['spec']['hostNetwork']",
        "pod.spec.containers[0].ports[1].containerPort == 443",
        "pod.spec.weight == 1.5 && pod.spec.big == 18446744073709551615u",
        "pod.metadata.creationTimestamp == null && null == pod.metadata.creationTimestamp",
        "size(pod.spec.containers) == 2 && pod.spec.volumes.size() == 0",
        "size(pod.metadata.labels) == 2",
    ]);
}

#[test]
fn the_other_variables_are_read() {
    all_hold(&[
        "namespaceObject.metadata.name == 'web'",
        "namespaceObject.metadata.labels.team == 'web'",
        "size(namespaceObject.metadata.annotations) == 0",
        "profile.name == 'shipper'",
        "cluster.name == 'prod' && cluster.sizes == [1, 2, 3]",
        "container.name == 'app'",
        "params.directory == '/var/log' && params['port'] == 8080 && params.debug",
        "params.names == ['a', 'b'] && 'b' in params.names",
        "'directory' in params && !('x' in params) && size(params) == 6",
    ]);
}

#[test]
fn has_checks_for_a_field() {
    let compared = all_hold(&[
        "has(pod.spec.hostNetwork) && !has(pod.spec.hostPID)",
        "has(pod.metadata.creationTimestamp)",
        "has(namespaceObject.metadata.labels.team) && !has(namespaceObject.metadata.labels.x)",
        "has(params.directory) && has(profile.name) && !has(profile.x)",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "!has(container.volumeMounts) || !container.volumeMounts.exists(m, m.mountPath == params.directory)",
    ]);
    assert!(compared >= 1, "the crate knows only {compared} of them");
}

#[test]
fn macros_iterate_over_lists_and_maps() {
    let compared = all_hold(&[
        "pod.spec.containers.exists(c, c.name == 'log')",
        "pod.spec.containers.all(c, c.image.contains(':'))",
        "pod.spec.containers.exists_one(c, has(c.ports))",
        "pod.spec.containers.existsOne(c, has(c.ports))",
        "pod.spec.containers.map(c, c.name) == ['app', 'log']",
        "pod.spec.containers.map(c, has(c.ports), c.name) == ['app']",
        "pod.spec.containers.filter(c, c.name != 'app')[0].name == 'log'",
        "pod.metadata.labels.exists(k, k == 'app' && pod.metadata.labels[k] == 'shop')",
        "pod.metadata.labels.all(k, k.size() > 2)",
        "cluster.map(k, k).sort() == ['name', 'sizes']",
        "namespaceObject.metadata.map(k, k) == ['name', 'labels', 'annotations']",
        "[[1, 2], [3]].map(x, x.map(x, x * 2)) == [[2, 4], [6]]",
        "[1, 2].map(x, [3].map(y, x + y)) == [[4], [5]]",
        "[3, 1, 2].sortBy(x, -x) == [3, 2, 1]",
    ]);
    assert!(compared >= 3, "the crate knows only {compared} of them");
    // CEL does not define the order, but a profile must always render to the same text.
    assert_eq!(evaluate("{'b': 1, 'a': 2}.map(k, k)"), Ok(json!(["a", "b"])));
}

#[test]
fn equality_is_deep_and_symmetric() {
    let compared = all_hold(&[
        "pod.spec.containers[0].ports == [{'containerPort': 80}, {'containerPort': 443}]",
        "[{'containerPort': 80}, {'containerPort': 443}] == pod.spec.containers[0].ports",
        "{'team': 'web'} == namespaceObject.metadata.labels && namespaceObject.metadata.labels == {'team': 'web'}",
        "pod == pod && pod.spec != pod.metadata",
        "pod.spec.containers[1] in pod.spec.containers",
        "{'containerPort': 80} in pod.spec.containers[0].ports",
        "pod.spec.containers[0].ports[0] in [{'containerPort': 80}]",
        "1 == 1.0 && 1u == 1 && [1] == [1.0] && {1: 'a'} == {1u: 'a'} && 1 in {1u: 2}",
        "1 != '1' && null != 0 && [] != {} && [1, 2] != [2, 1]",
    ]);
    assert!(compared >= 2, "the crate knows only {compared} of them");
    // As in the specification. The crate rounds the integer.
    assert_eq!(evaluate("9007199254740993 > 9007199254740992.0"), Ok(json!(true)));
    assert_eq!(evaluate("9007199254740993 == 9007199254740992.0"), Ok(json!(false)));
}

#[test]
fn operators_calculate() {
    let compared = all_hold(&[
        "1 + 2 * 3 - 4 / 2 == 5 && 7 % 3 == 1 && -7 / 2 == -3 && -7 % 3 == -1",
        "1.5 + 1.5 == 3.0 && 1.0 / 4.0 == 0.25 && 3u - 1u == 2u",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && b'a' + b'b' == b'ab'",
        "1 < 2 && 1 < 1.5 && 2u >= 2 && 'a' < 'b' && false < true && b'a' < b'b'",
        "-(-1) == 1 && !!true && -1.5 < 0.0 && --1 == 1",
        "true ? true : 1 / 0 == 0",
        "params.port + 1 == 8081",
        "(params.debug ? 'a' : 'b') == 'a'",
    ]);
    assert!(compared >= 6, "the crate knows only {compared} of them");
    assert_eq!(evaluate("params.directory + '-y'"), Ok(json!("/var/log-y")));
}

#[test]
fn logical_operators_ignore_errors_on_the_other_side() {
    let compared = all_hold(&[
        "true || 1 / 0 == 0",
        "1 / 0 == 0 || true",
        "!(false && pod.nothing)",
        "!(pod.nothing && false)",
        "pod.spec.containers.exists(c, c.ports[1].containerPort == 443)",
        "[0, 1].exists(x, 1 / x == 1)",
        "!([0, 1].all(x, 1 / x == 2))",
    ]);
    assert!(compared >= 6, "the crate knows only {compared} of them");
    all_fail(&[
        ("1 / 0 == 0 && true", "divides by zero"),
        ("[0, 1].all(x, 1 / x == 1)", "divides by zero"),
        ("pod.spec.containers.all(c, c.ports[0].containerPort == 80)", "c has no ports"),
    ]);
}

#[test]
fn optional_access_handles_absent_fields() {
    let compared = all_hold(&[
        "pod.spec.?hostNetwork.orValue(false)",
        "!pod.spec.?hostPID.hasValue()",
        "pod.metadata.?labels.?app.orValue('x') == 'shop'",
        "pod.metadata.?annotations.?app.orValue('x') == 'x'",
        "pod.spec.?securityContext.runAsUser.orValue(7) == 7",
        "pod.spec.containers[?5].?name.orValue('none') == 'none'",
        "pod.metadata.labels[?'a.b/c'].orValue('x') == 'd'",
        "params.?directory.value() == '/var/log'",
        "optional.of(1).optMap(x, x + 1) == optional.of(2)",
        "optional.none().optMap(x, x + 1) == optional.none()",
        "optional.of(1).optFlatMap(x, optional.of(x + 1)).value() == 2",
        "optional.ofNonZeroValue('').or(optional.of('a')).value() == 'a'",
        "[?optional.none(), 1, ?optional.of(2)] == [1, 2]",
        "{?'a': optional.none(), 'b': 1} == {'b': 1}",
        "has(pod.?spec.hostNetwork) && !has(pod.?x.y)",
    ]);
    assert!(compared >= 6, "the crate knows only {compared} of them");
    all_fail(&[("optional.none().value()", "orValue"), ("pod.spec.?hostPID", "end it with .orValue")]);
}

#[test]
fn errors_have_a_position_and_a_suggestion() {
    let error = evaluate("true && pod.spec.securityContext.runAsUser > 0").unwrap_err();
    assert_eq!(error.column, 18);
    assert_eq!(
        error.message,
        "pod.spec has no securityContext; test it with has(pod.spec.securityContext), \
         or give a default with pod.spec.?securityContext.orValue(…)"
    );
    all_fail(&[
        ("pod.spec.containers[2]", "pod.spec.containers has 2 elements, none at 2"),
        ("pod.spec.containers[-1]", "none at -1"),
        ("pod.spec.containers['a']", "indexed with an int, not with a string"),
        ("pod.metadata.labels['x']", "has no key \"x\"; test it with \"x\" in pod.metadata.labels"),
        ("pod.metadata.name.first", "pod.metadata.name is a string: it has no field first"),
        ("has(pod.metadata.name.first)", "pod.metadata.name is a string"),
        ("pod.metadata.creationTimestamp.x", "is null: it has no field"),
        ("pod.metadata.name.all(x, true)", "pod.metadata.name is a string: only lists and maps"),
        ("1 + '1'", "there is no an int + a string; string(…) makes text"),
        ("'port ' + params.port", "string(…) makes text"),
        ("1 < '2'", "an int < a string"),
        ("params.memory == '64Mi'", "write quantity(…) around the string"),
        ("params.wait == '90s'", "write duration(…) around the string"),
        ("1 + 1.0", "double(…)"),
        ("1 ? 2 : 3", "an int, not a bool"),
        ("pod.metadata.name && true", "a string, not a bool"),
        ("9223372036854775807 + 1", "9223372036854775807 + 1 is out of range"),
        ("-9223372036854775807 - 2", "out of range"),
        ("-(-9223372036854775807 - 1)", "out of range"),
        ("(-9223372036854775807 - 1) / -1", "out of range"),
        ("(-9223372036854775807 - 1) % -1", "out of range"),
        ("0u - 1u", "out of range"),
        ("9223372036854775807 * 2", "out of range"),
        ("1 % 0", "divides by zero"),
        ("1u / 0u", "divides by zero"),
        ("{1.5: 2}", "the key of a map cannot be a double"),
        ("{'a': 1, 'a': 2}", "has this key twice"),
        ("1 in 2", "an int in an int"),
    ]);
}

#[test]
fn results_are_json() {
    for (source, result) in [
        ("1", json!(1)),
        ("1.0", json!(1.0)),
        ("18446744073709551615u", json!(u64::MAX)),
        ("null", json!(null)),
        ("pod.spec.containers[0].ports", json!([{"containerPort": 80}, {"containerPort": 443}])),
        ("{'a': [1, {'b': params.memory}]}", json!({"a": [1, {"b": "64Mi"}]})),
        ("params.wait", json!("1m30s")),
        (
            "params",
            json!({"directory": "/var/log", "memory": "64Mi", "wait": "1m30s", "port": 8080, "debug": true, "names": ["a", "b"]}),
        ),
        (
            "namespaceObject",
            json!({"metadata": {"name": "web", "labels": {"team": "web"}, "annotations": {}}}),
        ),
    ] {
        assert_eq!(evaluate(source), Ok(result), "{source}");
    }
    all_fail(&[
        ("b'a'", "no bytes"),
        ("{1: 2}", "only strings as keys"),
        ("0.0 / 0.0", "no number NaN"),
        ("type(1)", "a type"),
    ]);
}

#[test]
fn a_condition_is_a_bool() {
    let expression = Expression::compile("pod.metadata.name", &scope(), &mut CompileBudget::new()).unwrap();
    let error = with_pod(POD, |variables| expression.is_true(variables, &mut Budget::new())).unwrap_err();
    assert_eq!(error.message, "a condition is true or false; this is a string");
    let expression =
        Expression::compile("size(pod.spec.containers) > 0", &scope(), &mut CompileBudget::new()).unwrap();
    assert_eq!(with_pod(POD, |variables| expression.is_true(variables, &mut Budget::new())), Ok(true));
}

#[test]
fn types_are_compared_by_name() {
    let compared = all_hold(&[
        "type(1) == int && type('') == string && type(null) == null_type && type([]) == list",
        "type(pod) == map && type(pod.spec.weight) == double && type(params.memory) == quantity",
        "type(params.wait) == duration && type(type(1)) == type && type(1) != uint",
    ]);
    assert!(compared >= 1, "the crate knows only {compared} of them");
}
