//! Why a task failed, in words: the message of its Failed condition.

use super::draft::Draft;
use crate::api::{ConditionReason, ConditionType, LastFailure};
use crate::core::attempt_spec::number_in_run;
use crate::core::classify::Verdict;
use crate::core::condition_list;
use crate::core::end_text::reason_and_code;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::pod_snapshot::Outcome;
use jiff::Timestamp;

/// The end with which the task ends.
pub(super) struct LastEnd<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) verdict: &'a Verdict,
    /// Its message in one line.
    pub(super) line: Option<String>,
    /// When the next attempt would be due, after the task's deadline.
    pub(super) too_late: Option<Timestamp>,
}

/// Why the task failed, with the last real cause: never only that a limit was exceeded.
pub(super) fn failed_message(draft: &Draft, reason: ConditionReason, last: &LastEnd) -> String {
    let LastEnd { outcome, verdict, line, too_late } = last;
    let what = what_ended(draft, reason, verdict, *too_late);
    let stopped = matches!(reason, ConditionReason::DeadlineExceeded | ConditionReason::Cancelled);
    if stopped && too_late.is_none() {
        return short(&what, MAX_MESSAGE_BYTES);
    }
    let last = the_last(&outcome.reason, outcome.exit_code, line.as_ref());
    short(&format!("{what}{last}"), MAX_MESSAGE_BYTES)
}

pub(super) fn the_last(reason: &str, exit_code: Option<i32>, message: Option<&String>) -> String {
    let said = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("; the last ended with {}{said}", reason_and_code(reason, exit_code))
}

/// Which limit ended the task with the current attempt.
pub(super) fn what_ended(
    draft: &Draft,
    reason: ConditionReason,
    verdict: &Verdict,
    too_late: Option<Timestamp>,
) -> String {
    let number = draft.current.number;
    let ran = number_in_run(Some(&draft.status), number);
    let attempts = if ran == 1 { "1 attempt".to_owned() } else { format!("{ran} attempts") };
    match (reason, verdict.exhausted.as_deref(), too_late) {
        (ConditionReason::DoNotRetry, ..) => format!("attempt {number} returned doNotRetry"),
        (ConditionReason::PartiallySucceeded, ..) => {
            let rule = verdict.rule.as_deref().unwrap_or_default();
            format!("attempt {number} matched rule {rule}, whose action is Complete")
        }
        (ConditionReason::RuleFailed, ..) => {
            let rule = verdict.rule.as_deref().unwrap_or_default();
            format!("attempt {number} matched rule {rule}, whose action is Fail")
        }
        (ConditionReason::BudgetExhausted, Some(rule), _) => {
            format!("retry budget of rule {rule} exhausted after {attempts}")
        }
        (ConditionReason::DeadlineExceeded, _, Some(due)) => {
            format!("attempt {} would be due at {due:.3}, after activeDeadlineSeconds", number.saturating_add(1))
        }
        (ConditionReason::DeadlineExceeded, ..) => {
            format!("activeDeadlineSeconds passed during attempt {number}{}", earlier_cause(draft))
        }
        (ConditionReason::Cancelled, ..) => {
            format!("cancelled by the user during attempt {number}{}", earlier_cause(draft))
        }
        _ if ran == 1 => "the only attempt failed (maxRetries 0)".into(),
        _ => {
            let max = draft.situation.task.spec.max_retries;
            let free = ran.saturating_sub(1).saturating_sub(draft.status.retries);
            let free = if free > 0 { format!(", {free} of them not charged") } else { String::new() };
            format!("maxRetries ({max}) exhausted after {attempts}{free}")
        }
    }
}

/// Why the task stands where it does: the Pod cannot be created, else the last failure.
pub(super) fn cause_of_standstill(draft: &Draft) -> Option<String> {
    let stalled = condition_list::find(&draft.status.conditions, ConditionType::Stalled);
    let stalled = stalled.map(|condition| format!("{}: {}", condition.reason, condition.message));
    stalled.or_else(|| draft.status.last_failure.as_ref().map(cause_of))
}

fn earlier_cause(draft: &Draft) -> String {
    let earlier = draft.status.last_failure.as_ref().filter(|failure| failure.attempt < draft.current.number);
    earlier.map(|failure| format!("; {}", cause_of(failure))).unwrap_or_default()
}

fn cause_of(failure: &LastFailure) -> String {
    let said = failure.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let end = reason_and_code(&failure.reason, failure.exit_code);
    format!("attempt {} ended with {end}{said}", failure.attempt)
}
