use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::review::Answer;
use super::status::failure;

/// The answer to a review, as JSON: an `AdmissionReview` if the status is 200, otherwise a Kubernetes `Status`.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(answer: &Answer<'_>) -> Self {
        match answer.json() {
            Ok(body) => Self { status: StatusCode::OK, body },
            Err(error) => Self::failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    pub(super) fn failed(status: StatusCode, message: &str) -> Self {
        Self { status, body: failure(status, message) }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("application/json");
        (self.status, [(header::CONTENT_TYPE, kind)], self.body).into_response()
    }
}
