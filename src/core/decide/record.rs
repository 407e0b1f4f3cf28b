//! The end of an attempt is recorded: history, counters, and the next attempt or the task's end.

use super::attempt_end::AttemptEnd;
use super::draft::{Draft, Step};
use super::failed_message::{LastEnd, cause_of_standstill, failed_message, the_last, what_ended};
use super::finish::{end, succeeded_message};
use super::history::{entry, entry_before, remember};
use super::{Transition, deadlines, fallback, queue, requests, retry_wait};
use crate::api::{
    Action, ConditionReason, ConditionType, CurrentAttempt, FailureCount, LastFailure, QueueRef, StopReason,
};
use crate::core::attempt_spec::can_raise_memory;
use crate::core::classify::{Verdict, classify};
use crate::core::condition_list;
use crate::core::excerpt::excerpt;
use crate::core::known_reasons::OOM_KILLED;
use crate::core::main_container::main_container_name;
use crate::core::message::{MAX_MESSAGE_BYTES, short};
use crate::core::pod_snapshot::Outcome;
use crate::core::time::human;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Writes the end of the current attempt into the draft, and makes the next attempt due or ends the task.
pub(super) fn close(draft: &mut Draft, end: &AttemptEnd) -> Step {
    let (stop, outcome) = end.judge(&draft.current);
    if draft.current.fallback {
        return fallback::close(draft, end, &outcome, stop);
    }
    draft.status.start_time.get_or_insert(Time(end.started));
    let verdict = classify(&outcome, stop, &draft.situation.task.spec, &draft.status);
    let mut verdict = queue::spare_probe(draft, &outcome, verdict);
    raise_memory(draft, &outcome);
    keep_checkpoint(draft, &outcome);
    let uncharged = (draft.status.retries, draft.status.ignored);
    charge(draft, &verdict);
    let basis = retry_wait::basis(end, &outcome, &verdict, stop);
    let mut wait = basis.as_ref().map(|basis| retry_wait::of(draft, basis, draft.current.number));
    let too_late = wait.map(|wait| wait.due).filter(|due| deadlines::is_over(draft.situation, &draft.status, *due));
    if too_late.is_some() {
        // The retry would be due after activeDeadlineSeconds: it is not charged, and the task fails.
        (draft.status.retries, draft.status.ignored) = uncharged;
        (verdict.action, verdict.end) = (Action::Fail, Some(ConditionReason::DeadlineExceeded));
        wait = None;
    }
    condition_list::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    condition_list::remove(&mut draft.status.conditions, ConditionType::Stalled);
    let said = excerpt(&outcome, matched_message(draft, &verdict));
    let entry = entry(draft, end, &outcome, &verdict, wait, said.text);
    let is_failure = match entry.action {
        Action::Retry | Action::Fail => true,
        Action::Ignore | Action::Unknown => verdict.rule.is_some(),
        Action::Complete => false,
    };
    // DeadlineExceeded and Cancelled say nothing of the workload: an earlier failure says more.
    let is_no_news = matches!(stop, Some(StopReason::DeadlineExceeded | StopReason::Cancelled));
    let says_less = is_no_news && draft.status.last_failure.is_some();
    if is_failure && !says_less {
        draft.status.last_failure = Some(LastFailure {
            attempt: entry.attempt,
            reason: entry.reason.clone(),
            exit_code: entry.exit_code,
            message: said.line.clone(),
        });
    }
    draft.transitions.push(Transition::Ended { entry: Box::new(entry.clone()), wait, line: said.line.clone() });
    remember(draft, entry);
    if let Some(reason) = verdict.end {
        return finish(draft, reason, &LastEnd { outcome: &outcome, verdict: &verdict, line: said.line, too_late });
    }
    let number = draft.current.number.saturating_add(1);
    let due_time = wait.map(|wait| MicroTime(wait.due));
    draft.current = CurrentAttempt { number, due_time, wait: basis, ..CurrentAttempt::default() };
    Step::NotStarted
}

/// `when.message` of the rule that matched.
fn matched_message<'a>(draft: &Draft<'a>, verdict: &Verdict) -> Option<&'a str> {
    let name = verdict.rule.as_deref()?;
    let rule = draft.situation.task.spec.rules.iter().flatten().find(|rule| rule.name == name)?;
    rule.when.as_ref()?.message.as_deref()
}

/// The next attempts get more memory, if the main container ran out of it and there is more to get.
fn raise_memory(draft: &mut Draft, outcome: &Outcome) {
    let task = draft.situation.task;
    let main = outcome.container.as_deref() == Some(&*main_container_name(&task.spec));
    let ran_out = !outcome.succeeded && outcome.reason == OOM_KILLED;
    if main && ran_out && can_raise_memory(&task.spec, &draft.status, draft.slot()) {
        draft.status.memory_raises = draft.status.memory_raises.saturating_add(1);
    }
}

/// The checkpoint that the attempt reported replaces the earlier one, however the attempt ended.
fn keep_checkpoint(draft: &mut Draft, outcome: &Outcome) {
    if let Some(checkpoint) = &outcome.report.checkpoint {
        draft.status.checkpoint = Some(checkpoint.clone()).filter(|checkpoint| !checkpoint.is_empty());
    }
}

