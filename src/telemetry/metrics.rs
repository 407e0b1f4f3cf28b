//! Metrics in the `OpenMetrics` format. No label has the name of an object but a TaskQueue's, so the number of series is
//! bounded.

mod reason;
mod task_queues;

pub use task_queues::{ProbeResult, QueueDepth, TaskQueueMetrics};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::memory::MemoryUse;
use crate::api::ConditionReason;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};
use reason::bounded_reason;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum AttemptResult {
    /// The attempt succeeded.
    Succeeded,
    /// The attempt failed and was charged to the task's retries.
    Failed,
    /// The attempt ended without being charged: by a disruption, a suspension or a rule with action Ignore.
    Ignored,
}

/// Why a time of a schedule was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum SkipReason {
    /// A run had not ended.
    Overlap,
    /// Nothing could be started in time.
    Missed,
    /// The API server refused the task.
    Rejected,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum TaskResult {
    /// An attempt succeeded.
    Succeeded,
    /// An attempt succeeded in part.
    Partial,
    /// The task failed for good, or was cancelled.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    result: AttemptResult,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    reason: SkipReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    result: TaskResult,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    priority: &'static str,
}

/// What is in use of the memory limit. Without a limit there is no metric.
#[derive(Debug, Clone, Default)]
struct MemoryMetrics(Arc<Mutex<Option<MemoryUse>>>);

impl Collector for MemoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(in_use) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return Ok(()) };
        let usage = ConstGauge::new(in_use.share());
        let help = "Share of the memory limit that is in use, 1 at the limit; absent without a limit";
        let ratio = Unit::Other("ratio".to_owned());
        usage.encode(encoder.encode_descriptor("memory_usage", help, Some(&ratio), usage.metric_type())?)?;
        let limit = ConstGauge::new(i64::try_from(in_use.limit).unwrap_or(i64::MAX));
        let help = "Memory limit of the process, where the kernel kills it; absent without a limit";
        limit.encode(encoder.encode_descriptor("memory_limit", help, Some(&Unit::Bytes), limit.metric_type())?)
    }
}

/// The metrics of the work queues for one priority.
#[derive(Debug, Clone)]
pub struct QueueMetrics {
    depth: Gauge,
    duration: Histogram,
}

impl QueueMetrics {
    /// Counts tasks that begin to wait, or end to wait if negative.
    pub fn depth_changed(&self, by: i64) {
        self.depth.inc_by(by);
    }

