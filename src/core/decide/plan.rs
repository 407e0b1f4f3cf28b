//! What to do now: one request, or, when the stored status is as it should be, the effects of it.

use super::{StopMethod, TrackedPod, Transition};
use crate::api::RetryableTaskStatus;
use crate::core::queue::view::QueueDemand;
use crate::core::slot::Slot;
use jiff::SignedDuration;

/// What to do now. Every plan but [`Plan::Settled`] is one request; with its answer the task is decided again.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Store the status.
    WriteStatus(StatusWrite),
    /// Look up the Pod of that name.
    LookUpPod(String),
    /// Look up the tasks of those names in the task's namespace.
    LookUpTasks(Vec<String>),
    /// Read the Warning events about the Pod.
    ReadWarnings(PodRef),
    /// Read the task live.
    RefreshTask,
    /// Create the Pod of the attempt, or of the fallback.
    CreatePod(Slot),
    /// The stored status is as it should be: act on it, then wait.
    Settled(Box<Settled>),
}

/// A status to store, and what to report once it is.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The status.
    pub status: Box<RetryableTaskStatus>,
    /// What to report.
    pub transitions: Vec<Transition>,
}

/// The effects of a stored status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// The current attempt's Pod, to be stopped, and how.
    pub stop: Option<(PodRef, StopMethod)>,
    /// Pods of closed attempts that have not ended, to be deleted at once: they must not run on.
    pub stale_pods: Vec<PodRef>,
    /// What is left of closed attempts.
    pub cleanup: Cleanup,
    /// Whether to delete the task itself: its time to live after the end is over.
    pub delete_task: bool,
    /// What may be written or read, and can wait while there is more urgent work.
    pub progress: Option<Deferrable>,
    /// The attempt that waits for a queue to start it. The task is in no other line.
    pub queue: Option<QueueDemand>,
    /// When to reconcile again if nothing happens.
    pub requeue: Requeue,
}

/// What is left to do with the Pods of closed attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Pods that have ended, to be deleted.
    pub delete: Vec<PodRef>,
    /// Pods to remove the finalizer from.
    pub remove_finalizer: Vec<PodRef>,
}

impl Cleanup {
    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        let Self { delete, remove_finalizer } = self;
        delete.is_empty() && remove_finalizer.is_empty()
    }
}

/// A report of progress that can wait while there is more urgent work.
#[derive(Clone, Debug, PartialEq)]
pub struct Deferrable {
    /// What to do.
    pub report: ProgressReport,
    /// In how long it becomes a plan of its own; `None` if it never does.
    pub required_in: Option<SignedDuration>,
}

/// How it is reported how far an attempt is.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgressReport {
    /// Store the status.
    WriteStatus(StatusWrite),
    /// Read the Warning events about the Pod, which may say why it has not started.
    ReadWarnings(PodRef),
}

/// When to reconcile a task again if nothing happens: for what is urgent, and for what can wait while there is more
/// urgent work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// For the current attempt: it is due, or its time is over, or its Pod must be looked up.
    pub for_attempt: Option<SignedDuration>,
    /// For the Pods of ended attempts, or a report of progress.
    pub deferrable: Option<SignedDuration>,
    /// For the task itself: its time to live after the end is over. It can wait too.
    pub expiry: Option<SignedDuration>,
}

impl Requeue {
    /// The sooner of them.
    pub fn soonest(self) -> Option<SignedDuration> {
        let Self { for_attempt, deferrable, expiry } = self;
        for_attempt.into_iter().chain(deferrable).chain(expiry).min()
    }
}

/// A Pod that a plan names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its UID, a precondition of every request about it.
    pub uid: String,
}

impl From<&TrackedPod> for PodRef {
    fn from(tracked: &TrackedPod) -> Self {
        Self { name: tracked.pod.pod_name.clone(), uid: tracked.pod.pod_uid.clone() }
    }
}

impl Settled {
    /// Whether nothing is left to do but to delete the task, now or when its time to live is over.
    pub(super) fn is_idle(&self) -> bool {
        let Self { stop, stale_pods, cleanup, delete_task: _, progress, queue, requeue } = self;
        let Requeue { for_attempt, deferrable, expiry: _ } = requeue;
        let has_work = stop.is_some() || !stale_pods.is_empty() || !cleanup.is_empty() || progress.is_some();
        !has_work && queue.is_none() && for_attempt.is_none() && deferrable.is_none()
    }

    pub(super) fn requeue_in(&mut self, wait: SignedDuration) {
        shorten(&mut self.requeue.for_attempt, wait);
    }

    pub(super) fn requeue_deferrable(&mut self, wait: SignedDuration) {
        shorten(&mut self.requeue.deferrable, wait);
    }
}

fn shorten(wait: &mut Option<SignedDuration>, to: SignedDuration) {
    *wait = Some(wait.map_or(to, |sooner| sooner.min(to)));
}
