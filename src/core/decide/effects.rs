//! What follows from a status that is stored.

use super::deadlines;
use super::next::remaining;
use super::stalled::create_wait;
use super::{
    LATE_POST_BOUND, Plan, PodRef, SETTLE, Situation, TrackedPod, UNSEEN_BOUND, age, hold_up, is_an_attempts,
    is_finished, must_not_run, pod_of, slot_of, stop_pod, time_until_abandoned, unsettled,
};
use crate::api::{Action, ConditionReason, ConditionType, CurrentAttempt, FallbackState, RetryableTaskStatus};
use crate::core::condition_list;
use crate::core::pod_snapshot::Progress;
use crate::core::slot::Slot;
use crate::core::time::{plus, until};
use jiff::SignedDuration;
use std::cmp::Reverse;

/// A task that is being deleted lets go of its Pods.
pub(super) fn of_deleted_task(situation: &Situation) -> Plan {
    let release =
        situation.pods.iter().filter(|tracked| tracked.pod.has_finalizer && !tracked.deleted).map(pod_ref).collect();
    Plan { release, ..Plan::default() }
}

/// What to do, given that the stored status is as it should be.
pub(super) fn of_stored_status(situation: &Situation, status: &RetryableTaskStatus) -> Plan {
    let mut plan = Plan::default();
    cleanup(situation, status, &mut plan);
    if is_finished(&status.conditions) {
        expire(situation, status, &mut plan);
    } else if condition_list::find(&status.conditions, ConditionType::Stalled).is_some_and(is_invalid_spec) {
        if let Some(deadline) = deadlines::deadline_to_come(situation, status) {
            plan.requeue_in(until(situation.now, deadline));
        }
    } else {
        let none = CurrentAttempt::default();
        current(situation, status, status.current.as_ref().unwrap_or(&none), &mut plan);
    }
    plan
}

fn is_invalid_spec(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.reason == ConditionReason::InvalidSpec.as_str()
}

fn current(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt, plan: &mut Plan) {
    if current.pod_name.is_none() {
        if !situation.task.spec.suspend {
            plan.requeue_in(remaining(situation, current.due_time.as_ref()));
        }
        return;
    }
    match pod_of(situation, slot_of(current)) {
        Some(tracked) => watch(situation, status, current, tracked, plan),
        None => match situation.created {
            Some(created) => plan.requeue_in(UNSEEN_BOUND - created.age.min(UNSEEN_BOUND)),
            None if must_not_run(situation, status, current) || deadlines::is_given_up(situation, current) => {
                plan.requeue_in(unsettled(situation));
            }
            None => create(situation, status, current, plan),
        },
    }
}

fn create(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt, plan: &mut Plan) {
    let wait = create_wait(situation, current);
    if wait.is_zero() && !situation.task_is_live {
        // Somebody else may have closed this attempt, and freed its Pod, while the cache was behind.
        plan.refresh = true;
    } else if wait.is_zero() {
        plan.create = Some(slot_of(current));
    } else {
        plan.requeue_in(wait);
        let deadlines =
            [deadlines::deadline_to_come(situation, status), deadlines::creation_deadline(situation, current)];
        for deadline in deadlines.into_iter().flatten() {
            plan.requeue_in(until(situation.now, deadline));
        }
    }
}

fn watch(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
    plan: &mut Plan,
) {
    if let Some(reason) = current.stop_reason.filter(|_| !tracked.pod.deleting && !tracked.deleted) {
        if reason.replaces() {
            plan.replace = Some(pod_ref(tracked));
        } else {
            let (method, wait) = stop_pod::next(situation, current, tracked);
            plan.stop = method.map(|method| (pod_ref(tracked), method));
            if let Some(wait) = wait {
                plan.requeue_in(wait);
            }
        }
    }
    for wait in time_until_abandoned(situation, tracked).into_iter().filter(|wait| !wait.is_zero()) {
        plan.requeue_in(wait);
    }
    let stops = deadlines::stops(situation, status, current, tracked).into_iter().map(|stop| stop.at);
    for at in stops.filter(|at| *at > situation.now) {
        plan.requeue_in(until(situation.now, at));
    }
    if let Some(wait) = hold_up::asks_in(situation, current, tracked) {
        plan.deferrable(wait);
    }
    let settles_in = SETTLE.saturating_sub(age(situation, tracked));
    if settles_in.is_positive() {
        plan.deferrable(settles_in);
    }
}

/// A Pod of an attempt, or of the fallback, whose end is stored.
pub(super) struct Closed<'a> {
    pub(super) tracked: &'a TrackedPod,
    /// Whether it stays.
    pub(super) kept: bool,
    /// How long a creation of it can still be on its way.
    pub(super) wait: SignedDuration,
}

