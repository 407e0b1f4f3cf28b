//! The end of the task: its conditions, its state, its last transition.

use super::Transition;
use super::draft::Draft;
use super::failed_message::the_last;
use crate::api::{ConditionReason, ConditionType, State};
use crate::core::classify::Verdict;
use crate::core::condition_list;
use crate::core::known_reasons::OOM_KILLED;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::pod_snapshot::Outcome;
use crate::core::time::{human, until};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The task ends with the current attempt.
pub(super) fn end(draft: &mut Draft, reason: ConditionReason, message: &str) {
    let now = draft.situation.now;
    let succeeded = reason.is_success();
    let type_ = if succeeded { ConditionType::Complete } else { ConditionType::Failed };
    condition_list::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    draft.condition((type_, true), reason, message);
    draft.condition((ConditionType::Finished, true), reason, message);
    if !succeeded {
        draft.condition((ConditionType::Stalled, true), reason, message);
    }
    draft.show_last_failure();
    let status = &mut draft.status;
    status.state = Some(match reason {
        reason if reason.is_success() => State::Succeeded,
        ConditionReason::Cancelled => State::Cancelled,
        _ => State::Failed,
    });
    status.attempts = draft.current.number;
    status.current = None;
    status.next_retry_time = None;
    status.completion_time = Some(Time(now));
    // The start is stored in whole seconds.
    let whole = |duration: SignedDuration| SignedDuration::from_secs(duration.as_secs());
    status.duration = status.start_time.as_ref().map(|start| human(whole(until(start.0, now))));
    draft.transitions.push(Transition::Finished { succeeded, reason, message: message.into() });
}

/// How far the task has succeeded with the attempt of that number, in words.
pub(super) fn succeeded_message(number: i32, verdict: &Verdict, outcome: &Outcome, line: Option<&String>) -> String {
    let partial = outcome.report.partial.filter(|partial| partial.has_failed());
    if outcome.succeeded {
        let in_part = partial.map(|partial| format!(" in part: {partial}")).unwrap_or_default();
        return format!("attempt {number} succeeded{in_part}{}", but_out_of_memory(outcome));
    }
    let rule = verdict.rule.as_deref().unwrap_or_default();
    let in_part = partial.map(|partial| format!(": {partial}")).unwrap_or_default();
    let end = the_last(&outcome.reason, outcome.exit_code, line);
    short(&format!("attempt {number} matched rule {rule}, whose action is Complete{in_part}{end}"), MAX_MESSAGE_BYTES)
}

/// What is to be said of a success during which a process ran out of memory.
pub(super) fn but_out_of_memory(outcome: &Outcome) -> &'static str {
    if outcome.reason == OOM_KILLED {
        "; a process in its container ran out of memory (OOMKilled), though the container exited with 0"
    } else {
        ""
    }
}
