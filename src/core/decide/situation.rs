//! What a decision rests on: the task, its Pods, the latest answers of the API server, what this process knows.

use super::TrackedPod;
use crate::api::{ConditionReason, ConditionType, CurrentAttempt, RetryableTask, RetryableTaskStatus};
use crate::core::condition_list;
use crate::core::dependency::KnownTasks;
use crate::core::pod_name::pod_name;
use crate::core::pod_snapshot::DeletionDeadline;
use crate::core::pod_warning::PodWarning;
use crate::core::queue::view::QueueView;
use crate::core::rejection::{FAILS_UNSAID, Rejection};
use crate::core::slot::Slot;
use crate::core::time::until;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};

/// Longest time between sending the creation of a Pod and its landing in the store: the client gives up after 10 s, the
/// API server gives up after 10 s, which the request asks for. A Pod's finalizer stays that long after its creation, so that a late
/// request meets AlreadyExists.
pub const LATE_POST_BOUND: SignedDuration = SignedDuration::from_secs(20);
/// How long a created Pod may stay unseen by the watch before it is looked up.
pub const UNSEEN_BOUND: SignedDuration = SignedDuration::from_secs(10);

/// All that a decision rests on.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The task with its stored status.
    pub task: &'a RetryableTask,
    /// The Pods of the task that the watch has shown, deleted ones included.
    pub pods: &'a [TrackedPod],
    /// The wall clock.
    pub now: Timestamp,
    /// The answers of the API server in this reconcile.
    pub lookups: &'a Lookups,
    /// What this process knows that is not stored.
    pub process: &'a ProcessState,
}

/// The answers of the API server in one reconcile. It starts with none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// The answer to the lookup of the current attempt's Pod.
    pub pod: Option<PodLookup>,
    /// Why the current attempt's Pod has just not been created.
    pub rejection: Option<Rejection>,
    /// The tasks of `spec.after`, and those that they wait for, as far as they were asked for.
    pub tasks: KnownTasks,
    /// Whether the task has just been read live, or written, rather than found in a cache that may be behind.
    pub task_is_live: bool,
}

/// What this process knows of the task and its current attempt that is not stored. A new process starts with nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessState {
    /// How long this process has run, by its monotonic clock.
    pub uptime: SignedDuration,
    /// The creation of the current attempt's Pod by this process, if it is not in `Situation::pods` yet.
    pub created: Option<Created>,
    /// How long ago this process sent a creation of the current attempt's Pod whose result it does not know.
    pub create_in_flight: Option<SignedDuration>,
    /// The creations of the current attempt's Pod by this process, if the last of them failed.
    pub failing: Option<Failing>,
    /// The Warning events about the current attempt's Pod, as the API server answered last.
    pub warnings: Option<PodWarnings>,
    /// A due time, and how long the wait for it still is on the monotonic clock of this process, if it has measured.
    pub remaining: Option<(Timestamp, SignedDuration)>,
    /// What the queue of the task says to it. None if this process does not know the queues yet, or the task has none.
    pub queue: Option<QueueView>,
    /// The `ttlSecondsAfterFinished` that this process was told to give to tasks whose spec has none.
    pub default_ttl_seconds: Option<i32>,
    /// Whether another task waits for the end of this one.
    pub is_awaited: bool,
}

/// What the API server says of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodLookup {
    /// The task's own Pod is there. What it says is among the Pods seen.
    Found,
    /// There is none of that name.
    NotFound,
    /// A Pod that is not this task's has the name.
    NotOwned,
}

/// A Pod that this process has created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its UID.
    pub pod_uid: String,
    /// How long ago.
    pub age: SignedDuration,
}

/// Creations of one Pod that failed in a row, by the monotonic clock of the process that sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How long ago the first of them was sent.
    pub since: SignedDuration,
    /// How long ago the last of them failed.
    pub last: SignedDuration,
    /// Why the last of them failed.
    pub rejection: Rejection,
}

impl Failing {
    /// Whether it is too early to say so.
    pub(super) fn is_unsaid(&self) -> bool {
        self.since < FAILS_UNSAID && self.rejection.reason() != ConditionReason::PodNameConflict
    }
}

