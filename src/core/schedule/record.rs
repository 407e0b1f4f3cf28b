//! What has happened to the runs is recorded.

use super::draft::Draft;
use super::situation::{RunEnd, RunResult, RunSnapshot, Transition};
use super::times::skip_overlapped;
use crate::api::{ActiveRun, PlannedRun, RunCause};
use crate::core::time::until;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Records the ends of runs. Returns a run that is neither known to exist nor to be deleted: it must be looked up.
pub(super) fn ends(draft: &mut Draft) -> Option<(String, String)> {
    let situation = draft.situation;
    let mut ended: Vec<(ActiveRun, Option<RunEnd>)> = Vec::new();
    let mut active = Vec::new();
    for run in std::mem::take(&mut draft.status.runs) {
        let known = situation.runs.iter().find(|known| known.uid == run.uid);
        match known {
            Some(RunSnapshot { end: None, .. }) => active.push(run),
            Some(RunSnapshot { end, .. }) => ended.push((run, *end)),
            None if situation.lookups.existing.contains(&run.uid) => active.push(run),
            None if situation.lookups.deleted.contains(&run.uid) => ended.push((run, None)),
            None => return Some((run.name, run.uid)),
        }
    }
    draft.status.runs = active;
    ended.sort_by_key(|(_, end)| end.map(|end| end.time));
    for (run, end) in ended {
        if let Some(RunEnd { result, time, work_until }) = end {
            count(draft, result, time);
            skip_overlapped(draft, &run, work_until);
        }
        draft.transitions.push(Transition::Ended { name: run.name, result: end.map(|end| end.result) });
    }
    None
}

fn count(draft: &mut Draft, result: RunResult, time: Timestamp) {
    let status = &mut draft.status;
    match result {
        RunResult::Succeeded => {
            status.consecutive_failures = 0;
            status.last_success_time = status.last_success_time.take().max(Some(Time(time)));
        }
        RunResult::Failed => {
            status.consecutive_failures = status.consecutive_failures.saturating_add(1);
            status.last_failure_time = status.last_failure_time.take().max(Some(Time(time)));
        }
        RunResult::Cancelled => {}
    }
}

/// Records that the task of the planned run exists; and tasks that run although no record says so, such as one that is
/// run again.
pub(super) fn starts(draft: &mut Draft) {
    let (situation, timetable) = (draft.situation, draft.timetable);
    let created = draft.status.creating.as_ref().and_then(|planned| {
        let answered = situation.lookups.created.as_ref().filter(|(name, _)| *name == planned.name);
        let seen = || situation.runs.iter().find(|run| run.name == planned.name).map(|run| run.uid.clone());
        answered.map(|(_, uid)| uid.clone()).or_else(seen)
    });
    if let Some(uid) = created
        && let Some(PlannedRun { name, scheduled_time, cause, patch: _ }) = draft.status.creating.take()
    {
        let time = scheduled_time.as_ref().map(|time| time.0);
        let due =
            time.map(
                |time| if cause == RunCause::Schedule { timetable.map_or(time, |of| of.start_of(time)) } else { time },
            );
        let late = due.map(|due| until(due, situation.now)).unwrap_or_default();
        draft.transitions.push(Transition::Started { name: name.clone(), cause, time, late });
        if cause == RunCause::Schedule {
            draft.status.last_schedule_time = draft.status.last_schedule_time.take().max(scheduled_time.clone());
        }
        draft.status.runs.push(ActiveRun { name, uid, scheduled_time, cause });
    }
    for run in situation.runs.iter().filter(|run| run.end.is_none()) {
        let is_planned = draft.status.creating.as_ref().is_some_and(|planned| planned.name == run.name);
        if !is_planned && !draft.status.runs.iter().any(|active| active.uid == run.uid) {
            let scheduled_time = run.scheduled_time.map(Time);
            let (name, uid) = (run.name.clone(), run.uid.clone());
            draft.status.runs.push(ActiveRun { name, uid, scheduled_time, cause: RunCause::Trigger });
        }
    }
}
