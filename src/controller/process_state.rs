//! What this process remembers of each task beyond what is stored. Losing all of it costs requests, never correctness.

use super::TaskKey;
use crate::api::RetryableTask;
use crate::core::decide::{Created, Failing, PodWarnings};
use crate::core::delay;
use crate::core::jitter_seed::jitter_seed;
use crate::core::pod_event::PodWarning;
use crate::core::rejection::{Rejection, UNSTORED_UNSAID};
use crate::core::slot::Slot;
use crate::core::time::until;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time between two tries of something that keeps failing, in seconds.
const MAX_BACKOFF_SECONDS: i32 = 60;

/// The memory of this process, by task.
#[derive(Debug, Default)]
pub struct ProcessStates {
    tasks: Mutex<HashMap<TaskKey, TaskState>>,
}

/// What is remembered of one task. All of it belongs to one UID.
#[derive(Debug, Default)]
pub struct TaskState {
    uid: String,
    last_write: Option<Arc<RetryableTask>>,
    created: Option<(Slot, String, Instant)>,
    sent: Option<(Slot, Instant)>,
    failing: Option<Box<FailingCreation>>,
    unstored: Option<Unstored>,
    wait: Option<(Slot, Timestamp, Instant)>,
    warnings: Option<Warnings>,
    failures: i32,
    cleanup_failures: i32,
    cleanup_after: Option<Instant>,
    cleanup_made_way: bool,
}

/// What the API server said when it was asked for the Warning events about a Pod.
#[derive(Debug)]
struct Warnings {
    pod_uid: String,
    at: Instant,
    readable: bool,
    newest: Option<PodWarning>,
}

/// Creations of one Pod that failed in a row.
#[derive(Debug)]
struct FailingCreation {
    slot: Slot,
    since: Instant,
    last: Instant,
    rejection: Rejection,
}

/// A status that could not be stored.
#[derive(Debug)]
struct Unstored {
    since: Instant,
    said: bool,
}

impl ProcessStates {
    /// Looks into, or changes, what is remembered of the task. A new UID starts with nothing.
    pub fn with<T>(&self, key: &TaskKey, uid: &str, f: impl FnOnce(&mut TaskState) -> T) -> T {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let state = tasks.entry(key.clone()).or_default();
        if state.uid != uid {
            *state = TaskState { uid: uid.to_owned(), ..TaskState::default() };
        }
        f(state)
    }

    /// Forgets the task.
    pub fn forget(&self, key: &TaskKey) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl TaskState {
    /// The newer of the cache's task and the one that this process wrote last: the cache may not have seen our own
    /// write yet.
    pub fn newest(&mut self, cached: Arc<RetryableTask>) -> Arc<RetryableTask> {
        match &self.last_write {
            Some(written) if version(written) > version(&cached) => written.clone(),
            _ => {
                self.last_write = None;
                cached
            }
        }
    }

    /// Keeps the task as the API server answered to our write.
    pub fn wrote(&mut self, task: Arc<RetryableTask>) {
        self.last_write = Some(task);
        self.unstored = None;
    }

    /// Keeps that a Pod was created.
    pub fn created(&mut self, slot: Slot, pod_uid: &str) {
        self.created = Some((slot, pod_uid.to_owned(), Instant::now()));
        self.failing = None;
    }

    /// Keeps that a creation that was sent at `begun` failed.
    pub fn not_created(&mut self, slot: Slot, rejection: &Rejection, begun: Instant) {
        let since = self.failing.as_ref().filter(|failing| failing.slot == slot).map_or(begun, |failing| failing.since);
        let (last, rejection) = (Instant::now(), rejection.clone());
        if rejection.may_be_stored() {
            self.sent = Some((slot, last));
        }
        self.failing = Some(Box::new(FailingCreation { slot, since, last, rejection }));
    }

    /// The Pod of an attempt or of the fallback is there.
    pub fn adopted(&mut self) {
        self.failing = None;
    }

    /// The creations for an attempt or the fallback, if the last of them failed.
    pub fn failing(&self, slot: Slot) -> Option<Failing> {
        let FailingCreation { since, last, rejection, .. } =
            self.failing.as_deref().filter(|failing| failing.slot == slot)?;
        let ago = |at: &Instant| SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        Some(Failing { since: ago(since), last: ago(last), rejection: rejection.clone() })
    }

    /// A status was stored that says that the task cannot be read.
    pub fn stored(&mut self) {
        self.unstored = None;
    }

    /// A status could not be stored; tells whether to say so: once, when it lasts.
    pub fn not_stored(&mut self) -> bool {
        let unstored = self.unstored.get_or_insert(Unstored { since: Instant::now(), said: false });
        let lasts = SignedDuration::try_from(unstored.since.elapsed()).is_ok_and(|since| since >= UNSTORED_UNSAID);
        let says = lasts && !unstored.said;
        unstored.said |= says;
        says
    }

    /// How long ago the last creation of which nobody knows what came for an attempt or the fallback was sent, if this process did.
    pub fn sent_for(&self, slot: Slot) -> Option<SignedDuration> {
        let (sent, at) = self.sent?;
        (sent == slot).then(|| SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX))
    }

