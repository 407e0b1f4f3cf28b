//! `startAt`: when the first attempt is due.

use jiff::Timestamp;

/// What is wrong with `startAt`, as a message to its author. Admission has seen its form, not whether the day exists.
pub fn problem(start_at: &str) -> Option<String> {
    let error = start_at.parse::<Timestamp>().err()?;
    Some(format!(
        "spec.startAt: {start_at:?} is not a time as RFC 3339 with a zone, such as 2026-12-01T06:00:00Z: {error}"
    ))
}

/// The time of `startAt`. None if it is invalid.
pub fn time(start_at: &str) -> Option<Timestamp> {
    start_at.parse().ok()
}

#[cfg(test)]
mod tests;
