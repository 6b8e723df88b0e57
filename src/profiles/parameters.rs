//! Parameters of a profile: allowed values and sources.

mod path;

use std::cmp::Ordering;

use serde_json::Value;

use super::finding::Findings;
use crate::api::{self, ParameterType, Source};
use crate::duration::Duration;
use crate::expression::{Budget, ParameterValue, Pattern, PatternError};
use crate::quantity::Quantity;

/// Compiled parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Name of the parameter.
    pub name: String,
    /// Default value.
    pub default: Option<ParameterValue>,
    /// `true` if a value must be set.
    pub required: bool,
    kind: ParameterType,
    values: Vec<String>,
    pattern: Option<Pattern>,
    /// Description of the pattern for messages.
    message: Option<String>,
    /// Normalized directories that a path must be in.
    allowed_prefixes: Vec<String>,
    minimum: Option<ParameterValue>,
    maximum: Option<ParameterValue>,
    settable_by: Vec<Source>,
    allow_expansion: bool,
}

/// Reason for which a text is not a valid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong type.
    Type(String),
    /// Outside the bounds.
    Bounds(String),
    /// Right type, but not an allowed value.
    Value(String),
}

impl Parameter {
    /// Checks whether pods, or namespaces, may set the parameter.
    pub fn is_settable_by(&self, source: Source) -> bool {
        self.settable_by.contains(&source)
    }