    /// The Pod that was created for an attempt or the fallback, if this process did.
    pub fn creation_of(&self, slot: Slot) -> Option<Created> {
        let (created, pod_uid, at) = self.created.as_ref()?;
        let age = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        (*created == slot).then(|| Created { pod_uid: pod_uid.clone(), age })
    }

    /// How long the wait of an attempt until `due` still is on the monotonic clock, measured from the first time that
    /// this process saw it. A due time that has moved since moves the measure along: not the write, of which the answer
    /// may be lost, but what is stored tells of it. `longest` bounds the measure: a wall clock that was set back makes no
    /// wait longer than it was meant to be.
    pub fn remaining(
        &mut self,
        slot: Slot,
        due: Timestamp,
        now: Timestamp,
        longest: Option<SignedDuration>,
    ) -> SignedDuration {
        let known = self.wait.filter(|(measured_for, ..)| *measured_for == slot);
        let moved = known.and_then(|(_, from, end)| {
            let by = due.duration_since(from).unsigned_abs();
            if due < from { end.checked_sub(by) } else { end.checked_add(by) }
        });
        let end = moved.unwrap_or_else(|| {
            let wait = longest.map_or(until(now, due), |longest| until(now, due).min(longest));
            Instant::now() + Duration::try_from(wait).unwrap_or_default()
        });
        self.wait = Some((slot, due, end));
        SignedDuration::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(SignedDuration::MAX)
    }

    /// Keeps the newest Warning event about a Pod, as the API server has just answered.
    pub fn warned(&mut self, pod_uid: String, newest: Option<PodWarning>) {
        self.warnings = Some(Warnings { pod_uid, at: Instant::now(), readable: true, newest });
    }

    /// Keeps that the API server has just not answered that question: what it last said of the same Pod holds on.
    pub fn warnings_unread(&mut self, pod_uid: String) {
        let known = self.warnings.take().filter(|known| known.pod_uid == pod_uid);
        let (readable, newest) = known.map_or((false, None), |known| (known.readable, known.newest));
        self.warnings = Some(Warnings { pod_uid, at: Instant::now(), readable, newest });
    }

    /// There is no attempt that has begun: what is kept of the last one's Pod is of no use.
    pub fn nothing_begun(&mut self) {
        (self.warnings, self.failing) = (None, None);
    }

    /// The last such answer.
    pub fn warnings(&self) -> Option<PodWarnings> {
        let Warnings { pod_uid, at, readable, newest } = self.warnings.as_ref()?;
        let age = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        Some(PodWarnings { pod_uid: pod_uid.clone(), age, readable: *readable, newest: newest.clone() })
    }

    /// The reconcile failed: how long to wait before the next.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        wait(self.failures, &self.uid)
    }

    /// The reconcile went through.
    pub fn went_through(&mut self) {
        self.failures = 0;
    }

    /// How long cleaning up has to wait after failures.
    pub fn cleanup_wait(&self) -> Duration {
        self.cleanup_after.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether a clean-up may make way for what the task itself has to do soon: not twice in a row, since there are tasks
    /// that always have to.
    pub fn cleanup_makes_way(&mut self) -> bool {
        self.cleanup_made_way = !self.cleanup_made_way;
        self.cleanup_made_way
    }

    /// Cleaning up went through, or failed and has to wait.
    pub fn cleaned_up(&mut self, ok: bool) {
        self.cleanup_failures = if ok { 0 } else { self.cleanup_failures.saturating_add(1) };
        self.cleanup_after = (!ok).then(|| Instant::now() + wait(self.cleanup_failures, &self.uid));
    }
}

/// The wait after the n-th failure in a row: from 0.5 s, doubling, to a minute, half of it jitter.
fn wait(failures: i32, uid: &str) -> Duration {
    let jitter = crate::api::Jitter { mode: Some(crate::api::JitterMode::Equal), percent: None };
    let waits = crate::api::Backoff {
        max_delay_seconds: Some(MAX_BACKOFF_SECONDS),
        jitter: Some(jitter),
        ..Default::default()
    };
    Duration::try_from(delay::delay(Some(&waits), failures, jitter_seed(uid, -failures))).unwrap_or_default()
}

/// The object's version as a number, which Kubernetes 1.35 made official (KEP-5504).
fn version(task: &RetryableTask) -> u64 {
    task.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
