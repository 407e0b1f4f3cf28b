//! Waiting for conditions, never for time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long anything may take. Far above what it does take: the machine may be slow and busy, and only what hangs is to
/// fail.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The same, for commands that wait themselves.
pub const TIMEOUT: &str = "--timeout=300s";

/// The polling interval where there is nothing to watch.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Asks again and again until `look` is satisfied; past [`LIMIT`] it fails with `what` was waited for and the last
/// that `look` complained of.
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> impl Future<Output = T> {
    let location = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        loop {
            let last = match look().await {
                Ok(value) => return value,
                Err(last) => last,
            };
            assert!(began.elapsed() < LIMIT, "{location}: waited {} s for {what}; at last: {last}", LIMIT.as_secs());
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Waits for something; past [`LIMIT`] it fails with `what` was waited for.
pub async fn within<T>(what: &str, something: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(LIMIT, something).await;
    ended.unwrap_or_else(|_| panic!("waited {} s for {what}", LIMIT.as_secs()))
}
