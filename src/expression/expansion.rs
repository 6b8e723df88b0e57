//! References to environment variables, `$(NAME)`, which the kubelet expands in commands, arguments and values of variables.
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use serde_json::Value;

/// Returns the names of the references in a text by the kubelet's rules: `$$` is an escaped `$` and does not start a
/// reference.
pub(crate) fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            let mut characters = after.chars();
            match characters.next()? {
                '(' => {
                    let inside = characters.as_str();
                    if let Some((name, after)) = inside.split_once(')') {
                        rest = after;
                        return Some(name);
                    }
                    rest = inside;
                }
                _ => rest = characters.as_str(),
            }
        }
    })
}

/// Returns the first text within a value for which `take` returns something.
pub(super) fn find_in_texts<T>(value: &Value, take: &mut impl FnMut(&str) -> Option<T>) -> Option<T> {
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().find_map(|item| find_in_texts(item, take)),
        Value::Object(fields) => fields.values().find_map(|field| find_in_texts(field, take)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::references;

    #[test]
    fn references_are_recognized_as_by_the_kubelet() {
        for (text, expected) in [
            ("$(A)", &["A"][..]),
            ("a$(A)$(B)b", &["A", "B"]),
            ("$$(A)", &[]),
            ("$$$(A)", &["A"]),
            ("$$$$(A)", &[]),
            ("$a$(A)", &["A"]),
            ("$(A", &[]),
            ("$($(A)", &["$(A"]),
            ("$()", &[""]),
            ("$", &[]),
            ("$ä$(ö)", &["ö"]),
            ("(A)", &[]),
        ] {
            assert_eq!(references(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
