//! What the stored status lets happen.

use super::draft::Draft;
use super::situation::{RunResult, RunSnapshot, Settled};
use crate::api::{Backfill, Overlap, RunCause, RunHistory};
use crate::core::time::until;
use jiff::{SignedDuration, Timestamp};

/// After how long to see whether anybody still waits for a run that is beyond the limits.
const AWAITED_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The effects of a status that is stored.
pub(super) fn of(draft: &Draft) -> Settled {
    let (awaited, unawaited): (Vec<_>, Vec<_>) = beyond_limits(draft).into_iter().partition(|run| run.is_awaited);
    let delete = unawaited.into_iter().cloned().collect();
    let look_again = (!awaited.is_empty()).then_some(AWAITED_AGAIN);
    let wake_in = wake_in(draft).into_iter().chain(look_again).min();
    Settled { cancel: cancel(draft), delete, wake_in }
}

/// The runs that make way for one that waits.
fn cancel(draft: &Draft) -> Vec<RunSnapshot> {
    let is_stopped = draft.is_stopped();
    let replaces = draft.status.waiting.iter().any(|run| run.cause == RunCause::Trigger || !is_stopped);
    if draft.situation.schedule.spec.overlap != Overlap::Replace || !replaces {
        return Vec::new();
    }
    let makes_way = |run: &&RunSnapshot| {
        let active = draft.status.runs.iter().find(|active| active.uid == run.uid);
        active.is_some_and(|active| active.cause != RunCause::Backfill) && run.end.is_none() && !run.is_cancelled
    };
    draft.situation.runs.iter().filter(makes_way).cloned().collect()
}

/// The finished tasks beyond the limits. Those whose end is not recorded stay, and those that a backfill is to leave out.
fn beyond_limits<'a>(draft: &Draft<'a>) -> Vec<&'a RunSnapshot> {
    let RunHistory { succeeded, failed } = draft.situation.schedule.spec.history;
    let is_open = |run: &RunSnapshot| {
        let is_planned = draft.status.creating.as_ref().is_some_and(|planned| planned.name == run.name);
        let is_ahead = draft.status.backfill.as_ref().is_some_and(|backfill| is_within(backfill, run.scheduled_time));
        is_planned || is_ahead || draft.status.runs.iter().any(|active| active.uid == run.uid)
    };
    let mut ended: Vec<_> = draft.situation.runs.iter().filter_map(|run| Some((run, run.end?))).collect();
    ended.retain(|(run, _)| !is_open(run));
    ended.sort_by(|(a, a_end), (b, b_end)| (b_end.time, &b.name).cmp(&(a_end.time, &a.name)));
    let beyond = |has_succeeded: bool, limit: i32| {
        let of = ended.iter().filter(move |(_, end)| (end.result == RunResult::Succeeded) == has_succeeded);
        of.skip(usize::try_from(limit).unwrap_or(0)).map(|(run, _)| *run)
    };
    beyond(true, succeeded).chain(beyond(false, failed)).collect()
}

/// Whether a backfill has yet to come to that time.
pub fn is_within(backfill: &Backfill, time: Option<Timestamp>) -> bool {
    let after = backfill.after.as_ref().map(|after| after.0);
    let until = backfill.until.as_ref().map(|until| until.0);
    time.is_some() && time > after && time <= until
}

fn wake_in(draft: &Draft) -> Option<SignedDuration> {
    let next = draft.status.next_schedule_time.as_ref().map(|next| until(draft.situation.now, next.0));
    let planned = draft.status.creating.as_ref();
    let rejected = draft.situation.lookups.rejected.as_ref();
    let retry = rejected.filter(|rejected| planned.is_some_and(|planned| planned.name == rejected.name));
    let retry = retry.map(|rejected| rejected.retry_in);
    next.into_iter().chain(retry).min()
}
