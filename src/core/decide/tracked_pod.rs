//! A Pod as this process has seen it over time.

use super::STOP_DEADLINE_SECONDS;
use crate::core::pod_snapshot::{PodSnapshot, Progress};
use jiff::{SignedDuration, Timestamp};

/// A Pod as this process has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedPod {
    /// What it says.
    pub pod: PodSnapshot,
    /// When this process first saw it, by the wall clock.
    pub first_seen: Timestamp,
    /// `Situation::uptime` when this process first saw it.
    pub known_since: SignedDuration,
    /// `Situation::uptime` when this process first saw that it is being deleted, with the deadline that it has now.
    pub deleting_since: Option<SignedDuration>,
    /// `Situation::uptime` when this process first saw that its deadline was set to stop it.
    pub stopping_since: Option<SignedDuration>,
    /// When this process saw that its scheduling gates were gone, if it had seen them.
    pub ungated: Option<Timestamp>,
    /// When this process first saw that it, or its main container, had ended.
    pub end_seen: Option<Timestamp>,
    /// Whether its deletion was seen.
    pub deleted: bool,
}

impl TrackedPod {
    /// The Pod as the watch, or an answer, shows it at `now`, given how it was seen before. The first terminal
    /// observation decides: what is written into a Pod after its end does not change it.
    pub fn update(before: Option<&Self>, mut pod: PodSnapshot, (now, uptime): (Timestamp, SignedDuration)) -> Self {
        let deadline = |pod: &PodSnapshot| pod.deletion_deadline.as_ref().map(|deadline| deadline.at);
        let same_deletion = before.filter(|before| deadline(&before.pod) == deadline(&pod));
        let deleting_since =
            deadline(&pod).and(same_deletion.and_then(|before| before.deleting_since).or(Some(uptime)));
        let is_stopping = pod.active_deadline_seconds.is_some_and(|seconds| seconds <= STOP_DEADLINE_SECONDS);
        let stopping_since = is_stopping.then(|| before.and_then(|before| before.stopping_since).unwrap_or(uptime));
        let ended = matches!(pod.progress, Progress::Ended(_) | Progress::MainContainerExited(_));
        if let Some(Self { pod: PodSnapshot { progress: end @ Progress::Ended(_), .. }, .. }) = before {
            pod.progress = end.clone();
        }
        let gates_went = before.is_some_and(|before| before.pod.gated) && !pod.gated;
        Self {
            ungated: before.and_then(|before| before.ungated).or(gates_went.then_some(now)),
            first_seen: before.map_or(now, |before| before.first_seen),
            known_since: before.map_or(uptime, |before| before.known_since),
            deleting_since,
            stopping_since,
            end_seen: before.and_then(|before| before.end_seen).or(ended.then_some(now)),
            deleted: false,
            pod,
        }
    }
}