/// The Pods whose end is stored, the newest first. `removed` is the UID of one that makes room for the current attempt.
pub(super) fn closed<'a>(
    situation: &'a Situation,
    status: &RetryableTaskStatus,
    removed: Option<&str>,
) -> Vec<Closed<'a>> {
    let is_closed = |slot: Slot| {
        if is_finished(&status.conditions) {
            !may_be_of_a_next_run(situation, status, slot)
        } else {
            status.current.as_ref().is_none_or(|current| slot < slot_of(current))
        }
    };
    let mut pods: Vec<&TrackedPod> = attempts_pods(situation).filter(|tracked| is_closed(tracked.pod.slot())).collect();
    pods.sort_by_key(|tracked| Reverse(tracked.pod.slot()));
    let mut attempts = situation.task.spec.pod_retention.clone();
    let mut fallbacks = attempts.clone();
    let of = |tracked: &'a TrackedPod| {
        // By our own monotonic clock, which cannot jump: the Pod is at least as old as our first sight of it.
        let known = situation.uptime.saturating_sub(tracked.known_since);
        let wait = LATE_POST_BOUND.saturating_sub(known).max(SignedDuration::ZERO);
        let goes = tracked.pod.deleting || removed == Some(&tracked.pod.pod_uid);
        let kept = match &tracked.pod.progress {
            Progress::Ended(outcome) => {
                let retention = if tracked.pod.fallback { &mut fallbacks } else { &mut attempts };
                let succeeded =
                    outcome.succeeded || (outcome.past_deadline.is_some() && is_stored_as_success(status, tracked));
                let room = if succeeded { &mut retention.succeeded } else { &mut retention.failed };
                // One that is going takes no place of one that can stay.
                *room = room.saturating_sub(i32::from(!goes));
                *room >= 0 && !goes
            }
            // A creation that came late, after its attempt had been given up: it never counts.
            Progress::Pending(_) | Progress::Running | Progress::MainContainerExited(_) => false,
        };
        Closed { tracked, kept, wait }
    };
    pods.into_iter().map(of).collect()
}

fn attempts_pods<'a>(situation: &'a Situation) -> impl Iterator<Item = &'a TrackedPod> {
    situation.pods.iter().filter(|tracked| !tracked.deleted && is_an_attempts(situation, tracked))
}

/// Whether it is a Pod that the status of a finished task does not know: a creation that came too late, or an attempt of
/// a next run, which this status is too old to know.
fn may_be_of_a_next_run(situation: &Situation, status: &RetryableTaskStatus, slot: Slot) -> bool {
    let last = Slot { number: status.attempts, fallback: status.fallback.is_some() };
    slot > last && !situation.task_is_live
}

/// Frees and removes the Pods of attempts whose end is stored.
fn cleanup(situation: &Situation, status: &RetryableTaskStatus, plan: &mut Plan) {
    let finished = is_finished(&status.conditions);
    plan.refresh =
        finished && attempts_pods(situation).any(|tracked| may_be_of_a_next_run(situation, status, tracked.pod.slot()));
    let removed = status.current.as_ref().and_then(|current| current.removed_pod_uid.as_deref());
    for Closed { tracked, kept, wait } in closed(situation, status, removed) {
        let is_settled = wait.is_zero();
        if !is_settled && (tracked.pod.has_finalizer || !kept) {
            plan.deferrable(wait);
        }
        // One that has not ended may be the attempt's own, seen late: it is freed as late as any.
        let ended = matches!(tracked.pod.progress, Progress::Ended(_));
        if !ended && !tracked.pod.deleting {
            plan.stale_pods.push(pod_ref(tracked));
        } else if !kept && !tracked.pod.deleting && is_settled {
            plan.delete.push(pod_ref(tracked));
        }
        if tracked.pod.has_finalizer && is_settled {
            plan.release.push(pod_ref(tracked));
        }
    }
}

/// Whether the attempt, or the fallback, is stored as a success. A Pod that was stopped after its main container had
/// succeeded, because others ran on, does not say so itself.
fn is_stored_as_success(status: &RetryableTaskStatus, tracked: &TrackedPod) -> bool {
    let is_it = |uid: &Option<String>| uid.as_ref() == Some(&tracked.pod.pod_uid);
    if tracked.pod.fallback {
        let fallback = status.fallback.as_ref().filter(|fallback| is_it(&fallback.pod_uid));
        return fallback.is_some_and(|fallback| fallback.state == FallbackState::Succeeded);
    }
    match status.history.iter().rev().find(|entry| is_it(&entry.pod_uid)) {
        Some(entry) => entry.action == Action::Complete,
        // The history may have no room for any.
        None => {
            tracked.pod.number == status.attempts
                && condition_list::is_true(&status.conditions, ConditionType::Complete)
        }
    }
}

/// A finished task goes when its time is over.
fn expire(situation: &Situation, status: &RetryableTaskStatus, plan: &mut Plan) {
    let Some(ttl) = situation.task.spec.ttl_seconds_after_finished else { return };
    let Some(ended) = status.completion_time.as_ref() else { return };
    let wait = until(situation.now, plus(ended.0, SignedDuration::from_secs(i64::from(ttl))));
    if wait.is_zero() {
        plan.delete_task = true;
    } else {
        plan.deferrable(wait);
    }
}

fn pod_ref(tracked: &TrackedPod) -> PodRef {
    PodRef { name: tracked.pod.pod_name.clone(), uid: tracked.pod.pod_uid.clone() }
}

impl Plan {
    fn requeue_in(&mut self, wait: SignedDuration) {
        shorten(&mut self.requeue.for_attempt, wait);
    }

    pub(super) fn deferrable(&mut self, wait: SignedDuration) {
        shorten(&mut self.requeue.deferrable, wait);
    }
}

fn shorten(wait: &mut Option<SignedDuration>, to: SignedDuration) {
    *wait = Some(wait.map_or(to, |sooner| sooner.min(to)));
}
