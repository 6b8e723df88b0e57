//! Single mistakes in a partial pod, derived from the schema of each field.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::at;
use crate::schema::{Schema, Typed};

/// A partial pod with one mistake.
pub(super) struct Mistake {
    pub(super) partial: Value,
    pub(super) what: String,
}

/// Values for strings, most of which are invalid in most fields.
const TEXTS: [&str; 11] = ["", " ", "../a", "/a", "..a", "UPPER", "under_score", "-a", "1", "a=b", "\u{e9}"];

const INTEGERS: [i64; 6] = [-1, 0, 2, 644, 65_536, 4_294_967_297];

const QUANTITIES: [&str; 6] = ["-1", "0", "1", "500m", "1x", "3Mi"];

/// Returns the mistakes of a base, and adds their fields to `tried`.
pub(super) fn of(base: &Value, schema: &Schema, tried: &mut BTreeSet<String>) -> Vec<Mistake> {
    let mut walk = Walk { base, schema, tried, found: Vec::new() };
    for (name, value) in base["spec"].as_object().unwrap() {
        let inner = &schema.spec()["properties"][name];
        walk.value(&format!("/spec/{name}"), value, inner);
    }
    for map in ["labels", "annotations"] {
        for key in base["metadata"][map].as_object().into_iter().flatten().map(|(key, _)| key) {
            let pointer = format!("/metadata/{map}/{}", escaped(key));
            for text in long_texts() {
                walk.set(&pointer, json!(text));
            }
        }
    }
    walk.found
}

struct Walk<'w> {
    base: &'w Value,
    schema: &'w Schema,
    tried: &'w mut BTreeSet<String>,
    found: Vec<Mistake>,
}

impl Walk<'_> {
    fn value(&mut self, pointer: &str, value: &Value, schema: &Value) {
        for mistake in self.wrong(schema) {
            if mistake != *value {
                self.set(pointer, mistake);
            }
        }
        let Typed { name, schema } = self.schema.resolve(schema);
        let schema = schema.clone();
        match value {
            Value::Object(fields) => {
                for (field, inner) in fields {
                    let pointer = format!("{pointer}/{}", escaped(field));
                    self.remove(&pointer);
                    self.tried.insert(format!("{name}.{field}"));
                    let of_field = &schema["properties"][field];
                    let of_key = &schema["additionalProperties"];
                    self.value(&pointer, inner, if of_field.is_object() { of_field } else { of_key });
                }
                if schema["additionalProperties"].is_object() {
                    for key in ["", "a b", "UPPER", "a=b", "x.kubernetes.io/y", "example.com/z"] {
                        self.set(
                            &format!("{pointer}/{}", escaped(key)),
                            self.example(&schema["additionalProperties"], 0),
                        );
                    }
                }
                let absent = schema["properties"].as_object().into_iter().flatten();
                for (field, inner) in absent.filter(|(field, _)| !fields.contains_key(*field)) {
                    self.tried.insert(format!("{name}.{field}"));
                    let pointer = format!("{pointer}/{field}");
                    let examples = [self.example(inner, 0), self.example(inner, 1)];
                    self.set(&pointer, examples[1].clone());
                    if examples[0] != examples[1] {
                        self.set(&pointer, examples[0].clone());
                    }
                    for mistake in self.wrong(inner) {
                        self.set(&pointer, mistake);
                    }
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    self.value(&format!("{pointer}/{index}"), inner, &schema["items"]);
                }
                if let Some(first) = items.first() {
                    let mut twice = items.clone();
                    twice.push(first.clone());
                    self.set(pointer, Value::Array(twice));
                }
            }
            _ => {}
        }
    }

    /// Returns values of the field's type that are invalid in most fields.
    fn wrong(&self, schema: &Value) -> Vec<Value> {
        let Typed { name, schema } = self.schema.resolve(schema);
        let is = |kind: &str| schema["type"] == kind;
        if name.ends_with("Quantity") {
            return QUANTITIES.map(Value::from).to_vec();
        }
        if name.ends_with("IntOrString") {
            return vec![
                json!(-1),
                json!(0),
                json!(65_536),
                json!(""),
                json!("UPPER"),
                json!("a-very-long-name"),
                json!("a--b"),
            ];
        }
        if is("integer") {
            return INTEGERS.map(Value::from).to_vec();
        }
        if is("string") {
            let known = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let cased: Vec<Value> = known.map(|known| Value::from(known.to_lowercase())).collect();
            return long_texts().into_iter().map(Value::from).chain(cased).collect();
        }
        if is("boolean") {
            return vec![json!(true), json!(false)];
        }
        if is("array") { vec![json!([])] } else { vec![json!({})] }
    }

    /// Returns a value of the field's type with this number of nested levels.
    fn example(&self, schema: &Value, levels: usize) -> Value {
        let Typed { name, schema } = self.schema.resolve(schema);
        if name.ends_with("Quantity") || name.ends_with("IntOrString") {
            return json!("1");
        }
        match schema["type"].as_str() {
            Some("integer" | "number") => json!(1),
            Some("string") => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
            Some("boolean") => json!(true),
            Some("array") => json!([self.example(&schema["items"], levels)]),
            _ if levels == 0 => json!({}),
            _ => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                fields.map(|(field, inner)| (field.clone(), self.example(inner, levels - 1))).collect()
            }
        }
    }

    fn set(&mut self, pointer: &str, value: Value) {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let what = format!("{pointer} = {value}");
        let mut partial = self.base.clone();
        match at(&mut partial, parent) {
            Value::Object(fields) => _ = fields.insert(unescaped(last), value),
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
            other => panic!("{pointer}: {other}"),
        }
        self.found.push(Mistake { partial, what });
    }

    fn remove(&mut self, pointer: &str) {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let mut partial = self.base.clone();
        at(&mut partial, parent).as_object_mut().unwrap().remove(&unescaped(last));
        self.found.push(Mistake { partial, what: format!("{pointer} removed") });
    }
}

fn long_texts() -> Vec<String> {
    let long = [16, 64, 254].map(|length| "x".repeat(length));
    TEXTS.into_iter().map(str::to_owned).chain(long).collect()
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
