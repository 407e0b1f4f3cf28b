//! An attempt that has not started: it starts when it is due and nothing holds it back.

use super::after::Dependencies;
use super::draft::{Draft, Step};
use super::queue::Turn;
use super::situation::remaining;
use super::{Transition, deadlines, fallback, record, requests, retry_wait};
use crate::api::{ConditionReason, ConditionType, State};
use crate::core::time::{micros, until};
use crate::core::{attempt_spec, condition_list, start_at};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

impl Draft<'_> {
    /// The attempt is not started. Starts it if nothing holds it back.
    pub(super) fn start_when_due(&mut self) {
        self.show_last_failure();
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
        self.follow_start_at();
        let was_suspended = condition_list::is_true(&self.status.conditions, ConditionType::Suspended);
        if was_suspended {
            self.suspended_condition(false);
            self.leave_out_suspension();
            self.count_suspension();
        }
        if let Some(verdict) = retry_wait::follow_spec(self) {
            return match record::fail_without_retry(self, &verdict) {
                Step::NotStarted => self.start_when_due(), // the fallback
                Step::Active | Step::TaskEnded | Step::LookUpPod(_) | Step::ReadWarnings(_) => {}
            };
        }
        let blocked = match self.follow_after() {
            Dependencies::Met => {
                self.unblock();
                None
            }
            Dependencies::Pending(why) => Some(why),
            Dependencies::Cycle(why) => return self.block_in_cycle(&why),
            Dependencies::Failed(why) => return self.fail_without_attempt(ConditionReason::DependencyFailed, &why),
        };
        self.clear_stall(ConditionReason::DependencyCycle);
        // What fell due in the meantime starts now, and is not late.
        if was_suspended && self.remaining().is_zero() {
            self.current.due_time = None;
        }
        let due = self.current.due_time.as_ref().map_or(self.situation.now, |due| due.0);
        if self.is_over(due) {
            return match record::fail_by_deadline(self) {
                Step::NotStarted => self.start_when_due(), // the fallback, which is not under the deadline
                Step::Active | Step::TaskEnded | Step::LookUpPod(_) | Step::ReadWarnings(_) => {}
            };
        }
        if !self.remaining().is_zero() {
            self.status.state = Some(State::Waiting);
            self.current.blocked_time = None;
            return;
        }
        if let Some(why) = blocked {
            return self.block(&why);
        }
        match self.take_turn() {
            Turn::Starts => self.start(),
            Turn::Waits => {}
            Turn::TimedOut => match record::fail_by_queue_timeout(self) {
                Step::NotStarted => self.start_when_due(), // the fallback, which asks no queue
                Step::Active | Step::TaskEnded | Step::LookUpPod(_) | Step::ReadWarnings(_) => {}
            },
        }
    }

    /// The first attempt of a run is due at `startAt`, as the spec has it now.
    fn follow_start_at(&mut self) {
        let wanted = self.situation.task.spec.start_at.as_ref();
        if !self.is_first_of_run() || self.current.start_at.as_ref() == wanted {
            return;
        }
        self.current.start_at = wanted.cloned();
        let due = wanted.and_then(|text| start_at::time(text)).filter(|due| *due > self.situation.now);
        let before = std::mem::replace(&mut self.current.due_time, due.map(|due| MicroTime(micros(due))));
        self.moved_from = before.map(|before| before.0);
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
        self.current.blocked_time = None;
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
        self.leave_out_of_blocked_time();
        let Some(since) = self.status.suspended_time.take().filter(|_| self.status.start_time.is_some()) else {
            return;
        };
        let millis = i64::try_from(until(since.0, self.situation.now).as_millis()).unwrap_or(i64::MAX);
        self.status.suspended_milliseconds = self.status.suspended_milliseconds.saturating_add(millis);
    }

    pub(super) fn remaining(&self) -> SignedDuration {
        match (self.situation.process.remaining, self.moved_from, &self.current.due_time) {
            // What is left on the monotonic clock moves as the due time does.
            (Some((measured_for, left)), Some(from), Some(due)) if measured_for == from => {
                left.saturating_add(due.0.duration_since(from)).max(SignedDuration::ZERO)
            }
            _ => remaining(self.situation, self.current.due_time.as_ref()),
        }
    }

    /// Whether the deadline has passed, or will have by the time `due`. The fallback is not under it.
    pub(super) fn is_over(&self, due: Timestamp) -> bool {
        !self.current.fallback && deadlines::is_over(self.situation, &self.status, due)
    }
}
