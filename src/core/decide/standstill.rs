//! A task that cannot go on without help: `Stalled`, with the words of who refused.

use super::next::Draft;
use super::{Happening, Rejection, Situation, is_finished};
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, State};
use crate::core::identity::dice;
use crate::core::time::{micros, plus, until};
use crate::core::{backoff, conditions, message};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use serde_json::{Value, json};

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
        self.stall(*reason, message);
    }

    /// Unable to go on without help.
    pub(super) fn stall(&mut self, reason: ConditionReason, message: &str) {
        let told = conditions::find(&self.status.conditions, ConditionType::Stalled)
            .is_some_and(|old| old.reason == reason.as_str() && message::same_but_for_numbers(&old.message, message));
        if !told {
            self.happenings.push(Happening::Stalled { reason, message: message.into() });
        }
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

/// The status of a task whose spec or status cannot be read, with the reason why; nothing if it says so already, or has
/// ended. What is there stays as it is.
pub fn unreadable(before: &Value, message: &str, (now, generation): (Timestamp, Option<i64>)) -> Option<Value> {
    let list = before.get("conditions").cloned();
    let mut list: Vec<Condition> = list.and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default();
    if is_finished(&list) {
        return None;
    }
    let message = message::short(message, message::MAX_MESSAGE_BYTES);
    let reason = ConditionReason::InvalidSpec;
    conditions::set(&mut list, (ConditionType::Stalled, true), reason, &message, (now, generation));
    let mut after = before.as_object().cloned().unwrap_or_default();
    after.insert("observedGeneration".into(), json!(generation));
    after.insert("reason".into(), json!(reason.as_str()));
    after.insert("message".into(), json!(message));
    after.insert("conditions".into(), json!(list));
    Some(Value::Object(after)).filter(|after| after != before)
}

/// How long to wait before a rejected Pod is tried again: not at all when the spec has changed since, or when the clock
/// was set back.
pub(super) fn create_wait(situation: &Situation, current: &CurrentAttempt) -> SignedDuration {
    let stored = situation.task.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = conditions::find(stored, ConditionType::Stalled);
    let same_spec = stalled.is_some_and(|stalled| stalled.observed_generation == situation.task.metadata.generation);
    let wait = current.next_create_time.as_ref().map_or(SignedDuration::ZERO, |at| until(situation.now, at.0));
    if same_spec && wait.as_secs() <= i64::from(2 * MAX_CREATE_BACKOFF_SECONDS) { wait } else { SignedDuration::ZERO }
}
