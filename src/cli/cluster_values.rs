use serde_json::Value;

use crate::yaml;

/// Parses the value of `cluster` in expressions.
pub(super) fn parse_cluster_values(text: &str) -> Result<Value, String> {
    match yaml::read(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err("write an object, such as {registry: registry.example}".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
