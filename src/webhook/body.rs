use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::limits::Limits;
use super::load_shed::{Held, LoadShed, Turn};

/// The reason for which a body is refused.
pub(super) struct Refused {
    pub(super) code: StatusCode,
    /// Value of the metric's label.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Unread part of the body, if its sender may finish it.
    pub(super) rest: Option<Body>,
}

/// The complete body of a review, and its share of the memory for bodies.
pub(super) struct Review {
    pub(super) bytes: Bytes,
    pub(super) _held: Held,
    pub(super) _turn: Option<Turn>,
}

/// Reads the body of a review, limited in size and time and by the request's own deadline.
pub(super) async fn read(
    gate: &Arc<LoadShed>,
    request: &Parts,
    mut body: Body,
    deadline: Deadline,
) -> Result<Review, Refused> {
    let said = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said(header::CONTENT_TYPE);
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = format!("the content type is {kind:?}; a review is application/json");
        let refused = refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BadReview", message);
        return Err(Refused { rest: Some(body), ..refused });
    }
    let announced: Option<usize> = said(header::CONTENT_LENGTH).parse().ok();
    if announced.is_some_and(|length| length > Limits::MOST_BYTES) {
        let rest = announced.is_some_and(|length| length <= Limits::MOST_DISCARDED).then_some(body);
        return Err(Refused { rest, ..too_large() });
    }
    let is_large = |length: usize| length > Limits::SMALL_BODY;
    let mut turn = None;
    // An HTTP/2 body that waits would fill the window that it shares with bodies that have their turn.
    if announced.is_some_and(is_large) && request.version < Version::HTTP_2 {
        turn = gate.turn(deadline.at).await;
    }
    let mut held = gate.hold();
    let limit = gate.limits.body;
    let until = deadline.at.min(Instant::now() + limit);
    let whole = whole(&mut body, announced.unwrap_or_default(), &mut held);
    let bytes = match tokio::time::timeout_at(until, whole).await {
        Ok(Ok(bytes)) => bytes,
        // A client reads the response only after it has sent its body, so the rest of the body is read.
        Ok(Err(refused)) => {
            let rest = (refused.code != StatusCode::BAD_REQUEST).then_some(body);
            return Err(Refused { rest, ..refused });
        }
        Err(_) if until == deadline.at => return Err(too_slow(deadline)),
        Err(_) => {
            let message = format!("the body did not come within {limit:?}");
            return Err(refused(StatusCode::REQUEST_TIMEOUT, "SlowBody", message));
        }
    };
    let values = if bytes.len() < Limits::LARGE_BODY { 0 } else { values(&bytes) };
    if values > Limits::MOST_VALUES {
        let message = format!("the body has more than {} values", Limits::MOST_VALUES);
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "BadReview", message));
    }
    if !held.parse(values) {
        return Err(refused(StatusCode::TOO_MANY_REQUESTS, "Shed", TOO_MANY.to_owned()));
    }
    Ok(Review { bytes, _held: held, _turn: turn })
}

async fn whole(body: &mut Body, announced: usize, held: &mut Held) -> Result<Bytes, Refused> {
    let mut whole = Whole::new(announced);
    // Another poll for the end is one more wait, so it is done only if the end is not known.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| {
            refused(StatusCode::BAD_REQUEST, "BadReview", format!("the body cannot be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.length() + data.len() > Limits::MOST_BYTES {
            return Err(too_large());
        }
        if !held.grow(data.len()) {
            return Err(refused(StatusCode::TOO_MANY_REQUESTS, "Shed", TOO_MANY.to_owned()));
        }
        whole.push(data);
    }
    Ok(whole.into_bytes())
}

fn refused(code: StatusCode, reason: &'static str, message: String) -> Refused {
    Refused { code, reason, message, rest: None }
}

/// Returns the refusal of a request whose own deadline has passed.
pub(super) fn too_slow(deadline: Deadline) -> Refused {
    let message = format!("there was no answer within {:?}", deadline.within);
    refused(StatusCode::GATEWAY_TIMEOUT, "TooSlow", message)
}

/// Returns an upper bound of the number of values in a JSON text: lists of empty values need many times their size when parsed.
fn values(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

const TOO_MANY: &str = "too many concurrent large reviews; retry after 1s";

fn too_large() -> Refused {
    let message = format!("the body is larger than {} bytes", Limits::MOST_BYTES);
    Refused { code: StatusCode::PAYLOAD_TOO_LARGE, reason: "BadReview", message, rest: None }
}

/// Reads and drops the rest of a refused body, so that its sender can read the response.
pub(super) async fn discard(gate: &LoadShed, mut body: Body) {
    let all = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > Limits::MOST_DISCARDED {
                break;
            }
        }
    };
    // The result does not matter: the response is already decided.
    drop(tokio::time::timeout(gate.limits.body, all).await);
}

/// A body during reading. It usually arrives in one piece, which is then not copied.
struct Whole {
    announced: usize,
    first: Bytes,
    more: Vec<u8>,
}

impl Whole {
    fn new(announced: usize) -> Self {
        Self { announced, first: Bytes::new(), more: Vec::new() }
    }

    fn length(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            // The reserved memory costs nothing until it is written to.
            self.more.reserve_exact(self.announced.max(self.first.len() + data.len()));
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.more.is_empty() { self.first } else { Bytes::from(self.more) }
    }
}
