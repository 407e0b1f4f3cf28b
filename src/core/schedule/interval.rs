//! The interval of a backfill: two dates or two times, with a slash between them (ISO 8601).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The first and the last moment of an interval such as `2026-11-01/2026-11-07` (all of both days, in `zone`) or
/// `2026-11-01T00:00:00Z/2026-11-01T06:00:00Z` (both included).
///
/// # Errors
/// What is wrong, as a message to the author.
pub fn parse(text: &str, zone: &TimeZone) -> Result<(Timestamp, Timestamp), String> {
    let hint = "give two dates or two times with a slash between them, such as 2026-11-01/2026-11-07";
    let (from, until) = text.split_once('/').ok_or_else(|| format!("{text:?} is no interval: {hint}"))?;
    let invalid = |part: &str| format!("{part:?} is neither a date nor a time with its offset from UTC: {hint}");
    let (from, until) = (from.trim(), until.trim());
    let first = moment(from, zone, false).ok_or_else(|| invalid(from))?;
    let last = moment(until, zone, true).ok_or_else(|| invalid(until))?;
    if last < first { Err(format!("{text:?} ends before it begins")) } else { Ok((first, last)) }
}

fn moment(text: &str, zone: &TimeZone, is_end: bool) -> Option<Timestamp> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == 10
    {
        let day = if is_end { date.tomorrow().ok()? } else { date };
        let start = day.to_zoned(zone.clone()).ok()?.timestamp();
        return if is_end { start.checked_sub(SignedDuration::from_nanos(1)).ok() } else { Some(start) };
    }
    text.parse().ok()
}
