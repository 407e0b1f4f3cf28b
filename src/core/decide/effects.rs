//! What follows from a status that is stored.

use super::closed_pods::{Closed, attempts_pods, closed, may_be_of_a_next_run};
use super::hold_up::SETTLE;
use super::queue::wait_in_line;
use super::rejected_creation::create_wait;
use super::situation::{
    age, creation_in_flight_for, current_of, is_finished, pod_of, remaining, slot_of, time_until_abandoned,
};
use super::{
    Cleanup, Plan, PodRef, Settled, Situation, StopMethod, TrackedPod, UNSEEN_BOUND, after, deadlines, hold_up, queue,
    stop_method, stop_reasons, ttl_seconds,
};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, RetryableTaskStatus};
use crate::core::condition_list;
use crate::core::pod_snapshot::Progress;
use crate::core::time::{plus, until};
use jiff::SignedDuration;

/// How soon a finished task whose time is over is looked at again while another task waits for it.
const AWAITED_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// A task that is being deleted removes the finalizer from its Pods.
pub(super) fn of_deleted_task(situation: &Situation) -> Settled {
    let with_finalizer = situation.pods.iter().filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted);
    let cleanup = Cleanup { remove_finalizer: with_finalizer.map(PodRef::from).collect(), ..Cleanup::default() };
    Settled { cleanup, ..Settled::default() }
}

/// What to do, given that the stored status is as it should be.
pub(super) fn of_stored_status(situation: &Situation, status: &RetryableTaskStatus) -> Plan {
    let mut settled = Settled::default();
    if is_finished(&status.conditions) {
        // Only a live status says whether a Pod is of a run that it does not know.
        let is_unknown = |tracked: &TrackedPod| may_be_of_a_next_run(situation, status, tracked.pod.slot());
        if attempts_pods(situation).any(is_unknown) {
            return Plan::RefreshTask;
        }
        expire(situation, status, &mut settled);
    } else if condition_list::find(&status.conditions, ConditionType::Stalled).is_some_and(is_invalid_spec) {
        if let Some(deadline) = deadlines::deadline_to_come(situation, status) {
            settled.requeue_in(until(situation.now, deadline));
        }
    } else {
        let request = current(situation, status, &current_of(status), &mut settled);
        if let Some(plan) = request {
            return plan;
        }
    }
    cleanup(situation, status, &mut settled);
    Plan::Settled(Box::new(settled))
}

fn is_invalid_spec(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.reason == ConditionReason::InvalidSpec.as_str()
}

/// What to do about the current attempt; a plan if it is one request.
fn current(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    settled: &mut Settled,
) -> Option<Plan> {
    if current.pod_name.is_none() {
        if !situation.task.spec.suspend && !after::requeue(situation, current, settled) {
            let wait = remaining(situation, current.due_time.as_ref());
            if !(wait.is_zero() && wait_in_line(situation, status, current, settled)) {
                settled.requeue_in(wait);
            }
        }
        return None;
    }
    match (pod_of(situation, slot_of(current)), &situation.process.created) {
        (Some(tracked), _) => watch(situation, status, current, tracked, settled),
        (None, Some(created)) => settled.requeue_in(UNSEEN_BOUND - created.age.min(UNSEEN_BOUND)),
        (None, None)
            if deadlines::must_not_run(situation, status, current)
                || deadlines::creation_timed_out(situation, current) =>
        {
            settled.requeue_in(creation_in_flight_for(situation));
        }
        (None, None) => return create(situation, status, current, settled),
    }
    None
}

fn create(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    settled: &mut Settled,
) -> Option<Plan> {
    let wait = create_wait(situation, current);
    if !wait.is_zero() {
        settled.requeue_in(wait);
        let deadlines =
            [deadlines::deadline_to_come(situation, status), deadlines::creation_deadline(situation, current)];
        for deadline in deadlines.into_iter().flatten() {
            settled.requeue_in(until(situation.now, deadline));
        }
        return None;
    }
    if queue::in_line(situation, current) {
        wait_in_line(situation, status, current, settled);
        return None;
    }
    // Another process may have closed this attempt, and let its Pod go, while the cache was behind.
    Some(if situation.lookups.task_is_live { Plan::CreatePod(slot_of(current)) } else { Plan::RefreshTask })
}

fn watch(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
    settled: &mut Settled,
) {
    if let Some(reason) = current.stop_reason.filter(|_| !tracked.pod.deleting && !tracked.deleted) {
        if reason.replaces() {
            settled.stop = Some((PodRef::from(tracked), StopMethod::Replacement));
        } else {
            let (method, wait) = stop_method::next(situation, current, tracked);
            settled.stop = method.map(|method| (PodRef::from(tracked), method));
            if let Some(wait) = wait {
                settled.requeue_in(wait);
            }
        }
    }
    for wait in time_until_abandoned(situation, tracked).into_iter().filter(|wait| !wait.is_zero()) {
        settled.requeue_in(wait);
    }
    let stops = stop_reasons::stops(situation, status, current, tracked).into_iter().map(|stop| stop.at);
    for at in stops.filter(|at| *at > situation.now) {
        settled.requeue_in(until(situation.now, at));
    }
    if let Some(wait) = hold_up::warnings_due_in(situation, current, tracked) {
        settled.requeue_deferrable(wait);
    }
    let settles_in = SETTLE.saturating_sub(age(situation, tracked));
    if settles_in.is_positive() {
        settled.requeue_deferrable(settles_in);
    }
}

/// Deletes the Pods of attempts whose end is stored, or removes their finalizer.
fn cleanup(situation: &Situation, status: &RetryableTaskStatus, settled: &mut Settled) {
    let removed = status.current.as_ref().and_then(|current| current.removed_pod_uid.as_deref());
    for Closed { tracked, kept, wait } in closed(situation, status, removed) {
        let is_settled = wait.is_zero();
        if !is_settled && (tracked.pod.has_finalizer || !kept) {
            settled.requeue_deferrable(wait);
        }
        // A Pod that has not ended may be the attempt's own, seen late: it keeps its finalizer as long as any.
        let ended = matches!(tracked.pod.progress, Progress::Ended(_));
        if !ended && !tracked.pod.deleting {
            settled.stale_pods.push(PodRef::from(tracked));
        } else if !kept && !tracked.pod.deleting && is_settled {
            settled.cleanup.delete.push(PodRef::from(tracked));
        }
        if tracked.pod.has_finalizer && is_settled {
            settled.cleanup.remove_finalizer.push(PodRef::from(tracked));
        }
    }
}

/// A finished task goes when its time is over.
fn expire(situation: &Situation, status: &RetryableTaskStatus, settled: &mut Settled) {
    let Some(ttl) = ttl_seconds(&situation.task.spec, status) else { return };
    let Some(ended) = status.completion_time.as_ref() else { return };
    let wait = until(situation.now, plus(ended.0, SignedDuration::from_secs(i64::from(ttl))));
    if wait.is_zero() && situation.process.is_awaited {
        settled.requeue_deferrable(AWAITED_AGAIN);
    } else if wait.is_zero() {
        settled.delete_task = true;
    } else {
        settled.requeue.expiry = Some(wait);
    }
}
