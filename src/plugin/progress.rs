//! What happens to a task while somebody watches it, line by line.

use super::tasks::state;
use crate::api::{ConditionType, HistoryEntry, RetryableTask, State};
use crate::core::condition_list;
use crate::core::decide::is_finished;
use crate::core::end_text::reason_and_code;
use crate::core::excerpt;
use crate::core::time::human;
use jiff::{SignedDuration, Timestamp};

/// What was seen of a task so far.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    last_attempt: i32,
    last_line: String,
}

impl Watched {
    /// What is new since the last call, one line each.
    pub fn lines(&mut self, task: &RetryableTask, now: Timestamp) -> Vec<String> {
        let Some(status) = &task.status else { return Vec::new() };
        let mut lines: Vec<String> = Vec::new();
        for entry in status.history.iter().filter(|entry| entry.attempt > self.last_attempt) {
            lines.push(ended(entry));
        }
        self.last_attempt =
            status.history.last().map_or(self.last_attempt, |entry| entry.attempt.max(self.last_attempt));
        if let Some(line) = standing(task, now).filter(|line| *line != self.last_line) {
            lines.push(line.clone());
            self.last_line = line;
        }
        lines
    }
}

fn ended(entry: &HistoryEntry) -> String {
    let HistoryEntry { attempt, reason, exit_code, message, delay_milliseconds, .. } = entry;
    let line = message.as_deref().and_then(excerpt::last_line).map(|line| format!(": {line}")).unwrap_or_default();
    let wait = delay_milliseconds.map(|wait| format!("; the next waits {}", human(SignedDuration::from_millis(wait))));
    format!("attempt {attempt} ended with {}{line}{}", reason_and_code(reason, *exit_code), wait.unwrap_or_default())
}

/// Where the task stands, without what changes from second to second. None while it only passes by.
fn standing(task: &RetryableTask, now: Timestamp) -> Option<String> {
    let status = task.status.as_ref()?;
    if let Some(end) = End::of(task) {
        return Some(format!("{}: {}", state(task), end.message));
    }
    let current = status.current.as_ref();
    let number = current.map_or(0, |current| current.number);
    let what = if current.is_some_and(|current| current.fallback) {
        "the fallback".into()
    } else {
        format!("attempt {number}")
    };
    let due = current.and_then(|current| current.due_time.as_ref()).filter(|due| due.0 > now);
    let reason = current.and_then(|current| current.hold_up.as_ref()).map(|hold_up| format!(" ({})", hold_up.reason));
    let has_pod = current.is_some_and(|current| current.pod_name.is_some());
    match (due, status.state) {
        (Some(due), _) if !has_pod => Some(format!("{}: {what} starts at {:.0}", state(task), due.0)),
        (_, None | Some(State::Waiting)) => None,
        _ => Some(format!("{}: {what}{}", state(task), reason.unwrap_or_default())),
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether it succeeded, in whole or in part.
    pub succeeded: bool,
    /// Its condition's reason.
    pub reason: String,
    /// Its condition's message.
    pub message: String,
}

impl End {
    /// Of a task that has ended.
    pub fn of(task: &RetryableTask) -> Option<Self> {
        let conditions = &task.status.as_ref()?.conditions;
        if !is_finished(conditions) {
            return None;
        }
        let succeeded = condition_list::is_true(conditions, ConditionType::Complete);
        let type_ = if succeeded { ConditionType::Complete } else { ConditionType::Failed };
        let condition = condition_list::find(conditions, type_)
            .or_else(|| condition_list::find(conditions, ConditionType::Finished))?;
        Some(Self { succeeded, reason: condition.reason.clone(), message: condition.message.clone() })
    }
}
