//! What people write as arguments.

use jiff::SignedDuration;
use std::time::Duration;

/// Reads a time such as `30s`, `5m`, `1h30m`, or a number of seconds.
///
/// # Errors
/// What is wrong, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

/// How fast many tasks are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time from one to the next.
    pub interval: Duration,
}

impl Rate {
    /// Reads a rate such as `10/m`, `2/s` or `100/h`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate: write 10/m for ten a minute, or 2/s, 100/h");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return Err(wrong()),
        };
        let interval = Duration::from_secs(seconds).checked_div(count).ok_or_else(wrong)?;
        Ok(Self { interval })
    }
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// What is wrong, in words.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no assignment: write NAME=VALUE")),
    }
}
