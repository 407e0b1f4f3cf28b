//! The limits in time: of the task, and of a Pod's creation and start.

use super::{Situation, queue, requests};
use crate::api::{CurrentAttempt, RetryableTaskSpec, RetryableTaskStatus};
use crate::core::time::{plus, until};
use crate::core::validate::problem;
use jiff::{SignedDuration, Timestamp};

/// How long a Pod that has a node may take to start, unless the spec says otherwise, in seconds.
pub const STARTUP_SECONDS: i32 = 600;

/// When the whole task must have ended: the time it may take, from its first attempt, without the time that it was
/// suspended.
pub(super) fn deadline(situation: &Situation, status: &RetryableTaskStatus) -> Option<Timestamp> {
    let limit = seconds(situation.task.spec.active_deadline_seconds?);
    let start = status.start_time.as_ref()?.0;
    let suspended = SignedDuration::from_millis(status.suspended_milliseconds);
    let still = status.suspended_time.as_ref().map_or(SignedDuration::ZERO, |since| until(since.0, situation.now));
    Some(plus(plus(plus(start, limit), suspended), still))
}

/// When the deadline will pass by itself, if it will: a fallback has none, and while a task is suspended its clock stands.
pub(super) fn deadline_to_come(situation: &Situation, status: &RetryableTaskStatus) -> Option<Timestamp> {
    let is_fallback = status.current.as_ref().is_some_and(|current| current.fallback);
    let stands = status.suspended_time.is_some();
    deadline(situation, status).filter(|at| !is_fallback && !stands && *at > situation.now)
}

/// Whether the deadline has passed, or will have by the time `due`.
pub(super) fn is_over(situation: &Situation, status: &RetryableTaskStatus, due: Timestamp) -> bool {
    deadline(situation, status).is_some_and(|deadline| due.max(situation.now) >= deadline)
}

/// How long a Pod may take to start, in seconds. The fallback is not retried, so it always has a limit.
pub fn startup_limit(spec: &RetryableTaskSpec, current: &CurrentAttempt) -> Option<i32> {
    spec.startup_timeout_seconds.or(current.fallback.then_some(STARTUP_SECONDS))
}

/// When the creation of a Pod times out, if ever: it has as long to be created as to start.
pub(super) fn creation_deadline(situation: &Situation, current: &CurrentAttempt) -> Option<Timestamp> {
    let limit = startup_limit(&situation.task.spec, current)?;
    Some(plus(current.create_time.as_ref()?.0, seconds(limit)))
}

/// Whether it is too late to create the Pod: its time is over, and a creation was tried. Time without an operator does
/// not count against the attempt.
pub(super) fn creation_timed_out(situation: &Situation, current: &CurrentAttempt) -> bool {
    let was_tried = current.rejections > 0 || situation.process.failing.as_ref().is_some();
    // The wait for a slot is none of the Pod's.
    was_tried
        && !queue::in_line(situation, current)
        && creation_deadline(situation, current).is_some_and(|deadline| deadline <= situation.now)
}

/// Whether an attempt without a Pod must not get one: the task is suspended or cancelled, its spec is invalid, its queue
/// drains or has let it wait too long, or its deadline is over. The deadline does not apply to the fallback.
pub(super) fn must_not_run(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> bool {
    situation.task.spec.suspend
        || problem(&situation.task.spec).is_some()
        || requests::is_cancelled(situation, status)
        || queue::drains(situation, current)
        || (current.pod_name.is_some() && queue::is_timed_out(situation, status, current))
        || (!current.fallback && is_over(situation, status, situation.now))
}

pub(super) fn seconds(limit: i32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(limit))
}
