//! The end of an attempt is recorded: history, counters, and the next attempt or the task's end.

use super::attempt_end::AttemptEnd;
use super::deadlines;
use super::next::{Current, Draft};
use super::{Transition, Wait, fallback, requests, retry_wait};
use crate::api::{
    Action, ConditionReason, ConditionType, CurrentAttempt, FailureCount, HistoryEntry, LastFailure, State, StopReason,
};
use crate::core::attempt_spec::{can_raise_memory, number_in_run};
use crate::core::classify::{Verdict, classify};
use crate::core::condition_list;
use crate::core::excerpt::excerpt;
use crate::core::known_reasons::OOM_KILLED;
use crate::core::main_container::main_container_name;
use crate::core::message::{MAX_MESSAGE_BYTES, most_stored_bytes, short};
use crate::core::pod_snapshot::Outcome;
use crate::core::time::{human, until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use std::sync::Arc;

/// Most bytes of JSON that the history takes, however long its messages: what is older is dropped.
const MAX_HISTORY_BYTES: usize = 48 * 1024;

/// Writes the end of the current attempt into the draft, and makes the next attempt due or ends the task.
pub(super) fn close(draft: &mut Draft, end: &AttemptEnd) -> Current {
    let (stop, outcome) = end.judge(&draft.current);
    if draft.current.fallback {
        return fallback::close(draft, end, &outcome, stop);
    }
    draft.status.start_time.get_or_insert(Time(end.started));
    let mut verdict = classify(&outcome, stop, &draft.situation.task.spec, &draft.status);
    raise_memory(draft, &outcome);
    let uncharged = (draft.status.retries, draft.status.ignored);
    charge(draft, &verdict);
    let basis = retry_wait::basis(end, &outcome, &verdict, stop);
    let mut wait = basis.as_ref().map(|basis| retry_wait::of(draft, basis, draft.current.number));
    let too_late = wait.map(|wait| wait.due).filter(|due| deadlines::is_over(draft.situation, &draft.status, *due));
    if too_late.is_some() {
        // A wait that is not begun is not charged.
        (draft.status.retries, draft.status.ignored) = uncharged;
        (verdict.action, verdict.end) = (Action::Fail, Some(ConditionReason::DeadlineExceeded));
        wait = None;
    }
    condition_list::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    condition_list::remove(&mut draft.status.conditions, ConditionType::Stalled);
    let said = excerpt(&outcome, matched_message(draft, &verdict));
    let entry = entry(draft, end, &outcome, &verdict, wait, said.text);
    let is_failure = matches!(entry.action, Action::Retry | Action::Fail) || verdict.rule.is_some();
    // The end of the time, or of patience, is no news of the task: an earlier failure says more.
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
    Current::Due
}

/// The expression with which the rule that matched looked into the message.
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

fn charge(draft: &mut Draft, verdict: &Verdict) {
    let status = &mut draft.status;
    match verdict.action {
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

fn entry(
    draft: &Draft,
    end: &AttemptEnd,
    outcome: &Outcome,
    verdict: &Verdict,
    wait: Option<Wait>,
    message: Option<String>,
) -> HistoryEntry {
    let Outcome { container, exit_code, signal, reason, report, finished, .. } = outcome;
    HistoryEntry {
        attempt: draft.current.number,
        pod_name: end.pod_name.clone(),
        pod_uid: end.pod_uid.clone(),
        node_name: end.node_name.clone(),
        container: container.clone(),
        start_time: Some(Time(end.started)),
        finish_time: Some(Time(*finished)),
        exit_code: *exit_code,
        signal: *signal,
        reason: reason.clone(),
        error_type: report.error_type.clone(),
        message,
        rule: verdict.rule.clone(),
        action: verdict.action,
        delay_milliseconds: wait.map(Wait::milliseconds),
        generation: end.generation,
        memory: end.memory.clone().filter(|_| draft.situation.task.spec.on_out_of_memory.is_some()),
        avoided_nodes: draft.current.avoided_nodes.clone(),
        override_from: draft.current.override_from,
        run: draft.status.run.map(|run| run.number),
    }
}

fn remember(draft: &mut Draft, entry: HistoryEntry) {
    let limit = usize::try_from(draft.situation.task.spec.history_limit).unwrap_or(0);
    let history = &mut draft.status.history;
    history.push(Arc::new(entry));
    let mut bytes = 0;
    let fitting = history.iter().rev().take_while(|entry| {
        bytes += most_bytes(entry);
        bytes <= MAX_HISTORY_BYTES
    });
    let excess = history.len().saturating_sub(limit.min(fitting.count()));
    history.drain(..excess);
    let dropped = i32::try_from(excess).unwrap_or(i32::MAX);
    draft.status.history_dropped = draft.status.history_dropped.saturating_add(dropped);
}

/// Most bytes that an entry takes in the API server's store, and few more than it does take. To write it out would take
/// longer than all the rest of the decision.
pub(super) fn most_bytes(entry: &HistoryEntry) -> usize {
    const QUOTES_COLON_COMMA: usize = 4;
    const TIME: usize = "\"-009999-01-01T00:00:00Z\"".len();
    const LONGEST_ACTION: usize = "\"Complete\"".len();
    #[rustfmt::skip]
    let HistoryEntry {
        pod_name, pod_uid, node_name, container, reason, error_type, message, rule, memory, avoided_nodes,
        attempt, start_time, finish_time, exit_code, signal, action: _, delay_milliseconds, generation, override_from, run,
    } = entry;
    let field = |name: &str| name.len() + QUOTES_COLON_COMMA;
    let digits = |n: i64| n.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1) + usize::from(n < 0);
    let text = |name, text: Option<&String>| text.map_or(0, |text| field(name) + most_stored_bytes(text));
    let number = |name, number: Option<i64>| number.map_or(0, |number| field(name) + digits(number));
    let small = |name, small: Option<i32>| number(name, small.map(i64::from));
    let time = |name, time: Option<&Time>| time.map_or(0, |_| field(name) + TIME);
    let texts = text("podName", Some(pod_name))
        + text("podUID", pod_uid.as_ref())
        + text("nodeName", node_name.as_ref())
        + text("container", container.as_ref())
        + text("reason", Some(reason))
        + text("errorType", error_type.as_ref())
        + text("message", message.as_ref())
        + text("rule", rule.as_ref())
        + text("memory", memory.as_ref());
    let numbers = small("attempt", Some(*attempt))
        + small("exitCode", *exit_code)
        + small("signal", *signal)
        + number("delayMilliseconds", *delay_milliseconds)
        + number("generation", *generation)
        + small("overrideFrom", *override_from)
        + small("run", *run);
    let times = time("startTime", start_time.as_ref()) + time("finishTime", finish_time.as_ref());
    let nodes: usize = avoided_nodes.iter().map(|node| most_stored_bytes(node) + 1).sum();
    texts + numbers + times + nodes + field("avoidedNodes") + field("action") + LONGEST_ACTION + 2
}

/// The time is over before the next attempt: the task fails without it.
pub(super) fn fail_by_deadline(draft: &mut Draft) -> Current {
    let number = draft.current.number;
    take_back_retry(draft);
    let cause = cause_of_standstill(draft);
    let message = match draft.current.due_time.as_ref() {
        Some(due) => format!("attempt {number} would be due at {:.3}, after activeDeadlineSeconds", due.0),
        None => format!("activeDeadlineSeconds passed before attempt {number}"),
    };
    let message = cause.map_or(message.clone(), |cause| format!("{message}; the last cause: {cause}"));
    draft.current.number = number.saturating_sub(1);
    fail(draft, ConditionReason::DeadlineExceeded, &short(&message, MAX_MESSAGE_BYTES))
}

/// The spec has changed, and no longer allows the retry that waits: the task fails without it, and it is not charged.
pub(super) fn fail_without_retry(draft: &mut Draft, verdict: &Verdict) -> Current {
    take_back_retry(draft);
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
fn take_back_retry(draft: &mut Draft) {
    let wait = draft.current.wait.take();
    let before = entry_before(draft).map(|entry| {
        entry.delay_milliseconds = None;
        std::mem::replace(&mut entry.action, Action::Fail)
    });
    let (charged, action) = wait.map_or((false, before), |wait| (wait.charged, Some(wait.action)));
    let status = &mut draft.status;
    status.retries = status.retries.saturating_sub(i32::from(charged)).max(0);
    status.ignored = status.ignored.saturating_sub(i32::from(action == Some(Action::Ignore))).max(0);
}

/// What the history has of the attempt before the current one.
pub(super) fn entry_before<'a>(draft: &'a mut Draft) -> Option<&'a mut HistoryEntry> {
    let (number, run) = (draft.current.number, draft.status.run.map(|run| run.number));
    let is_before = |entry: &&mut Arc<HistoryEntry>| entry.attempt.saturating_add(1) == number && entry.run == run;
    draft.status.history.last_mut().filter(is_before).map(Arc::make_mut)
}

/// Somebody wants the task to end before its next attempt.
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

/// Why the task stands where it does: the Pod cannot be created, else the last failure.
fn cause_of_standstill(draft: &Draft) -> Option<String> {
    let stalled = condition_list::find(&draft.status.conditions, ConditionType::Stalled);
    let stalled = stalled.map(|condition| format!("{}: {}", condition.reason, condition.message));
    stalled.or_else(|| draft.status.last_failure.as_ref().map(cause_of))
}

fn cause_of(failure: &LastFailure) -> String {
    let code = failure.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let said = failure.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("attempt {} ended with {}{code}{said}", failure.attempt, failure.reason)
}

/// The end with which the task ends.
struct LastEnd<'a> {
    outcome: &'a Outcome,
    verdict: &'a Verdict,
    /// What is said of it in one line.
    line: Option<String>,
    /// When the next attempt would be due, after the task's deadline.
    too_late: Option<Timestamp>,
}

