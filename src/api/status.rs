//! What users read: the task's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened so far, why, and what comes next. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryableTaskStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pending, Running, Waiting, Suspended, Succeeded or Failed: for people. Programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<State>,

    /// What holds the current attempt up (such as ImagePullBackOff), else why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// What goes with the reason, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the first attempt was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the task ended, for good or ill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Since when the task has been suspended: activeDeadlineSeconds does not run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_time: Option<MicroTime>,

    /// How long earlier suspensions lasted, in milliseconds.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub suspended_milliseconds: i64,

    /// From startTime to completionTime, for people (such as 1m3s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// Attempts that have been started: Pods that have existed for this task, or are about to.
    pub attempts: i32,

    /// Retries charged to maxRetries so far.
    pub retries: i32,

    /// Attempts that ended without being charged: disruptions and suspensions.
    pub ignored: i32,

    /// The attempt that is running or due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentAttempt>,

    /// When the next attempt is due, while the task waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_time: Option<MicroTime>,

    /// The last attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// What the task itself gave as its result (`result` of a JSON termination message), at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,

    /// How many failed attempts each rule has matched, the built-in ones (disruption, outOfMemory, startup) included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub classes: Vec<FailureClass>,

    /// The budget that ran out and so ended the task: maxRetries, or the name of a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_budget: Option<String>,

    /// The attempts that ended, oldest first, at most historyLimit of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,

    /// How many older attempts are no longer in the history.
    #[serde(skip_serializing_if = "is_zero")]
    pub history_dropped: i32,

    /// Complete, Failed, Suspended as on a Job; Finished with either end; Reconciling and Stalled for kstatus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference
fn is_zero(n: &i32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference
fn is_zero_long(n: &i64) -> bool {
    *n == 0
}

/// Where a task stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The current attempt has no running container yet.
    Pending,
    /// An attempt runs.
    Running,
    /// The next attempt is due at `nextRetryTime`.
    Waiting,
    /// Held by `spec.suspend`.
    Suspended,
    /// Ended with success.
    Succeeded,
    /// Ended without success.
    Failed,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

/// The attempt that is running or due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CurrentAttempt {
    /// The attempt's number, from 1.
    pub number: i32,

    /// When it is due. Absent when it may start at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_time: Option<MicroTime>,

    /// Name of its Pod. Present from the moment that the Pod may be created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// UID of its Pod, where it had to be put on record.
    #[serde(rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,

    /// When the creation of a Pod that the API server rejected is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_create_time: Option<MicroTime>,

    /// How often in a row the API server has rejected the Pod.
    #[serde(skip_serializing_if = "is_zero")]
    pub rejections: i32,

    /// Why the operator stops the Pod. Written before the Pod is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop_reason: Option<StopReason>,

    /// When it was decided to stop the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<MicroTime>,

    /// What kept a Pod from starting that is stopped for it: the kubelet's or the scheduler's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_cause: Option<String>,

    /// What goes with the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_message: Option<String>,
}

/// Why the operator stops an attempt's Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// `spec.suspend` was set.
    Suspended,
    /// The main container has ended, while another container runs on.
    TaskEnded,
    /// The attempt ran longer than `attemptTimeoutSeconds`.
    AttemptTimeout,
    /// The Pod did not start in time, or never can.
    StartupTimeout,
    /// The task took longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

impl StopReason {
    /// The word that goes into the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::TaskEnded => "TaskEnded",
            Self::AttemptTimeout => "AttemptTimeout",
            Self::StartupTimeout => "StartupTimeout",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Unknown => "Stopped",
        }
    }
}

/// The last attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastFailure {
    /// The attempt's number, from 1.
    pub attempt: i32,
    /// Why it failed: the container's, the Pod's or the kubelet's word, such as Error, OOMKilled, Evicted.
    pub reason: String,
    /// The exit code, where a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The termination message or the log's tail, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Attempts counted under a budget of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureClass {
    /// Name of the rule.
    pub name: String,
    /// How many attempts it counted.
    pub count: i32,
}

/// One attempt that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HistoryEntry {
    /// The attempt's number, from 1.
    pub attempt: i32,
    /// Name of its Pod.
    pub pod_name: String,
    /// UID of its Pod.
    #[serde(rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The node it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The container whose end decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// When its container started, else when its Pod was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// The exit code, where a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended: the container's, the Pod's or the kubelet's word, such as Completed, Error, OOMKilled, Evicted; Suspended; Lost.
    pub reason: String,
    /// The error's type in the task's own words (`errorType` of a JSON termination message).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The termination message or the log's tail, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rule that matched: one of spec.rules, a built-in one (disruption, outOfMemory, startup), or doNotRetry for the task's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What followed: Complete, Retry (charged), Ignore (not charged) or Fail.
    #[schemars(with = "String")]
    pub action: Action,
    /// The wait before the next attempt in milliseconds, jitter included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<i64>,
}

/// What follows the end of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The task is done.
    Complete,
    /// Another attempt, charged to `maxRetries`.
    Retry,
    /// Another attempt, not charged.
    Ignore,
    /// The task has failed.
    Fail,
    /// Written by another version of the operator.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The conditions that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The task succeeded (as on a Job).
    Complete,
    /// The task failed for good (as on a Job).
    Failed,
    /// The task is suspended (as on a Job).
    Suspended,
    /// The task ended, for good or ill: one thing for `kubectl wait` to wait for.
    Finished,
    /// kstatus: the first Pod does not exist yet.
    Reconciling,
    /// kstatus: failed for good, or unable to go on without help.
    Stalled,
}

impl ConditionType {
    /// The condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Suspended => "Suspended",
            Self::Finished => "Finished",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// The reasons of the conditions that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionReason {
    /// An attempt succeeded.
    Succeeded,
    /// `maxRetries` is used up.
    RetriesExhausted,
    /// The budget of a rule is used up.
    BudgetExhausted,
    /// A rule with action Fail matched.
    RuleFailed,
    /// The task itself said `doNotRetry`.
    DoNotRetry,
    /// The task took longer than `activeDeadlineSeconds`, or would.
    DeadlineExceeded,
    /// `spec.suspend` is set.
    Suspended,
    /// `spec.suspend` was taken back.
    Resumed,
    /// The first Pod is being created.
    CreatingPod,
    /// The API server rejected the Pod.
    PodRejected,
    /// A Pod that is not this task's has the name of the attempt's Pod.
    PodNameTaken,
    /// The operator cannot read the spec.
    InvalidSpec,
}

impl ConditionReason {
    /// The condition's `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::BudgetExhausted => "BudgetExhausted",
            Self::RuleFailed => "RuleFailed",
            Self::DoNotRetry => "DoNotRetry",
            Self::Suspended => "Suspended",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Resumed => "Resumed",
            Self::CreatingPod => "CreatingPod",
            Self::PodRejected => "PodRejected",
            Self::PodNameTaken => "PodNameTaken",
            Self::InvalidSpec => "InvalidSpec",
        }
    }
}
