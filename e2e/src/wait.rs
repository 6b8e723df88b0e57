use std::time::{Duration, Instant};

/// Timeout of any wait. It is not a measurement: two busy cores are slow.
const LIMIT: Duration = Duration::from_mins(2);

/// Calls `look` until it succeeds. On timeout, panics with the description and the last error.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(200);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(error) if started.elapsed() > LIMIT => panic!("timeout: {what}: {error}"),
            Err(_) => tokio::time::sleep(pause).await,
        }
        // Many calls start a kubectl process, and several tests wait in parallel.
        pause = (pause * 5 / 4).min(Duration::from_secs(1));
    }
}
