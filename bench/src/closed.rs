use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::WARM_UP;
use crate::client::Load;
use crate::figures::{Figures, Used, micros};

/// Each client sends its next request as soon as it has the response.
pub(crate) async fn run(load: Load) -> anyhow::Result<()> {
    let body = load.body();
    let mut clients = JoinSet::new();
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs_f64(load.seconds);
    for mut client in load.clients().await? {
        let body = body.clone();
        clients.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return anyhow::Ok(latencies);
                }
                client.request(&body).await?;
                if sent >= begin {
                    latencies.push(micros(sent.elapsed()));
                }
            }
        });
    }
    tokio::time::sleep_until(begin.into()).await;
    let (before, started) = (Used::by(load.pid)?, Instant::now());
    let mut latencies = Vec::new();
    while let Some(done) = clients.join_next().await {
        latencies.extend(done??);
    }
    let figures = Figures::new(before, Used::by(load.pid)?, started.elapsed(), latencies);
    crate::print(figures.json(load.pid)?);
    Ok(())
}