    /// Returns the sources that may set it, for messages.
    pub fn settable_by(&self) -> &'static str {
        match (self.is_settable_by(Source::Pod), self.is_settable_by(Source::Namespace)) {
            (true, true) => "pods and namespaces",
            (true, false) => "pods only",
            (false, true) => "namespaces only",
            (false, false) => "only the profile itself",
        }
    }

    /// Parses a value from an annotation. Pattern matching is charged to the request's budget.
    ///
    /// # Errors
    /// The value does not satisfy the parameter's rules.
    pub fn read(&self, text: &str, budget: &mut Budget) -> Result<ParameterValue, Refusal> {
        let value = self.of_type(text)?;
        self.check(&value, budget).map(|()| value)
    }

    /// Returns sample values: the default, the bounds, each value of an enum.
    pub(super) fn samples(&self) -> Vec<ParameterValue> {
        let mut samples: Vec<ParameterValue> = self.default.iter().cloned().collect();
        samples.extend(self.minimum.iter().chain(&self.maximum).cloned());
        samples.extend(self.values.iter().cloned().map(ParameterValue::String));
        if samples.is_empty() {
            samples.push(match self.kind {
                ParameterType::String | ParameterType::Enum => ParameterValue::String("x".to_owned()),
                ParameterType::Path => {
                    let within = self.allowed_prefixes.first().map_or("/x", String::as_str);
                    ParameterValue::String(within.to_owned())
                }
                ParameterType::Integer => ParameterValue::Integer(1),
                ParameterType::Boolean => ParameterValue::Boolean(false),
                ParameterType::Quantity => ParameterValue::Quantity(Quantity::from_integer(1)),
                ParameterType::Duration => ParameterValue::Duration(Duration::from_nanos(1_000_000_000)),
                ParameterType::StringList => ParameterValue::List(vec!["x".to_owned()]),
            });
        }
        if self.kind == ParameterType::Boolean {
            samples.extend([true, false].map(ParameterValue::Boolean));
        }
        samples
    }

    pub(super) fn compile(
        given: &api::Parameter,
        mandatory: bool,
        path: &str,
        findings: &mut Findings,
    ) -> Self {
        let settable_by = match given.settable_by.as_slice() {
            [] if mandatory => Vec::new(),
            [] => vec![Source::Pod, Source::Namespace],
            some => some.to_vec(),
        };
        let mut parameter = Self {
            name: given.name.clone(),
            default: None,
            required: given.required,
            kind: given.kind,
            values: given.values.clone(),
            pattern: pattern(given.pattern.as_deref(), path, findings),
            message: given.message.clone(),
            allowed_prefixes: prefixes(&given.allowed_prefixes, path, findings),
            minimum: None,
            maximum: None,
            settable_by,
            allow_expansion: given.allow_expansion,
        };
        parameter.check_rules(given, path, findings);
        let bound = |field: &str, value: &Option<Value>, findings: &mut Findings| {
            let read = parameter.of_type(&text_of(value.as_ref()?));
            read.map_err(|refusal| findings.error(format!("{path}.{field}"), refusal.message())).ok()
        };
        let minimum = bound("minimum", &given.minimum, findings);
        let maximum = bound("maximum", &given.maximum, findings);
        if let (Some(low), Some(high)) = (&minimum, &maximum)
            && compare(low, high) == Some(Ordering::Greater)
        {
            findings.error(format!("{path}.minimum"), "the minimum is above the maximum");
        }
        (parameter.minimum, parameter.maximum) = (minimum, maximum);
        if let Some(default) = &given.default {
            match parameter.read(&text_of(default), &mut Budget::new()) {
                Ok(value) => parameter.default = Some(value),
                Err(refusal) => findings.error(format!("{path}.default"), refusal.message()),
            }
        }
        parameter
    }

    /// Reports rules that do not fit the type, or each other.
    fn check_rules(&self, given: &api::Parameter, path: &str, findings: &mut Findings) {
        let ordered =
            matches!(self.kind, ParameterType::Integer | ParameterType::Quantity | ParameterType::Duration);
        for (field, bound) in [("minimum", &given.minimum), ("maximum", &given.maximum)] {
            if bound.is_some() && !ordered {
                findings
                    .error(format!("{path}.{field}"), "only an integer, a quantity or a duration has bounds");
            }
        }
        let has_pattern =
            matches!(self.kind, ParameterType::String | ParameterType::Path | ParameterType::StringList);
        if given.message.is_some() && given.pattern.is_none() {
            findings
                .error(format!("{path}.message"), "it says what the pattern wants, and there is no pattern");
        }
        if given.pattern.is_some() && !has_pattern {
            findings.error(
                format!("{path}.pattern"),
                "only a string, a path, or each string of a list, has a pattern",
            );
        }
        if !given.allowed_prefixes.is_empty() && self.kind != ParameterType::Path {
            findings.error(
                format!("{path}.allowedPrefixes"),
                "allowedPrefixes is allowed only for type path; remove it, or set type: path",
            );
        }
        match (self.kind, given.values.is_empty()) {
            (ParameterType::Enum, true) => {
                findings.error(
                    format!("{path}.values"),
                    "a parameter of type enum must list its values in `values`",
                );
            }
            (ParameterType::Enum, false) | (_, true) => {}
            (_, false) => {
                findings.error(format!("{path}.values"), "only a parameter of type enum has values");
            }
        }
        if given.required && given.default.is_some() {
            findings.warning(
                format!("{path}.required"),
                "it has no effect on a parameter with a default; remove it, or the default",
            );
        }
        if given.required && self.settable_by.is_empty() {
            findings.error(
                format!("{path}.settableBy"),
                "a required parameter of a Mandatory profile says who sets it: Pod or Namespace",
            );
        }
    }

    fn of_type(&self, text: &str) -> Result<ParameterValue, Refusal> {
        let refuse = |what: &str| Refusal::Type(format!("{} is not {what}", quoted(text)));
        Ok(match self.kind {
            ParameterType::String | ParameterType::Enum => ParameterValue::String(text.to_owned()),
            ParameterType::Path => ParameterValue::String(
                path::normalized(text)
                    .map_err(|problem| Refusal::Type(format!("{} {problem}", quoted(text))))?,
            ),
            ParameterType::Integer => ParameterValue::Integer(
                text.parse().map_err(|_| refuse("a whole number between -2^63 and 2^63-1"))?,
            ),
            ParameterType::Boolean => ParameterValue::Boolean(match text {
                "true" => true,
                "false" => false,
                _ => return Err(refuse("true or false")),
            }),
            ParameterType::Quantity => {
                ParameterValue::Quantity(text.parse().map_err(|error| Refusal::Type(format!("{error}")))?)
            }
            ParameterType::Duration => {
                ParameterValue::Duration(text.parse().map_err(|error| Refusal::Type(format!("{error}")))?)
            }
            ParameterType::StringList => ParameterValue::List(list(text).ok_or_else(|| {
                refuse("a list: write strings with commas between, or a JSON array of strings")
            })?),
        })
    }

    fn check(&self, value: &ParameterValue, budget: &mut Budget) -> Result<(), Refusal> {
        for text in value.texts() {
            self.check_text(text, budget)?;
        }
        let beyond = |bound: &Option<ParameterValue>, side: Ordering, words: &str| {
            let bound = bound.as_ref().filter(|bound| compare(value, bound) == Some(side))?;
            Some(Refusal::Bounds(format!("\"{}\" is {words} {}", shown(value), shown(bound))))
        };
        beyond(&self.minimum, Ordering::Less, "below the minimum")
            .or_else(|| beyond(&self.maximum, Ordering::Greater, "above the maximum"))
            .map_or(Ok(()), Err)
    }

    fn check_text(&self, text: &String, budget: &mut Budget) -> Result<(), Refusal> {
        let refused = |message: String| Err(Refusal::Value(message));
        if !self.allow_expansion && text.contains("$(") {
            return refused(format!(
                "{} contains $(, which the kubelet would expand from the container's environment",
                quoted(text)
            ));
        }
        if self.kind == ParameterType::Enum && !self.values.contains(text) {
            return refused(format!("{} is not one of {}", quoted(text), listed(&self.values)));
        }
        let is_allowed = |prefix: &String| path::is_within(text, prefix);
        if !self.allowed_prefixes.is_empty() && !self.allowed_prefixes.iter().any(is_allowed) {
            return refused(format!("{} is not in {}", quoted(text), listed(&self.allowed_prefixes)));
        }
        match self.pattern.as_ref().map(|pattern| (pattern, pattern.matches(text, budget))) {
            None | Some((_, Some(true))) => Ok(()),
            Some((pattern, Some(false))) => {
                let rule = self.message.as_ref().map_or_else(String::new, |rule| format!(": {rule}"));
                refused(format!("{} does not match the pattern {:?}{rule}", quoted(text), pattern.as_str()))
            }
            Some((_, None)) => refused(format!(
                "{} is too long to be compared with the pattern within the limits of a request; write a shorter value",
                quoted(text)
            )),
        }
    }
}

