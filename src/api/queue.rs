//! The `TaskQueue` resource: what tasks that call the same service share.

mod circuit;
mod status;

pub use circuit::{CircuitBreaker, CircuitMode, OpenAfter, Probes, ServiceFailures};
pub use status::{Circuit, CircuitState, Probe, QueueConditionType, TaskQueueStatus};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many attempts of the tasks that name this queue may run, how fast they may start, and when none may, because the service that
/// they call is down.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "retryable.dev",
    version = "v1alpha1",
    kind = "TaskQueue",
    plural = "taskqueues",
    singular = "taskqueue",
    shortname = "tq",
    category = "all",
    namespaced,
    status = "TaskQueueStatus",
    derive = "PartialEq",
    doc = "A queue that RetryableTasks of its namespace name in spec.queue: it protects the service that they call by limits and by a circuit breaker.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("tasks name their queue in spec.queue.name: use at most 63 characters"),
    printcolumn(name = "Running", type_ = "string", json_path = ".status.running", description = "Attempts under way, and how many may be"),
    printcolumn(name = "Queued", type_ = "integer", json_path = ".status.queued", description = "Tasks whose next attempt is due and waits for this queue"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting", description = "Tasks whose next attempt is not due yet"),
    printcolumn(name = "Circuit", type_ = "string", json_path = ".status.circuit.state", description = "Closed, Open, HalfOpen or WouldOpen; empty without a circuit breaker"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.circuit.until", description = "When the open circuit lets the first attempts through"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".status.circuit.cause", description = "What the circuit opened for", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.retries) || has(self.maxConcurrent)")
        .message("retries.maxPercent is a share of maxConcurrent: give maxConcurrent too, or remove retries")
)]
pub struct TaskQueueSpec {
    /// How many attempts may be under way at a time. An attempt is under way from when the operator decides to create its Pod to when
    /// its end is recorded, but not while its Pod is rejected and the next try waits. A task in its back-off has no part in it, and neither
    /// has a fallback. Lowered below what is under way, it stops nothing. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000").message("maxConcurrent goes from 1 to 100000: to let nothing start, use stopPolicy Hold; leave it out for no limit"))]
    pub max_concurrent: Option<i32>,

    /// A limit on retries, so that they leave room for first attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryShare>,

    /// How fast attempts may start. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_rate: Option<StartRate>,

    /// None; Hold: no attempt starts; HoldAndDrain: no attempt starts, and those under way are stopped (recorded, but not charged). The
    /// tasks wait. Fallbacks run on.
    #[serde(default)]
    pub stop_policy: StopPolicy,

    /// Lets no attempt start while the service is down. Default: there is no circuit breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
}

/// A limit on the attempts that are retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryShare {
    /// How many percent of maxConcurrent attempts after a task's first may take, rounded up. A retry beyond it waits after its back-off; it
    /// never fails for it. Attempts that follow a disruption count as retries.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("retries.maxPercent goes from 1 to 100 (no limit)"))]
    pub max_percent: i32,
}

/// How fast attempts may start: a token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartRate {
    /// How many attempts may start in perSeconds.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000").message("startRate.starts goes from 1 to 100000: for less than one in a second, raise perSeconds"))]
    pub starts: i32,

    /// The time in which they may start, in seconds. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 86400").message("startRate.perSeconds goes from 1 to 86400 (a day)"))]
    pub per_seconds: Option<i32>,

    /// How many may start at once after a time without starts. Default 1: the starts are evenly spread. The bucket is empty when the
    /// operator starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000").message("startRate.burst goes from 1 (evenly spread) to 100000"))]
    pub burst: Option<i32>,
}

/// Whether the queue is stopped: None (default), Hold (no attempt starts) or HoldAndDrain (and those under way are stopped). As in Kueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopPolicy {
    /// Attempts start.
    #[default]
    None,
    /// No attempt starts.
    Hold,
    /// No attempt starts, and those under way are stopped.
    HoldAndDrain,
}
