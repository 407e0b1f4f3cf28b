//! The end of an attempt goes into the books: history, counters, and the next attempt or the task's end.

use super::limits;
use super::next::{Current, Draft};
use super::{Happening, Seen, Wait};
use crate::api::{
    Action, ConditionReason, ConditionType, CurrentAttempt, FailureClass, HistoryEntry, LastFailure, State, StopReason,
};
use crate::core::backoff::{Spread, spread};
use crate::core::classify::{Verdict, classify, count};
use crate::core::conditions;
use crate::core::identity::dice;
use crate::core::message::{MAX_MESSAGE_BYTES, Word, short, stored_bytes};
use crate::core::observe::Outcome;
use crate::core::time::{human, micros, plus, until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// Most bytes of JSON that the history takes, however long its messages: what is older is dropped.
const MAX_HISTORY_BYTES: usize = 48 * 1024;

/// How an attempt ended, as far as anything is left to tell.
pub(super) struct End {
    outcome: Outcome,
    pod_name: String,
    pod_uid: Option<String>,
    node_name: Option<String>,
    started: Timestamp,
    created: Timestamp,
    /// Whether the Pod was being deleted, by us or by others.
    deleted: bool,
    /// When this process first saw the end.
    seen: Timestamp,
}

impl End {
    /// The end that a Pod tells.
    pub(super) fn of(seen: &Seen, outcome: &Outcome, now: Timestamp) -> Self {
        Self {
            outcome: outcome.clone(),
            pod_name: seen.pod.pod_name.clone(),
            pod_uid: Some(seen.pod.pod_uid.clone()),
            node_name: seen.pod.node_name.clone(),
            started: outcome.started.unwrap_or(seen.pod.created),
            created: seen.pod.created,
            deleted: seen.pod.deleting || seen.gone,
            seen: seen.end_seen.unwrap_or(now),
        }
    }

    /// The end of an attempt whose Pod is gone, and was never seen to end.
    pub(super) fn lost(draft: &Draft, pod_uid: String, last_seen: Option<&Seen>) -> Self {
        let now = draft.situation.now;
        let outcome = Outcome {
            succeeded: false,
            container: None,
            exit_code: None,
            signal: None,
            reason: "Lost".into(),
            message: Some("the Pod is gone, and its end was never seen".into()),
            word: Word::default(),
            started: None,
            finished: now,
            disrupted: false,
            conditions: Vec::new(),
            never_started: false,
            stopped: false,
        };
        let pod_name = draft.expected_pod_name();
        let node_name = last_seen.and_then(|seen| seen.pod.node_name.clone());
        let created = last_seen.map_or(now, |seen| seen.pod.created);
        Self {
            outcome,
            pod_name,
            pod_uid: Some(pod_uid),
            node_name,
            started: created,
            created,
            deleted: true,
            seen: now,
        }
    }

    /// Our reason to stop the Pod, if that is what ended it: a container that had finished before is its own master. Kubernetes cuts times to
    /// whole seconds; in the second of the stop, the stop counts, since running twice is better than not having run.
    fn stopped_by(&self, current: &CurrentAttempt) -> Option<StopReason> {
        let stop_time = current.stop_time.as_ref()?.0;
        let had_finished = plus(self.outcome.finished, SignedDuration::from_secs(1)) <= stop_time;
        // The node's clock may be behind ours: a death by SIGKILL or SIGTERM is our doing whatever its time.
        let killed = matches!(self.outcome.signal, Some(9 | 15));
        current.stop_reason.filter(|_| self.deleted && (killed || !had_finished))
    }
}

/// Writes the end of the current attempt into the draft, and makes the next attempt due or ends the task.
pub(super) fn close(draft: &mut Draft, end: &End) -> Current {
    let stop = end.stopped_by(&draft.current);
    let outcome = as_stopped(&end.outcome, stop, &draft.current);
    draft.status.start_time.get_or_insert(Time(end.started));
    let mut verdict = classify(&outcome, stop, &draft.situation.task.spec, &draft.status);
    let uncharged = (draft.status.retries, draft.status.ignored);
    charge(draft, &verdict);
    let mut wait = wait(draft, end, &outcome, &verdict, stop);
    let too_late = wait.map(|wait| wait.due).filter(|due| limits::is_over(draft.situation, &draft.status, *due));
    if too_late.is_some() {
        // A wait that is not begun is not charged.
        (draft.status.retries, draft.status.ignored) = uncharged;
        (verdict.action, verdict.end) = (Action::Fail, Some(ConditionReason::DeadlineExceeded));
        wait = None;
    }
    conditions::remove(&mut draft.status.conditions, ConditionType::Reconciling);
    conditions::remove(&mut draft.status.conditions, ConditionType::Stalled);
    let entry = entry(draft, end, &outcome, &verdict, wait);
    let is_failure = matches!(entry.action, Action::Retry | Action::Fail) || verdict.rule.is_some();
    // The end of the time is no news of the task: an earlier failure says more.
    let says_less = stop == Some(StopReason::DeadlineExceeded) && draft.status.last_failure.is_some();
    if is_failure && !says_less {
        draft.status.last_failure = Some(LastFailure {
            attempt: entry.attempt,
            reason: entry.reason.clone(),
            exit_code: entry.exit_code,
            message: entry.message.clone(),
        });
    }
    draft.happenings.push(Happening::Ended { entry: Box::new(entry.clone()), wait });
    remember(draft, entry);
    if let Some(reason) = verdict.end {
        finish(draft, reason, &outcome, verdict.exhausted.as_deref(), too_late);
        return Current::TaskEnded;
    }
    let number = draft.current.number.saturating_add(1);
    draft.current =
        CurrentAttempt { number, due_time: wait.map(|wait| MicroTime(wait.due)), ..CurrentAttempt::default() };
    Current::Due
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
    match status.classes.iter_mut().find(|counter| counter.name == *rule) {
        Some(counter) => counter.count = counter.count.saturating_add(1),
        None => status.classes.push(FailureClass { name: rule.clone(), count: 1 }),
    }
}

/// The wait before the next attempt; nothing when none follows, or when it follows at once after a suspension.
fn wait(draft: &Draft, end: &End, outcome: &Outcome, verdict: &Verdict, stop: Option<StopReason>) -> Option<Wait> {
    if verdict.end.is_some() || stop == Some(StopReason::Suspended) {
        return None;
    }
    let task = draft.situation.task;
    let backoff = verdict.backoff.as_ref().or(task.spec.backoff.as_ref());
    // A budget of its own counts its delays by itself.
    let nth = match &verdict.rule {
        Some(rule) if !verdict.charged => count(&draft.status, rule),
        Some(_) | None => draft.status.retries,
    };
    let spread = match outcome.word.retry_after_seconds {
        Some(seconds) => Spread::asked_for(seconds, backoff),
        None => spread(backoff, nth),
    };
    let delay = spread.pick(dice(task.metadata.uid.as_deref().unwrap_or_default(), draft.current.number));
    // The node's clock may be behind: no attempt ended before its Pod was created.
    let from = plus(outcome.finished, SignedDuration::from_secs(1)).min(end.seen).max(end.created);
    Some(Wait { spread, delay, due: micros(plus(from, delay)) })
}

fn entry(draft: &Draft, end: &End, outcome: &Outcome, verdict: &Verdict, wait: Option<Wait>) -> HistoryEntry {
    let Outcome { container, exit_code, signal, reason, message, word, finished, .. } = outcome;
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
        error_type: word.error_type.clone(),
        message: message.clone(),
        rule: verdict.rule.clone(),
        action: verdict.action,
        delay_milliseconds: wait.map(|wait| i64::try_from(wait.delay.as_millis()).unwrap_or(i64::MAX)),
    }
}