impl Refusal {
    /// Returns the error message.
    pub fn message(&self) -> &str {
        match self {
            Self::Type(message) | Self::Bounds(message) | Self::Value(message) => message,
        }
    }
}

/// Formats a value for display.
pub fn shown(value: &ParameterValue) -> String {
    match value {
        ParameterValue::String(text) => text.clone(),
        ParameterValue::Integer(integer) => integer.to_string(),
        ParameterValue::Boolean(flag) => flag.to_string(),
        ParameterValue::Quantity(quantity) => quantity.to_string(),
        ParameterValue::Duration(duration) => duration.to_string(),
        ParameterValue::List(texts) => texts.join(","),
    }
}

/// Returns a quoted and truncated text for a message of one line.
fn quoted(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{:?}", start + "…")
}

/// Returns comma-separated values, truncated for a message of one line.
fn listed(values: &[String]) -> String {
    const MOST: usize = 600;
    let mut list = String::new();
    for value in values {
        if list.len() + value.len() > MOST {
            return list + ", …";
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(value);
    }
    list
}

/// Parses a comma-separated list, or a JSON array of strings; an empty text is an empty list.
fn list(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    Some(text.split(',').map(|part| part.trim().to_owned()).collect())
}

fn compare(one: &ParameterValue, other: &ParameterValue) -> Option<Ordering> {
    match (one, other) {
        (ParameterValue::Integer(one), ParameterValue::Integer(other)) => Some(one.cmp(other)),
        (ParameterValue::Quantity(one), ParameterValue::Quantity(other)) => Some(one.cmp(other)),
        (ParameterValue::Duration(one), ParameterValue::Duration(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pattern(given: Option<&str>, path: &str, findings: &mut Findings) -> Option<Pattern> {
    let given = given?;
    let path = format!("{path}.pattern");
    if given.len() > api::Parameter::LONGEST_PATTERN {
        let longest = api::Parameter::LONGEST_PATTERN;
        findings.error(path, format!("a pattern has at most {longest} bytes; this one has {}", given.len()));
        return None;
    }
    match Pattern::compile(given, &mut findings.budget) {
        Ok(pattern) => return Some(pattern),
        Err(PatternError::OverBudget(over)) => findings.over_budget(path, over),
        Err(error) => findings.error(path, format!("the pattern cannot be used: {error}")),
    }
    None
}

fn prefixes(given: &[String], path: &str, findings: &mut Findings) -> Vec<String> {
    let mut prefixes = Vec::with_capacity(given.len());
    for (index, text) in given.iter().enumerate() {
        match path::normalized(text) {
            Ok(prefix) => prefixes.push(prefix),
            Err(problem) => findings
                .error(format!("{path}.allowedPrefixes[{index}]"), format!("{} {problem}", quoted(text))),
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parameter(spec: Value) -> Parameter {
        let mut findings = Findings::default();
        let compiled = Parameter::compile(&serde_json::from_value(spec).unwrap(), false, "p", &mut findings);
        assert!(!findings.has_errors(), "{:?}", findings.into_vec());
        compiled
    }

    fn read(parameter: &Parameter, text: &str) -> Result<ParameterValue, Refusal> {
        parameter.read(text, &mut Budget::new())
    }

    fn errors(spec: Value) -> Vec<String> {
        let mut findings = Findings::default();
        Parameter::compile(&serde_json::from_value(spec).unwrap(), false, "p", &mut findings);
        findings.into_vec().iter().map(ToString::to_string).collect()
    }

    fn refusal(parameter: &Parameter, text: &str) -> String {
        read(parameter, text).unwrap_err().message().to_owned()
    }

    #[test]
    fn every_type_accepts_only_its_values() {
        for (kind, good, bad, why) in [
            ("integer", "-7", "7.0", "\"7.0\" is not a whole number"),
            ("boolean", "true", "yes", "\"yes\" is not true or false"),
            ("quantity", "64Mi", "64MB", "is not a quantity"),
            ("duration", "1m30s", "90", "is not a duration"),
            ("stringList", "[\"a,b\"]", "[1]", "is not a list"),
        ] {
            let parameter = parameter(json!({ "name": "p", "type": kind }));
            read(&parameter, good).unwrap();
            let message = refusal(&parameter, bad);
            assert!(message.contains(why), "{kind}: {message}");
        }
    }

    #[test]
    fn bounds_compare_quantities_and_durations_exactly() {
        let memory = parameter(json!({ "name": "m", "type": "quantity", "maximum": "512Mi" }));
        read(&memory, "0.5Gi").unwrap();
        assert_eq!(refusal(&memory, "2Gi"), "\"2Gi\" is above the maximum 512Mi");
        let wait = parameter(json!({ "name": "w", "type": "duration", "minimum": "1s" }));
        read(&wait, "1000ms").unwrap();
        assert_eq!(refusal(&wait, "999ms"), "\"999ms\" is below the minimum 1s");
        let count = parameter(json!({ "name": "c", "type": "integer", "minimum": 1, "maximum": 3 }));
        assert_eq!(refusal(&count, "4"), "\"4\" is above the maximum 3");
    }

    #[test]
    fn strings_are_checked_for_patterns_and_expansion() {
        let path = parameter(json!({ "name": "d", "type": "string", "pattern": "^/" }));
        read(&path, "/srv").unwrap();
        assert_eq!(refusal(&path, "srv"), "\"srv\" does not match the pattern \"^/\"");
        let worded = parameter(
            json!({ "name": "d", "type": "string", "pattern": "^/", "message": "must be an absolute path" }),
        );
        assert_eq!(
            refusal(&worded, "srv"),
            "\"srv\" does not match the pattern \"^/\": must be an absolute path"
        );
        assert!(refusal(&path, "/$(HOME)").contains("the kubelet would expand"));
        let free = parameter(json!({ "name": "d", "type": "string", "allowExpansion": true }));
        read(&free, "$(HOME)").unwrap();
        let level = parameter(json!({ "name": "l", "type": "enum", "values": ["debug", "info"] }));
        assert_eq!(refusal(&level, "warn"), "\"warn\" is not one of debug, info");
    }

    #[test]
    fn paths_are_normalized_and_confined() {
        let path =
            parameter(json!({ "name": "d", "type": "path", "allowedPrefixes": ["/var/log/", "/srv"] }));
        let text = |text: &str| ParameterValue::String(text.to_owned());
        assert_eq!(read(&path, "/var/log/").unwrap(), text("/var/log"));
        assert_eq!(read(&path, "/srv//a/./b").unwrap(), text("/srv/a/b"));
        assert!(refusal(&path, "/var/log/../../etc").contains("contains .., which leads out"));
        assert_eq!(refusal(&path, "/var/logs"), "\"/var/logs\" is not in /var/log, /srv");
        assert!(refusal(&path, "/srv/$(X)").contains("the kubelet would expand"));
        let free = parameter(json!({ "name": "d", "type": "path", "pattern": "^/[a-z]+$" }));
        assert_eq!(read(&free, "/a/").unwrap(), text("/a"));
        assert!(refusal(&free, "/a/b").contains("does not match the pattern"));
    }

    #[test]
    fn a_long_value_is_not_compared_with_a_large_pattern() {
        let slow = parameter(json!({ "name": "d", "type": "string", "pattern": "^([a-z]|[0-9]){300}$" }));
        assert!(refusal(&slow, &"a".repeat(100_000)).contains("too long to be compared"));
        assert!(refusal(&slow, &"a".repeat(301)).contains("does not match"));
    }

    #[test]
    fn lists_have_two_formats() {
        let ports = parameter(json!({ "name": "p", "type": "stringList" }));
        let words = |words: &[&str]| ParameterValue::List(words.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(read(&ports, "a, b").unwrap(), words(&["a", "b"]));
        assert_eq!(read(&ports, "[\"a,b\"]").unwrap(), words(&["a,b"]));
        assert_eq!(read(&ports, "").unwrap(), words(&[]));
    }

    #[test]
    fn invalid_rules_are_findings() {
        for (spec, part) in [
            (json!({ "name": "p", "type": "string", "maximum": 3 }), "has bounds"),
            (json!({ "name": "p", "type": "integer", "pattern": "^1" }), "has a pattern"),
            (
                json!({ "name": "p", "type": "string", "allowedPrefixes": ["/a"] }),
                "is allowed only for type path",
            ),
            (
                json!({ "name": "p", "type": "path", "allowedPrefixes": ["a"] }),
                "p.allowedPrefixes[0]: \"a\" is not",
            ),
            (
                json!({ "name": "p", "type": "path", "default": "/a/../b" }),
                "p.default: \"/a/../b\" contains ..",
            ),
            (json!({ "name": "p", "type": "string", "pattern": "a".repeat(1025) }), "at most 1024 bytes"),
            (json!({ "name": "p", "type": "string", "values": ["a"] }), "has values"),
            (
                json!({ "name": "p", "type": "enum", "values": ["a"], "default": "b" }),
                "p.default: \"b\" is not one of a",
            ),
            (json!({ "name": "p", "type": "integer", "minimum": 3, "maximum": 1 }), "above the maximum"),
            (json!({ "name": "p", "type": "string", "pattern": "(" }), "cannot be used"),
            (json!({ "name": "p", "type": "quantity", "maximum": "x" }), "p.maximum"),
        ] {
            let errors = errors(spec);
            assert!(errors.iter().any(|error| error.contains(part)), "{errors:?}");
        }
    }
}
