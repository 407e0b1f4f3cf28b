//! The status of a `RetryableTask`.

use super::skip::{is_zero, is_zero_long};
use super::{AfterStatus, CurrentAttempt, FailureCount, HistoryEntry, LastFailure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What has happened, why, and what comes next. Only the operator writes it.
///
/// Hence the API server needs not track who owns which of its fields: that is a tenth of its time for a status update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "What has happened, why, and what comes next. Only the operator writes it.")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
#[serde(rename_all = "camelCase", default)]
pub struct RetryableTaskStatus {
    /// The generation of the spec that this status reflects. -1 until the operator has seen the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pending, Blocked, Running, Waiting, Queued, Suspended, Succeeded, Failed or Cancelled. This is for people: programs should read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<State>,

    /// Why the current attempt has not started (such as ImagePullBackOff, FailedMount), else why the last attempt failed. It stays
    /// after success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The message that belongs to the reason, in one line of at most 1 KiB. If the reason is that of the last failure: lastFailure.message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When this run's first attempt was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the task succeeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The operator's default for ttlSecondsAfterFinished when it first saw the task. It applies while the spec has none.
    #[serde(rename = "defaultTTLSecondsAfterFinished", skip_serializing_if = "Option::is_none")]
    pub default_ttl_seconds_after_finished: Option<i32>,

    /// Since when the task has been suspended. activeDeadlineSeconds does not count this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_time: Option<MicroTime>,

    /// How long earlier suspensions lasted in total, in milliseconds.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub suspended_milliseconds: i64,

    /// From startTime to completionTime, for people (such as 1m3s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// How many attempts have been started, in all runs: each Pod that was created or is about to be, and each attempt that ended
    /// because its Pod could not be created. The fallback does not count.
    pub attempts: i32,

    /// How many retries have been charged to maxRetries.
    pub retries: i32,

    /// How many attempts ended without being charged: disruptions, suspensions, and Pods that were replaced before they started.
    pub ignored: i32,

    /// The attempt that is running or due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentAttempt>,

    /// When the next attempt is due, while state is Waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_time: Option<MicroTime>,

    /// The last attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// The result that the last attempt reported (`result` of a JSON termination message), at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,

    /// The checkpoint that an attempt reported last (`checkpoint` of a JSON termination message), at most 1 KiB. The next Pods get it as
    /// RETRYABLE_CHECKPOINT. Success clears it, a success in part does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,

    /// The tasks of spec.after, as they were seen. It does not change once the first attempt has started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["task"]))]
    pub after: Vec<AfterStatus>,

    /// How often onOutOfMemory has raised the main container's memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_raises: i32,

    /// How often onOutOfMemory may raise the memory. Set once the API server has refused a Pod with more. It applies until the spec
    /// changes or the task is run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_memory_raises: Option<i32>,

    /// Which run this is. Absent in the first run. To start another, annotate the task with retryable.dev/run-again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,

    /// The fallback of spec.onFailure. Present once its Pod may be created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// The requests by annotation that the operator has acknowledged, the last one of each annotation; and up to four unknown
    /// annotations under retryable.dev/.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["annotation"]))]
    pub acknowledged: Vec<Acknowledged>,

    /// How many failed attempts each rule has matched, the built-in ones (disruption, outOfMemory, startup) included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub failure_counts: Vec<FailureCount>,

    /// The budget whose exhaustion ended the task: maxRetries, or the name of a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_budget: Option<String>,

    /// The attempts that ended, oldest first: at most historyLimit of them, and at most 48 KiB of JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Arc<HistoryEntry>>,

    /// How many older attempts were dropped from the history.
    #[serde(skip_serializing_if = "is_zero")]
    pub history_dropped: i32,

    /// Complete, Failed, Suspended and FailureTarget as on a Job. Finished is True when the task has succeeded or failed.
    /// AttemptStarted is False while something keeps the current attempt from starting. Reconciling and Stalled are those of kstatus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A summary of a task's status, for people.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Something keeps the current attempt from starting, or the task is about to run again. An attempt whose Pod may be
    /// created is `Running`.
    Pending,
    /// The first attempt waits for the tasks of `spec.after`.
    Blocked,
    /// An attempt runs.
    Running,
    /// The next attempt is due at `nextRetryTime`.
    Waiting,
    /// The next attempt is due, and waits for its TaskQueue to start it.
    Queued,
    /// `spec.suspend` is set.
    Suspended,
    /// The task succeeded.
    Succeeded,
    /// The task failed.
    Failed,
    /// The user cancelled the task.
    Cancelled,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

impl State {
    /// Its value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Blocked => "Blocked",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::Queued => "Queued",
            Self::Suspended => "Suspended",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Unknown => "Unknown",
        }
    }
}

/// One run of the task, from its first attempt to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its number, from 2: the first run has none.
    pub number: i32,
    /// The number of its first attempt. Attempts are numbered on from run to run.
    pub first_attempt: i32,
}

/// A request by annotation, or an unknown annotation, that has been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// The annotation.
    pub annotation: String,
    /// Its value, cut to 128 bytes. Another value is a new request.
    pub value: String,
    /// When it was acknowledged.
    pub time: Time,
    /// What the operator did.
    pub effect: String,
}

/// The fallback and its result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fallback {
    /// Running, Succeeded or Failed.
    #[schemars(with = "String")]
    pub state: FallbackState,
    /// Name of its Pod.
    pub pod_name: String,
    /// UID of its Pod, once it has ended.
    #[serde(rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The node it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// When its container started, else when the operator decided to create its Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// The exit code, if a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The Pod's own message if the Pod's reason is the reason above, then the termination message or the log's tail. At most 1 KiB: the beginning and the end are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The state of a fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FallbackState {
    /// Its Pod is being created, or exists.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// Written by another version of the operator.
    #[default]
    #[serde(other)]
    Unknown,
}
