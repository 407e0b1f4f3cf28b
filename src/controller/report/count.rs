//! What the metrics count of a task's transitions.

use crate::api::{Action, ConditionReason, HistoryEntry, RetryableTask, RetryableTaskStatus};
use crate::core::decide::Transition;
use crate::telemetry::metrics::{AttemptResult, EndedAttempt, FinishedTask, Metrics, TaskIdentity, TaskResult};
use jiff::Timestamp;
use std::time::Duration;

/// Whose metrics they are.
pub fn identity(task: &RetryableTask) -> TaskIdentity<'_> {
    TaskIdentity {
        namespace: task.metadata.namespace.as_deref().unwrap_or_default(),
        queue: task.spec.queue.as_ref().map(|queue| queue.name.as_str()).unwrap_or_default(),
        labels: task.metadata.labels.as_ref(),
    }
}

/// Counts a transition of `task`, whose status has been stored.
pub fn count(metrics: &Metrics, task: &RetryableTask, transition: &Transition) {
    match transition {
        Transition::Ended { entry, wait, line: _ } => {
            metrics.attempt_ended(&identity(task), &ended_attempt(task.status.as_ref(), entry));
            if let Some(wait) = wait {
                metrics.retry_scheduled(Duration::try_from(wait.delay).unwrap_or_default());
            }
        }
        Transition::Finished { succeeded, reason, message: _ } => {
            metrics.task_finished(&identity(task), &finished_task(task.status.as_ref(), *succeeded, *reason));
        }
        Transition::Started { .. }
        | Transition::Rescheduled { .. }
        | Transition::FallingBack { .. }
        | Transition::Acknowledged { .. }
        | Transition::Stalled { .. }
        | Transition::ContainersStopped { .. }
        | Transition::UnknownAnnotation { .. }
        | Transition::MemoryRaiseRejected { .. }
        | Transition::HeldUp { .. } => {}
    }
}

fn ended_attempt<'a>(status: Option<&RetryableTaskStatus>, entry: &'a HistoryEntry) -> EndedAttempt<'a> {
    let result = match entry.action {
        Action::Complete => AttemptResult::Succeeded,
        Action::Ignore => AttemptResult::Ignored,
        Action::Retry | Action::Fail | Action::Unknown => AttemptResult::Failed,
    };
    let times = entry.start_time.as_ref().zip(entry.finish_time.as_ref());
    EndedAttempt {
        result,
        reason: &entry.reason,
        is_retry: entry.attempt > status.map_or(1, first_attempt),
        took: times.map(|(start, finish)| between(start.0, finish.0)),
    }
}

fn finished_task(status: Option<&RetryableTaskStatus>, succeeded: bool, reason: ConditionReason) -> FinishedTask {
    let result = match reason {
        ConditionReason::PartiallySucceeded => TaskResult::Partial,
        _ if succeeded => TaskResult::Succeeded,
        _ => TaskResult::Failed,
    };
    let attempts = status.map_or(0, |status| status.attempts.saturating_sub(first_attempt(status)).saturating_add(1));
    let recovered_after = status.filter(|_| succeeded).and_then(|status| {
        let end = status.completion_time.as_ref()?.0;
        Some(between(first_failure(status)?, end))
    });
    FinishedTask { result, reason, attempts: u32::try_from(attempts).unwrap_or(0), recovered_after }
}

/// The number of the first attempt of the task's run.
fn first_attempt(status: &RetryableTaskStatus) -> i32 {
    status.run.map_or(1, |run| run.first_attempt)
}

/// When an attempt of the run first failed. If its entry was dropped from a long history: when the run began.
fn first_failure(status: &RetryableTaskStatus) -> Option<Timestamp> {
    let first = first_attempt(status);
    let of_run = || status.history.iter().filter(move |entry| entry.attempt >= first);
    // A suspension is no failure.
    let is_failure = |entry: &&std::sync::Arc<HistoryEntry>| match entry.action {
        Action::Retry | Action::Fail => true,
        Action::Ignore | Action::Unknown => entry.rule.is_some(),
        Action::Complete => false,
    };
    if of_run().next().is_some_and(|entry| entry.attempt == first) {
        return of_run().find(is_failure)?.finish_time.as_ref().map(|time| time.0);
    }
    status.start_time.as_ref().map(|time| time.0)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
