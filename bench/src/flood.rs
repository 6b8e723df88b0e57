use std::time::{Duration, Instant};

use anyhow::bail;
use axum::body::Bytes;
use axum::http::StatusCode;
use outrigger::webhook::Limits;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Load;
use crate::figures::memory;

/// Every client sends reviews of the maximum size. Reviews without memory are shed.
pub(crate) async fn run(load: Load) -> anyhow::Result<()> {
    let body = padded(&load.body());
    let end = Instant::now() + Duration::from_secs_f64(load.seconds);
    let mut clients = JoinSet::new();
    for mut client in load.clients().await? {
        let body = body.clone();
        clients.spawn(async move {
            let (mut answered, mut shed, mut slow) = (0_u32, 0_u32, 0_u32);
            while Instant::now() < end {
                match client.send(body.clone()).await? {
                    (StatusCode::OK, _) => answered += 1,
                    (StatusCode::TOO_MANY_REQUESTS, _) => shed += 1,
                    // On a busy machine, a large body may time out. Then the connection is closed.
                    (StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT, _) => {
                        slow += 1;
                        break;
                    }
                    (status, answer) => bail!("the answer is {status}: {}", String::from_utf8_lossy(&answer)),
                }
            }
            Ok((answered, shed, slow))
        });
    }
    let (mut answered, mut shed, mut slow) = (0, 0, 0);
    while let Some(done) = clients.join_next().await {
        let more = done??;
        (answered, shed, slow) = (answered + more.0, shed + more.1, slow + more.2);
    }
    crate::print(json!({
        "bytes": body.len(), "answered": answered, "shed": shed, "slow": slow,
        "rss_kib": memory(load.pid, "VmRSS:")?, "peak_kib": memory(load.pid, "VmHWM:")?,
    }));
    Ok(())
}

/// Returns the review with an annotation that fills it to the maximum size.
fn padded(body: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let part = "\"annotations\":{";
    let room = Limits::MOST_BYTES.saturating_sub(text.len() + 64);
    let filled = text.replacen(part, &format!("{part}\"example.com/filler\":\"{}\",", "x".repeat(room)), 1);
    Bytes::from(filled)
}
