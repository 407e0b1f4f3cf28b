//! The attempt that is running or due, in the status of a `RetryableTask`.

use super::skip::{is_false, is_zero};
use super::{Action, QueueSlot};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The attempt that is running or due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CurrentAttempt {
    /// The attempt's number, from 1.
    pub number: i32,

    /// When it is due. Absent if it may start at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_time: Option<MicroTime>,

    /// The spec.startAt from which dueTime was taken, so that a change moves it and a wait that the user skipped stays skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,

    /// Since when it has waited for the tasks of spec.after. The time that the task was suspended is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_time: Option<MicroTime>,

    /// What the wait before it is computed from, so that a changed spec changes the wait, and a retry that gets no Pod is not
    /// charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<RetryWait>,

    /// Since when it has waited for its TaskQueue, if that is not its due time. The time that the task was suspended is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_time: Option<MicroTime>,

    /// The slot of a TaskQueue that it holds. Present from when its Pod may be created until it has ended, but not while its Pod is
    /// rejected and the next try waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSlot>,

    /// Name of its Pod. Present before the Pod is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// UID of its Pod, if it had to be recorded.
    #[serde(rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,

    /// Why its main container has not started. Absent once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_up: Option<HoldUp>,

    /// When the operator saw that the scheduling gates of its Pod were gone. startupTimeoutSeconds counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ungated_time: Option<MicroTime>,

    /// When the operator decided to create its Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<MicroTime>,

    /// When the operator tries again to create the Pod, after a try that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_create_time: Option<MicroTime>,

    /// How many tries in a row to create the Pod have failed. Those of the first seconds do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub rejections: i32,

    /// UID of an ended attempt's Pod that is deleted to make room for this one's Pod in a quota on count/pods.
    #[serde(rename = "removedPodUID", skip_serializing_if = "Option::is_none")]
    pub removed_pod_uid: Option<String>,

    /// Why the operator stops the Pod: Suspended, AttemptTimeout, StartupTimeout, DeadlineExceeded, Cancelled, SpecChanged, RetryNow,
    /// QueueDrained or TaskEnded (the main container has ended, and others still run). Written before the Pod is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop_reason: Option<StopReason>,

    /// When the operator decided to stop the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<MicroTime>,

    /// What kept the Pod from starting, if it is stopped for that: the reason of the kubelet, of the scheduler or of a Warning
    /// event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_cause: Option<String>,

    /// The message that belongs to stopCause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_message: Option<String>,

    /// Whether this is the fallback that follows the attempt of that number.
    #[serde(skip_serializing_if = "is_false")]
    pub fallback: bool,

    /// Nodes that its Pod prefers to avoid, because the task has just failed there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoided_nodes: Vec<String>,

    /// `fromAttempt` of the last of spec.overrides that applies to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_from: Option<i32>,
}

/// Why a Pod's main container has not started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HoldUp {
    /// The reason of the kubelet or the scheduler, such as ImagePullBackOff or Unschedulable; else that of the newest Warning event
    /// about the Pod, such as FailedMount; else the stage of the Pod: Unscheduled, ContainerCreating or PodInitializing.
    pub reason: String,

    /// The message that belongs to the reason, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What the wait before a retry is computed from, beside the spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryWait {
    /// When the failed attempt ended. The delay counts from here.
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

    /// The delay that the task itself requested, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<i64>,
}

/// Why the operator stops an attempt's Pod.
#[cfg_attr(test, derive(strum::EnumIter))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// `spec.suspend` was set.
    Suspended,
    /// The main container has ended, and another container still runs.
    TaskEnded,
    /// The attempt ran longer than `attemptTimeoutSeconds`.
    AttemptTimeout,
    /// The Pod did not start in time, or never can.
    StartupTimeout,
    /// The task took longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// The user cancelled the task.
    Cancelled,
    /// The Pod had not started, and no longer matches the spec.
    SpecChanged,
    /// The Pod had not started, and the user requested another try.
    RetryNow,
    /// `stopPolicy` of its TaskQueue is `HoldAndDrain`.
    QueueDrained,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

impl StopReason {
    /// The `reason` in the history.
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
            Self::QueueDrained => "QueueDrained",
            Self::Unknown => "Stopped",
        }
    }

    /// Whether it only stops a Pod whose main container has not started, so that another Pod replaces it.
    pub const fn replaces(self) -> bool {
        matches!(self, Self::SpecChanged | Self::RetryNow)
    }

    /// Whether the next attempt follows at once, and the stopped one is not charged.
    pub const fn is_free(self) -> bool {
        self.replaces() || matches!(self, Self::Suspended | Self::QueueDrained)
    }
}
