use axum::body::Body;
use axum::http::StatusCode;
use serde::de::IgnoredAny;

use super::review;

/// The reason for which a request is rejected before it is answered.
pub(super) struct Rejection {
    pub(super) code: StatusCode,
    /// Value of the metric's label.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Unread part of the body, if its sender may finish it.
    pub(super) rest: Option<Body>,
    /// UID of the review, if its body has been read.
    pub(super) uid: Option<String>,
}

impl Rejection {
    pub(super) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), rest: None, uid: None }
    }

    /// Adds the unread part of the body.
    pub(super) fn with_rest(self, rest: Option<Body>) -> Self {
        Self { rest, ..self }
    }

    /// Adds the UID of the review in the body.
    pub(super) fn with_uid_in(self, body: &[u8]) -> Self {
        let uid = review::read::<IgnoredAny>(body).ok().map(|request| request.uid.into_owned());
        Self { uid, ..self }
    }
}
