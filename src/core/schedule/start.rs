//! Which run is started next.

use super::draft::Draft;
use super::due::between;
use super::rejected::make_way;
use super::situation::Transition;
use super::task::name_of;
use super::times::MAX_ACTIVE;
use super::timetable::Timetable;
use crate::api::{Overlap, PlannedRun, RunCause};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Most runs of a backfill at a time, where runs may overlap.
const MAX_BACKFILLING: usize = 10;

/// Plans the creation of one task, if one may start.
pub(super) fn next(draft: &mut Draft, timetable: &Timetable) {
    let is_stopped = draft.is_stopped();
    let startable = |run: &PlannedRun| run.cause == RunCause::Trigger || !is_stopped;
    let first = draft.status.waiting.iter().position(startable);
    make_way(draft, first.is_some());
    if draft.status.creating.is_some() {
        return;
    }
    let (active, overlap) = (draft.status.runs.len(), draft.situation.schedule.spec.overlap);
    let may_start = |most: usize| if overlap == Overlap::Allow { active < most } else { active == 0 };
    if let Some(first) = first {
        if may_start(MAX_ACTIVE) {
            draft.status.creating = Some(draft.status.waiting.remove(first));
            draft.status.skipped.overlap_in_a_row = 0;
        }
    } else if may_start(MAX_BACKFILLING) {
        draft.status.creating = backfilled(draft, timetable);
    }
}

/// The next run of the backfill.
fn backfilled(draft: &mut Draft, timetable: &Timetable) -> Option<PlannedRun> {
    let mut backfill = draft.status.backfill.take()?;
    let schedule = draft.situation.schedule.metadata.name.as_deref().unwrap_or_default();
    if let (Some(after), Some(until)) = (&backfill.after, &backfill.until) {
        for time in between(timetable, (after.0, until.0)) {
            let name = name_of(schedule, time);
            backfill.after = Some(MicroTime(time));
            let exists = draft.situation.runs.iter().any(|run| run.name == name);
            if exists || draft.unfinished().any(|(other, _)| other == name) {
                backfill.existing = backfill.existing.saturating_add(1);
                continue;
            }
            backfill.started = backfill.started.saturating_add(1);
            draft.status.backfill = Some(backfill);
            return Some(PlannedRun { name, scheduled_time: Some(Time(time)), cause: RunCause::Backfill, patch: None });
        }
    }
    let (started, existing) = (backfill.started, backfill.existing);
    let message = format!("{}: {started} runs were started, {existing} existed already", backfill.interval);
    draft.transitions.push(Transition::BackfillFinished { message });
    None
}
