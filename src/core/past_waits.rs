//! The ranges from which the waits between the attempts of a task were picked.
//!
//! The status has the waits themselves. Where each could have been follows from the spec as it is now, and from the
//! counters as they were then, which are those of now less what has happened since.

use super::classify::budget;
use super::delay::{DelayRange, delay_range};
use crate::api::{Action, HistoryEntry, RetryableTask, RetryableTaskStatus};
use jiff::SignedDuration;
use std::collections::HashMap;

/// A stored wait is in whole milliseconds.
const ROUNDING: SignedDuration = SignedDuration::from_millis(1);

/// For each attempt of the history, the range from which the wait after it was picked. None if none followed, or if the
/// spec as it is now does not explain it: it has changed since.
pub fn ranges(task: &RetryableTask) -> Vec<Option<DelayRange>> {
    let Some(status) = &task.status else { return Vec::new() };
    let mut counters = Counters::of(status);
    let mut ranges: Vec<Option<DelayRange>> = status
        .history
        .iter()
        .rev()
        .map(|entry| {
            let range = counters.range_after(task, status, entry);
            counters.undo(task, entry);
            range.filter(|range| explains(*range, entry))
        })
        .collect();
    ranges.reverse();
    ranges
}

/// The counters after an attempt.
struct Counters<'a> {
    retries: i32,
    by_rule: HashMap<&'a str, i32>,
}

impl<'a> Counters<'a> {
    fn of(status: &'a RetryableTaskStatus) -> Self {
        let by_rule = status.failure_counts.iter().map(|counter| (counter.name.as_str(), counter.count)).collect();
        Self { retries: status.retries, by_rule }
    }

    fn range_after(
        &self,
        task: &RetryableTask,
        status: &RetryableTaskStatus,
        entry: &HistoryEntry,
    ) -> Option<DelayRange> {
        // The counters of earlier runs are not known any more.
        let first = status.run.map_or(1, |run| run.first_attempt);
        entry.delay_milliseconds.filter(|_| entry.attempt >= first)?;
        let rule = entry.rule.as_deref();
        let own = task.spec.rules.iter().flatten().find(|own| Some(own.name.as_str()) == rule);
        let backoff = own.and_then(|rule| rule.backoff.as_ref()).or(task.spec.backoff.as_ref());
        if let Some(seconds) = entry.retry_after_seconds {
            return Some(DelayRange::requested(seconds, backoff));
        }
        // A budget of its own counts its delays by itself.
        let nth = match rule {
            Some(rule) if !is_charged(task, entry) => self.by_rule.get(rule).copied().unwrap_or(0),
            Some(_) | None => self.retries,
        };
        Some(delay_range(backoff, nth))
    }

    /// Takes back what the end of that attempt has added.
    fn undo(&mut self, task: &RetryableTask, entry: &HistoryEntry) {
        if is_charged(task, entry) {
            self.retries = self.retries.saturating_sub(1);
        }
        if let Some(count) = entry.rule.as_deref().and_then(|rule| self.by_rule.get_mut(rule)) {
            *count = count.saturating_sub(1);
        }
    }
}

fn is_charged(task: &RetryableTask, entry: &HistoryEntry) -> bool {
    let has_own_budget = entry.rule.as_deref().and_then(|rule| budget(&task.spec, rule)).is_some();
    entry.action == Action::Retry && !has_own_budget
}

fn explains(range: DelayRange, entry: &HistoryEntry) -> bool {
    let wait = SignedDuration::from_millis(entry.delay_milliseconds.unwrap_or_default());
    range.earliest() <= wait.saturating_add(ROUNDING) && wait <= range.latest().saturating_add(ROUNDING)
}

#[cfg(test)]
mod tests;
