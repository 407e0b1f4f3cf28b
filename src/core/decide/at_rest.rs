//! Finished tasks of which nothing is left to do.

use super::{Settled, is_finished};
use crate::api::RetryableTask;
use crate::core::time::plus;
use jiff::{SignedDuration, Timestamp};

/// A finished task of which nothing is left to do but to delete it when its time to live is over: its status is as it
/// should be, every request is acknowledged, and no Pod is left to delete or to release from the finalizer. It stays so
/// until the task or one of its Pods changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRest {
    /// When its time to live is over, by the wall clock; `None` if it has no limit.
    pub expires: Option<Timestamp>,
}

/// Whether the task is at rest, by what was decided for it at `now`.
pub fn at_rest(task: &RetryableTask, now: Timestamp, settled: &Settled) -> Option<AtRest> {
    let has_finished = task.status.as_ref().is_some_and(|status| is_finished(&status.conditions));
    if !has_finished || !settled.is_idle() {
        return None;
    }
    let wait = if settled.delete_task { Some(SignedDuration::ZERO) } else { settled.requeue.expiry };
    Some(AtRest { expires: wait.map(|wait| plus(now, wait)) })
}
