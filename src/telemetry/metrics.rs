//! Metrics in the `OpenMetrics` format. No label has the name of an object but those of namespaces, TaskQueues and
//! TaskSchedules, so the number of series follows from how many of these there are.

mod labels;
mod plain_text;
mod reason;
mod schedules;
mod task_counts;
mod task_queues;
mod tasks;

pub use labels::{MetricsSettings, SameLabel, TaskIdentity, check_label_key};
pub use plain_text::{CONTENT_TYPE as PLAIN_CONTENT_TYPE, plain_text};
pub use schedules::{ScheduleGauges, ScheduleMetrics, SkipReason};
pub use task_counts::{TaskCounts, TaskPlace};
pub use task_queues::{ProbeResult, QueueDepth, QueueGauges, TaskQueueMetrics};
pub use tasks::{AttemptResult, EndedAttempt, FinishedTask, TaskResult};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::memory::MemoryUse;
use crate::core::schedule::database_version;
use labels::Labeller;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};
use tasks::TaskMetrics;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    result: &'static str,
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
    reconcile: Histogram,
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

    /// Records how long a reconcile took.
    pub fn reconciled(&self, took: Duration) {
        self.reconcile.observe(took.as_secs_f64());
    }
}

/// The spans that a collector has taken, and those that it has not.
#[derive(Debug, Clone)]
pub struct SpanCounters {
    sent: Counter,
    dropped: Counter,
}

impl SpanCounters {
    /// Counts spans that the collector has taken.
    pub fn sent(&self, count: usize) {
        self.sent.inc_by(count as u64);
    }

    /// Counts spans that were dropped.
    pub fn dropped(&self, count: usize) {
        self.dropped.inc_by(count as u64);
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tasks: TaskMetrics,
    task_counts: TaskCounts,
    queue_depth: Family<QueueLabels, Gauge>,
    queue_duration: Family<QueueLabels, Histogram, fn() -> Histogram>,
    reconcile: Family<QueueLabels, Histogram, fn() -> Histogram>,
    reconcile_errors: Family<ErrorLabels, Counter>,
    status_update_failures: Counter,
    api_requests: Family<RequestLabels, Counter>,
    spans: Family<SpanLabels, Counter>,
    leader: Gauge,
    memory: MemoryMetrics,
    task_queues: TaskQueueMetrics,
    schedules: ScheduleMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(MetricsSettings::default())
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new(settings: MetricsSettings) -> Self {
        let labeller = Labeller::new(settings);
        let mut metrics = Self {
            registry: Registry::with_prefix("retryabletask"),
            task_counts: TaskCounts::new(labeller.clone()),
            tasks: TaskMetrics::new(labeller),
            queue_depth: Family::default(),
            queue_duration: Family::new_with_constructor(|| Histogram::new(QUEUE_DURATION_BUCKETS)),
            reconcile: Family::new_with_constructor(|| Histogram::new(RECONCILE_BUCKETS)),
            reconcile_errors: Family::default(),
            status_update_failures: Counter::default(),
            api_requests: Family::default(),
            spans: Family::default(),
            leader: Gauge::default(),
            memory: MemoryMetrics::default(),
            task_queues: TaskQueueMetrics::new(),
            schedules: ScheduleMetrics::new(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        self.tasks.register(registry);
        registry.register_collector(Box::new(self.task_counts.clone()));
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
            "Time one reconcile of a task took, by priority",
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
        registry.register(
            "spans",
            "Spans of tasks for the collector of traces, by result: Sent, Dropped",
            self.spans.clone(),
        );
        registry.register("leader", "1 while this process does the work, 0 while it stands by", self.leader.clone());
        registry.register_collector(Box::new(self.memory.clone()));
        self.task_queues.register(registry);
        self.schedules.register(registry);
        let build = [("version", env!("CARGO_PKG_VERSION")), ("tzdata", database_version())];
        registry.register("build", "The version that runs, and that of its time zones", Info::new(build));
        for kind in ERROR_KINDS {
            drop(self.reconcile_errors.get_or_create(&ErrorLabels { kind }));
        }
    }

    /// The counters that are likely for this task exist from now on, at 0.
    pub fn foresee(&self, task: &TaskIdentity) {
        self.tasks.foresee(task);
    }

    /// Counts an attempt that ended.
    pub fn attempt_ended(&self, task: &TaskIdentity, ended: &EndedAttempt) {
        self.tasks.attempt_ended(task, ended);
    }

    /// Counts a task that ended.
    pub fn task_finished(&self, task: &TaskIdentity, finished: &FinishedTask) {
        self.tasks.finished(task, finished);
    }

    /// Records the wait before a retry.
    pub fn retry_scheduled(&self, delay: Duration) {
        self.tasks.retry_scheduled(delay);
    }

    /// Records how long after its due time a retry's Pod was created.
    pub fn retry_started(&self, lag: Duration) {
        self.tasks.retry_started(lag);
    }

    /// How many tasks are in which state.
    pub fn task_counts(&self) -> &TaskCounts {
        &self.task_counts
    }

    /// The metrics of TaskSchedules.
    pub fn schedules(&self) -> &ScheduleMetrics {
        &self.schedules
    }

    /// The metrics of the work queues for this priority, which all queues of the process share.
    pub fn work_queue(&self, priority: &'static str) -> QueueMetrics {
        let labels = QueueLabels { priority };
        QueueMetrics {
            depth: self.queue_depth.get_or_create_owned(&labels),
            duration: self.queue_duration.get_or_create_owned(&labels),
            reconcile: self.reconcile.get_or_create_owned(&labels),
        }
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

    /// The counters of the spans that are sent.
    pub fn spans(&self) -> SpanCounters {
        let counter = |result| self.spans.get_or_create_owned(&SpanLabels { result });
        SpanCounters { sent: counter("Sent"), dropped: counter("Dropped") }
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

/// What can fail, beside what has no name here: `increase()` misses the first failure of a kind that begins with it.
const ERROR_KINDS: [&str; 9] =
    ["cleanup", "conflict", "no-convergence", "not-leading", "orphan", "panic", "request", "timeout", "watch"];

const QUEUE_DURATION_BUCKETS: [f64; 11] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0];

const RECONCILE_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests;
