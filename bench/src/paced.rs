use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::WARM_UP;
use crate::client::Load;
use crate::figures::{Figures, Used, micros};

/// Each client asks at times that are fixed beforehand.
///
/// Where an answer comes so late that the next request has to wait for it, that one counts from the time when it
/// should have been sent: a server that stalls is not let off by the requests that it keeps from being sent.
pub(crate) async fn run(load: Load, rate: f64) -> anyhow::Result<()> {
    let body = load.body();
    let all = load.clients().await?;
    let count = u32::try_from(all.len())?;
    let interval = Duration::from_secs_f64(f64::from(count) / rate);
    let start = Instant::now() + Duration::from_millis(50);
    let begin = start + WARM_UP;
    let end = begin + Duration::from_secs_f64(load.seconds);
    let mut clients = JoinSet::new();
    for (index, mut client) in (0..count).zip(all) {
        let body = body.clone();
        clients.spawn(async move {
            let mut latencies = Vec::new();
            let mut due = start + interval * index / count;
            while due < end {
                let is_late = Instant::now() > due;
                tokio::time::sleep_until(due.into()).await;
                // The timer's own steps of a millisecond are not the server's.
                let sent = if is_late { due } else { Instant::now() };
                client.ask(&body).await?;
                if due >= begin {
                    latencies.push(micros(sent.elapsed()));
                }
                due += interval;
            }
            anyhow::Ok(latencies)
        });
    }
    tokio::time::sleep_until(begin.into()).await;
    let (before, started) = (Used::by(load.pid)?, Instant::now());
    let mut latencies = Vec::new();
    while let Some(done) = clients.join_next().await {
        latencies.extend(done??);
    }
    let figures = Figures::new(before, Used::by(load.pid)?, started.elapsed(), latencies);
    crate::say(figures.json(load.pid)?);
    Ok(())
}
