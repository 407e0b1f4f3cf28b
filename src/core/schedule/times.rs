//! The times that have come: each is started, queued or skipped, once.

use super::draft::Draft;
use super::due::{Due, due};
use super::rejected::{give_up_rejected, put_aside_rejected};
use super::situation::Skip;
use super::task::{name_of, written};
use super::timetable::Timetable;
use crate::api::{
    ActiveRun, ConditionType, MissedPolicy, Overlap, PlannedRun, RunCause, ScheduleState, TaskSchedule,
    TaskScheduleSpec,
};
use crate::core::time::{human, plus, until};
use crate::core::{condition_list, hash};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

/// Most runs of one schedule at a time.
pub const MAX_ACTIVE: usize = 100;
const HASH_LENGTH: usize = 10;
/// If a time is looked at so late, the ends of runs may not be recorded yet either: what was not there to start it was not there to see them.
const UNATTENDED: SignedDuration = SignedDuration::from_secs(5);

/// Settles all times up to now, and plans the runs that follow.
pub(super) fn settle(draft: &mut Draft, timetable: &Timetable) {
    let (spec, now) = (&draft.situation.schedule.spec, draft.situation.now);
    let mut handled = handled(draft);
    let keeps = spec.missed.policy == MissedPolicy::All;
    if draft.is_stopped() {
        put_aside_rejected(draft, keeps);
        if !keeps {
            draft.status.waiting.retain(|run| run.cause == RunCause::Trigger);
        }
        draft.status.handled_time = Some(Time(handled));
        return;
    }
    handled = handled.max(left_behind(draft));
    let Due { times, missed } = due(timetable, handled, now, &spec.missed);
    let text =
        format!("times that passed while nothing could be started: {missed} (missed.policy {:?})", spec.missed.policy);
    draft.skip(Skip::Missed, missed, text);
    if missed > 0 || !times.is_empty() {
        handled = seconds(plus(now, -timetable.splay())).max(handled);
    }
    draft.status.handled_time = Some(Time(handled));
    for time in times {
        give_up_rejected(draft, "time");
        plan(draft, timetable, time);
    }
    let next = first_to_come(timetable, handled, now);
    draft.status.next_schedule_time = next.map(|next| Time(timetable.start_of(next)));
}

/// The time whose start comes next. Runs that wait, or that are late, start before it. A suspension or a pause does not count.
pub fn next_time(schedule: &TaskSchedule, timetable: &Timetable, now: Timestamp) -> Option<Timestamp> {
    first_to_come(timetable, settled_until(schedule, now), now)
}

fn first_to_come(timetable: &Timetable, handled: Timestamp, now: Timestamp) -> Option<Timestamp> {
    timetable.next(handled.max(plus(now, -timetable.splay())))
}

/// Up to when no time starts by itself any more: what came before is settled, or was not kept while the schedule started nothing.
pub(super) fn left_behind(draft: &Draft) -> Timestamp {
    let (schedule, now) = (draft.situation.schedule, draft.situation.now);
    let is_kept = schedule.spec.missed.policy == MissedPolicy::All;
    let settled = settled_until(schedule, now);
    match (draft.is_stopped(), draft.was_stopped()) {
        (true, _) if !is_kept => now,
        (false, true) if !is_kept => settled.max(edited(schedule, now, draft.was_paused())),
        (true | false, _) => settled,
    }
}

/// Up to which time all are settled.
fn handled(draft: &mut Draft) -> Timestamp {
    let (schedule, now) = (draft.situation.schedule, draft.situation.now);
    if is_edited(schedule) {
        put_aside_rejected(draft, false);
        draft.status.waiting.retain(|run| run.cause != RunCause::Schedule);
    }
    draft.status.times_hash = Some(times_hash(&schedule.spec));
    settled_until(schedule, now)
}

/// Up to which time all are settled. Times before the schedule was created, or before it was edited, never count.
fn settled_until(schedule: &TaskSchedule, now: Timestamp) -> Timestamp {
    let created = schedule.metadata.creation_timestamp.as_ref().map_or_else(|| seconds(now), |created| created.0);
    let stored = schedule.status.as_ref().and_then(|status| status.handled_time.as_ref()).map(|time| time.0);
    let handled = stored.map_or(created, |stored| stored.max(created));
    if is_edited(schedule) { handled.max(edited(schedule, now, false)) } else { handled }
}

/// Whether the stored status is of other times.
fn is_edited(schedule: &TaskSchedule) -> bool {
    let known = schedule.status.as_ref().and_then(|status| status.times_hash.as_ref());
    let was_edited_unseen = schedule.metadata.generation.is_some_and(|generation| generation > 1);
    known.map_or(was_edited_unseen, |known| *known != times_hash(&schedule.spec))
}

/// A hash of what the times follow from.
fn times_hash(spec: &TaskScheduleSpec) -> String {
    let TaskScheduleSpec { schedule, schedules, time_zone, splay_seconds, .. } = spec;
    hash::name(&json!([schedule, schedules, time_zone, splay_seconds]).to_string(), HASH_LENGTH)
}

