//! The fallback: a last Pod, run once when the task has failed. The task is Failed when the fallback has ended, even with
//! success.

use super::attempt_end::AttemptEnd;
use super::draft::{Draft, Step};
use super::finish::{but_out_of_memory, end};
use super::situation::name_of;
use super::{Transition, requests};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, Fallback, FallbackState, StopReason};
use crate::core::condition_list;
use crate::core::end_text::reason_and_code;
use crate::core::excerpt::excerpt;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::pod_snapshot::Outcome;
use crate::core::slot::Slot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Most bytes of what the message of the task says of why the fallback did not start.
const MAX_CAUSE_BYTES: usize = 256;

/// Whether a failure for that reason is followed by the fallback. A later run that has had no attempt has none: its slot
/// would be the one after the last attempt of the run before.
pub(super) fn follows(draft: &Draft, reason: ConditionReason) -> bool {
    let ends_at_once = reason.is_success() || reason == ConditionReason::Cancelled;
    let has_slot = draft.status.run.is_none_or(|run| draft.current.number >= run.first_attempt);
    draft.situation.task.spec.on_failure.is_some() && !draft.current.fallback && !ends_at_once && has_slot
}

/// The task will be failed; the fallback is due. The current attempt is the last one.
pub(super) fn begin(draft: &mut Draft, reason: ConditionReason, message: &str) -> Step {
    draft.condition((ConditionType::FailureTarget, true), reason, message);
    condition_list::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    condition_list::remove(&mut draft.status.conditions, ConditionType::Stalled);
    draft.current = CurrentAttempt { number: draft.current.number, fallback: true, ..CurrentAttempt::default() };
    draft.transitions.push(Transition::FallingBack { reason, message: message.into() });
    Step::NotStarted
}

/// The fallback may start.
pub(super) fn started(draft: &mut Draft) {
    let slot = Slot { number: draft.current.number, fallback: true };
    draft.status.fallback = Some(Fallback {
        state: FallbackState::Running,
        pod_name: name_of(draft.situation, slot),
        start_time: Some(Time(draft.situation.now)),
        ..Fallback::default()
    });
}

/// The fallback has ended, and with it the task: as failed as it was.
pub(super) fn close(draft: &mut Draft, ended: &AttemptEnd, outcome: &Outcome, stop: Option<StopReason>) -> Step {
    let state = if outcome.succeeded { FallbackState::Succeeded } else { FallbackState::Failed };
    draft.status.fallback = Some(Fallback {
        state,
        pod_name: ended.pod_name.clone(),
        pod_uid: ended.pod_uid.clone(),
        node_name: ended.node_name.clone(),
        start_time: Some(Time(ended.started)),
        finish_time: Some(Time(outcome.finished)),
        exit_code: outcome.exit_code,
        reason: Some(outcome.reason.clone()),
        message: excerpt(outcome, None).text,
    });
    if outcome.succeeded {
        draft.status.result.clone_from(&outcome.report.result);
    }
    if stop == Some(StopReason::Cancelled) {
        requests::fallback_cancelled(draft);
    }
    fail(draft, &fallback_result(outcome, stop));
    Step::TaskEnded
}

fn fallback_result(outcome: &Outcome, stop: Option<StopReason>) -> String {
    if outcome.succeeded {
        return format!("the fallback succeeded{}", but_out_of_memory(outcome));
    }
    if stop == Some(StopReason::Cancelled) {
        return "the fallback was cancelled by the user".into();
    }
    if outcome.never_started {
        let message = outcome.message.as_ref().map(|message| format!(": {}", short(message, MAX_CAUSE_BYTES)));
        return format!("the fallback did not start: {}{}", outcome.reason, message.unwrap_or_default());
    }
    format!("the fallback ended with {}", reason_and_code(&outcome.reason, outcome.exit_code))
}

/// The task fails without a fallback that was due: it was cancelled.
pub(super) fn cancel(draft: &mut Draft) {
    requests::fallback_cancelled(draft);
    skip(draft, "the fallback was cancelled by the user before it started");
}

/// The task fails without a fallback that was due.
pub(super) fn skip(draft: &mut Draft, why: &str) {
    draft.status.fallback = None;
    fail(draft, why);
}

fn fail(draft: &mut Draft, fallback_result: &str) {
    let target = condition_list::find(&draft.status.conditions, ConditionType::FailureTarget).cloned();
    let failure = target.as_ref().and_then(|target| ConditionReason::of_failure(&target.reason));
    let message = target.map(|target| target.message).unwrap_or_default();
    // What came of the fallback stays readable however long the failure's message is.
    let room = MAX_MESSAGE_BYTES.saturating_sub(fallback_result.len() + 2);
    let message = short(&format!("{}; {fallback_result}", short(&message, room)), MAX_MESSAGE_BYTES);
    condition_list::remove(&mut draft.status.conditions, ConditionType::FailureTarget);
    end(draft, failure.unwrap_or(ConditionReason::RetriesExhausted), &message);
}
