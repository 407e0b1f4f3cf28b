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
        if let Some((name, field)) = misplaced_name(fields) {
            return Err(format!("{text:?}: {name} is no {field}"));
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

/// The first name that is not one of its field's, and that field. The parser would take MON for the first month, JAN for Monday, and
/// */FRI for */5.
fn misplaced_name(fields: &str) -> Option<(&str, &'static str)> {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let known: [(&str, &[&str]); 5] = [
        ("minute", &[]),
        ("hour", &[]),
        ("day of the month", &["L", "W", "LW"]),
        ("month", &MONTHS),
        ("day of the week", &WEEKDAYS),
    ];
    known.into_iter().zip(fields.split_whitespace()).find_map(|((field, names), text)| {
        let is_known = |word: &str| {
            let word = word.to_ascii_uppercase();
            let day = word.strip_suffix('L').filter(|_| field == "day of the week").unwrap_or(&word);
            day.is_empty() || names.contains(&day)
        };
        let is_letter = |c: char| c.is_alphabetic();
        let mut steps = text.split([',', '-', '#']).filter_map(|part| part.split_once('/')).map(|(_, step)| step);
        let mut words = text.split(|c| !is_letter(c)).filter(|word| !word.is_empty());
        let misplaced = steps.find(|step| step.contains(is_letter)).or_else(|| words.find(|word| !is_known(word)));
        misplaced.map(|word| (word, field))
    })
}

fn unknown_nickname(text: &str) -> String {
    let hint = if text.starts_with("@every") {
        "write an interval as fields, such as */5 * * * * for every five minutes"
    } else {
        "known are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
    };
    format!("{text:?} is not a schedule: {hint}")
}
