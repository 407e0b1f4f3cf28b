//! The `RetryableTask` resource: its spec.

use super::{
    After, AttemptOverride, Backoff, Budgets, FailureRule, OnFailure, OnOutOfMemory, QueueRef, RetryableTaskStatus,
    schema,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What to run, how often to try, and how long to wait in between.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "retryable.dev",
    version = "v1alpha1",
    kind = "RetryableTask",
    plural = "retryabletasks",
    singular = "retryabletask",
    shortname = "rt",
    category = "all",
    namespaced,
    status = "RetryableTaskStatus",
    derive = "PartialEq",
    selectable = ".status.state",
    selectable = ".spec.queue.name",
    doc = "A task that runs as one Pod per attempt and is tried again, after a delay, until it succeeds or its retries are exhausted.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the task's name goes into its Pods' names and labels: use at most 63 characters"),
    validation = Rule::new("!has(self.spec.after) || self.spec.after.all(a, a.task != self.metadata.name)").message("a task cannot wait for itself: remove it from spec.after"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Pending, Blocked, Running, Waiting, Queued, Suspended, Succeeded, Failed or Cancelled"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts", description = "Attempts that have been started"),
    printcolumn(name = "Last-Reason", type_ = "string", json_path = ".status.reason", description = "Why the current attempt has not started, else why the last attempt failed"),
    printcolumn(name = "Failed", type_ = "string", json_path = ".status.conditions[?(@.type==\"Failed\")].reason", description = "Why the task has failed: RetriesExhausted, BudgetExhausted, RuleFailed, DoNotRetry, DeadlineExceeded or Cancelled"),
    printcolumn(name = "Next-Retry", type_ = "string", json_path = ".status.nextRetryTime", description = "When the next attempt is due"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration", description = "From the first attempt to the end, waits included", priority = 1),
    printcolumn(name = "Exit-Code", type_ = "integer", json_path = ".status.lastFailure.exitCode", description = "Exit code of the last failure", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "The message that belongs to the reason", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.afterTimeoutSeconds) || has(self.after)").message("afterTimeoutSeconds limits the wait for the tasks of spec.after: add after, or remove afterTimeoutSeconds"),
    validation = Rule::new("has(self.image) || (has(self.template) && has(self.template.spec) && has(self.template.spec.containers) && self.template.spec.containers.size() > 0)")
        .message("nothing to run: set spec.image, or give spec.template.spec.containers a container"),
    validation = Rule::new("!has(self.image) || !has(self.template) || !has(self.template.spec) || !has(self.template.spec.containers) || self.template.spec.containers.size() == 0 || self.template.spec.containers.exists(c, c.name == 'task' || (has(self.template.metadata) && has(self.template.metadata.annotations) && 'kubectl.kubernetes.io/default-container' in self.template.metadata.annotations && c.name == self.template.metadata.annotations['kubectl.kubernetes.io/default-container']))")
        .message("spec.image is for the container named task, and spec.template.spec.containers has none: name the container that does the work task, or move the image into it, or add one named task if all of them run beside it")
)]
pub struct RetryableTaskSpec {
    /// Image of the main container, whose end is the attempt's end. If the template has no containers, one named `task` is added. If it has
    /// some, the image is for the one named `task`, or for the one that the annotation kubectl.kubernetes.io/default-container names; that
    /// container must exist. May be left out if the template has a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// Entrypoint of the main container, instead of the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub command: Option<Vec<String>>,

    /// Arguments of the main container's entrypoint, instead of the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub args: Option<Vec<String>>,

    /// Environment variables of the main container. They win over those of the same name in the template.
    /// Every container also gets RETRYABLE_TASK_NAME, RETRYABLE_TASK_UID (an idempotency key that all attempts share), RETRYABLE_ATTEMPT
    /// (from 1), RETRYABLE_MAX_RETRIES, RETRYABLE_LAST_EXIT_CODE, RETRYABLE_LAST_REASON,
    /// RETRYABLE_CHECKPOINT (once an attempt has reported one), RETRYABLE_AFTER_<NAME>_RESULT (of the tasks of spec.after) and TRACEPARENT (one trace per task).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::env")]
    pub env: Option<Vec<Value>>,

