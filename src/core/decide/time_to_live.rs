//! How long a finished task is kept.

use super::ProcessState;
use crate::api::{RetryableTaskSpec, RetryableTaskStatus};

/// Seconds from the end of the task until it is deleted: the spec's, else the default that held when an operator first
/// saw the task. `None` if it is kept.
pub fn ttl_seconds(spec: &RetryableTaskSpec, status: &RetryableTaskStatus) -> Option<i32> {
    spec.ttl_seconds_after_finished.or(status.default_ttl_seconds_after_finished)
}

/// The default goes into the first status of a task. Tasks that an operator has seen without it are never deleted by it:
/// nobody who made them could know.
pub(super) fn record_default(status: &mut RetryableTaskStatus, process: &ProcessState) {
    let is_unseen = status.observed_generation.is_none_or(|generation| generation < 0);
    if is_unseen {
        status.default_ttl_seconds_after_finished = process.default_ttl_seconds;
    }
}
