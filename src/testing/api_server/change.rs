//! Changes of objects: create, update and patch.

use serde_json::Value;

use super::address::Address;
use super::answer::{ApiAnswer, failure};

/// A request that creates or changes an object.
pub(super) struct PatchRequest<'r> {
    pub(super) verb: &'r str,
    /// Content type of the body: the kind of a patch.
    pub(super) content: &'r str,
    pub(super) body: Value,
    pub(super) address: &'r Address,
}

impl PatchRequest<'_> {
    /// Returns the object after the change, or the answer to a change that is not possible.
    pub(super) fn apply(self, before: Option<Value>) -> Result<Value, ApiAnswer> {
        let is_apply = self.content.starts_with("application/apply-patch");
        let Some(before) = before else {
            return if self.verb == "create" || is_apply {
                let mut created = self.body;
                if self.address.collection.has_status() {
                    remove(&mut created, "status");
                }
                Ok(created)
            } else {
                Err(failure(404, "NotFound"))
            };
        };
        if self.verb == "create" {
            return Err(failure(409, "AlreadyExists"));
        }
        let after = self.changed(&before)?;
        let (is, was) = (&after["metadata"]["resourceVersion"], &before["metadata"]["resourceVersion"]);
        if !is.is_null() && is != was {
            return Err(failure(409, "Conflict"));
        }
        Ok(self.limited(after, before))
    }

    fn changed(&self, before: &Value) -> Result<Value, ApiAnswer> {
        if self.verb == "update" {
            return Ok(self.body.clone());
        }
        let mut after = before.clone();
        match self.content {
            "application/json-patch+json" => {
                let patch: json_patch::Patch =
                    serde_json::from_value(self.body.clone()).map_err(|_| failure(400, "BadRequest"))?;
                json_patch::patch(&mut after, &patch).map_err(|_| failure(422, "Invalid"))?;
            }
            "application/merge-patch+json" => json_patch::merge(&mut after, &self.body),
            // Without the ownership of fields: an applied field is never removed.
            content if content.starts_with("application/apply-patch") => {
                json_patch::merge(&mut after, &self.body);
            }
            _ => return Err(failure(415, "UnsupportedMediaType")),
        }
        Ok(after)
    }

    /// Returns the object with the part of the change that its subresource permits.
    fn limited(&self, mut after: Value, before: Value) -> Value {
        let part = |object: &Value| object.get("status").cloned();
        match self.address.subresource.as_deref() {
            Some("status") => with_status(before, part(&after)),
            None if self.address.collection.has_status() => {
                let status = part(&before);
                remove(&mut after, "status");
                with_status(after, status)
            }
            None => after,
            Some(other) => panic!("the subresource {other} is not supported"),
        }
    }
}

fn with_status(mut object: Value, status: Option<Value>) -> Value {
    match status {
        Some(status) => object["status"] = status,
        None => remove(&mut object, "status"),
    }
    object
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}
