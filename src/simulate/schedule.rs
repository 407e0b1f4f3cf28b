//! The next starts of a schedule, with its zone and the changes of the clock.

use super::table::aligned;
use crate::api::{ScheduleState, TaskSchedule};
use crate::core::schedule::{ClockChange, Timetable, next_time, timetable, written};
use crate::core::time::plus;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;

/// The next starts of one schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSimulation {
    /// The schedule's name.
    pub name: String,
    /// The schedule's namespace, if the manifest has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its expressions.
    pub schedules: Vec<String>,
    /// Its time zone.
    pub time_zone: String,
    /// The starts in their order.
    pub starts: Vec<Start>,
    /// Further remarks, in sentences.
    pub notes: Vec<String>,
}

/// One start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The time in the zone, with its offset from UTC.
    pub time: String,
    /// The time in UTC.
    pub utc: String,
    /// When the run for it starts, in UTC. Absent if that is not known: `splaySeconds` adds what follows from the UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The zone's abbreviation at that time.
    pub zone: String,
    /// Whether daylight saving time is in effect.
    pub daylight_saving: bool,
    /// What a change of the clock did to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_change: Option<String>,
}

/// The first `count` starts after `from`, of a manifest.
///
/// # Errors
/// What is wrong with the schedule.
pub fn starts(schedule: &TaskSchedule, from: Timestamp, count: usize) -> Result<ScheduleSimulation, String> {
    let mut known = schedule.clone();
    if schedule.metadata.uid.is_none() {
        known.spec.splay_seconds = 0;
    }
    let timetable = timetable(&known)?;
    let first = timetable.next(plus(from, -timetable.splay()));
    Ok(simulation(schedule, &timetable, (from, first), count))
}

/// The next `count` starts of a schedule that is stored, as the operator starts them.
///
/// # Errors
/// What is wrong with the schedule.
pub fn next_starts(schedule: &TaskSchedule, now: Timestamp, count: usize) -> Result<ScheduleSimulation, String> {
    let timetable = timetable(schedule)?;
    let first = next_time(schedule, &timetable, now);
    Ok(simulation(schedule, &timetable, (now, first), count))
}

fn simulation(
    schedule: &TaskSchedule,
    timetable: &Timetable,
    (from, first): (Timestamp, Option<Timestamp>),
    count: usize,
) -> ScheduleSimulation {
    let times = std::iter::successors(first, |time| timetable.next(*time)).take(count);
    let (spec, metadata) = (&schedule.spec, &schedule.metadata);
    let is_known = spec.splay_seconds == 0 || metadata.uid.is_some();
    let start = |last: &mut Timestamp, time| {
        let start = start(timetable, std::mem::replace(last, time), time);
        Some(Start { start: start.start.filter(|_| is_known), ..start })
    };
    ScheduleSimulation {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone(),
        schedules: spec.schedule.iter().chain(spec.schedules.iter().flatten()).cloned().collect(),
        time_zone: spec.time_zone.clone(),
        starts: times.scan(from, start).collect(),
        notes: notes(schedule, timetable, is_known),
    }
}

fn notes(schedule: &TaskSchedule, timetable: &Timetable, is_known: bool) -> Vec<String> {
    let most = schedule.spec.splay_seconds;
    let splay = match (most, is_known) {
        (..=0, _) => None,
        (_, true) => {
            Some(format!("Each starts {} s after its time (splaySeconds {most}).", timetable.splay().as_secs()))
        }
        (_, false) => Some(format!(
            "Each starts later by one number of seconds from 0 to {most} (splaySeconds), which follows from the \
             schedule's UID."
        )),
    };
    let is_paused = schedule.status.as_ref().is_some_and(|status| status.state == Some(ScheduleState::Paused));
    let stopped = if schedule.spec.suspend {
        Some("The schedule is suspended: none of them starts.")
    } else {
        is_paused.then_some("The schedule is paused because its runs fail: none of them starts before it is resumed.")
    };
    splay.into_iter().chain(stopped.map(ToOwned::to_owned)).collect()
}

fn start(timetable: &Timetable, last: Timestamp, time: Timestamp) -> Start {
    let info = timetable.zone().to_offset_info(time);
    let has_moved = timetable.zone().to_offset(last) != info.offset();
    let moved = has_moved.then(|| "the clock has changed since the last one".to_owned());
    let clock_change = timetable.clock_change(time).map(|change| match change {
        ClockChange::PutForward(missing) => {
            format!("there is no {}: the clock is put forward over it", missing.strftime("%H:%M"))
        }
        ClockChange::First => "this time comes twice: the first one".into(),
        ClockChange::Second => "this time comes twice: the second one".into(),
    });
    Start {
        time: written(time, timetable.zone()),
        utc: time.to_string(),
        start: Some(timetable.start_of(time).to_string()),
        zone: info.abbreviation().to_owned(),
        daylight_saving: info.dst().is_dst(),
        clock_change: clock_change.or(moved),
    }
}

impl fmt::Display for ScheduleSimulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, namespace, schedules, time_zone, starts, notes } = self;
        let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        writeln!(f, "{namespace}{name}: {} in {time_zone}\n", schedules.join(" and "))?;
        let is_later = starts.iter().any(|Start { utc, start, .. }| start.as_ref().is_some_and(|start| start != utc));
        let header = ["TIME", "UTC"].into_iter().chain(is_later.then_some("START")).chain(["ZONE", "DST", "CLOCK"]);
        let header = header.map(ToOwned::to_owned).collect();
        let rows = starts.iter().map(|at| {
            let Start { time, utc, start, zone, daylight_saving, clock_change } = at;
            let dst = if *daylight_saving { "yes" } else { "no" };
            let start = start.clone().filter(|_| is_later);
            let rest = [zone.clone(), dst.into(), clock_change.clone().unwrap_or_else(|| "-".into())];
            [time.clone(), utc.clone()].into_iter().chain(start).chain(rest).collect()
        });
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        writeln!(f, "{}", aligned(&rows).trim_end())?;
        for note in notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}