fn remember(draft: &mut Draft, entry: HistoryEntry) {
    let limit = usize::try_from(draft.situation.task.spec.history_limit).unwrap_or(0);
    let history = &mut draft.status.history;
    history.push(entry);
    let mut bytes = 0;
    let fitting = history.iter().rev().take_while(|entry| {
        bytes += serde_json::to_string(entry).map_or(MAX_HISTORY_BYTES, |text| stored_bytes(&text));
        bytes <= MAX_HISTORY_BYTES
    });
    let excess = history.len().saturating_sub(limit.min(fitting.count()));
    history.drain(..excess);
    let dropped = i32::try_from(excess).unwrap_or(i32::MAX);
    draft.status.history_dropped = draft.status.history_dropped.saturating_add(dropped);
}

/// The outcome as our own stop has shaped it: an exit code on our SIGTERM says nothing of the task. What the task says in words still counts.
fn as_stopped(outcome: &Outcome, stop: Option<StopReason>, current: &CurrentAttempt) -> Outcome {
    let own = Outcome { stopped: true, succeeded: false, ..outcome.clone() };
    let said = |text: &str| own.message.clone().or_else(|| Some(text.into()));
    match stop {
        None | Some(StopReason::TaskEnded) => outcome.clone(),
        Some(StopReason::StartupTimeout) => Outcome {
            reason: current.stop_cause.clone().unwrap_or_else(|| StopReason::StartupTimeout.as_str().into()),
            message: current.stop_message.clone().or_else(|| said("the Pod did not start in time")),
            exit_code: None,
            signal: None,
            never_started: true,
            ..own
        },
        Some(stop @ StopReason::AttemptTimeout) => {
            Outcome { reason: stop.as_str().into(), message: said("ran longer than attemptTimeoutSeconds"), ..own }
        }
        Some(stop @ StopReason::DeadlineExceeded) => Outcome {
            reason: stop.as_str().into(),
            message: said("the task took longer than activeDeadlineSeconds"),
            ..own
        },
        Some(stop @ (StopReason::Suspended | StopReason::Unknown)) => Outcome { reason: stop.as_str().into(), ..own },
    }
}

