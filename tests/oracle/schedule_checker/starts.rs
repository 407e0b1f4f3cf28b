//! What is started: once, after the status that names it, for a time that counts, beside no other.

use super::super::{Trace, Violation};
use super::record::{Run, ScheduleRecord, times_of};
use jiff::{SignedDuration, Timestamp};
use retryable_tasks::api::{Overlap, RunCause};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub fn check(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    named_first(record, violations);
    once(record, violations);
    planned_once(record, violations);
    after_edit(trace, record, violations);
    beside_no_other(record, violations);
    cancelled_for_another(trace, record, violations);
}

/// The status names a run before its task is created.
fn named_first(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    for run in &record.runs {
        if record.naming(run.name(), run.called).is_none() {
            let text =
                format!("{} is requested at {:?}, and no status of {} names it", run.name(), run.called, record.name);
            violations.push(Violation::new("a run is created after the status that names it", text));
        }
    }
}

/// A time has one task.
fn once(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let mut started: BTreeMap<Timestamp, &Run> = BTreeMap::new();
    for run in &record.runs {
        let Some(time) = run.time.filter(|_| run.cause(record) == Some(RunCause::Schedule)) else { continue };
        let Some(first) = started.insert(time, run) else { continue };
        // A task that others delete before its schedule knows of it is created again: the residual that the design states. So is one
        // whose second creation was requested before.
        let is_known = |at: Duration| {
            let index = record.version_at(at);
            index
                .is_some_and(|index| record.status(index).creating.is_none_or(|creating| creating.name != first.name()))
        };
        let deleted = first.task.deleted_at.unwrap_or(Duration::MAX);
        if first.deleted_by_operator || (is_known(deleted) && run.called > deleted) || deleted > run.created {
            let text = format!(
                "{}: {time} was started at {:?}, and again at {:?} (requested at {:?})",
                record.name, first.created, run.created, run.called
            );
            violations.push(Violation::new("a time of a schedule is started once", text));
        }
    }
}

/// A run that has been planned, and is planned no more, is not planned again.
fn planned_once(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let mut before: BTreeSet<String> = BTreeSet::new();
    for index in 0..record.versions.len() {
        let planned = record.planned(index);
        let own = planned.into_values().filter(|run| run.cause != RunCause::Backfill).map(|run| run.name);
        let now: BTreeSet<String> = own.collect();
        if let Some(again) = now.iter().find(|name| gone.contains(*name)) {
            let text = format!("{}: {again} is planned again at {:?}", record.name, record.versions[index].at);
            return violations.push(Violation::new("a time of a schedule is started once", text));
        }
        gone.extend(before.difference(&now).cloned());
        before = now;
    }
}

/// Only times count that come after the schedule was created, and after its times were last edited.
fn after_edit(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    let date = |at: Duration| trace.start + SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut observed: Option<usize> = None;
    let mut since = record.versions.first().map_or(Duration::ZERO, |version| version.at);
    for (index, version) in record.versions.iter().enumerate() {
        if !version.by_operator {
            continue;
        }
        let times = |index: usize| times_of(&record.versions[index].schedule.spec);
        let is_edited = observed.map_or(times(0) != times(index), |before| times(before) != times(index));
        if is_edited {
            let edit = (1..=index).rev().find(|index| times(*index) != times(index - 1));
            since = edit.map_or(since, |edit| record.versions[edit].at);
        }
        observed = Some(index);
        let planned = record.planned(index);
        for run in planned.values().filter(|run| run.cause == RunCause::Schedule && !known.contains(&run.name)) {
            // Times have whole seconds. A clock that is behind takes an edit for one that is to come.
            let counts = run.scheduled_time.as_ref().is_none_or(|time| time.0 > date(since));
            if !counts && trace.clock.is_empty() {
                let text = format!(
                    "{}: {} is planned at {:?}, and the times count since {}",
                    record.name,
                    run.name,
                    version.at,
                    date(since)
                );
                violations.push(Violation::new("no run is for a time before an edit", text));
            }
        }
        known.extend(planned.into_keys());
    }
}

/// Unless runs may overlap, one starts when all others have ended.
fn beside_no_other(record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    for run in &record.runs {
        let Some((index, _)) = record.naming(run.name(), run.called) else { continue };
        let version = first_naming(record, run.name(), index);
        if record.versions[version].schedule.spec.overlap == Overlap::Allow {
            continue;
        }
        let at = record.versions[version].at;
        // What is run again begins without its schedule.
        let goes_on = |other: &&Run| other.is_unfinished(at) && other.task.uid != run.task.uid && !other.ran_again();
        if let Some(other) = record.runs.iter().find(goes_on) {
            let text = format!("{} was to start at {at:?}, and {} goes on", run.name(), other.name());
            violations.push(Violation::new("runs do not overlap unless they may", text));
        }
    }
}

/// The version that first says that this task is being created, of those that say so up to `index` without a break.
fn first_naming(record: &ScheduleRecord, name: &str, index: usize) -> usize {
    let names = |index: &usize| record.status(*index).creating.is_some_and(|creating| creating.name == name);
    (0..=index).rev().take_while(names).last().unwrap_or(index)
}

/// The operator cancels a run for another that waits, where `overlap` is Replace.
fn cancelled_for_another(trace: &Trace, record: &ScheduleRecord, violations: &mut Vec<Violation>) {
    for write in trace.writes.iter().filter(|write| write.kind == "RetryableTask" && write.verb == "patch") {
        let uid = write.body.as_ref().map(|body| &body["metadata"]["uid"]);
        let is_own = |run: &&Run| uid.is_some_and(|uid| *uid == run.task.uid.as_str());
        let Some(run) = record.runs.iter().find(is_own).filter(|_| write.changed) else { continue };
        let Some(index) = record.version_at(write.called) else { continue };
        // The spec may have been edited since it was read.
        let since = write.called.saturating_sub(Duration::from_secs(60));
        let replaces = |index: usize| {
            let version = &record.versions[index];
            version.schedule.spec.overlap == Overlap::Replace && !record.status(index).waiting.is_empty()
        };
        let first = record.version_at(since).unwrap_or(0);
        if !(first..=index).any(replaces) {
            let text = format!("{} is cancelled at {:?}, and nothing waits for its end", run.name(), write.called);
            violations.push(Violation::new("a run is cancelled for another that waits", text));
        }
    }
}
