//! The times of a schedule, found by looking at each minute.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use retryable_tasks::api::TaskScheduleSpec;

/// Which minutes of an hour each of the expressions means. None if that takes more than the minute field to know.
fn expressions(spec: &TaskScheduleSpec) -> Option<Vec<Vec<i8>>> {
    if spec.time_zone != "Etc/UTC" {
        return None;
    }
    spec.schedule.iter().chain(spec.schedules.iter().flatten()).map(|text| minutes(text)).collect()
}

fn minutes(text: &str) -> Option<Vec<i8>> {
    let field = text.strip_suffix(" * * * *")?;
    if field == "*" {
        return Some((0..60).collect());
    }
    if let Some(step) = field.strip_prefix("*/") {
        return Some((0..60).step_by(step.parse().ok()?).collect());
    }
    field.split(',').map(|minute| minute.parse().ok()).collect()
}

/// The times after the first moment and up to the second. None if this oracle cannot tell them.
pub fn between(spec: &TaskScheduleSpec, after: Timestamp, until: Timestamp) -> Option<Vec<Timestamp>> {
    let expressions = expressions(spec)?;
    let minute = SignedDuration::from_mins(1);
    let mut at = Timestamp::from_second(after.as_second().div_euclid(60) * 60).ok()?;
    let mut found = vec![];
    while at <= until {
        let shown = TimeZone::UTC.to_datetime(at).minute();
        if at > after && expressions.iter().any(|minutes| minutes.contains(&shown)) {
            found.push(at);
        }
        at += minute;
    }
    Some(found)
}
