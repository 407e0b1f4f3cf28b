//! A run whose task the API server rejects holds up nothing else.

use super::draft::Draft;
use super::situation::{RejectedRun, Skip, Transition};
use crate::api::{Backfill, PlannedRun, RunCause};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// A run whose task the API server has rejected so far makes way for the next time, or the next request. One of a backfill is tried
/// again later: what rejects it would reject the rest as well.
pub(super) fn give_up_rejected(draft: &mut Draft, next: &str) {
    let Some((planned, rejected)) = certain_rejection(draft) else { return };
    draft.status.creating = None;
    let message = format!("{} was not created until the next {next} came: {}", planned.name, rejected.message);
    match planned.cause {
        RunCause::Schedule => draft.skip(Skip::Rejected, 1, message),
        RunCause::Trigger => leave_out(draft, message),
        RunCause::Backfill => match backfill_of(draft, &planned) {
            Some((backfill, time)) => put_back(backfill, time),
            None => leave_out(draft, message),
        },
    }
}

/// The times of the schedule start nothing for now. A run of theirs that the API server has rejected so far waits until they do, if it is
/// kept; else it is skipped.
pub(super) fn put_aside_rejected(draft: &mut Draft, is_kept: bool) {
    let Some((planned, rejected)) = certain_rejection(draft).filter(|(planned, _)| planned.cause == RunCause::Schedule)
    else {
        return;
    };
    draft.status.creating = None;
    if is_kept {
        draft.status.waiting.insert(0, planned);
    } else {
        let message = format!("{} was not created, and its time no longer counts: {}", planned.name, rejected.message);
        draft.skip(Skip::Rejected, 1, message);
    }
}

/// A rejected run of a backfill is dropped if the backfill was stopped, left out if its name is taken, and put back if another run waits.
pub(super) fn make_way(draft: &mut Draft, is_other_waiting: bool) {
    let Some((planned, rejected)) = certain_rejection(draft).filter(|(planned, _)| planned.cause == RunCause::Backfill)
    else {
        return;
    };
    let (name, why) = (&planned.name, &rejected.message);
    match backfill_of(draft, &planned) {
        None => leave_out(draft, format!("{name} was not created before its backfill was stopped: {why}")),
        Some((backfill, _)) if rejected.is_taken => {
            backfill.started = backfill.started.saturating_sub(1);
            backfill.existing = backfill.existing.saturating_add(1);
            leave_out(draft, format!("{name} is left out of the backfill: {why}"));
        }
        Some((backfill, time)) if is_other_waiting => put_back(backfill, time),
        Some(_) => return,
    }
    draft.status.creating = None;
}

/// A run of a backfill that is being created, unless it is certain that it was rejected.
pub(super) fn backfill_in_doubt<'a>(draft: &'a Draft) -> Option<&'a str> {
    let planned = draft.status.creating.as_ref().filter(|planned| planned.cause == RunCause::Backfill)?;
    certain_rejection(draft).is_none().then_some(&planned.name)
}

/// The run that is being created, and what the API server said when it failed last.
pub(super) fn last_rejection<'a>(draft: &'a Draft) -> Option<(&'a PlannedRun, &'a RejectedRun)> {
    let rejected = draft.situation.lookups.rejected.as_ref()?;
    let planned = draft.status.creating.as_ref().filter(|planned| planned.name == rejected.name)?;
    Some((planned, rejected))
}

/// The run that is being created, if it is certain that it was rejected.
fn certain_rejection(draft: &Draft) -> Option<(PlannedRun, RejectedRun)> {
    let (planned, rejected) = last_rejection(draft).filter(|(_, rejected)| rejected.is_certain)?;
    Some((planned.clone(), rejected.clone()))
}

/// The backfill that goes on, if it has planned this run, and the time of the run.
fn backfill_of<'a>(draft: &'a mut Draft, planned: &PlannedRun) -> Option<(&'a mut Backfill, Timestamp)> {
    let time = planned.scheduled_time.as_ref()?.0;
    let backfill = draft.status.backfill.as_mut()?;
    (backfill.after.as_ref()?.0 == time).then_some((backfill, time))
}

/// Has the backfill come to that time again.
fn put_back(backfill: &mut Backfill, time: Timestamp) {
    backfill.started = backfill.started.saturating_sub(1);
    backfill.after = Some(MicroTime(time.checked_sub(SignedDuration::from_micros(1)).unwrap_or(time)));
}

/// Reports a run that is for no time of the schedule that could be counted.
fn leave_out(draft: &mut Draft, message: String) {
    draft.transitions.push(Transition::Skipped { why: Skip::Rejected, count: 0, message });
}
