//! The wait before a retry: decided when an attempt has ended, and again whenever the spec has changed since.

use super::attempt_end::AttemptEnd;
use super::draft::Draft;
use super::{Transition, Wait, history};
use crate::api::{RetryWait, StopReason};
use crate::core::classify::{Verdict, again, count};
use crate::core::delay::{DelayRange, delay_range};
use crate::core::jitter_seed::jitter_seed;
use crate::core::pod_snapshot::Outcome;
use crate::core::queue::failures::CIRCUIT;
use crate::core::time::{micros, plus};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// What the wait after that end follows from, beside the spec; nothing when no attempt follows, or one at once.
pub(super) fn basis(
    end: &AttemptEnd,
    outcome: &Outcome,
    verdict: &Verdict,
    stop: Option<StopReason>,
) -> Option<RetryWait> {
    if verdict.end.is_some() || stop.is_some_and(StopReason::is_free) {
        return None;
    }
    // The node's clock may be behind: no attempt ended before its Pod was created.
    let from = plus(outcome.finished, SignedDuration::from_secs(1)).min(end.seen).max(end.created);
    Some(RetryWait {
        from: MicroTime(micros(from)),
        rule: verdict.rule.clone(),
        action: verdict.action,
        charged: verdict.charged,
        retry_after_seconds: outcome.report.retry_after_seconds,
    })
}

/// The wait by the spec as it is now, after the end of the attempt of that number.
pub(super) fn of(draft: &Draft, basis: &RetryWait, number: i32) -> Wait {
    let task = draft.situation.task;
    let RetryWait { from, rule, action: _, charged, retry_after_seconds } = basis;
    let is_own = |name: &&String| task.spec.rules.iter().flatten().find(|own| own.name == **name);
    let own = rule.as_ref().and_then(|name| is_own(&name)).and_then(|rule| rule.backoff.as_ref());
    let backoff = own.or(task.spec.backoff.as_ref());
    // A budget of its own counts its delays by itself. A probe has none: its wait is not shorter than that of other attempts.
    let nth = match rule {
        Some(rule) if !charged && rule != CIRCUIT => count(&draft.status, rule),
        Some(_) | None => draft.status.retries,
    };
    let range = match retry_after_seconds {
        Some(seconds) => DelayRange::requested(*seconds, backoff),
        None => delay_range(backoff, nth),
    };
    let delay = range.pick(jitter_seed(task.metadata.uid.as_deref().unwrap_or_default(), number));
    Wait { range, delay, due: micros(plus(from.0, delay)) }
}

/// Brings the wait for the current attempt up to what the spec says now. Answers the verdict if the spec no longer allows
/// the attempt.
pub(super) fn follow_spec(draft: &mut Draft) -> Option<Verdict> {
    let basis = draft.current.wait.clone().filter(|_| !draft.current.fallback)?;
    let verdict = again(&basis, &draft.situation.task.spec, &draft.status);
    if verdict.end.is_some() {
        return Some(verdict);
    }
    // A wait that somebody has skipped stays skipped.
    let due = draft.current.due_time.clone()?;
    let wait = of(draft, &basis, draft.current.number.saturating_sub(1));
    if wait.due != due.0 {
        draft.current.due_time = Some(MicroTime(wait.due));
        draft.moved_from = Some(due.0);
        if let Some(entry) = history::entry_before(draft) {
            entry.delay_milliseconds = Some(wait.milliseconds());
        }
        let attempt = draft.current.number;
        draft.transitions.push(Transition::Rescheduled { attempt, wait });
    }
    None
}