    /// Sources of environment variables of the main container, after those of the template. If two set the same name, the last one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Option<Vec<Value>>,

    /// Compute resources of the main container, instead of the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<Value>,

    /// Pod template: labels and annotations, volumes, service account, init containers, sidecars, tolerations and all else that a Pod can have.
    /// The main container is the one that the annotation kubectl.kubernetes.io/default-container names, else the one named `task`, else the
    /// first one if spec.image is not set. If there is spec.image and no container, `task` is added. An ordinary container runs once: its
    /// restartPolicy is Never. Init containers may be native sidecars (restartPolicy Always).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,

    /// Which ordinary containers decide how an attempt ends. MainContainer: the main one. Others that still run 3 s after its end are stopped,
    /// and an Event names them. AllContainers, as in a Job: the attempt ends when all have ended, and fails if one of them failed;
    /// the first one that failed gives exit code, reason and message. Native sidecars do not count.
    #[serde(default)]
    pub completion: Completion,

    /// How often to retry after a failure: 3 (the default) means at most four attempts, 0 means one attempt.
    /// Attempts that a disruption or a suspension ended do not count. A change applies at once, also to a task that waits: if its retries
    /// are then exhausted, it fails without another attempt.
    #[serde(default = "default_max_retries")]
    #[x_kube(validation = Rule::new("self >= 0").message("maxRetries counts the tries after the first one: use 0 to run once, 3 for at most four attempts"))]
    pub max_retries: i32,

    /// Tasks of this namespace that must have ended before the first attempt starts. All must hold. Until then the state is Blocked. If one
    /// of them can no longer hold, the task fails at once with the reason DependencyFailed, without an attempt and without its fallback. Their
    /// results come as RETRYABLE_AFTER_<NAME>_RESULT. A change counts until the first attempt starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.task.replace('.', '-') == a.task.replace('.', '-')))").message("two entries of after have the same task, or names that differ in '.' and '-' only: their results would be one variable"))]
    pub after: Option<Vec<After>>,

    /// Longest wait for the tasks of spec.after, in seconds from when nothing else holds the first attempt back. Suspensions do not count.
    /// The task then fails with the reason DependencyTimeout, without an attempt and without its fallback. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("afterTimeoutSeconds is a time above 0; leave it out to wait without limit"))]
    pub after_timeout_seconds: Option<i32>,

    /// When the first attempt is due, as RFC 3339 with a zone: 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00. In the past: at once.
    /// It counts for the first attempt of every run, and a change counts until that attempt starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$')").message("startAt is a time as RFC 3339 with a zone: 2026-12-01T06:00:00Z or 2026-12-01T07:00:00+01:00"))]
    pub start_at: Option<String>,

    /// How long to wait before the next attempt. Default: Exponential from 1 s, doubling, capped at 60 s, ±25 % jitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,

    /// Which failures are retried, which are not, and which have a budget of their own. The first rule that matches decides.
    /// doNotRetry in a termination report comes before them. The built-in rules disruption, outOfMemory and startup come after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(r, self.exists_one(other, other.name == r.name))").message("two rules have the same name: the history and the counters could not tell them apart"))]
    #[x_kube(validation = Rule::new("self.filter(r, !has(r.when)).size() == 0 || (self.filter(r, !has(r.when)).size() == 1 && !has(self[self.size() - 1].when))").message("a rule without `when` matches every failure, so those after it are never reached: move it to the end, and have only one"))]
    pub rules: Option<Vec<FailureRule>>,

    /// Budgets beside maxRetries for disruptions, for running out of memory and for attempts that do not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budgets: Option<Budgets>,

    /// More memory for the attempts that follow one that ran out of memory. The raise stays for the rest of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_out_of_memory: Option<OnOutOfMemory>,

    /// What is different from a certain attempt on: other resources, nodes, tolerations or variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(o, self.exists_one(other, other.fromAttempt == o.fromAttempt))").message("two overrides have the same fromAttempt: put them into one"))]
    pub overrides: Option<Vec<AttemptOverride>>,

