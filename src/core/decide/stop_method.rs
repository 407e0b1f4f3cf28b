//! How the current attempt's Pod is stopped once the intent is stored: by its own deadline, which keeps the Pod and its
//! log; by its deletion where there is no log, or where no kubelet answers.

use super::{Situation, TrackedPod};
use crate::api::CurrentAttempt;
use crate::core::pod_snapshot::PodSnapshot;
use crate::core::time::{plus, until};
use jiff::SignedDuration;

/// The `activeDeadlineSeconds` that stop a Pod: the least that the API server takes. A Pod that has run is older, or is
/// within a second.
pub const STOP_DEADLINE_SECONDS: i64 = 1;
/// How long after its grace a Pod with that deadline has to end before it is deleted: its kubelet needs about a second,
/// and one that does not answer may never.
const DEADLINE_UNANSWERED: SignedDuration = SignedDuration::from_secs(30);

/// How a Pod is stopped. Its containers get the same grace either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMethod {
    /// Its kubelet ends it, because its deadline has passed. The Pod stays, and its log with it.
    Deadline,
    /// It is deleted.
    Deletion,
    /// It is deleted if its main container has still not started.
    Replacement,
}

/// How to stop a Pod that is not being deleted, and when to check again.
pub(super) fn next(
    situation: &Situation,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
) -> (Option<StopMethod>, Option<SignedDuration>) {
    let PodSnapshot { has_run, node_name, termination_grace, .. } = &tracked.pod;
    if !has_run || node_name.is_none() {
        return (Some(StopMethod::Deletion), None);
    }
    let limit = termination_grace.saturating_add(DEADLINE_UNANSWERED);
    let (method, wait) = match tracked.stopping_since {
        Some(since) => (None, limit.saturating_sub(situation.process.uptime.saturating_sub(since))),
        None => (Some(StopMethod::Deadline), until_given_up(situation, current, limit)),
    };
    if wait.is_positive() { (method, Some(wait)) } else { (Some(StopMethod::Deletion), None) }
}

/// How long to wait for the deadline to appear on the Pod before the Pod is deleted instead: since the stored intent, and
/// at least as long as this process has had to set it.
fn until_given_up(situation: &Situation, current: &CurrentAttempt, limit: SignedDuration) -> SignedDuration {
    let stored = current.stop_time.as_ref().map_or(limit, |at| until(situation.now, plus(at.0, limit)).min(limit));
    stored.max(limit.saturating_sub(situation.process.uptime))
}
