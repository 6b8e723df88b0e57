//! The messages of reasons, with the names of their arguments in place of the values.

use std::collections::{BTreeMap, BTreeSet};

use outrigger::engine::Reason;
use serde_json::Value;

/// Sentences by code.
#[derive(Default)]
pub(crate) struct Sentences {
    /// Sentences of reasons whose arguments all differ.
    clear: BTreeMap<&'static str, BTreeSet<String>>,
    /// Sentences of reasons with two equal arguments, whose positions are ambiguous.
    unclear: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Sentences {
    pub(crate) fn add(&mut self, reason: &Reason) {
        let mut arguments = Vec::new();
        match reason {
            Reason::Several { first, others } => {
                self.add(first);
                for other in others {
                    self.add(other);
                }
                // Its sentence consists of these.
                return;
            }
            Reason::ProfileLeftOut { cause, .. }
            | Reason::RequiredLeftOut { cause, .. }
            | Reason::ConflictSkipped { cause, .. } => {
                self.add(cause);
                arguments.push(("cause".to_owned(), cause.to_string()));
            }
            _ => {}
        }
        if let Value::Object(variant) = serde_json::to_value(reason).unwrap() {
            for (_, mut fields) in variant {
                fields.as_object_mut().and_then(|fields| fields.remove("cause"));
                collect("", &fields, &mut arguments);
            }
        }
        arguments.retain(|(_, value)| !value.is_empty());
        arguments.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let values: BTreeSet<&String> = arguments.iter().map(|(_, value)| value).collect();
        let is_clear = values.len() == arguments.len();
        let mut sentence = reason.to_string();
        for (name, value) in &arguments {
            sentence = replaced(&sentence, value, &format!("{{{name}}}"));
        }
        let sentences = if is_clear { &mut self.clear } else { &mut self.unclear };
        sentences.entry(reason.code()).or_default().insert(sentence.replace('\n', " "));
    }

    /// Returns one line per sentence. Ambiguous sentences are included only for codes without others.
    pub(crate) fn text(&self) -> String {
        let codes: BTreeSet<&&str> = self.clear.keys().chain(self.unclear.keys()).collect();
        let sentences = |code: &str| self.clear.get(code).or_else(|| self.unclear.get(code));
        let lines = codes.into_iter().flat_map(|code| {
            sentences(code).into_iter().flatten().map(move |sentence| format!("{code}: {sentence}\n"))
        });
        lines.collect()
    }
}

/// Collects the values of arguments with their names.
fn collect(name: &str, value: &Value, arguments: &mut Vec<(String, String)>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) => {
            arguments.push((name.to_owned(), text.clone()));
            let quoted = format!("{text:?}");
            let quoted = quoted.trim_matches('"');
            if quoted != text {
                arguments.push((name.to_owned(), quoted.to_owned()));
            }
        }
        Value::Number(number) => arguments.push((name.to_owned(), number.to_string())),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            for text in texts.iter().flat_map(|texts| [", ", " → ", "; "].map(|mark| texts.join(mark))) {
                if !arguments.iter().any(|(_, known)| *known == text) {
                    arguments.push((name.to_owned(), text));
                }
            }
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                // A variant of an enumeration has the name of its argument.
                let is_variant = field.chars().next().is_some_and(char::is_uppercase);
                let name = match (name, is_variant) {
                    ("", _) => field.clone(),
                    (_, true) => name.to_owned(),
                    _ => format!("{name}.{field}"),
                };
                collect(&name, value, arguments);
            }
        }
    }
}

/// Replaces a word in a text, except in longer words and in names in braces.
fn replaced(text: &str, word: &str, by: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = found.get(word.len()..).unwrap_or_default();
        let is_part = |c: char| c.is_alphanumeric() || c == '{' || c == '}';
        let ends = |c: Option<char>| !c.is_some_and(is_part);
        let is_word = ends(result.chars().chain(before.chars()).last()) && ends(after.chars().next());
        result.push_str(before);
        result.push_str(if is_word { by } else { word });
        rest = after;
    }
    result + rest
}
