//! The failures that a task's status tells of.

use super::{Fingerprint, pattern};
use crate::api::{Action, ConditionReason, ConditionType, HistoryEntry, RetryableTask};
use crate::core::classify::DISRUPTION;
use crate::core::condition_list;
use crate::core::decide::is_finished;
use crate::core::excerpt;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use jiff::Timestamp;

/// Which task.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl TaskId {
    /// That of the task.
    pub fn of(task: &RetryableTask) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { namespace: text(&task.metadata.namespace), name: text(&task.metadata.name) }
    }
}

/// One failure of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose it is.
    pub task: TaskId,
    /// The attempt that failed. None if there was none: the task stands still, or has failed without one.
    pub attempt: Option<i32>,
    /// Why.
    pub reason: String,
    /// The exit code, if a container ended.
    pub exit_code: Option<i32>,
    /// The kind of error that the task reported.
    pub error_type: Option<String>,
    /// The message, in one line. Empty if there is none.
    pub message: String,
    /// When it happened, if that is known.
    pub time: Option<Timestamp>,
}

impl Failure {
    /// What it has in common with failures of the same cause.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            reason: self.reason.clone(),
            exit_code: self.exit_code,
            error_type: self.error_type.clone(),
            pattern: pattern(&self.message),
        }
    }
}

/// All failures that the status tells of, the oldest first: the attempts of the history that failed; the last failure, if the history has
/// dropped it; the end without an attempt; what the task stands still for. Attempts that the operator stopped on request are none.
pub fn failures(task: &RetryableTask) -> Vec<Failure> {
    let Some(status) = &task.status else { return Vec::new() };
    let id = TaskId::of(task);
    let mut all: Vec<Failure> =
        status.history.iter().filter(|entry| is_failure(entry)).map(|entry| of_entry(&id, entry)).collect();
    let last = status.last_failure.as_ref();
    if let Some(last) = last.filter(|last| status.history.iter().all(|entry| entry.attempt != last.attempt)) {
        all.push(Failure {
            task: id.clone(),
            attempt: Some(last.attempt),
            reason: last.reason.clone(),
            exit_code: last.exit_code,
            error_type: None,
            message: last.message.clone().unwrap_or_default(),
            time: status.completion_time.as_ref().map(|at| at.0),
        });
    }
    all.extend(without_attempt(task, &id));
    all
}

/// The failure that the task stands at: what keeps it from starting, or why it failed, else its last failure. None if it has none, or has
/// succeeded.
pub fn last_failure(task: &RetryableTask) -> Option<Failure> {
    let conditions = &task.status.as_ref()?.conditions;
    if condition_list::is_true(conditions, ConditionType::Complete) {
        return None;
    }
    failures(task).pop()
}

/// Whether it is a failure of the workload or of the cluster, and not a stop on request.
fn is_failure(entry: &HistoryEntry) -> bool {
    match entry.action {
        Action::Retry | Action::Fail => entry.reason != ConditionReason::Cancelled.as_str(),
        Action::Ignore | Action::Unknown => entry.rule.is_some(),
        Action::Complete => false,
    }
}

fn of_entry(task: &TaskId, entry: &HistoryEntry) -> Failure {
    Failure {
        task: task.clone(),
        attempt: Some(entry.attempt),
        reason: entry.reason.clone(),
        exit_code: entry.exit_code,
        error_type: entry.error_type.clone(),
        message: line(entry),
        time: entry.finish_time.as_ref().map(|at| at.0),
    }
}

/// The line of the message that says most. A termination report and the cluster say it first, a log says it last.
fn line(entry: &HistoryEntry) -> String {
    let text = entry.message.as_deref().unwrap_or_default();
    let is_said_first =
        entry.error_type.is_some() || entry.exit_code.is_none() || entry.rule.as_deref() == Some(DISRUPTION);
    let line = if is_said_first { excerpt::first_line(text) } else { excerpt::last_line(text) };
    line.unwrap_or_default().to_owned()
}

/// What is wrong beside the attempts that have ended.
fn without_attempt(task: &RetryableTask, id: &TaskId) -> Option<Failure> {
    let conditions = &task.status.as_ref()?.conditions;
    let condition = if is_finished(conditions) {
        let ends =
            [ConditionReason::DependencyFailed, ConditionReason::DependencyTimeout, ConditionReason::QueueTimeout];
        condition_list::find(conditions, ConditionType::Failed)
            .filter(|failed| ends.iter().any(|end| end.as_str() == failed.reason))
    } else {
        condition_list::find(conditions, ConditionType::Stalled)
    };
    let condition = condition.filter(|condition| condition.status == "True")?;
    Some(Failure {
        task: id.clone(),
        attempt: None,
        reason: condition.reason.clone(),
        exit_code: None,
        error_type: None,
        message: short(&condition.message, MAX_MESSAGE_BYTES).replace('\n', " "),
        time: Some(condition.last_transition_time.0),
    })
}
