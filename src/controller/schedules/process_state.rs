//! What this process knows of each schedule beyond what is stored. Losing it costs requests, never correctness.

use super::api::Refusal;
use crate::api::TaskSchedule;
use crate::controller::TaskKey;
use crate::core::decide::LATE_POST_BOUND;
use crate::core::schedule::RejectedRun;
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// What this process knows, by schedule.
#[derive(Debug, Default)]
pub(super) struct ProcessStates(Mutex<HashMap<TaskKey, State>>);

/// What this process knows of one schedule. All of it belongs to one UID.
#[derive(Debug, Default)]
pub(super) struct State {
    uid: String,
    last_write: Option<TaskSchedule>,
    rejected: Option<Rejected>,
    failures: u32,
}

#[derive(Debug)]
struct Rejected {
    name: String,
    refusal: Refusal,
    /// When its creation was last requested without an answer; when this process first tried it, if an earlier one may have done so.
    unanswered: Instant,
    tries: u32,
    at: Instant,
}

impl ProcessStates {
    /// Reads or changes the state of a schedule. A new UID starts with an empty one.
    pub(super) fn with<T>(&self, key: &TaskKey, uid: &str, f: impl FnOnce(&mut State) -> T) -> T {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(key.clone()).or_default();
        if state.uid != uid {
            *state = State { uid: uid.to_owned(), ..State::default() };
        }
        f(state)
    }

    /// Forgets the schedule.
    pub(super) fn forget(&self, key: &TaskKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl State {
    /// The newer of the cached schedule and the one that this process wrote last.
    pub(super) fn newest(&mut self, cached: &TaskSchedule) -> TaskSchedule {
        match &self.last_write {
            Some(written) if version(written) > version(cached) => written.clone(),
            _ => {
                self.last_write = None;
                cached.clone()
            }
        }
    }

    /// A status was written. Keeps the schedule of the answer.
    pub(super) fn wrote(&mut self, schedule: TaskSchedule) {
        self.last_write = Some(schedule);
    }

    /// A task could not be created.
    pub(super) fn rejected(&mut self, name: &str, refusal: Refusal) {
        let last = self.rejected.as_ref().filter(|last| last.name == name);
        let tries = last.map_or(0, |last| last.tries);
        let unanswered =
            last.map_or_else(Instant::now, |last| if refusal.is_certain { last.unanswered } else { Instant::now() });
        self.rejected = Some(Rejected {
            name: name.to_owned(),
            refusal,
            unanswered,
            tries: tries.saturating_add(1),
            at: Instant::now(),
        });
    }

    /// A task was created.
    pub(super) fn created(&mut self) {
        self.rejected = None;
    }

    /// The creation that failed last.
    pub(super) fn rejection(&self) -> Option<RejectedRun> {
        let Rejected { name, refusal: Refusal { message, is_certain, is_taken }, unanswered, tries, at } =
            self.rejected.as_ref()?;
        // A request without an answer, of this process or an earlier one, may still be carried out.
        let is_certain = *is_certain && unanswered.elapsed() >= Duration::try_from(LATE_POST_BOUND).unwrap_or_default();
        let left = backoff(*tries).saturating_sub(at.elapsed());
        let retry_in = SignedDuration::try_from(left).unwrap_or_default();
        Some(RejectedRun { name: name.clone(), message: message.clone(), is_certain, is_taken: *is_taken, retry_in })
    }

    /// The reconcile failed. Returns the back-off before the next.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff(self.failures)
    }

    /// The reconcile succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

fn backoff(tries: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(MAX_BACKOFF)
}

/// The object's version as a number, which Kubernetes allows since 1.35 (KEP-5504).
fn version(schedule: &TaskSchedule) -> u64 {
    schedule.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