fn charge(draft: &mut Draft, verdict: &Verdict) {
    let status = &mut draft.status;
    match verdict.action {
        // Charged to the rule's own budget, not to maxRetries.
        Action::Retry if !verdict.charged => {}
        Action::Retry => status.retries = status.retries.saturating_add(1),
        Action::Ignore => status.ignored = status.ignored.saturating_add(1),
        Action::Complete | Action::Fail | Action::Unknown => {}
    }
    status.exhausted_budget.clone_from(&verdict.exhausted);
    let Some(rule) = verdict.rule.as_ref().filter(|_| verdict.counted) else { return };
    match status.failure_counts.iter_mut().find(|counter| counter.name == *rule) {
        Some(counter) => counter.count = counter.count.saturating_add(1),
        None => status.failure_counts.push(FailureCount { name: rule.clone(), count: 1 }),
    }
}

/// activeDeadlineSeconds passes before the next attempt: the task fails without it.
pub(super) fn fail_by_deadline(draft: &mut Draft) -> Step {
    let number = draft.current.number;
    take_back_retry(draft, Action::Fail);
    let cause = cause_of_standstill(draft);
    let waited = draft
        .waited()
        .map(|(waited, QueueRef { name, .. })| format!(", which had waited {} for TaskQueue {name}", human(waited)));
    let message = match draft.current.due_time.as_ref().filter(|_| waited.is_none()) {
        Some(due) => format!("attempt {number} would be due at {:.3}, after activeDeadlineSeconds", due.0),
        None => format!("activeDeadlineSeconds passed before attempt {number}{}", waited.unwrap_or_default()),
    };
    let message = cause.map_or(message.clone(), |cause| format!("{message}; the last cause: {cause}"));
    draft.current.number = number.saturating_sub(1);
    fail(draft, ConditionReason::DeadlineExceeded, &short(&message, MAX_MESSAGE_BYTES))
}

/// The attempt has waited too long for its queue: the task fails without it.
pub(super) fn fail_by_queue_timeout(draft: &mut Draft) -> Step {
    let number = draft.current.number;
    let waited =
        draft.waited().map(|(waited, QueueRef { name, .. })| format!("{} for TaskQueue {name}", human(waited)));
    let waited = waited.unwrap_or_default();
    take_back_retry(draft, Action::Fail);
    let cause = cause_of_standstill(draft).map(|cause| format!("; the last cause: {cause}")).unwrap_or_default();
    let message = format!("attempt {number} waited {waited}, longer than queue.maxWaitSeconds{cause}");
    draft.current.number = number.saturating_sub(1);
    fail(draft, ConditionReason::QueueTimeout, &short(&message, MAX_MESSAGE_BYTES))
}

/// The spec has changed, and no longer allows the retry that waits: the task ends without it, and it is not charged.
pub(super) fn fail_without_retry(draft: &mut Draft, verdict: &Verdict) -> Step {
    take_back_retry(draft, verdict.action);
    draft.status.exhausted_budget.clone_from(&verdict.exhausted);
    draft.current.number = draft.current.number.saturating_sub(1);
    let reason = verdict.end.unwrap_or(ConditionReason::RetriesExhausted);
    let what = what_ended(draft, reason, verdict, None);
    let last =
        draft.status.last_failure.as_ref().map(|last| the_last(&last.reason, last.exit_code, last.message.as_ref()));
    let message = short(&format!("{what}{}", last.unwrap_or_default()), MAX_MESSAGE_BYTES);
    fail(draft, reason, &message)
}

/// A retry that is not begun is not charged, and the attempt before it is the one that ended the task.
fn take_back_retry(draft: &mut Draft, instead: Action) {
    let wait = draft.current.wait.take();
    let before = entry_before(draft).map(|entry| {
        entry.delay_milliseconds = None;
        std::mem::replace(&mut entry.action, instead)
    });
    let (charged, action) = wait.map_or((false, before), |wait| (wait.charged, Some(wait.action)));
    let status = &mut draft.status;
    status.retries = status.retries.saturating_sub(i32::from(charged)).max(0);
    status.ignored = status.ignored.saturating_sub(i32::from(action == Some(Action::Ignore))).max(0);
}

/// The tasks that this one waits for keep it from ever starting an attempt in this run.
pub(super) fn fail_without_attempt(draft: &mut Draft, reason: ConditionReason, message: &str) {
    draft.current.number = draft.current.number.saturating_sub(1);
    end(draft, reason, message);
    (draft.status.reason, draft.status.message) = (Some(reason.as_str().into()), Some(message.into()));
}

/// A user cancels the task before its next attempt.
pub(super) fn cancel(draft: &mut Draft) {
    if draft.current.fallback {
        return fallback::cancel(draft);
    }
    let number = draft.current.number;
    let cause = cause_of_standstill(draft).map(|cause| format!("; the last cause: {cause}")).unwrap_or_default();
    let message = format!("cancelled by the user before attempt {number}{cause}");
    draft.current.number = number.saturating_sub(1);
    requests::cancelled(draft);
    end(draft, ConditionReason::Cancelled, &short(&message, MAX_MESSAGE_BYTES));
}

fn finish(draft: &mut Draft, reason: ConditionReason, last: &LastEnd) -> Step {
    if reason == ConditionReason::Succeeded {
        draft.status.checkpoint = None;
    }
    if reason.is_success() {
        draft.status.result.clone_from(&last.outcome.report.result);
        let message = succeeded_message(draft.current.number, last.verdict, last.outcome, last.line.as_ref());
        end(draft, reason, &message);
        return Step::TaskEnded;
    }
    if reason == ConditionReason::Cancelled {
        requests::cancelled(draft);
    }
    let message = failed_message(draft, reason, last);
    fail(draft, reason, &message)
}

/// The task ends with the current attempt, after its fallback if it has failed and has one.
fn fail(draft: &mut Draft, reason: ConditionReason, message: &str) -> Step {
    if fallback::follows(draft, reason) {
        return fallback::begin(draft, reason, message);
    }
    end(draft, reason, message);
    Step::TaskEnded
}
