//! Why an attempt has not started: what its Pod's status says, else the newest Warning event about the Pod, else how far
//! the Pod is.

use super::draft::Scope;
use super::situation::{age, pod_of, slot_of};
use super::stage::{is_same, is_stage, is_stage_reason};
use super::stop_reasons;
use super::{PodRef, PodWarnings, Situation, TrackedPod};
use crate::api::{CurrentAttempt, HoldUp, RetryableTaskStatus, StopReason};
use crate::core::message::same_but_for_numbers;
use crate::core::pod_snapshot::{PodSnapshot, Progress, SCHEDULING_GATED};
use crate::core::pod_warning::{FAILED_SCHEDULING, PodWarning};
use crate::core::time::plus;
use jiff::SignedDuration;

/// How old a Pod is before the status says that it has not started, or not ended. Most Pods start at once, and a write for
/// each would be a quarter more writes.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(10);
/// The age of a Pod from which that write is no longer deferred for more urgent work: in a storm most attempts end before,
/// and the write of their end says it all.
const REPORT_DEADLINE: SignedDuration = SignedDuration::from_secs(30);
/// How long the Warning events that were read count as current.
pub const WARNINGS_HOLD: SignedDuration = SignedDuration::from_secs(60);
/// The clock skew allowed between an Event's reporter and the kubelet or scheduler.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(5);

/// Whether there is a Pod whose progress can be reported: one that has not ended.
pub(super) fn can_progress(situation: &Situation, stored: &RetryableTaskStatus) -> bool {
    reported(situation, stored).is_some_and(|tracked| !matches!(tracked.pod.progress, Progress::Ended(_)))
}

/// In how long a report of progress becomes a write that must be made; `None` if it never does.
pub(super) fn required_in(situation: &Situation, stored: &RetryableTaskStatus) -> Option<SignedDuration> {
    let age = age(situation, reported(situation, stored)?);
    let wait = REPORT_DEADLINE.saturating_sub(age);
    wait.is_positive().then_some(wait)
}

fn reported<'a>(situation: &'a Situation, stored: &RetryableTaskStatus) -> Option<&'a TrackedPod> {
    let current = stored.current.as_ref().filter(|current| current.pod_name.is_some())?;
    pod_of(situation, slot_of(current)).filter(|tracked| !tracked.deleted)
}

/// Whether the Pod has had its time to start, or to end: it is worth a write that it has not.
pub(super) fn is_settled(situation: &Situation, scope: Scope, tracked: &TrackedPod) -> bool {
    let least = match scope {
        Scope::WithProgress => SETTLE,
        Scope::Required => REPORT_DEADLINE,
    };
    age(situation, tracked) >= least
}

/// The Pod whose Warning events must be known before it can be said why it has not started.
pub(super) fn warnings_to_read(
    situation: &Situation,
    scope: Scope,
    (status, current): (&RetryableTaskStatus, &CurrentAttempt),
    tracked: &TrackedPod,
) -> Option<PodRef> {
    if !is_silent(current, tracked) {
        return None;
    }
    let stops = stop_reasons::stops(situation, status, current, tracked);
    let times_out = stops.iter().any(|stop| stop.reason == StopReason::StartupTimeout && stop.at <= situation.now);
    let is_due = times_out || (is_settled(situation, scope, tracked) && waited(situation, tracked) >= SETTLE);
    // The reason that is recorded for a startup timeout is the current one. Otherwise a new read can wait.
    let may_be_old = scope == Scope::Required && !times_out;
    let is_known = warnings(situation, tracked).is_some_and(|known| known.age < WARNINGS_HOLD || may_be_old);
    (is_due && !is_known).then(|| PodRef::from(tracked))
}

/// How long until the Warning events are worth reading.
pub(super) fn warnings_due_in(
    situation: &Situation,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
) -> Option<SignedDuration> {
    let wait = match warnings(situation, tracked) {
        Some(known) => WARNINGS_HOLD.saturating_sub(known.age),
        None => SETTLE.saturating_sub(waited(situation, tracked)),
    };
    Some(wait).filter(|wait| wait.is_positive() && is_silent(current, tracked))
}

