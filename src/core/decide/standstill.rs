//! A task that cannot go on without help: `Stalled`, with the words of who refused.

use super::next::Draft;
use super::{Happening, Rejection, Situation};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, State};
use crate::core::identity::dice;
use crate::core::time::{micros, plus, until};
use crate::core::{backoff, conditions, message};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Longest time between two tries to create a Pod that the API server rejects, in seconds.
const MAX_CREATE_BACKOFF_SECONDS: i32 = 60;

impl Draft<'_> {
    pub(super) fn rejected(&mut self, rejection: &Rejection) {
        let Rejection { reason, message } = rejection;
        self.current.rejections = self.current.rejections.saturating_add(1);
        let seed = dice(self.situation.task.metadata.uid.as_deref().unwrap_or_default(), -self.current.rejections);
        let waits = crate::api::Backoff { max_delay_seconds: Some(MAX_CREATE_BACKOFF_SECONDS), ..Default::default() };
        let wait = backoff::delay(Some(&waits), self.current.rejections, seed);
        self.current.next_create_time = Some(MicroTime(micros(plus(self.situation.now, wait))));
        let told = conditions::find(&self.status.conditions, ConditionType::Stalled)
            .is_some_and(|old| old.reason == reason.as_str() && message::same_but_for_numbers(&old.message, message));
        if !told {
            self.happenings.push(Happening::Rejected { reason: *reason, message: message.clone() });
        }
        self.stall(*reason, message);
    }

    /// Unable to go on without help.
    pub(super) fn stall(&mut self, reason: ConditionReason, message: &str) {
        self.status.state = Some(State::Pending);
        self.status.reason = Some(reason.as_str().into());
        conditions::remove(&mut self.status.conditions, ConditionType::Reconciling);
        self.condition((ConditionType::Stalled, true), reason, message);
        let told = conditions::find(&self.status.conditions, ConditionType::Stalled);
        self.status.message = told.map(|condition| condition.message.clone());
    }

    pub(super) fn clear_stall(&mut self, reason: ConditionReason) {
        let stalled = conditions::find(&self.status.conditions, ConditionType::Stalled);
        if stalled.is_some_and(|condition| condition.reason == reason.as_str()) {
            conditions::remove(&mut self.status.conditions, ConditionType::Stalled);
        }
    }
}

/// How long to wait before a rejected Pod is tried again: not at all when the spec has changed since, or when the clock was set back.
pub(super) fn create_wait(situation: &Situation, current: &CurrentAttempt) -> SignedDuration {
    let stored = situation.task.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = conditions::find(stored, ConditionType::Stalled);
    let same_spec = stalled.is_some_and(|stalled| stalled.observed_generation == situation.task.metadata.generation);
    let wait = current.next_create_time.as_ref().map_or(SignedDuration::ZERO, |at| until(situation.now, at.0));
    if same_spec && wait.as_secs() <= i64::from(2 * MAX_CREATE_BACKOFF_SECONDS) { wait } else { SignedDuration::ZERO }
}
