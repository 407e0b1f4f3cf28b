//! The current attempt's Pod: it is missing, exists, or has ended.

use super::attempt_end::AttemptEnd;
use super::deadlines::{creation_timed_out, must_not_run};
use super::draft::{Draft, Step};
use super::queue::in_line;
use super::situation::{creation_in_flight_for, pod_of, time_until_abandoned};
use super::stage::{is_same, is_stage};
use super::stop_reasons::{is_gated, stops, ungated};
use super::{PodLookup, PodRef, TrackedPod, Transition, UNSEEN_BOUND, hold_up, record};
use crate::api::{ConditionType, CurrentAttempt, HoldUp, QueueRef, QueueSlot, State, StopReason};
use crate::core::condition_list;
use crate::core::pod_snapshot::{Outcome, PodSnapshot, Progress};
use crate::core::time::micros;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

impl Draft<'_> {
    /// Brings the status up to date with the current attempt's Pod.
    pub(super) fn inspect_current(&mut self) -> Step {
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
                // Its end may have been reported, and the watch may be late.
                match situation.lookups.pod.as_ref() {
                    None => Step::LookUpPod(self.expected_pod_name()),
                    Some(_) => self.ended(tracked, &deletion_deadline.outcome),
                }
            }
            Some(tracked) => {
                if let Some(pod) =
                    hold_up::warnings_to_read(situation, self.scope, (&self.status, &self.current), tracked)
                {
                    return Step::ReadWarnings(pod);
                }
                self.exists(tracked);
                Step::Active
            }
            None if self.current.pod_name.is_none() => Step::NotStarted,
            None => {
                let created = situation.process.created.as_ref().filter(|created| created.age >= UNSEEN_BOUND);
                let on_record = self.current.pod_uid.clone().or_else(|| created.map(|created| created.pod_uid.clone()));
                self.missing(on_record, None)
            }
        }
    }

    fn ended(&mut self, tracked: &TrackedPod, outcome: &Outcome) -> Step {
        record::close(self, &AttemptEnd::of(tracked, outcome, self.situation))
    }

    /// The cache has no Pod, or has seen its deletion: a lookup decides whether there is one.
    fn missing(&mut self, on_record: Option<String>, last_seen: Option<&TrackedPod>) -> Step {
        let creation_timed_out = creation_timed_out(self.situation, &self.current);
        if let Some(rejection) = self.situation.lookups.rejection.as_ref().filter(|_| !creation_timed_out) {
            self.rejected(rejection);
            return Step::Active;
        }
        let must_not_run = must_not_run(self.situation, &self.status, &self.current);
        match (on_record, self.situation.lookups.pod.as_ref()) {
            (Some(_), None) => Step::LookUpPod(self.expected_pod_name()),
            // The watch shows it, or has shown its deletion.
            (_, Some(PodLookup::Found)) => Step::Active,
            (Some(pod_uid), Some(PodLookup::NotFound | PodLookup::NotOwned)) => {
                let end = AttemptEnd::lost(self, pod_uid, last_seen);
                record::close(self, &end)
            }
            (None, _) if !must_not_run && !creation_timed_out => {
                self.current.create_time.get_or_insert(MicroTime(micros(self.situation.now)));
                self.try_again_when_granted();
                Step::Active
            }
            // A creation may be in flight: its Pod would run after the attempt was closed.
            (None, _) if !creation_in_flight_for(self.situation).is_zero() => Step::Active,
            // Only the API server knows whether there is a Pod to stop.
            (None, None) if self.situation.process.created.is_none() => Step::LookUpPod(self.expected_pod_name()),
            // This process created it: the watch has some seconds to show it.
            (None, None) => Step::Active,
            (None, Some(_)) if !must_not_run => {
                let end = AttemptEnd::never_created(self);
                record::close(self, &end)
            }
            (None, Some(_)) => {
                // `wait` says how this retry was charged, so that the charge can be taken back if it never starts.
                let queued_time =
                    self.current.next_create_time.clone().filter(|_| in_line(self.situation, &self.current));
                let CurrentAttempt { number, wait, fallback, .. } = std::mem::take(&mut self.current);
                self.current = CurrentAttempt { number, wait, queued_time, fallback, ..CurrentAttempt::default() };
                Step::NotStarted
            }
        }
    }

    /// The Pod is there and has not ended.
    fn exists(&mut self, tracked: &TrackedPod) {
        self.hold_slot_of_late_pod();
        self.ungated = ungated(&self.current, tracked).filter(|_| !tracked.pod.gated);
        self.current.pod_name = Some(tracked.pod.pod_name.clone());
        self.current.rejections = 0;
        self.current.next_create_time = None;
        condition_list::remove(&mut self.status.conditions, ConditionType::Stalled);
        self.status.start_time.get_or_insert(Time(tracked.pod.created));
        let was_gated = is_gated(&self.current);
        self.report_progress(tracked);
        // The write that says so has the time too: what follows no longer tells that there were gates.
        if was_gated && !is_gated(&self.current) {
            self.current.ungated_time =
                self.current.ungated_time.take().or(self.ungated.map(|at| MicroTime(micros(at))));
        }
        self.stop_if_wanted(tracked);
        // Without the finalizer the Pod can vanish, and only its recorded UID shows that it existed.
        if !tracked.pod.has_finalizer {
            self.current.pod_uid = Some(tracked.pod.pod_uid.clone());
        }
        self.current_uid = Some(tracked.pod.pod_uid.clone());
    }

    /// A Pod that appears although its creation seemed to have failed holds a slot: it runs.
    fn hold_slot_of_late_pod(&mut self) {
        let gave_back = self.current.pod_name.is_none() || self.current.next_create_time.is_some();
        let queue = self.situation.task.spec.queue.as_ref().filter(|_| gave_back && !self.current.fallback);
        if let (Some(QueueRef { name, .. }), None) = (queue, &self.current.queue) {
            self.current.queue = Some(QueueSlot { name: name.clone(), ..QueueSlot::default() });
        }
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
        let stops = stops(self.situation, &self.status, &self.current, tracked);
        if let Some(stop) = stops.into_iter().find(|stop| stop.at <= now) {
            let (reason, cause) = (stop.reason, stop.cause.cloned());
            self.stop(reason, tracked, cause.as_ref());
        }
    }

    /// A Pod that was to be replaced, and whose main container has started first, goes on: it is deleted only as long as
    /// its resourceVersion has not changed, so no deletion can still succeed.
    fn withdraw_replacement(&mut self, tracked: &TrackedPod) {
        let goes_on = !tracked.pod.deleting && !tracked.pod.can_be_replaced();
        if self.current.stop_reason.is_some_and(StopReason::replaces) && goes_on {
            (self.current.stop_reason, self.current.stop_time) = (None, None);
            (self.current.stop_cause, self.current.stop_message) = (None, None);
        }
    }

    /// What users see of a Pod that has not ended.
    fn report_progress(&mut self, tracked: &TrackedPod) {
        let hold_up = hold_up::of(self.situation, self.scope, &self.current, tracked);
        match (&tracked.pod.progress, hold_up) {
            (_, Some(hold_up)) => self.report_hold_up(tracked, hold_up),
            (Progress::Pending(_), None) => {
                self.status.state.get_or_insert(State::Running);
            }
            (Progress::Running | Progress::MainContainerExited(_) | Progress::Ended(_), None) => {
                self.current.hold_up = None;
                self.status.state = Some(State::Running);
                self.show_last_failure();
            }
        }
        if hold_up::is_settled(self.situation, self.scope, tracked) {
            condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        }
    }

    fn report_hold_up(&mut self, tracked: &TrackedPod, hold_up: HoldUp) {
        self.status.state = Some(State::Pending);
        condition_list::remove(&mut self.status.conditions, ConditionType::Reconciling);
        self.status.reason = Some(hold_up.reason.clone());
        self.status.message.clone_from(&hold_up.message);
        let before = self.current.hold_up.replace(hold_up.clone());
        if before.is_none_or(|before| !is_same(&before.reason, &hold_up.reason)) {
            let is_stage = is_stage(&hold_up);
            let pod = PodRef::from(tracked);
            self.transitions.push(Transition::HeldUp { slot: self.slot(), pod, hold_up, is_stage });
        }
    }
}
