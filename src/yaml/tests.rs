#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The value of each scalar in kubectl 1.35; the end-to-end test `yaml` compares with kubectl itself.
const SCALARS: &str = include_str!("../../tests/yaml/scalars.json");
/// The objects of whole streams, in the same form.
const DOCUMENTS: &str = include_str!("../../tests/yaml/documents.json");

fn cases(corpus: &str) -> Vec<Value> {
    serde_json::from_str(corpus).unwrap()
}

/// Returns the objects of a stream, like `kubectl create`.
fn objects(text: &str) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for document in documents(text) {
        match document?.read()? {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind") == Some(&json!("List")) => {
                objects.extend(list.remove("items").unwrap().as_array().unwrap().iter().cloned());
            }
            object if object.get("kind").is_some() => objects.push(object),
            _ => return Err(Error::at(0, "it has no kind")),
        }
    }
    Ok(objects)
}

/// Returns whether two values are equal; kubectl writes large floats without an exponent.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| is_same(left, right)))
        }
        _ => left == right,
    }
}

#[test]
fn scalars_are_read_as_by_kubectl() {
    let cases = cases(SCALARS);
    assert!(cases.len() > 300);
    let mut wrong = Vec::new();
    for case in cases {
        let text = format!("value: {}\n", case["text"].as_str().unwrap());
        match read(&text) {
            Ok(read) if case.get("value").is_some_and(|wanted| is_same(&read["value"], wanted)) => {}
            Err(_) if case["error"] == true => {}
            // YAML 1.2 has this escape, go-yaml 2 does not.
            Ok(_) if case["text"] == "\"a\\/b\"" => {}
            other => wrong.push(format!("{case}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn streams_are_read_as_by_kubectl() {
    let cases = cases(DOCUMENTS);
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in cases {
        let read = objects(case["text"].as_str().unwrap());
        let fails = case["error"] == true || case["stricter"] == true;
        match read {
            Ok(read) if !fails && is_same(&case["objects"], &json!(read)) => {}
            Err(_) if fails => {}
            other => wrong.push(format!("{case}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_name_their_line_in_the_whole_stream() {
    for (text, wanted) in [
        (
            "a: 1\n---\nb: [\n",
            "line 4: invalid YAML: did not find expected node content while parsing a flow node",
        ),
        (
            "a: 1\n---\n# c\nb: 1\nc: 2\nb: 3\n",
            "line 6: key \"b\" is there twice, first on line 4; remove one of the two",
        ),
        ("a: *b\n", "line 1: there is no anchor &b before its alias"),
        ("a: 1\n--- b\n", "line 2: invalid document separator \"---b\"; write --- alone on its line"),
        ("a: 1\n...\nb: 2\n", "line 3: invalid YAML: did not find expected <document start>"),
        ("{\"a\": 1,\n \"a\": 2}", "line 2: invalid JSON: key \"a\" is there twice; remove one of the two"),
        ("a: .inf\n", "line 1: .inf is no number that JSON has"),
    ] {
        let read = documents(text).map(|document| document?.read()).collect::<Result<Vec<_>, _>>();
        let error = read.unwrap_err().to_string();
        assert_eq!(error, wanted, "{text}");
    }
}

#[test]
fn a_long_stream_is_read_completely() {
    let many = "---\na: [1, 2, 3]\n".repeat(5_000);
    assert_eq!(
        documents(&many).filter(|document| document.as_ref().is_ok_and(|one| one.node().is_ok())).count(),
        5_000
    );
    let list = format!("items:\n{}", "- {a: 1, b: 2}\n".repeat(150_000));
    assert_eq!(read(&list).unwrap()["items"].as_array().unwrap().len(), 150_000);
    assert!(read(&"[".repeat(100_000)).unwrap_err().message.contains("nested deeper"));
}

#[test]
fn ambiguous_texts_are_written_in_quotes() {
    for case in cases(SCALARS) {
        let text = case["text"].clone();
        let written = write(&json!({ "key": text })).unwrap();
        assert_eq!(read(&written).unwrap()["key"], text, "{written}");
        let written = write(&json!({ case["text"].as_str().unwrap(): 1 })).unwrap();
        assert_eq!(read(&written).unwrap()[text.as_str().unwrap()], 1, "{written}");
    }
    let written =
        write(&json!({ "a": { "b": [1, "x", {}, []], "script": "one\n  two\n" }, "y": "0400" })).unwrap();
    assert_eq!(
        written,
        "a:\n  b:\n  - 1\n  - x\n  - {}\n  - []\n  script: |\n    one\n      two\n\"y\": \"0400\"\n"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![any::<String>(), "[ -~\n\t]{0,20}", "[0-9_.eExXob+:-]{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(text.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn written_values_are_read_back(value in any_json()) {
        let written = write(&value).unwrap();
        prop_assert_eq!(read(&written), Ok(value), "{}", written);
    }
}

/// Returns the objects of each document, with their indexes.
fn indexed(text: &str) -> Result<Vec<(Option<usize>, Value)>, Error> {
    let mut found = Vec::new();
    for document in documents(text) {
        for object in document?.objects() {
            let Object { index, value } = object?;
            found.push((index, value));
        }
    }
    Ok(found)
}

#[test]
fn streamed_objects_are_those_of_the_whole_value() {
    let mut texts: Vec<String> =
        cases(DOCUMENTS).iter().filter_map(|case| Some(case["text"].as_str()?.to_owned())).collect();
    texts.extend(
        [
            "kind: List\nitems:\n- {kind: A}\n- kind: B\nmetadata: {}\n",
            "items: &a [{kind: A}]\nother: *a\n",
            "items: []\nkind: List\n",
            "{\"kind\": \"List\", \"items\": [ {\"kind\": \"A\"} , {\"kind\": \"B\"}], \"metadata\": {}}",
            "{\"kind\": \"A\", \"items\": {\"a\": 1}}",
            "- 1\n- 2\n",
            "",
        ]
        .map(str::to_owned),
    );
    for text in texts {
        let whole: Result<Vec<Value>, Error> = documents(&text).map(|document| document?.read()).collect();
        let Ok(whole) = whole else { continue };
        let mut expected = Vec::new();
        for value in whole {
            match value.get("items").and_then(Value::as_array) {
                Some(items) => {
                    expected
                        .extend(items.iter().enumerate().map(|(index, item)| (Some(index), item.clone())));
                }
                None if value.is_null() => {}
                None => expected.push((None, value)),
            }
        }
        let objects = indexed(&text).unwrap();
        // A list with an anchor is read as part of its document.
        let is_whole = objects.iter().any(|(_, value)| value.get("items").is_some_and(Value::is_array));
        if text.starts_with("items: &a") {
            assert!(is_whole, "{text:?}");
        } else {
            assert_eq!(objects, expected, "{text:?}");
        }
    }
}

#[test]
fn errors_in_a_list_have_their_line() {
    for (text, line, message) in [
        ("kind: List\nitems:\n- {kind: A}\n- {b: 1, b: 2}\n", 4, "\"b\" is there twice"),
        ("items: []\nitems: []\n", 2, "\"items\" is there twice"),
        ("items:\n- a\nkind: [\n", 4, "invalid YAML"),
        ("items:\n- a\n...\n{b: 1}\n", 4, "invalid YAML"),
        ("{\"items\": [\n{\"a\": 1},\n{\"b\": 1,\n\"b\": 2}]}", 4, "\"b\" is there twice"),
        ("{\"items\": [],\n\"items\": []}", 2, "\"items\" is there twice"),
    ] {
        let error = indexed(text).unwrap_err();
        assert!(error.line == line && error.message.contains(message), "{text:?}: {error:?}");
    }
}
