//! The status of a `TaskSchedule`.

use super::Acknowledged;
use super::skip::is_zero_long;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was started, what was skipped and why, and what comes next. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskScheduleStatus {
    /// The generation of the spec that this status reflects. -1 until the operator has seen the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Scheduled, Suspended, Paused or Stalled. This is for people: programs should read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<ScheduleState>,

    /// Why nothing is scheduled, or why times were skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the next run starts, splaySeconds included. Absent while nothing is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// The time of the newest run that was started, without splaySeconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// When a run last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,

    /// When a run last failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,

    /// How many runs have failed in a row. Cancelled runs do not count.
    pub consecutive_failures: i32,

    /// How many runs have not ended.
    pub active: i32,

    /// The runs that have not ended, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<ActiveRun>,

    /// The run whose task is being created. Written before the task is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creating: Option<PlannedRun>,

    /// Runs that wait for others to end, in the order in which they start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<PlannedRun>,

    /// The backfill that the annotation retryable.dev/backfill requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,

    /// Times up to this one are settled: started, waiting or skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_time: Option<Time>,

    /// A hash of the times of the spec. If it changes, only times after the change count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_hash: Option<String>,

    /// How many times were skipped, by cause.
    #[serde(skip_serializing_if = "SkippedRuns::is_zero")]
    pub skipped: SkippedRuns,

    /// The requests by annotation that the operator has acknowledged, the last one of each annotation; and up to four unknown
    /// annotations under retryable.dev/.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["annotation"]))]
    pub acknowledged: Vec<Acknowledged>,

    /// Suspended, Paused (after pauseAfterFailures), Blocked (times are skipped because a run does not end), Stalled (nothing can be
    /// started).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A summary of a schedule's status, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScheduleState {
    /// The next run starts at `nextScheduleTime`.
    Scheduled,
    /// `spec.suspend` is set.
    Suspended,
    /// So many runs failed in a row as `spec.pauseAfterFailures` says.
    Paused,
    /// Nothing can be started.
    Stalled,
    /// Written by another version of the operator.
    #[serde(other)]
    Unknown,
}

impl ScheduleState {
    /// Its value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Suspended => "Suspended",
            Self::Paused => "Paused",
            Self::Stalled => "Stalled",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunCause {
    /// A time of the schedule.
    #[default]
    Schedule,
    /// The annotation retryable.dev/trigger.
    Trigger,
    /// The annotation retryable.dev/backfill.
    Backfill,
}

impl RunCause {
    /// Its value in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "Schedule",
            Self::Trigger => "Trigger",
            Self::Backfill => "Backfill",
        }
    }
}

/// A run that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ActiveRun {
    /// The name of its task.
    pub name: String,

    /// The UID of its task.
    pub uid: String,

    /// The time of the schedule that it is for; for a run by request, the time of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,

    /// Why there is a run: Schedule, Trigger or Backfill.
    #[schemars(with = "String")]
    pub cause: RunCause,
}

/// A run whose task does not exist yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannedRun {
    /// The name that its task gets.
    pub name: String,

    /// The time of the schedule that it is for; for a run by request, the time of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,

    /// Why there is a run: Schedule, Trigger or Backfill.
    #[schemars(with = "String")]
    pub cause: RunCause,

    /// Changes of the template's spec that the request asked for, as a JSON merge patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

/// The progress of a backfill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backfill {
    /// The value of the annotation.
    pub interval: String,

    /// Times after this one are still to be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<MicroTime>,

    /// The last moment of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,

    /// How many runs it has started.
    pub started: i32,

    /// How many times it left out because their task exists.
    pub existing: i32,
}

/// How many times were skipped, by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SkippedRuns {
    /// A run had not ended.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub overlap: i64,

    /// Nothing could be started in time, and missed leaves them out. At most 1,000 are counted at once.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub missed: i64,

    /// The API server refused the task until the next time came.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub rejected: i64,

    /// Skipped in a row since a run last started, because a run had not ended.
    #[serde(skip_serializing_if = "is_zero_long")]
    pub overlap_in_a_row: i64,
}

impl SkippedRuns {
    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
