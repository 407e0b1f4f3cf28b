//! A task waits for the tasks of `spec.after`, and no longer.

use super::{Trace, Violation, record::TaskRecord};
use retryable_tasks::{
    api::{AfterCondition, AfterStatus, RetryableTask, RetryableTaskStatus, State},
    core::dependency::TaskFact,
};
use std::time::Duration;

pub fn check(trace: &Trace, tasks: &[TaskRecord], violations: &mut Vec<Violation>) {
    for record in tasks {
        started_after(tasks, record, violations);
        if trace.converged {
            blocked_with_cause(tasks, record, violations);
        }
    }
}

/// The namespace's other task of that name and UID.
fn other<'a>(tasks: &'a [TaskRecord], record: &TaskRecord, name: &str, uid: Option<&str>) -> Option<&'a TaskRecord> {
    let namespace = record.name.split('/').next().unwrap_or_default();
    let name = format!("{namespace}/{name}");
    let mut named = tasks.iter().filter(|other| other.name == name);
    match uid {
        Some(uid) => named.find(|other| other.uid == uid),
        None => named.find(|other| other.deleted_at.is_none()),
    }
}

/// The first attempt of a run starts when each of the tasks had ended as it must, at some time before.
fn started_after(tasks: &[TaskRecord], record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pair in record.versions.windows(2) {
        let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
        let (before, after) = (status(&pair[0].1), status(&pair[1].1));
        if before.start_time.is_some() || after.start_time.is_none() {
            continue;
        }
        let (at, task) = (pair[1].0, &pair[1].1);
        // The write that starts it was decided on the spec that it says it has observed.
        if after.observed_generation != task.metadata.generation {
            continue;
        }
        for wanted in task.spec.after.iter().flatten() {
            let seen = after.after.iter().find(|seen| seen.task == wanted.task && seen.condition == wanted.condition);
            if !seen.is_some_and(|seen| seen.met && had_ended(tasks, record, seen, at)) {
                let text = format!("{}: it starts at {at:?}, and {wanted:?} does not hold: {seen:?}", record.name);
                violations.push(Violation::new("a task starts after those that it waits for", text));
            }
        }
    }
}

fn had_ended(tasks: &[TaskRecord], record: &TaskRecord, seen: &AfterStatus, at: Duration) -> bool {
    let Some(other) = other(tasks, record, &seen.task, seen.task_uid.as_deref()) else { return false };
    let deleted = other.deleted_at.is_some_and(|deleted| deleted <= at);
    let mut ends =
        other.versions.iter().filter(|(since, _)| *since <= at).filter_map(|(_, task)| TaskFact::of(task).end);
    (deleted && seen.condition == AfterCondition::Finished) || ends.any(|end| end.holds(seen.condition))
}

/// A task that is still blocked at the end waits for one that does not exist, or has not ended.
fn blocked_with_cause(tasks: &[TaskRecord], record: &TaskRecord, violations: &mut Vec<Violation>) {
    let status: RetryableTaskStatus = record.last_status();
    if record.deleted_at.is_some() || status.state != Some(State::Blocked) {
        return;
    }
    let waits = |seen: &AfterStatus| match other(tasks, record, &seen.task, seen.task_uid.as_deref()) {
        None => true,
        Some(other) => other.deleted_at.is_none() && TaskFact::of(other.last()).end.is_none(),
    };
    if !status.after.iter().any(|seen| !seen.met && waits(seen)) {
        let text = format!("{}: it stays blocked: {:?}", record.name, status.after);
        violations.push(Violation::new("a blocked task waits for something", text));
    }
}

/// The operator's deletion of a finished task, by its time to live, waits for those that wait for the task.
pub fn awaited_stay(trace: &Trace, tasks: &[TaskRecord], violations: &mut Vec<Violation>) {
    // A watch may be late.
    let known = Duration::from_secs(300);
    for write in
        trace.writes.iter().filter(|write| write.verb == "delete" && write.kind == "RetryableTask" && write.changed)
    {
        let at = write.called;
        let waits = |record: &&TaskRecord| {
            let namespace = record.name.split('/').next().unwrap_or_default();
            let of = |task: &RetryableTask| {
                let begun = task
                    .status
                    .as_ref()
                    .is_some_and(|status| status.start_time.is_some() || status.completion_time.is_some());
                let names = task.spec.after.iter().flatten();
                !begun && names.into_iter().any(|after| format!("{namespace}/{}", after.task) == write.object)
            };
            let since = at.saturating_sub(known);
            let during = record.versions.iter().enumerate().filter(|(index, (from, _))| {
                let until = record.versions.get(index + 1).map_or(Duration::MAX, |(next, _)| *next);
                *from <= at && until >= since
            });
            let mut during = during.map(|(_, (_, task))| task).peekable();
            let existed = record.versions.first().is_some_and(|(from, _)| *from <= since);
            existed
                && record.deletion_requested().is_none_or(|gone| gone > at)
                && during.peek().is_some()
                && during.all(of)
        };
        if let Some(record) = tasks.iter().find(waits) {
            let text = format!("{} is deleted at {at:?}, and {} waits for it", write.object, record.name);
            violations.push(Violation::new("a task that is awaited stays", text));
        }
    }
}
