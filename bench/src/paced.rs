use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::WARM_UP;
use crate::client::Load;
use crate::figures::{Figures, Used, micros};

/// Sends requests at a fixed rate. The latency of each counts from its scheduled time.
///
/// If a late response delays the next request, the delay counts for that request too. Thus a stalled server cannot hide
/// its delays (coordinated omission).
pub(crate) async fn run(load: Load, rate: f64) -> anyhow::Result<()> {
    let body = load.body();
    let all = load.clients().await?;
    let start = Instant::now() + Duration::from_millis(50);
    let begin = start + WARM_UP;
    let end = begin + Duration::from_secs_f64(load.seconds);
    let (mut turns, mut clients) = (Vec::new(), JoinSet::new());
    for mut client in all {
        let body = body.clone();
        let (turn, mut due) = unbounded_channel::<Instant>();
        turns.push(turn);
        clients.spawn(async move {
            let mut latencies = Vec::new();
            while let Some(due) = due.recv().await {
                client.request(&body).await?;
                if due >= begin {
                    latencies.push(micros(due.elapsed()));
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let clock = std::thread::Builder::new().name("clock".to_owned());
    clock.spawn(move || tick(&turns, start, end, Duration::from_secs_f64(1.0 / rate))).context("a clock")?;
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

/// Signals the clients in turn to send. It needs a separate thread because the runtime's timers have a resolution of
/// one millisecond, and would send all requests of a millisecond together.
fn tick(turns: &[UnboundedSender<Instant>], start: Instant, end: Instant, interval: Duration) {
    let mut due = start;
    for turn in turns.iter().cycle() {
        if due >= end {
            return;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if turn.send(due).is_err() {
            return;
        }
        due += interval;
    }
}
