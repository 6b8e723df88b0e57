use std::time::Duration;

use axum::http::{StatusCode, Uri};
use tokio::time::Instant;

use super::rejection::Rejection;

/// Maximum time that is reserved for the answer's way back.
const MOST_MARGIN: Duration = Duration::from_millis(500);

/// The time by which a request must be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// Duration from the request's arrival to the deadline.
    pub(super) within: Duration,
}

impl Deadline {
    /// Returns the deadline of a request: shortly before the API server's timeout, which is in the query (`?timeout=5s`), and
    /// at most `most` after the arrival.
    ///
    /// A timeout that cannot be parsed is ignored.
    pub(super) fn new(uri: &Uri, most: Duration) -> Self {
        let said = uri
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .find_map(|pair| pair.strip_prefix("timeout="))
            .and_then(|text| text.parse::<crate::duration::Duration>().ok())
            .and_then(|said| u64::try_from(said.nanos()).ok())
            .map(Duration::from_nanos);
        let within = said.map_or(most, |said| most.min(said.saturating_sub(MOST_MARGIN.min(said / 10))));
        Self { at: Instant::now() + within, within }
    }

    /// Returns the rejection of a request whose deadline has passed.
    pub(super) fn exceeded(self) -> Rejection {
        let message = format!("there was no answer within {:?}", self.within);
        Rejection::new(StatusCode::GATEWAY_TIMEOUT, "TooSlow", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn responses_are_sent_before_the_api_servers_timeout() {
        let most = Duration::from_millis(4500);
        for (uri, millis) in [
            ("/mutate", 4500),
            ("/mutate?timeout=5s", 4500),
            ("/mutate?timeout=30s", 4500),
            ("/mutate?timeout=3s", 2700),
            ("/mutate?a=b&timeout=1s", 900),
            ("/mutate?timeout=1m", 4500),
            ("/mutate?timeout=250ms", 225),
            ("/mutate?timeout=0s", 0),
            ("/mutate?timeout=-5s", 4500),
            ("/mutate?timeout=soon", 4500),
            ("/mutate?timeout=", 4500),
        ] {
            let deadline = Deadline::new(&uri.parse().unwrap(), most);
            assert_eq!(deadline.at - Instant::now(), deadline.within);
            assert_eq!(deadline.within, Duration::from_millis(millis), "{uri}");
        }
    }
}
