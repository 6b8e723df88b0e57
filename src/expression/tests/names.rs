use super::*;

#[test]
fn unknown_names_are_found_when_the_profile_is_loaded() {
    for (source, column, message) in [
        ("1 + pud.spec", 5, "there is no variable pud; did you mean pod?"),
        (
            "xyzzy",
            1,
            "there is no variable xyzzy; there are pod, container, namespaceObject, params, profile, cluster",
        ),
        ("params.directry", 8, "the profile has no parameter directry; did you mean directory?"),
        ("1 == params['prt']", 12, "the profile has no parameter prt; did you mean port?"),
        (
            "has(params.zzzzzz)",
            12,
            "the profile has no parameter zzzzzz; it has directory, memory, wait, port, debug, names",
        ),
        (
            "params.?zzzzzz",
            9,
            "the profile has no parameter zzzzzz; it has directory, memory, wait, port, debug, names",
        ),
        ("1 == 2 || 'a'.startWith('b')", 15, "there is no function startWith; did you mean startsWith?"),
        ("pod.spec.containers.exist(c, true)", 21, "there is no function exist; did you mean exists?"),
        ("frobnicate(1)", 1, "there is no function frobnicate"),
        ("startsWith('a', 'b')", 1, "startsWith is called as x.startsWith(…)"),
        ("'1'.int()", 5, "int is called as int(…)"),
        ("'a'.startsWith()", 5, "startsWith takes 1 arguments, not 0"),
        ("math.greatest()", 6, "math.greatest takes 1 or more arguments, not 0"),
        ("[1].all(x)", 5, "all takes a name and an expression, as in list.all(x, …)"),
        ("[1].all(1, true)", 9, "here stands a name for the element, as in list.all(x, …)"),
        (
            "has(pod)",
            1,
            "has() takes a field, as in has(pod.spec.hostNetwork); for a key write \"key\" in map",
        ),
        ("Pod{name: 1}", 4, "there are no message types; write a map, as in {\"key\": value}"),
        ("[1].all(x, y > 1)", 12, "there is no variable y; did you mean x?"),
        ("'a'.matches('(')", 13, "this is not a pattern: unclosed group"),
        ("now()", 1, "there is no function now"),
        ("timestamp('2020-01-01T00:00:00Z')", 1, "there is no function timestamp"),
    ] {
        let error = compile_error(source);
        assert_eq!((error.column, error.message.as_str()), (column, message), "{source}");
    }
}

#[test]
fn syntax_errors_have_a_position() {
    for (source, column, message) in [
        ("", 1, "the expression ends too early"),
        ("pod.spec +", 11, "the expression ends too early"),
        ("pod )", 5, "unexpected ')'"),
        ("'ä' + é", 7, "unexpected 'é'"),
        ("1 +\n  ü", 7, "unexpected 'ü'"),
        ("namespace", 1, "reserved identifier: namespace"),
        ("'abc", 1, "this string has no end"),
        ("[1, (2]", 7, "`]` does not close the `(` at column 5"),
        ("@tick", 1, "unexpected '@'"),
        ("a := 1", 3, "unexpected ':'"),
    ] {
        let error = compile_error(source);
        assert_eq!((error.column, error.message.as_str()), (column, message), "{source:?}");
    }
}

#[test]
fn variables_are_read_only_where_they_exist() {
    let nowhere = ExpressionScope::default();
    let error = Expression::compile("params.memory", &nowhere, &mut CompileBudget::new()).unwrap_err();
    assert!(error.message.starts_with("params cannot be read here"), "{error}");
    let error = Expression::compile("size(params)", &nowhere, &mut CompileBudget::new()).unwrap_err();
    assert_eq!(error.column, 6);
    let error = Expression::compile("container.name", &nowhere, &mut CompileBudget::new()).unwrap_err();
    assert_eq!(error.message, "container can be read only inside appContainers");
    let error = Expression::compile(
        "params.x",
        &ExpressionScope { params: Some(&[]), ..ExpressionScope::default() },
        &mut CompileBudget::new(),
    )
    .unwrap_err();
    assert_eq!(error.message, "the profile has no parameter x, nor any other");
}

#[test]
fn a_loop_may_hide_a_variable() {
    let compared = all_hold(&[
        "['x'].all(pod, pod == 'x')",
        "[{'y': 1}].all(params, params.y == 1)",
        "['a'].all(math, math.size() == 1)",
    ]);
    assert!(compared >= 3, "the crate knows only {compared} of them");
}

#[test]
fn the_variables_of_an_expression_are_known() {
    let reads =
        |source| Expression::compile(source, &scope(), &mut CompileBudget::new()).unwrap().reads().clone();
    assert_eq!(reads("profile.name + 'a'"), Reads::default());
    let pod = reads("has(pod.spec.x) && namespaceObject.metadata.name == 'a'");
    assert!(
        pod.pod && pod.namespace_object && pod.is_from_pod() && !pod.params && !pod.container && !pod.cluster
    );
    let params =
        reads("params.memory == quantity('1') || params['port'] == 1 || has(params.wait) || cluster.x");
    assert!(params.params && params.cluster && !params.is_from_pod());
    assert_eq!(params.param_names, ["memory", "port", "wait"].map(str::to_owned).into());
    assert_eq!(reads("params.all(k, k != '')").param_names.len(), PARAMS.len());
    assert!(reads("container.name == ''").is_from_pod());
}
