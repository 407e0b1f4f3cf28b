//! The next status in the making. Only state and plain changes of it: what changes follow is decided elsewhere.

use super::situation::{current_of, is_finished, name_of, slot_of};
use super::stage::is_stage;
use super::{PodRef, Situation, StatusWrite, TrackedPod, Transition, time_to_live};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, HoldUp, RetryableTaskStatus, State, StopReason};
use crate::core::slot::Slot;
use crate::core::time::micros;
use crate::core::{condition_list, message};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};

/// What a status write may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// What must be stored now.
    Required,
    /// Also how far the attempt is, which can wait.
    WithProgress,
}

/// What follows for the current attempt.
pub(super) enum Step {
    /// It has not started: it is due at `current.due_time`.
    NotStarted,
    /// Its Pod may be created, or exists, or must be looked up.
    Active,
    /// The status has been brought to the end of the task.
    TaskEnded,
    /// The Pod must be looked up first.
    LookUpPod(String),
    /// The Warning events about the Pod must be read first.
    ReadWarnings(PodRef),
}

/// The next status in the making.
pub(super) struct Draft<'a> {
    pub(super) situation: &'a Situation<'a>,
    pub(super) scope: Scope,
    pub(super) status: RetryableTaskStatus,
    pub(super) current: CurrentAttempt,
    pub(super) transitions: Vec<Transition>,
    /// The UID of the current attempt's Pod, which a write that is needed anyway takes along.
    pub(super) current_uid: Option<String>,
    /// When the scheduling gates of the current attempt's Pod went, which a write that is needed anyway takes along.
    pub(super) ungated: Option<Timestamp>,
    /// The stored due time, if the spec has moved it.
    pub(super) moved_from: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(situation: &'a Situation<'a>, stored: &RetryableTaskStatus, scope: Scope) -> Self {
        let mut status = stored.clone();
        count_from_zero(&mut status);
        time_to_live::record_default(&mut status, situation.process);
        status.observed_generation = situation.task.metadata.generation;
        let current = current_of(&status);
        if stored.observed_generation != status.observed_generation {
            status.admitted_memory_raises = None;
        }
        Self {
            situation,
            scope,
            status,
            current,
            transitions: Vec::new(),
            current_uid: None,
            ungated: None,
            moved_from: None,
        }
    }

    /// The status to store.
    pub(super) fn done(mut self) -> StatusWrite {
        // Nothing has happened that is worth a write.
        if self.status.state.is_none() && self.transitions.is_empty() {
            let stored = self.situation.task.status.clone().unwrap_or_default();
            return StatusWrite { status: Box::new(stored), transitions: Vec::new() };
        }
        if is_finished(&self.status.conditions) {
            condition_list::remove(&mut self.status.conditions, ConditionType::AttemptStarted);
            condition_list::remove(&mut self.status.conditions, ConditionType::Queued);
            condition_list::remove(&mut self.status.conditions, ConditionType::Blocked);
        } else {
            self.started_condition();
            if self.status.state != Some(State::Blocked) {
                condition_list::remove(&mut self.status.conditions, ConditionType::Blocked);
            }
            if self.status.state != Some(State::Queued) {
                condition_list::remove(&mut self.status.conditions, ConditionType::Queued);
            }
            // Whoever waits for something else by now, such as a later `startAt`, is not stalled.
            if self.status.state != Some(State::Pending) {
                self.clear_stall(ConditionReason::QueueMissing);
            }
            let counts = self.current.fallback || (self.current.pod_name.is_some() && self.current.rejections == 0);
            self.status.attempts = self.current.number.saturating_sub(1).saturating_add(i32::from(counts));
            self.status.next_retry_time =
                self.current.due_time.clone().filter(|_| self.status.state == Some(State::Waiting));
            self.status.current = Some(std::mem::take(&mut self.current));
            self.record_uid_by_the_way();
        }
        StatusWrite { status: Box::new(self.status), transitions: self.transitions }
    }

    /// A write that is needed anyway takes along the Pod's UID, and when its gates went.
    fn record_uid_by_the_way(&mut self) {
        if self.situation.task.status.as_ref() != Some(&self.status)
            && let (Some(current), Some(uid)) = (self.status.current.as_mut(), self.current_uid.take())
        {
            current.pod_uid = Some(uid);
            if let Some(ungated) = self.ungated {
                current.ungated_time.get_or_insert(MicroTime(micros(ungated)));
            }
        }
    }

    pub(super) fn expected_pod_name(&self) -> String {
        name_of(self.situation, self.slot())
    }

    pub(super) fn slot(&self) -> Slot {
        slot_of(&self.current)
    }

    /// The intent to stop the Pod.
    pub(super) fn stop(&mut self, reason: StopReason, tracked: &TrackedPod, cause: Option<&HoldUp>) {
        let now = self.situation.now;
        if reason == StopReason::Suspended {
            self.status.suspended_time.get_or_insert(MicroTime(micros(now)));
        }
        if reason == StopReason::TaskEnded {
            let pod = PodRef::from(tracked);
            let containers = tracked.pod.still_running.clone();
            self.transitions.push(Transition::ContainersStopped { slot: self.slot(), pod, containers });
        }
        self.current.stop_reason = Some(reason);
        self.current.stop_time = Some(MicroTime(micros(now)));
        self.current.pod_uid = Some(tracked.pod.pod_uid.clone());
        self.current.stop_cause = cause.filter(|hold_up| !is_stage(hold_up)).map(|hold_up| hold_up.reason.clone());
        self.current.stop_message = cause.and_then(|hold_up| hold_up.message.clone());
    }

    /// A condition says so as long as it is so.
    fn started_condition(&mut self) {
        let Some(HoldUp { reason, message }) = self.current.hold_up.clone() else {
            return condition_list::remove(&mut self.status.conditions, ConditionType::AttemptStarted);
        };
        let at = (self.situation.now, self.situation.task.metadata.generation);
        let type_ = (ConditionType::AttemptStarted, false);
        condition_list::set_for(
            &mut self.status.conditions,
            type_,
            &reason,
            message.as_deref().unwrap_or_default(),
            at,
        );
    }

    /// With nothing newer to show, reason and message are the last failure's.
    pub(super) fn show_last_failure(&mut self) {
        let last = self.status.last_failure.as_ref();
        self.status.reason = last.map(|failure| failure.reason.clone());
        self.status.message = last.and_then(|failure| failure.message.clone());
    }

    pub(super) fn suspended_condition(&mut self, is: bool) {
        let (reason, message) = if is {
            (ConditionReason::Suspended, "spec.suspend is true: no Pod is started until it is set back to false")
        } else {
            (ConditionReason::Resumed, "spec.suspend is false")
        };
        self.condition((ConditionType::Suspended, is), reason, message);
    }

    pub(super) fn condition(&mut self, type_: (ConditionType, bool), reason: ConditionReason, message: &str) {
        let generation = self.situation.task.metadata.generation;
        condition_list::set(&mut self.status.conditions, type_, reason, message, (self.situation.now, generation));
    }

    /// Unable to go on without help.
    pub(super) fn stall(&mut self, reason: ConditionReason, message: &str) {
        let stalled = condition_list::find(&self.status.conditions, ConditionType::Stalled)
            .is_some_and(|old| old.reason == reason.as_str() && message::same_but_for_numbers(&old.message, message));
        if !stalled {
            self.transitions.push(Transition::Stalled { reason, message: message.into() });
        }
        condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        self.condition((ConditionType::Stalled, true), reason, message);
        self.show_stall();
    }

    /// State, reason and message are those of a task that is stalled.
    pub(super) fn show_stall(&mut self) {
        self.status.state = Some(State::Pending);
        let stalled = condition_list::find(&self.status.conditions, ConditionType::Stalled);
        if let Some(Condition { reason, message, .. }) = stalled.cloned() {
            (self.status.reason, self.status.message) = (Some(reason), Some(message));
        }
    }

    pub(super) fn clear_stall(&mut self, reason: ConditionReason) {
        let stalled = condition_list::find(&self.status.conditions, ConditionType::Stalled);
        if stalled.is_some_and(|condition| condition.reason == reason.as_str()) {
            condition_list::remove(&mut self.status.conditions, ConditionType::Stalled);
        }
    }
}

/// A counter below zero, which only others write, would be a budget without end.
fn count_from_zero(status: &mut RetryableTaskStatus) {
    let RetryableTaskStatus { attempts, retries, ignored, memory_raises, history_dropped, failure_counts, .. } = status;
    let counters = [attempts, retries, ignored, memory_raises, history_dropped].into_iter();
    for counter in counters.chain(failure_counts.iter_mut().map(|class| &mut class.count)) {
        *counter = (*counter).max(0);
    }
}
