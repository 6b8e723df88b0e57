//! Requests and responses in `AdmissionReview` v1:
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>.

use std::borrow::Cow;

use axum::http::StatusCode;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::api::keys;
use crate::engine::Patch;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct Envelope<'a, O> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a, O>>,
}

/// The API server's request. The body is read in one pass: the object is parsed with it, as an `O`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
pub(super) struct Request<'a, O> {
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kind: GroupVersionKind<'a>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) sub_resource: Cow<'a, str>,
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    pub(super) object: Option<O>,
    pub(super) old_object: Option<O>,
    #[serde(borrow, default)]
    pub(super) user_info: UserInfo<'a>,
}

/// The user of the request, reduced to the fields that are needed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct UserInfo<'a> {
    #[serde(borrow, default)]
    pub(super) username: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct GroupVersionKind<'a> {
    #[serde(borrow, default)]
    pub(super) group: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) version: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kind: Cow<'a, str>,
}

/// A body that is not a review: it has no request that could be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadReview {
    #[error("the body is not an AdmissionReview in JSON: {0}")]
    NotText(#[from] std::str::Utf8Error),
    #[error("the body is not an AdmissionReview in JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the body is {api_version:?} {kind:?}; this endpoint takes {API_VERSION} {KIND}")]
    OtherKind { api_version: String, kind: String },
    #[error("the AdmissionReview has no request")]
    NoRequest,
}

/// # Errors
/// The body is not a review of version 1.
pub(super) fn read<'a, O: Deserialize<'a>>(body: &'a [u8]) -> Result<Request<'a, O>, BadReview> {
    // One UTF-8 check of the whole body replaces a check of every string.
    let envelope: Envelope<'a, O> = serde_json::from_str(std::str::from_utf8(body)?)?;
    if envelope.api_version != API_VERSION || envelope.kind != KIND {
        let (api_version, kind) = (envelope.api_version.into_owned(), envelope.kind.into_owned());
        return Err(BadReview::OtherKind { api_version, kind });
    }
    envelope.request.ok_or(BadReview::NoRequest)
}

/// The answer to a review.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    response: Response<'a>,
    /// JSON text of the patch, if there is one.
    patch: Option<&'a [u8]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: &'a Response<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    audit_annotations: Vec<(&'static str, &'a str)>,
}

fn as_map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// Details that kubectl prints instead of the message, one line per cause.
#[derive(Debug, Serialize)]
struct Details {
    group: String,
    kind: String,
    name: String,
    causes: Vec<Cause>,
}

/// One reason for which an object is invalid.
#[derive(Debug, Serialize)]
pub(super) struct Cause {
    /// Kind of problem, as the API server names it.
    pub(super) reason: &'static str,
    /// Message about the field.
    pub(super) message: String,
    /// Path of the field.
    pub(super) field: String,
}

impl<'a> Answer<'a> {
    pub(super) fn allowed(uid: &'a str) -> Self {
        let (warnings, audit_annotations) = (Vec::new(), Vec::new());
        let response = Response { uid, allowed: true, status: None, warnings, audit_annotations };
        Self { response, patch: None }
    }

    /// Returns a denial with a message in one line, which the user sees.
    pub(super) fn denied(uid: &'a str, code: StatusCode, message: String) -> Self {
        let reason = if code == StatusCode::UNPROCESSABLE_ENTITY { "Invalid" } else { "Forbidden" };
        let mut answer = Self::allowed(uid);
        answer.response.allowed = false;
        answer.response.status = Some(Status { code: code.as_u16(), reason, message, details: None });
        answer
    }

    /// Adds the causes for which a profile is rejected.
    pub(super) fn with_causes(mut self, (kind, name): (&str, &str), causes: Vec<Cause>) -> Self {
        if let Some(status) = &mut self.response.status {
            let (group, kind, name) = (keys::GROUP.to_owned(), kind.to_owned(), name.to_owned());
            status.details = Some(Details { group, kind, name, causes });
        }
        self
    }

    /// Adds a patch, unless it is empty: the API requires patch and patch type together.
    pub(super) fn with_patch(mut self, patch: &'a Patch) -> Self {
        self.patch = (!patch.is_empty()).then(|| patch.json());
        self
    }

    pub(super) fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.response.warnings.extend(warnings.into_iter().map(|warning| shorten(warning, WARNING_LENGTH)));
        self
    }

    /// Adds an annotation to the API server's audit event, which prefixes the key with the webhook's name.
    pub(super) fn with_audit(mut self, key: &'static str, value: &'a str) -> Self {
        self.response.audit_annotations.push((key, value));
        self
    }

    /// Returns the review with the answer, as JSON.
    ///
    /// # Errors
    /// None in practice: every value can be serialized.
    pub(super) fn json(&self) -> serde_json::Result<Vec<u8>> {
        let encoded = self.patch.map(|patch| base64::encoded_len(patch.len(), true).unwrap_or_default());
        let mut body = Vec::with_capacity(ROOM + encoded.unwrap_or_default());
        let review = Review { api_version: API_VERSION, kind: KIND, response: &self.response };
        serde_json::to_writer(&mut body, &review)?;
        if let (Some(patch), Some(length)) = (self.patch, encoded) {
            // Most of an answer is its patch. Base64 needs no escaping, so it is appended inside the two closed objects. This
            // avoids building, checking and copying a string.
            body.truncate(body.len().saturating_sub("}}".len()));
            body.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            let start = body.len();
            body.resize(start + length, 0);
            let written = body.get_mut(start..).map(|room| BASE64_STANDARD.encode_slice(patch, room));
            debug_assert_eq!(written, Some(Ok(length)), "base64 has a known length");
            body.extend_from_slice(br#""}}"#);
        }
        Ok(body)
    }
}

/// Typical size of an answer without its patch, in bytes.
const ROOM: usize = 512;

/// Maximum length of a warning, in characters; the API server truncates longer ones.
const WARNING_LENGTH: usize = 256;

fn shorten(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}
