//! What users read: the task's status.

use super::{Action, FailureCount, HistoryEntry, LastFailure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What happened so far, why, and what comes next. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryableTaskStatus {
    /// The generation of the spec that this status speaks of; -1 until an operator has seen the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pending, Running, Waiting, Suspended, Succeeded, Failed or Cancelled: for people. Programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<State>,

    /// What holds the current attempt up (such as ImagePullBackOff, FailedMount), else why the last attempt failed. It stays after
    /// success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// What goes with the reason in one line, at most 1 KiB: lastFailure.message, where the reason is that of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the first attempt of this run was started.
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

    /// Attempts that have been started: Pods that have existed for this task, or are about to, and attempts that ended
    /// without one since it could not be created. In all runs; the fallback is none.
    pub attempts: i32,

    /// Retries charged to maxRetries so far.
    pub retries: i32,

    /// Attempts that ended without being charged: disruptions, suspensions, and Pods that were replaced before they started.
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

    /// What the last attempt gave as its result (`result` of a JSON termination message), at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,

    /// How often onOutOfMemory has raised the main container's memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_raises: i32,

    /// How often onOutOfMemory may raise the memory, once the API server has refused a Pod with more. Until the spec
    /// changes, or the task is run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_memory_raises: Option<i32>,

    /// Which run this is. Absent in the first: annotate the task with retryable.dev/run-again to have another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,

    /// The fallback of spec.onFailure, once it may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// Requests by annotation that have been acknowledged, the last of each, and up to four unknown annotations under retryable.dev/.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["annotation"]))]
    pub acknowledged: Vec<Acknowledged>,

    /// How many failed attempts each rule has matched, the built-in ones (disruption, outOfMemory, startup) included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub failure_counts: Vec<FailureCount>,

    /// The budget that ran out and so ended the task: maxRetries, or the name of a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_budget: Option<String>,

    /// The attempts that ended, oldest first, at most historyLimit of them and 48 KiB of JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Arc<HistoryEntry>>,

    /// How many older attempts are no longer in the history.
    #[serde(skip_serializing_if = "is_zero")]
    pub history_dropped: i32,

    /// Complete, Failed, Suspended and FailureTarget as on a Job; Finished with either end; AttemptStarted, False while
    /// something keeps the current attempt from starting; Reconciling and Stalled for kstatus.
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

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where a task stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Something keeps the current attempt from starting, or the task is about to run again. `Running` is stored as soon as
    /// the attempt's Pod may be created.
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
    /// Ended by hand.
    Cancelled,
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

    /// What the wait for it follows from. A changed spec changes the wait; a retry that gets no Pod is not charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<RetryWait>,

    /// Name of its Pod. Present from the moment that the Pod may be created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// UID of its Pod, where it had to be put on record.
    #[serde(rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,

    /// What keeps its main container from starting, as long as it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_up: Option<HoldUp>,

    /// When it was decided to create its Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<MicroTime>,

    /// When the creation of a Pod that failed is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_create_time: Option<MicroTime>,

    /// How often in a row the creation of the Pod has failed, after the first seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub rejections: i32,

    /// UID of the Pod of an ended attempt that is deleted to make room for this one's under a quota on count/pods.
    #[serde(rename = "removedPodUID", skip_serializing_if = "Option::is_none")]
    pub removed_pod_uid: Option<String>,

    /// Why the operator stops the Pod: Suspended, AttemptTimeout, StartupTimeout, DeadlineExceeded, Cancelled, SpecChanged, RetryNow,
    /// or TaskEnded (the main container has ended, and others run on). Written before the Pod is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop_reason: Option<StopReason>,

    /// When it was decided to stop the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<MicroTime>,

    /// What kept a Pod from starting that is stopped for it: the kubelet's or the scheduler's reason, or that of a Warning
    /// event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_cause: Option<String>,

    /// What goes with the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_message: Option<String>,

    /// Whether this is the fallback that follows the attempt of that number.
    #[serde(skip_serializing_if = "is_false")]
    pub fallback: bool,

    /// Nodes that its Pod rather not runs on, since the task has just failed there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoided_nodes: Vec<String>,

    /// `fromAttempt` of the last of spec.overrides that applies to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_from: Option<i32>,
}

/// What keeps a Pod's main container from starting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HoldUp {
    /// The kubelet's or the scheduler's word, such as ImagePullBackOff, Unschedulable; else the reason of the newest Warning event
    /// about the Pod, such as FailedMount; else how far the Pod is: Unscheduled, ContainerCreating, PodInitializing.
    pub reason: String,

    /// What goes with it, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What the wait for a retry follows from, beside the spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryWait {
    /// From when the delay counts: the end of the attempt that failed.
    pub from: MicroTime,

    /// The rule that the failure matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,

    /// What followed: Retry or Ignore.
    #[schemars(with = "String")]
    pub action: Action,

    /// Whether the retry is charged to maxRetries.
    #[serde(default, skip_serializing_if = "is_false")]
    pub charged: bool,

    /// The delay that the task itself asked for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<i64>,
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
    /// Somebody cancelled the task.
    Cancelled,
    /// The Pod had not started, and is no longer what the spec asks for.
    SpecChanged,
    /// The Pod had not started, and somebody asked for another try.
    RetryNow,
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
            Self::Cancelled => "Cancelled",
            Self::SpecChanged => "SpecChanged",
            Self::RetryNow => "RetryNow",
            Self::Unknown => "Stopped",
        }
    }

    /// Whether it stops only a Pod whose main container has not started, for another one to take its place.
    pub const fn replaces(self) -> bool {
        matches!(self, Self::SpecChanged | Self::RetryNow)
    }

    /// Whether the next attempt follows at once, and the stopped one is not charged.
    pub const fn is_free(self) -> bool {
        self.replaces() || matches!(self, Self::Suspended)
    }
}

/// One run of the task, from its first attempt to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its number, from 2: the first run is not told.
    pub number: i32,
    /// The number of its first attempt: numbers go on from run to run.
    pub first_attempt: i32,
}

/// A request by annotation, or an unknown annotation, that has been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// The annotation.
    pub annotation: String,
    /// Its value, cut to 128 bytes: another value asks again.
    pub value: String,
    /// When it was acknowledged.
    pub time: Time,
    /// What came of it.
    pub effect: String,
}

/// What became of the fallback.
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
    /// When its container started, else when it was decided that it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// The exit code, where a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The Pod's own message where its reason is the reason, then the termination message or the log's tail: at most 1 KiB, of which the beginning and the end are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a fallback stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FallbackState {
    /// Its Pod is being created, or exists.
    Running,
    /// It did its work.
    Succeeded,
    /// It did not.
    Failed,
    /// Written by another version of the operator.
    #[default]
    #[serde(other)]
    Unknown,
}
