//! The schedules: when they run next, how the last runs ended, and what was skipped.

use super::frame::Frame;
use super::mark::Mark;
use super::{Link, Look};
use crate::api::{SkippedRuns, TaskSchedule, TaskScheduleStatus};
use crate::ui::query::{Paging, Place, Query, page_of};
use crate::ui::record::{Key, ScheduleRecord};
use crate::ui::text::When;
use askama::Template;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::HashMap;

/// The schedules.
#[derive(Template)]
#[template(path = "schedules.html")]
pub struct SchedulesPage {
    frame: Frame,
    rows: Vec<Row>,
    paging: Paging,
}

struct Row {
    namespace: String,
    name: String,
    mark: Mark,
    /// When it runs.
    times: String,
    zone: String,
    next: Option<When>,
    last: Option<When>,
    success: Option<When>,
    failure: Option<When>,
    /// How many runs have failed in a row.
    failures: i32,
    /// Its tasks.
    tasks: Option<Link>,
    active: Option<Link>,
    /// What was skipped, and why.
    skipped: Vec<String>,
    message: String,
}

/// How many tasks a schedule has.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    all: usize,
    /// Those that have not ended.
    active: usize,
}

/// The page of the schedules: by their next time, those without one last.
pub fn schedules(look: Look) -> SchedulesPage {
    let text = look.query.text.as_deref();
    let next = |schedule: &ScheduleRecord| -> Option<Timestamp> {
        schedule.as_ref().ok()?.status.as_ref()?.next_schedule_time.as_ref().map(|at| at.0)
    };
    let mut all: Vec<_> = look.schedules().filter(|(key, _)| text.is_none_or(|text| key.name.contains(text))).collect();
    all.sort_by_key(|(_, schedule)| next(schedule).map_or((true, Timestamp::MAX), |at| (false, at)));
    let (shown, paging) = page_of(all, look.query, Place::Schedules);
    let mut runs: HashMap<&Key, Runs> = shown.iter().map(|(key, _)| (*key, Runs::default())).collect();
    for (key, task) in look.tasks() {
        let Some(schedule) = &task.schedule else { continue };
        let of_schedule = Key { namespace: key.namespace.clone(), name: schedule.clone() };
        if let Some(runs) = runs.get_mut(&of_schedule) {
            runs.all += 1;
            runs.active += usize::from(!task.is_finished());
        }
    }
    let runs_of = |key: &Key| runs.get(key).copied().unwrap_or_default();
    let rows = shown.iter().map(|(key, schedule)| row(look, key, schedule, runs_of(key))).collect();
    SchedulesPage { frame: Frame::of(look, Place::Schedules, "Schedules"), rows, paging }
}

fn row(look: Look, key: &Key, schedule: &ScheduleRecord, runs: Runs) -> Row {
    let Runs { all, active } = runs;
    let query = Query { schedule: Some(key.name.to_string()), ..Query::of_namespace(&key.namespace) };
    let row = Row {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        mark: Mark::UNREADABLE,
        times: String::new(),
        zone: String::new(),
        next: None,
        last: None,
        success: None,
        failure: None,
        failures: 0,
        tasks: Link::count(all, &query, Place::Tasks),
        active: Link::count(active, &query, Place::Now),
        skipped: Vec::new(),
        message: String::new(),
    };
    match schedule {
        Ok(schedule) => with_schedule(look, row, schedule),
        Err(problem) => Row { message: format!("This version cannot read it: {problem}"), ..row },
    }
}

fn with_schedule(look: Look, row: Row, schedule: &TaskSchedule) -> Row {
    let times = schedule.spec.schedule.iter().chain(schedule.spec.schedules.iter().flatten());
    let row = Row {
        times: times.map(String::as_str).collect::<Vec<_>>().join("; "),
        zone: schedule.spec.time_zone.clone(),
        mark: Mark::NEW,
        ..row
    };
    let Some(status) = &schedule.status else { return row };
    let TaskScheduleStatus {
        state,
        message,
        next_schedule_time,
        last_schedule_time,
        last_success_time,
        last_failure_time,
        consecutive_failures,
        skipped,
        ..
    } = status;
    let when = |time: &Option<Time>| time.as_ref().map(|at| look.when(at.0));
    Row {
        mark: state.map_or(Mark::NEW, Mark::of_schedule),
        next: when(next_schedule_time),
        last: when(last_schedule_time),
        success: when(last_success_time),
        failure: when(last_failure_time),
        failures: *consecutive_failures,
        skipped: skips(skipped),
        message: message.clone().unwrap_or_default(),
        ..row
    }
}

fn skips(skipped: &SkippedRuns) -> Vec<String> {
    let SkippedRuns { overlap, missed, rejected, overlap_in_a_row: _ } = skipped;
    let named = [(overlap, "overlapped"), (missed, "missed"), (rejected, "rejected")];
    named.into_iter().filter(|(number, _)| **number > 0).map(|(number, name)| format!("{number} {name}")).collect()
}
