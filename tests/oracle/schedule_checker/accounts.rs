//! What becomes of each time, and how soon.

use super::super::{Trace, Violation};
use super::record::{ScheduleRecord, times_of};
use super::{is_stopped, minutes};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{RunCause, SkippedRuns, TaskScheduleStatus};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the operator may take for what is due, if nothing delays it.
const PROMPT: Duration = Duration::from_secs(20);
/// The same after faults: a reconcile that has failed is repeated after a minute at most.
const AFTER_FAULTS: Duration = Duration::from_secs(90);

pub fn check(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let ours = (0..record.versions.len()).filter(|index| record.versions[*index].by_operator);
    for pair in ours.collect::<Vec<_>>().windows(2) {
        accounted(record, (pair[0], pair[1]), violations);
    }
    for index in 0..record.versions.len() {
        soon(trace, record, index, violations);
    }
    missed_for_a_reason(trace, record, violations);
}

/// The times that two versions of the status have settled are as many as those that were planned and left out.
fn accounted(record: &ScheduleRecord, (before, after): (usize, usize), violations: &mut Vec<Violation>) {
    let spec = |index: usize| &record.versions[index].schedule.spec;
    let (old, new) = (record.status(before), record.status(after));
    let is_edited = times_of(spec(before)) != times_of(spec(after));
    if is_edited || is_stopped(record, before) || is_stopped(record, after) {
        return;
    }
    let (Some(from), Some(until)) = (&old.handled_time, &new.handled_time) else { return };
    let Some(times) = minutes::between(spec(after), from.0, until.0) else { return };
    let (had, has) = (own_runs(&old), own_runs(&new));
    let dropped = own_planned(&old).into_keys().filter(|name| !has.contains_key(name)).count();
    let planned: Vec<_> = has.iter().filter(|(name, _)| !had.contains_key(*name)).collect();
    let skipped = count(&new.skipped) - count(&old.skipped);
    let left_out = i64::try_from(times.len() + dropped).unwrap_or(0) - i64::try_from(planned.len()).unwrap_or(0);
    let of_others = planned.iter().find(|(_, time)| !time.is_some_and(|time| times.contains(&time)));
    if left_out != skipped || of_others.is_some() {
        let text = format!(
            "{}: at {:?} it settles {times:?}, gives up {dropped}, plans {planned:?}, and counts {skipped} as skipped",
            record.name, record.versions[after].at
        );
        violations.push(Violation::new("every time of a schedule is accounted for", text));
    }
}

fn count(skipped: &SkippedRuns) -> i64 {
    skipped.overlap + skipped.missed + skipped.rejected
}

/// The runs for times of the schedule that are planned.
fn own_planned(status: &TaskScheduleStatus) -> BTreeMap<String, Option<Timestamp>> {
    let all = status.creating.iter().chain(&status.waiting).filter(|run| run.cause == RunCause::Schedule);
    all.map(|run| (run.name.clone(), run.scheduled_time.as_ref().map(|time| time.0))).collect()
}

/// Those that are planned or active.
fn own_runs(status: &TaskScheduleStatus) -> BTreeMap<String, Option<Timestamp>> {
    let active = status.runs.iter().filter(|run| run.cause == RunCause::Schedule);
    let active = active.map(|run| (run.name.clone(), run.scheduled_time.as_ref().map(|time| time.0)));
    own_planned(status).into_iter().chain(active).collect()
}

/// No version stays for long once a time is due that it has not settled.
fn soon(trace: &Trace, record: &ScheduleRecord, index: usize, violations: &mut Vec<Violation>) {
    let version = &record.versions[index];
    if !trace.clock.is_empty() || is_stopped(record, index) || version.schedule.metadata.deletion_timestamp.is_some() {
        return;
    }
    let (spec, status) = (&version.schedule.spec, record.status(index));
    let slack = if trace.prompt { PROMPT } else { AFTER_FAULTS };
    let until = record.until(index, trace.end);
    let date = |at: Duration| trace.start + SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
    let created = version.schedule.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let Some(handled) = status.handled_time.as_ref().map(|time| time.0).or(created) else { return };
    let Some(times) = minutes::between(spec, handled, date(until)) else { return };
    let Some(first) = times.first() else { return };
    let splay = SignedDuration::from_secs(spec.splay_seconds.into());
    let due = Duration::try_from((*first + splay).duration_since(trace.start)).unwrap_or_default();
    let due = due.max(version.at).max(trace.calm_since);
    if due + slack < until {
        let text = format!("{}: {first} is not settled at {until:?}: {status:?}", record.name);
        violations.push(Violation::new("a schedule starts what is due soon", text));
    }
}

/// If nothing delays the operator, no time is missed but those of a suspension or a pause.
fn missed_for_a_reason(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    if !trace.prompt {
        return;
    }
    for (index, version) in record.versions.iter().enumerate().skip(1).filter(|(_, version)| version.by_operator) {
        let missed = record.status(index).skipped.missed - record.status(index - 1).skipped.missed;
        // The versions of a suspension show it, or one that has just ended.
        let was_stopped = index.saturating_sub(3)..=index;
        if missed > 0 && !was_stopped.into_iter().any(|index| is_stopped(record, index)) {
            let text = format!("{}: {missed} times are missed at {:?}", record.name, version.at);
            violations.push(Violation::new("no time is missed without a cause", text));
        }
    }
}