/// The time is over before the next attempt: the task fails without it.
pub(super) fn fail_by_deadline(draft: &mut Draft) {
    let last = draft.status.last_failure.clone();
    let number = draft.current.number;
    if let Some(entry) = draft.status.history.last_mut().filter(|entry| entry.attempt.saturating_add(1) == number) {
        (entry.action, entry.delay_milliseconds) = (Action::Fail, None);
    }
    let stalled = conditions::find(&draft.status.conditions, ConditionType::Stalled);
    let cause =
        stalled.map(|condition| format!("{}: {}", condition.reason, condition.message)).or(last.as_ref().map(cause_of));
    let message = match draft.current.due_time.as_ref() {
        Some(due) => format!("attempt {number} would be due at {:.3}, after activeDeadlineSeconds", due.0),
        None => format!("activeDeadlineSeconds passed before attempt {number}"),
    };
    let message = cause.map_or(message.clone(), |cause| format!("{message}; the last cause: {cause}"));
    draft.current.number = number.saturating_sub(1);
    end(draft, ConditionReason::DeadlineExceeded, &short(&message, MAX_MESSAGE_BYTES));
}

fn cause_of(failure: &LastFailure) -> String {
    let code = failure.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let said = failure.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("attempt {} ended with {}{code}{said}", failure.attempt, failure.reason)
}

fn finish(
    draft: &mut Draft,
    reason: ConditionReason,
    outcome: &Outcome,
    exhausted: Option<&str>,
    too_late: Option<Timestamp>,
) {
    let message = if reason == ConditionReason::Succeeded {
        draft.status.result.clone_from(&outcome.word.result);
        format!("attempt {} succeeded", draft.current.number)
    } else {
        failed_message(draft, outcome, reason, exhausted, too_late)
    };
    end(draft, reason, &message);
}

/// The task ends with the current attempt.
fn end(draft: &mut Draft, reason: ConditionReason, message: &str) {
    let now = draft.situation.now;
    let succeeded = reason == ConditionReason::Succeeded;
    let type_ = if succeeded { ConditionType::Complete } else { ConditionType::Failed };
    draft.condition((type_, true), reason, message);
    draft.condition((ConditionType::Finished, true), reason, message);
    if !succeeded {
        draft.condition((ConditionType::Stalled, true), reason, message);
    }
    draft.tell_last_failure();
    let status = &mut draft.status;
    status.state = Some(if succeeded { State::Succeeded } else { State::Failed });
    status.attempts = draft.current.number;
    status.current = None;
    status.next_retry_time = None;
    status.completion_time = Some(Time(now));
    status.duration = status.start_time.as_ref().map(|start| human(until(start.0, now)));
    draft.happenings.push(Happening::Finished { succeeded, reason, message: message.into() });
}

/// Why the task failed, with the last real cause: never only that a limit was exceeded.
fn failed_message(
    draft: &Draft,
    outcome: &Outcome,
    reason: ConditionReason,
    exhausted: Option<&str>,
    too_late: Option<Timestamp>,
) -> String {
    let number = draft.current.number;
    let what = match (reason, exhausted, too_late) {
        (ConditionReason::DoNotRetry, ..) => format!("attempt {number} asked not to be retried"),
        (ConditionReason::RuleFailed, ..) => format!("a rule says that attempt {number} is not to be retried"),
        (ConditionReason::BudgetExhausted, Some(rule), _) => {
            format!("the retries of {rule} are used up after {number} attempts")
        }
        (ConditionReason::DeadlineExceeded, _, Some(due)) => {
            format!("attempt {} would be due at {due:.3}, after activeDeadlineSeconds", number.saturating_add(1))
        }
        (ConditionReason::DeadlineExceeded, ..) => {
            let earlier = draft.status.last_failure.as_ref().filter(|failure| failure.attempt < number);
            let earlier = earlier.map(|failure| format!("; {}", cause_of(failure))).unwrap_or_default();
            format!("activeDeadlineSeconds passed during attempt {number}{earlier}")
        }
        _ if number == 1 => "the only attempt failed (maxRetries 0)".into(),
        _ => format!("no retry is left after {number} attempts (maxRetries {})", draft.situation.task.spec.max_retries),
    };
    if reason == ConditionReason::DeadlineExceeded && too_late.is_none() {
        return short(&what, MAX_MESSAGE_BYTES);
    }
    let code = outcome.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let said = outcome.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    short(&format!("{what}; the last ended with {}{code}{said}", outcome.reason), MAX_MESSAGE_BYTES)
}