/// When the spec was last edited: not after the newest time at which the API server saw somebody write the object, whatever
/// this clock shows. Now, if it says nothing, or if no edit is the cause.
fn edited(schedule: &TaskSchedule, now: Timestamp, is_no_edit: bool) -> Timestamp {
    seconds(newest_edit(schedule).filter(|_| !is_no_edit).unwrap_or(now))
}

/// The newest time at which the API server saw somebody write the object, without its status.
fn newest_edit(schedule: &TaskSchedule) -> Option<Timestamp> {
    let fields = schedule.metadata.managed_fields.iter().flatten().filter(|fields| fields.subresource.is_none());
    fields.filter_map(|fields| fields.time.as_ref()).map(|time| time.0).max()
}

/// By when a run should have succeeded: the second time after the last success. Times before the schedule was created do not count, nor do
/// those of a suspension or a pause. An edit changes nothing but which times those are. None while no time starts a run.
pub fn success_due(schedule: &TaskSchedule) -> Option<Timestamp> {
    let status = schedule.status.as_ref()?;
    if schedule.spec.suspend || status.state == Some(ScheduleState::Paused) {
        return None;
    }
    let timetable = Timetable::new(&schedule.spec, schedule.metadata.uid.as_deref().unwrap_or_default()).ok()?;
    let created = schedule.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let succeeded = status.last_success_time.as_ref().map(|time| time.0);
    let ended = |type_| condition_list::find(&status.conditions, type_).map(|known| known.last_transition_time.0);
    let resumed = ended(ConditionType::Suspended).max(ended(ConditionType::Paused));
    let from = created.max(succeeded).max(resumed)?;
    let second = timetable.next(timetable.next(from)?)?;
    Some(timetable.start_of(second))
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Plans the run for that time, or skips it.
fn plan(draft: &mut Draft, timetable: &Timetable, time: Timestamp) {
    let (schedule, now) = (draft.situation.schedule, draft.situation.now);
    let name = name_of(schedule.metadata.name.as_deref().unwrap_or_default(), time);
    if draft.unfinished().any(|(other, _)| other == name) {
        return;
    }
    let run = PlannedRun { name, scheduled_time: Some(Time(time)), cause: RunCause::Schedule, patch: None };
    let is_late = until(timetable.start_of(time), now) >= UNATTENDED;
    let in_the_way =
        draft.unfinished().find(|(_, cause)| *cause != RunCause::Backfill).map(|(name, _)| name.to_owned());
    let (many, waiting) = (draft.unfinished().count(), draft.status.waiting.len());
    let is_all = schedule.spec.missed.policy == MissedPolicy::All;
    let limit = if is_all { usize::try_from(schedule.spec.missed.limit).unwrap_or(1) } else { 1 };
    match (schedule.spec.overlap, in_the_way) {
        (_, None) => draft.status.waiting.push(run),
        (Overlap::Allow, Some(_)) if many < MAX_ACTIVE => draft.status.waiting.push(run),
        (Overlap::Allow, Some(_)) => skip(draft, timetable, time, &format!("{many} runs have not ended")),
        (Overlap::Skip, Some(other)) if !is_late => {
            skip(draft, timetable, time, &format!("{other} has not ended (overlap Skip)"));
        }
        (Overlap::Skip | Overlap::Queue | Overlap::Replace, Some(other)) => {
            let oldest = draft.status.waiting.iter().position(|run| run.cause == RunCause::Schedule);
            if let Some(oldest) = oldest.filter(|_| waiting >= limit) {
                let dropped = draft.status.waiting.remove(oldest);
                let why = format!("{other} has not ended, and a newer time waits");
                skip(draft, timetable, dropped.scheduled_time.map_or(time, |time| time.0), &why);
            }
            draft.status.waiting.push(run);
        }
    }
}

/// Skips what waits to learn whether another run overlapped, once that has ended: it has, if its start was due before the end of that
/// work. With the policy All each time is started, however long others take.
pub(super) fn skip_overlapped(draft: &mut Draft, ended: &ActiveRun, work_until: Timestamp) {
    let spec = &draft.situation.schedule.spec;
    let Some(timetable) = draft.timetable else { return };
    if spec.overlap != Overlap::Skip || spec.missed.policy == MissedPolicy::All || ended.cause == RunCause::Backfill {
        return;
    }
    let is_overlapped = |run: &PlannedRun| {
        let time = run.scheduled_time.as_ref().filter(|_| run.cause == RunCause::Schedule)?.0;
        (timetable.start_of(time) < work_until).then_some(time)
    };
    let times: Vec<Timestamp> = draft.status.waiting.iter().filter_map(is_overlapped).collect();
    draft.status.waiting.retain(|run| is_overlapped(run).is_none());
    for time in times {
        skip(draft, timetable, time, &format!("{} had not ended (overlap Skip)", ended.name));
    }
}

fn skip(draft: &mut Draft, timetable: &Timetable, time: Timestamp, why: &str) {
    let late = until(timetable.start_of(time), draft.situation.now);
    let late = if late >= UNATTENDED { format!(", {} ago", human(late)) } else { String::new() };
    let text = format!("the time {}{late} was skipped: {why}", written(time, timetable.zone()));
    draft.skip(Skip::Overlap, 1, text);
}
