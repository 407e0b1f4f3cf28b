//! The status that should be stored, given the one that is and what can be seen.

use super::attempt_end::AttemptEnd;
use super::deadlines;
use super::{
    PodLookup, PodRef, Situation, TrackedPod, Transition, fallback, hold_up, is_finished, must_not_run, name_of,
    pod_of, record, requests, retry_wait, slot_of, time_until_abandoned, unsettled,
};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, HoldUp, RetryableTaskStatus, State, StopReason};
use crate::core::attempt_spec;
use crate::core::condition_list;
use crate::core::pod_snapshot::{Outcome, PodSnapshot, Progress};
use crate::core::slot::Slot;
use crate::core::time::{micros, until};
use crate::core::validate::problem;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// What the status should be, or what must be known first.
pub(super) enum Next {
    /// The Pod to ask for.
    Ask(String),
    /// The Pod whose Warning events to ask for.
    AskWarnings(PodRef),
    /// The status, and what to tell once it is stored.
    Status { status: Box<RetryableTaskStatus>, transitions: Vec<Transition> },
}

/// What comes of the current attempt.
pub(super) enum Current {
    /// It is not started: it is due at `current.due_time`.
    Due,
    /// Its Pod may be created, or exists, or must be asked for.
    Launched,
    /// The status has been brought to the end of the task.
    TaskEnded,
    /// The Pod must be asked for first.
    Ask(String),
    /// The Warning events about the Pod must be asked for first.
    AskWarnings(PodRef),
}

pub(super) fn next_status(situation: &Situation, stored: &RetryableTaskStatus) -> Next {
    let mut draft = Draft::new(situation, stored);
    if is_finished(&stored.conditions) {
        requests::after_the_end(&mut draft);
        if is_finished(&draft.status.conditions) {
            return draft.done();
        }
    }
    requests::before_the_end(&mut draft);
    let cancelled = requests::is_cancelled(situation, &draft.status);
    // It stops no Pod that runs, and lets none start.
    let problem = problem(&situation.task.spec).filter(|_| !cancelled);
    if problem.is_none() {
        draft.clear_stall(ConditionReason::InvalidSpec);
    }
    match draft.look_at_current() {
        Current::Ask(pod_name) => return Next::Ask(pod_name),
        Current::AskWarnings(pod) => return Next::AskWarnings(pod),
        Current::Due => match problem {
            Some(problem) if !draft.is_over(situation.now) => draft.stall(ConditionReason::InvalidSpec, &problem),
            Some(_) | None => draft.start_when_due(),
        },
        Current::Launched | Current::TaskEnded => {}
    }
    draft.done()
}

