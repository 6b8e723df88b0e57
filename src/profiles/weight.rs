//! Memory of JSON values.

use serde_json::Value;

use crate::expression::CompileBudget;

/// Memory of a value in addition to its text, in bytes.
const VALUE: usize = 48;

/// Number of copies of a text: the value, and its serialized form for patches.
const COPIES: usize = 2;

/// Returns the memory that a value takes in a compiled profile, in bytes.
pub(super) fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => COPIES * text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| VALUE / 2 + COPIES * name.len() + weight(field)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE + inside
}

/// Checks whether a profile's spec, as JSON, is too large to be parsed: it would not compile within its budget.
pub fn is_oversized(spec: &str) -> bool {
    // An escape of one byte takes at most six, and each value has at least one byte outside of strings.
    let (mut signs, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in spec.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => signs += 1,
            _ => {}
        }
    }
    signs > CompileBudget::MEMORY / VALUE || spec.len() > 6 * CompileBudget::MEMORY / COPIES
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn oversized_profiles_exceed_the_memory_budget() {
        for (value, oversized) in [
            (json!({ "files": ["a,[{\",".repeat(50_000)] }), false),
            (json!(vec![json!([]); 30_000]), true),
            (json!(vec![json!([]); 3000]), false),
            (json!("\u{0}".repeat(1 << 20)), true),
        ] {
            let text = value.to_string();
            assert_eq!(is_oversized(&text), oversized, "{}", text.len());
            assert!(!oversized || weight(&value) > CompileBudget::MEMORY);
        }
    }
}
