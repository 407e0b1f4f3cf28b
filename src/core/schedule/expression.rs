//! One cron expression: the times of a calendar, without a zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Expression {
    cron: Cron,
    is_fixed: bool,
}

impl Expression {
    /// Parses five fields, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// What is wrong, as a message to the author.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("TZ=") {
            return Err(format!(
                "{text:?}: a schedule has no TZ= prefix: remove it, and set spec.timeZone to the zone"
            ));
        }
        let fields = match NICKNAMES.iter().find(|(nickname, _)| *nickname == text) {
            Some((_, fields)) => *fields,
            None if text.starts_with('@') => return Err(unknown_nickname(text)),
            None => text,
        };
        let count = fields.split_whitespace().count();
        if count != 5 {
            return Err(format!(
                "{text:?} has {count} fields, and a schedule has five: minute, hour, day of the month, month, day of the week"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(fields).map_err(|error| format!("{text:?}: {error}"))?;
        let clock = fields.split_whitespace().take(2);
        let is_fixed = clock.flat_map(str::chars).all(|c| c != '*' && c != '/');
        let expression = Self { cron, is_fixed };
        match expression.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true) {
            Some(_) => Ok(expression),
            None => Err(format!("{text:?} never comes: no year has such a day")),
        }
    }

    /// Whether its minutes and hours are fixed times, which a change of the clock neither skips nor repeats. Those with
    /// `*` or `/` follow the clock. This is the rule of Vixie's cron.
    pub const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// The first time after `after`, or at it if `inclusive`. None if there is none in the years that are searched.
    pub fn next(&self, after: DateTime, inclusive: bool) -> Option<DateTime> {
        // In UTC every time of the calendar exists, once.
        let after = TimeZone::UTC.to_zoned(after).ok()?;
        let next = self.cron.find_next_occurrence(&after, inclusive).ok()?;
        Some(Offset::UTC.to_datetime(next.timestamp()))
    }
}

fn unknown_nickname(text: &str) -> String {
    let hint = if text.starts_with("@every") {
        "write an interval as fields, such as */5 * * * * for every five minutes"
    } else {
        "known are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
    };
    format!("{text:?} is not a schedule: {hint}")
}
