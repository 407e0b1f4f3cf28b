//! The `TaskSchedule` resource: its spec.

use super::cron::{self, Of};
use super::{TaskScheduleStatus, schema};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

const NO_ZONE: &str = "!self.contains('TZ=')";
const NO_ZONE_MESSAGE: &str = "a schedule has no TZ= prefix: remove it, and set spec.timeZone to the zone";

/// When to run a task, and what to do with times that overlap or were missed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "retryable.dev",
    version = "v1alpha1",
    kind = "TaskSchedule",
    plural = "taskschedules",
    singular = "taskschedule",
    shortname = "tsch",
    category = "all",
    namespaced,
    status = "TaskScheduleStatus",
    derive = "PartialEq",
    doc = "A schedule that creates a RetryableTask at each of its times, as a CronJob creates Jobs.",
    validation = Rule::new("self.metadata.name.size() <= 49").message("the schedule's name goes into its tasks' names, which have at most 63 characters: use at most 49"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule", description = "Minute, hour, day of the month, month, day of the week"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone", description = "The time zone of the schedule"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Scheduled, Suspended, Paused or Stalled"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active", description = "Runs that have not ended"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime", description = "The time of the newest run"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", description = "When the next run starts"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Schedules", type_ = "string", json_path = ".spec.schedules", description = "All of them, if it has more than one", priority = 1),
    printcolumn(name = "Last-Success", type_ = "date", json_path = ".status.lastSuccessTime", description = "When the last run succeeded", priority = 1),
    printcolumn(name = "Failures", type_ = "integer", json_path = ".status.consecutiveFailures", description = "Runs that have failed in a row", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "Why nothing is scheduled, or why times were skipped", priority = 1)
)]
#[x_kube(
    validation = Rule::new("has(self.schedule) != has(self.schedules)")
        .message("set spec.schedule, or spec.schedules for a list of up to eight, and not both")
)]
pub struct TaskScheduleSpec {
    /// When a run is due: minute, hour, day of the month, month and day of the week, as in a CronJob; or @hourly, @daily, @weekly, @monthly,
    /// @yearly. L is the last day of the month, MON#2 the second Monday. If both days are given, one of them must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = cron::shape(Of::One))]
    #[x_kube(validation = cron::minute(Of::One))]
    #[x_kube(validation = cron::hour(Of::One))]
    #[x_kube(validation = cron::day(Of::One))]
    #[x_kube(validation = cron::month(Of::One))]
    #[x_kube(validation = cron::weekday(Of::One))]
    #[x_kube(validation = cron::range_goes_up(Of::One))]
    #[x_kube(validation = Rule::new(NO_ZONE).message(NO_ZONE_MESSAGE))]
    pub schedule: Option<String>,

    /// Up to eight schedules, instead of one: a run is due at the times of each. A time that several of them have counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(max = 256)))]
    #[x_kube(validation = cron::shape(Of::Each))]
    #[x_kube(validation = cron::minute(Of::Each))]
    #[x_kube(validation = cron::hour(Of::Each))]
    #[x_kube(validation = cron::day(Of::Each))]
    #[x_kube(validation = cron::month(Of::Each))]
    #[x_kube(validation = cron::weekday(Of::Each))]
    #[x_kube(validation = cron::range_goes_up(Of::Each))]
    #[x_kube(validation = Rule::new("self.all(s, !s.contains('TZ='))").message(NO_ZONE_MESSAGE))]
    pub schedules: Option<Vec<String>>,

    /// The IANA name of the time zone that the times are in, such as Europe/Stockholm. Where a clock is put forward, a fixed time that does
    /// not exist runs when the clock changes; where it is put back, one that comes twice runs the first time. Minutes or hours with * or /
    /// follow the clock: they run in each hour that there is. The database of zones is in the operator.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// Start all runs later by the same number of seconds, from 0 to this, which follows from the schedule's UID. So many schedules for the
    /// same minute do not start at once. status.nextScheduleTime has it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86400))]
    pub splay_seconds: i32,

    /// What to do when a time comes and a run has not ended; one that waits for a retry has not. Skip: the time is skipped. Queue: one run
    /// waits, for the newest such time. Allow: it starts, up to 100 at a time. Replace: the runs are cancelled, and it starts when they have
    /// ended.
    #[serde(default)]
    pub overlap: Overlap,

    /// What to do with times that passed while nothing could be started.
    #[serde(default)]
    pub missed: Missed,

    /// The next start is the deadline of a run: it sets activeDeadlineSeconds of the task and, with a queue or after, queue.maxWaitSeconds and afterTimeoutSeconds, unless the template has a shorter one.
    #[serde(default)]
    pub end_before_next: bool,

    /// Pause after so many failed runs in a row; 0 means never. The condition Paused says so. The annotation retryable.dev/resume ends the
    /// pause, and so does a run that succeeds, such as one that the annotation retryable.dev/trigger starts.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub pause_after_failures: i32,

    /// While true, no time of the schedule starts a run. Runs that have started go on. The times that pass are not missed, unless
    /// missed.policy is All.
    #[serde(default)]
    pub suspend: bool,

    /// How many of its finished tasks to keep. The newest are kept.
    #[serde(default)]
    pub history: RunHistory,

    /// The RetryableTask of each run. Its containers get RETRYABLE_SCHEDULED_TIME beside the variables of every task.
    pub template: TaskTemplate,
}

/// What to do when a time comes and a run has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overlap {
    /// The time is skipped.
    #[default]
    Skip,
    /// One run waits.
    Queue,
    /// It starts beside the others.
    Allow,
    /// The others are cancelled first.
    Replace,
}

/// What to do with times that passed while nothing could be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Missed {
    /// Latest (default): start the newest of them. All: start each, one after another, oldest first; also those that passed while the
    /// schedule was suspended or paused. Skip: start none.
    #[serde(default)]
    pub policy: MissedPolicy,

    /// How late a run may start, in seconds. A time is missed after 60 s; an older one than this is skipped by every policy.
    #[serde(default = "default_within")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub within_seconds: i32,

    /// How many times the policy All starts at most. The newest of them are taken.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub limit: i32,
}

/// Which missed times are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MissedPolicy {
    /// None.
    Skip,
    /// The newest.
    #[default]
    Latest,
    /// Each.
    All,
}

impl Default for Missed {
    fn default() -> Self {
        Self { policy: MissedPolicy::default(), within_seconds: default_within(), limit: default_limit() }
    }
}

/// How many finished tasks to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunHistory {
    /// Tasks to keep that succeeded. Default 3.
    #[serde(default = "default_succeeded")]
    #[schemars(range(min = 0, max = 1000))]
    pub succeeded: i32,

    /// Tasks to keep that failed or were cancelled. Default 5.
    #[serde(default = "default_failed")]
    #[schemars(range(min = 0, max = 1000))]
    pub failed: i32,
}

impl Default for RunHistory {
    fn default() -> Self {
        Self { succeeded: default_succeeded(), failed: default_failed() }
    }
}

/// The RetryableTask of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskTemplate {
    /// Labels and annotations of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,

    /// The task's spec. It has the same fields and rules: kubectl explain retryabletask.spec
    #[schemars(schema_with = "schema::task_spec")]
    pub spec: Value,
}

/// Labels and annotations of the task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMetadata {
    /// Labels of the task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn default_time_zone() -> String {
    "Etc/UTC".into()
}

const fn default_within() -> i32 {
    3600
}

const fn default_limit() -> i32 {
    10
}

const fn default_succeeded() -> i32 {
    3
}

const fn default_failed() -> i32 {
    5
}
