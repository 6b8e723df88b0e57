use std::time::{Duration, Instant};

/// How long anything in the cluster may take. Nothing here is a measurement: two busy cores are slow.
const LIMIT: Duration = Duration::from_mins(2);

/// Looks again and again until `look` finds something; panics with what is awaited and the last complaint.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(200);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(complaint) if started.elapsed() > LIMIT => panic!("{what} did not come about: {complaint}"),
            Err(_) => tokio::time::sleep(pause).await,
        }
        // Many looks are processes of kubectl, and several tests wait beside each other.
        pause = (pause * 5 / 4).min(Duration::from_secs(1));
    }
}
