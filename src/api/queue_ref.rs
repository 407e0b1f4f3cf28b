//! What a task has to do with a `TaskQueue`: what it asks of it, and the slot that it holds.

use super::skip::is_false;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `TaskQueue` that starts a task's attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueRef {
    /// Name of the TaskQueue, in the task's namespace. While there is none of that name, no attempt starts, and the condition Stalled
    /// says so.
    #[x_kube(validation = Rule::new("self.size() <= 253 && self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("queue.name is the name of a TaskQueue in the task's namespace: small letters, digits, '-' and '.'"))]
    #[schemars(length(max = 253))]
    pub name: String,

    /// Tasks with a higher priority start first: -10 to 10. Each ten minutes of waiting count as one more, so that every task starts at some
    /// time. No running attempt makes way.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self >= -10 && self <= 10").message("queue.priority goes from -10 to 10; tasks with a higher one start first"))]
    pub priority: i32,

    /// Among tasks of one priority, those start first whose key has the fewest attempts under way: for example the name of a tenant. All tasks
    /// without a key share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.size() > 0").message("queue.fairnessKey is any text, such as a tenant's name: leave it out for the key that all tasks without one share"))]
    pub fairness_key: Option<String>,

    /// Longest time that an attempt may wait in the queue, in seconds from when it is due. The task then fails with the reason QueueTimeout, and
    /// its fallback runs. The time that the task is suspended does not count. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("queue.maxWaitSeconds is a time above 0; leave it out to wait without limit"))]
    pub max_wait_seconds: Option<i32>,
}

/// The slot of a `TaskQueue` that an attempt holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueSlot {
    /// Name of the TaskQueue.
    pub name: String,
    /// When the TaskQueue let the attempt start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_time: Option<MicroTime>,
    /// Whether the attempt probes a service whose circuit is half-open. A failure of the service is then not charged.
    #[serde(skip_serializing_if = "is_false")]
    pub probe: bool,
}
