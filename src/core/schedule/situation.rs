//! What is known of a schedule when it is decided, and what the decision is.

use super::requests::Request;
use crate::api::{ConditionReason, PlannedRun, RunCause, TaskSchedule, TaskScheduleStatus};
use jiff::{SignedDuration, Timestamp};

/// What is known of one schedule.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The schedule with its stored status.
    pub schedule: &'a TaskSchedule,
    /// The tasks of the schedule that exist, as far as the watch has shown them.
    pub runs: &'a [RunSnapshot],
    /// The wall clock.
    pub now: Timestamp,
    /// What this reconcile has learned from the API server.
    pub lookups: &'a Lookups,
}

/// What counts of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSnapshot {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion when it was read.
    pub resource_version: String,
    /// The number of its run: 1, and one more with each request to run again.
    pub number: i32,
    /// The time that it is for.
    pub scheduled_time: Option<Timestamp>,
    /// How it ended. None if it has not.
    pub end: Option<RunEnd>,
    /// Whether it is requested to cancel.
    pub is_cancelled: bool,
    /// Whether it must stay, whatever the history says: another task waits for it, or its creation may come a second time.
    pub is_awaited: bool,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Succeeded, failed or cancelled.
    pub result: RunResult,
    /// When the task ended: while the operator is away, none does.
    pub time: Timestamp,
    /// Until when a Pod of the task was at work. Not after `time`.
    pub work_until: Timestamp,
}

/// The result of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled, which is neither.
    Cancelled,
}

/// What a reconcile has learned from the API server.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// UIDs of tasks that do not exist any more.
    pub deleted: Vec<String>,
    /// UIDs of tasks that exist, although the watch has not shown them.
    pub existing: Vec<String>,
    /// The task that was created, or found under its name: name and UID.
    pub created: Option<(String, String)>,
    /// The creation that failed last, in this process.
    pub rejected: Option<RejectedRun>,
}

/// A task that could not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRun {
    /// Its name.
    pub name: String,
    /// The API server's message.
    pub message: String,
    /// Whether it is certain that it does not exist.
    pub is_certain: bool,
    /// Whether an object that is not the schedule's has its name.
    pub is_taken: bool,
    /// How long to wait before the next try.
    pub retry_in: SignedDuration,
}

/// What to do next: one request, or what the stored status lets happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Store this status, then decide again.
    WriteStatus(Box<TaskScheduleStatus>, Vec<Transition>),
    /// Look this task up: name and UID.
    LookUp(String, String),
    /// Create the task of this run.
    Create(PlannedRun),
    /// Nothing but these effects is left.
    Settled(Settled),
}

/// What the stored status lets happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Tasks to cancel.
    pub cancel: Vec<RunSnapshot>,
    /// Finished tasks to delete, if they are still as they were read: one that is run again since then stays.
    pub delete: Vec<RunSnapshot>,
    /// After how long to decide again. None: when something changes.
    pub wake_in: Option<SignedDuration>,
}

/// What a status write means, for log lines, metrics and Events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// A task was created.
    Started {
        /// Its name.
        name: String,
        /// Why.
        cause: RunCause,
        /// The time that it is for.
        time: Option<Timestamp>,
        /// How long after its start was due.
        late: SignedDuration,
    },
    /// A task has ended.
    Ended {
        /// Its name.
        name: String,
        /// Its result; None if it was deleted before it ended.
        result: Option<RunResult>,
    },
    /// Times were skipped.
    Skipped {
        /// Why.
        why: Skip,
        /// How many.
        count: i64,
        /// What happened, in a sentence.
        message: String,
    },
    /// So many runs failed in a row that nothing is started any more.
    Paused {
        /// What happened, in a sentence.
        message: String,
    },
    /// Nothing can be started.
    Stalled {
        /// Why.
        reason: ConditionReason,
        /// What is wrong, in a sentence.
        message: String,
    },
    /// A request by annotation was acknowledged.
    Acknowledged {
        /// Which.
        request: Request,
        /// What the operator did.
        effect: String,
    },
    /// An annotation under the operator's group is not a known request.
    UnknownAnnotation {
        /// What it could mean.
        effect: String,
    },
    /// All times of a backfill are started.
    BackfillFinished {
        /// How many, in a sentence.
        message: String,
    },
}

/// Why a time was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// A run had not ended.
    Overlap,
    /// Nothing could be started in time.
    Missed,
    /// The API server refused the task.
    Rejected,
}
