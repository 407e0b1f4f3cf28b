//! What users read of the attempts that ended.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What says why, in one line of at most 1 KiB: the line that a rule matched, else the Pod's own message, else the first line of a termination report, or the last line of the log that says something. The history has more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Attempts counted under a budget of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureCount {
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
    /// When its container started, else when its Pod was created: never before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// The exit code, where a container ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the container: exit code - 128 where the runtime tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended: the container's, the Pod's or the kubelet's word, such as Completed, Error, OOMKilled (also where the container exited with 0), Evicted, PodDeadlineExceeded; Suspended; SpecChanged; RetryNow; Lost.
    pub reason: String,
    /// The error's type in the task's own words (`errorType` of a JSON termination message).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The Pod's own message where its reason is the reason, then the termination message or the log's tail: at most 1 KiB, of which the beginning, what a rule matched, and the end are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rule that matched: one of spec.rules, a built-in one (disruption, outOfMemory, startup), or doNotRetry for the task's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What followed: Complete, Retry (charged), Ignore (not charged) or Fail.
    #[schemars(with = "String")]
    pub action: Action,
    /// The wait before the next attempt in milliseconds, jitter included. It follows the spec as long as it lasts, and may have been
    /// skipped by request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<i64>,
    /// The generation of the spec that it ran with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The memory that its main container had, limit or else request, where spec.onOutOfMemory may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Nodes that its Pod rather did not run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoided_nodes: Vec<String>,
    /// `fromAttempt` of the last of spec.overrides that applied to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_from: Option<i32>,
    /// The run that it belongs to. Absent in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<i32>,
}

/// Reasons of ends for which the cluster has no word, beside those of the operator's own stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum EndReason {
    /// The main container exited with 0.
    Completed,
    /// A failure without any other reason.
    Error,
    /// The Pod is gone, and its end was never seen.
    Lost,
    /// The Pod was deleted, and its node never reported its end.
    NodeLost,
    /// Somebody deleted the Pod.
    PodDeleted,
    /// The Pod's own `activeDeadlineSeconds` passed. The kubelet calls it `DeadlineExceeded`, as the task's deadline is
    /// called.
    PodDeadlineExceeded,
}

impl EndReason {
    /// The word that goes into the history.
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
