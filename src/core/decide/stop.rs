//! How the current attempt's Pod is stopped once the intent is stored: by its own deadline, which keeps the Pod and its
//! log; by its deletion where there is no log, or where no kubelet answers.

use super::{Seen, Situation};
use crate::core::observe::Observed;
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
}

/// What to do now to a Pod that is to be stopped and is not being deleted, and when to look again.
pub(super) fn next(situation: &Situation, seen: &Seen) -> (Option<StopMethod>, Option<SignedDuration>) {
    let Observed { has_run, node_name, termination_grace, .. } = &seen.pod;
    if !has_run || node_name.is_none() {
        return (Some(StopMethod::Deletion), None);
    }
    let limit = termination_grace.saturating_add(DEADLINE_UNANSWERED);
    let Some(since) = seen.stopping_since else { return (Some(StopMethod::Deadline), Some(limit)) };
    let wait = limit.saturating_sub(situation.uptime.saturating_sub(since));
    if wait.is_positive() { (None, Some(wait)) } else { (Some(StopMethod::Deletion), None) }
}

impl Observed {
    /// Whether its kubelet ends it because of a deadline that has passed.
    fn is_past_its_deadline(&self) -> bool {
        self.active_deadline_seconds.is_some_and(|seconds| seconds <= STOP_DEADLINE_SECONDS)
    }

    /// `Seen::stopping_since` of a Pod that is seen so at `uptime`, given how it was seen before.
    pub fn stopping_since(&self, before: Option<&Seen>, uptime: SignedDuration) -> Option<SignedDuration> {
        self.is_past_its_deadline().then(|| before.and_then(|before| before.stopping_since).unwrap_or(uptime))
    }
}