/// The Warning events about a Pod, as the API server answered last.
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

/// The Pod of an attempt or of the fallback. Owner, labels and name must match: a copy of a Pod has another name.
pub(super) fn pod_of<'a>(situation: &'a Situation, slot: Slot) -> Option<&'a TrackedPod> {
    situation.pods.iter().find(|tracked| tracked.pod.slot() == slot && is_an_attempts(situation, tracked))
}

/// How long until a Pod that is being deleted and does not end is abandoned. A wall clock that is wrong by any amount
/// makes it neither shorter than the grace and the bound, whichever is longer, since this process has known of the
/// deletion, nor longer than both together.
pub(super) fn time_until_abandoned(situation: &Situation, tracked: &TrackedPod) -> Option<SignedDuration> {
    let DeletionDeadline { at, grace, bound, outcome: _ } = tracked.pod.deletion_deadline.as_deref()?;
    let known = situation.process.uptime.saturating_sub(tracked.deleting_since.unwrap_or(situation.process.uptime));
    let (least, most) = (*grace.max(bound), grace.saturating_add(*bound));
    let wait = until(situation.now, *at).max(least.saturating_sub(known)).min(most.saturating_sub(known));
    Some(wait.max(SignedDuration::ZERO))
}

/// How long ago the Pod was created, by its own time or this process's first sight of it, whichever is earlier. Negative
/// while the wall clock is behind both.
pub(super) fn age(situation: &Situation, tracked: &TrackedPod) -> SignedDuration {
    situation.now.duration_since(tracked.pod.created.min(tracked.first_seen))
}

/// For how long a creation of the current attempt's Pod can still be in flight: one of this process, or of an earlier
/// process.
pub(super) fn creation_in_flight_for(situation: &Situation) -> SignedDuration {
    let since =
        situation.process.create_in_flight.map_or(situation.process.uptime, |sent| sent.min(situation.process.uptime));
    LATE_POST_BOUND.saturating_sub(since).max(SignedDuration::ZERO)
}

pub(super) fn is_an_attempts(situation: &Situation, tracked: &TrackedPod) -> bool {
    tracked.pod.owned && tracked.pod.pod_name == name_of(situation, tracked.pod.slot())
}

pub(super) fn name_of(situation: &Situation, slot: Slot) -> String {
    let metadata = &situation.task.metadata;
    pod_name(metadata.name.as_deref().unwrap_or_default(), metadata.uid.as_deref().unwrap_or_default(), slot)
}

/// Whether no operator has begun anything of a task with this status.
pub fn nothing_has_begun(status: &RetryableTaskStatus) -> bool {
    status.start_time.is_none() && status.current.is_none() && status.history.is_empty()
}

/// The attempt that is running or due: the stored one, else the next one.
pub(super) fn current_of(status: &RetryableTaskStatus) -> CurrentAttempt {
    let next = CurrentAttempt { number: status.attempts.max(0).saturating_add(1), ..CurrentAttempt::default() };
    status.current.clone().filter(|current| current.number > 0 || current.fallback).unwrap_or(next)
}

/// Which Pod the current attempt is.
pub fn slot_of(current: &CurrentAttempt) -> Slot {
    Slot { number: current.number, fallback: current.fallback }
}

/// Whether the task has ended, for good or ill.
pub fn is_finished(conditions: &[Condition]) -> bool {
    [ConditionType::Finished, ConditionType::Complete, ConditionType::Failed]
        .into_iter()
        .any(|end| condition_list::is_true(conditions, end))
}

/// How long the wait for `due` still is: by this process's monotonic clock if it has measured, else by the wall clock.
/// A clock that jumps starts nothing early in a process that saw the wait begin.
pub(super) fn remaining(situation: &Situation, due: Option<&MicroTime>) -> SignedDuration {
    let Some(due) = due else { return SignedDuration::ZERO };
    match situation.process.remaining {
        Some((measured_for, remaining)) if measured_for == due.0 => remaining.max(SignedDuration::ZERO),
        Some(_) | None => until(situation.now, due.0),
    }
}
