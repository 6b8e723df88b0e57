//! Strict parsers of the server's log lines, for both formats.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
/// Keys that every JSON line has.
const FIXED: [&str; 3] = ["timestamp", "level", "target"];

/// Returns the error in a line, if there is one. The line's first character determines its format.
pub(crate) fn problem(line: &str) -> Option<String> {
    if let Some(character) = line.chars().find(|character| character.is_control()) {
        return Some(format!("the control character {character:?}"));
    }
    let parsed = if line.starts_with('{') { json(line) } else { text(line) };
    parsed.err()
}

/// A JSON object without nested values and without duplicate keys.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("the key {key:?} occurs twice")));
            }
            if value.is_object() || value.is_array() || value.is_null() {
                return Err(A::Error::custom(format!(
                    "the value of {key:?} is not a string, number or boolean"
                )));
            }
            fields.push((key, value));
        }
        Ok(Object(fields))
    }
}

fn json(line: &str) -> Result<(), String> {
    let Object(fields) = serde_json::from_str(line).map_err(|error| error.to_string())?;
    for key in FIXED {
        let value = fields.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_str());
        check_fixed(key, value.ok_or_else(|| format!("{key:?} is missing or not a string"))?)?;
    }
    if fields.iter().any(|(name, value)| name == "message" && !value.is_string()) {
        return Err("\"message\" is not a string".to_owned());
    }
    fields.iter().try_for_each(|(name, _)| check_key(name))
}

fn check_fixed(key: &str, value: &str) -> Result<(), String> {
    let is_right = match key {
        "timestamp" => is_timestamp(value),
        "level" => LEVELS.contains(&value),
        _ => !value.is_empty() && !value.contains(char::is_whitespace),
    };
    if is_right { Ok(()) } else { Err(format!("{value:?} is not a valid {key}")) }
}

/// Returns whether a text is an RFC 3339 time in UTC, such as `2026-01-31T12:00:00.000000Z`.
fn is_timestamp(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else { return false };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, wanted): (u8, u8)| if wanted == b'd' { byte.is_ascii_digit() } else { byte == wanted };
    seconds.len() == pattern.len() && seconds.bytes().zip(pattern.bytes()).all(fits) && is_digits(fraction)
}

fn check_key(key: &str) -> Result<(), String> {
    let is_key = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    if is_key { Ok(()) } else { Err(format!("{key:?} is not a valid key")) }
}

/// Reads `TIMESTAMP LEVEL TARGET: MESSAGE KEY=VALUE…`, with the level right-aligned in five columns. A message with a
/// quote, a backslash or an equals sign is quoted.
fn text(line: &str) -> Result<(), String> {
    let (timestamp, rest) = line.split_once(' ').ok_or("there is no timestamp")?;
    check_fixed("timestamp", timestamp)?;
    let (level, rest) = rest.split_at_checked(5).ok_or("there is no level")?;
    check_fixed("level", level.trim_start())?;
    let rest = rest.strip_prefix(' ').ok_or("no space follows the level")?;
    let (target, rest) = rest.split_once(": ").ok_or("there is no target")?;
    check_fixed("target", target)?;
    let mut rest = message(rest)?;
    let mut keys = BTreeSet::new();
    while !rest.is_empty() {
        let field = rest.strip_prefix(' ').ok_or_else(|| format!("there is no space before {rest:?}"))?;
        let (key, value) = field.split_once('=').ok_or_else(|| format!("{field:?} is not a field"))?;
        check_key(key)?;
        if !keys.insert(key) {
            return Err(format!("the key {key:?} occurs twice"));
        }
        rest = after_value(value)?;
    }
    Ok(())
}

/// Returns the text after the message.
fn message(text: &str) -> Result<&str, String> {
    if text.starts_with('"') {
        return after_quoted(text);
    }
    let Some((bare, _)) = text.split_once('=') else {
        return if text.contains(['"', '\\']) { Err(format!("{text:?} is not quoted")) } else { Ok("") };
    };
    let end = bare.rfind(' ').ok_or_else(|| format!("{bare:?} is not quoted"))?;
    let (message, fields) = text.split_at(end);
    if message.contains(['"', '\\']) { Err(format!("{message:?} is not quoted")) } else { Ok(fields) }
}

/// Returns the text after a value.
fn after_value(text: &str) -> Result<&str, String> {
    if text.starts_with('"') {
        return after_quoted(text);
    }
    let (value, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'=\\".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_plain) {
        return Err(format!("the value {value:?} is not quoted"));
    }
    Ok(rest)
}

