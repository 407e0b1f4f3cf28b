//! What this process knows of each task beyond what is stored. Losing it costs requests, never correctness.

use super::TaskKey;
use super::task_cache::version_of;
use crate::api::RetryableTask;
use crate::core::decide::{Created, Failing, PodWarnings};
use crate::core::delay;
use crate::core::jitter_seed::jitter_seed;
use crate::core::pod_warning::PodWarning;
use crate::core::rejection::{Rejection, UNSTORED_UNSAID};
use crate::core::slot::Slot;
use crate::core::time::until;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest back-off after repeated failures, in seconds.
const MAX_BACKOFF_SECONDS: i32 = 60;

/// What this process knows, by task.
#[derive(Debug, Default)]
pub struct ProcessStates {
    tasks: Mutex<HashMap<TaskKey, TaskState>>,
}

/// What this process knows of one task. All of it belongs to one UID.
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
    cleanup_was_deferred: bool,
}

/// The Warning Events about a Pod: when they were last read, or could not be; whether a read has succeeded; the last
/// answer.
#[derive(Debug)]
struct Warnings {
    pod_uid: String,
    at: Instant,
    readable: bool,
    newest: Option<PodWarning>,
}

/// Repeated failures to create one Pod.
#[derive(Debug)]
struct FailingCreation {
    slot: Slot,
    since: Instant,
    last: Instant,
    rejection: Rejection,
}

/// A status that cannot be stored.
#[derive(Debug)]
struct Unstored {
    since: Instant,
    is_reported: bool,
}

impl ProcessStates {
    /// Reads or changes the state of a task. A new UID starts with an empty one.
    pub fn with<T>(&self, key: &TaskKey, uid: &str, f: impl FnOnce(&mut TaskState) -> T) -> T {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let state = tasks.entry(key.clone()).or_default();
        if state.uid != uid {
            *state = TaskState { uid: uid.to_owned(), ..TaskState::default() };
        }
        f(state)
    }

    /// Whether anything is known of the task: a reconcile has run, or runs, that did not end with [`forget`](Self::forget).
    pub fn has(&self, key: &TaskKey) -> bool {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Forgets the task.
    pub fn forget(&self, key: &TaskKey) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl TaskState {
    /// The newer of the cached task and the one that this process wrote last: the cache may be older than our own write.
    pub fn newest(&mut self, cached: Arc<RetryableTask>) -> Arc<RetryableTask> {
        match &self.last_write {
            Some(written) if version_of(&written.metadata) > version_of(&cached.metadata) => written.clone(),
            _ => {
                self.last_write = None;
                cached
            }
        }
    }

    /// A status was written. Keeps the task of the answer.
    pub fn wrote(&mut self, task: Arc<RetryableTask>) {
        self.last_write = Some(task);
        self.unstored = None;
    }

    /// A Pod was created.
    pub fn created(&mut self, slot: Slot, pod_uid: &str) {
        self.created = Some((slot, pod_uid.to_owned(), Instant::now()));
        self.failing = None;
    }

    /// A creation that was sent at `begun` failed.
    pub fn not_created(&mut self, slot: Slot, rejection: &Rejection, begun: Instant) {
        let since = self.failing.as_ref().filter(|failing| failing.slot == slot).map_or(begun, |failing| failing.since);
        let (last, rejection) = (Instant::now(), rejection.clone());
        if rejection.may_be_stored() {
            self.sent = Some((slot, last));
        }
        self.failing = Some(Box::new(FailingCreation { slot, since, last, rejection }));
    }

    /// The Pod of an attempt or of the fallback exists.
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

    /// A status was written that says that the task cannot be read.
    pub fn stored(&mut self) {
        self.unstored = None;
    }

    /// A status could not be stored. True if it is time to report it: once, after it has lasted a while.
    pub fn not_stored(&mut self) -> bool {
        let unstored = self.unstored.get_or_insert(Unstored { since: Instant::now(), is_reported: false });
        let lasts = SignedDuration::try_from(unstored.since.elapsed()).is_ok_and(|since| since >= UNSTORED_UNSAID);
        let is_due = lasts && !unstored.is_reported;
        unstored.is_reported |= is_due;
        is_due
    }

    /// How long ago this process sent the last creation for the slot of which the outcome is unknown.
    pub fn sent_for(&self, slot: Slot) -> Option<SignedDuration> {
        let (sent, at) = self.sent?;
        (sent == slot).then(|| SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX))
    }

    /// The Pod that this process created for the slot.
    pub fn creation_of(&self, slot: Slot) -> Option<Created> {
        let (created, pod_uid, at) = self.created.as_ref()?;
        let age = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        (*created == slot).then(|| Created { pod_uid: pod_uid.clone(), age })
    }

    /// How long an attempt still waits until `due`, by the monotonic clock, measured from when this process first saw the
    /// wait. If the stored due time moves, the end of the wait moves by as much. `longest` limits the wait: a wall clock
    /// that was set back does not make it longer.
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

    /// The API server has just answered with the newest Warning Event about a Pod.
    pub fn warned(&mut self, pod_uid: String, newest: Option<PodWarning>) {
        self.warnings = Some(Warnings { pod_uid, at: Instant::now(), readable: true, newest });
    }

    /// The Warning Events about a Pod could not be read. The last answer about the same Pod stays.
    pub fn warnings_unread(&mut self, pod_uid: String) {
        let known = self.warnings.take().filter(|known| known.pod_uid == pod_uid);
        let (readable, newest) = known.map_or((false, None), |known| (known.readable, known.newest));
        self.warnings = Some(Warnings { pod_uid, at: Instant::now(), readable, newest });
    }

    /// No attempt has begun, so what is known of the last one's Pod is dropped.
    pub fn nothing_begun(&mut self) {
        (self.warnings, self.failing) = (None, None);
    }

    /// The last answer on Warning Events.
    pub fn warnings(&self) -> Option<PodWarnings> {
        let Warnings { pod_uid, at, readable, newest } = self.warnings.as_ref()?;
        let age = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        Some(PodWarnings { pod_uid: pod_uid.clone(), age, readable: *readable, newest: newest.clone() })
    }

    /// The reconcile failed. Returns the back-off before the next.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        wait(self.failures, &self.uid)
    }

    /// The reconcile succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The rest of the back-off after failed cleanups.
    pub fn cleanup_wait(&self) -> Duration {
        self.cleanup_after.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether cleanup may be deferred for what the task has to do soon. Not twice in a row: some tasks always have
    /// something to do soon.
    pub fn may_defer_cleanup(&mut self) -> bool {
        self.cleanup_was_deferred = !self.cleanup_was_deferred;
        self.cleanup_was_deferred
    }

    /// Cleanup succeeded, or failed and has a back-off.
    pub fn cleaned_up(&mut self, ok: bool) {
        self.cleanup_failures = if ok { 0 } else { self.cleanup_failures.saturating_add(1) };
        self.cleanup_after = (!ok).then(|| Instant::now() + wait(self.cleanup_failures, &self.uid));
    }
}

/// The back-off after the n-th failure in a row: from 0.5 s, doubling, up to a minute, half of it jitter.
fn wait(failures: i32, uid: &str) -> Duration {
    let jitter = crate::api::Jitter { mode: Some(crate::api::JitterMode::Equal), percent: None };
    let waits = crate::api::Backoff {
        max_delay_seconds: Some(MAX_BACKOFF_SECONDS),
        jitter: Some(jitter),
        ..Default::default()
    };
    Duration::try_from(delay::delay(Some(&waits), failures, jitter_seed(uid, -failures))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
