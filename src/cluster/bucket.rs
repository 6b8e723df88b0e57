use tokio::time::Instant;

/// A token bucket: a burst, and a rate after it.
#[derive(Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    filled: Instant,
    burst: f64,
    /// Tokens per second.
    rate: f64,
}

impl TokenBucket {
    /// Returns a full bucket.
    pub(super) fn new(burst: u32, rate: f64, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { tokens: burst, filled: now, burst, rate }
    }

    /// Takes tokens and returns whether there were enough.
    pub(super) fn take(&mut self, count: u32, now: Instant) -> bool {
        let gained = now.duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled = now;
        let has_enough = self.tokens >= f64::from(count);
        if has_enough {
            self.tokens -= f64::from(count);
        }
        has_enough
    }
}
