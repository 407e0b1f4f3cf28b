//! Decides what a schedule does next. Pure, like [`decide`](crate::core::decide): status first, then the effects of the
//! stored status.
//!
//! A time of the schedule is settled once, in one write: it is skipped, or its run is planned. The run whose task is
//! being created is in the status before the task is created, under the name that follows from the time. It moves to the
//! active runs when the task is known to exist, and leaves them in the write that records its end. No task of a run is
//! deleted by its history or its time to live before that write, so its name is not free as long as a creation can come.

mod conditions;
mod draft;
mod due;
mod effects;
mod expression;
mod interval;
mod record;
mod rejected;
mod requests;
mod situation;
mod start;
mod task;
mod times;
mod timetable;

use crate::api::TaskSchedule;
use draft::Draft;

pub use due::between;
pub use effects::is_within;
pub use requests::{Request, acknowledged_as};
pub use situation::{Lookups, Plan, RejectedRun, RunEnd, RunResult, RunSnapshot, Settled, Situation, Skip, Transition};
pub use task::{task, written};
pub use times::{next_time, success_due};
pub use timetable::{ClockChange, Timetable, database_version};

/// What is wrong with a schedule, as a message to its author.
pub fn problem(schedule: &TaskSchedule) -> Option<String> {
    timetable(schedule).err()
}

/// The times of a schedule whose spec is valid.
///
/// # Errors
/// What is wrong with the spec, as a message to its author.
pub fn timetable(schedule: &TaskSchedule) -> Result<Timetable, String> {
    let timetable = Timetable::new(&schedule.spec, schedule.metadata.uid.as_deref().unwrap_or_default())?;
    match requests::template_problem(&schedule.spec.template.spec) {
        Some(problem) => Err(format!("spec.template: {problem}")),
        None => Ok(timetable),
    }
}

/// What the schedule does next. Total: any spec, any status.
pub fn decide_schedule(situation: &Situation) -> Plan {
    let schedule = situation.schedule;
    if schedule.metadata.deletion_timestamp.is_some() {
        return Plan::Settled(Settled::default());
    }
    let timetable = timetable(schedule);
    let stored = schedule.status.clone().unwrap_or_default();
    let mut draft =
        Draft { situation, timetable: timetable.as_ref().ok(), status: stored.clone(), transitions: Vec::new() };
    draft.status.observed_generation = schedule.metadata.generation;
    if let Some((name, uid)) = record::ends(&mut draft) {
        return Plan::LookUp(name, uid);
    }
    record::starts(&mut draft);
    if let Ok(timetable) = &timetable {
        requests::take_up(&mut draft, timetable);
        times::settle(&mut draft, timetable);
        start::next(&mut draft, timetable);
    }
    conditions::set(&mut draft, timetable.as_ref().err().map(String::as_str));
    if draft.status != stored {
        return Plan::WriteStatus(Box::new(draft.status), draft.transitions);
    }
    match &draft.status.creating {
        Some(run) if timetable.is_ok() && may_create(situation, &run.name) => Plan::Create(run.clone()),
        _ => Plan::Settled(effects::of(&draft)),
    }
}

/// Whether the task may be created now: not before the next try after one that failed.
fn may_create(situation: &Situation, name: &str) -> bool {
    let rejected = situation.lookups.rejected.as_ref().filter(|rejected| rejected.name == name);
    rejected.is_none_or(|rejected| !rejected.retry_in.is_positive())
}

#[cfg(test)]
mod tests;
