//! What people write as arguments.

use crate::api::GROUP;
use jiff::SignedDuration;
use std::time::Duration;

/// Reads a time such as `30s`, `5m`, `1h30m`, or a number of seconds.
///
/// # Errors
/// What is wrong, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration {text:?}: write 30s, 5m or 1h30m");
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
        let wrong = || format!("invalid rate {text:?}: write 10/m for ten a minute, or 2/s, 100/h");
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

/// When each of many requests may be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    interval: Duration,
    next: Duration,
}

impl Pace {
    /// As fast as that; without a rate at once.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { interval: rate.map(|rate| rate.interval).unwrap_or_default(), next: Duration::ZERO }
    }

    /// When the next one may be sent, if it could be at `now`. Both count from the beginning. What was late is not caught up: two
    /// requests are never closer than the rate says.
    pub fn next(&mut self, now: Duration) -> Duration {
        let at = now.max(self.next);
        self.next = at.saturating_add(self.interval);
        at
    }
}

/// Reads the name of a task: `import`, or as `-o name` prints it and kubectl takes it, `retryabletask.retryable.dev/import`, `rt/import`.
///
/// # Errors
/// What is wrong, in words.
pub fn task(text: &str) -> Result<String, String> {
    name(text, "retryabletask", "rt")
}

/// The same of a queue: `mail`, `taskqueue.retryable.dev/mail`, `tq/mail`.
///
/// # Errors
/// What is wrong, in words.
pub fn queue(text: &str) -> Result<String, String> {
    name(text, "taskqueue", "tq")
}

/// The same of a schedule: `nightly`, `taskschedule.retryable.dev/nightly`, `tsch/nightly`.
///
/// # Errors
/// What is wrong, in words.
pub fn schedule(text: &str) -> Result<String, String> {
    name(text, "taskschedule", "tsch")
}

fn name(text: &str, kind: &str, short: &str) -> Result<String, String> {
    let Some((resource, name)) = text.split_once('/') else { return Ok(text.to_owned()) };
    let resource = resource.to_ascii_lowercase();
    let (plain, group) = resource.split_once('.').unwrap_or((&resource, GROUP));
    let is_kind = plain == short || plain.strip_suffix('s').unwrap_or(plain) == kind;
    if is_kind && (group == GROUP || group.strip_prefix("v1alpha1.") == Some(GROUP)) && !name.is_empty() {
        return Ok(name.to_owned());
    }
    Err(format!("invalid name {text:?}: write that of a {kind}, or {short}/NAME"))
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// What is wrong, in words.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("invalid assignment {text:?}: write NAME=VALUE")),
    }
}
