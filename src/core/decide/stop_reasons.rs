//! Why and when the operator stops the Pod of an attempt: cancel, suspend, a queue that drains, other containers that run on, a changed spec,
//! the limits in time.

use super::deadlines::{STARTUP_SECONDS, deadline, seconds};
use super::{Situation, TrackedPod, queue, requests};
use crate::api::{CurrentAttempt, RetryableTaskStatus, StopReason};
use crate::core::build_pod::template_hash;
use crate::core::pod_snapshot::{HoldUp, Progress, SCHEDULING_GATED};
use crate::core::time::plus;
use crate::core::validate::problem;
use jiff::{SignedDuration, Timestamp};

/// How long other containers may run on after the main one ended, before the Pod is stopped.
const OTHER_CONTAINERS_GRACE: SignedDuration = SignedDuration::from_secs(3);

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
        queue::drains(situation, current).then(|| plain(situation.now, StopReason::QueueDrained)),
        main_container_exited(tracked).map(|at| plain(at, StopReason::TaskEnded)),
        spec_changed(situation, current, tracked),
        startup(situation, current, tracked),
        timeout(situation, current, tracked).map(|at| plain(at, StopReason::AttemptTimeout)),
        deadline.map(|at| plain(at, StopReason::DeadlineExceeded)),
    ];
    all.into_iter().flatten().collect()
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

fn startup<'a>(situation: &Situation, current: &'a CurrentAttempt, tracked: &'a TrackedPod) -> Option<Stop<'a>> {
    let Progress::Pending(hold_up) = &tracked.pod.progress else { return None };
    let cause = hold_up.as_ref().or(current.hold_up.as_ref());
    let never = hold_up.as_ref().is_some_and(|hold_up| is_permanent(&hold_up.reason));
    if tracked.pod.gated {
        return None;
    }
    let since = startup_since(current, tracked);
    let at = match (never, situation.task.spec.startup_timeout_seconds) {
        (true, _) => Some(situation.now),
        (false, Some(limit)) => Some(plus(since, seconds(limit))),
        (false, None) if current.fallback => Some(plus(since, seconds(STARTUP_SECONDS))),
        // A busy cluster may take its time to find a node, unless the user has set a limit.
        (false, None) => tracked.pod.starting.map(|since| plus(since, seconds(STARTUP_SECONDS))),
    };
    at.map(|at| Stop { at, reason: StopReason::StartupTimeout, cause })
}

/// From when the Pod could have started: it was created, and no scheduling gate held it back any more.
fn startup_since(current: &CurrentAttempt, tracked: &TrackedPod) -> Timestamp {
    ungated(current, tracked).map_or(tracked.pod.created, |ungated| ungated.max(tracked.pod.created))
}

/// When the Pod's scheduling gates went, as far as it is known. Kubernetes records no time for that.
pub(super) fn ungated(current: &CurrentAttempt, tracked: &TrackedPod) -> Option<Timestamp> {
    let stored = current.ungated_time.as_ref().map(|at| at.0);
    // Another process saw the gates last.
    let seen_without = (is_gated(current) && !tracked.pod.gated).then_some(tracked.first_seen);
    stored.or(tracked.ungated).or(seen_without)
}

/// Whether the last that was said of the Pod is that gates hold it back.
pub(super) fn is_gated(current: &CurrentAttempt) -> bool {
    current.hold_up.as_ref().is_some_and(|hold_up| hold_up.reason == SCHEDULING_GATED)
}

/// A Pod whose main container has not started is replaced if the spec would make another Pod now. The fallback's Pod is
/// not: a slot has one Pod, and no other slot follows the fallback.
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

/// The kubelet's reasons that waiting does not resolve.
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
