//! Why an attempt has not started: what its Pod's status says, else the newest Warning event about the Pod, else how far
//! the Pod is.

use super::deadlines;
use super::{PodRef, SETTLE, SETTLE_IN_A_STORM, Situation, TrackedPod, age};
use crate::api::{CurrentAttempt, HoldUp, RetryableTaskStatus, StopReason};
use crate::core::message::same_but_for_numbers;
use crate::core::pod_event::{FAILED_SCHEDULING, PodWarning};
use crate::core::pod_snapshot::{PodSnapshot, Progress};
use crate::core::time::plus;
use jiff::SignedDuration;

/// How long the answer to the question for Warning events holds.
pub const WARNINGS_HOLD: SignedDuration = SignedDuration::from_secs(60);
/// How far the clock of who reports an event may be behind that of the kubelet, or of the scheduler.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(5);

/// What the API server said when this process asked it for the Warning events about a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWarnings {
    /// The Pod's UID.
    pub pod_uid: String,
    /// How long ago.
    pub age: SignedDuration,
    /// Whether it has ever said: events may be unreadable.
    pub readable: bool,
    /// The newest of them, if there was one, as it last said.
    pub newest: Option<PodWarning>,
}

/// Whether the reason only says how far a Pod is, and not what is wrong.
pub(super) fn is_stage(hold_up: &HoldUp) -> bool {
    is_stage_reason(&hold_up.reason)
}

fn is_stage_reason(reason: &str) -> bool {
    matches!(reason, "Unscheduled" | "ContainerCreating" | "PodInitializing")
}

/// Whether the Pod has had its time to start, or to end: that it has not is worth a write.
pub(super) fn is_settled(situation: &Situation, tracked: &TrackedPod) -> bool {
    age(situation, tracked) >= if situation.has_time { SETTLE } else { SETTLE_IN_A_STORM }
}

/// The Pod whose Warning events must be known before it can be said why it has not started.
pub(super) fn question(
    situation: &Situation,
    status: &RetryableTaskStatus,
    current: &CurrentAttempt,
    tracked: &TrackedPod,
) -> Option<PodRef> {
    if !is_silent(current, tracked) {
        return None;
    }
    let ends = || {
        let stops = deadlines::stops(situation, status, current, tracked);
        stops.iter().any(|stop| stop.reason == StopReason::StartupTimeout && stop.at <= situation.now)
    };
    let is_due = (is_settled(situation, tracked) && waited(situation, tracked) >= SETTLE) || ends();
    let is_known = warnings(situation, tracked).is_some_and(|known| known.age < WARNINGS_HOLD || !situation.has_time);
    (is_due && !is_known).then(|| PodRef { name: tracked.pod.pod_name.clone(), uid: tracked.pod.pod_uid.clone() })
}

/// How long until there is something to ask.
pub(super) fn asks_in(situation: &Situation, current: &CurrentAttempt, tracked: &TrackedPod) -> Option<SignedDuration> {
    let wait = match warnings(situation, tracked) {
        Some(known) => WARNINGS_HOLD.saturating_sub(known.age),
        None => SETTLE.saturating_sub(waited(situation, tracked)),
    };
    Some(wait).filter(|wait| wait.is_positive() && is_silent(current, tracked))
}

/// What holds the attempt up, of which its status says `current.hold_up` so far. What says the same is left as it is.
pub(super) fn of(situation: &Situation, current: &CurrentAttempt, tracked: &TrackedPod) -> Option<HoldUp> {
    let told = current.hold_up.as_ref();
    if current.stop_reason.is_some() || tracked.pod.deleting {
        return told.filter(|_| matches!(tracked.pod.progress, Progress::Pending(_))).cloned();
    }
    let now = match &tracked.pod.progress {
        Progress::Pending(Some(hold_up)) => {
            return told.filter(|told| is_same(&told.reason, &hold_up.reason)).or(Some(hold_up)).cloned();
        }
        Progress::Pending(None) => {
            let known = warnings(situation, tracked);
            if known.is_none() && !is_settled(situation, tracked) {
                return told.cloned();
            }
            if known.is_some_and(|known| !known.readable)
                && told.is_some_and(|told| can_still_be(&told.reason, &tracked.pod))
            {
                return told.cloned();
            }
            known
                .and_then(|known| known.newest.as_ref())
                .and_then(|newest| as_cause(newest, &tracked.pod))
                .or(stage(tracked))
        }
        Progress::Running | Progress::MainContainerExited(_) | Progress::Ended(_) => return None,
    };
    let (Some(told), Some(now)) = (told, now) else { return now.cloned() };
    let text = |hold_up: &HoldUp| hold_up.message.clone().unwrap_or_default();
    let says_the_same = told.reason == now.reason && same_but_for_numbers(&text(told), &text(now));
    let can_wait = is_stage(told) && is_stage(now) && !situation.has_time;
    Some(if says_the_same || can_wait { told.clone() } else { now.clone() })
}

/// The kubelet says ErrImagePull and ImagePullBackOff in turn for one and the same trouble.
pub(super) fn is_same(told: &str, now: &str) -> bool {
    const PULL: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];
    told == now || (PULL.contains(&told) && PULL.contains(&now))
}

/// Whether the Pod has not started, and its status names no trouble.
fn is_silent(current: &CurrentAttempt, tracked: &TrackedPod) -> bool {
    let at_work = tracked.pod.stage.as_ref().is_none_or(|stage| stage.init_runs);
    !at_work && !tracked.pod.deleting && current.stop_reason.is_none()
}

fn warnings<'a>(situation: &'a Situation, tracked: &TrackedPod) -> Option<&'a PodWarnings> {
    situation.warnings.filter(|known| known.pod_uid == tracked.pod.pod_uid)
}

fn stage(tracked: &TrackedPod) -> Option<&HoldUp> {
    tracked.pod.stage.as_ref().map(|stage| &stage.hold_up)
}

/// How long the main container could have started, or the Pod could have got its node.
fn waited(situation: &Situation, tracked: &TrackedPod) -> SignedDuration {
    let starting = tracked.pod.starting.map(|since| situation.now.duration_since(since));
    starting.map_or(age(situation, tracked), |since| since.min(age(situation, tracked)))
}

/// Whether a reason that was stored, and of which nothing newer is known, may hold the Pod up still.
fn can_still_be(reason: &str, pod: &PodSnapshot) -> bool {
    let of_scheduling = matches!(reason, FAILED_SCHEDULING | "Unschedulable" | "SchedulingGated");
    let is_over = is_at_work(pod) || (of_scheduling && has_a_node(pod));
    !is_over && !is_stage_reason(reason)
}

fn has_a_node(pod: &PodSnapshot) -> bool {
    pod.node_name.as_ref().is_some_and(|node| !node.is_empty())
}

fn is_at_work(pod: &PodSnapshot) -> bool {
    pod.stage.as_ref().is_some_and(|stage| stage.init_runs)
}

/// The event, if it is about what the Pod is at now: not about what it has left behind.
fn as_cause<'a>(warning: &'a PodWarning, pod: &PodSnapshot) -> Option<&'a HoldUp> {
    let PodWarning { hold_up, last_seen } = warning;
    let is_over = has_a_node(pod) && hold_up.reason == FAILED_SCHEDULING;
    let is_old = pod.starting.zip(*last_seen).is_some_and(|(since, tracked)| plus(tracked, CLOCKS_APART) < since);
    Some(hold_up).filter(|_| !is_over && !is_old && !is_at_work(pod))
}
