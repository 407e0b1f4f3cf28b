//! What happens to runs that have ended, and what the schedule says of them at the end.

use super::super::{Trace, Violation, Write, record::TaskRecord};
use super::record::{Run, ScheduleRecord};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an edit of a schedule may take to be known.
const NEWS: Duration = Duration::from_secs(300);

pub fn check(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    deleted_when_recorded(trace, record, violations);
    if trace.converged && record.deleted_at.is_none() {
        limits(record, violations);
        says_what_runs(record, violations);
    }
}

/// A run that the operator deletes has ended, its schedule has recorded it, and its time to live or the history wants it gone.
fn deleted_when_recorded(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let is_deletion = |write: &&Write| write.kind == "RetryableTask" && write.verb == "delete" && write.changed;
    for write in trace.writes.iter().filter(is_deletion) {
        let at = write.done.unwrap_or(write.called);
        let Some(run) = record.runs.iter().find(|run| run.task.deleted_at == Some(at) && run.task.name == write.object)
        else {
            continue;
        };
        let Some(index) =
            record.version_at(write.called).filter(|_| record.deleted_at.is_none_or(|gone| gone > write.called))
        else {
            continue;
        };
        let status = record.status(index);
        let is_open = status.runs.iter().any(|active| active.uid == run.task.uid)
            || status.creating.is_some_and(|creating| creating.name == run.name());
        let ended = end_of(run.task, write.called);
        let is_wanted =
            run.task.last().spec.ttl_seconds_after_finished.is_some() || is_beyond(record, run, write.called);
        if is_open || ended.is_none() || !is_wanted {
            let text = format!(
                "{} is deleted at {:?}: open {is_open}, ended {ended:?}, wanted {is_wanted}",
                run.name(),
                write.called
            );
            violations.push(Violation::new("only a recorded run beyond the limits is deleted", text));
        }
    }
}

/// Whether it succeeded, and when it ended, if it had by then.
fn end_of(task: &TaskRecord, at: Duration) -> Option<(bool, jiff::Timestamp)> {
    let status = task.status_at(at)?;
    let end = status.completion_time.as_ref()?.0;
    Some((status.conditions.iter().any(|known| known.type_ == "Complete" && known.status == "True"), end))
}

/// Whether as many others have ended like it, not before it, as any limit allows that counted in the last minutes.
fn is_beyond(record: &ScheduleRecord, run: &Run, at: Duration) -> bool {
    let Some((succeeded, end)) = end_of(run.task, at) else { return false };
    let others = record.runs.iter().filter(|other| other.task.uid != run.task.uid);
    let is_there =
        |other: &&Run| other.created <= at && other.task.deleted_at.is_none_or(|gone| gone >= at.saturating_sub(NEWS));
    // One that has ended may be run again before the watch shows it.
    let ends = |task: &TaskRecord| {
        let since = at.saturating_sub(NEWS);
        let known = task.versions.iter().map(|(known, _)| *known).filter(|known| (since..=at).contains(known));
        known.chain([since, at]).filter_map(|known| end_of(task, known)).collect::<Vec<_>>()
    };
    let newer = others.filter(is_there).filter(|other| {
        let mut ends = ends(other.task).into_iter();
        ends.any(|(other_succeeded, other_end)| other_succeeded == succeeded && other_end >= end)
    });
    let (first, last) = (record.version_at(at.saturating_sub(NEWS)).unwrap_or(0), record.version_at(at).unwrap_or(0));
    let limit = (first..=last).map(|index| {
        let history = &record.versions[index].schedule.spec.history;
        if succeeded { history.succeeded } else { history.failed }
    });
    let limit = limit.min().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
    newer.count() >= limit
}

/// At the end no more finished runs are kept than the history says.
fn limits(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let history = &record.versions[record.versions.len() - 1].schedule.spec.history;
    for (succeeded, limit) in [(true, history.succeeded), (false, history.failed)] {
        let kept = record.runs.iter().filter(|run| run.task.deleted_at.is_none());
        let kept = kept.filter(|run| end_of(run.task, Duration::MAX).is_some_and(|(has, _)| has == succeeded)).count();
        if kept > usize::try_from(limit).unwrap_or(0) {
            let text =
                format!("{}: {kept} finished runs are kept (succeeded: {succeeded}), and {limit} wanted", record.name);
            violations.push(Violation::new("no more runs are kept than asked for", text));
        }
    }
}

/// At the end the status has the runs that have not ended, and no other.
fn says_what_runs(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let status = record.status(record.versions.len() - 1);
    let says: BTreeSet<&str> = status.runs.iter().map(|run| &*run.uid).collect();
    let unfinished = record.runs.iter().filter(|run| run.is_unfinished(Duration::MAX));
    let are: BTreeSet<&str> = unfinished.map(|run| &*run.task.uid).collect();
    let active = usize::try_from(status.active).unwrap_or(usize::MAX);
    if says != are || active != are.len() || status.creating.is_some() {
        let text = format!("{}: {are:?} have not ended, and the status says {status:?}", record.name);
        violations.push(Violation::new("a schedule says which runs have not ended", text));
    }
}