/// Returns the text after a quoted string with Rust's escapes.
fn after_quoted(text: &str) -> Result<&str, String> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok(text.get(at + 1..).unwrap_or_default()),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n' | 'r' | 't' | '0' | '\\' | '"' | '\'') => {}
                Some('u') => {
                    let digits: String = characters
                        .by_ref()
                        .map(|(_, digit)| digit)
                        .take_while(|digit| *digit != '}')
                        .collect();
                    let digits = digits.strip_prefix('{').unwrap_or_default();
                    let number = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                    number.ok_or_else(|| format!("{digits:?} is not a character"))?;
                }
                other => return Err(format!("the escape \\{} is unknown", other.unwrap_or(' '))),
            },
            _ => {}
        }
    }
    Err(format!("{text:?} has no closing quote"))
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn well_formed_lines_have_no_problem() {
        for line in [
            r#"{"timestamp":"2026-01-31T12:00:00.123456Z","level":"INFO","message":"decided","count":3,"dry_run":true,"target":"outrigger::webhook"}"#,
            r#"{"timestamp":"2026-01-31T12:00:00Z","level":"WARN","target":"outrigger"}"#,
            "2026-01-31T12:00:00.123456Z  INFO outrigger::webhook: decided",
            "2026-01-31T12:00:00.123456Z ERROR outrigger::webhook: not decided uid=7d1c-4 name=\"a \\\"b\\\" \\u{1b}\" n=3",
            "2026-01-31T12:00:00.123456Z DEBUG hyper: \"a=b \\\\\" k8s.namespace.name=shop",
            "2026-01-31T12:00:00.123456Z  WARN hyper:  k=v",
        ] {
            assert_eq!(problem(line), None, "{line}");
        }
    }

    #[test]
    fn malformed_json_lines_are_detected() {
        let fixed = r#""timestamp":"2026-01-31T12:00:00Z","level":"INFO","target":"outrigger""#;
        for (rest, part) in [
            (r#","message":"a","message":"b""#, "\"message\" occurs twice"),
            (r#","level":"INFO""#, "\"level\" occurs twice"),
            (r#","message":"a""b""#, "expected"),
            (r#","message":1"#, "not a string"),
            (r#","pod":{"name":"a"}"#, "not a string, number or boolean"),
            (r#","name":null"#, "not a string, number or boolean"),
            (r#","a key":1"#, "is not a valid key"),
            ("}{", "trailing"),
        ] {
            let line = format!("{{{fixed}{rest}}}");
            let problem = problem(&line).unwrap_or_default();
            assert!(problem.contains(part), "{line}: {problem}");
        }
        for line in [
            r#"{"level":"INFO","target":"outrigger"}"#,
            r#"{"timestamp":"yesterday","level":"INFO","target":"outrigger"}"#,
            r#"{"timestamp":"2026-01-31T12:00:00Z","level":"info","target":"outrigger"}"#,
            r#"{"timestamp":"2026-01-31T12:00:00Z","level":"INFO","target":""}"#,
        ] {
            assert!(problem(line).is_some(), "{line}");
        }
    }

    #[test]
    fn malformed_text_lines_are_detected() {
        for (rest, part) in [
            ("decided a=1 a=2", "occurs twice"),
            ("decided a=b c", "not a field"),
            ("decided a=b  c=d", "is not a valid key"),
            ("decided a=", "is not quoted"),
            ("decided a=\"b", "no closing quote"),
            ("decided a=\"b\"c", "no space"),
            ("decided a=\"\\q\"", "escape"),
            ("decided a=\"\\u{110000}\"", "not a character"),
            ("decided a=b\"c", "is not quoted"),
            ("say \"a\"", "is not quoted"),
            ("a\u{1b}[2K", "control character"),
        ] {
            let line = format!("2026-01-31T12:00:00.123456Z  INFO outrigger: {rest}");
            let problem = problem(&line).unwrap_or_default();
            assert!(problem.contains(part), "{line}: {problem}");
        }
        for line in [
            "",
            "error: cannot listen",
            "thread 'main' panicked at src/main.rs:14:5:",
            "2026-01-31T12:00:00.123456Z INFO outrigger: decided",
            "2026-01-31T12:00:00.123456Z  INFO decided",
        ] {
            assert!(problem(line).is_some(), "{line}");
        }
    }
}
