//! What this process knows of each schedule beyond what is stored. Losing it costs requests, never correctness.

use super::api::Rejection;
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
    creation: Option<Creation>,
    rejection: Option<LastRejection>,
    failures: u32,
}

/// The requests to create one run.
#[derive(Debug)]
struct Creation {
    name: String,
    /// When one was last requested without an answer; when this process first tried it, if an earlier one may have done so.
    unanswered: Option<Instant>,
    /// Whether the last has no answer so far.
    is_in_flight: bool,
}

#[derive(Debug)]
struct LastRejection {
    name: String,
    rejection: Rejection,
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

    /// This process has stored that the run is to be created. Nobody has requested it before.
    pub(super) fn planned(&mut self, name: &str) {
        self.creation = Some(Creation { name: name.to_owned(), unanswered: None, is_in_flight: false });
    }

    /// The creation of the run's task is about to be requested. Without an answer, the request may be carried out later.
    pub(super) fn requested(&mut self, name: &str) {
        let now = Some(Instant::now());
        let known = self.creation.take().filter(|known| known.name == name);
        let known = known.unwrap_or_else(|| Creation { name: name.to_owned(), unanswered: now, is_in_flight: false });
        let unanswered = if known.is_in_flight { now } else { known.unanswered };
        self.creation = Some(Creation { unanswered, is_in_flight: true, ..known });
    }

    /// The task that was requested could not be created.
    pub(super) fn rejected(&mut self, name: &str, rejection: Rejection) {
        if let Some(creation) = &mut self.creation {
            creation.is_in_flight = false;
            if !rejection.is_certain {
                creation.unanswered = Some(Instant::now());
            }
        }
        let tries = self.rejection.as_ref().filter(|last| last.name == name).map_or(0, |last| last.tries);
        let (name, tries, at) = (name.to_owned(), tries.saturating_add(1), Instant::now());
        self.rejection = Some(LastRejection { name, rejection, tries, at });
    }

    /// A task was created.
    pub(super) fn created(&mut self) {
        (self.creation, self.rejection) = (None, None);
    }

    /// The creation that failed last.
    pub(super) fn rejection(&self) -> Option<RejectedRun> {
        let LastRejection { name, rejection: Rejection { message, is_certain, is_taken }, tries, at } =
            self.rejection.as_ref()?;
        let creation = self.creation.as_ref().filter(|creation| creation.name == *name);
        // A request without an answer, of this process or an earlier one, may still be carried out.
        let cannot_land = |since: Instant| since.elapsed() >= Duration::try_from(LATE_POST_BOUND).unwrap_or_default();
        let is_settled = |creation: &Creation| !creation.is_in_flight && creation.unanswered.is_none_or(cannot_land);
        let is_certain = *is_certain && creation.is_some_and(is_settled);
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
