//! Logs, metrics and health, and the HTTP server for the last two.

pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;

use std::time::Duration;

use health::Health;
use metrics::Metrics;

/// The metrics and the health of this process, shared by all of its parts.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters, gauges and histograms, served at `/metrics`.
    pub metrics: Metrics,
    /// Liveness and readiness, served at `/healthz` and `/readyz`.
    pub health: Health,
}

impl Telemetry {
    /// `stall_limit` is how long a watch or the controller's loop may make no progress before the liveness probe fails.
    pub fn new(stall_limit: Duration) -> Self {
        Self { metrics: Metrics::new(), health: Health::new(stall_limit) }
    }
}
