//! The limits in time: when the current attempt's Pod is stopped, and why.

use super::{Situation, TrackedPod, requests};
use crate::api::{CurrentAttempt, RetryableTaskStatus, StopReason};
use crate::core::build_pod::template_hash;
use crate::core::pod_snapshot::{HoldUp, Progress};
use crate::core::time::{plus, until};
use crate::core::validate::problem;
use jiff::{SignedDuration, Timestamp};

/// How long other containers may run on after the main one ended, before the Pod is stopped.
const OTHER_CONTAINERS_GRACE: SignedDuration = SignedDuration::from_secs(3);
/// How long a Pod that has a node may take to start, unless the spec says otherwise, in seconds.
const STARTUP_SECONDS: i32 = 600;

/// A moment at which the Pod is stopped, if it has not ended by then.
pub(super) struct Stop<'a> {
    pub(super) at: Timestamp,
    pub(super) reason: StopReason,
    pub(super) cause: Option<&'a HoldUp>,
}

/// When and why the Pod is stopped, the most telling reason first.
pub(super) fn stops<'a>(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &'a CurrentAttempt,
    tracked: &'a TrackedPod,
) -> Vec<Stop<'a>> {
    let plain = |at, reason| Stop { at, reason, cause: None };
    let cancel = requests::is_cancelled(situation, status).then_some(situation.now);
    // Neither the suspension nor the deadline is for a fallback that runs.
    let suspend = (situation.task.spec.suspend && !current.fallback).then_some(situation.now);
    let deadline = deadline(situation, status).filter(|_| !current.fallback);
    let all = [
        cancel.map(|at| plain(at, StopReason::Cancelled)),
        suspend.map(|at| plain(at, StopReason::Suspended)),
        main_container_exited(tracked).map(|at| plain(at, StopReason::TaskEnded)),
        spec_changed(situation, current, tracked),
        startup(situation, current, tracked),
        timeout(situation, current, tracked).map(|at| plain(at, StopReason::AttemptTimeout)),
        deadline.map(|at| plain(at, StopReason::DeadlineExceeded)),
    ];
    all.into_iter().flatten().collect()
}

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

fn timeout(situation: &Situation, current: &CurrentAttempt, tracked: &TrackedPod) -> Option<Timestamp> {
    let spec = &situation.task.spec;
    let own = spec.on_failure.as_ref().filter(|_| current.fallback).and_then(|fallback| fallback.timeout_seconds);
    let limit = seconds(own.or(spec.attempt_timeout_seconds)?);
    let runs = match &tracked.pod.progress {
        Progress::Running => true,
        // Where all containers decide, one of them may run while another has not started.
        Progress::Pending(_) => tracked.pod.started.is_some(),
        Progress::MainContainerExited(_) | Progress::Ended(_) => false,
    };
    runs.then(|| plus(started(tracked), limit))
}

/// How long a Pod may take to start, whatever it waits for, in seconds. The fallback is not retried, so it has a limit
/// in any case.
fn startup_limit(situation: &Situation, current: &CurrentAttempt) -> Option<i32> {
    situation.task.spec.startup_timeout_seconds.or(current.fallback.then_some(STARTUP_SECONDS))
}

/// When a Pod that does not exist is given up, if ever: it has as long to be created as to start.
pub(super) fn creation_deadline(situation: &Situation, current: &CurrentAttempt) -> Option<Timestamp> {
    let limit = startup_limit(situation, current)?;
    Some(plus(current.create_time.as_ref()?.0, seconds(limit)))
}

/// Whether it is too late to create the Pod: its time is over, and it was tried. That no operator was there to try is
/// not held against the attempt.
pub(super) fn is_given_up(situation: &Situation, current: &CurrentAttempt) -> bool {
    let was_tried = current.rejections > 0 || situation.process.failing.as_ref().is_some();
    was_tried && creation_deadline(situation, current).is_some_and(|deadline| deadline <= situation.now)
}

fn startup<'a>(situation: &Situation, current: &'a CurrentAttempt, tracked: &'a TrackedPod) -> Option<Stop<'a>> {
    let Progress::Pending(hold_up) = &tracked.pod.progress else { return None };
    let cause = hold_up.as_ref().or(current.hold_up.as_ref());
    let never = hold_up.as_ref().is_some_and(|hold_up| is_permanent(&hold_up.reason));
    let at = match (never, situation.task.spec.startup_timeout_seconds) {
        (true, _) => Some(situation.now),
        (false, Some(limit)) => Some(plus(tracked.pod.created, seconds(limit))),
        (false, None) if current.fallback => Some(plus(tracked.pod.created, seconds(STARTUP_SECONDS))),
        // A busy cluster may take its time to find a node, unless the user has set a limit.
        (false, None) => tracked.pod.starting.map(|since| plus(since, seconds(STARTUP_SECONDS))),
    };
    at.map(|at| Stop { at, reason: StopReason::StartupTimeout, cause })
}

/// A Pod whose main container has not started follows a spec of which it would be made otherwise today. The fallback's
/// does not: a slot has one Pod, and no other slot follows the fallback.
fn spec_changed<'a>(situation: &Situation, current: &'a CurrentAttempt, tracked: &'a TrackedPod) -> Option<Stop<'a>> {
    let Progress::Pending(hold_up) = &tracked.pod.progress else { return None };
    let is_old = tracked.pod.generation < situation.task.metadata.generation;
    let made_from =
        tracked.pod.template_hash.as_ref().filter(|_| is_old && !current.fallback && tracked.pod.can_be_replaced())?;
    // A spec that no Pod can be made from stops none.
    let changed =
        problem(&situation.task.spec).is_none() && template_hash(situation.task, tracked.pod.slot()) != *made_from;
    changed.then(|| Stop {
        at: situation.now,
        reason: StopReason::SpecChanged,
        cause: hold_up.as_ref().or(current.hold_up.as_ref()),
    })
}

/// The kubelet's words for what waiting does not mend.
fn is_permanent(reason: &str) -> bool {
    matches!(reason, "InvalidImageName")
}

/// How long other containers may go on after the main one ended.
fn main_container_exited(tracked: &TrackedPod) -> Option<Timestamp> {
    let main_ended = matches!(tracked.pod.progress, Progress::MainContainerExited(_));
    main_ended.then(|| plus(tracked.end_seen.unwrap_or(tracked.first_seen), OTHER_CONTAINERS_GRACE))
}

/// When the main container started; a node's clock that is behind does not make it older than its Pod.
fn started(tracked: &TrackedPod) -> Timestamp {
    tracked.pod.started.unwrap_or(tracked.pod.created).max(tracked.pod.created)
}

fn seconds(limit: i32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(limit))
}

/// Whether an attempt without a Pod is not to get one: the task is suspended or cancelled, its spec makes no sense, or
/// its time is over. The deadline is not the fallback's.
pub(super) fn must_not_run(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> bool {
    situation.task.spec.suspend
        || problem(&situation.task.spec).is_some()
        || requests::is_cancelled(situation, status)
        || (!current.fallback && is_over(situation, status, situation.now))
}
