//! What a queue has to know of a task, from its stored status.

use super::failures::{CIRCUIT, is_of_the_cluster, matches_entry};
use super::line::Uid;
use super::votes::Verdict;
use crate::api::{Action, HistoryEntry, RetryableTask, RetryableTaskStatus, ServiceFailures};
use crate::core::decide::is_finished;
use crate::core::end_text::reason_and_code;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// What a queue has to know of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFacts {
    /// UID of the task.
    pub uid: Uid,
    /// Its name.
    pub name: Arc<str>,
    /// Its version, which orders what is known of it.
    pub version: u64,
    /// The queue that its spec names.
    pub queue: Option<Arc<str>>,
    /// Its fairness key.
    pub fairness_key: Arc<str>,
    /// The slot that its current attempt holds.
    pub held: Option<Held>,
    /// Whether the next attempt waits for its time.
    pub is_waiting: bool,
    /// Whether its next attempt is due.
    pub is_due: bool,
    /// Whether it has ended.
    pub is_finished: bool,
    /// The last attempt that ended.
    pub last_end: Option<End>,
}

/// The slot of an attempt under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Name of the queue.
    pub queue: Arc<str>,
    /// The attempt's number.
    pub attempt: i32,
    /// Whether it is not the first of its run.
    pub is_retry: bool,
    /// When the operator decided to create its Pod.
    pub since: Option<Timestamp>,
    /// Whether something keeps its main container from starting.
    pub is_held_up: bool,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// As the history has it.
    pub entry: Arc<HistoryEntry>,
    /// Whether this end ended the task because no retry was left.
    pub exhausted: bool,
}

impl TaskFacts {
    /// Of the task as it is stored at `now`. None if it has nothing to do with a queue.
    pub fn of(task: &RetryableTask, now: Timestamp) -> Option<Self> {
        let none = RetryableTaskStatus::default();
        let status = task.status.as_ref().unwrap_or(&none);
        let current = status.current.as_ref();
        let slot = current.and_then(|current| current.queue.as_ref());
        let spec = task.spec.queue.as_ref();
        if spec.is_none() && slot.is_none() {
            return None;
        }
        let first = status.run.map_or(1, |run| run.first_attempt);
        let finished = is_finished(&status.conditions);
        let held = current.zip(slot).filter(|_| !finished).map(|(current, slot)| Held {
            queue: slot.name.as_str().into(),
            attempt: current.number,
            is_retry: current.number > first,
            since: current.create_time.as_ref().map(|at| at.0),
            is_held_up: current.hold_up.is_some(),
        });
        let may_start = !finished && held.is_none() && !task.spec.suspend && task.metadata.deletion_timestamp.is_none();
        let is_open = may_start && current.is_none_or(|current| !current.fallback);
        let due = current.and_then(|current| current.next_create_time.as_ref().or(current.due_time.as_ref()));
        let is_later = due.is_some_and(|due| due.0 > now);
        Some(Self {
            uid: task.metadata.uid.as_deref().unwrap_or_default().into(),
            name: task.metadata.name.as_deref().unwrap_or_default().into(),
            version: task.metadata.resource_version.as_deref().and_then(|it| it.parse().ok()).unwrap_or(0),
            queue: spec.map(|queue| queue.name.as_str().into()),
            fairness_key: spec.and_then(|queue| queue.fairness_key.as_deref()).unwrap_or_default().into(),
            held,
            is_waiting: is_open && is_later,
            is_due: is_open && !is_later,
            is_finished: finished,
            last_end: last_end(status),
        })
    }
}

fn last_end(status: &RetryableTaskStatus) -> Option<End> {
    let entry = status.history.last()?.clone();
    Some(End { entry, exhausted: status.exhausted_budget.is_some() })
}

impl End {
    /// How long the attempt asked that nobody call the service.
    pub fn retry_after(&self) -> Option<SignedDuration> {
        self.entry.retry_after_seconds.map(|seconds| SignedDuration::from_secs(seconds.max(0)))
    }

    /// What it says of a service whose failures are these. `None`: every failure that is charged.
    pub fn verdict(&self, failures: Option<&ServiceFailures>) -> Verdict {
        let Self { entry, exhausted } = self;
        if entry.action == Action::Complete {
            return Verdict::Success;
        }
        let failed = match failures {
            _ if entry.rule.as_deref() == Some(CIRCUIT) => true,
            Some(failures) => matches_entry(failures, entry),
            None => is_charged(entry, *exhausted),
        };
        if failed { Verdict::Failure(cause(entry)) } else { Verdict::Neutral }
    }
}

/// Whether a retry was charged for the end, or would have been if one had been left.
fn is_charged(entry: &HistoryEntry, exhausted: bool) -> bool {
    let charged = entry.action == Action::Retry || entry.action == Action::Fail && exhausted;
    charged && !is_of_the_cluster(entry.rule.as_deref())
}

/// The cause in short.
fn cause(entry: &HistoryEntry) -> String {
    entry.error_type.clone().unwrap_or_else(|| reason_and_code(&entry.reason, entry.exit_code))
}
