//! Logs, metrics, traces, health and memory, and the HTTP server for what can be asked.

pub mod health;
pub mod http;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod traces;

use std::sync::Arc;
use std::time::Duration;

use health::Health;
use memory::Memory;
use metrics::{Metrics, MetricsSettings};
use traces::Traces;

/// The metrics, the health and the memory of this process, shared by all of its parts.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters, gauges and histograms, served at `/metrics`.
    pub metrics: Metrics,
    /// Liveness and readiness, served at `/healthz` and `/readyz`.
    pub health: Health,
    /// How full the memory limit is.
    pub memory: Arc<Memory>,
    /// Where spans go.
    pub traces: Traces,
}

impl Telemetry {
    /// `stall_limit` is how long a watch or the controller's loop may make no progress before the liveness probe fails.
    pub fn new(stall_limit: Duration) -> Self {
        Self::with(stall_limit, MetricsSettings::default())
    }

    /// As [`new`](Self::new), with these settings of the metrics.
    pub fn with(stall_limit: Duration, metrics: MetricsSettings) -> Self {
        let memory = Arc::new(Memory::of_this_process());
        Self { metrics: Metrics::new(metrics), health: Health::new(stall_limit), memory, traces: Traces::default() }
    }

    /// Sends spans to that collector from now on. The future that does so is to be spawned.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn send_traces(&mut self, endpoint: &str) -> Result<impl Future<Output = ()> + Send + 'static, traces::Error> {
        let (traces, sending) = traces::exporter(endpoint, self.metrics.spans())?;
        self.traces = traces;
        Ok(sending)
    }

    /// All metrics as they are now; see [`Metrics::encode`].
    ///
    /// # Errors
    /// When a metric cannot be formatted.
    pub fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        self.metrics.set_memory(self.memory.in_use());
        self.metrics.encode()
    }
}