    /// Records how long a task waited before its reconcile.
    pub fn dispatched(&self, waited: Duration) {
        self.duration.observe(waited.as_secs_f64());
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    attempts: Family<AttemptLabels, Counter>,
    finished: Family<TaskLabels, Counter>,
    retry_delay: Histogram,
    retry_lag: Histogram,
    queue_depth: Family<QueueLabels, Gauge>,
    queue_duration: Family<QueueLabels, Histogram, fn() -> Histogram>,
    reconcile: Histogram,
    reconcile_errors: Family<ErrorLabels, Counter>,
    status_update_failures: Counter,
    api_requests: Family<RequestLabels, Counter>,
    leader: Gauge,
    memory: MemoryMetrics,
    task_queues: TaskQueueMetrics,
    schedule_runs: Family<RunLabels, Counter>,
    schedule_skipped: Family<SkipLabels, Counter>,
    schedule_lag: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("retryabletask"),
            attempts: Family::default(),
            finished: Family::default(),
            retry_delay: Histogram::new(RETRY_DELAY_BUCKETS),
            retry_lag: Histogram::new(RETRY_LAG_BUCKETS),
            queue_depth: Family::default(),
            queue_duration: Family::new_with_constructor(|| Histogram::new(QUEUE_DURATION_BUCKETS)),
            reconcile: Histogram::new(RECONCILE_BUCKETS),
            reconcile_errors: Family::default(),
            status_update_failures: Counter::default(),
            api_requests: Family::default(),
            leader: Gauge::default(),
            memory: MemoryMetrics::default(),
            task_queues: TaskQueueMetrics::new(),
            schedule_runs: Family::default(),
            schedule_skipped: Family::default(),
            schedule_lag: Histogram::new(RETRY_LAG_BUCKETS),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("attempts", "Attempts that ended, by result and reason", self.attempts.clone());
        registry.register("finished", "Tasks that ended, by result and reason", self.finished.clone());
        registry.register_with_unit(
            "retry_delay",
            "Back-off between the end of an attempt and the time the next one is due",
            Unit::Seconds,
            self.retry_delay.clone(),
        );
        registry.register_with_unit(
            "retry_lag",
            "How late behind its due time a retry's Pod was created",
            Unit::Seconds,
            self.retry_lag.clone(),
        );
        registry.register(
            "workqueue_depth",
            "Tasks that wait in the work queue for a reconcile, by priority",
            self.queue_depth.clone(),
        );
        registry.register_with_unit(
            "workqueue_queue_duration",
            "Time a task waited in the work queue before its reconcile, by priority",
            Unit::Seconds,
            self.queue_duration.clone(),
        );
        registry.register_with_unit(
            "reconcile",
            "Time one reconcile of a task took",
            Unit::Seconds,
            self.reconcile.clone(),
        );
        registry.register("reconcile_errors", "Reconciles that failed, by kind", self.reconcile_errors.clone());
        registry.register(
            "status_update_failures",
            "Writes of a task's status that failed",
            self.status_update_failures.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server, by the status code of the answer, or timeout or error where there was none",
            self.api_requests.clone(),
        );
        registry.register("leader", "1 while this process does the work, 0 while it stands by", self.leader.clone());
        registry.register_collector(Box::new(self.memory.clone()));
        self.task_queues.register(registry);
        registry.register(
            "schedule_runs",
            "Tasks that schedules have created, by cause: Schedule, Trigger, Backfill",
            self.schedule_runs.clone(),
        );
        registry.register(
            "schedule_skipped",
            "Times of schedules that were skipped, by reason",
            self.schedule_skipped.clone(),
        );
        registry.register_with_unit(
            "schedule_lag",
            "How late behind its time a schedule's task was created; those by request and of a backfill do not count",
            Unit::Seconds,
            self.schedule_lag.clone(),
        );
        registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// Counts an attempt that ended; `reason` may be any text.
    pub fn attempt_ended(&self, result: AttemptResult, reason: &str) {
        self.attempts.get_or_create(&AttemptLabels { result, reason: bounded_reason(reason) }).inc();
    }

    /// Counts a task that ended.
    pub fn task_finished(&self, result: TaskResult, reason: ConditionReason) {
        self.finished.get_or_create(&TaskLabels { result, reason: reason.as_str() }).inc();
    }

    /// Counts a task that a schedule has created, `late` after its time; `cause` is one of a fixed set.
    pub fn run_started(&self, cause: &'static str, late: Option<Duration>) {
        self.schedule_runs.get_or_create(&RunLabels { cause }).inc();
        if let Some(late) = late {
            self.schedule_lag.observe(late.as_secs_f64());
        }
    }

    /// Counts times of a schedule that were skipped.
    pub fn runs_skipped(&self, reason: SkipReason, count: u64) {
        self.schedule_skipped.get_or_create(&SkipLabels { reason }).inc_by(count);
    }

    /// Records the wait before a retry.
    pub fn retry_scheduled(&self, delay: Duration) {
        self.retry_delay.observe(delay.as_secs_f64());
    }

    /// Records how long after its due time a retry's Pod was created.
    pub fn retry_started(&self, lag: Duration) {
        self.retry_lag.observe(lag.as_secs_f64());
    }

    /// The metrics of the work queues for this priority, which all queues of the process share.
    pub fn work_queue(&self, priority: &'static str) -> QueueMetrics {
        let labels = QueueLabels { priority };
        QueueMetrics {
            depth: self.queue_depth.get_or_create_owned(&labels),
            duration: self.queue_duration.get_or_create_owned(&labels),
        }
    }

    /// Records the time one reconcile took.
    pub fn reconciled(&self, took: Duration) {
        self.reconcile.observe(took.as_secs_f64());
    }

    /// Counts a failed reconcile. `kind` names the kind of error, from a fixed set.
    pub fn reconcile_failed(&self, kind: &'static str) {
        self.reconcile_errors.get_or_create(&ErrorLabels { kind }).inc();
    }

    /// Counts a task's status that could not be stored.
    pub fn status_update_failed(&self) {
        self.status_update_failures.inc();
    }

    /// Counts a request to the API server. `resource` is a plural, with its subresource after a slash; `code` is the
    /// status code of the answer, or `timeout` or `error` if there was none.
    pub fn api_request(&self, verb: &'static str, resource: &str, code: &str) {
        let labels = RequestLabels { verb, resource: resource.to_owned(), code: code.to_owned() };
        self.api_requests.get_or_create(&labels).inc();
    }

    /// Sets whether this process leads or is a standby.
    pub fn set_leader(&self, leader: bool) {
        self.leader.set(leader.into());
    }

    /// Sets what is in use of the memory limit, `None` without a limit.
    pub fn set_memory(&self, in_use: Option<MemoryUse>) {
        *self.memory.0.lock().unwrap_or_else(PoisonError::into_inner) = in_use;
    }

    /// The metrics of TaskQueues.
    pub fn task_queues(&self) -> &TaskQueueMetrics {
        &self.task_queues
    }

    /// All metrics as `OpenMetrics` text of the type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a metric cannot be formatted.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

const RETRY_DELAY_BUCKETS: [f64; 15] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0];

const RETRY_LAG_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

const QUEUE_DURATION_BUCKETS: [f64; 11] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0];

const RECONCILE_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests;
