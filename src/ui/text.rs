//! Times and counts as people read them.

use crate::core::time::{human, until};
use jiff::{SignedDuration, Timestamp};

/// A point in time for a page: when it is, and how far that is from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// As RFC 3339, for programs.
    pub iso: String,
    /// In full, for a tooltip.
    pub exact: String,
    /// Such as `12s ago` or `in 3m4s`. The browser counts on.
    pub relative: String,
}

impl When {
    /// `at`, as seen from `now`.
    pub fn of(at: Timestamp, now: Timestamp) -> Self {
        Self { iso: format!("{at:.3}"), exact: exact(at), relative: relative(at, now) }
    }
}

/// Such as `2026-11-22 10:00:00 UTC`.
pub fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Such as `12s ago` or `in 3m4s`, in whole seconds.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let whole = |from, to| human(SignedDuration::from_secs(until(from, to).as_secs()));
    if at > now { format!("in {}", whole(now, at)) } else { format!("{} ago", whole(at, now)) }
}

/// A count with its digits in groups, such as `12,345`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 task`, `2 tasks`.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
