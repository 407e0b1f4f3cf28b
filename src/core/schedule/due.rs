//! Which times are due, and which of them are missed for good.

use super::timetable::Timetable;
use crate::api::{Missed, MissedPolicy};
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};

/// A time is missed once its start is so long overdue.
pub const LATE: SignedDuration = SignedDuration::from_secs(60);
/// Most times that are counted as missed at once.
const MAX_COUNTED: usize = 1000;

/// The times after `handled` whose start is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Those to start or to queue, oldest first.
    pub times: Vec<Timestamp>,
    /// How many are skipped, because nothing could be started in time. At most 1,000 are counted.
    pub missed: i64,
}

/// The times after `handled` and up to `now`, by the policy. However many there are, it takes no longer than to look at
/// `missed.within_seconds`.
pub fn due(timetable: &Timetable, handled: Timestamp, now: Timestamp, missed: &Missed) -> Due {
    let latest = plus(now, -timetable.splay());
    if timetable.next(handled).is_none_or(|first| first > latest) {
        return Due::default();
    }
    let within = SignedDuration::from_secs(missed.within_seconds.into()).max(LATE);
    let (within, most) = match missed.policy {
        MissedPolicy::Skip => (LATE, 1),
        MissedPolicy::Latest => (within, 1),
        MissedPolicy::All => (within, usize::try_from(missed.limit).unwrap_or(1).max(1)),
    };
    let times = newest(timetable, (handled.max(plus(latest, -within)), latest), most);
    let all = between(timetable, (handled, latest)).take(MAX_COUNTED.saturating_add(times.len())).count();
    let missed = i64::try_from(all.saturating_sub(times.len())).unwrap_or(0);
    Due { times, missed }
}

/// The times after the first moment and up to the second.
pub fn between(timetable: &Timetable, (after, until): (Timestamp, Timestamp)) -> impl Iterator<Item = Timestamp> {
    let first = timetable.next(after);
    std::iter::successors(first, |time| timetable.next(*time)).take_while(move |time| *time <= until)
}

/// The newest times of a span, oldest first. Searched in spans that double, from its end: it may hold very many.
fn newest(timetable: &Timetable, (after, until): (Timestamp, Timestamp), most: usize) -> Vec<Timestamp> {
    let mut width = LATE.saturating_mul(i32::try_from(most).unwrap_or(i32::MAX));
    loop {
        let from = after.max(plus(until, -width));
        let mut found: Vec<Timestamp> = between(timetable, (from, until)).collect();
        if from == after || found.len() >= most {
            return found.split_off(found.len().saturating_sub(most));
        }
        width = width.saturating_mul(2);
    }
}
