//! A task waits for `startAt` and for the tasks of `spec.after`, and no longer.

use super::{Trace, Violation, record::TaskRecord};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::{
    api::{AfterCondition, AfterStatus, RetryableTask, RetryableTaskStatus, State},
    core::dependency::TaskFact,
};
use std::time::Duration;

pub fn check(trace: &Trace, tasks: &[TaskRecord], violations: &mut Vec<Violation>) {
    for record in tasks {
        start_at_is_kept(trace, record, violations);
        started_after(tasks, record, violations);
        failed_with_cause(tasks, record, violations);
        if trace.converged {
            blocked_with_cause(tasks, record, violations);
        }
    }
}

/// The first attempt of a run does not start before `startAt`, by the operator's clock.
fn start_at_is_kept(trace: &Trace, record: &TaskRecord, violations: &mut Vec<Violation>) {
    for pair in record.versions.windows(2) {
        let status = |task: &RetryableTask| task.status.clone().unwrap_or_default();
        let (before, after) = (status(&pair[0].1), status(&pair[1].1));
        let (at, task) = (pair[1].0, &pair[1].1);
        // A user may skip the wait while the task is suspended, too.
        let is_of_run = |task: &RetryableTask| status(task).run == after.run;
        let from = record.versions.iter().find(|(_, task)| is_of_run(task)).map_or(at, |(from, _)| *from);
        let starts = before.start_time.is_none() && after.start_time.is_some();
        // The write that starts it was decided on the spec that it says it has observed.
        let is_of_spec = after.observed_generation == task.metadata.generation;
        let wanted = task.spec.start_at.as_ref().filter(|_| starts && is_of_spec);
        let Some(wanted) = wanted.and_then(|text| text.parse::<Timestamp>().ok()) else { continue };
        let marks = trace.clock.iter().filter(|mark| mark.at <= at).map(|mark| mark.ahead);
        let ahead = marks.chain([SignedDuration::ZERO]).max().unwrap_or_default();
        let now = trace.start + SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX) + ahead;
        if now < wanted && !record.wait_was_skipped(from, at) {
            let text = format!("{}: the first attempt starts at {at:?}, {now}, and not at {wanted}", record.name);
            violations.push(Violation::new("the first attempt waits for startAt", text));
        }
    }
}

/// How a task ended: whether it succeeded, in whole or in part.
fn end_of(task: &RetryableTask) -> Option<bool> {
    let conditions = &task.status.as_ref()?.conditions;
    let is_true = |type_: &str| conditions.iter().any(|known| known.type_ == type_ && known.status == "True");
    if is_true("Complete") { Some(true) } else { is_true("Failed").then_some(false) }
}

fn holds(condition: AfterCondition, succeeded: bool) -> bool {
    match condition {
        AfterCondition::Succeeded => succeeded,
        AfterCondition::Failed => !succeeded,
        AfterCondition::Finished => true,
    }
}

/// A task that fails for one of `spec.after` names one that is gone, or that ended otherwise at some time before.
fn failed_with_cause(tasks: &[TaskRecord], record: &TaskRecord, violations: &mut Vec<Violation>) {
    let failed_for_others = |task: &RetryableTask| {
        let conditions = task.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|known| known.type_ == "Failed" && known.reason == "DependencyFailed")
    };
    let Some((at, task)) = record.versions.iter().find(|(_, task)| failed_for_others(task)) else { return };
    let namespace = record.name.split('/').next().unwrap_or_default();
    let seen = task.status.iter().flat_map(|status| &status.after);
    let broke = |seen: &AfterStatus| {
        let name = format!("{namespace}/{}", seen.task);
        tasks.iter().filter(|other| other.name == name).any(|other| {
            let gone = other.deletion_requested().is_some_and(|gone| gone <= *at);
            let before = other.versions.iter().filter(|(since, _)| since <= at);
            gone || before.filter_map(|(_, task)| end_of(task)).any(|succeeded| !holds(seen.condition, succeeded))
        })
    };
    if !seen.into_iter().any(broke) {
        let text = format!("{}: it fails at {at:?}, and nothing of {:?} did", record.name, task.spec.after);
        violations.push(Violation::new("a task fails for another that cannot end as it must", text));
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
    let mut ends = other.versions.iter().filter(|(since, _)| *since <= at).filter_map(|(_, task)| end_of(task));
    (deleted && seen.condition == AfterCondition::Finished) || ends.any(|succeeded| holds(seen.condition, succeeded))
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