fn finish(draft: &mut Draft, reason: ConditionReason, last: &LastEnd) -> Current {
    if reason == ConditionReason::Succeeded {
        draft.status.result.clone_from(&last.outcome.report.result);
        let message = format!("attempt {} succeeded{}", draft.current.number, but_out_of_memory(last.outcome));
        end(draft, reason, &message);
        return Current::TaskEnded;
    }
    if reason == ConditionReason::Cancelled {
        requests::cancelled(draft);
    }
    let message = failed_message(draft, reason, last);
    fail(draft, reason, &message)
}

/// What is to be said of a success during which a process ran out of memory.
pub(super) fn but_out_of_memory(outcome: &Outcome) -> &'static str {
    if outcome.reason == OOM_KILLED {
        "; a process in its container ran out of memory (OOMKilled), though the container exited with 0"
    } else {
        ""
    }
}

/// The task fails with the current attempt, after its fallback if it has one.
fn fail(draft: &mut Draft, reason: ConditionReason, message: &str) -> Current {
    if fallback::follows(draft, reason) {
        return fallback::begin(draft, reason, message);
    }
    end(draft, reason, message);
    Current::TaskEnded
}

/// The task ends with the current attempt.
pub(super) fn end(draft: &mut Draft, reason: ConditionReason, message: &str) {
    let now = draft.situation.now;
    let succeeded = reason == ConditionReason::Succeeded;
    let type_ = if succeeded { ConditionType::Complete } else { ConditionType::Failed };
    condition_list::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    draft.condition((type_, true), reason, message);
    draft.condition((ConditionType::Finished, true), reason, message);
    if !succeeded {
        draft.condition((ConditionType::Stalled, true), reason, message);
    }
    draft.tell_last_failure();
    let status = &mut draft.status;
    status.state = Some(match reason {
        ConditionReason::Succeeded => State::Succeeded,
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

/// Why the task failed, with the last real cause: never only that a limit was exceeded.
fn failed_message(draft: &Draft, reason: ConditionReason, last: &LastEnd) -> String {
    let LastEnd { outcome, verdict, line, too_late } = last;
    let what = what_ended(draft, reason, verdict, *too_late);
    let stopped = matches!(reason, ConditionReason::DeadlineExceeded | ConditionReason::Cancelled);
    if stopped && too_late.is_none() {
        return short(&what, MAX_MESSAGE_BYTES);
    }
    let last = the_last(&outcome.reason, outcome.exit_code, line.as_ref());
    short(&format!("{what}{last}"), MAX_MESSAGE_BYTES)
}

fn the_last(reason: &str, exit_code: Option<i32>, message: Option<&String>) -> String {
    let code = exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let said = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("; the last ended with {reason}{code}{said}")
}

/// Which limit ended the task with the current attempt.
fn what_ended(draft: &Draft, reason: ConditionReason, verdict: &Verdict, too_late: Option<Timestamp>) -> String {
    let number = draft.current.number;
    let ran = number_in_run(Some(&draft.status), number);
    let attempts = if ran == 1 { "1 attempt".to_owned() } else { format!("{ran} attempts") };
    match (reason, verdict.exhausted.as_deref(), too_late) {
        (ConditionReason::DoNotRetry, ..) => format!("attempt {number} returned doNotRetry"),
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

fn earlier_cause(draft: &Draft) -> String {
    let earlier = draft.status.last_failure.as_ref().filter(|failure| failure.attempt < draft.current.number);
    earlier.map(|failure| format!("; {}", cause_of(failure))).unwrap_or_default()
}
