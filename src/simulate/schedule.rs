//! The next starts of a schedule, with its zone and the changes of the clock.

use super::table::aligned;
use crate::api::TaskSchedule;
use crate::core::schedule::{ClockChange, Timetable, timetable, written};
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
    /// The zone's abbreviation at that time.
    pub zone: String,
    /// Whether daylight saving time is in effect.
    pub daylight_saving: bool,
    /// What a change of the clock did to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_change: Option<String>,
}

/// The first `count` starts after `from`.
///
/// # Errors
/// What is wrong with the schedule.
pub fn starts(schedule: &TaskSchedule, from: Timestamp, count: usize) -> Result<ScheduleSimulation, String> {
    // The splay follows from the UID, which a manifest does not have.
    let mut unsplayed = schedule.clone();
    unsplayed.spec.splay_seconds = 0;
    let timetable = timetable(&unsplayed)?;
    let times = std::iter::successors(timetable.next(from), |time| timetable.next(*time));
    let spec = &schedule.spec;
    let mut notes = Vec::new();
    if spec.splay_seconds > 0 {
        notes.push(format!(
            "Each starts later by one number of seconds from 0 to {} (splaySeconds), which follows from the schedule's UID.",
            spec.splay_seconds
        ));
    }
    if spec.suspend {
        notes.push("The schedule is suspended: none of them starts.".into());
    }
    Ok(ScheduleSimulation {
        name: schedule.metadata.name.clone().unwrap_or_default(),
        namespace: schedule.metadata.namespace.clone(),
        schedules: spec.schedule.iter().chain(spec.schedules.iter().flatten()).cloned().collect(),
        time_zone: spec.time_zone.clone(),
        starts: times
            .take(count)
            .scan(from, |last, time| Some(start(&timetable, std::mem::replace(last, time), time)))
            .collect(),
        notes,
    })
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
        let header = ["TIME", "UTC", "ZONE", "DST", "CLOCK"].map(ToOwned::to_owned).to_vec();
        let rows = starts.iter().map(|start| {
            let Start { time, utc, zone, daylight_saving, clock_change } = start;
            let dst = if *daylight_saving { "yes" } else { "no" };
            vec![
                time.clone(),
                utc.clone(),
                zone.clone(),
                dst.into(),
                clock_change.clone().unwrap_or_else(|| "-".into()),
            ]
        });
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
        writeln!(f, "{}", aligned(&rows).trim_end())?;
        for note in notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}
