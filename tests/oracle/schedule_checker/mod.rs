//! Each time of a schedule is started once, or left out for a reason that its status counts.
//!
//! All is recomputed from what was stored: the tasks that were created, and the schedules' statuses. The times of the schedules are
//! found by looking at each minute, and by nothing of the operator's.
//!
//! - [`record`]: the trace's schedules, with their runs.
//! - [`minutes`]: the times of a schedule.
//! - [`starts`]: what is started: once, after the status that names it, for a time that counts, beside no other.
//! - [`accounts`]: what becomes of each time, and how soon.
//! - [`ends`]: what happens to runs that have ended, and what the schedule says of them at the end.

mod accounts;
mod ends;
mod minutes;
mod record;
mod starts;

use super::{Trace, Violation, record::TaskRecord};
use record::ScheduleRecord;

pub fn check(trace: &Trace, tasks: &[TaskRecord], violations: &mut Vec<Violation>) {
    for record in record::by_schedule(trace, tasks) {
        starts::check(trace, &record, violations);
        accounts::check(trace, &record, violations);
        ends::check(trace, &record, violations);
    }
}

/// Whether nothing of the schedule starts a run: it is suspended, or paused after failures.
fn is_stopped(record: &ScheduleRecord, index: usize) -> bool {
    let status = record.status(index);
    record.versions[index].schedule.spec.suspend
        || status
            .conditions
            .iter()
            .any(|known| matches!(&*known.type_, "Suspended" | "Paused") && known.status == "True")
}
