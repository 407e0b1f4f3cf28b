//! A Pod whose creation was rejected: `Stalled` in the server's words, and when it is tried again.

use super::closed_pods::closed;
use super::draft::Draft;
use super::situation::Failing;
use super::{Situation, Transition};
use crate::api::{ConditionType, CurrentAttempt};
use crate::core::attempt_spec::{self, LowerRaise};
use crate::core::jitter_seed::jitter_seed;
use crate::core::rejection::{Rejection, TRY_AGAIN};
use crate::core::slot::Slot;
use crate::core::time::{micros, plus, until};
use crate::core::{condition_list, delay};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Longest time between two tries to create a Pod that the API server rejects, in seconds.
const MAX_CREATE_BACKOFF_SECONDS: i32 = 60;

impl Draft<'_> {
    /// The Pod was not created.
    pub(super) fn rejected(&mut self, rejection: &Rejection) {
        let is_news = self.current.rejections == 0;
        if self.lower_memory(rejection)
            || is_news && self.situation.process.failing.as_ref().is_some_and(Failing::is_unsaid)
        {
            return;
        }
        self.current.rejections = self.current.rejections.saturating_add(1);
        let seed =
            jitter_seed(self.situation.task.metadata.uid.as_deref().unwrap_or_default(), -self.current.rejections);
        let waits = crate::api::Backoff { max_delay_seconds: Some(MAX_CREATE_BACKOFF_SECONDS), ..Default::default() };
        let wait =
            self.make_room(rejection).unwrap_or_else(|| delay::delay(Some(&waits), self.current.rejections, seed));
        self.current.next_create_time = Some(MicroTime(micros(plus(self.situation.now, wait))));
        // The next try asks the queue again.
        self.current.queue = None;
        self.stall(rejection.reason(), &rejection.message);
    }

    /// A Pod that only onOutOfMemory has made inadmissible gets what it had before.
    fn lower_memory(&mut self, rejection: &Rejection) -> bool {
        if !rejection.is_of_memory() {
            return false;
        }
        let lower = attempt_spec::lower_raise(&self.situation.task.spec, &self.status, self.slot());
        let Some(LowerRaise { raises, memory, refused }) = lower else { return false };
        self.status.memory_raises = raises;
        self.status.admitted_memory_raises = Some(raises);
        if self.current.rejections > 0 {
            self.current.next_create_time = Some(MicroTime(micros(plus(self.situation.now, TRY_AGAIN))));
        }
        let Slot { number, fallback } = self.slot();
        let what = if fallback { "the fallback".into() } else { format!("attempt {number}") };
        let message =
            format!("{what} runs with {memory} of memory, since {refused} is not admitted: {}", rejection.message);
        self.transitions.push(Transition::MemoryRaiseRejected { message });
        true
    }

    /// A quota that counts Pods that have ended too has no room for the next attempt: the oldest Pod that is kept goes.
    /// How long it takes until there is room, if there will be.
    fn make_room(&mut self, rejection: &Rejection) -> Option<SignedDuration> {
        if !rejection.is_of_pod_count() {
            return None;
        }
        let closed = closed(self.situation, &self.status, self.current.removed_pod_uid.as_deref());
        // One that is there still, whoever holds it, makes room when it goes: no other one is lost for it.
        let chosen = self.current.removed_pod_uid.as_deref();
        if let Some(going) = closed.iter().find(|closed| Some(closed.tracked.pod.pod_uid.as_str()) == chosen) {
            return (!going.wait.is_zero()).then(|| going.wait.saturating_add(TRY_AGAIN));
        }
        let going =
            closed.iter().filter(|closed| !closed.kept).map(|closed| closed.wait).filter(|wait| !wait.is_zero());
        let wait = if let Some(wait) = going.min() {
            wait
        } else {
            let oldest = closed.iter().rfind(|closed| closed.kept)?;
            self.current.removed_pod_uid = Some(oldest.tracked.pod.pod_uid.clone());
            oldest.wait
        };
        Some(wait.saturating_add(TRY_AGAIN))
    }
}

/// How long to wait before the creation of a Pod is tried again: not at all when the spec has changed since, or when the
/// clock was set back.
pub(super) fn create_wait(situation: &Situation, current: &CurrentAttempt) -> SignedDuration {
    if current.rejections == 0 {
        let last = situation.process.failing.as_ref().map_or(TRY_AGAIN, |failing| failing.last);
        return TRY_AGAIN.saturating_sub(last).max(SignedDuration::ZERO);
    }
    let stored = situation.task.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = condition_list::find(stored, ConditionType::Stalled);
    let same_spec = stalled.is_some_and(|stalled| stalled.observed_generation == situation.task.metadata.generation);
    let wait = current.next_create_time.as_ref().map_or(SignedDuration::ZERO, |at| until(situation.now, at.0));
    if same_spec && wait.as_secs() <= i64::from(2 * MAX_CREATE_BACKOFF_SECONDS) { wait } else { SignedDuration::ZERO }
}
