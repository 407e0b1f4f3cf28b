//! The heart: `decide` says what the status should be and, once the stored status says so, what to do about it.
//!
//! **Invariant.** An effect follows only from a status that is stored: if the next status differs from the stored one, the plan is that write
//! and nothing else. So every Pod is created after a status that names its attempt, every outcome is stored before its
//! Pod is released, and every intent to stop a Pod is stored before the Pod is stopped. A process that dies anywhere is
//! followed by one that reads the same status and decides the same.

mod attempt_end;
mod deadlines;
mod effects;
mod fallback;
mod hold_up;
mod next;
mod record;
mod requests;
mod retry_wait;
mod stalled;
mod stop_pod;

pub use hold_up::{PodWarnings, WARNINGS_HOLD};
pub use requests::Request;
pub use stalled::unreadable;
pub use stop_pod::{STOP_DEADLINE_SECONDS, StopMethod};

use super::condition_list;
use super::delay::DelayRange;
use super::pod_name::pod_name;
use super::pod_snapshot::{DeletionDeadline, PodSnapshot};
use super::rejection::{FAILS_UNSAID, Rejection};
use super::slot::Slot;
use super::time::until;
use super::validate::problem;
use crate::api::{
    ConditionReason, ConditionType, CurrentAttempt, HistoryEntry, HoldUp, RetryableTask, RetryableTaskStatus,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Longest time between sending the creation of a Pod and its landing in the store: the client gives up after 10 s, the
/// API server is told to give up after 10 s. A Pod's finalizer stays that long after its creation, so that a late
/// request meets AlreadyExists.
pub const LATE_POST_BOUND: SignedDuration = SignedDuration::from_secs(20);
/// How long a created Pod may stay unseen by the watch before it is asked for.
pub const UNSEEN_BOUND: SignedDuration = SignedDuration::from_secs(10);
/// How long a Pod has to start, or to end, before that it has not is worth a write: most do at once, and a write each
/// would be a quarter more.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(10);
/// The same while there is much to do that is more urgent: in a storm most attempts end before, and what tells of the end
/// tells this too.
pub const SETTLE_IN_A_STORM: SignedDuration = SignedDuration::from_secs(30);
/// How long until it is seen whether there is time by now.
const TIME_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// How long other containers may run on after the main one ended, before the Pod is stopped.
pub const OTHER_CONTAINERS_GRACE: SignedDuration = SignedDuration::from_secs(3);

/// All that a decision rests on.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The task with its stored status.
    pub task: &'a RetryableTask,
    /// The Pods seen of it, those included that are gone since.
    pub pods: &'a [TrackedPod],
    /// What the API server said when it was asked for the current attempt's Pod.
    pub pod_lookup: Option<&'a PodLookup>,
    /// The creation of the current attempt's Pod by this process, if it is not in `pods` yet.
    pub created: Option<&'a Created>,
    /// Why the current attempt's Pod has just not been created.
    pub rejection: Option<&'a Rejection>,
    /// What this process knows of the Warning events about the current attempt's Pod.
    pub warnings: Option<&'a PodWarnings>,
    /// The creations of the current attempt's Pod by this process, if the last of them failed.
    pub failing: Option<&'a Failing>,
    /// A due time, and how long the wait for it still is on the monotonic clock of this process, if it has measured.
    pub remaining: Option<(Timestamp, SignedDuration)>,
    /// The wall clock.
    pub now: Timestamp,
    /// How long this process has run, by its monotonic clock.
    pub uptime: SignedDuration,
    /// How long ago this process sent a creation of the current attempt's Pod of which it does not know what came.
    pub create_in_flight: Option<SignedDuration>,
    /// Whether the task has just been read live, or written, rather than found in a cache that may be behind.
    pub task_is_live: bool,
    /// Whether there is little to do that is more urgent than what is only worth telling.
    pub has_time: bool,
}

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
    /// When this process first saw that it, or its main container, had ended.
    pub end_seen: Option<Timestamp>,
    /// Whether it has been seen to be gone.
    pub deleted: bool,
}

impl PodSnapshot {
    /// `TrackedPod::deleting_since` of a Pod that is seen so at `uptime`, given how it was seen before.
    pub fn deleting_since(&self, before: Option<&TrackedPod>, uptime: SignedDuration) -> Option<SignedDuration> {
        let deadline = |pod: &Self| pod.deletion_deadline.as_ref().map(|deletion_deadline| deletion_deadline.at);
        let known = before.filter(|before| deadline(&before.pod) == deadline(self));
        deadline(self).and(known.and_then(|before| before.deleting_since).or(Some(uptime)))
    }
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
    fn is_unsaid(&self) -> bool {
        self.since < FAILS_UNSAID && self.rejection.reason() != ConditionReason::PodNameConflict
    }
}

