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

/// Why a body is not taken.
pub(super) struct Refused {
    pub(super) code: StatusCode,
    /// For the metric.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What was not read of it, where its sender should be let finish.
    pub(super) rest: Option<Body>,
}

/// The whole body of a review and the memory that it holds.
pub(super) struct Review {
    pub(super) bytes: Bytes,
    pub(super) _held: Held,
    pub(super) _turn: Option<Turn>,
}

/// Reads the body of a review, bounded in size and time; at the latest by the request's own deadline.
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
    // What waits on an HTTP/2 connection fills the window that it shares with those whose turn it is.
    if announced.is_some_and(is_large) && request.version < Version::HTTP_2 {
        turn = gate.turn(deadline.at).await;
    }
    let mut held = gate.hold();
    let limit = gate.limits.body;
    let until = deadline.at.min(Instant::now() + limit);
    let whole = whole(&mut body, announced.unwrap_or_default(), &mut held);
    let bytes = match tokio::time::timeout_at(until, whole).await {
        Ok(Ok(bytes)) => bytes,
        // Who has sent all that is taken may send the rest, and then reads why.
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
    // The end is asked for only where it is not known: that would be one more wait.
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

/// The request's own deadline has passed.
pub(super) fn too_slow(deadline: Deadline) -> Refused {
    let message = format!("there was no answer within {:?}", deadline.within);
    refused(StatusCode::GATEWAY_TIMEOUT, "TooSlow", message)
}

/// No fewer than the values in a text of JSON: lists of nothing become many times as large when they are parsed.
fn values(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

const TOO_MANY: &str = "too many large reviews at once; come again in a second";

fn too_large() -> Refused {
    let message = format!("the body is larger than {} bytes", Limits::MOST_BYTES);
    Refused { code: StatusCode::PAYLOAD_TOO_LARGE, reason: "BadReview", message, rest: None }
}

/// Reads on without keeping anything, so that the sender of a body that was refused comes to read why.
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
    // In time or not, there is nothing more to do.
    drop(tokio::time::timeout(gate.limits.body, all).await);
}

/// A body as it comes in: mostly in one piece, which is then not copied.
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
            // What is only announced costs no memory before it is written to.
            self.more.reserve_exact(self.announced.max(self.first.len() + data.len()));
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.more.is_empty() { self.first } else { Bytes::from(self.more) }
    }
}