/// What holds the attempt up. A stored `current.hold_up` that says the same stays as it is.
pub(super) fn of(
    situation: &Situation,
    scope: Scope,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
) -> Option<HoldUp> {
    let stored = current.hold_up.as_ref();
    if current.stop_reason.is_some() || tracked.pod.deleting {
        return stored.filter(|_| matches!(tracked.pod.progress, Progress::Pending(_))).cloned();
    }
    let now = match &tracked.pod.progress {
        // Gates that go soon are not worth a write.
        Progress::Pending(Some(hold_up))
            if hold_up.reason == SCHEDULING_GATED && stored.is_none() && !is_settled(situation, scope, tracked) =>
        {
            return None;
        }
        Progress::Pending(Some(hold_up)) => {
            return stored.filter(|stored| is_same(&stored.reason, &hold_up.reason)).or(Some(hold_up)).cloned();
        }
        Progress::Pending(None) => {
            let known = warnings(situation, tracked);
            if known.is_none() && !is_settled(situation, scope, tracked) {
                return stored.cloned();
            }
            if known.is_some_and(|known| !known.readable)
                && stored.is_some_and(|stored| can_still_be(&stored.reason, &tracked.pod))
            {
                return stored.cloned();
            }
            known
                .and_then(|known| known.newest.as_ref())
                .and_then(|newest| as_cause(newest, &tracked.pod))
                .or(stage(tracked))
        }
        Progress::Running | Progress::MainContainerExited(_) | Progress::Ended(_) => return None,
    };
    let (Some(stored), Some(now)) = (stored, now) else { return now.cloned() };
    let text = |hold_up: &HoldUp| hold_up.message.clone().unwrap_or_default();
    let says_the_same = stored.reason == now.reason && same_but_for_numbers(&text(stored), &text(now));
    let can_wait = is_stage(stored) && is_stage(now) && scope == Scope::Required;
    Some(if says_the_same || can_wait { stored.clone() } else { now.clone() })
}

/// Whether the Pod has not started, and its status names no trouble.
fn is_silent(current: &CurrentAttempt, tracked: &TrackedPod) -> bool {
    let at_work = tracked.pod.stage.as_ref().is_none_or(|stage| stage.init_runs);
    !at_work && !tracked.pod.deleting && current.stop_reason.is_none()
}

fn warnings<'a>(situation: &'a Situation, tracked: &TrackedPod) -> Option<&'a PodWarnings> {
    situation.process.warnings.as_ref().filter(|known| known.pod_uid == tracked.pod.pod_uid)
}

fn stage(tracked: &TrackedPod) -> Option<&HoldUp> {
    tracked.pod.stage.as_ref().map(|stage| &stage.hold_up)
}

/// How long the main container could have started, or the Pod could have got its node.
fn waited(situation: &Situation, tracked: &TrackedPod) -> SignedDuration {
    let starting = tracked.pod.starting.map(|since| situation.now.duration_since(since));
    starting.map_or(age(situation, tracked), |since| since.min(age(situation, tracked)))
}

/// Whether a stored reason may still hold the Pod up, given that nothing newer is known.
fn can_still_be(reason: &str, pod: &PodSnapshot) -> bool {
    let of_scheduling = matches!(reason, FAILED_SCHEDULING | "Unschedulable" | SCHEDULING_GATED);
    let is_over = is_at_work(pod) || (of_scheduling && has_a_node(pod));
    !is_over && !is_stage_reason(reason)
}

fn has_a_node(pod: &PodSnapshot) -> bool {
    pod.node_name.as_ref().is_some_and(|node| !node.is_empty())
}

fn is_at_work(pod: &PodSnapshot) -> bool {
    pod.stage.as_ref().is_some_and(|stage| stage.init_runs)
}

/// The event, if it is about what the Pod is at now: not about what it has left behind.
fn as_cause<'a>(warning: &'a PodWarning, pod: &PodSnapshot) -> Option<&'a HoldUp> {
    let PodWarning { hold_up, last_seen } = warning;
    let is_over = has_a_node(pod) && hold_up.reason == FAILED_SCHEDULING;
    let is_old = pod.starting.zip(*last_seen).is_some_and(|(since, last_seen)| plus(last_seen, CLOCKS_APART) < since);
    Some(hold_up).filter(|_| !is_over && !is_old && !is_at_work(pod))
}