/// What to do now. Either `status` is set and nothing else, or the effects of the stored status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The status to store, and what is to be told once it is.
    pub status: Option<(RetryableTaskStatus, Vec<Transition>)>,
    /// The Pod to ask for before deciding again.
    pub ask: Option<String>,
    /// The Pod whose Warning events to ask for before deciding again.
    pub ask_warnings: Option<PodRef>,
    /// Whether to read the task live before deciding again.
    pub refresh: bool,
    /// The attempt, or the fallback, whose Pod to create.
    pub create: Option<Slot>,
    /// The current attempt's Pod, to be stopped, and how.
    pub stop: Option<(PodRef, StopMethod)>,
    /// The current attempt's Pod, to be deleted if its main container has still not started.
    pub replace: Option<PodRef>,
    /// Pods of closed attempts that have not ended, to be deleted at once: they must not run on.
    pub stale_pods: Vec<PodRef>,
    /// Pods of closed attempts that have ended, to be removed when there is time.
    pub delete: Vec<PodRef>,
    /// Pods to free from the finalizer.
    pub release: Vec<PodRef>,
    /// Whether to delete the task itself: its time after the end is over.
    pub delete_task: bool,
    /// When to look again if nothing happens.
    pub requeue: Requeue,
}

/// When to look at a task again if nothing happens: what is urgent, and what can wait when there is much to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// For the current attempt: it is due, or its time is over, or it must be seen to.
    pub for_attempt: Option<SignedDuration>,
    /// To free or delete the Pods of ended attempts, or the task itself, or to tell how far an attempt is.
    pub deferrable: Option<SignedDuration>,
}

impl Requeue {
    /// The sooner of them.
    pub fn soonest(self) -> Option<SignedDuration> {
        let Self { for_attempt, deferrable } = self;
        for_attempt.into_iter().chain(deferrable).min()
    }
}

/// A Pod that a Plan speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its UID, a precondition of everything that is done to it.
    pub uid: String,
}

/// What is worth telling: an Event, a metric, a log line.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// An attempt, or the fallback, may start; its Pod is about to be created.
    Started {
        /// Which.
        slot: Slot,
    },
    /// An attempt ended.
    Ended {
        /// What is now in the history, or would be if it had room.
        entry: Box<HistoryEntry>,
        /// The wait before the next attempt, if one follows after a wait.
        wait: Option<Wait>,
        /// What is said of its end in one line.
        line: Option<String>,
    },
    /// The spec has changed, and with it the wait for the next attempt.
    Rescheduled {
        /// The attempt that waits.
        attempt: i32,
        /// Its wait now.
        wait: Wait,
    },
    /// The task ended.
    Finished {
        /// Whether it succeeded.
        succeeded: bool,
        /// Why.
        reason: ConditionReason,
        /// The condition's message.
        message: String,
    },
    /// The task will be failed when its fallback has ended.
    FallingBack {
        /// Why it fails.
        reason: ConditionReason,
        /// The condition's message.
        message: String,
    },
    /// Somebody asked for something by annotation.
    Acknowledged {
        /// For what.
        request: Request,
        /// What comes of it.
        effect: String,
    },
    /// The task cannot go on, for a new reason: a Pod cannot be created, or the spec makes no sense.
    Stalled {
        /// `PodRejected`, `FailedCreate`, `PodNameConflict` or `InvalidSpec`.
        reason: ConditionReason,
        /// The server's own words, or what is wrong.
        message: String,
    },
    /// The main container has ended, and containers that run on are stopped.
    ContainersStopped {
        /// Whose Pod it is.
        slot: Slot,
        /// The Pod.
        pod: PodRef,
        /// The containers' names.
        containers: Vec<String>,
    },
    /// The task has an annotation of this group that asks for nothing.
    UnknownAnnotation {
        /// What is wrong, and what may have been meant.
        effect: String,
    },
    /// The API server refused the memory that onOutOfMemory has raised: a raise was taken back.
    MemoryRaiseRejected {
        /// What the Pod gets now, and the server's own words.
        message: String,
    },
    /// The current Pod does not start, for a new reason.
    HeldUp {
        /// Whose Pod it is.
        slot: Slot,
        /// The Pod.
        pod: PodRef,
        /// What keeps it from starting.
        hold_up: HoldUp,
        /// Whether that only says how far it is, and not what is wrong.
        is_stage: bool,
    },
}

/// The wait before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The waits that were possible.
    pub range: DelayRange,
    /// The one that the dice picked.
    pub delay: SignedDuration,
    /// When it ends.
    pub due: Timestamp,
}

