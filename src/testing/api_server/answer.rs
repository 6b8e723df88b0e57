//! Answers of the API server.

use axum::body::Body;
use serde_json::{Value, json};

/// Code and body of an answer.
pub(super) type ApiAnswer = (u16, Body);

pub(super) fn found(object: &Value) -> ApiAnswer {
    (200, Body::from(object.to_string()))
}

pub(super) fn failure(code: u16, reason: &str) -> ApiAnswer {
    (code, Body::from(status(code, reason).to_string()))
}

/// Returns the answer to an object with an invalid field.
pub(super) fn invalid(field: &str, message: &str) -> ApiAnswer {
    let mut status = status(422, "Invalid");
    status["details"] =
        json!({ "causes": [{ "reason": "FieldValueInvalid", "field": field, "message": message }] });
    (422, Body::from(status.to_string()))
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason,
    })
}
