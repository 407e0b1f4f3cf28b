//! The status that is being made.

use super::situation::{Situation, Skip, Transition};
use super::timetable::Timetable;
use crate::api::{ConditionType, PlannedRun, RunCause, TaskScheduleStatus};
use crate::core::condition_list;

/// The status that is to be stored, and what it means.
pub(super) struct Draft<'a> {
    pub situation: &'a Situation<'a>,
    /// None if the spec is invalid.
    pub timetable: Option<&'a Timetable>,
    pub status: TaskScheduleStatus,
    pub transitions: Vec<Transition>,
}

impl Draft<'_> {
    /// Whether so many runs have failed in a row that nothing is started.
    pub fn is_paused(&self) -> bool {
        let limit = self.situation.schedule.spec.pause_after_failures;
        limit > 0 && self.status.consecutive_failures >= limit
    }

    /// Whether the times of the schedule start nothing.
    pub fn is_stopped(&self) -> bool {
        self.situation.schedule.spec.suspend || self.is_paused()
    }

    /// Whether they started nothing when the status was stored.
    pub fn was_stopped(&self) -> bool {
        let stored = self.situation.schedule.status.as_ref().map(|status| &*status.conditions).unwrap_or_default();
        [ConditionType::Suspended, ConditionType::Paused].iter().any(|type_| condition_list::is_true(stored, *type_))
    }

    /// Whether the schedule was paused when the status was stored.
    pub fn was_paused(&self) -> bool {
        let stored = self.situation.schedule.status.as_ref().map(|status| &*status.conditions).unwrap_or_default();
        condition_list::is_true(stored, ConditionType::Paused)
    }

    /// All runs that have not ended, or not begun.
    pub fn unfinished(&self) -> impl Iterator<Item = (&str, RunCause)> {
        let runs = self.status.runs.iter().map(|run| (&*run.name, run.cause));
        let planned = self.status.creating.iter().chain(&self.status.waiting);
        runs.chain(planned.map(|PlannedRun { name, cause, .. }| (&**name, *cause)))
    }

    /// Counts skipped times.
    pub fn skip(&mut self, why: Skip, count: i64, message: String) {
        if count == 0 {
            return;
        }
        let skipped = &mut self.status.skipped;
        let counter = match why {
            Skip::Overlap => {
                skipped.overlap_in_a_row = skipped.overlap_in_a_row.saturating_add(count);
                &mut skipped.overlap
            }
            Skip::Missed => &mut skipped.missed,
            Skip::Rejected => &mut skipped.rejected,
        };
        *counter = counter.saturating_add(count);
        self.transitions.push(Transition::Skipped { why, count, message });
    }
}
