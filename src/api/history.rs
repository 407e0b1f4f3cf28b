//! The attempts that ended, as the status shows them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LastFailure {
    /// The attempt's number, from 1.
    pub attempt: i32,
    /// Why it failed: the reason of the container, the Pod or the kubelet, such as Error, OOMKilled, Evicted.
    pub reason: String,
    /// The exit code, if a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, in one line of at most 1 KiB: the line that a rule matched, else the Pod's own message, else the first line of a termination report or the last meaningful line of the log. The history has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How many failed attempts a rule has matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureCount {
    /// Name of the rule.
    pub name: String,
    /// How many failed attempts it has matched.
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
    /// When its container started, else when its Pod was created. Never before the Pod's creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// The exit code, if a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the container. If the runtime reports none: exit code - 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended. The reason of the container, the Pod or the kubelet, such as Completed, Error, OOMKilled (even if the container exited with 0), Evicted; or the operator's reason, such as AttemptTimeout, PodDeadlineExceeded, Suspended, QueueDrained, SpecChanged, RetryNow, Lost.
    pub reason: String,
    /// What kind of error the task reported: errorType of a JSON termination message, else the first of its errorTypes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// All kinds of error that the task reported, the most specific first. Only if it reported more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_types: Vec<String>,
    /// How many seconds the task asked to be left alone before the next attempt: retryAfterSeconds of its JSON termination message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<i64>,
    /// The Pod's own message if the Pod's reason is the reason above, then the termination message or the log's tail. At most 1 KiB: the beginning, what a rule matched, and the end are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rule that matched: one of spec.rules, a built-in one (disruption, outOfMemory, startup), or doNotRetry if the task returned it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What followed: Complete, Retry (charged), Ignore (not charged) or Fail.
    #[schemars(with = "String")]
    pub action: Action,
    /// The wait before the next attempt in milliseconds, jitter included. A changed spec changes it while the attempt waits. The user
    /// may have skipped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<i64>,
    /// The generation of the spec that it ran with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The memory of its main container, the limit or else the request. Only with spec.onOutOfMemory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Nodes that its Pod preferred to avoid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoided_nodes: Vec<String>,
    /// `fromAttempt` of the last of spec.overrides that applied to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_from: Option<i32>,
    /// The run that it belongs to. Absent in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<i32>,
    /// The TaskQueue whose slot it held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

/// The operator's reasons for the end of an attempt, beside those of its own stops ([`super::StopReason`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum EndReason {
    /// The main container exited with 0.
    Completed,
    /// A failure without any other reason.
    Error,
    /// The Pod no longer exists, and the operator never saw its end.
    Lost,
    /// The Pod was deleted, and its node never reported its end.
    NodeLost,
    /// Somebody deleted the Pod.
    PodDeleted,
    /// The Pod's own `activeDeadlineSeconds` passed. The kubelet calls it `DeadlineExceeded`, but that is the reason of
    /// the task's deadline.
    PodDeadlineExceeded,
}

impl EndReason {
    /// The `reason` in the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::Lost => "Lost",
            Self::NodeLost => "NodeLost",
            Self::PodDeleted => "PodDeleted",
            Self::PodDeadlineExceeded => "PodDeadlineExceeded",
        }
    }
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