/// The next status in the making.
pub(super) struct Draft<'a> {
    pub(super) situation: &'a Situation<'a>,
    pub(super) status: RetryableTaskStatus,
    pub(super) current: CurrentAttempt,
    pub(super) transitions: Vec<Transition>,
    current_uid: Option<String>,
    /// The stored due time, if the spec has moved it.
    pub(super) moved_from: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    fn new(situation: &'a Situation<'a>, stored: &RetryableTaskStatus) -> Self {
        let mut status = stored.clone();
        count_from_zero(&mut status);
        status.observed_generation = situation.task.metadata.generation;
        let next = CurrentAttempt { number: status.attempts.max(0).saturating_add(1), ..CurrentAttempt::default() };
        let current = status.current.clone().filter(|current| current.number > 0 || current.fallback).unwrap_or(next);
        if stored.observed_generation != status.observed_generation {
            status.admitted_memory_raises = None;
        }
        Self { situation, status, current, transitions: Vec::new(), current_uid: None, moved_from: None }
    }

    fn done(mut self) -> Next {
        requests::unknown(&mut self);
        if is_finished(&self.status.conditions) {
            condition_list::remove(&mut self.status.conditions, ConditionType::AttemptStarted);
            requests::too_late(&mut self);
        } else {
            self.started_condition();
            let counts = self.current.fallback || (self.current.pod_name.is_some() && self.current.rejections == 0);
            self.status.attempts = self.current.number.saturating_sub(1).saturating_add(i32::from(counts));
            self.status.next_retry_time =
                self.current.due_time.clone().filter(|_| self.status.state == Some(State::Waiting));
            self.status.current = Some(std::mem::take(&mut self.current));
            self.record_uid_by_the_way();
        }
        Next::Status { status: Box::new(self.status), transitions: self.transitions }
    }

    /// A write that goes out anyway takes the Pod's UID along.
    fn record_uid_by_the_way(&mut self) {
        if self.situation.task.status.as_ref() != Some(&self.status)
            && let (Some(current), Some(uid)) = (self.status.current.as_mut(), self.current_uid.take())
        {
            current.pod_uid = Some(uid);
        }
    }

    /// Brings the status up to date with the current attempt's Pod.
    fn look_at_current(&mut self) -> Current {
        let situation = self.situation;
        let tracked = pod_of(situation, self.slot());
        match tracked {
            Some(tracked) if tracked.deleted => match &tracked.pod.progress {
                Progress::Ended(outcome) | Progress::MainContainerExited(outcome) => self.ended(tracked, outcome),
                Progress::Pending(_) | Progress::Running => {
                    self.missing(Some(tracked.pod.pod_uid.clone()), Some(tracked))
                }
            },
            Some(tracked @ TrackedPod { pod: PodSnapshot { progress: Progress::Ended(outcome), .. }, .. }) => {
                self.ended(tracked, outcome)
            }
            Some(tracked @ TrackedPod { pod: PodSnapshot { deletion_deadline: Some(deletion_deadline), .. }, .. })
                if time_until_abandoned(situation, tracked).is_some_and(|wait| wait.is_zero()) =>
            {
                // Its end may have been reported, and the watch be late.
                match situation.pod_lookup {
                    None => Current::Ask(self.expected_pod_name()),
                    Some(_) => self.ended(tracked, &deletion_deadline.outcome),
                }
            }
            Some(tracked) => {
                if let Some(pod) = hold_up::question(situation, &self.status, &self.current, tracked) {
                    return Current::AskWarnings(pod);
                }
                self.exists(tracked);
                Current::Launched
            }
            None if self.current.pod_name.is_none() => Current::Due,
            None => {
                let created = situation.created.filter(|created| created.age >= super::UNSEEN_BOUND);
                let on_record = self.current.pod_uid.clone().or_else(|| created.map(|created| created.pod_uid.clone()));
                self.missing(on_record, None)
            }
        }
    }

    pub(super) fn expected_pod_name(&self) -> String {
        name_of(self.situation, self.slot())
    }

    pub(super) fn slot(&self) -> Slot {
        slot_of(&self.current)
    }

    fn ended(&mut self, tracked: &TrackedPod, outcome: &Outcome) -> Current {
        record::close(self, &AttemptEnd::of(tracked, outcome, self.situation))
    }

    /// There is no Pod to be seen, though there may be one.
    fn missing(&mut self, on_record: Option<String>, last_seen: Option<&TrackedPod>) -> Current {
        let is_given_up = deadlines::is_given_up(self.situation, &self.current);
        if let Some(rejection) = self.situation.rejection.filter(|_| !is_given_up) {
            self.rejected(rejection);
            return Current::Launched;
        }
        let must_not_run = must_not_run(self.situation, &self.status, &self.current);
        match (on_record, self.situation.pod_lookup) {
            (Some(_), None) => Current::Ask(self.expected_pod_name()),
            // The watch shows it, or has shown that it goes.
            (_, Some(PodLookup::Found)) => Current::Launched,
            (Some(pod_uid), Some(PodLookup::NotFound | PodLookup::NotOwned)) => {
                let end = AttemptEnd::lost(self, pod_uid, last_seen);
                record::close(self, &end)
            }
            (None, _) if !must_not_run && !is_given_up => {
                self.current.create_time.get_or_insert(MicroTime(micros(self.situation.now)));
                Current::Launched
            }
            // A creation may be on its way, and would run after all was said to be over.
            (None, _) if !unsettled(self.situation).is_zero() => Current::Launched,
            // Only the API server knows whether there is a Pod to stop.
            (None, None) if self.situation.created.is_none() => Current::Ask(self.expected_pod_name()),
            (None, None) => Current::Launched,
            (None, Some(_)) if !must_not_run => {
                let end = AttemptEnd::never_created(self);
                record::close(self, &end)
            }
            (None, Some(_)) => {
                // Without its wait, a retry that is never begun could not be taken back as it was charged.
                let CurrentAttempt { number, wait, fallback, .. } = std::mem::take(&mut self.current);
                self.current = CurrentAttempt { number, wait, fallback, ..CurrentAttempt::default() };
                Current::Due
            }
        }
    }

    /// Whether the deadline has passed, or will have by the time `due`. The fallback is not under it.
    fn is_over(&self, due: Timestamp) -> bool {
        !self.current.fallback && deadlines::is_over(self.situation, &self.status, due)
    }

    /// The Pod is there and has not ended.
    fn exists(&mut self, tracked: &TrackedPod) {
        self.current.pod_name = Some(tracked.pod.pod_name.clone());
        self.current.rejections = 0;
        self.current.next_create_time = None;
        condition_list::remove(&mut self.status.conditions, ConditionType::Stalled);
        self.status.start_time.get_or_insert(Time(tracked.pod.created));
        self.tell_how_far(tracked);
        self.stop_if_wanted(tracked);
        // Without the finalizer the Pod can vanish, and only its UID on record tells that it ever was.
        if !tracked.pod.has_finalizer {
            self.current.pod_uid = Some(tracked.pod.pod_uid.clone());
        }
        self.current_uid = Some(tracked.pod.pod_uid.clone());
    }

    fn stop_if_wanted(&mut self, tracked: &TrackedPod) {
        if self.situation.task.spec.suspend && !self.current.fallback {
            self.suspended_condition(true);
        }
        self.withdraw_replacement(tracked);
        let now = self.situation.now;
        if self.current.stop_reason.is_some() {
            return;
        }
        let stops = deadlines::stops(self.situation, &self.status, &self.current, tracked);
        if let Some(stop) = stops.into_iter().find(|stop| stop.at <= now) {
            let (reason, cause) = (stop.reason, stop.cause.cloned());
            self.stop(reason, tracked, cause.as_ref());
        }
    }

    /// The intent to stop the Pod.
    pub(super) fn stop(&mut self, reason: StopReason, tracked: &TrackedPod, cause: Option<&HoldUp>) {
        let now = self.situation.now;
        if reason == StopReason::Suspended {
            self.status.suspended_time.get_or_insert(MicroTime(micros(now)));
        }
        if reason == StopReason::TaskEnded {
            let pod = PodRef { name: tracked.pod.pod_name.clone(), uid: tracked.pod.pod_uid.clone() };
            let containers = tracked.pod.still_running.clone();
            self.transitions.push(Transition::ContainersStopped { slot: self.slot(), pod, containers });
        }
        self.current.stop_reason = Some(reason);
        self.current.stop_time = Some(MicroTime(micros(now)));
        self.current.pod_uid = Some(tracked.pod.pod_uid.clone());
        self.current.stop_cause =
            cause.filter(|hold_up| !hold_up::is_stage(hold_up)).map(|hold_up| hold_up.reason.clone());
        self.current.stop_message = cause.and_then(|hold_up| hold_up.message.clone());
    }

    /// A Pod that was to be replaced, and whose main container has started first, goes on: it is deleted only as long as
    /// it has not changed, so none is on its way.
    fn withdraw_replacement(&mut self, tracked: &TrackedPod) {
        let goes_on = !tracked.pod.deleting && !tracked.pod.can_be_replaced();
        if self.current.stop_reason.is_some_and(StopReason::replaces) && goes_on {
            (self.current.stop_reason, self.current.stop_time) = (None, None);
            (self.current.stop_cause, self.current.stop_message) = (None, None);
        }
    }

    /// What people see of a Pod that has not ended.
    fn tell_how_far(&mut self, tracked: &TrackedPod) {
        let hold_up = hold_up::of(self.situation, &self.current, tracked);
        match (&tracked.pod.progress, hold_up) {
            (_, Some(hold_up)) => self.held_up(tracked, hold_up),
            (Progress::Pending(_), None) => {
                self.status.state.get_or_insert(State::Running);
            }
            (Progress::Running | Progress::MainContainerExited(_) | Progress::Ended(_), None) => {
                self.current.hold_up = None;
                self.status.state = Some(State::Running);
                self.tell_last_failure();
            }
        }
        if hold_up::is_settled(self.situation, tracked) {
            condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        }
    }

    fn held_up(&mut self, tracked: &TrackedPod, hold_up: HoldUp) {
        self.status.state = Some(State::Pending);
        condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        self.status.reason = Some(hold_up.reason.clone());
        self.status.message.clone_from(&hold_up.message);
        let before = self.current.hold_up.replace(hold_up.clone());
        if before.is_none_or(|before| !hold_up::is_same(&before.reason, &hold_up.reason)) {
            let is_stage = hold_up::is_stage(&hold_up);
            let pod = PodRef { name: tracked.pod.pod_name.clone(), uid: tracked.pod.pod_uid.clone() };
            self.transitions.push(Transition::HeldUp { slot: self.slot(), pod, hold_up, is_stage });
        }
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

    /// With nothing newer to tell, reason and message are the last failure's.
    pub(super) fn tell_last_failure(&mut self) {
        let last = self.status.last_failure.as_ref();
        self.status.reason = last.map(|failure| failure.reason.clone());
        self.status.message = last.and_then(|failure| failure.message.clone());
    }

    /// The attempt is not started. Starts it if nothing holds it back.
    fn start_when_due(&mut self) {
        self.tell_last_failure();
        if requests::is_cancelled(self.situation, &self.status) {
            return record::cancel(self);
        }
        if self.situation.task.spec.suspend {
            self.status.state = Some(State::Suspended);
            self.status.suspended_time.get_or_insert(MicroTime(micros(self.situation.now)));
            condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
            condition_list::remove(&mut self.status.conditions, ConditionType::Stalled);
            self.suspended_condition(true);
            return;
        }
        let was_suspended = condition_list::is_true(&self.status.conditions, ConditionType::Suspended);
        if was_suspended {
            self.suspended_condition(false);
            self.count_suspension();
        }
        match retry_wait::follow_spec(self) {
            None | Some(Current::Launched | Current::Ask(_) | Current::AskWarnings(_)) => {}
            Some(Current::TaskEnded) => return,
            Some(Current::Due) => return self.start_when_due(), // the fallback
        }
        // What fell due in the meantime starts now, and is not late.
        if was_suspended && self.remaining().is_zero() {
            self.current.due_time = None;
        }
        let due = self.current.due_time.as_ref().map_or(self.situation.now, |due| due.0);
        if self.is_over(due) {
            return match record::fail_by_deadline(self) {
                Current::Due => self.start_when_due(), // the fallback, which is not under the deadline
                Current::Launched | Current::TaskEnded | Current::Ask(_) | Current::AskWarnings(_) => {}
            };
        }
        if !self.remaining().is_zero() {
            self.status.state = Some(State::Waiting);
            return;
        }
        self.start();
    }

    fn start(&mut self) {
        if self.current.fallback {
            if self.situation.task.spec.on_failure.is_none() {
                return fallback::skip(self, "the fallback was taken out of the spec");
            }
            fallback::started(self);
        }
        let slot = self.slot();
        self.current.pod_name = Some(self.expected_pod_name());
        self.current.create_time = Some(MicroTime(micros(self.situation.now)));
        // By this status and not the stored one: it may close an attempt, or begin a run.
        let spec = &self.situation.task.spec;
        self.current.avoided_nodes = attempt_spec::avoided_nodes(spec, &self.status, slot);
        self.current.override_from = attempt_spec::override_from(spec, &self.status, slot);
        self.status.state = Some(State::Running);
        self.status.start_time.get_or_insert(Time(self.situation.now));
        if attempt_spec::number_in_run(Some(&self.status), slot.number) == 1 && !slot.fallback {
            self.condition(
                (ConditionType::Reconciling, true),
                ConditionReason::CreatingPod,
                "the first Pod is being created",
            );
        }
        self.transitions.push(Transition::Started { slot });
    }

    /// The time of a suspension does not count towards the deadline, which runs from the first attempt.
    fn count_suspension(&mut self) {
        let Some(since) = self.status.suspended_time.take().filter(|_| self.status.start_time.is_some()) else {
            return;
        };
        let millis = i64::try_from(until(since.0, self.situation.now).as_millis()).unwrap_or(i64::MAX);
        self.status.suspended_milliseconds = self.status.suspended_milliseconds.saturating_add(millis);
    }

    fn remaining(&self) -> SignedDuration {
        match (self.situation.remaining, self.moved_from, &self.current.due_time) {
            // What is left on the monotonic clock moves as the due time does.
            (Some((measured_for, left)), Some(from), Some(due)) if measured_for == from => {
                left.saturating_add(due.0.duration_since(from)).max(SignedDuration::ZERO)
            }
            _ => remaining(self.situation, self.current.due_time.as_ref()),
        }
    }

    fn suspended_condition(&mut self, is: bool) {
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
}

/// A counter below zero, which only others write, would be a budget without end.
fn count_from_zero(status: &mut RetryableTaskStatus) {
    let RetryableTaskStatus { attempts, retries, ignored, memory_raises, history_dropped, failure_counts, .. } = status;
    let counters = [attempts, retries, ignored, memory_raises, history_dropped].into_iter();
    for counter in counters.chain(failure_counts.iter_mut().map(|class| &mut class.count)) {
        *counter = (*counter).max(0);
    }
}

/// How long the wait for `due` still is: by this process's monotonic clock if it has measured, else by the wall clock.
/// A clock that jumps starts nothing early in a process that saw the wait begin.
pub(super) fn remaining(situation: &Situation, due: Option<&MicroTime>) -> SignedDuration {
    let Some(due) = due else { return SignedDuration::ZERO };
    match situation.remaining {
        Some((measured_for, remaining)) if measured_for == due.0 => remaining.max(SignedDuration::ZERO),
        Some(_) | None => until(situation.now, due.0),
    }
}