/// What to do now. Total: any spec, any status, any Pods.
pub fn decide(situation: &Situation) -> Plan {
    if situation.task.metadata.deletion_timestamp.is_some() {
        return effects::of_deleted_task(situation);
    }
    let none = RetryableTaskStatus::default();
    let stored = situation.task.status.as_ref().unwrap_or(&none);
    match next::next_status(situation, stored) {
        next::Next::Ask(pod_name) => Plan { ask: Some(pod_name), ..Plan::default() },
        next::Next::AskWarnings(pod) => Plan { ask_warnings: Some(pod), ..Plan::default() },
        next::Next::Status { status, .. } if *status == *stored => {
            let mut plan = effects::of_stored_status(situation, stored);
            if !situation.has_time && has_something_to_tell(situation, stored) {
                plan.deferrable(TIME_AGAIN);
            }
            plan
        }
        next::Next::Status { status, transitions } => Plan { status: Some((*status, transitions)), ..Plan::default() },
    }
}

/// Whether the status would be another one if there were time to write it: of an attempt that has begun.
fn has_something_to_tell(situation: &Situation, stored: &RetryableTaskStatus) -> bool {
    if stored.current.as_ref().is_none_or(|current| current.pod_name.is_none()) {
        return false;
    }
    match next::next_status(&Situation { has_time: true, ..situation.clone() }, stored) {
        next::Next::Ask(_) => false,
        next::Next::AskWarnings(_) => true,
        next::Next::Status { status, .. } => *status != *stored,
    }
}

/// The Pod of an attempt or of the fallback: ours by its owner, its labels and its name, of which copies of a Pod have
/// another.
fn pod_of<'a>(situation: &'a Situation, slot: Slot) -> Option<&'a TrackedPod> {
    situation.pods.iter().find(|tracked| tracked.pod.slot() == slot && is_an_attempts(situation, tracked))
}

/// How long until a Pod that is being deleted and does not end is given up. A wall clock that is wrong by any amount
/// makes it neither shorter than the grace and the bound, whichever is longer, since this process has known of the
/// deletion, nor longer than both together.
fn time_until_abandoned(situation: &Situation, tracked: &TrackedPod) -> Option<SignedDuration> {
    let DeletionDeadline { at, grace, bound, outcome: _ } = tracked.pod.deletion_deadline.as_deref()?;
    let known = situation.uptime.saturating_sub(tracked.deleting_since.unwrap_or(situation.uptime));
    let (least, most) = (*grace.max(bound), grace.saturating_add(*bound));
    let wait = until(situation.now, *at).max(least.saturating_sub(known)).min(most.saturating_sub(known));
    Some(wait.max(SignedDuration::ZERO))
}

/// How long ago the Pod was created, by its own time or this process's first sight of it, whichever is earlier. Negative
/// while the wall clock is behind both.
fn age(situation: &Situation, tracked: &TrackedPod) -> SignedDuration {
    situation.now.duration_since(tracked.pod.created.min(tracked.first_seen))
}

/// Whether an attempt without a Pod is not to get one: the task is suspended or cancelled, its spec makes no sense, or
/// its time is over. The deadline is not the fallback's.
fn must_not_run(situation: &Situation, status: &RetryableTaskStatus, current: &CurrentAttempt) -> bool {
    situation.task.spec.suspend
        || problem(&situation.task.spec).is_some()
        || requests::is_cancelled(situation, status)
        || (!current.fallback && deadlines::is_over(situation, status, situation.now))
}

/// For how long a creation of the current attempt's Pod can still be on its way: one that this process sent, or an
/// earlier one that died.
fn unsettled(situation: &Situation) -> SignedDuration {
    let since = situation.create_in_flight.map_or(situation.uptime, |sent| sent.min(situation.uptime));
    LATE_POST_BOUND.saturating_sub(since).max(SignedDuration::ZERO)
}

fn is_an_attempts(situation: &Situation, tracked: &TrackedPod) -> bool {
    tracked.pod.owned && tracked.pod.pod_name == name_of(situation, tracked.pod.slot())
}

fn name_of(situation: &Situation, slot: Slot) -> String {
    let metadata = &situation.task.metadata;
    pod_name(metadata.name.as_deref().unwrap_or_default(), metadata.uid.as_deref().unwrap_or_default(), slot)
}

/// Whether no operator has begun anything of a task with this status.
pub fn nothing_has_begun(status: &RetryableTaskStatus) -> bool {
    status.start_time.is_none() && status.current.is_none() && status.history.is_empty()
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

#[cfg(test)]
mod tests;
