use super::*;

fn render(text: &str) -> Result<JsonValue, EvaluationError> {
    let text = Text::parse(text, &scope(), &mut CompileBudget::new())
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    with_pod(POD, |variables| text.render(variables, &mut Budget::new()))
}

#[test]
fn a_leaf_that_is_one_expression_has_its_type() {
    assert_eq!(render("$[[ params.port ]]"), Ok(json!(8080)));
    assert_eq!(render("$[[params.memory]]"), Ok(json!("64Mi")));
    assert_eq!(render("$[[ [1, [2]] ]]"), Ok(json!([1, [2]])));
    assert_eq!(render("$[[ params.names ]]"), Ok(json!(["a", "b"])));
    assert_eq!(render("$[[ null ]]"), Ok(json!(null)));
    assert_eq!(render("$[[ {'a': {'b': 1.5}} ]]"), Ok(json!({"a": {"b": 1.5}})));
}

#[test]
fn every_other_leaf_is_text() {
    assert_eq!(render("--dir=$[[ params.directory ]]"), Ok(json!("--dir=/var/log")));
    assert_eq!(render("$[[ params.port ]]/$[[ params.debug ]] "), Ok(json!("8080/true ")));
    assert_eq!(render("$[[ params.memory ]]$[[ params.wait ]]$[[ 1.5 ]]"), Ok(json!("64Mi1m30s1.5")));
    assert_eq!(render(""), Ok(json!("")));
    assert_eq!(render("{{ .x }} ${Y} $(Z) [[ a ]]"), Ok(json!("{{ .x }} ${Y} $(Z) [[ a ]]")));
    for (leaf, part) in [
        ("a $[[ null ]]", "null cannot stand within a text; give a default"),
        ("a $[[ params.names ]]", "a list cannot stand within a text; write .join"),
        ("a $[[ pod ]]", "a map cannot stand within a text"),
        ("a $[[ pod.?x ]]", "an optional cannot stand within a text; end it with .orValue"),
    ] {
        let error = render(leaf).unwrap_err();
        assert!(error.message.contains(part), "{leaf}: {error}");
    }
}

#[test]
fn two_dollar_signs_are_a_literal_one() {
    assert_eq!(render("$$[[ params.port ]]"), Ok(json!("$[[ params.port ]]")));
    assert_eq!(render("a$$[[b$[[ 1 ]]$$[["), Ok(json!("a$[[b1$[[")));
    assert_eq!(render("$$$[[ 1 ]]"), Ok(json!("$$[[ 1 ]]")));
    assert_eq!(
        Text::parse("$$[[ x", &scope(), &mut CompileBudget::new()).unwrap().is_literal(),
        Some("$[[ x")
    );
    assert_eq!(
        Text::parse("plain", &scope(), &mut CompileBudget::new()).unwrap().is_literal(),
        Some("plain")
    );
    assert_eq!(Text::parse("$[[ 1 ]]", &scope(), &mut CompileBudget::new()).unwrap().is_literal(), None);
}

#[test]
fn an_expression_ends_at_the_first_unmatched_brackets() {
    for (leaf, value) in [
        ("$[[ [[1]][0][0] ]]x", json!("1x")),
        ("$[[ [1][[0][0]]]]", json!(1)),
        ("$[[ {'a': [1]}['a'][0] ]]", json!(1)),
        ("$[[ ']]' ]]", json!("]]")),
        ("$[[ \"]]\\\"]]\" ]]", json!("]]\"]]")),
        ("$[[ 'a\\\\' ]]-$[[ 'b' ]]", json!("a\\-b")),
        ("$[[ r'\\' ]]x", json!("\\x")),
        ("$[[ '''a'b]]''' ]]", json!("a'b]]")),
        ("$[[ \"\"\"a\"\n]]\"\"\" ]]", json!("a\"\n]]")),
        ("$[[ 1 // ]] not yet\n + 1 ]]", json!(2)),
        ("$[[ '//' ]]", json!("//")),
        ("$[[ '' ]]x", json!("x")),
        ("$[[ size('ä') ]]]]", json!("1]]")),
    ] {
        assert_eq!(render(leaf), Ok(value), "{leaf}");
    }
}

#[test]
fn errors_have_the_column_in_the_leaf() {
    for (leaf, column, message) in [
        ("ä $[[ params.port", 3, "this $[[ has no ]]; write $$[[ for a literal $[["),
        ("a $[[", 3, "this $[[ has no ]]; write $$[[ for a literal $[["),
        ("ä$[[ 1 ]] $[[ pud ]]", 15, "there is no variable pud; did you mean pod?"),
        ("a $[[ (1 ]]", 10, "`]` does not close the `(` at column 2"),
        ("a $[[ 'x ]]", 7, "this string has no end"),
        ("a $[[ ]] b", 7, "the expression ends too early"),
        ("a $[[ 1 ] ]]", 9, "unexpected ']'"),
    ] {
        let error = Text::parse(leaf, &scope(), &mut CompileBudget::new()).expect_err(leaf);
        assert_eq!((error.column, error.message.as_str()), (column, message), "{leaf}");
    }
    assert_eq!(render("ä $[[ 1 ]] $[[ pod.x ]]").unwrap_err().column, 20);
    assert_eq!(render("$[[ pod.x ]]").unwrap_err().column, 9);
}

#[test]
fn possible_values_of_a_leaf_are_recognized() {
    let could_be = |leaf: &str, actual: &str| {
        Text::parse(leaf, &scope(), &mut CompileBudget::new()).unwrap().could_be(actual)
    };
    for (leaf, actual) in [
        ("a", "a"),
        ("$[[ 1 ]]", "anything"),
        ("$[[ 1 ]]", ""),
        ("a-$[[ 1 ]]", "a-"),
        ("a-$[[ 1 ]]-b", "a-x-b-b"),
        ("$[[ 1 ]].log", "x.log"),
        ("a$[[ 1 ]]b$[[ 2 ]]c", "a-b-b-c"),
        ("$[[ 1 ]]a$[[ 2 ]]", "xay"),
    ] {
        assert!(could_be(leaf, actual), "{leaf} {actual}");
    }
    for (leaf, actual) in [
        ("a", "ab"),
        ("a", ""),
        ("a-$[[ 1 ]]", "b-x"),
        ("a-$[[ 1 ]]-a", "a-a"),
        ("$[[ 1 ]].log", "x.log2"),
        ("a$[[ 1 ]]b$[[ 2 ]]c", "acb"),
        ("a$[[ 1 ]]ab$[[ 2 ]]bc", "abc"),
    ] {
        assert!(!could_be(leaf, actual), "{leaf} {actual}");
    }
}

#[test]
fn the_variables_of_a_leaf_are_known() {
    let text =
        Text::parse("$[[ params.port ]] $[[ cluster.name ]]", &scope(), &mut CompileBudget::new()).unwrap();
    assert!(text.reads().params && text.reads().cluster && !text.reads().pod);
    assert_eq!(text.reads().param_names, ["port".to_owned()].into());
}
