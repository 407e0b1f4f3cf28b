//! The Pods of attempts whose end is stored: which stay, and for how long a creation of one can be in flight.

use super::situation::{is_an_attempts, is_finished, slot_of};
use super::{LATE_POST_BOUND, Situation, TrackedPod};
use crate::api::{Action, ConditionType, FallbackState, RetryableTaskStatus};
use crate::core::condition_list;
use crate::core::pod_snapshot::Progress;
use crate::core::slot::Slot;
use jiff::SignedDuration;
use std::cmp::Reverse;

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
        let known = situation.process.uptime.saturating_sub(tracked.known_since);
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
            // A creation that came late, after its attempt had been closed: it never counts.
            Progress::Pending(_) | Progress::Running | Progress::MainContainerExited(_) => false,
        };
        Closed { tracked, kept, wait }
    };
    pods.into_iter().map(of).collect()
}

pub(super) fn attempts_pods<'a>(situation: &'a Situation) -> impl Iterator<Item = &'a TrackedPod> {
    situation.pods.iter().filter(|tracked| !tracked.deleted && is_an_attempts(situation, tracked))
}

/// Whether it is a Pod that the status of a finished task does not know: a creation that came too late, or an attempt of
/// a next run, which this status is too old to know.
pub(super) fn may_be_of_a_next_run(situation: &Situation, status: &RetryableTaskStatus, slot: Slot) -> bool {
    let last = Slot { number: status.attempts, fallback: status.fallback.is_some() };
    slot > last && !situation.lookups.task_is_live
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
