//! TaskSchedules as rows.

use super::table::{Table, or_dash};
use super::tasks::{age, in_time};
use crate::api::{ScheduleState, TaskSchedule, TaskScheduleStatus};
use jiff::Timestamp;

/// Schedules as rows. `wide`: with why nothing is scheduled.
pub fn table(schedules: &[TaskSchedule], with_namespace: bool, wide: bool, now: Timestamp) -> Table {
    let mut header =
        vec!["NAME", "SCHEDULE", "TIME-ZONE", "STATE", "ACTIVE", "NEXT", "LAST", "LAST-SUCCESS", "FAILURES", "SKIPPED"];
    header.extend(wide.then_some("MESSAGE"));
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&header);
    table.rows = schedules.iter().map(|schedule| row(schedule, with_namespace, wide, now)).collect();
    table
}

fn row(schedule: &TaskSchedule, with_namespace: bool, wide: bool, now: Timestamp) -> Vec<String> {
    let none = TaskScheduleStatus::default();
    let status = schedule.status.as_ref().unwrap_or(&none);
    let spec = &schedule.spec;
    let expressions: Vec<&str> =
        spec.schedule.iter().chain(spec.schedules.iter().flatten()).map(String::as_str).collect();
    let skipped = status.skipped.overlap.saturating_add(status.skipped.missed).saturating_add(status.skipped.rejected);
    let mut cells: Vec<String> =
        with_namespace.then(|| or_dash(schedule.metadata.namespace.clone())).into_iter().collect();
    cells.extend([
        or_dash(schedule.metadata.name.clone()),
        expressions.join(" and "),
        spec.time_zone.clone(),
        match status.state {
            None => "New".into(),
            Some(ScheduleState::Unknown) => "Unknown".into(),
            Some(state) => format!("{state:?}"),
        },
        status.active.to_string(),
        or_dash(status.next_schedule_time.as_ref().map(|at| in_time(at.0, now))),
        or_dash(status.last_schedule_time.as_ref().map(|at| age(at.0, now))),
        or_dash(status.last_success_time.as_ref().map(|at| age(at.0, now))),
        status.consecutive_failures.to_string(),
        skipped.to_string(),
    ]);
    cells.extend(wide.then(|| or_dash(status.message.clone())));
    cells
}