    /// Prefer nodes on which this task has not just failed. This is never a requirement. The node of the last failure has the full weight,
    /// the one before half of it, and so on.
    #[serde(default = "default_avoid_failed_nodes")]
    pub avoid_failed_nodes: bool,

    /// A last Pod that runs once when the task has failed for any reason but a cancellation. The task is Failed once this Pod has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,

    /// The TaskQueue that starts the attempts: it limits how many run at a time, and lets none start while their service is down. The fallback
    /// asks no queue. A change counts from the next attempt, or from the next try to create a Pod that was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRef>,

    /// Longest time that one attempt may run, in seconds from the start of its main container (with completion AllContainers, of the first
    /// container). The Pod is then stopped, and the attempt fails with the reason AttemptTimeout. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("attemptTimeoutSeconds is a time above 0; leave it out for no limit"))]
    pub attempt_timeout_seconds: Option<i32>,

    /// Longest time that the whole task may take, in seconds from its first attempt. Waits count, suspensions do not. The task then fails with
    /// the reason DeadlineExceeded. It fails at once if the next attempt would be due at the deadline or later. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("activeDeadlineSeconds is a time above 0; leave it out for no limit"))]
    pub active_deadline_seconds: Option<i32>,

    /// Longest time until the main container starts (with completion AllContainers: until all have started), in seconds. The attempt then
    /// fails with the reason that kept it from starting, else StartupTimeout. If given, the time counts from the Pod's creation or from the
    /// first try to create it, and includes the wait for a node and the init containers. Scheduling gates stop the clock: it begins when they
    /// are gone. Default: 600 from when the Pod has a node and its init containers have ended, and no limit on the time before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0").message("startupTimeoutSeconds is a time above 0; leave it out for 600 s from the moment that the Pod has a node"))]
    pub startup_timeout_seconds: Option<i32>,

    /// While true, no attempt runs: a running one is stopped (recorded, but not charged as a failure), and none starts. The fallback does not
    /// start either. Set it back to false to continue.
    #[serde(default)]
    pub suspend: bool,

    /// Delete the task and its Pods this many seconds after the task has ended. Default: that of the operator, as recorded in
    /// status.defaultTTLSecondsAfterFinished; else they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("ttlSecondsAfterFinished counts from the end: use 0 to delete the task at once, or leave it out to keep it"))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// How many finished Pods to keep for their logs. The newest are kept.
    #[serde(default)]
    pub pod_retention: PodRetention,

    /// How many attempts status.history keeps, 0 to 100. The oldest are dropped; status.historyDropped counts them.
    #[serde(default = "default_history_limit")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 100").message("historyLimit goes from 0 to 100"))]
    pub history_limit: i32,
}

/// Which ordinary containers decide how an attempt ends: MainContainer (default) or AllContainers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Completion {
    /// The main container's end is the attempt's end. Others are stopped soon after it.
    #[default]
    MainContainer,
    /// All must end, and all must succeed.
    AllContainers,
}

impl Completion {
    /// Its value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MainContainer => "MainContainer",
            Self::AllContainers => "AllContainers",
        }
    }
}

/// How many finished Pods to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRetention {
    /// Pods to keep whose attempt failed or was stopped. Default 1.
    #[serde(default = "default_retention")]
    #[x_kube(validation = Rule::new("self >= 0").message("podRetention.failed is a number of Pods: 0 keeps none"))]
    pub failed: i32,

    /// Succeeded Pods to keep. Default 1.
    #[serde(default = "default_retention")]
    #[x_kube(validation = Rule::new("self >= 0").message("podRetention.succeeded is a number of Pods: 0 keeps none"))]
    pub succeeded: i32,
}

impl Default for PodRetention {
    fn default() -> Self {
        Self { failed: default_retention(), succeeded: default_retention() }
    }
}

const fn default_max_retries() -> i32 {
    3
}

const fn default_avoid_failed_nodes() -> bool {
    true
}

const fn default_history_limit() -> i32 {
    20
}

const fn default_retention() -> i32 {
    1
}
