//! Other tasks that must have ended first.

use super::skip::is_false;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another task, and how it must have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct After {
    /// Name of a RetryableTask in the same namespace. One that does not exist yet is waited for.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("after[].task is the name of a RetryableTask in the same namespace: small letters, digits, '-' and '.'"))]
    pub task: String,

    /// How it must have ended: Succeeded (the default; also in part), Failed (also Cancelled), or Finished (any end, also its deletion).
    #[serde(default)]
    pub condition: AfterCondition,
}

/// How another task must have ended: Succeeded (the default; also in part), Failed (also Cancelled), or Finished (any end, also its deletion).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AfterCondition {
    /// Its condition Complete is true.
    #[default]
    Succeeded,
    /// Its condition Failed is true.
    Failed,
    /// It has ended, or is gone.
    Finished,
}

impl AfterCondition {
    /// What the task must do.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Succeeded => "succeed",
            Self::Failed => "fail",
            Self::Finished => "finish",
        }
    }
}

/// A task of spec.after, as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AfterStatus {
    /// Name of the task.
    pub task: String,
    /// How it must have ended.
    #[serde(default)]
    #[schemars(with = "String")]
    pub condition: AfterCondition,
    /// The UID that the name had at first sight. Another task of the name is another task.
    #[serde(rename = "taskUID", default, skip_serializing_if = "Option::is_none")]
    pub task_uid: Option<String>,
    /// Whether it has ended so. That stays, also if it is run again or deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub met: bool,
    /// Whether it had ended so before this task was run again. If it still exists, it is looked at anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub met_before: bool,
    /// Its result, which goes to the attempts as RETRYABLE_AFTER_<NAME>_RESULT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}
