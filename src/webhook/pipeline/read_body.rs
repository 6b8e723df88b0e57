use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::Instant;
use tower::layer::layer_fn;
use tower::{Layer, service_fn};

use super::request::{Answering, ReviewRequest, UnreadRequest};
use crate::webhook::deadline::Deadline;
use crate::webhook::limits::Limits;
use crate::webhook::load_shed::{Held, LoadShed, Turn};
use crate::webhook::rejection::Rejection;

/// The complete body of a review, and its share of the memory for bodies.
struct ReceivedBody {
    bytes: Bytes,
    _held: Held,
    _turn: Option<Turn>,
}

/// Returns the layer that reads the body of a review. The share of the memory is released after the answer.
pub(super) fn read_body<S: Answering<ReviewRequest>>(
    load_shed: Arc<LoadShed>,
) -> impl Layer<S, Service = impl Answering<UnreadRequest>> {
    layer_fn(move |inner: S| {
        let load_shed = Arc::clone(&load_shed);
        service_fn(move |request: UnreadRequest| {
            let (mut inner, load_shed) = (inner.clone(), Arc::clone(&load_shed));
            async move {
                let UnreadRequest { head, body, deadline } = request;
                let ReceivedBody { bytes, _held, _turn } = read(&load_shed, &head, body, deadline).await?;
                let answer = inner.call(ReviewRequest { head, body: bytes.clone(), deadline }).await;
                answer.map_err(|rejection| rejection.with_uid_in(&bytes))
            }
        })
    })
}

/// Reads the body of a review, limited in size and time and by the request's own deadline.
async fn read(
    load_shed: &Arc<LoadShed>,
    request: &Parts,
    mut body: Body,
    deadline: Deadline,
) -> Result<ReceivedBody, Rejection> {
    let said = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said(header::CONTENT_TYPE);
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = format!("the content type is {kind:?}; a review is application/json");
        let rejection = Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BadReview", message);
        return Err(rejection.with_rest(Some(body)));
    }
    let announced: Option<usize> = said(header::CONTENT_LENGTH).parse().ok();
    if announced.is_some_and(|length| length > Limits::MOST_BYTES) {
        let rest = announced.is_some_and(|length| length <= Limits::MOST_DISCARDED).then_some(body);
        return Err(too_large().with_rest(rest));
    }
    let is_large = |length: usize| length > Limits::SMALL_BODY;
    let mut turn = None;
    // An HTTP/2 body that waits would fill the window that it shares with bodies that have their turn.
    if announced.is_some_and(is_large) && request.version < Version::HTTP_2 {
        turn = load_shed.turn(deadline.at).await;
    }
    let mut held = load_shed.hold();
    let limit = load_shed.limits.body;
    let until = deadline.at.min(Instant::now() + limit);
    let whole = whole(&mut body, announced.unwrap_or_default(), &mut held);
    let bytes = match tokio::time::timeout_at(until, whole).await {
        Ok(Ok(bytes)) => bytes,
        // A client reads the response only after it has sent its body, so the rest of the body is read.
        Ok(Err(rejection)) => {
            let rest = (rejection.code != StatusCode::BAD_REQUEST).then_some(body);
            return Err(rejection.with_rest(rest));
        }
        Err(_) if until == deadline.at => return Err(deadline.exceeded()),
        Err(_) => {
            let message = format!("the body did not come within {limit:?}");
            return Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, "SlowBody", message));
        }
    };
    let values = if bytes.len() < Limits::LARGE_BODY { 0 } else { values(&bytes) };
    if values > Limits::MOST_VALUES {
        let message = format!("the body has more than {} values", Limits::MOST_VALUES);
        return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "BadReview", message));
    }
    if !held.parse(values) {
        return Err(Rejection::new(StatusCode::TOO_MANY_REQUESTS, "Shed", TOO_MANY));
    }
    Ok(ReceivedBody { bytes, _held: held, _turn: turn })
}

async fn whole(body: &mut Body, announced: usize, held: &mut Held) -> Result<Bytes, Rejection> {
    let mut whole = Whole::new(announced);
    // Another poll for the end is one more wait, so it is done only if the end is not known.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| {
            Rejection::new(StatusCode::BAD_REQUEST, "BadReview", format!("the body cannot be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.length() + data.len() > Limits::MOST_BYTES {
            return Err(too_large());
        }
        if !held.grow(data.len()) {
            return Err(Rejection::new(StatusCode::TOO_MANY_REQUESTS, "Shed", TOO_MANY));
        }
        whole.push(data);
    }
    Ok(whole.into_bytes())
}

/// Returns an upper bound of the number of values in a JSON text: lists of empty values need many times their size when parsed.
fn values(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count()
}

const TOO_MANY: &str = "too many concurrent large reviews; retry after 1s";

fn too_large() -> Rejection {
    let message = format!("the body is larger than {} bytes", Limits::MOST_BYTES);
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "BadReview", message)
}

/// Reads and drops the rest of a refused body, so that its sender can read the response.
pub(super) async fn discard(mut body: Body, limit: Duration) {
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
    drop(tokio::time::timeout(limit, all).await);
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
